"""A whole run, from settings to the report, in the order of the data flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pet.ensemble.combine import Ensemble
from pet.errors import PetError
from pet.process import BORROWED
from pet.progress import Reporter
from pet.report.generations import generations_csv
from pet.run.classifiers import evaluate_classifier, make_student, make_supervised
from pet.run.comparison import compare
from pet.run.context import RunContext
from pet.run.continued import continued_work, make_pretrained
from pet.run.evidence import evidence
from pet.run.execution.executor import Executor, TeachersFirst
from pet.run.execution.options import Execution
from pet.run.execution.start import make_executor
from pet.run.execution.work import MemberWork
from pet.run.generations import Generations
from pet.run.init_prompt import make_init_prompt
from pet.run.kept_corrections import copies_to_resume, keep_corrections
from pet.run.merging import (
    evaluate_ensemble,
    keep_ensemble,
    label_pool,
    labels_stage,
)
from pet.run.outlook import outlook_of
from pet.run.pattern_labels import label_with_patterns
from pet.run.pool_gold import pseudo_label_accuracy
from pet.run.ratio_figures import ratio_figures
from pet.run.resolve import Given, ResolvedRun, resolve
from pet.run.results import Results, write_results
from pet.run.reuse import reuse_members
from pet.run.settings import RunSettings
from pet.run.stages import keep_primers, trained_members, untrained_members
from pet.run.trackers import check_trackers
from pet.run.tracking import Tracking, tracking
from pet.run.vectors import keep_vectors
from pet.run.weights import estimate_figures, make_ensemble, pattern_accuracies
from pet.store.directory import RunDirectory
from pet.store.files import write_atomically
from pet.training.group import in_a_group
from pet.training.memory import keep_objects


def run(
    settings: RunSettings,
    output: str | Path,
    reporter: Reporter | None = None,
    *,
    given: Given | None = None,
    execution: Execution | None = None,
) -> Results:
    """Start or resume a run, and write everything to a folder.

    Parameters
    ----------
    settings : what to do
    output : the run directory: new, empty, or holding the same run
    reporter : gets messages and progress; default: print warnings only
    given : the task with its lines, tables in memory, and so on
    execution : where members are trained and scored; default: on every GPU of this machine, or in this process

    Returns
    -------
    dict with the content of metrics.json: ``task``, ``method``, ``model``, ``seed``, ``data`` (counts), and, with a
    test set, ``members``, ``ensemble``, ``student``, and ``baselines`` with the figures of `pet.evaluate.evaluate`. For
    ``ipet`` also ``generations`` (`pet.report.generations`) and ``generation``, whose labels trained the student. With
    a pool also ``class_ratio`` (`pet.run.ratio_figures`), and ``estimate`` (`pet.run.calibration.Estimate`)

    Raises
    ------
    PetError
        If the settings, the data, or the model have mistakes. They are found before training where possible.

    Examples
    --------
    >>> from pet import RunSettings, Task
    >>> settings = RunSettings(
    ...     task=Task.load("reviews.yaml").to_dict(), train="train.jsonl", unlabeled="pool.jsonl", test="test.jsonl",
    ...     model="mini-en", settings={"steps": 2, "student_steps": 2},
    ... )  # fmt: skip
    >>> results = run(settings, "runs/example")
    >>> sorted(results["student"])[:3]
    ['accuracy', 'accuracy_interval', 'calibration']
    """
    reporter, given = reporter or Reporter("quiet"), given or Given()
    if given.group is None and in_a_group():
        raise PetError(
            "this process is one of several (torchrun, accelerate launch), and each would start the same run; use the "
            "command `pet run`, which trains each member with all of them, or start a single process; if it is alone, "
            "unset WORLD_SIZE"
        )
    check_trackers(given.track)
    copies = {**given.copies, **copies_to_resume(settings, Path(output), reporter)}
    resolved = resolve(settings, reporter, replace(given, copies=copies))
    keep_objects()
    directory = RunDirectory(output, resolved.config, reporter=reporter)
    executor = TeachersFirst(make_executor(execution or Execution(), settings.device, given.group))
    # Libraries change warning filters and how torch computes attention, for the whole process. So runs take turns.
    reporter.outlook = outlook_of(resolved)
    with directory, BORROWED, tracking(given.track, directory.path, resolved, reporter) as tracked:
        return _finished(resolved, directory, executor, tracked)


def _finished(resolved: ResolvedRun, directory: RunDirectory, executor: Executor, tracked: Tracking | None) -> Results:
    """Build all stages, write the results, and log them."""
    figures, shown = _results(resolved, directory, executor)
    results = write_results(directory, resolved, figures, shown)
    if tracked is not None:
        tracked.finish(results, shown)
    return results


def _results(resolved: ResolvedRun, directory: RunDirectory, executor: Executor) -> tuple[Results, Results]:
    """Build all stages and return the figures, and what only the report shows."""
    context = RunContext(
        settings=resolved.settings,
        task=resolved.task,
        recipe=resolved.recipe,
        data=resolved.data,
        specs=resolved.specs,
        shared=resolved.shared,
        directory=directory,
        reporter=directory.reporter,
    )
    try:
        keep_corrections(directory, resolved.data)
        if resolved.initial is not None:
            context.shared.initial = make_init_prompt(context, resolved.initial)
        if resolved.settings.reuse is not None:
            reuse_members(context)
        label_with_patterns(context)
        keep_vectors(context)
        if resolved.plan is not None:
            figures = _run_ipet(context, executor, resolved)
        else:
            figures = _METHODS[resolved.settings.method](context, executor)
            if resolved.settings.compares:
                figures["baselines"] = {**_run_baselines(context, executor), **figures.get("baselines", {})}
        if context.has("pool") and resolved.settings.method != "supervised":
            figures["class_ratio"] = ratio_figures(context, figures.get("generation", 0), resolved.ratio)
        figures |= estimate_figures(context, figures.get("generation", 0))
        compared = compare(context, figures)
        baselines = {**compared.get("baselines", {}), **figures.get("baselines", {})}
        results = figures | compared | ({"baselines": baselines} if baselines else {})
        return results, evidence(context, results)
    finally:
        executor.close()
        context.close()


def run_pet(context: RunContext, executor: Executor) -> Results:
    """Train the ensemble, label the pool, distill the student."""
    accuracies = pattern_accuracies(context)
    members = trained_members(context)
    executor.make(context, [MemberWork(member) for member in members])
    ensemble = make_ensemble(context, members, accuracies)
    if not context.has("pool"):
        context.reporter.warn("no unlabeled text to distill from: the run ends with the ensemble")
        return evaluate_ensemble(context, members, keep_ensemble(context, members, ensemble))
    ensemble = label_pool(context, members, ensemble)
    results = evaluate_ensemble(context, members, ensemble)
    _release(context, executor)
    student = make_student(context, members)
    return results | {"student": evaluate_classifier(context, student)}


def run_pcp(context: RunContext, executor: Executor) -> Results:
    """Label the pool with PET's members, continue pretraining on these labels, train members again, and distill."""
    accuracies = pattern_accuracies(context)
    first = trained_members(context)
    executor.make(context, [MemberWork(member) for member in first])
    before = label_pool(context, first, make_ensemble(context, first, accuracies))
    _release(context, executor)
    make_pretrained(context, labels_stage(first))
    context.shared.models.forget()
    works = continued_work(context)
    executor.make(context, works)
    members = [work.member for work in works]
    ensemble = label_pool(context, members, make_ensemble(context, members, accuracies))
    results = evaluate_ensemble(context, members, ensemble)
    _release(context, executor)
    student = make_student(context, members)
    results |= {"student": evaluate_classifier(context, student), "generation": members[0].generation}
    if context.settings.compares:
        results["baselines"] = {"pet": _pet_of_first(context, first, before)}
    return results


