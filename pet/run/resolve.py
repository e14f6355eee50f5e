"""Resolve a run: read, check, and hash everything that it needs, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from pet.backbones.info import ModelInfo
from pet.backbones.load import model_fingerprint
from pet.backbones.masked import check_length
from pet.backbones.trained import check_classifier
from pet.data.checks import check_ids, label_counts
from pet.data.table_format import TableFormat
from pet.ensemble.class_ratio import GivenRatio
from pet.errors import PetError
from pet.ipet.plan import Plan, make_plan
from pet.ipet.selection import parse_ratio
from pet.members import external, pattern, untrained
from pet.members.continued import check_continued
from pet.members.kinds import KINDS, ONE_LABEL, QUICK, check_member_model, parse_member
from pet.members.shared import Shared
from pet.members.spec import MemberSpec, check_names, pattern_spec
from pet.members.verbalizers import check_verbalizers
from pet.preflight.members import check_file
from pet.preflight.refused import check_settings
from pet.progress import Reporter
from pet.recipe import (
    EFFORTS,
    Recipe,
    fit_to_data,
    learning_rate_for,
    make_recipe,
    student_rate_for,
    without_auxiliary_loss,
)
from pet.run.class_ratio import resolve_prior
from pet.run.context import make_shared
from pet.run.execution.data_parallel import check_share
from pet.run.init_prompt import InitPrompt, open_init_prompt
from pet.run.inputs import NAMES, RunData, corrections_fingerprint, load_data, source_fingerprint
from pet.run.kept_corrections import with_copies
from pet.run.kept_fields import check_kept_fields
from pet.run.pool_gold import read_pool_gold
from pet.run.settings import RunSettings
from pet.run.unused import unused_settings
from pet.store.files import hash_file
from pet.student.classifier import check_input
from pet.task.task import Task, one_label_only
from pet.teachers.access import Access
from pet.training.group import Group
from pet.tuning.freeze import freeze
from pet.tuning.members import check_tuning

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]


@dataclass(frozen=True)
class Given:
    """Inputs of a run besides its settings.

    Attributes
    ----------
    task : the same task as in the settings, if it was read from a file; messages then name lines of the file
    tables : ``train``, ``unlabeled``, or ``test`` -> a table in memory
    pool_gold : file with labels of the unlabeled texts, for diagnosis only
    group : processes that train each member together with this one
    access : limits of teachers. They may ask the addresses that the settings or the task name
    track : experiment trackers that get settings and figures; see `pet.run.tracking`
    copies : file of corrections -> the copy of it, in the folder of a run, that is read instead
    """

    task: Task | None = None
    tables: Mapping[str, Dataset] = field(default_factory=dict)
    pool_gold: str | None = None
    group: Group | None = None
    access: Access = field(default_factory=Access)
    track: tuple[str, ...] = ()
    copies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ResolvedRun:
    """A run that passed all checks and can start.

    Attributes
    ----------
    settings, task, recipe, data : what to do; the recipe's learning rates are filled in
    specs : the members
    shared : what the members share: tokenizer, patterns, device, and the model without its weights
    config : the content of config.yaml: settings, recipe, and hashes in plain values
    plan : schedule of the generations, for ``ipet``
    initial : candidates for the initial prompt
    pool_gold : hidden label of each text in the pool
    ratio : class ratio that was read from a file
    """

    settings: RunSettings
    task: Task
    recipe: Recipe
    data: RunData
    specs: tuple[MemberSpec, ...]
    shared: Shared
    config: Mapping[str, Any]
    plan: Plan | None = None
    initial: InitPrompt | None = None
    pool_gold: Array | None = None
    ratio: GivenRatio | None = None


def resolve(settings: RunSettings, reporter: Reporter, given: Given | None = None) -> ResolvedRun:
    """Read, check, and hash everything that a run needs. Nothing is trained or written.

    Parameters
    ----------
    settings : what to do
    reporter : gets warnings
    given : the task, tables in memory, and so on

    Raises
    ------
    PetError
        For every mistake that can be found before training.
    """
    given = given or Given()
    task = given.task or Task.from_dict(settings.task)
    _check_labels(settings, task)
    settings, ratio = resolve_prior(settings, task)
    models = _open_models(settings)
    recipe = _resolve_recipe(settings, models)
    parse_ratio(recipe.ipet.ratio, task.labels)  # a mistake is one whatever the method
    specs = member_specs(settings, task, recipe)
    initial = open_init_prompt(settings, recipe, models[settings.model], reporter)
    if initial is not None:
        recipe = recipe.with_settings(prompt_length=initial.length)
    _check_training(settings, task, recipe, models, given.group, reporter)
    if given.pool_gold is not None and settings.method != "ipet":
        raise PetError("--pool-gold evaluates the labels of generations; it requires --method ipet")
    if given.pool_gold is not None:
        one_label_only(task, "--pool-gold", "leave it out")
    data = load_data(with_copies(settings, given.copies), task, reporter, given.tables)
    if settings.recipe in EFFORTS:
        texts = 0 if data.train is None else len(data.train)
        recipe = fit_to_data(recipe, settings.settings, texts, len(task.labels), settings.method)
    if recipe.priming.count and data.train is None:
        raise PetError(f"priming={recipe.priming.count} requires labeled texts; give --train")
    _check_files(specs, task, data, reporter)
    pool_gold = None
    if given.pool_gold is not None:
        columns = {**task.columns, **settings.columns}
        pool_gold = read_pool_gold(given.pool_gold, task, data, columns, TableFormat(**settings.table_format))
    config = _configuration(settings, recipe, data, models, specs)
    if initial is not None:
        config["hashes"] |= initial.hashes()
    shared = make_shared(settings, task, recipe, data, models[settings.model])
    shared.use(settings.device, settings.precision)
    named = frozenset(str(spec.options["address"]) for spec in specs if KINDS[spec.kind].asks)
    shared.access = replace(given.access, addresses=named)
    if settings.method == "pcp":
        check_continued(shared)
    if settings.trains_members:
        check_verbalizers(task, recipe, shared.models.info)
    _bind(settings, shared, data)
    if settings.makes_classifier:
        check_input(shared.text_input, models[shared.head_model].tokenizer, recipe.encoding.max_length)
    plan = _plan(task, recipe, data) if settings.method == "ipet" else None
    for message in unused_settings(settings, recipe, specs):
        reporter.warn(message)
    return ResolvedRun(settings, task, recipe, data, specs, shared, config, plan, initial, pool_gold, ratio)


def _check_labels(settings: RunSettings, task: Task) -> None:
    """Refuse what requires one label per text, if texts may have several, or labels in an order."""
    check_settings(task, make_recipe(settings.recipe, settings.settings))
    if settings.init_prompt is not None:
        one_label_only(task, "--init-prompt", "leave it out")
    for text in (*task.members, *settings.members):
        if parse_member(text).kind in ONE_LABEL:
            one_label_only(task, f"the member {text}", "leave it out")


def _check_files(specs: Sequence[MemberSpec], task: Task, data: RunData, reporter: Reporter) -> None:
    """Check the files of members before anything is trained; warn if no text of the run has scores in a file."""
    parts = {"train": data.train, "unlabeled": data.pool, "test": data.test}
    tables = {part: table for part, table in parts.items() if table is not None}
    if any(spec.kind == external.KIND for spec in specs):
        check_ids(tables, {name: data.keys[part] for part, name in NAMES.items() if part in data.keys})
    for spec in specs:
        lacking = check_file(spec, task, tables)
        if len(lacking) == len(tables) and not any(there for there, _ in lacking):
            for _, line in lacking:
                reporter.warn(line)


def _open_models(settings: RunSettings) -> dict[str, ModelInfo]:
    """Open the pretrained model, and the student's if it is another one; return them by name."""
    names = [name for name in (settings.model, settings.student_model) if name is not None]
    models = {name: ModelInfo(name, allow_pickle=settings.allow_pickle) for name in names}
    for info in models.values():
        info.check()
    if settings.makes_classifier:
        student = settings.student_model or settings.model
        check_classifier(student, models[student].config)
    return models


