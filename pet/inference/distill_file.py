"""A student from a file of soft labels and a file of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pet.data.checks import column_labels
from pet.data.read import read_table
from pet.ensemble.soft_label_files import SoftLabelTable, read_soft_labels
from pet.errors import PetError
from pet.progress import Reporter
from pet.recipe import Recipe, make_recipe, student_rate_for
from pet.report.card import CardTask, student_card
from pet.seeds import derive_seed
from pet.store.outputs import check_new_folder, writing_folder
from pet.student.classifier import Classifier, TextInput, new_classifier
from pet.student.distill import fit_classifier, one_hot
from pet.task.grammar import parse_template
from pet.task.task import Task
from pet.training.device import make_accelerator
from pet.training.loop import Schedule

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]
_NAMED = 5  # ids in a message


def distill_file(
    labels: str | Path,
    source: str,
    model: str,
    output: str | Path,
    *,
    task: Task | None = None,
    fields: Sequence[str] = ("text",),
    train: str | None = None,
    gold_weight: float = 0.0,
    hard: bool = False,
    min_confidence: float = 0.0,
    recipe: Recipe | None = None,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    allow_pickle: bool = False,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Train a sequence classifier on soft labels and save it.

    Parameters
    ----------
    labels : soft labels, .parquet or .jsonl with ``id`` and ``probabilities``, or a folder; from `pet label`, from
        `pet predict`, or from elsewhere
    source : the texts, as `pet.data.read.read_table` takes them; their ids join them to the labels, in
        whatever order either file is
    model : what the student starts from: a folder or a hub name of any model that
        ``AutoModelForSequenceClassification`` opens
    output : the folder of the classifier; new, or empty
    task : says which fields there are, how they become the student's text, and the order of the labels
    fields : text columns, joined by a space, where there is no task
    train, gold_weight : labeled texts, and their share of the loss
    hard : train on the most probable label instead of the probabilities
    min_confidence : leave out texts whose best label is less probable
    recipe : steps, batches, learning rate, temperature; None: the default one
    columns : field (or ``label``, ``id``) -> column
    seed : of the fresh head, the order of the texts and the dropout
    device, precision : see `pet.training.device.make_accelerator`
    allow_pickle : also open pickled weights
    reporter : is told how far the work is

    Returns
    -------
    dict
        ``texts``: how many it learned from, ``gold``: how many labeled ones, ``left_out``: below
        `min_confidence`, ``unlabeled``: texts of the input without soft labels, ``losses``.

    Raises
    ------
    PetError
        For every mistake of the user's, before anything is trained. Nothing is left at `output` then.
    """
    reporter = reporter or Reporter("quiet")
    recipe = recipe or make_recipe()
    place = check_new_folder(output)
    _check_shares(min_confidence, train, gold_weight)
    soft = _in_order(labels, read_soft_labels(labels, task.labels if task else None), task)
    names = task.fields if task else tuple(fields)
    given = dict(columns or {})
    text_columns = {key: column for key, column in given.items() if key != "label"}
    table = read_table(source, names, columns=text_columns, name="input")
    table, targets, counts = _join(labels, soft, table, min_confidence)
    if counts["unlabeled"]:
        reporter.info(f"{counts['unlabeled']} texts of the input have no soft labels and are left out")
    gold = None if train is None else _read_gold(train, names, soft.labels, task, given)
    text_input = TextInput(names, task.input if task else _joined(names))
    accelerator = make_accelerator(device, precision)
    torch.manual_seed(derive_seed(seed, "head"))
    student = new_classifier(model, text_input, soft.labels, recipe.encoding.max_length, allow_pickle=allow_pickle)
    schedule = _schedule(recipe, student)
    with writing_folder(place) as beside:  # opened before the training, so that a bad place shows at once
        with reporter.task("distill", schedule.steps) as bar:
            losses = fit_classifier(
                student, table, one_hot(targets.argmax(axis=1), len(soft.labels)) if hard else targets,
                schedule, accelerator,
                seed=seed, batch_size=recipe.student.batch,
                temperature=None if hard else recipe.student.temperature,
                gold=gold, gold_weight=gold_weight,
                on_step=lambda _, loss: bar.update(loss=loss),
            )  # fmt: skip
        facts = {
            "texts with soft labels": len(table),
            "labeled examples": None if gold is None else len(gold[1]),
            "temperature": None if hard else recipe.student.temperature,
            "hard labels": "yes" if hard else None,
        }
        student.save(beside)
        card = _card(task, soft.labels, model, text_input, facts)
        (beside / "README.md").write_text(card, encoding="utf-8")
    return {"texts": len(table), "gold": 0 if gold is None else len(gold[1]), **counts, "losses": losses}