def run_zero_shot(context: RunContext, executor: Executor, prefix: str = "") -> Results:
    """Score and label texts with the untrained patterns. As a baseline, score only the test texts."""
    members = untrained_members(context, prefix=prefix)
    parts = ("test",) if prefix else ("pool", "test")
    if context.recipe.priming.count:
        _warn_of_few_primers(context)
        keep_primers(context)
    executor.make(context, [MemberWork(member, parts=parts) for member in members])
    context.shared.models.forget()
    ensemble = make_ensemble(context, members, None)
    label = label_pool if context.has("pool") and not prefix else keep_ensemble
    ensemble = label(context, members, ensemble)
    return evaluate_ensemble(context, members, ensemble)


def run_supervised(context: RunContext, executor: Executor | None = None, prefix: str = "") -> Results:
    """Fine-tune a sequence classifier on the labeled examples."""
    return {"student": evaluate_classifier(context, make_supervised(context, prefix))}


_METHODS: Mapping[str, Callable[[RunContext, Executor], Results]] = {
    "pet": run_pet,
    "pcp": run_pcp,
    "zero-shot": run_zero_shot,
    "supervised": run_supervised,
}


def _run_ipet(context: RunContext, executor: Executor, resolved: ResolvedRun) -> Results:
    """Train generations of members that label texts for each other, and distill the student from the last one."""
    if resolved.plan is None:
        raise ValueError("iPET requires a plan of its generations")
    diagnose = None
    if resolved.pool_gold is not None:
        gold, root = resolved.pool_gold, context.directory.path
        diagnose = lambda generation: pseudo_label_accuracy(root, generation, gold, context.task.labels)  # noqa: E731
    generations = Generations(context, executor, resolved.plan, diagnose)
    used = generations.run()
    members, ensemble = generations.members(used), generations.ensemble(used)
    write_atomically(
        context.directory.path / "generations.csv", generations_csv(generations.history, context.task.labels)
    )
    results = evaluate_ensemble(context, members, ensemble)
    _release(context, executor)
    student = make_student(context, members)
    results |= {
        "student": evaluate_classifier(context, student),
        "generation": used,
        "generations": generations.history,
    }
    if resolved.settings.compares:
        results["baselines"] = _run_baselines(context, executor)
        if context.has("train"):
            first, ensemble = generations.members(0), generations.ensemble(0)
            results["baselines"]["pet"] = _pet_of_first(context, first, ensemble)
    return results


