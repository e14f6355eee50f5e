"""Data sets of the comparison with other methods, and draws from them: the same files for every method."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import HERE, Rows

if TYPE_CHECKING:
    from pet.task.task import Task

PACKAGE = HERE.parent


@dataclass(frozen=True)
class Source:
    """A data set.

    Attributes
    ----------
    folder : relative to the folder of data sets
    task : name or file of its task
    model : model that it requires; default: the one of the comparison
    test : name of the test file
    balanced : draw test texts evenly over the labels; False: in the proportions of the file
    """

    folder: Path
    task: str
    model: str | None = None
    test: str = "test"
    balanced: bool = False


def _fewglue(name: str) -> Source:
    return Source(Path("fewglue", name), name.lower(), test="val")


# COPA, WSC and ReCoRD of FewGLUE are left out: their labels are not words that fit every text.
SETS = {
    "agnews": Source(Path("agnews"), "agnews"),
    "yelp": Source(Path("yelp"), "yelp", balanced=True),
    "sst2": Source(Path("sst2"), "sst2"),
    "mnli": Source(Path("mnli"), "mnli"),
    "eprstmt": Source(Path("eprstmt"), "eprstmt", model="albert-tiny-zh"),
    "clinc": Source(Path("clinc"), str(HERE / "clinc.yaml")),
    "clinc-domains": Source(Path("clinc"), str(HERE / "clinc_domains.yaml")),
    "rte": _fewglue("RTE"),
    "cb": _fewglue("CB"),
    "boolq": _fewglue("BoolQ"),
    "wic": _fewglue("WiC"),
    "multirc": _fewglue("MultiRC"),
    "tickets": Source(PACKAGE / "data" / "tickets", "tickets"),
    "news": Source(PACKAGE / "data" / "news", "news"),
}


@dataclass(frozen=True)
class Draw:
    """Labeled examples, unlabeled texts and test texts, in the files that `pet run` reads.

    Attributes
    ----------
    folder : with train.jsonl, unlabeled.jsonl and test.jsonl
    task : of the texts
    gold : label index of each test text
    seed : of the draw
    """

    folder: Path
    task: Task
    gold: np.ndarray = field(repr=False)
    seed: int = 0


@dataclass(frozen=True)
class Size:
    """How much to draw: labeled examples, unlabeled texts and test texts."""

    examples: int
    pool: int
    test: int


def make_draw(source: Source, data: Path, size: Size, seed: int, folder: Path) -> Draw:
    """Draw examples and unlabeled texts with a seed, and test texts that are the same for all seeds.

    Unlabeled texts that are also examples are left out. A data set without unlabeled texts gives those of its test file
    that are not drawn as test texts.
    """
    from pet.data.sample import sample_shots
    from pet.task.task import Task

    task, place = Task.load(source.task), data / source.folder
    train, test = (read_rows(place / f"{part}.jsonl", task, labeled=True) for part in ("train", source.test))
    count = len(task.labels)
    drawn = sample_shots(codes(train, task), count, examples=size.examples, seed=seed, names=task.labels)
    tested = test_numbers(source, test, task, size.test)
    rest = [row for number, row in enumerate(test) if number not in set(tested.tolist())]
    unlabeled = place / "unlabeled.jsonl"
    pool = read_rows(unlabeled, task, labeled=False) if unlabeled.exists() else rest
    examples = {key(train[row], task) for row in drawn}
    pool = [row for row in pool if key(row, task) not in examples]
    order = np.random.default_rng([seed, 1]).permutation(len(pool))[: size.pool]
    write(folder / "train.jsonl", [train[row] for row in drawn], task, labeled=True)
    write(folder / "unlabeled.jsonl", [pool[row] for row in order], task, labeled=False)
    write(folder / "test.jsonl", [test[row] for row in tested], task, labeled=True)
    return Draw(folder, task, codes([test[row] for row in tested], task), seed)


def test_numbers(source: Source, rows: Rows, task: Task, most: int) -> np.ndarray:
    """Return the numbers of the rows that are test texts: the same for all seeds."""
    from pet.data.sample import sample_shots

    number = min(most, len(rows))
    return sample_shots(codes(rows, task), len(task.labels), examples=number, seed=0, balanced=source.balanced)


def read_rows(path: Path, task: Task, *, labeled: bool) -> Rows:
    """Return the texts of a file, with the names of their labels if it has labels."""
    from pet.data.read import read_table

    labels = task.labels if labeled else None
    columns = {key: column for key, column in task.columns.items() if labeled or key != "label"}
    table = read_table(str(path), task.fields, labels=labels, label_map=task.label_map, columns=columns)
    return [{**row, **({"label": task.labels[row["label"]]} if labeled else {})} for row in table]


def key(row: dict[str, Any], task: Task) -> tuple[str, ...]:
    """Return the text of a row, to compare it with others."""
    return tuple(str(row[name]) for name in task.fields)


def codes(rows: Rows, task: Task) -> np.ndarray:
    """Return the label index of each row."""
    places = {label: number for number, label in enumerate(task.labels)}
    return np.array([places[str(row["label"])] for row in rows], dtype=np.int64)


def write(path: Path, rows: Sequence[dict[str, Any]], task: Task, *, labeled: bool) -> None:
    """Write the fields of rows, with ids, and with labels only if asked."""
    kept = [*task.fields, *(["label"] if labeled else [])]
    lines = [
        json.dumps({"id": f"{path.stem}-{number}", **{name: str(row[name]) for name in kept}})
        for number, row in enumerate(rows)
    ]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def draw_files(folder: Path, data: Path, task: Task, wanted: Mapping[str, Any], rows: int) -> dict[str, Rows]:
    """Write drawn examples, all unlabeled texts, and the first test texts of a data set, with ids.

    Parameters
    ----------
    folder : gets train.jsonl, unlabeled.jsonl and test.jsonl
    data : folder of the data set
    task : of the texts
    wanted : number of ``examples``, and the ``seed`` of their draw
    rows : number of test texts

    Returns
    -------
    The rows of each file.
    """
    from pet.data.sample import sample_shots

    parts = {part: _json_lines(data / f"{part}.jsonl") for part in ("train", "unlabeled", "test")}
    gold, names = codes(parts["train"], task), task.labels
    drawn = sample_shots(gold, len(names), examples=wanted["examples"], seed=wanted["seed"], names=names)
    parts["train"], parts["test"] = [parts["train"][row] for row in drawn], parts["test"][:rows]
    parts = {part: [row | {"id": f"{part}-{n}"} for n, row in enumerate(table)] for part, table in parts.items()}
    for part, table in parts.items():
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf-8")
    return parts


def gold_of(path: Path, task: Task) -> np.ndarray:
    """Return the label index of each line of a file."""
    return codes(_json_lines(path), task)


def _json_lines(path: Path) -> Rows:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


# ---- hits: which test texts are right, as text of 0 and 1 in the lines of a result file ---------


def as_text(hits: np.ndarray) -> str:
    """Return a boolean array as text of 0 and 1."""
    return "".join(map(str, hits.astype(int).tolist()))


def grouped_hits(lines: Rows) -> dict[tuple[str, int], tuple[Rows, dict[str, np.ndarray]]]:
    """Return the lines of each task and number of examples, and their hits: name -> array of shape (seeds, texts)."""
    groups: dict[tuple[str, int], Rows] = {}
    for line in lines:
        groups.setdefault((line["task"], line["examples"]), []).append(line)
    return {
        name: (runs, {what: np.array([[*map(int, run["right"][what])] for run in runs]) for what in runs[0]["right"]})
        for name, runs in groups.items()
    }


def paired(ours: np.ndarray, others: np.ndarray, draws: int = 2000) -> tuple[float, float, float]:
    """Mean difference of two (seeds, texts) arrays of hits, and its 95% interval by bootstrap, in percent."""
    generator = np.random.default_rng(0)
    difference = ours.astype(float) - others
    seeds, texts = difference.shape
    means = []
    for _ in range(draws):
        rows, columns = generator.integers(0, seeds, seeds), generator.integers(0, texts, texts)
        means.append(difference[np.ix_(rows, columns)].mean())
    low, high = np.quantile(means, [0.025, 0.975])
    return 100 * difference.mean(), 100 * low, 100 * high