def _resolve_recipe(settings: RunSettings, models: Mapping[str, ModelInfo]) -> Recipe:
    """Return the recipe with learning rates for the model sizes, and without auxiliary loss if there is no pool."""
    recipe = make_recipe(settings.recipe, settings.settings)
    if settings.unlabeled is None:
        recipe = without_auxiliary_loss(settings.recipe, recipe, settings.settings)
    student = models[settings.student_model or settings.model]
    rate = recipe.member.learning_rate or learning_rate_for(
        models[settings.model].parameters, recipe.tuning.rate_factor
    )
    student_rate = recipe.student.learning_rate or student_rate_for(student.parameters)
    return replace(
        recipe,
        member=replace(recipe.member, learning_rate=rate),
        student=replace(recipe.student, learning_rate=student_rate),
    )


def _check_training(
    settings: RunSettings,
    task: Task,
    recipe: Recipe,
    models: Mapping[str, ModelInfo],
    group: Group | None,
    reporter: Reporter,
) -> None:
    """Check that the models support the recipe, before any text is read."""
    tuning = recipe.tuning.method
    if settings.trains_members:
        check_tuning(recipe.tuning, task, models[settings.model].meta)
        if group is not None:
            check_share(recipe, group)
        if tuning != "p-tuning" and any(pattern.template.is_soft for pattern in task.patterns):
            reporter.warn(f"{{soft:...}} requires --tuning p-tuning; with {tuning} its words are ordinary words")
    for name, model in models.items():
        check_length(model.meta, recipe.encoding.max_length, name)
    freeze(models[settings.model].meta, recipe.tuning.freeze_layers)
    if recipe.priming.count and settings.method != "zero-shot":
        raise PetError("priming requires --method zero-shot: it trains nothing")


