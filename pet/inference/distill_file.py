"""Distill a student from a file of soft labels and a file of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.data.checks import column_labels, text_keys
from pet.data.corrections import Corrections, read_corrections
from pet.data.label_sets import LabelSets
from pet.data.pick import Picked, pick_rows
from pet.data.read import read_table
from pet.data.source_names import text_columns
from pet.data.table_format import DETECT, TableFormat
from pet.ensemble.soft_label_files import open_soft_labels
from pet.ensemble.soft_label_store import SoftLabelStore
from pet.errors import PetError
from pet.inference.distill_match import match_texts
from pet.inference.options import ComputeOptions
from pet.inference.place import run_of
from pet.progress import Reporter
from pet.recipe import Recipe, make_recipe, student_rate_for
from pet.report.card import CardTask, student_card
from pet.resources import expand
from pet.seeds import derive_seed
from pet.settings import own_settings, parse_flat
from pet.store.outputs import check_new_folder, writing_folder
from pet.store.recorded import recorded_problems
from pet.student.classifier import Classifier, TextInput, is_saved_classifier, new_classifier
from pet.student.distill import Distillation, Targets, one_hot
from pet.student.rounds import fit_student
from pet.task.grammar import parse_template
from pet.task.parse import SEPARATOR
from pet.task.task import Task
from pet.terminal import counted
from pet.training.device import Accelerator, make_accelerator
from pet.training.loop import Schedule
from pet.training.settings import NOT_ORDERED, ORDINAL

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]


@dataclass(frozen=True)
class DistillOptions:
    """How to train a student on soft labels.

    Parameters
    ----------
    task : Task, optional
        Names the fields, how they become the student's text, and the order of the labels.
    fields : tuple of str
        Text columns, joined by spaces, if there is no task.
    columns : mapping of str to str
        Field (or ``label``, ``id``) -> column.
    table_format : TableFormat
        Encoding, delimiter and quoting of all files; default: detected.
    train : str, optional
        Labeled texts to train on as well.
    gold_weight : float
        Their share of the loss, from 0 to 1.
    hard : bool
        Train on the most probable label instead of the probabilities.
    min_confidence : float
        Leave out texts whose best label is less probable than this.
    recipe : Recipe
        Steps, batches, learning rate and temperature.
    seed : int
        Random seed.
    corrections : str, optional
        A ``reviewed.jsonl`` of `pet review`: its labels replace the soft labels of these texts, and texts with none of
        the labels are left out. Requires a task.

    Examples
    --------
    >>> DistillOptions(fields=("title", "body"), hard=True).min_confidence
    0.0
    """

    task: Task | None = None
    fields: tuple[str, ...] = ("text",)
    columns: Mapping[str, str] = field(default_factory=dict)
    table_format: TableFormat = DETECT
    train: str | None = None
    gold_weight: float = 0.0
    hard: bool = False
    min_confidence: float = 0.0
    recipe: Recipe = field(default_factory=make_recipe)
    seed: int = 0
    corrections: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The task's fields, or those of these options without a task."""
        return self.task.fields if self.task else self.fields

    @property
    def text_input(self) -> TextInput:
        """What the student reads."""
        joined = " ".join(f"{{{name}}}" for name in self.fields)
        template = self.task.input if self.task else parse_template(joined, self.fields, mask=False)
        return TextInput(self.names, template)


@dataclass(frozen=True)
class _Examples:
    """What a student learns from: texts with probabilities, and perhaps labeled texts."""

    labels: Sequence[str]
    table: Dataset | Picked
    targets: Targets
    gold: tuple[Dataset, Array] | None
    counts: dict[str, int]
    certain: int
    independent: bool = False


