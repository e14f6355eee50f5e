"""``pet run``: from a task and a few labeled texts to a classifier."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pet.cli.options import (
    chosen_model,
    column_pairs,
    columns_option,
    compute_options,
    echo_json,
    execution_of,
    executor_options,
    json_option,
    list_settings_option,
    patterns_option,
    quiet_option,
    reporter_for,
    setting_pairs,
    settings_option,
)
from pet.errors import PetError
from pet.run.settings import METHODS, RunSettings
from pet.tuning.methods import METHODS as TUNING_METHODS

if TYPE_CHECKING:
    from pet.progress import Reporter
    from pet.task.task import Task
    from pet.training.group import Group

EXAMPLES = """\b
Examples:
  pet run agnews --train train.jsonl --unlabeled pool.jsonl --test test.jsonl -o runs/agnews
  pet run agnews --train train.jsonl --shots 10 --unlabeled pool.jsonl -m roberta-base -o runs/ten
  pet run agnews --method ipet --train train.jsonl --unlabeled pool.jsonl --baselines -o runs/ipet
  pet run agnews --method ipet --unlabeled pool.jsonl -o runs/no-labels
  pet run yelp --method zero-shot --test test.csv --column text=review -o runs/zero
  pet run my.yaml --train train.csv --unlabeled pool.csv --test test.csv --seeds 5 --baselines -o runs/five
  pet run runs/agnews/config.yaml --seed 1 -o runs/again
  pet run yelp --tuning prompt --init-prompt similar --train few.jsonl --test test.jsonl -o runs/started
  pet run agnews --train train.jsonl --unlabeled pool.jsonl --workers 2 --device cpu -o runs/two
  pet run agnews --train train.jsonl --unlabeled pool.jsonl --executor ray -o /shared/runs/cluster
"""
INTERRUPTED = 130  # what a shell reports for a command that ended on Ctrl-C


@click.command(epilog=EXAMPLES)
@click.argument("task", metavar="TASK")
@click.option("--train", metavar="F", help="Labeled texts: JSONL, CSV, TSV, Parquet, or hub:OWNER/NAME@SPLIT.")
@click.option("--unlabeled", metavar="F", help="Texts without labels that the student learns from.")
@click.option("--test", metavar="F", help="Labeled texts that the results are measured on.")
@click.option("-m", "--model", metavar="M", help="Language model: a folder or a hub name.  [default: mini-en]")
@click.option("--student-model", metavar="M", help="What the student starts from.  [default: the same as --model]")
@click.option("-o", "--output", metavar="DIR", help="The folder of the run; the same command goes on with it.")
@click.option("--method", type=click.Choice(METHODS), help="[default: pet]")
@click.option("--shots", type=int, metavar="N", help="Draw N labeled texts for each label.")
@click.option("--examples", type=int, metavar="N", help="Draw N labeled texts in total, evenly over the labels.")
@click.option("--as-drawn", is_flag=True, default=None, help="With --examples: draw them as the file has them.")
@click.option("--pool-gold", metavar="F", help="Labels of --unlabeled, for diagnosis alone: how right is ipet?")
@click.option("--pool-size", type=int, metavar="N", help="Draw N unlabeled texts.  [default: all]")
@click.option("--seed", type=int, metavar="S", help="Of everything that is random.  [default: 0]")
@click.option("--seeds", type=int, metavar="K", help="Run K times, with the seeds 0 to K-1; mean and deviation.")
@click.option("--recipe", metavar="R", help="default, paper or fewglue; see --list-settings.")
@click.option(
    "--tuning",
    metavar="T",
    help=f"Which parameters of each member to train: {', '.join(TUNING_METHODS)}.  [default: full]",
)
@click.option(
    "--init-prompt", metavar="X", help="Start --tuning prompt from a trained one: NAME, folder, similar or mean:K."
)
@click.option("--prompt-library", metavar="DIR", help="Where NAME, similar and mean:K look.  [default: prompts]")
@click.option("--project-prompt", metavar="M", help="Map prompts of the model M onto --model; refused otherwise.")
@click.option(
    "--member",
    "members",
    multiple=True,
    metavar="M",
    help="Add a member beside the patterns: head, external:FILE, or NAME=external:FILE. Repeatable.",
)
@patterns_option
@settings_option
@click.option("--max-length", type=int, metavar="N", help="Longest input in tokens; short for --set max_length=N.")
@list_settings_option
@columns_option
@click.option("--baselines", is_flag=True, default=None, help="Run the other methods with the same examples, too.")
@compute_options
@executor_options
@json_option
@quiet_option
def run(task: str, as_json: bool, quiet: bool, **options: Any) -> None:
    """Train an ensemble, label the pool and distill a classifier.

    TASK is a task that comes with the package (`pet tasks`), the path of a task file, or the config.yaml
    of an earlier run, whose settings are taken then; options change them.

    The run can be stopped at any time: the same command goes on where it was.
    """
    from pet.training.group import in_a_group, join_group

    if not in_a_group():
        return _run(task, as_json, quiet, options)
    group = join_group()
    if group.is_main:
        _run(task, as_json, quiet, options, group)
        group.send({"end": True})  # after a mistake whoever has started the processes ends the others
    else:
        from pet.run.execution.data_parallel import follow

        follow(group)
    group.close()


def _run(task: str, as_json: bool, quiet: bool, options: dict[str, Any], group: Group | None = None) -> None:
    """The command, in the process that leads."""
    reporter = reporter_for(quiet)
    seeds = options.pop("seeds")
    output = options.pop("output")
    pool_gold = options.pop("pool_gold")
    execution = execution_of(options)
    settings, loaded = _settings(task, options, reporter)
    output = output or _folder_of(task)
    seed_list = _seed_list(seeds, options["seed"])
    from pet.run.pipeline import run as run_once
    from pet.run.resolve import Given
    from pet.run.seeds import run_seeds

    given = Given(task=loaded, pool_gold=pool_gold, group=group)
    try:
        if seed_list is None:
            results = run_once(settings, output, reporter, given=given, execution=execution)
        else:
            results = run_seeds(settings, seed_list, output, reporter, given=given, execution=execution)
    except KeyboardInterrupt:
        click.echo(f"interrupted; what is finished is kept in {output}: the same command goes on with it", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    if as_json:
        echo_json(results)
    else:
        click.echo(summary(results, Path(output), settings))


def _settings(task: str, options: dict[str, Any], reporter: Reporter) -> tuple[RunSettings, Task | None]:
    """What to do: an earlier run's settings, if one is named, under the options; and the task file as read."""
    from pet.run.load_run import is_config, read_settings
    from pet.task.task import Task

    given = {name: value for name, value in options.items() if value is not None}
    columns = column_pairs(given.pop("columns"))
    changed = setting_pairs(given.pop("settings"))
    members = tuple(given.pop("members", ()))
    if members:
        given["members"] = members
    for name in ("max_length", "tuning"):  # short for --set
        if name in given:
            changed[name] = str(given.pop(name))
    if "as_drawn" in given:
        given["balanced"] = not given.pop("as_drawn")
    patterns = given.pop("patterns", None)
    if is_config(task):
        earlier = read_settings(Path(task).expanduser().parent)
        if patterns is not None:
            given["task"] = Task.from_dict(earlier.task).with_patterns(patterns).to_dict()
        if "shots" in given or "examples" in given:
            given = {"shots": None, "examples": None} | given  # the one that is given replaces the other
        given["columns"] = {**earlier.columns, **columns}
        given["settings"] = {**earlier.settings, **changed}
        return replace(earlier, **given), None
    given = {"train": None, "unlabeled": None, "test": None} | given
    loaded = Task.load(task) if patterns is None else Task.load(task).with_patterns(patterns)
    given["task"] = loaded.to_dict()
    given["model"] = chosen_model(given.get("model"), reporter)
    return RunSettings(**given, columns=columns, settings=changed), loaded


