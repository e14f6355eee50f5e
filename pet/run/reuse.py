"""Reuse members of an earlier run: after a label or a pattern was added, only what changed is trained.

A member is a model that was trained with a pattern on labeled texts. A label without examples changes nothing in its
training, so the model stays the same; only its scores have the words of the new label. A member is kept if

- the model, the seed, the training settings, the labeled texts and, with the auxiliary loss, the unlabeled texts are
  the same, and the files of these texts are as the earlier run read them,
- it starts from the same initial prompt, if from any,
- its pattern is at the same place in the task, and has the same words for the labels that the earlier run had,
- it scores labels by words, or the labels are the same (`pet.members.verbalizers`),
- it left out the same labeled texts (`pet.run.held_out`),
- it learned from the same texts of the pool, if from any (`pet.run.pattern_labels`). They and their labels stay if the
  unlabeled texts do, even if a label or a pattern was added that would change them.

Everything else is trained as in any other run. The new run keeps copies and does not need the old one afterwards.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.checks import column_labels
from pet.data.folds import stratified_folds
from pet.ensemble.stacking import FEWEST_TEXTS
from pet.members import pattern
from pet.members.kinds import KINDS, NOTE
from pet.members.offset import FILE as OFFSET
from pet.members.offset import read_offset, save_offset
from pet.members.pattern import pattern_notes
from pet.progress import Reporter
from pet.recipe import Recipe, make_recipe
from pet.resources import expand
from pet.run.context import RunContext
from pet.run.execution.work import MemberWork, Step
from pet.run.finished_texts import changed_sources, read_texts
from pet.run.held_out import FEWEST_FOLDS, differ, held_out
from pet.run.init_prompt import STAGE as INIT_PROMPT
from pet.run.inputs import RunData
from pet.run.kept_corrections import FOLDER
from pet.run.load_run import is_run, read_settings
from pet.run.pattern_labels import STAGE as PATTERN_LABELS
from pet.run.pattern_labels import label_with_patterns, learns_pattern_labels, pattern_labels_missing
from pet.run.resolve import member_specs
from pet.run.settings import RunSettings
from pet.run.stages import Member, trained_members
from pet.settings import own_settings
from pet.store.json_reader import read_json
from pet.store.manifest import read_config, read_stages
from pet.store.recorded import check_recorded
from pet.task.task import Task
from pet.training.settings import WORDS
from pet.tuning.members import LEARNED

Array = NDArray[Any]
_SCORES = "*-logits.npy"


@dataclass(frozen=True)
class EarlierRun:
    """The run whose members may be reused.

    Attributes
    ----------
    folder : its folder
    settings, task, recipe, data : as it had them
    model : hash of its model
    stages : its finished stages
    changed : which of its sources are not as it read them; see `pet.run.finished_texts.changed_sources`
    """

    folder: Path
    settings: RunSettings
    task: Task
    recipe: Recipe
    data: RunData
    model: str
    stages: Mapping[str, Mapping[str, Any]]
    changed: Collection[str]


def reuse_members(context: RunContext) -> None:
    """Copy the members of ``settings.reuse`` that are still right into the run, and say what is trained anew.

    Raises
    ------
    PetError
        If the folder is not a run, or a file of a member is damaged. A run that has its members needs no other.
    """
    folder, earlier = expand(context.settings.reuse or ""), None
    if pattern_labels_missing(context):
        earlier = _open(folder)
        _keep_pattern_labels(context, earlier)
    members = [member for member in trained_members(context) if member.spec.kind == pattern.KIND]
    steps = {member.name: Step("train", MemberWork(member)) for member in members}
    has = context.directory.has
    left = [member for member in members if not has(steps[member.name].name, steps[member.name].inputs(context))]
    if not left or (len(left) < len(members) and not is_run(folder)):
        return
    earlier = earlier or _open(folder)
    why = _differs(context, earlier)
    reasons = {member.name: why or _cannot_reuse(context, earlier, member) for member in left}
    for member in left:
        if not reasons[member.name]:
            step = steps[member.name]
            context.directory.stage(step.name, step.inputs(context), partial(_copy, context, earlier, member))
    kept = [name for name, reason in reasons.items() if not reason]
    if kept:
        context.reporter.info(f"{folder}: keeps the models of {', '.join(kept)}")
    for reason in dict.fromkeys(filter(None, reasons.values())):
        names = ", ".join(name for name, other in reasons.items() if other == reason)
        context.reporter.info(f"trains {names}: {reason}")


def _open(folder: Path) -> EarlierRun:
    settings, config = read_settings(folder), read_config(folder)
    task = Task.from_dict(settings.task)
    recipe = make_recipe("default", config.get("recipe") or {})
    data = read_texts(folder, settings, task, Reporter("quiet"))
    model = str((config.get("hashes") or {}).get("model"))
    changed = changed_sources(folder, settings, data)
    return EarlierRun(folder, settings, task, recipe, data, model, read_stages(folder), changed)


def _differs(context: RunContext, earlier: EarlierRun) -> str:
    """Return why no member can be reused; empty if some may be."""
    settings, recipe = context.settings, context.recipe
    changed = [name for name in _training_settings(recipe) if _value(recipe, name) != _value(earlier.recipe, name)]
    lost = [label for label in earlier.task.labels if label not in context.task.labels]
    if not earlier.settings.trains_members:
        return f"the earlier run has --method {earlier.settings.method}"
    if earlier.model != (context.directory.config.get("hashes") or {}).get("model"):
        return "the model is another one"
    if changed:
        return f"the settings {', '.join(changed)} changed"
    if _initial(read_stages(context.directory.path)) != _initial(earlier.stages):
        return "the initial prompt changed"
    if settings.seed != earlier.settings.seed:
        return "the seed changed"
    if lost or context.task.multi_label != earlier.task.multi_label:
        return f"the task has no label {', '.join(lost)} any more" if lost else "multi_label changed"
    if {"train", FOLDER} & {*earlier.changed} or not _same_train(context, earlier):
        return "the labeled texts changed"
    if recipe.member.unlabeled_batch and not _same_pool(context, earlier):
        return "the unlabeled texts changed, and members learn from them (unlabeled_batch)"
    return ""


def _initial(stages: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return size and hash of the initial prompt of a run; None without one. Its name may stand for another prompt."""
    return stages.get(INIT_PROMPT, {}).get("outputs", {}).get(f"{INIT_PROMPT}/{LEARNED}")


