"""Write the files of public data sets on which nothing was chosen, from checkouts of the repositories that have them.

    git clone https://github.com/cardiffnlp/tweeteval.git CHECKOUTS/tweeteval
    git clone https://github.com/MiuLab/SlotGated-SLU.git CHECKOUTS/SlotGated-SLU
    git clone https://github.com/bhargaviparanjape/clickbait.git CHECKOUTS/clickbait
    git clone https://github.com/zerotodeeplearning/ztdl-masterclasses.git CHECKOUTS/ztdl-masterclasses
    python benchmarks/public_sets.py CHECKOUTS -o ../public/data

Then `accuracy.py` runs them like the sets in ../shared: `python benchmarks/accuracy.py snips:32 --data ../public/data`.
Each set is a folder with the task file, ``train.jsonl`` to draw examples from, ``unlabeled.jsonl`` and ``test.jsonl``.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from common import HERE

Labeled = list[tuple[str, str]]  # text, label
Split = tuple[Labeled, Labeled | None]  # train and unlabeled texts; test texts, if the set has some
TASKS = HERE / "public_sets"
TRAIN, UNLABELED, TEST = 3000, 6000, 1000  # most texts of a file


def sms_spam(checkouts: Path) -> Split:
    """SMS Spam Collection (Almeida and Hidalgo, 2011): 13% of the messages are spam."""
    with (checkouts / "ztdl-masterclasses/data/sms.tsv").open(encoding="utf-8", newline="") as lines:
        return [
            (row["msg"], row["label"]) for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        ], None


def clickbait(checkouts: Path) -> Split:
    """Headlines (Chakraborty et al., 2016)."""
    rows = []
    for label, name in (("clickbait", "clickbait_data.gz"), ("news", "non_clickbait_data.gz")):
        with gzip.open(checkouts / "clickbait/dataset" / name, "rt", encoding="utf-8") as lines:
            rows += [(line.strip(), label) for line in lines if line.strip()]
    return rows, None


def snips(checkouts: Path) -> Split:
    """Requests to a voice assistant (Coucke et al., 2018, arXiv 1805.10190)."""

    def part(name: str) -> Labeled:
        folder = checkouts / "SlotGated-SLU/data/snips" / name
        return _side_by_side(folder / "seq.in", folder / "label")

    return part("train"), part("test") + part("valid")


def tweets(name: str, labels: Sequence[str], *, parts: Sequence[str] = ("train", "val")) -> Callable[[Path], Split]:
    """Return the reader of a set of TweetEval (Barbieri et al., 2020, arXiv 2010.12421)."""

    def read(checkouts: Path) -> Split:
        def part(which: str) -> Labeled:
            folder = checkouts / "tweeteval/datasets" / name
            rows = _side_by_side(folder / f"{which}_text.txt", folder / f"{which}_labels.txt")
            return [(text, labels[int(code)]) for text, code in rows]

        return [row for which in parts for row in part(which)], part("test")

    return read


SETS: dict[str, Callable[[Path], Split]] = {
    "sms-spam": sms_spam,
    "clickbait": clickbait,
    "snips": snips,
    "offensive": tweets("offensive", ["no", "yes"]),
    "irony": tweets("irony", ["no", "yes"]),
    "sentiment": tweets("sentiment", ["negative", "neutral", "positive"], parts=["val"]),
}


def _side_by_side(texts: Path, labels: Path) -> Labeled:
    """Read two files whose lines belong together."""
    pairs = zip(*(path.read_text(encoding="utf-8").split("\n") for path in (texts, labels)), strict=True)
    return [(text.strip(), label.strip()) for text, label in pairs if text.strip() and label.strip()]


def write_set(name: str, checkouts: Path, output: Path) -> str:
    """Write the files of a set; return how many texts they have. A text is in one of them only."""
    rest, test = SETS[name](checkouts)
    shuffle = random.Random(0).shuffle
    rest = list({text: (text, label) for text, label in rest}.values())
    shuffle(rest)
    if test is None:
        test, rest = rest[:TEST], rest[TEST:]
    known = {text for text, _ in rest}
    test = list({text: (text, label) for text, label in test if text not in known}.values())
    shuffle(test)
    half = len(rest) // 2
    parts = {"train": rest[:half][:TRAIN], "unlabeled": rest[half:][:UNLABELED], "test": test[:TEST]}
    folder = output / name
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in parts.items():
        lines = [{"text": text} | ({"label": label} if part != "unlabeled" else {}) for text, label in rows]
        whole = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{part}.jsonl").write_text(whole, encoding="utf-8")
    if (task := TASKS / f"{name}.yaml").exists():  # others come with the package
        shutil.copy(task, folder / "task.yaml")
    return f"{name}: " + ", ".join(f"{len(rows)} {part}" for part, rows in parts.items())


@click.command()
@click.argument("checkouts", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the sets.")
def main(checkouts: Path, output: Path) -> None:
    """Write all sets."""
    for name in SETS:
        click.echo(write_set(name, checkouts, output))


if __name__ == "__main__":
    main()
