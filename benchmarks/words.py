"""Words that people wrote against words that `pet words` finds.

    python benchmarks/words.py agnews yelp
    python benchmarks/words.py tickets --examples 24 --draws 3

Every draw of labeled texts gives words of its own. Accuracy is measured on labeled texts of the training set that were
not drawn (tickets: on test texts, because the sample has 40 training texts), with two patterns: without
training, and with one trained member per pattern, for the first draw or for every draw of the tickets. Their words are
those that come to mind first, of one to three tokens, and words of one token.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from common import HERE, SHARED, append, model_option, output_option

if TYPE_CHECKING:
    from datasets import Dataset

    from pet.members.shared import Shared
    from pet.task.task import Task

RESULTS = HERE / "results" / "words.jsonl"
PATTERNS, HELD_OUT, DRAWN_FROM = [1, 2], 200, 500  # the last 200 rows are scored, the first 500 are drawn from
TICKETS: dict[str, dict[str, Any]] = {
    "first thought": {
        "billing": "invoice", "refund": "refund", "login": ["password", "login"], "bug": "bug",
        "feature": "feature request", "cancellation": "cancellation",
    },
    "one token": {
        "billing": "bill", "refund": "return", "login": "password", "bug": "bug", "feature": "feature",
        "cancellation": "cancellation",
    },
}  # fmt: skip
DESCRIPTIONS: dict[str, dict[str, str]] = {
    "tickets": {},
    "agnews": {
        "World": "Politics, governments, war and peace in the world.",
        "Sports": "Games, teams, players and championships.",
        "Business": "Companies, markets, money and the economy.",
        "Sci/Tech": "Science, technology, computers and software.",
    },
    "yelp": {
        "1": "A terrible place with awful service.",
        "2": "A bad and disappointing place.",
        "3": "An average and okay place.",
        "4": "A good and nice place.",
        "5": "An excellent and amazing place.",
    },
}


def shared_of(task: Task, model: Path, length: int, **settings: str) -> Shared:
    """Return what the members share, with some settings changed."""
    from pet.backbones.info import ModelInfo
    from pet.members.models import Models
    from pet.members.shared import Shared
    from pet.recipe import make_recipe

    recipe = make_recipe("default", {"max_length": str(length), "learning_rate": "5e-5"} | settings)
    return Shared(task, recipe, Models(ModelInfo(str(model)), length, shared=False), "cpu", "auto")


def with_words(task: Task, words: dict[str, Any]) -> Task:
    """Return the task with these words for all patterns."""
    from pet.task.task import Task

    sources = [pattern.template.source for pattern in task.patterns]
    return Task.from_dict(task.to_dict() | {"verbalizer": words, "patterns": sources})


def accuracies(scores: Sequence[Any], gold: Any) -> dict[str, float]:
    """Return the accuracy of patterns as an ensemble, and after subtracting each label's mean."""
    from pet.ensemble.combine import Ensemble
    from pet.preflight.zero_shot import untrained_accuracy

    ensemble = Ensemble.of([str(number) for number in range(len(scores))], labels=scores[0].shape[1])
    return untrained_accuracy(ensemble.merge(list(scores)), gold)


def untrained(shared: Shared, table: Dataset) -> dict[str, float]:
    """Accuracy without training."""
    from pet.data.checks import column_labels
    from pet.preflight.zero_shot import score_untrained
    from pet.progress import Reporter

    return accuracies(score_untrained(shared, table, Reporter("quiet"))[0], column_labels(table))


def trained(shared: Shared, train: Dataset, table: Dataset, scratch: Path) -> dict[str, float]:
    """Accuracy of one member per pattern, trained without the auxiliary loss."""
    import numpy as np

    from pet.data.checks import column_labels
    from pet.members.kinds import fit_scorer, make_scorer
    from pet.members.seam import MemberData
    from pet.members.spec import pattern_spec
    from pet.members.texts import Texts

    labeled, held_out = Texts(train, lambda: shared.plan), Texts(table, lambda: shared.plan)
    data = MemberData([(labeled, np.arange(len(train)))], column_labels(train), None)
    found = []
    for number in range(len(shared.task.patterns)):
        spec = pattern_spec("pattern", number, 0)
        folder = scratch / str(number)
        folder.mkdir(parents=True)
        scorer = make_scorer(spec, shared, seed=number)
        fit_scorer(spec, scorer, data, folder)
        found.append(np.empty((len(table), len(shared.task.labels)), np.float32))
        scorer.scores(held_out, found[-1])
    return accuracies(found, column_labels(table))


