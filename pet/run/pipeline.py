"""A whole run, from the task file to the report; reads from top to bottom like the data flow."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pet.backbones.load import check_classifier, check_model, model_fingerprint
from pet.backbones.masked import check_length
from pet.backbones.meta import count_parameters, meta_model
from pet.data.checks import label_counts
from pet.ensemble.combine import member_weights
from pet.errors import PetError
from pet.ipet.plan import make_plan
from pet.progress import Reporter
from pet.recipe import Recipe, learning_rate_for, make_recipe, student_rate_for, without_auxiliary_loss
from pet.report.card import CardTask, student_card
from pet.report.generations import generations_csv
from pet.report.html import html_report
from pet.report.tables import summarize
from pet.run.context import RunContext
from pet.run.execution.data_parallel import check_share
from pet.run.execution.executor import Execution, MemberWork, make_executor, make_members, release_devices
from pet.run.generations import Diagnose, Generations
from pet.run.init_prompt import InitPrompt, make_init_prompt, open_init_prompt
from pet.run.inputs import RunData, load_data, source_fingerprint
from pet.run.pool_gold import diagnose, read_pool_gold
from pet.run.settings import RunSettings
from pet.run.stages import (
    Member,
    ensemble_members,
    ensemble_weights,
    keep_primers,
    label_pool,
    make_student,
    make_supervised,
    measure_classifier,
    measure_ensemble,
    measure_untrained,
)
from pet.store.directory import RunDirectory
from pet.store.files import write_whole
from pet.task.task import Task
from pet.training.group import in_a_group
from pet.tuning.freeze import freeze
from pet.tuning.members import check_tuning

if TYPE_CHECKING:
    from datasets import Dataset

    from pet.training.group import Group

Results = dict[str, Any]


def run_pet(context: RunContext) -> Results:
    """Train the ensemble, label the pool, distill the student."""
    assert context.data.train is not None
    accuracies = measure_untrained(context)
    members = ensemble_members(context)
    make_members(context, [MemberWork(member) for member in members])
    weights = ensemble_weights(context, accuracies, members)
    if context.data.pool is None:
        context.reporter.warn("no unlabeled text: there is nothing to distill from, so the run ends with the ensemble")
        return measure_ensemble(context, members, weights)
    label_pool(context, members, weights)
    results = measure_ensemble(context, members, weights)
    release_devices(context)
    student = make_student(context)
    return results | {"student": measure_classifier(context, student)}


def run_ipet(context: RunContext, generations: Generations) -> Results:
    """Train generations that label for each other, and distill the student from the last one."""
    used = generations.run()
    members, weights = generations.members(used), generations.weights(used)
    write_whole(context.directory.path / "generations.csv", generations_csv(generations.history, context.task.labels))
    results = measure_ensemble(context, members, weights)
    release_devices(context)
    student = make_student(context, used)
    return results | {
        "student": measure_classifier(context, student),
        "generation": used,
        "generations": generations.history,
    }


def run_pet_of_ipet(context: RunContext, generations: Generations, prefix: str) -> Results:
    """PET, which is the first generation of iPET: a student of its own is all that is missing."""
    results = measure_ensemble(context, generations.members(0), generations.weights(0))
    return results | {"student": measure_classifier(context, make_student(context, 0, prefix))}


def run_zero_shot(context: RunContext, prefix: str = "") -> Results:
    """Score and label with the untrained patterns; as a baseline, score the test texts only."""
    members = [Member(0, p, 0) for p in range(len(context.pvps))]
    parts = ("pool", "test") if not prefix or context.recipe.merging.prior != "none" else ("test",)
    if context.recipe.priming.count:
        _warn_of_few_primers(context)
        keep_primers(context)
    make_members(context, [MemberWork(member, trained=False, prefix=prefix, parts=parts) for member in members])
    context.forget()
    weights = member_weights(None, len(members), "uniform")
    if context.data.pool is not None and "pool" in parts:
        label_pool(context, members, weights, prefix)
    return measure_ensemble(context, members, weights, prefix)


def _warn_of_few_primers(context: RunContext) -> None:
    """Say that fewer labeled texts stand before others than was asked for: there are no more, or there is no room."""
    assert context.data.train is not None
    wanted = context.recipe.priming.count
    if len(context.data.train) < wanted:
        context.reporter.warn(
            f"priming={wanted}: there are {len(context.data.train)} labeled texts, and all of them are used"
        )
    longest = max(pvp.encoder.primers.tokens_with_text for pvp in context.pvps if pvp.encoder.primers)
    if longest > context.recipe.encoding.max_length:
        context.reporter.warn(
            f"priming={wanted}: with a text of their length the labeled texts have about {longest} tokens and do not "
            f"all fit into {context.recipe.encoding.max_length}; those that do not are left out, so raise --max-length "
            "if the model can"
        )


def run_supervised(context: RunContext, prefix: str = "") -> Results:
    """Fine-tune a plain classifier on the labeled examples."""
    return {"student": measure_classifier(context, make_supervised(context, prefix))}


_RUN: Mapping[str, Callable[..., Results]] = {
    "pet": run_pet,
    "zero-shot": run_zero_shot,
    "supervised": run_supervised,
}


def resolve_recipe(settings: RunSettings) -> Recipe:
    """The recipe with nothing left open: learning rates by the size of the model, no auxiliary loss without text."""
    recipe = make_recipe(settings.recipe, settings.settings)
    if settings.unlabeled is None:
        recipe = without_auxiliary_loss(settings.recipe, recipe, settings.settings)
    rate = recipe.member.learning_rate or learning_rate_for(count_parameters(settings.model), recipe.tuning.rate_factor)
    student = settings.student_model or settings.model
    student_rate = recipe.student.learning_rate or student_rate_for(count_parameters(student))
    return recipe.with_settings(learning_rate=rate, student_learning_rate=student_rate)


def run(
    settings: RunSettings,
    output: str | Path,
    reporter: Reporter | None = None,
    *,
    task: Task | None = None,
    tables: Mapping[str, Dataset] | None = None,
    pool_gold: str | None = None,
    execution: Execution | None = None,
    group: Group | None = None,
) -> Results:
    """Run, or go on with, one run, and leave all of it in a folder.

    Parameters
    ----------
    settings : what to do
    output : the run directory; new, empty, or with the same run in it
    reporter : is told how far the work is; None: of warnings only
    task : the task that `settings` holds as a mapping, where it was read from a file; messages then name its lines
    tables : ``train``, ``unlabeled`` or ``test`` -> texts that are in memory (`pet.data.memory.table_of`), in place
        of a file; the source in `settings` is then a name that begins with ``memory:``
    pool_gold : a file with the labels of the unlabeled texts; ipet then tells how right its labels are, and does
        nothing else with them
    execution : where members are made; None: in this process, or on every GPU of this machine
    group : processes that train each member together with this one, which leads; see `pet.run.execution.data_parallel`

    Returns
    -------
    dict, as in metrics.json: task, method, model, seed, data (counts), and, where there is a test set,
    ``members``, ``ensemble``, ``student`` and ``baselines`` with the figures of `pet.evaluate.evaluate`; for ipet
    ``generations`` (`pet.report.generations`) and ``generation``, the one that the student learned from

    Raises
    ------
    PetError
        For every mistake of the user's, before anything is trained where that is possible.

    Examples
    --------
    >>> settings = RunSettings(
    ...     task=Task.load("reviews.yaml").to_dict(), train="train.jsonl", unlabeled="pool.jsonl", test="test.jsonl",
    ...     model="mini-en", settings={"steps": 2, "student_steps": 2},
    ... )  # fmt: skip
    >>> results = run(settings, "runs/example")
    >>> sorted(results["student"])[:3]
    ['accuracy', 'calibration', 'confusion']
    """
    if group is None and in_a_group():
        raise PetError(
            "several processes were started together (accelerate launch, torchrun), and each would make the same run; "
            "start the command `pet run`, which shares each member's training among them, or one process"
        )
    reporter = reporter or Reporter("quiet")
    task = task or Task.from_dict(settings.task)
    trains_members = settings.method in ("pet", "ipet")
    models = [model for model in (settings.model, settings.student_model) if model is not None]
    for model in models:
        check_model(model, allow_pickle=settings.allow_pickle)
    if settings.makes_classifier:
        check_classifier(settings.student_model or settings.model)
    recipe = resolve_recipe(settings)
    meta_models = {model: meta_model(model) for model in models}
    initial = open_init_prompt(settings, recipe, reporter)
    if initial is not None:
        recipe = recipe.with_settings(prompt_length=initial.length)
    if trains_members:
        check_tuning(recipe.tuning, task, meta_models[settings.model])
        if group is not None:
            check_share(recipe, group)
        if recipe.tuning.method != "p-tuning" and any(pattern.template.is_soft for pattern in task.patterns):
            reporter.warn(
                f"{{soft:...}} is learned with --tuning p-tuning; with {recipe.tuning.method} its words are words"
            )
    for model, body in meta_models.items():
        check_length(body, recipe.encoding.max_length, model)
    freeze(meta_models[settings.model], recipe.tuning.freeze_layers)  # of no weights: whether it can be
    if pool_gold is not None and settings.method != "ipet":
        raise PetError("--pool-gold says how right the labels of the generations are; it goes with --method ipet")
    if recipe.priming.count and settings.method != "zero-shot":
        raise PetError("priming puts labeled texts before others and trains nothing: it goes with --method zero-shot")
    data = load_data(settings, task, reporter, tables)
    if recipe.priming.count and data.train is None:
        raise PetError(
            f"priming={recipe.priming.count} puts labeled texts before others, and there are none; give --train"
        )
    observe = _observer(pool_gold, settings, task, data, output)
    config = _configuration(settings, recipe, data, initial)
    directory = RunDirectory(output, config, reporter=reporter)
    executor = make_executor(execution or Execution(), settings, group)
    context = RunContext(settings, task, recipe, data, directory, reporter, executor=executor)
    # A word that splits, a model without a mask or a device that is not there leave no folder behind.
    _ = context.accelerator, context.pvps if settings.method != "supervised" or settings.baselines else None
    _ = context.tuned_pvps if trains_members else None
    generations = None
    if settings.method == "ipet":
        generations = Generations(
            context,
            make_plan(task, recipe.ipet, label_counts(data.train, len(task.labels)), recipe.member.repetitions),
            observe,
        )
    with directory:
        try:
            context.initial = None if initial is None else make_init_prompt(context, initial)
            figures = run_ipet(context, generations) if generations else _RUN[settings.method](context)
            if settings.baselines:
                figures["baselines"] = _run_baselines(context, generations)
            results = {
                "task": task.name,
                "method": settings.method,
                "model": settings.model,
                "seed": settings.seed,
                "data": data.report,
                **figures,
            }
            write_results(context, results)
        finally:
            context.close()
    return results


def _configuration(
    settings: RunSettings, recipe: Recipe, data: Any, initial: InitPrompt | None = None
) -> dict[str, Any]:
    hashes = {
        "model": model_fingerprint(settings.model),
        "train": source_fingerprint(settings.train, data.train),
        "unlabeled": source_fingerprint(settings.unlabeled, data.pool),
        "test": source_fingerprint(settings.test, data.test),
    }
    if settings.student_model:
        hashes["student_model"] = model_fingerprint(settings.student_model)
    if initial is not None:
        hashes |= initial.hashes()
    return {"settings": settings.to_dict(), "recipe": recipe.to_dict(), "hashes": hashes}


def _observer(
    pool_gold: str | None, settings: RunSettings, task: Task, data: RunData, output: str | Path
) -> Diagnose | None:
    """What looks at finished generations with the hidden labels; neither these nor their file go anywhere else."""
    if pool_gold is None:
        return None
    assert data.pool is not None
    gold = read_pool_gold(pool_gold, task, data.pool, settings.columns)
    return lambda generation: diagnose(Path(output), generation, gold, task.labels)


def _run_baselines(context: RunContext, generations: Generations | None = None) -> dict[str, Results]:
    """The other methods, with the same examples, under ``baselines/``."""
    others: dict[str, Results] = {}
    if context.settings.method != "zero-shot":
        others["zero-shot"] = run_zero_shot(context, "baselines/zero-shot/")
    if context.settings.method != "supervised" and context.data.train is not None:
        others["supervised"] = run_supervised(context, "baselines/supervised/")
    if generations is not None and context.data.train is not None:
        others["pet"] = run_pet_of_ipet(context, generations, "baselines/pet/")
    return others


def write_results(context: RunContext, results: Results) -> None:
    """metrics.json, report.html and the student's card."""
    root = context.directory.path
    write_whole(root / "metrics.json", json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    shown = {
        "labels": context.task.labels,
        "config": context.directory.config,
        "messages": context.data.report["messages"],
    }
    write_whole(root / "report.html", html_report(results | shown))
    if (root / "student").is_dir():
        card = student_card(
            CardTask.of(context.task),
            context.settings.method,
            context.settings.student_model or context.settings.model,
            facts={"labeled examples": context.data.report["train"], "unlabeled texts": context.data.report["pool"]},
            metrics=results.get("student"),
        )
        write_whole(root / "student" / "README.md", card)


def run_seeds(
    settings: RunSettings,
    seeds: Sequence[int],
    output: str | Path,
    reporter: Reporter,
    *,
    task: Task | None = None,
    pool_gold: str | None = None,
    execution: Execution | None = None,
    group: Group | None = None,
) -> Results:
    """The same run for several seeds, each in a folder ``seed-N``, with mean and standard deviation.

    Returns
    -------
    dict with ``runs`` (seed -> result) and ``summary`` (what -> figures as of `pet.report.tables.summarize`)
    """
    _refuse_other_files(Path(output))
    runs = {}
    for seed in seeds:
        reporter.info(f"seed {seed}")
        runs[str(seed)] = run(
            replace(settings, seed=seed), Path(output) / f"seed-{seed}", reporter,
            task=task, pool_gold=pool_gold, execution=execution, group=group,
        )  # fmt: skip
    results = {
        "task": settings.task["task"],
        "method": settings.method,
        "model": settings.model,
        "runs": runs,
        "summary": {name: summarize(rows) for name, rows in headlines_by_seed(list(runs.values())).items()},
    }
    write_whole(Path(output) / "metrics.json", json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    return results


def _refuse_other_files(output: Path) -> None:
    known = re.compile(r"seed-\d+|metrics\.json|\.tmp-.*")
    others = sorted(p.name for p in output.iterdir() if not known.fullmatch(p.name)) if output.is_dir() else []
    if others:
        raise PetError(
            f"{output} holds files that are no runs with several seeds ({', '.join(others[:3])}"
            f"{', ...' if len(others) > 3 else ''}): choose an empty or a new folder"
        )


def headline_metrics(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of a comparison: what was measured -> its figures, baselines first."""
    method = result["method"]
    rows = {
        name: figures.get("student") or figures.get("ensemble") for name, figures in result.get("baselines", {}).items()
    }
    rows["zero-shot" if method == "zero-shot" else f"{method} ensemble"] = result.get("ensemble")
    rows["supervised" if method == "supervised" else f"{method} student"] = result.get("student")
    return {name: figures for name, figures in rows.items() if figures}


def headlines_by_seed(results: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The same rows over several runs: what was measured -> its figures for each seed."""
    tables = [headline_metrics(result) for result in results]
    return {name: [table[name] for table in tables] for name in (tables[0] if tables else ())}