def distill_file(
    labels: str | Path,
    source: str,
    model: str,
    output: str | Path,
    *,
    options: DistillOptions | None = None,
    compute: ComputeOptions | None = None,
    force: bool = False,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Train a sequence classifier on soft labels and save it.

    Parameters
    ----------
    labels : soft labels from `pet label`, `pet predict` or elsewhere; see
        `pet.ensemble.soft_label_files.read_soft_labels`
    source : the texts, as for `pet.data.read.read_table`; they are matched with the labels by id, in any order
    model : what the student starts from: a folder or hub name of any model that
        ``AutoModelForSequenceClassification`` opens
    output : a new or empty folder for the classifier
    options, compute : what to train on, and how
    force : replace a classifier that an earlier call has written to `output`
    reporter : shows progress

    Returns
    -------
    dict
        ``texts``: number of texts it was trained on, ``gold``: number of labeled ones, ``left_out``: below
        the confidence, ``unlabeled``: texts of the input without soft labels, ``corrected``: reviewed ones (only with
        corrections), ``losses``.

    Raises
    ------
    PetError
        For every mistake in the input or the options, before anything is trained. Nothing is left at `output` then.

    Examples
    --------
    >>> from pet import make_recipe
    >>> options = DistillOptions(recipe=make_recipe("default", {"student_steps": 2}))
    >>> done = distill_file("runs/reviews/g0/labels.parquet", "pool.jsonl", "mini-en", "small", options=options)
    >>> done["texts"]
    32
    """
    options, compute, reporter = options or DistillOptions(), compute or ComputeOptions(), reporter or Reporter("quiet")
    place = check_new_folder(output, force=force, replaceable=_is_own)
    _check_shares(options)
    _check_unchanged(Path(labels), reporter)
    examples = _read_examples(labels, source, options)
    _announce(labels, examples, reporter)
    accelerator = make_accelerator(compute.device, compute.precision or "auto")
    student = _new_student(model, examples, options, compute)
    with writing_folder(place, replace=force) as beside:  # opened before training, so that a bad place shows at once
        losses = _fit(student, examples, options, accelerator, reporter)
        student.save(beside)
        (beside / "README.md").write_text(_card(model, examples, options), encoding="utf-8")
    return {**examples.counts, "losses": losses}


def _is_own(folder: Path) -> bool:
    """Return True if a folder holds a classifier that is not part of a run."""
    return is_saved_classifier(folder) and run_of(folder) is None


def _new_student(model: str, examples: _Examples, options: DistillOptions, compute: ComputeOptions) -> Classifier:
    return new_classifier(
        model,
        options.text_input,
        examples.labels,
        options.recipe.encoding.max_length,
        seed=derive_seed(options.seed, "head"),
        allow_pickle=compute.allow_pickle,
        independent=examples.independent,
    )


def _check_unchanged(labels: Path, reporter: Reporter) -> None:
    """Refuse soft labels of a run that are damaged. A text file may have been edited on purpose."""
    problems = recorded_problems(expand(labels))
    if problems and labels.suffix.lower() == ".parquet":
        raise PetError(problems)
    for problem in problems:
        reporter.warn(problem)


def _announce(labels: str | Path, examples: _Examples, reporter: Reporter) -> None:
    if examples.certain:
        rows = counted(examples.certain, "row")
        reporter.info(f"{labels}: {rows} with a label and no probabilities; the label is taken as certain")
    if examples.counts["unlabeled"]:
        reporter.info(f"{counted(examples.counts['unlabeled'], 'text')} of the input without soft labels: left out")


def _read_examples(labels: str | Path, source: str, options: DistillOptions) -> _Examples:
    soft = _checked_labels(labels, options)
    columns = {**(options.task.columns if options.task else {}), **options.columns}
    table = read_table(source, options.names, columns=text_columns(source, columns), table_format=options.table_format)
    table, looked_up, counts = match_texts(labels, soft, table, options.min_confidence, hard=options.hard)
    targets: Targets = looked_up
    if options.corrections is not None and options.task is not None:
        corrections = read_corrections(options.corrections, options.task)
        whole = pick_rows(table, np.arange(len(table)))  # each text is compared with the corrections
        table, targets = _corrected(whole, looked_up[:], corrections, options.names)
        counts |= {"texts": len(table), "corrected": len(corrections.labeled)}
    gold = None
    if options.train is not None:
        label_map = options.task.label_map if options.task else {}
        separator = options.task.label_separator if options.task else SEPARATOR
        known = LabelSets(soft.labels, label_map, separator) if soft.independent else soft.labels
        labeled = read_table(
            options.train, options.names,
            labels=known, label_map=label_map, columns=columns, name="train",
            table_format=options.table_format,
        )  # fmt: skip
        gold = (labeled, column_labels(labeled))
    counts |= {"gold": 0 if gold is None else len(gold[1])}
    return _Examples(soft.labels, table, targets, gold, counts, soft.certain, soft.independent)


def _fit(
    student: Classifier, examples: _Examples, options: DistillOptions, accelerator: Accelerator, reporter: Reporter
) -> list[float]:
    recipe = options.recipe
    size = sum(p.numel() for p in student.model.parameters())
    schedule = Schedule.of(recipe.optimizer, recipe.student, recipe.student.learning_rate or student_rate_for(size))
    temperature = None if options.hard else recipe.student.temperature
    ordinal, wanted = recipe.student.loss == ORDINAL, recipe.student
    how = Distillation(
        schedule, wanted.batch, temperature, options.gold_weight, options.seed, wanted.rounds, ordinal, wanted.fit_bias
    )
    return fit_student(student, examples.table, examples.targets, how, accelerator, reporter, gold=examples.gold)


def _check_shares(options: DistillOptions) -> None:
    problems = []
    for name, value in (("--min-confidence", options.min_confidence), ("--gold-weight", options.gold_weight)):
        if not 0 <= value <= 1:
            problems.append(f"{name} is {value}; it must be from 0 to 1")
    if options.recipe.student.loss == ORDINAL and not (options.task and options.task.ordered):
        problems.append(NOT_ORDERED)
    if options.train is None and options.gold_weight > 0:
        problems.append("--gold-weight requires labeled texts; name them with --train")
    if options.train is not None and options.gold_weight == 0:
        problems.append("--train has no effect without a weight; add --gold-weight, for example 0.2")
    if options.corrections is not None and options.task is None:
        problems.append("--corrections requires the task of the review; name it with --task, as --task RUN/config.yaml")
    if problems:
        raise PetError(problems)


def _checked_labels(path: str | Path, options: DistillOptions) -> SoftLabelStore:
    """Return the soft labels, with columns in the order of the task."""
    labels = None if options.task is None else options.task.labels
    soft = open_soft_labels(path, labels, table_format=options.table_format)
    if options.task is not None and options.task.multi_label != soft.independent:
        texts = "may have several labels" if soft.independent else "have one label each"
        raise PetError(
            f"{path}: its texts {texts}, but the task {options.task.name} says otherwise; name the task that it was "
            "made for"
        )
    if len(soft.labels) < 2:
        raise PetError(f"{path}: has only one label ({soft.labels[0]!r}); a classifier needs two or more")
    return soft


def _corrected(
    table: Dataset, targets: Array, corrections: Corrections, fields: Sequence[str]
) -> tuple[Dataset, Array]:
    """Return texts and probabilities with the reviewed labels; texts with none of the labels are left out."""
    keys = text_keys(table, fields)
    kept = np.flatnonzero(~np.isin(keys, np.append(text_keys(corrections.labeled, fields), corrections.outside)))
    gold = column_labels(corrections.labeled)
    certain = one_hot(gold, targets.shape[1]) if gold.ndim == 1 else gold.astype(np.float64)
    return corrections.add_texts(pick_rows(table, kept), fields), np.concatenate([targets[kept], certain])


def _card(model: str, examples: _Examples, options: DistillOptions) -> str:
    task, template = options.task, options.text_input.template
    about = CardTask(
        name=task.name if task else "text classification",
        labels=examples.labels,
        description=task.description if task else "",
        text_pair=len(template.segments) > 1,
        reads=template.source if len(template.fields) > 1 else "",
        multi_label=examples.independent,
    )
    facts = {
        "texts with soft labels": len(examples.table) - examples.counts.get("corrected", 0),
        "labeled examples": None if examples.gold is None else len(examples.gold[1]),
        "reviewed texts": examples.counts.get("corrected"),
        "temperature": None if options.hard else options.recipe.student.temperature,
        "hard labels": "yes" if options.hard else None,
    }
    return student_card(about, "distill", model, facts=facts)


def unused_settings(settings: Mapping[str, Any]) -> list[str]:
    """Return the names of changed settings that have no effect on distillation.

    Examples
    --------
    >>> unused_settings({"student_steps": "5", "growth": "3"})
    ['growth']
    """
    recipe = make_recipe("default", settings)
    groups = (recipe.student, recipe.optimizer, recipe.encoding, recipe.inference)
    used = {item.name for group in groups for item in own_settings(group)}
    return [name for name in parse_flat(recipe, settings) if name not in used]


def student_recipe(name: str, settings: Mapping[str, Any], temperature: float | None) -> Recipe:
    """Return a named recipe with some settings changed; `temperature` takes precedence over both."""
    recipe = make_recipe(name, settings)
    return recipe if temperature is None else recipe.with_settings(temperature=temperature)