def _pet_of_first(context: RunContext, members: list[Any], ensemble: Ensemble) -> Results:
    """Return the figures of PET, which is the first generation of iPET or PCP plus a student of its own."""
    student = make_student(context, members, "baselines/pet/")
    return evaluate_ensemble(context, members, ensemble) | {"student": evaluate_classifier(context, student)}


def _run_baselines(context: RunContext, executor: Executor) -> dict[str, Results]:
    """Run the other methods on the same examples, under ``baselines/``."""
    others: dict[str, Results] = {}
    if context.settings.method != "zero-shot":
        others["zero-shot"] = run_zero_shot(context, executor, "baselines/zero-shot/")
    if context.settings.method != "supervised" and context.has("train"):
        others["supervised"] = run_supervised(context, prefix="baselines/supervised/")
    return others


def _release(context: RunContext, executor: Executor) -> None:
    """Free models and devices, so that this process can use them."""
    context.shared.models.forget()
    executor.release()


def _warn_of_few_primers(context: RunContext) -> None:
    """Warn if fewer labeled texts than requested are prepended."""
    wanted, there = context.recipe.priming.count, len(context.texts("train"))
    if there < wanted:
        context.reporter.warn(f"priming={wanted}: there are only {there} labeled texts; all are used")
    longest = max(pvp.encoder.primers.typical_length for pvp in context.shared.pvps if pvp.encoder.primers)
    limit = context.recipe.encoding.max_length
    if longest > limit:
        context.reporter.warn(
            f"priming={wanted}: the labeled texts plus a text of average length have about {longest} tokens, but only "
            f"{limit} fit; labeled texts that do not fit are dropped. Raise --max-length if the model supports it"
        )
