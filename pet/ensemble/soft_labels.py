"""Soft labels: the probability of each label for each text, according to the ensemble, and the files that hold them.

Parquet, JSON lines and CSV hold the same rows; `pet.ensemble.soft_label_files` reads them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pet.ensemble.combine import ABSTAINS, REPEAT, Ensemble, SoftLabels, SoftLabelSets
from pet.ensemble.soft_label_parquet import lists_labels
from pet.store.json_reader import parse_json
from pet.store.schema import list_of, text
from pet.store.tables import PROBABILITY_COLUMN, VOTE_COLUMN, OutputColumn, Values, writing_table
from pet.task.parse import SEPARATOR

Array = NDArray[Any]
MERGE_ROWS = 65536


def soft_label_columns(
    labels: Sequence[str], members: Sequence[str], *, independent: bool = False
) -> list[OutputColumn]:
    """Return the columns of a file of soft labels; with `independent` labels, ``labels`` lists all that apply."""
    return [
        OutputColumn("id", pa.string()),
        OutputColumn("probabilities", pa.float64(), tuple(labels), PROBABILITY_COLUMN),
        OutputColumn("labels", pa.list_(pa.string())) if independent else OutputColumn("label", pa.string()),
        OutputColumn("confidence", pa.float64()),
        OutputColumn("entropy", pa.float64()),
        OutputColumn("agreement", pa.float64()),
        OutputColumn("votes", pa.string(), tuple(members), VOTE_COLUMN),
    ]


class SoftLabelWriter(Protocol):
    """Appends rows to a file of soft labels."""

    def __call__(self, ids: Sequence[str], soft: SoftLabels, kept: Mapping[str, Values] = ..., /) -> None:
        """Append rows, given their ids, their soft labels and the values of the kept columns."""


@contextmanager
def writing_soft_labels(
    path: str | Path | IO[str],
    labels: Sequence[str],
    members: Sequence[str],
    kept: Sequence[OutputColumn] = (),
    *,
    as_is: bool = False,
    independent: bool = False,
) -> Iterator[SoftLabelWriter]:
    """Write a file of soft labels; it appears when the block ends without an error.

    Parameters
    ----------
    path : str, Path or text stream
        The file; the ending of its name selects the format (`pet.store.tables.TABLE_ENDINGS`). A stream receives JSON
        lines.
    labels, members : sequence of str
        Names, in the order of the columns of `SoftLabels`.
    kept : sequence of OutputColumn
        Further columns.
    as_is : bool
        As `pet.store.tables.writing_table`.
    independent : bool
        A text may have any number of labels; the rows are `SoftLabelSets`.

    Yields
    ------
    SoftLabelWriter

    Raises
    ------
    PetError
        As `pet.store.tables.writing_table`.
    """
    names = np.asarray([*labels, None], dtype=object)  # a vote of -1 selects the last entry: no vote
    order = {"labels": json.dumps(list(labels), ensure_ascii=False), "members": json.dumps(list(members))}
    columns = [*soft_label_columns(labels, members, independent=independent), *kept]
    with writing_table(Path(path) if isinstance(path, str) else path, columns, order, as_is=as_is) as table:

        def append(ids: Sequence[str], soft: SoftLabels, kept: Mapping[str, Values] = {}) -> None:
            made: dict[str, Values] = {
                "id": ids,
                "probabilities": soft.probabilities,
                "confidence": soft.confidence,
                "entropy": soft.entropy,
                "agreement": soft.agreement,
            }
            if isinstance(soft, SoftLabelSets):
                made |= {"labels": _listed(names, soft.applies), "votes": _set_votes(names, soft.votes)}
            else:
                made |= {"label": names[soft.label], "votes": names[soft.votes]}
            table.write({**made, **kept})

        yield append


def write_soft_labels(
    paths: Sequence[Path],
    ids: Any,
    scores: Sequence[Array],
    ensemble: Ensemble,
    labels: Sequence[str],
) -> None:
    """Merge score arrays, which may be memory maps, and write the soft labels in constant memory.

    Parameters
    ----------
    paths : files to write
    ids : sequence of str that supports slices, as `pet.data.lazy_column.LazyColumn`
    scores : of each member, shape (rows, L)
    ensemble : the members
    labels : the task's labels
    """
    with ExitStack() as stack:
        several = ensemble.independent
        writers = [
            stack.enter_context(writing_soft_labels(path, labels, ensemble.names, independent=several))
            for path in paths
        ]
        for start in range(0, len(ids), MERGE_ROWS):
            stop = min(start + MERGE_ROWS, len(ids))
            soft = ensemble.combine([array[start:stop] for array in scores])
            chunk = list(ids[start:stop])
            for append in writers:
                append(chunk, soft)


def read_probabilities(path: Path) -> Array:
    """Read the probabilities from a Parquet file that `write_soft_labels` has written, without checking them.

    For files from elsewhere use `pet.ensemble.soft_label_files.read_soft_labels`; for the same file it returns the
    same numbers.

    Returns
    -------
    float64 array of shape (rows, L), in the order of the file's labels; rows add up to 1, unless labels are independent
    """
    with pq.ParquetFile(path) as file:
        stored = (file.schema_arrow.metadata or {}).get(b"labels", b"")
        several = lists_labels(file.schema_arrow)
        width = len(parse_json(stored.decode("utf-8", "replace"), str(path), REPEAT, list_of(text(), 2)))
        matrix = np.empty((file.metadata.num_rows, width))
        start = 0
        for batch in file.iter_batches(batch_size=MERGE_ROWS, columns=["probabilities"]):
            flat = batch.column(0).flatten().to_numpy()
            matrix[start : start + batch.num_rows] = flat.reshape(-1, width)
            start += batch.num_rows
    return matrix if several else matrix / matrix.sum(axis=1, keepdims=True)


def _listed(names: Array, applies: Array) -> list[list[str]]:
    """Return the names of the labels that apply to each row."""
    return [names[:-1][row].tolist() for row in applies]


def _set_votes(names: Array, votes: Array) -> Array:
    """Return the labels that each member gives each row, as one text; None where it abstains.

    The text is a JSON list if the name of a label contains the separator.
    """
    made = np.empty(votes.shape[:2], dtype=object)
    as_list = any(SEPARATOR in name for name in names[:-1])
    for row, member in np.ndindex(*votes.shape[:2]):
        given = votes[row, member]
        said = names[:-1][given > 0].tolist()
        text = json.dumps(said, ensure_ascii=False) if as_list else SEPARATOR.join(said)
        made[row, member] = None if given[0] == ABSTAINS else text
    return made