def _folder_of(task: str) -> str:
    from pet.run.load_run import is_config

    if is_config(task):
        return str(Path(task).expanduser().parent)
    raise PetError("there is no folder for the run; name one with -o, as -o runs/first")


def _seed_list(seeds: int | None, seed: int | None) -> list[int] | None:
    if seeds is None:
        return None
    if seed is not None:
        raise PetError("--seed (one run) and --seeds (several runs) exclude each other; give one")
    if seeds < 1:
        raise PetError(f"--seeds is {seeds}: it must be 1 or more")
    return list(range(seeds))


def summary(results: dict[str, Any], output: Path, settings: RunSettings) -> str:
    """What a person wants to see at the end of a run: figures, where things are, what to do next."""
    from pet.report.generations import generations_table
    from pet.report.tables import comparison_table, first_seed, majority_line
    from pet.run.results import headline_metrics, headlines_by_seed

    runs = list(results["runs"].values()) if "runs" in results else [results]
    table: Mapping[str, Any] = headlines_by_seed(runs) if "runs" in results else headline_metrics(results)
    shown = settings.task.get("metrics", ())
    parts = [comparison_table(table, shown), majority_line(first_seed(next(iter(table.values()))))] if table else []
    for seed, result in enumerate(runs):
        if result.get("generations"):
            which = f" of seed {seed}" if len(runs) > 1 else ""
            parts.append(f"Generations{which}:\n{generations_table(result['generations'])}")
    members = _member_line(runs)
    parts += [members] if members else []
    if not table:
        parts.append("There are no figures without --test.")
    parts.append(_outcome(output if "runs" not in results else output / "seed-0", settings))
    return "\n\n".join(parts)


def _member_line(runs: Sequence[dict[str, Any]]) -> str:
    accuracies = [m["accuracy"] for result in runs for m in (result.get("members") or {}).values()]
    if not accuracies:
        return ""
    return f"{len(accuracies)} members: accuracy {min(accuracies):.3f} to {max(accuracies):.3f}"


def _outcome(folder: Path, settings: RunSettings) -> str:
    if (folder / "student").is_dir():
        student = folder / "student"
        found = f"classifier: {student}\nreport:     {folder / 'report.html'}"
        return f"{found}\nnext:       pet predict {_quoted(student)} --input FILE -o predictions.jsonl"
    found = f"report: {folder / 'report.html'}"
    follow = f"pet label {_quoted(folder)} --input FILE -o labels.parquet"
    labels = folder / "g0" / "labels.parquet"
    if labels.is_file():
        found = f"labels: {labels}\n{found}"
        pool = settings.unlabeled or "FILE"
        columns = "".join(f"--column {_quoted(f'{key}={value}')} " for key, value in settings.columns.items())
        follow = (
            f"pet distill --labels {_quoted(labels)} --input {_quoted(pool)} "
            f"--task {_quoted(folder / 'config.yaml')} {columns}--model {_quoted(settings.model)} "
            f"-o {_quoted(folder.with_name(folder.name + '-student'))}"
        )
    return f"{found}\nnext:   {follow}"


def _quoted(text: object) -> str:
    return shlex.quote(str(text))