def _check_shares(min_confidence: float, train: str | None, gold_weight: float) -> None:
    problems = []
    for name, value in (("--min-confidence", min_confidence), ("--gold-weight", gold_weight)):
        if not 0 <= value <= 1:
            problems.append(f"{name} is {value}: it must be from 0 to 1")
    if train is None and gold_weight > 0:
        problems.append("--gold-weight needs labeled texts; give --train")
    if train is not None and gold_weight == 0:
        problems.append("--train has no effect without a weight; give --gold-weight, 0.2 for instance")
    if problems:
        raise PetError(problems)


def _in_order(path: str | Path, soft: SoftLabelTable, task: Task | None) -> SoftLabelTable:
    """The same soft labels with the columns in the order of the task."""
    if len(soft.labels) < 2:
        raise PetError(f"{path}: there is one label only ({soft.labels[0]!r}); a classifier needs two or more")
    if task is None or list(task.labels) == soft.labels:
        return soft
    if set(task.labels) != set(soft.labels):
        raise PetError(
            f"{path}: its labels are {', '.join(map(repr, soft.labels))}, and those of task {task.name} are "
            f"{', '.join(map(repr, task.labels))}; name the task that the soft labels were made for"
        )
    order = [soft.labels.index(label) for label in task.labels]
    return SoftLabelTable(soft.ids, soft.probabilities[:, order], list(task.labels))


def _join(
    path: str | Path, soft: SoftLabelTable, table: Dataset, min_confidence: float
) -> tuple[Dataset, Array, dict[str, int]]:
    """Texts and probabilities of the same ids, in the order of the input."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = table.select_columns(["id"]).with_format("arrow")[:]["id"].combine_chunks()
    wanted = pa.array(soft.ids, pa.string())
    lost = pc.filter(wanted, pc.invert(pc.is_in(wanted, value_set=ids)))
    if len(lost):
        some = ", ".join(map(repr, lost[:_NAMED].to_pylist()))
        raise PetError(
            f"{path}: {len(lost)} of its {len(wanted)} ids are not in the input ({some}"
            f"{', ...' if len(lost) > _NAMED else ''}); give the texts that were labeled, with the same ids "
            "(--column id=COLUMN names the column that holds them)"
        )
    at = np.asarray(pc.fill_null(pc.index_in(ids, value_set=wanted), -1))
    sure = soft.probabilities.max(axis=1) >= min_confidence
    rows = np.flatnonzero((at >= 0) & sure[at])
    if not len(rows):
        raise PetError(f"{path}: no soft label is as sure as --min-confidence {min_confidence}; lower it")
    counts = {"left_out": int((~sure).sum()), "unlabeled": int((at < 0).sum())}
    return table.select(rows), soft.probabilities[at[rows]], counts


def _read_gold(
    train: str, fields: Sequence[str], labels: Sequence[str], task: Task | None, columns: Mapping[str, str]
) -> tuple[Dataset, Array]:
    known = task.label_map if task else {}
    table = read_table(train, fields, labels=labels, label_map=known, columns=columns, name="train")
    return table, column_labels(table)


def _joined(fields: Sequence[str]) -> Any:
    return parse_template(" ".join(f"{{{name}}}" for name in fields), fields, mask=False)


def _schedule(recipe: Recipe, student: Classifier) -> Schedule:
    size = sum(p.numel() for p in student.model.parameters())
    return Schedule.of(recipe.optimizer, recipe.student, recipe.student.learning_rate or student_rate_for(size))


def _card(
    task: Task | None, labels: Sequence[str], model: str, text_input: TextInput, facts: Mapping[str, object]
) -> str:
    about = CardTask(
        name=task.name if task else "text classification",
        labels=labels,
        description=task.description if task else "",
        text_pair=len(text_input.template.segments) > 1,
        reads=text_input.template.source if len(text_input.template.fields) > 1 else "",
    )
    return student_card(about, "distill", model, facts=facts)


def student_recipe(name: str, settings: Mapping[str, Any], temperature: float | None) -> Recipe:
    """A named recipe with settings changed; a temperature of its own goes before both."""
    recipe = make_recipe(name, settings)
    return recipe if temperature is None else recipe.with_settings(temperature=temperature)
