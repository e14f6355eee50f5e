"""``pet run``: train a classifier from a task and a few labeled texts."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pet.cli.early import check_files
from pet.cli.echo import echo, echo_json
from pet.cli.help import Command
from pet.cli.options import (
    FORMAT_OPTIONS,
    access_of,
    chosen_model,
    column_pairs,
    compute_options,
    data_options,
    draw_options,
    effort_option,
    execution_of,
    executor_options,
    json_option,
    limit_options,
    list_settings_option,
    max_length_option,
    model_option,
    patterns_option,
    pool_size_option,
    quiet_option,
    reporter_for,
    setting_pairs,
    settings_option,
    split_data,
    table_format_of,
    table_options,
    teachers_of,
)
from pet.errors import PetError
from pet.resources import expand
from pet.run.settings import METHODS, RunSettings
from pet.run.trackers import check_trackers
from pet.settings import shorten
from pet.task.task import Task
from pet.terminal import counted
from pet.tuning.methods import METHODS as TUNING_METHODS

if TYPE_CHECKING:
    from pet.progress import Reporter
    from pet.training.group import Group

EXAMPLES = """\b
Examples:
  pet run agnews --train train.jsonl --unlabeled pool.jsonl --test test.jsonl -o runs/agnews
  pet run agnews --train train.jsonl --shots 10 --unlabeled pool.jsonl -m roberta-base -o runs/ten
  pet run my.yaml --data tickets.xlsx -m roberta-base -o runs/tickets
  pet run agnews --method ipet --train train.jsonl --unlabeled pool.jsonl --baselines -o runs/ipet
  pet run agnews --method ipet --unlabeled pool.jsonl -o runs/no-labels
  pet run agnews --method pcp --train train.jsonl --unlabeled pool.jsonl -o runs/pcp
  pet run yelp --method zero-shot --test test.csv --column text=review -o runs/zero
  pet run my.yaml --train train.csv --unlabeled pool.csv --test test.csv --seeds 5 --baselines -o runs/five
  pet run runs/agnews/config.yaml --seed 1 -o runs/again
  pet run runs/agnews/config.yaml --corrections runs/agnews/reviewed.jsonl -o runs/corrected
  pet run yelp --tuning prompt --init-prompt similar --train few.jsonl --test test.jsonl -o runs/started
  pet run agnews --teacher openai:http://127.0.0.1:8080/v1#qwen --train few.jsonl --unlabeled pool.jsonl -o runs/taught
  pet run agnews --train train.jsonl --unlabeled pool.jsonl --workers 2 --device cpu -o runs/two
  pet run agnews --train train.jsonl --unlabeled pool.jsonl --executor ray -o /shared/runs/cluster
