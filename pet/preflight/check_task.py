"""Check a task, its data, and a model before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pet.backbones.info import ModelInfo
from pet.backbones.load import check_model
from pet.backbones.masked import check_length
from pet.cloze.bind import hint_at
from pet.cloze.settings import TOGETHER
from pet.data.checks import label_counts
from pet.data.run_texts import RunDraw
from pet.data.table_format import DETECT, TableFormat
from pet.ensemble.class_ratio import check_label_shares, read_prior
from pet.errors import PetError
from pet.ipet.plan import make_plan
from pet.ipet.selection import parse_ratio
from pet.ipet.settings import NO_POOL
from pet.members.models import Models
from pet.members.shared import Shared
from pet.members.verbalizers import check_verbalizers
from pet.preflight.cost import Speed, estimate_run, mean_tokens, training_sets
from pet.preflight.members import check_members
from pet.preflight.patterns import PatternCheck, check_patterns, note_cost, problems_of
from pet.preflight.refused import check_settings
from pet.preflight.report import CheckReport
from pet.preflight.tables import read_tables, texts_to_fill
from pet.preflight.teachers import check_teachers
from pet.preflight.zero_shot import try_patterns
from pet.progress import Reporter
from pet.recipe import EFFORTS, Recipe, fit_to_data, make_recipe, without_auxiliary_loss
from pet.settings import out_of_range
from pet.student.classifier import TextInput, check_input
from pet.task.task import Task
from pet.teachers.access import Access
from pet.tuning.freeze import freeze
from pet.tuning.members import check_tuning, encoder_options

if TYPE_CHECKING:
    from datasets import Dataset

METHODS = ("pet", "ipet")  # methods whose time can be estimated
CUT_SHARE = 0.5  # warn if more of a table's texts than this are truncated


@dataclass(frozen=True)
class CheckOptions:
    """What to check, and how.

    Attributes
    ----------
    sources : ``train``, ``unlabeled``, or ``test`` -> file or hub data set, as for a run
    draw : which texts of the files a run uses; default: all
    columns : field (or ``label``, ``id``) -> column of the data files
    table_format : encoding, delimiter and quoting of CSV and TSV files; default: detected
    method : ``pet`` or ``ipet``, for the time estimate
    recipe, settings : name of the recipe, and settings to change
    rows : maximum number of labeled texts to try the untrained patterns on
    weights : False: do not open the model's weights, so there is no accuracy and no time estimate
    device, precision : see `pet.training.device.make_accelerator`
    allow_pickle : whether pickled weights may be opened
    members : members besides those of the task, as text
    access : limits of teachers. Each is asked once, about a text without content

    Raises
    ------
    PetError
        If `draw`, `method` or `rows` is invalid.
    """

    sources: Mapping[str, str] = field(default_factory=dict)
    draw: RunDraw = field(default_factory=RunDraw)
    columns: Mapping[str, str] = field(default_factory=dict)
    table_format: TableFormat = DETECT
    method: str = "pet"
    recipe: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 200
    weights: bool = True
    device: str = "auto"
    precision: str = "auto"
    allow_pickle: bool = False
    members: tuple[str, ...] = ()
    access: Access = field(default_factory=Access)

    def __post_init__(self) -> None:
        problems = [*out_of_range(self, {"rows": (1, 10**6)}), *self.draw.mistakes()]
        if problems:
            raise PetError(problems)
        if self.method not in METHODS:
            raise PetError(f"--method is {self.method!r}; methods that can be checked are {', '.join(METHODS)}")

    def make_recipe(self) -> Recipe:
        """Return the recipe that a run would use."""
        recipe = make_recipe(self.recipe, self.settings)
        if "unlabeled" in self.sources:
            return recipe
        return without_auxiliary_loss(self.recipe, recipe, self.settings)


def check_task(
    task: Task, model: str, options: CheckOptions | None = None, reporter: Reporter | None = None
) -> CheckReport:
    """Find out what a run would do, and what would stop it. Nothing is trained or written.

    Problems are collected in the report.

    Parameters
    ----------
    task : the task
    model : folder, embedded model, or hub name
    options : data, recipe, and what to try
    reporter : shows progress

    Raises
    ------
    PetError
        If the recipe or a setting is invalid.

    Examples
    --------
    >>> from pet.task.task import Task
    >>> report = check_task(Task.load("news"), "mini-en", CheckOptions(weights=False))
    >>> report.errors, report.patterns[0].words["Sports"]["football"]
    ([], ('football',))
    """
    options, reporter = options or CheckOptions(), reporter or Reporter("quiet")
    recipe = options.make_recipe()
    columns = {**task.columns, **options.columns}
    _check_recipe(task, recipe, columns, options.table_format)
    max_length = recipe.encoding.max_length
    report = CheckReport(task.name, model, max_length)
    tables = read_tables(task, options.sources, columns, report, options.table_format, options.draw)
    if options.recipe in EFFORTS and "train" in tables:
        recipe = fit_to_data(recipe, options.settings, len(tables["train"]), len(task.labels), options.method)
    if options.method == "ipet" and tables and not report.errors:
        with report.collect_errors():
            report.training_sets = _training_sets(task, recipe, tables)
    members = check_members(task, recipe, options.members, tables, report, allow_pickle=options.allow_pickle)
    check_teachers(members, task, recipe.teacher, tables, options.access, report)
    info = ModelInfo(model, allow_pickle=options.allow_pickle)
    model_problems = _model_problems(info, task, recipe, options.weights)
    report.errors += model_problems
    try:
        report.patterns = _check_patterns(info, task, recipe, tables)
    except PetError as error:
        report.errors += [] if model_problems else error.problems  # probably the same cause
        return report
    pattern_problems = _pattern_problems(report.patterns, task)
    report.errors += pattern_problems
    if recipe.priming.count:
        report.warnings.append("priming only applies to `pet run --method zero-shot`; this check does not use it")
    report.warnings += _cut_warnings(report.patterns, max_length)
    if options.weights and tables and not model_problems and not pattern_problems:
        models = Models(info, max_length, shared=False)
        shared = Shared(task, recipe, models, device=options.device, precision=options.precision)
        with report.collect_errors():
            _try_model(shared, tables, options, report, reporter)
    return report


def _check_recipe(task: Task, recipe: Recipe, columns: Mapping[str, str], table_format: TableFormat) -> None:
    """Raise the mistakes in settings that name labels, or that the task does not allow."""
    parse_ratio(recipe.ipet.ratio, task.labels)
    check_settings(task, recipe)
    if task.multi_label:
        check_label_shares(recipe.merging.prior, task)
    else:
        read_prior(recipe.merging.prior, task.labels, task.label_map, columns=columns, table_format=table_format)


def _training_sets(task: Task, recipe: Recipe, tables: Mapping[str, Dataset]) -> list[int]:
    """Sizes of the training sets of iPET's generations."""
    if "unlabeled" not in tables:
        raise PetError(NO_POOL)
    counts, pool = label_counts(tables.get("train"), len(task.labels)), len(tables["unlabeled"])
    return training_sets(make_plan(task, recipe.ipet, counts, recipe.member.repetitions, pool), pool)