def measure(
    name: str, model: Path, examples: int, draws: int, length: int, only: Sequence[str], output: Path
) -> list[dict[str, Any]]:
    """Measure all sources of words on a task, or some, and append each to the output."""
    from dataclasses import replace
    from tempfile import TemporaryDirectory

    from pet.data.pick import pick_rows
    from pet.data.sample import sample_shots
    from pet.task.task import Task
    from pet.words.find import WordOptions, find_words
    from pet.words.tables import read_texts

    task = Task.load(name).with_patterns(PATTERNS)
    data = HERE.parent / "data" / name if name == "tickets" else SHARED / "data" / name
    tables = read_texts(task, {"train": str(data / "train.jsonl"), "unlabeled": str(data / "unlabeled.jsonl")})
    every, pool = tables["train"], tables["unlabeled"]
    tested = read_texts(task, {"train": str(data / "test.jsonl")})["train"] if name == "tickets" else every
    held_out = pick_rows(tested, range(len(tested) - HELD_OUT, len(tested)))
    first = pick_rows(every, range(min(DRAWN_FROM, len(every))))
    drawn = [
        pick_rows(first, sample_shots(first.with_format("numpy")["label"], len(task.labels), examples=examples, seed=s))
        for s in range(draws)
    ]
    sources: list[tuple[str, int, Task, Dataset | None]] = [
        *(
            [("names and descriptions", 0, replace(task, descriptions=DESCRIPTIONS[name]), None)]
            if name != "tickets"
            else []
        ),
        *((f"{examples} labeled texts", number, task, table) for number, table in enumerate(drawn)),
    ]
    if name != "yelp":  # its labels are numbers
        sources.insert(0, ("names", 0, task, None))
    rows: list[dict[str, Any]] = []

    def add(source: str, draw: int, used: Task, seconds: float) -> None:
        shared = shared_of(used, model, length)
        row = {"task": name, "words": source, "draw": draw, "seconds": round(seconds, 1)}
        row |= {"found": {label: list(w) for label, w in used.patterns[0].verbalizer.words.items()}}
        row["untrained"] = untrained(shared, held_out)
        if (draw == 0 or name == "tickets") and source != "names":
            with TemporaryDirectory() as scratch:
                row["trained"] = trained(shared, drawn[draw], held_out, Path(scratch))
        rows.append(row)
        append(output, row)
        click.echo(f"{name} {source} {draw}: {row['untrained']} {row.get('trained', '')}", err=True)

    if name == "tickets":
        for source, words in TICKETS.items():
            for draw in range(draws if not only or source in only else 0):
                add(source, draw, with_words(task, words), 0.0)
    elif not only or "people" in only:
        add("people", 0, task, 0.0)
    for source, draw, asked, table in [one for one in sources if not only or one[0] in only]:
        start = time.process_time()
        (group,) = find_words(shared_of(asked, model, length), table, pool, WordOptions())
        seconds = time.process_time() - start
        found = {label: [word.word for word in words] for label, words in group.words.items()}
        add(source, draw, with_words(task, found), seconds)
    return rows


def table_of(rows: Sequence[dict[str, Any]]) -> str:
    """Return the results as a table in Markdown, means over the draws."""
    lines = [
        "| task | words | untrained | untrained, centered | trained | trained, centered | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for task, source in dict.fromkeys((row["task"], row["words"]) for row in rows):
        mine = [row for row in rows if (row["task"], row["words"]) == (task, source)]

        def mean(kind: str, figure: str, mine: Sequence[dict[str, Any]] = mine) -> str:
            values = [100 * row[kind][figure] for row in mine if kind in row]
            return f"{sum(values) / len(values):.1f}" if values else ""

        cells = [mean(kind, figure) for kind in ("untrained", "trained") for figure in ("accuracy", "centered")]
        seconds = sum(row["seconds"] for row in mine) / len(mine)
        lines.append(f"| {task} | {source} | {' | '.join(cells)} | {seconds:.0f} |")
    return "\n".join(lines)


@click.command()
@click.argument("tasks", nargs=-1, required=True, type=click.Choice(list(DESCRIPTIONS)))
@model_option
@click.option("--examples", type=int, default=32, show_default=True, help="Labeled texts of a draw.")
@click.option("--draws", type=int, default=2, show_default=True, help="Number of draws.")
@click.option("--max-length", type=int, default=64, show_default=True, help="Longest input in tokens.")
@click.option("--only", multiple=True, help="Measure only this source of words, such as people or names. Repeatable.")
@click.option("--threads", type=int, help="Number of threads.  [default: those of torch]")
@output_option(RESULTS)
def main(
    tasks: tuple[str, ...],
    model: Path,
    examples: int,
    draws: int,
    max_length: int,
    only: tuple[str, ...],
    threads: int | None,
    output: Path,
) -> None:
    """Compare words that people wrote with found ones. TASKS are agnews and yelp."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    rows = [row for name in tasks for row in measure(name, model, examples, draws, max_length, only, output)]
    click.echo(table_of(rows))


if __name__ == "__main__":
    main()