"""
_NO_TEST = "There are no test texts (--test)."
MOST_SEEDS = 1000
INTERRUPTED = 130  # what a shell reports for a command that ended on Ctrl-C


@click.command(
    cls=Command,
    first=("train", "unlabeled", "test", "model", "output", "method", "shots", "examples", "effort", "seed"),
    epilog=EXAMPLES,
)
@click.argument("task", metavar="TASK")
@data_options
@model_option
@click.option(
    "--from",
    "reuse",
    metavar="RUN",
    help="After adding labels or patterns: keep members of an earlier run that are still right, and train the others.",
)
@click.option("--student-model", metavar="M", help="Model that the student starts from.  [default: that of --model]")
@click.option("-o", "--output", metavar="DIR", help="Folder of the run. The same command resumes it.")
@click.option(
    "--method",
    type=click.Choice(METHODS),
    help="pet; ipet (generations that label texts for each other); pcp (continued pretraining on "
    "pseudo-labeled texts, then pet); supervised; or zero-shot.  [default: pet]",
)
@draw_options
@click.option(
    "--pool-gold",
    metavar="F",
    help="With --method ipet: labels of --unlabeled, only to report the accuracy of each generation's labels.",
)
@click.option(
    "--corrections",
    metavar="F",
    help="Decisions of `pet review`: their labels are added to those of --train, and the texts leave the pool. With "
    "the config.yaml of a run, they are added to the decisions that it used.",
)
@pool_size_option
@click.option("--seed", type=int, metavar="S", help="Random seed.  [default: 0]")
@click.option(
    "--seeds", type=int, metavar="K", help="Run K times, with seeds 0 to K-1, and report mean and standard deviation."
)
@click.option(
    "--draws",
    type=int,
    metavar="D",
    help="With --examples or --shots: repeat with D draws of the examples, each with every seed of --seeds, and report "
    "the spread over draws separately from the spread over seeds.",
)
@click.option(
    "--recipe",
    metavar="R",
    help="Settings to start from: default, low, high, paper or fewglue; see --list-settings.  [default: default]",
)
@effort_option
@click.option(
    "--tuning",
    metavar="T",
    help=f"Which parameters of each member to train: {', '.join(TUNING_METHODS)}.  [default: full]",
)
@click.option(
    "--init-prompt",
    metavar="X",
    help="Start --tuning prompt from a trained prompt: its NAME or folder, similar, or mean:K.",
)
@click.option(
    "--prompt-library", metavar="DIR", help="Library for NAME, similar and mean:K of --init-prompt.  [default: prompts]"
)
@click.option("--project-prompt", metavar="M", help="Map prompts of model M onto --model. Without it they are refused.")
@click.option(
    "--member",
    "members",
    multiple=True,
    metavar="M",
    help="Add a member besides the patterns: embeddings, embeddings:MODEL, tfidf, head, or external:FILE. "
    "NAME=M gives it a name. Repeatable.",
)
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    metavar="T",
    help="Add a member that labels by itself: openai:URL#MODEL, a language model on a server with the OpenAI chat API "
    "(texts are sent to that URL); nli:MODEL, a model of natural-language inference; gliclass:MODEL, a GLiClass "
    "model; or rules:FILE, a table of words and the labels that they vote for. Repeatable.",
)
@limit_options
@patterns_option
@settings_option
@max_length_option
@list_settings_option
@table_options
@click.option(
    "--estimate/--no-estimate",
    default=None,
    help="Estimate the accuracy: train further members on halves of the labeled texts, and let them label the others. "
    "[default: without --test, if it takes at most half as long as the run]",
)
@click.option(
    "--track",
    multiple=True,
    metavar="T",
    help="Log settings, losses and figures to tensorboard (into the folder of the run), wandb, mlflow or trackio. "
    "Texts are not sent. Repeatable.",
)
@click.option("--baselines", is_flag=True, default=None, help="Also run the other methods with the same examples.")
@compute_options
@executor_options
@json_option
@quiet_option
def run(task: str, as_json: bool, quiet: bool, **options: Any) -> None:
    """Train an ensemble, label the pool and distill a classifier.

    TASK is a task that comes with the package (`pet tasks`), the path of a task file, or the config.yaml
    of an earlier run, whose settings are used unless options change them.

    You can stop a run at any time. The same command resumes it.
    """
    if "WORLD_SIZE" not in os.environ:
        return _run(task, as_json, quiet, options)
    from pet.training.group import in_a_group, join_group

    if not in_a_group():
        return _run(task, as_json, quiet, options)
    group = join_group()
    if group.is_main:
        _run(task, as_json, quiet, options, group)
        group.send({"end": True})  # after an error, the launcher ends the other processes
    else:
        from pet.run.execution.data_parallel import follow

        follow(group)
    group.leave()


def _run(task: str, as_json: bool, quiet: bool, options: dict[str, Any], group: Group | None = None) -> None:
    """The command, in the leading process."""
    reporter = reporter_for(quiet)
    seeds, draws = options.pop("seeds"), options.pop("draws")
    output = options.pop("output")
    pool_gold, track = options.pop("pool_gold"), tuple(options.pop("track"))
    check_trackers(track)
    execution, access = execution_of(options), access_of(options)
    settings, loaded, copies = _settings(task, options, output, reporter)
    output = output or _folder_of(task)
    seed_list = _seed_list(seeds, options["seed"], draws)
    if draws is not None and settings.shots is None and settings.examples is None:
        raise PetError("--draws repeats the draw of the examples; give their number with --examples or --shots")
    if group is None:
        check_files(settings, loaded or Task.from_dict(settings.task))
    from pet.run.pipeline import run as run_once
    from pet.run.resolve import Given
    from pet.run.seeds import run_seeds

    given = Given(task=loaded, pool_gold=pool_gold, group=group, access=access, track=track, copies=copies)
    try:
        if seed_list is None:
            results = run_once(settings, output, reporter, given=given, execution=execution)
        else:
            results = run_seeds(settings, seed_list, output, reporter, draws=draws, given=given, execution=execution)
    except KeyboardInterrupt:
        echo(f"interrupted; finished stages are kept in {output}: run the same command to resume", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    if as_json:
        echo_json(results)
    else:
        echo(summary(results, Path(output), settings))


def _settings(
    task: str, options: dict[str, Any], output: str | None, reporter: Reporter
) -> tuple[RunSettings, Task | None, dict[str, str]]:
    """The settings of an earlier run, if one is named, changed by the options; the task file, if one is read; copies.

    The copies are those of the earlier run's corrections; see `pet.run.kept_corrections`.
    """
    from pet.run.load_run import is_config, no_run
    from pet.store.manifest import CONFIG

    split_data(options)
    given = {name: value for name, value in options.items() if value is not None}
    columns = column_pairs(given.pop("columns"))
    table_format = table_format_of(dict.fromkeys(FORMAT_OPTIONS) | given).to_dict()
    given = {name: value for name, value in given.items() if name not in FORMAT_OPTIONS}
    changed = setting_pairs(given.pop("settings"))
    members = (*given.pop("members", ()), *teachers_of(given.pop("teachers", ())))
    if members:
        given["members"] = members
    effort = given.pop("effort", None)
    if effort is not None and given.setdefault("recipe", effort) != effort:
        raise PetError(f"--effort {effort} and --recipe {given['recipe']} exclude each other; give one of them")
    for name in ("max_length", "tuning"):  # short for --set
        if name in given:
            changed[name] = str(given.pop(name))
    if "as_drawn" in given:
        given["balanced"] = not given.pop("as_drawn")
    patterns = given.pop("patterns", None)
    if is_config(task):
        earlier, copies = _earlier(expand(task).parent, given, reporter)
        if patterns is not None:
            given["task"] = Task.from_dict(earlier.task).with_patterns(patterns).to_dict()
        if "shots" in given or "examples" in given:
            given = {"shots": None, "examples": None} | given  # one replaces the other
        given["columns"] = {**earlier.columns, **columns}
        given["table_format"] = {**earlier.table_format, **table_format}
        given["settings"] = {**earlier.settings, **changed}
        here = os.path.realpath(expand(task).parent)
        if output is not None and os.path.realpath(expand(output)) not in (here, os.path.dirname(here)):
            given.setdefault("reuse", None)  # the run that members came from may be gone
        return replace(earlier, **given), None, copies
    if expand(task).name == CONFIG and not expand(task).exists():
        raise PetError(no_run(expand(task).parent))
    given = {"train": None, "unlabeled": None, "test": None} | given
    loaded = Task.load(task) if patterns is None else Task.load(task).with_patterns(patterns)
    given["task"] = loaded.to_dict()
    given["model"] = chosen_model(given.get("model"), reporter)
    return RunSettings(**given, columns=columns, table_format=table_format, settings=changed), loaded, {}


def _earlier(folder: Path, given: dict[str, Any], reporter: Reporter) -> tuple[RunSettings, dict[str, str]]:
    """Return the settings of a run and the copies of its corrections; corrections in `given` are added to its own."""
    from pet.run.kept_corrections import kept_corrections, with_another
    from pet.run.kept_texts import with_kept_texts
    from pet.run.load_run import read_settings

    settings = read_settings(folder)
    copies = kept_corrections(settings, folder)
    if "corrections" in given:
        files = with_another(settings, given["corrections"])
        copies.pop(files[-1], None)  # the decisions since then count, too
        if len(files) > 1:
            reporter.info(f"corrections: {' and '.join(files)}; if several decide about a text, the last one counts")
        given["corrections"] = files
    return with_kept_texts(settings, folder), copies


def _folder_of(task: str) -> str:
    from pet.run.load_run import is_config

    if is_config(task):
        return str(expand(task).parent)
    raise PetError("the folder of the run is missing; name one with -o, such as -o runs/first")


def _seed_list(seeds: int | None, seed: int | None, draws: int | None) -> list[int] | None:
    """Return the seeds of several runs; None for a single run."""
    if draws is not None and not 1 <= draws <= MOST_SEEDS:
        raise PetError(f"--draws is {shorten(draws)}: it must be at least 1 and at most {MOST_SEEDS}")
    if seeds is None:
        return None if draws is None else [seed or 0]
    if seed is not None:
        raise PetError("--seed (one run) and --seeds (several runs) exclude each other; give one")
    if not 1 <= seeds <= MOST_SEEDS:
        raise PetError(f"--seeds is {shorten(seeds)}: it must be at least 1 and at most {MOST_SEEDS}")
    return list(range(seeds))


def summary(results: dict[str, Any], output: Path, settings: RunSettings) -> str:
    """Return the text to print at the end of a run: metrics, where things are, what to do next."""
    from pet.report.estimate import estimate_lines
    from pet.report.generations import generations_table
    from pet.report.seeds import run_folder, spread_lines
    from pet.report.tables import (
        calibration_line,
        comparison_table,
        differences_table,
        first_seed,
        legend,
        level_lines,
        majority_line,
    )
    from pet.run.results import headline_metrics, headlines_by_seed

    by_name: Mapping[str, Any] = results.get("runs", {"": results})
    runs = list(by_name.values())
    table: Mapping[str, Any] = headlines_by_seed(runs) if "runs" in results else headline_metrics(results)
    shown = settings.task.get("metrics", ())
    parts = []
    if table:
        first = next(iter(table.values()))
        notes = [line for line in (legend(first), calibration_line(table)) if line]
        parts = ["\n".join([comparison_table(table, shown), *notes]), majority_line(first_seed(first))]
    if differences := [result["differences"] for result in runs if "differences" in result]:
        parts.append(f"Paired, on the same texts:\n{differences_table(differences)}")
    for name, result in by_name.items():
        if result.get("generations"):
            which = f" of {run_folder(name)}" if len(runs) > 1 else ""
            parts.append(f"Generations{which}:\n{generations_table(result['generations'])}")
    levels = level_lines(table)
    parts += ["\n".join(levels)] if levels else []
    members = _member_line(runs)
    parts += [members] if members else []
    named = {name: f"{run_folder(name)}: " if name and len(runs) > 1 else "" for name in by_name}
    parts += [f"note: {named[name]}{text}" for name, result in by_name.items() for text in result.get("advice", ())]
    if not table:
        about = {name: estimate_lines(result.get("estimate")) for name, result in by_name.items()}
        parts.append("\n".join([_NO_TEST, *(f"{named[name]}{line}" for name in about for line in about[name])]))
    parts += ["\n".join(spread_lines(results))] if "spread" in results else []
    first = output / run_folder(next(iter(results["runs"]))) if "runs" in results else output
    parts += _before(settings, first)
    parts.append(_outcome(first, output / "report.html", settings))
    return "\n\n".join(parts)


def _before(settings: RunSettings, output: Path) -> list[str]:
    """Return what the run that `--from` names has reached, and how to compare both."""
    from pet.report.estimate import estimate_lines
    from pet.report.tables import interval
    from pet.run.results import METRICS, headline_metrics, read_results

    if settings.reuse is None or not (expand(settings.reuse) / METRICS).is_file():
        return []
    earlier = read_results(expand(settings.reuse))
    for name, figures in reversed(headline_metrics(earlier).items()):
        if "accuracy_interval" in figures:
            reached = f"accuracy of the {name} {figures['accuracy']:.3f} {interval(figures['accuracy_interval'])}"
            compared = f"compare: pet compare {_quoted(settings.reuse)} {_quoted(output)}"
            return [f"before, in {settings.reuse}: {reached}\n{compared}"]
    lines = [f"Before, in {settings.reuse}: {line}" for line in estimate_lines(earlier.get("estimate"))[:1]]
    if lines and settings.corrections is not None:
        lines.append("Reviewed texts are harder than others, so the estimate with them is too low.")
    return ["\n".join(lines)] if lines else []


def _member_line(runs: Sequence[dict[str, Any]]) -> str:
    members = [figures for result in runs for figures in (result.get("members") or {}).values()]
    if not members:
        return ""
    figure, name = ("accuracy", "accuracy") if "accuracy" in members[0] else ("micro_f1", "micro F1")
    values = [figures[figure] for figures in members]
    return f"{counted(len(values), 'member')}: {name} {min(values):.3f} to {max(values):.3f}"


def _outcome(folder: Path, report: Path, settings: RunSettings) -> str:
    """Say where the results of a run are, and the report, which may be that of several runs."""
    if (folder / "student").is_dir():
        student = folder / "student"
        found = f"classifier: {student}\nreport:     {report}"
        return f"{found}\nnext:       pet predict {_quoted(student)} --input FILE -o predictions.jsonl"
    found = f"report: {report}"
    follow = f"pet label {_quoted(folder)} --input FILE -o labels.parquet"
    labels = folder / "g0" / "labels.parquet"
    if labels.is_file():
        found = f"labels: {labels}\n{found}"
        pool = settings.unlabeled or "FILE"
        columns = "".join(f"--column {_quoted(f'{key}={value}')} " for key, value in settings.columns.items())
        columns += "".join(f"--{key} {_quoted(value)} " for key, value in settings.table_format.items())
        follow = (
            f"pet distill --labels {_quoted(labels)} --input {_quoted(pool)} "
            f"--task {_quoted(folder / 'config.yaml')} {columns}--model {_quoted(settings.model)} "
            f"-o {_quoted(folder.with_name(folder.name + '-student'))}"
        )
    return f"{found}\nnext:   {follow}"


def _quoted(text: object) -> str:
    return shlex.quote(str(text))