def _bind(settings: RunSettings, shared: Shared, data: RunData) -> None:
    """Bind the patterns that the run needs, to find label words that are several tokens, and texts that do not fit."""
    if settings.method == "supervised" and not settings.compares:
        return
    shared.bind()
    if settings.trains_members:
        shared.bind_tuned()
    check_kept_fields(shared, data, trained=settings.trains_members)


def _plan(task: Task, recipe: Recipe, data: RunData) -> Plan:
    """Return the schedule of the generations of iPET."""
    counts, pool = label_counts(data.train, len(task.labels)), 0 if data.pool is None else len(data.pool)
    return make_plan(task, recipe.ipet, counts, recipe.member.repetitions, pool)


def member_specs(settings: RunSettings, task: Task, recipe: Recipe) -> tuple[MemberSpec, ...]:
    """Return the members of a run: every pattern and repetition, then those named in the task or the settings.

    Raises
    ------
    PetError
        If a member is unknown, its file or model does not exist, or two have the same name.
    """
    if settings.method == "supervised":
        return ()
    trains = settings.trains_members
    specs = [
        pattern_spec(pattern.KIND if trains else untrained.KIND, number, repetition)
        for number in range(len(task.patterns))
        for repetition in range(recipe.member.repetitions if trains else 1)
    ]
    named = (*task.members, *settings.members)
    if recipe.merging.merge == "learned" and recipe.merging.quick_members and trains:
        named = (*named, *(kind for kind in QUICK if kind not in {parse_member(text).name for text in named}))
    for text in named:
        spec = parse_member(text)
        if KINDS[spec.kind].trains and not trains:
            if text in settings.members:
                raise PetError(f"--member {text} requires training, but --method {settings.method} trains no members")
            continue
        check_member_model(spec, allow_pickle=settings.allow_pickle)
        specs.append(spec)
    check_names(spec.name for spec in specs)
    return tuple(specs)


def _configuration(
    settings: RunSettings,
    recipe: Recipe,
    data: RunData,
    models: Mapping[str, ModelInfo],
    specs: Sequence[MemberSpec],
) -> dict[str, Any]:
    """Return the content of config.yaml."""
    hashes: dict[str, Any] = {
        "model": models[settings.model].fingerprint,
        "train": source_fingerprint(settings.train, data.train),
        "unlabeled": source_fingerprint(settings.unlabeled, data.pool),
        "test": source_fingerprint(settings.test, data.test),
    }
    if data.corrections:
        hashes["corrections"] = corrections_fingerprint(data.corrections)
    if settings.student_model:
        hashes["student_model"] = models[settings.student_model].fingerprint
    brought = {spec.name: hash_file(str(spec.options["file"])) for spec in specs if "file" in spec.options}
    brought |= {spec.name: model_fingerprint(spec.options["model"]) for spec in specs if "model" in spec.options}
    if brought:
        hashes["members"] = brought
    return {"settings": settings.to_dict(), "recipe": recipe.to_dict(), "hashes": hashes}
