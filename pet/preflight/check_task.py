"""A look at a task, its data and a model before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.backbones.base import LanguageModel
from pet.backbones.info import ModelInfo
from pet.backbones.kinds import binding_options, language_model, open_model
from pet.backbones.load import check_model, load_tokenizer
from pet.backbones.masked import check_length
from pet.cloze.bind import bind_patterns, hint_at
from pet.data.checks import check_tables, column_labels, label_counts
from pet.data.read import read_table
from pet.data.sample import sample_shots
from pet.ensemble.combine import Ensemble
from pet.errors import PetError
from pet.ipet.plan import make_plan
from pet.ipet.settings import NO_POOL
from pet.members.scoring import score_rows
from pet.members.training import ClozeData
from pet.preflight.cost import (
    Speed,
    Work,
    estimate,
    mean_tokens,
    rounds_of,
    time_member,
    time_student,
    training_sets,
)
from pet.preflight.patterns import PatternCheck, check_patterns, problems_of, tokenize_for
from pet.progress import Reporter
from pet.recipe import Recipe, make_recipe, without_auxiliary_loss
from pet.seeds import derive_seed
from pet.student.classifier import TextInput, new_classifier
from pet.training.device import make_accelerator
from pet.tuning.freeze import freeze
from pet.tuning.members import Backbone, check_tuning, encoder_options, start_member

if TYPE_CHECKING:
    from accelerate import Accelerator
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from pet.cloze.pvp import PVP
    from pet.cloze.tokens import TokenTable
    from pet.task.task import Task

Array = NDArray[Any]
MOST_FILLED = 5000  # texts of a table that the patterns are filled with, evenly over the table
MOST_TIMED = 500  # texts that are trained on for the estimate of the time
MUCH_CUT = 0.5
METHODS = ("pet", "ipet")  # that the time can be told of


@dataclass
class CheckReport:
    """What `check_task` found.

    Attributes
    ----------
    task, model, max_length : what was looked at
    rows : table -> its rows
    label_counts : table -> label -> rows
    patterns : see `pet.preflight.patterns.PatternCheck`
    zero_shot : None, or ``rows``, ``table``, ``majority`` (share of the most frequent label) and, for each
        pattern and for all together, ``accuracy`` and ``centred`` (after taking off each label's mean score)
    training_sets : of ``ipet``, texts that a member of each generation learns from; 0 for the untrained model
    seconds : None, or the parts of a run (`pet.preflight.cost.estimate`)
    warnings : what a run would get over
    errors : what a run would fail on
    """

    task: str
    model: str
    max_length: int
    rows: dict[str, int] = field(default_factory=dict)
    label_counts: dict[str, dict[str, int]] = field(default_factory=dict)
    patterns: list[PatternCheck] = field(default_factory=list)
    zero_shot: dict[str, Any] | None = None
    training_sets: list[int] = field(default_factory=list)
    seconds: dict[str, float] | None = None
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def check_task(
    task: Task,
    model: str,
    *,
    train: str | None = None,
    unlabeled: str | None = None,
    test: str | None = None,
    method: str = "pet",
    recipe: str = "default",
    settings: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    rows: int = 200,
    weights: bool = True,
    device: str = "auto",
    precision: str = "auto",
    allow_pickle: bool = False,
    reporter: Reporter | None = None,
) -> CheckReport:
    """Look at everything that can be known of a run beforehand. Mistakes are collected in the report.

    Parameters
    ----------
    task, model, train, unlabeled, test, columns, device, precision, allow_pickle : as a run would get them
    method : ``pet`` or ``ipet``, for the estimate of the time
    recipe, settings : as a run would get them; for the longest input and the estimate of the time
    rows : labeled texts that the untrained patterns are tried on
    weights : False leaves the model's weights alone: no accuracy, no time
    reporter : is told how far the work is

    Raises
    ------
    PetError
        If `method`, `recipe`, `settings` or `rows` make no sense.
    """
    reporter = reporter or Reporter("quiet")
    if rows < 1:
        raise PetError(f"--rows is {rows}: it must be 1 or more")
    if method not in METHODS:
        raise PetError(f"--method is {method!r}: the check knows {' and '.join(METHODS)}")
    plan = make_recipe(recipe, settings)
    if unlabeled is None:
        plan = without_auxiliary_loss(recipe, plan, settings)
    report = CheckReport(task.name, model, plan.encoding.max_length)
    sources = {"train": train, "unlabeled": unlabeled, "test": test}
    tables = _read(task, {name: s for name, s in sources.items() if s is not None}, columns or {}, report)
    if method == "ipet" and tables and not report.errors:
        report.training_sets = _training_sets(task, plan, tables, report)
    model_problems = _model_problems(model, plan, weights, allow_pickle)
    report.errors += model_problems
    try:
        tokenizer = load_tokenizer(model)
    except PetError as error:
        report.errors += [] if model_problems else error.problems  # most likely of the same cause
        return report
    try:
        binding = binding_options(model, tokenizer, plan.encoding.mean_of_tokens)
    except PetError as error:
        report.errors += [] if model_problems else error.problems
        return report
    report.patterns = check_patterns(
        task,
        tokenizer,
        plan.encoding.max_length,
        _to_fill_with(task, tables),
        blank=binding["blank"],
        **encoder_options(plan.tuning),
    )
    for pattern in () if tables else report.patterns:  # an example of ours says nothing about lengths
        pattern.cut.clear()
        pattern.mean_length.clear()
    pattern_problems = problems_of(report.patterns, task)
    good = [number for number, pattern in enumerate(report.patterns, 1) if not pattern.problems]
    report.errors += [*pattern_problems, *(hint_at(good) if pattern_problems else [])]
    try:
        if not model_problems:
            check_tuning(plan.tuning, task, ModelInfo(model).meta)
    except PetError as error:
        report.errors += error.problems
        return report
    if plan.priming.count:
        report.warnings.append(
            "priming goes with `pet run --method zero-shot` and is left out of this look: every text stands alone here"
        )
    report.warnings += _cut_warnings(report.patterns, plan.encoding.max_length)
    if weights and tables and not model_problems and not pattern_problems:
        try:
            lm, load = _open(model, allow_pickle, reporter)
            trial = Trial(task, tokenizer, lm, plan, binding, make_accelerator(device, precision), reporter)
            tokens_per_second = _zero_shot(report, trial, tables, rows)
            if report.training_sets or (method == "pet" and "train" in tables):
                _estimate(report, trial, tables, Speed(load, None, tokens_per_second, None), allow_pickle)
        except PetError as error:
            report.errors += error.problems
    return report


@dataclass(frozen=True)
class Trial:
    """What the untrained model is tried with."""

    task: Task
    tokenizer: PreTrainedTokenizerBase
    lm: LanguageModel
    recipe: Recipe
    binding: Mapping[str, Any]
    accelerator: Accelerator
    reporter: Reporter

    @cached_property
    def pvps(self) -> list[PVP]:
        return bind_patterns(self.task, self.tokenizer, self.recipe.encoding.max_length, **self.binding)

    def tokens(self, table: Dataset) -> TokenTable:
        return tokenize_for([pvp.encoder for pvp in self.pvps], table)


def _read(
    task: Task, sources: Mapping[str, str], columns: Mapping[str, str], report: CheckReport
) -> dict[str, Dataset]:
    """The tables that can be read, looked at together; the mistakes of the others go to the report."""
    tables = {}
    for name, source in sources.items():
        pool = name == "unlabeled"
        mapping = {key: value for key, value in columns.items() if not (pool and key == "label")}
        try:
            tables[name] = read_table(
                source,
                task.fields,
                labels=None if pool else task.labels,
                label_map={} if pool else task.label_map,
                columns=mapping,
                name=name,
            )
        except PetError as error:
            report.errors += error.problems
    found = check_tables(task.fields, task.labels, tables.get("train"), tables.get("unlabeled"), tables.get("test"))
    report.rows = dict(found.rows)
    report.label_counts = dict(found.label_counts)
    report.warnings += found.messages
    return tables


def _training_sets(task: Task, plan: Recipe, tables: Mapping[str, Dataset], report: CheckReport) -> list[int]:
    """Sizes of the training sets of iPET's generations; none, and why, where there can be no generations."""
    try:
        if "unlabeled" not in tables:
            raise PetError(NO_POOL)
        counts = label_counts(tables.get("train"), len(task.labels))
        return training_sets(make_plan(task, plan.ipet, counts, plan.member.repetitions), len(tables["unlabeled"]))
    except PetError as error:
        report.errors += error.problems
        return []


def _model_problems(model: str, plan: Recipe, weights: bool, allow_pickle: bool) -> list[str]:
    """What can be seen without opening the weights: whether there are any, and whether the recipe fits the model."""
    try:
        if weights:
            check_model(model, allow_pickle=allow_pickle)
        body = ModelInfo(model).meta
        check_length(body, plan.encoding.max_length, model)
        freeze(body, plan.tuning.freeze_layers)
    except PetError as error:
        return error.problems
    return []


def _to_fill_with(task: Task, tables: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """Rows to fill the patterns with: of large tables some, of no tables the names of the fields."""
    if not tables:
        return {"example": _example(task)}
    if any(part.keep for pattern in task.patterns for part in pattern.template.fields):
        return dict(tables)  # every text must be looked at: a kept field that does not fit stops a run
    return {name: _evenly(table, MOST_FILLED) for name, table in tables.items()}


def _example(task: Task) -> Dataset:
    import datasets

    return datasets.Dataset.from_dict({field: [field.replace("_", " ")] for field in task.fields})


def _evenly(table: Dataset, most: int) -> Dataset:
    if len(table) <= most:
        return table
    return table.select(np.linspace(0, len(table) - 1, most).astype(np.int64))


def _cut_warnings(patterns: list[PatternCheck], max_length: int) -> list[str]:
    """One line for each table in which a pattern cuts more than half of the texts."""
    worst: dict[str, float] = {}
    for pattern in patterns:
        for name, share in pattern.cut.items():
            worst[name] = max(share, worst.get(name, 0.0))
    return [
        f"{name}: {share:.0%} of the texts are cut to fit into {max_length} tokens; raise --max-length if the model can"
        for name, share in worst.items()
        if share > MUCH_CUT
    ]


def _open(model: str, allow_pickle: bool, reporter: Reporter) -> tuple[LanguageModel, float]:
    reporter.info(f"open {model}")
    begun = time.perf_counter()
    lm = language_model(open_model(model, allow_pickle=allow_pickle))
    return lm, time.perf_counter() - begun


def _zero_shot(report: CheckReport, trial: Trial, tables: Mapping[str, Dataset], rows: int) -> float:
    """Try the untrained patterns on labeled texts; returns the tokens that were scored in a second.

    The training texts are taken where there are some: the test set is not there to choose patterns by.
    """
    name = next(name for name in ("train", "test", "unlabeled") if name in tables)
    table, gold = tables[name], None
    if name == "unlabeled":
        table = _evenly(table, rows)
    else:
        gold = column_labels(table)
        seed = derive_seed(0, "check")
        most = min(rows, len(table))
        drawn = sample_shots(gold, len(trial.task.labels), examples=most, seed=seed, balanced=False)
        chosen = np.sort(drawn)
        table, gold = table.select(chosen), gold[chosen]
    scores, speed = _score(trial, table)
    if gold is None:
        return speed
    counts = np.bincount(gold, minlength=len(trial.task.labels))
    ensemble = Ensemble.of([str(n) for n in range(len(scores))], labels=scores[0].shape[1])
    together = ensemble.merge(scores)
    report.zero_shot = {
        "table": name,
        "rows": len(gold),
        "majority": float(counts.max() / len(gold)),
        "patterns": [untrained_accuracy(s, gold) for s in scores],
        "together": untrained_accuracy(together, gold),
    }
    return speed


def _score(trial: Trial, table: Dataset) -> tuple[list[Array], float]:
    """Scores of each pattern, and the tokens that were scored in a second."""
    tokens, scores, total = trial.tokens(table), [], 0
    # The first batch waits for much that the others do not.
    warm_up = trial.tokens(table.select(range(min(2, len(table)))))
    score_rows(trial.lm, trial.tokenizer, trial.pvps[0], warm_up, trial.accelerator, max_tokens=512)
    begun = time.perf_counter()
    with trial.reporter.task("score with the untrained model", len(table) * len(trial.pvps), "text") as bar:
        for pvp in trial.pvps:
            scores.append(
                score_rows(
                    trial.lm, trial.tokenizer, pvp, tokens, trial.accelerator,
                    max_tokens=trial.recipe.inference.tokens, on_rows=bar.update,
                )
            )  # fmt: skip
    passed = time.perf_counter() - begun
    for pvp in trial.pvps:
        total += len(pvp.encoder.encode(tokens).ids.values)
    return scores, total / max(passed, 1e-9)


def untrained_accuracy(scores: Array, gold: Array) -> dict[str, float]:
    """How often the best label is right.

    Parameters
    ----------
    scores : shape (rows, L)
    gold : int array of shape (rows,)

    Returns
    -------
    ``accuracy``, and ``centred``: after taking off each label's mean score over these rows, which shows
    what a pattern can tell apart however much it prefers a word
    """
    centred = scores - scores.mean(axis=0)
    return {
        "accuracy": float((scores.argmax(axis=1) == gold).mean()),
        "centred": float((centred.argmax(axis=1) == gold).mean()),
    }


def _estimate(
    report: CheckReport, trial: Trial, tables: Mapping[str, Dataset], speed: Speed, allow_pickle: bool
) -> None:
    """Time a few updates of a member and of the student. The model's weights are of no use afterwards."""
    trial.reporter.info("time a few updates")
    # Without labeled texts members learn from the pool alone; with which labels costs no time.
    train = _evenly(tables["train" if "train" in tables else "unlabeled"], MOST_TIMED)
    gold = column_labels(train) if "train" in tables else np.arange(len(train)) % len(trial.task.labels)
    pool = _evenly(tables["unlabeled"], MOST_TIMED) if "unlabeled" in tables else None
    data = ClozeData(trial.tokens(train), gold, None if pool is None else trial.tokens(pool))
    recipe = trial.recipe
    lm, pvp = trial.lm, trial.pvps[0]
    if recipe.tuning.method != "full":
        options = encoder_options(recipe.tuning) | dict(trial.binding)
        bound = bind_patterns(trial.task, trial.tokenizer, recipe.encoding.max_length, **options)
        pvp, backbone = bound[0], Backbone(lm.model, report.model, "")
        lm = start_member(backbone, recipe.tuning, pvp, [data.labeled], 0, trial.accelerator.device)
    update = time_member(lm, pvp, data, recipe, trial.accelerator)
    student = None
    if pool is not None:
        text_input = TextInput(trial.task.fields, trial.task.input)
        classifier = new_classifier(
            report.model, text_input, trial.task.labels, recipe.encoding.max_length, allow_pickle=allow_pickle
        )
        student = time_student(classifier, pool, recipe, trial.accelerator)
    tokens = float(np.mean([mean_tokens(pattern.mean_length, report.rows) for pattern in report.patterns]))
    sizes = report.training_sets or [len(tables["train"])]
    work = Work(rounds_of(recipe, sizes, len(trial.pvps), tokens), recipe.student.steps)
    report.seconds = estimate(replace(speed, member_update=update, student_update=student), work)
