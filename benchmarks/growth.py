"""How the cost of a stage grows with its input: CPU seconds at several sizes, and the fitted exponent.

    python benchmarks/growth.py
    python benchmarks/growth.py --largest 100000 "texts: read" "labels: bind"

The pool has 1,000 to 1,000,000 texts, a task 2 to 5,000 labels or words and 1 to 300 patterns, a text 1,000 to a
million characters. Models are left out: their work is the same for each text. An exponent of 1 means that twice the
input takes twice the time. The fixed cost of small inputs lowers it, so the exponent from the second largest to the
largest size counts, too.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import common
import numpy as np

LIMIT = 1.05  # a larger exponent needs a reason
TEXTS = 500  # that are labeled or evaluated where the number of labels or members grows
NAMES = ["bad", "fair", "good", "best"]

Prepare = Callable[[Path, int], Callable[[], object]]

# ---- texts of a pool ---------------------------------------------------------------------------


def read(folder: Path, rows: int) -> Callable[[], object]:
    """Checking and reading a JSONL pool in chunks."""
    from pet.data.read import iter_table

    path = folder / f"{rows}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f'{{"id": "{i}", "text": "the team won game {i}"}}\n' for i in range(rows))
    return lambda: sum(len(chunk) for chunk in iter_table(str(path), ["text"]))


def duplicates(_folder: Path, rows: int) -> Callable[[], object]:
    """Finding texts that occur twice."""
    from pet.data.checks import text_keys
    from pet.data.memory import table_of

    table = table_of([f"the team won game {i}" for i in range(rows)], ["text"])
    return lambda: np.unique(text_keys(table, ["text"])).size


def match(_folder: Path, rows: int) -> Callable[[], object]:
    """Matching soft labels and texts by their ids."""
    import pyarrow as pa

    from pet.data.ids import match_columns

    ids = pa.chunked_array([pa.array([f"text-{i}" for i in range(rows)])])
    known = pa.chunked_array([ids.combine_chunks()[::-1]])
    return lambda: match_columns(ids, known, "labels")


def merge(folder: Path, rows: int) -> Callable[[], object]:
    """Merging the scores of four members, and writing soft labels."""
    ids = [str(i) for i in range(rows)]
    return _merged(folder / f"merged-{rows}.parquet", ids, 4, NAMES)


def neighbors(_folder: Path, rows: int) -> Callable[[], object]:
    """Finding similar texts, for iPET."""
    from pet.ipet.ranked import nearest

    vectors = np.random.default_rng(0).normal(size=(rows, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return lambda: nearest(vectors, 10)


# ---- labels, words and patterns ----------------------------------------------------------------


def parse_labels(_folder: Path, count: int) -> Callable[[], object]:
    """Reading a task with this many labels."""
    return lambda: _task(_names(count), 1)


def read_labels(folder: Path, count: int) -> Callable[[], object]:
    """Reading a labeled table with five texts of each label."""
    from pet.data.read import read_table

    path, names = folder / f"labels-{count}.csv", _names(count)
    rows = [f"{number},text {number},{names[number % count]}\n" for number in range(5 * count)]
    path.write_text("id,text,label\n" + "".join(rows), encoding="utf-8")
    return lambda: read_table(str(path), ["text"], labels=names)


def bind_labels(_folder: Path, count: int) -> Callable[[], object]:
    """Binding a pattern to a model, with a word for each label."""
    task = _task(_vocabulary(count), 1)
    return _bound(task)


def merge_labels(folder: Path, count: int) -> Callable[[], object]:
    """Merging the scores of four members, and writing soft labels of 500 texts."""
    return _merged(folder / f"wide-{count}.parquet", [str(i) for i in range(TEXTS)], 4, _names(count))


def evaluate_labels(_folder: Path, count: int) -> Callable[[], object]:
    """Evaluating predictions of this many labels."""
    from pet.evaluate import evaluate

    generator = np.random.default_rng(0)
    scores, gold = generator.random((TEXTS, count)), generator.integers(0, count, TEXTS)
    scores /= scores.sum(axis=1, keepdims=True)
    return lambda: evaluate(scores, gold, _names(count))


def bind_words(_folder: Path, count: int) -> Callable[[], object]:
    """Binding a pattern to a model, with two labels that share this many words."""
    words = _vocabulary(count + count % 2)
    return _bound(_task(["a", "b"], 1, {"a": words[::2], "b": words[1::2]}))


def bind_patterns(_folder: Path, count: int) -> Callable[[], object]:
    """Reading a task with this many patterns and binding them to a model."""
    return lambda: _bound(_task(NAMES, count))()


def merge_members(folder: Path, count: int) -> Callable[[], object]:
    """Merging the scores of this many members, and writing soft labels of 500 texts."""
    return _merged(folder / f"members-{count}.parquet", [str(i) for i in range(TEXTS)], count, NAMES)


def fill(_folder: Path, count: int) -> Callable[[], object]:
    """Filling this many patterns with 500 texts that are tokenized once."""
    from pet.backbones.load import load_tokenizer
    from pet.cloze.bind import bind_patterns
    from pet.cloze.encode import token_keys
    from pet.cloze.tokens import tokenize_fields
    from pet.data.memory import table_of

    bound = bind_patterns(_task(NAMES, count), load_tokenizer("mini-en"), 64)
    keys = token_keys(pvp.encoder for pvp in bound)
    table = table_of([f"the team won game {i}" for i in range(TEXTS)], ["text"])

    def work() -> None:
        tokens = tokenize_fields(table, keys, bound[0].encoder.plain)
        for pvp in bound:
            pvp.encoder.encode(tokens, np.arange(TEXTS))

    return work


# ---- characters of a text ----------------------------------------------------------------------


def read_long(folder: Path, characters: int) -> Callable[[], object]:
    """Reading ten texts of this many characters."""
    from pet.data.read import read_table

    path, text = folder / f"long-{characters}.csv", _text(characters)
    path.write_text("id,text\n" + "".join(f"{i},{text}\n" for i in range(10)), encoding="utf-8")
    return lambda: read_table(str(path), ["text"])


def tokenize(_folder: Path, characters: int) -> Callable[[], object]:
    """Tokenizing a text for a model that reads 256 tokens."""
    from pet.backbones.load import load_tokenizer
    from pet.cloze.tokens import PlainTextTokenizer

    plain, text = PlainTextTokenizer(load_tokenizer("mini-en"), 256), _text(characters)
    return lambda: plain.encode([text])


# ---- tasks and scores --------------------------------------------------------------------------


def _text(characters: int) -> str:
    return ("the market fell after the vote. " * (characters // 32 + 1))[:characters]


def _names(count: int) -> list[str]:
    return [f"label {number}" for number in range(count)]


def _vocabulary(count: int) -> list[str]:
    from pet.backbones.load import load_tokenizer

    words = load_tokenizer("mini-en").get_vocab()
    return sorted(word for word in words if word.isalpha() and word.islower() and len(word) > 2)[:count]


def _task(labels: list[str], patterns: int, words: Mapping[str, Any] | None = None) -> Any:
    from pet.task.task import Task

    content: dict[str, Any] = {
        "task": "growth",
        "fields": ["text"],
        "labels": labels,
        "verbalizer": words or dict(zip(labels, labels, strict=True)),
        "patterns": [f"{{text}} In question {number}, it is {{mask}}." for number in range(patterns)],
    }
    return Task.from_dict(content)


def _bound(task: Any) -> Callable[[], object]:
    from pet.backbones.load import load_tokenizer
    from pet.cloze.bind import bind_patterns

    tokenizer = load_tokenizer("mini-en")
    return lambda: bind_patterns(task, tokenizer, 64)


def _merged(path: Path, ids: list[str], members: int, labels: list[str]) -> Callable[[], object]:
    from pet.ensemble.combine import Ensemble
    from pet.ensemble.soft_labels import write_soft_labels

    shape = (len(ids), len(labels))
    scores = [np.random.default_rng(member).normal(size=shape).astype(np.float32) for member in range(members)]
    ensemble = Ensemble.of([f"p{member + 1}-r1" for member in range(members)], labels=len(labels))
    return lambda: write_soft_labels([path], ids, scores, ensemble, labels)


POOL = (1000, 10_000, 100_000, 1_000_000)
LABELS = (2, 50, 500, 5000)
WORDS = (2, 50, 500, 5000)
PATTERNS = (1, 10, 100, 300)
LENGTHS = (1000, 10_000, 100_000, 1_000_000)
STAGES: dict[str, tuple[Prepare, tuple[int, ...]]] = {
    "texts: read": (read, POOL),
    "texts: find duplicates": (duplicates, POOL),
    "texts: match ids": (match, POOL),
    "texts: merge and write": (merge, POOL),
    "texts: find similar ones": (neighbors, POOL[:-1]),
    "labels: read the task": (parse_labels, LABELS),
    "labels: read a table": (read_labels, LABELS),
    "labels: bind": (bind_labels, LABELS),
    "labels: merge and write": (merge_labels, LABELS),
    "labels: evaluate": (evaluate_labels, LABELS),
    "words: bind": (bind_words, WORDS),
    "patterns: bind": (bind_patterns, PATTERNS),
    "patterns: fill": (fill, PATTERNS),
    "patterns: merge and write": (merge_members, PATTERNS),
    "characters: read": (read_long, LENGTHS),
    "characters: tokenize": (tokenize, LENGTHS),
}


@click.command()
@click.argument("stages", nargs=-1, type=click.Choice(list(STAGES)), metavar="[STAGE]...")
@click.option("--largest", default=1_000_000, show_default=True, help="Leave out larger sizes.")
@click.option("--rounds", default=3, show_default=True, help="Report the best of this many rounds.")
@common.output_option(common.SPEED)
def main(stages: tuple[str, ...], largest: int, rounds: int, output: Path) -> None:
    """Print the CPU seconds of every stage and size, and the fitted exponents."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="pet-growth-") as name:
        for stage in stages or STAGES:
            prepare, sizes = STAGES[stage]
            seconds = {size: _seconds(prepare(Path(name), size), rounds) for size in sizes if size <= largest}
            exponents = _exponent(seconds), _exponent(dict(list(seconds.items())[-2:]))
            figures[stage] = {"seconds": seconds, "exponent": exponents[0], "last exponent": exponents[1]}
            shown = ", ".join(f"{size:,}: {value:.3f} s" for size, value in seconds.items())
            verdict = "" if max(exponents) <= LIMIT else f"  (above {LIMIT})"
            click.echo(f"{stage}: exponent {exponents[0]:.2f}, at the end {exponents[1]:.2f}{verdict}  ({shown})")
    common.record(output, "growth", 1, "cpu", figures)


def _exponent(seconds: dict[int, float]) -> float:
    """Return the slope of the logarithms."""
    return round(float(np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0]), 2)


def _seconds(work: Callable[[], object], rounds: int) -> float:
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
        if best > 1:  # long enough to be exact
            break
    return max(round(best, 6), 1e-4)


if __name__ == "__main__":
    main()
