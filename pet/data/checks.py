"""Find problems in the data of a run: empty, duplicate and contradictory texts, and leaks between tables."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pet.data.pick import pick_columns
from pet.errors import PetError
from pet.spelling import meaning

if TYPE_CHECKING:
    import datasets

Keys = NDArray[np.uint64]
BATCH = 4096
# White space, which no normalized text contains.
SEPARATOR = "\x1f"
# Words of messages about one row, and about more.
_ONE = {"them": "it", "these": "this test text"}
_MORE = {"them": "them", "these": "these test texts"}


@dataclass
class DataReport:
    """Results of `check_tables`. The mappings have the keys `train`, `unlabeled` and `test`, if there is such a table.

    Parameters
    ----------
    rows : mapping of str to int
        Rows of each table.
    label_counts : mapping of str to mapping of str to int
        Table -> label -> rows, for tables with labels.
    empty, duplicates, conflicts : mapping of str to int
        Rows whose fields are all blank; rows that repeat an earlier row; texts with more than one label.
    train_in_pool, train_in_test, pool_in_test : int
        Rows of the second table whose text is also in the first.
    messages : list of str
        The same as sentences; empty if there are no problems.
    multi_label : bool
        Whether a text may have several labels.
    keys : mapping of str to array
        `text_keys` of each table.
    """

    rows: dict[str, int] = field(default_factory=dict)
    label_counts: dict[str, dict[str, int]] = field(default_factory=dict)
    empty: dict[str, int] = field(default_factory=dict)
    duplicates: dict[str, int] = field(default_factory=dict)
    conflicts: dict[str, int] = field(default_factory=dict)
    train_in_pool: int = 0
    train_in_test: int = 0
    pool_in_test: int = 0
    messages: list[str] = field(default_factory=list)
    multi_label: bool = False
    keys: dict[str, Keys] = field(default_factory=dict, repr=False, compare=False)


def normalize(text: str) -> str:
    """Return the text with case and white space normalized.

    Examples
    --------
    >>> normalize("  The\\n CAT ")
    'the cat'
    """
    return " ".join(text.casefold().split())


def text_key(texts: Sequence[str]) -> int:
    """Return a 64-bit hash of the normalized fields of one row, the same in every process."""
    joined = SEPARATOR.join(map(normalize, texts))
    return int.from_bytes(hashlib.blake2b(joined.encode(), digest_size=8).digest(), "little")


def text_keys(table: datasets.Dataset, fields: Sequence[str]) -> Keys:
    """Return `text_key` of every row, shape (rows,): eight bytes per row, however long the texts are."""
    keys = np.empty(len(table), np.uint64)
    start = 0
    for part in pick_columns(table, fields).with_format("arrow").iter(batch_size=BATCH):
        rows = zip(*(part.column(name).to_pylist() for name in fields), strict=True)
        keys[start : start + part.num_rows] = [text_key(row) for row in rows]
        start += part.num_rows
    return keys


def check_tables(
    task_fields: Sequence[str],
    labels: Sequence[str],
    train: datasets.Dataset | None,
    unlabeled: datasets.Dataset | None,
    test: datasets.Dataset | None,
    reviewed: Keys | None = None,
) -> DataReport:
    """Check the tables of a run together; any of them may be None.

    Parameters
    ----------
    task_fields, labels : sequence of str
        Fields and labels of the task.
    train, unlabeled, test : datasets.Dataset or None
        As `pet.data.read.read_table` returns them, with or without a `label` column.
    reviewed : uint64 array, optional
        `text_keys` of labeled texts that are known to come from the pool: no warning says so.
    """
    report = DataReport()
    tables = {"train": train, "unlabeled": unlabeled, "test": test}
    keys = {name: text_keys(table, task_fields) for name, table in tables.items() if table is not None}
    blank = np.uint64(text_key([""] * len(task_fields)))
    for name, table in tables.items():
        if table is None:
            continue
        full = keys[name][keys[name] != blank]
        report.rows[name] = len(table)
        report.empty[name] = len(table) - len(full)
        report.duplicates[name] = len(full) - len(np.unique(full))
        if "label" in table.column_names and name != "unlabeled":
            gold = column_labels(table)
            counts = count_labels(gold, len(labels))
            report.label_counts[name] = dict(zip(labels, counts.tolist(), strict=True))
            report.multi_label = gold.ndim == 2
            report.conflicts[name] = _conflicts(keys[name], gold, blank)
    report.train_in_pool = _shared(keys, "unlabeled", "train", blank, reviewed)
    report.train_in_test = _shared(keys, "test", "train", blank)
    report.pool_in_test = _shared(keys, "test", "unlabeled", blank)
    report.messages = _messages(report)
    report.keys = keys
    return report


def rows_without(pool_keys: Keys, train_keys: Keys) -> NDArray[np.int64]:
    """Return the rows of the pool whose text is not a training text.

    A pool text equals a training text if all fields are equal, ignoring case and white space; see `text_keys`.

    Returns
    -------
    int64 array of row numbers, ascending
    """
    return np.flatnonzero(~np.isin(pool_keys, train_keys))


def check_ids(tables: Mapping[str, datasets.Dataset], keys: Mapping[str, Keys]) -> None:
    """Check that no id stands for different texts, because external scores are matched by id.

    Parameters
    ----------
    tables : the tables of a run, by name
    keys : `text_keys` of each table

    Raises
    ------
    PetError
        Naming the id and both tables.
    """
    seen: dict[str, tuple[int, str]] = {}
    for name, table in tables.items():
        for row_id, key in zip(table["id"], keys[name].tolist(), strict=True):
            before, where = seen.setdefault(meaning(row_id), (key, name))
            if before != key:
                raise PetError(
                    f"id {row_id!r} stands for different texts in {where} and {name}, but external scores are matched "
                    "by id; add an `id` column with unique ids to the files"
                )


def column_labels(table: datasets.Dataset) -> NDArray[np.int64]:
    """Return the `label` column of a table.

    Returns
    -------
    int64 array of shape (rows,), positions in the task's labels; of shape (rows, L), 0 or 1 for each label, if a text
    may have several
    """
    column = pick_columns(table, ["label"]).with_format("arrow")[:]["label"].combine_chunks()
    if not pa.types.is_fixed_size_list(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=False), np.int64)
    return column.flatten().to_numpy().astype(np.int64).reshape(len(table), column.type.list_size)


def count_labels(gold: NDArray[np.int64], labels: int) -> NDArray[np.int64]:
    """Count the texts of each label, shape (labels,).

    Parameters
    ----------
    gold : see `column_labels`
    labels : number of labels

    Examples
    --------
    >>> count_labels(np.array([0, 0, 2]), 3).tolist(), count_labels(np.array([[1, 1], [0, 1]]), 2).tolist()
    ([2, 0, 1], [1, 2])
    """
    if gold.ndim == 2:
        return np.asarray(gold.sum(axis=0), np.int64)
    return np.bincount(gold, minlength=labels)


def _shared(keys: dict[str, Keys], table: str, other: str, blank: np.uint64, known: Keys | None = None) -> int:
    """Count the rows of `table` whose text is in `other`, without blank rows and those that are `known`."""
    if table not in keys or other not in keys:
        return 0
    mine = keys[table]
    if known is not None:
        mine = mine[~np.isin(mine, known)]
    return int((np.isin(mine, keys[other]) & (mine != blank)).sum())


def _conflicts(keys: Keys, gold: NDArray[np.int64], blank: np.uint64) -> int:
    """Count the texts that appear with two or more different labels, or sets of labels."""
    if gold.ndim == 2:
        gold = np.unique(gold, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.lexsort((gold, keys))
    ranked, labels = keys[order], gold[order]
    differs = (ranked[1:] == ranked[:-1]) & (labels[1:] != labels[:-1]) & (ranked[1:] != blank)
    return len(np.unique(ranked[1:][differs]))


def _without_examples(report: DataReport) -> list[str]:
    """Return which labels of the task no example has."""
    counts = report.label_counts.get("train", {})
    labels = [label for label, count in counts.items() if count]
    if len(labels) == 1 < len(counts) and counts[labels[0]] == report.rows["train"]:
        return [
            f"train: every example has the label {labels[0]!r}, so most texts may get it, and the accuracy cannot be "
            "estimated; give examples of the other labels, too"
        ]
    missing = [label for label, count in counts.items() if not count]
    return [f"train: label {label!r} has no example; members know it only by its verbalizer words" for label in missing]


def _messages(report: DataReport) -> list[str]:
    messages = _without_examples(report)
    for name in report.rows:
        for number, what in (
            (report.empty[name], "without text in any field"),
            (report.duplicates[name], "with the text of an earlier row"),
        ):
            if number:
                messages.append(f"{name}: {_rows(number)} {what}")
        if conflicts := report.conflicts.get(name, 0):
            what = "text has" if conflicts == 1 else "texts have"
            several = "different sets of labels" if report.multi_label else "more than one label"
            messages.append(f"{name}: {conflicts:,} {what} {several}; check which one is right")
    for number, what in (
        (report.train_in_pool, "unlabeled: {} with a text from train; a run leaves {them} out of the pool"),
        (report.train_in_test, "test: {} with a text from train; the results will look better than they are"),
        (
            report.pool_in_test,
            "test: {} with a text from unlabeled; the student sees {these} in training",
        ),
    ):
        if number:
            messages.append(what.format(_rows(number), **(_ONE if number == 1 else _MORE)))
    return messages


def _rows(number: int) -> str:
    return f"{number:,} {'row' if number == 1 else 'rows'}"


def check_labels_occur(table: datasets.Dataset, labels: int) -> None:
    """Refuse labeled texts that may have several labels, and of which none has any: nothing can be learned from them.

    Raises
    ------
    PetError
        With the number of texts.
    """
    if not label_counts(table, labels).any():
        raise PetError(
            f"train: none of its {len(table):,} texts has a label; give some texts that have labels, or use --method "
            "zero-shot"
        )


def label_counts(table: datasets.Dataset | None, labels: int) -> NDArray[np.int64]:
    """Count the texts of each label in a table, shape (labels,); zeros for None."""
    if table is None:
        return np.zeros(labels, dtype=np.int64)
    return count_labels(column_labels(table), labels)