def _same_pool(context: RunContext, earlier: EarlierRun) -> bool:
    if "unlabeled" in earlier.changed:
        return False
    nothing = np.zeros(0, dtype=np.uint64)
    here, there = (data.keys.get("pool", nothing) for data in (context.data, earlier.data))
    return np.array_equal(here, there)


def _same_pattern_labels(context: RunContext, earlier: EarlierRun) -> bool:
    """Return True if the texts that untrained patterns label stay the same."""
    return _same_pool(context, earlier) and _is_whole(earlier, PATTERN_LABELS)


def _is_whole(earlier: EarlierRun, stage: str) -> bool:
    """Return True if the earlier run has finished a stage, and none of its files is missing."""
    about = earlier.stages.get(stage, {})
    return about.get("state") == "done" and all((earlier.folder / file).is_file() for file in about["outputs"])


def _keep_pattern_labels(context: RunContext, earlier: EarlierRun) -> None:
    """Copy the texts that untrained patterns label if they stay the same; otherwise choose them anew."""
    source = earlier.folder / PATTERN_LABELS

    def copy(folder: Path) -> dict[str, Any]:
        check_recorded(source)
        shutil.copytree(source, folder, dirs_exist_ok=True)
        return dict(earlier.stages[PATTERN_LABELS].get("info") or {})

    same = not _differs(context, earlier) and _same_pattern_labels(context, earlier)
    label_with_patterns(context, copy if same else None)


def _training_settings(recipe: Recipe) -> Iterable[str]:
    groups = (
        recipe.encoding,
        recipe.member,
        recipe.optimizer,
        recipe.tuning,
        recipe.tuning.configs[recipe.tuning.method],
    )
    return dict.fromkeys(item.name for group in groups for item in own_settings(group))