def _model_problems(info: ModelInfo, task: Task, recipe: Recipe, weights: bool) -> list[str]:
    """Problems that can be found without opening the weights."""
    try:
        if weights:
            check_model(info.name, allow_pickle=info.allow_pickle)
        check_length(info.meta, recipe.encoding.max_length, info.name)
        freeze(info.meta, recipe.tuning.freeze_layers)
        check_tuning(recipe.tuning, task, info.meta)
        check_verbalizers(task, recipe, info)
        check_input(TextInput(task.fields, task.input), info.tokenizer, recipe.encoding.max_length)
    except PetError as error:
        return error.problems
    return []


def _check_patterns(info: ModelInfo, task: Task, recipe: Recipe, tables: Mapping[str, Dataset]) -> list[PatternCheck]:
    """Bind and fill the patterns."""
    texts = texts_to_fill(task, tables)
    options = encoder_options(recipe.tuning)
    found = check_patterns(task, info.tokenizer, recipe.encoding.max_length, texts, blank=info.blank, **options)
    for pattern in found:
        if not tables:  # a made-up example says nothing about lengths
            pattern.cut.clear()
            pattern.mean_length.clear()
        if info.blank.repeated and not pattern.problems:
            note_cost(pattern, in_turn=recipe.encoding.multi_token != TOGETHER)
    return found


def _pattern_problems(patterns: Sequence[PatternCheck], task: Task) -> list[str]:
    """Problems of all patterns, and which patterns have none."""
    problems = problems_of(patterns, task)
    good = [number for number, pattern in enumerate(patterns, 1) if not pattern.problems]
    return [*problems, *hint_at(good)] if problems else []


def _cut_warnings(patterns: Sequence[PatternCheck], max_length: int) -> list[str]:
    """One line for each table of which a pattern truncates more than `CUT_SHARE` of the texts."""
    worst: dict[str, float] = {}
    for pattern in patterns:
        for name, share in pattern.cut.items():
            worst[name] = max(share, worst.get(name, 0.0))
    return [
        f"{name}: {share:.0%} of the texts are truncated to {max_length} tokens; raise --max-length if the model "
        "supports it"
        for name, share in worst.items()
        if share > CUT_SHARE
    ]


def _try_model(
    shared: Shared, tables: Mapping[str, Dataset], options: CheckOptions, report: CheckReport, reporter: Reporter
) -> None:
    """Open the weights, try the untrained patterns, and estimate the time of a run."""
    reporter.info(f"open {report.model}")
    start = time.perf_counter()
    shared.models.untrained()
    load = time.perf_counter() - start
    report.zero_shot, scored = try_patterns(shared, tables, options.rows, reporter)
    sizes = report.training_sets
    if options.method == "pet" and "train" in tables:
        sizes = [len(tables["train"])]
    if sizes:
        reporter.info("time a few updates")
        read = [pattern.tokens_read if pattern.asks else pattern.mean_length for pattern in report.patterns]
        tokens = float(np.mean([mean_tokens(lengths, report.rows) for lengths in read]))
        report.seconds = estimate_run(shared, tables, Speed(load, scored), sizes, tokens)
