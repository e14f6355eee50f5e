"""Members that score labels by words, by weighted words, by learned vectors and by prototypes, on the same draws.

    python benchmarks/verbalizers.py agnews yelp

Accuracy on labeled texts of the training set that were not drawn, of one trained member for each pattern, merged.
`found` has the 20 words a label that `pet words` finds in the drawn texts instead of those of the task file. Lines that
exist are not made again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import common
from words import DESCRIPTIONS, DRAWN_FROM, PATTERNS, shared_of, trained, with_words

FOUND = 20  # words of a label
KINDS = [("people", "words"), ("people", "weighted"), ("people", "learned"), ("people", "prototype")]
KINDS += [("found", "words"), ("found", "weighted")]
INTRO = """# How a member scores labels

Produced by `python benchmarks/verbalizers.py`: `minilm-mlm-en`, {patterns} pattern(s) of each task with one member
each, {steps} updates, {length} tokens, {examples} labeled texts, accuracy in percent on the last {rows} labeled texts
of the training set, which were not drawn; mean and standard deviation over draws. Differences on the same texts are
more certain than the figures. "found" are the {found} words a label that `pet words` finds in the labeled texts.

"""


def measure(wanted: Mapping[str, Any], model: Path, length: int) -> dict[str, Any]:
    """Train and score the members of one kind on one draw."""
    from pet.data.pick import pick_rows
    from pet.data.sample import sample_shots
    from pet.task.task import Task
    from pet.words.find import WordOptions, find_words
    from pet.words.tables import read_texts

    begun = time.process_time()
    task = Task.load(wanted["task"]).with_patterns(PATTERNS[: wanted["patterns"]])
    data = common.SHARED / "data" / wanted["task"]
    tables = read_texts(task, {"train": str(data / "train.jsonl"), "unlabeled": str(data / "unlabeled.jsonl")})
    every = tables["train"]
    first = pick_rows(every, range(DRAWN_FROM))
    gold = first.with_format("numpy")["label"]
    drawn = pick_rows(
        first, sample_shots(gold, len(task.labels), examples=wanted["examples"], seed=wanted["draw"], names=task.labels)
    )
    if wanted["words"] == "found":
        (group,) = find_words(
            shared_of(task, model, length), drawn, tables["unlabeled"], WordOptions(count=wanted["per_label"])
        )
        task = with_words(task, {label: [word.word for word in words] for label, words in group.words.items()})
    changes = {"verbalizer": wanted["verbalizer"], "steps": str(wanted["steps"])}
    shared = shared_of(task, model, length, **changes)
    held_out = pick_rows(every, range(len(every) - wanted["rows"], len(every)))
    with TemporaryDirectory() as scratch:
        found = trained(shared, drawn, held_out, Path(scratch))
    return {**wanted, **found, "cpu": round(time.process_time() - begun)}


def page(lines: list[Any]) -> str:
    """Return the results as a Markdown page."""
    if not lines:
        return ""
    tasks = list(dict.fromkeys(line["task"] for line in lines))
    rows = []
    for words, kind in dict.fromkeys((line["words"], line["verbalizer"]) for line in lines):
        cells = []
        for task in tasks:
            mine = [line for line in lines if (line["task"], line["words"], line["verbalizer"]) == (task, words, kind)]
            cells.append(common.spread([line["accuracy"] for line in mine]) if mine else "")
        rows.append([words, kind, *cells])
    draws = {task: len({line["draw"] for line in lines if line["task"] == task}) for task in tasks}
    head = [f"{task}, {number} draw{'s' * (number > 1)}" for task, number in draws.items()]
    same = {key: lines[0][key] for key in ("length", "examples", "rows", "steps", "patterns")}
    intro = INTRO.format(**same, found=lines[0]["per_label"])
    return intro + common.markdown(["words", "verbalizer", *head], rows)


@click.command()
@click.argument("tasks", nargs=-1, required=True, type=click.Choice(list(DESCRIPTIONS)))
@common.model_option
@click.option("--examples", default=32, show_default=True, help="Labeled texts of a draw.")
@click.option("--draws", default=2, show_default=True, help="Number of draws.")
@click.option("--patterns", default=len(PATTERNS), show_default=True, help="Number of patterns.")
@click.option("--steps", default=60, show_default=True, help="Updates of a member.")
@click.option("--rows", default=500, show_default=True, help="Texts to test on.")
@click.option("--max-length", "length", default=64, show_default=True, help="Longest input in tokens.")
@common.threads_option
@common.output_option(common.HERE / "results" / "verbalizers.jsonl")
def main(tasks: tuple[str, ...], model: Path, draws: int, length: int, threads: int, output: Path, **same: int) -> None:
    """Measure all kinds on TASKS, which are agnews and yelp."""
    import torch

    torch.set_num_threads(threads)
    runs = [
        {"task": task, "words": words, "verbalizer": kind, "draw": draw, "length": length, "per_label": FOUND, **same}
        for draw in range(draws)
        for task in tasks
        for words, kind in KINDS
    ]
    click.echo(page(common.make_missing(output, runs, lambda wanted: measure(wanted, model, length), page)))


if __name__ == "__main__":
    main()
