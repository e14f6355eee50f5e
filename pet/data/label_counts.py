"""Read how often each label occurs: from a table of counts, or from labeled texts that are counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.checks import column_labels, label_counts
from pet.data.columns import same_columns
from pet.data.open_source import open_source
from pet.data.read import read_table
from pet.data.reviewed import is_review, reviewed_labels
from pet.data.source import column_names
from pet.data.table_format import DETECT, TableFormat
from pet.errors import PetError
from pet.terminal import clean

Array = NDArray[Any]
COUNT = "count"  # the column of a table of counts


def read_label_counts(
    source: str,
    labels: Sequence[str],
    label_map: Mapping[str, str] = {},
    *,
    columns: Mapping[str, str] = {},
    name: str = "input",
    table_format: TableFormat = DETECT,
) -> tuple[Array, bool]:
    """Read the number of texts of each label.

    A table with a column ``count`` has one row for each label. In a ``reviewed.jsonl``, the decisions that hold are
    counted. In any other table, each row is a labeled text.

    Parameters
    ----------
    source : a table, as for `pet.data.read.read_table`
    labels, label_map : labels of the task in order, and other names of them
    columns : ``label`` -> column of the file; the column ``label`` if the file has no such column
    name : what messages call this input
    table_format : encoding, delimiter and quoting; default: detected

    Returns
    -------
    counts : float64 array of shape (L,)
    sampled : bool
        True if texts were counted, False if the table says how many there are.

    Raises
    ------
    PetError
        Naming the file and every label that is unknown, missing or repeated, and every count that is not a number.

    Examples
    --------
    >>> counts, sampled = read_label_counts("train.jsonl", ["bad", "good"])
    >>> len(counts), sampled
    (2, True)
    """
    header = column_names(open_source(source, name, table_format)) or []
    if is_review(header):
        return _decided(source, labels, name), True
    sampled = not same_columns(COUNT, header)
    # A table of counts need not name its columns like the data files of a run.
    other = columns.get("label", "label")
    label = other if same_columns(other, header) or not same_columns("label", header) else "label"
    table = read_table(
        source,
        [] if sampled else [COUNT],
        labels=labels,
        label_map=label_map,
        columns={"label": label, "id": ""},
        name=name,
        table_format=table_format,
    )
    if sampled:
        return label_counts(table, len(labels)).astype(np.float64), True
    return _counts(f"{name}: {source}", labels, column_labels(table), list(table[COUNT])), False


def _decided(source: str, labels: Sequence[str], name: str) -> Array:
    """Return the number of texts that reviewers gave each label."""
    found = Counter(reviewed_labels(source, labels))
    if not found:
        raise PetError(f"{name}: {source}: no text is labeled yet; label some with `pet review RUN`")
    return np.array([found[label] for label in labels], dtype=np.float64)


def _counts(place: str, labels: Sequence[str], positions: Array, texts: Sequence[str]) -> Array:
    """Return the counts of a table with one row for each label."""
    counts, problems = np.full(len(labels), np.nan), []
    for row, (position, text) in enumerate(zip(positions.tolist(), texts, strict=True), start=1):
        if not np.isnan(counts[position]):
            problems.append(f"{place}: row {row}: label {labels[position]!r} has a count already; keep one row a label")
        counts[position] = _number(text)
        if not 0 <= counts[position] < math.inf:
            problems.append(
                f"{place}: row {row}: the count of label {labels[position]!r} is {clean(text[:60])!r}; it must be a "
                "number of at least 0"
            )
            counts[position] = 0
    missing = [labels[position] for position in np.flatnonzero(np.isnan(counts)).tolist()]
    if missing:
        problems.append(f"{place}: has no count for {', '.join(map(repr, missing[:20]))}; add a row for every label")
    elif not problems and not counts.sum():
        problems.append(f"{place}: every count is 0; at least one must be above 0")
    if problems:
        raise PetError(problems)
    return counts


def _number(text: str) -> float:
    """Return a text as a number; -1 if it is none."""
    try:
        return float(text)
    except ValueError:
        return -1.0