def _value(recipe: Recipe, name: str) -> Any:
    return recipe.to_dict().get(name)


def _same_train(context: RunContext, earlier: EarlierRun) -> bool:
    """Return True if both runs have the same labeled texts with the same labels, in the same order."""
    return _rows(context.data, context.task) == _rows(earlier.data, earlier.task)


def _rows(data: RunData, task: Task) -> list[Any]:
    """Return the key of each labeled text, and the names of its labels."""
    if data.train is None:
        return []
    gold, names = column_labels(data.train), np.asarray(task.labels, dtype=object)
    labels = [tuple(names[row > 0]) for row in gold] if gold.ndim == 2 else names[gold].tolist()
    return list(zip(data.keys["train"].tolist(), labels, strict=True))


def _cannot_reuse(context: RunContext, earlier: EarlierRun, member: Member) -> str:
    """Return why a member cannot be reused; empty if it can."""
    place, before, after = member.spec.pattern or 0, earlier.task, context.task
    if place >= len(before.patterns) or f"g0/{member.name}" not in earlier.stages:
        return "the earlier run has no such member"
    if not _is_whole(earlier, f"g0/{member.name}"):
        return "in the earlier run, a file of it is missing"
    old, new = before.patterns[place], after.patterns[place]
    if old.template.source != new.template.source:
        return "the pattern at this place changed"
    if any(tuple(old.verbalizer.words[label]) != tuple(new.verbalizer.words[label]) for label in before.labels):
        return "the words of a label changed"
    if after.multi_label and before.labels != after.labels:
        return "texts may have several labels, and it has not learned when the new one applies"
    kinds = {pattern.verbalizer_kind or context.recipe.member.verbalizer for pattern in (old, new)}
    if len(kinds) > 1 or (kinds != {WORDS} and before.labels != after.labels):
        return "its verbalizer changed, or is learned for the labels of the earlier run"
    if not np.array_equal(held_out(context, member.spec), _held_out(earlier, member)):
        return "it leaves out other labeled texts, because the number of members or the order of the labels changed"
    learns = learns_pattern_labels(context, member.spec)
    if learns != (PATTERN_LABELS in earlier.stages) or (learns and not _same_pattern_labels(context, earlier)):
        return "it learns from texts that untrained patterns label, and these changed or are missing"
    return ""


def _held_out(earlier: EarlierRun, member: Member) -> Array:
    """Return which labeled texts a member of the earlier run left out; see `pet.run.held_out.held_out`."""
    train = earlier.data.train
    if train is None:
        return np.zeros(0, dtype=bool)
    gold = column_labels(train)
    if earlier.recipe.merging.merge != "learned" or len(gold) < FEWEST_TEXTS or not differ(gold):
        return np.zeros(len(gold), dtype=bool)
    specs = member_specs(earlier.settings, earlier.task, earlier.recipe)
    names = [spec.name for spec in specs if KINDS[spec.kind].evidence == "fold"]
    fold = stratified_folds(gold, max(FEWEST_FOLDS, len(names)), earlier.settings.seed)
    return np.asarray(fold == names.index(member.name))


def _copy(context: RunContext, earlier: EarlierRun, member: Member, folder: Path) -> dict[str, Any]:
    """Copy a member without its scores; return what the manifest notes of it."""
    source = earlier.folder / "g0" / member.name
    check_recorded(source)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(_SCORES), dirs_exist_ok=True)
    if (folder / OFFSET).is_file() and earlier.task.labels != context.task.labels:
        known = dict(zip(earlier.task.labels, read_offset(folder, len(earlier.task.labels)), strict=True))
        save_offset(folder, np.asarray([known.get(label, 0.0) for label in context.task.labels]))  # 0 is their mean
    note: Any = read_json(folder / NOTE, "leave out --from")
    note = {**note, **pattern_notes(context.shared, member.spec)}
    (folder / NOTE).write_text(json.dumps(note, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    info = earlier.stages[f"g0/{member.name}"].get("info") or {}
    return {**info, "from": str(earlier.folder)}
