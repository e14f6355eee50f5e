"""Check that ids are unique, in constant memory, and match the ids of two tables."""

from __future__ import annotations

import tempfile
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pet.data.spill import disk_array, no_room

MOST_NAMED = 1000  # duplicate ids
MATCHED = 1 << 20  # ids at a time
_HASHED = 1 << 16

Array = NDArray[Any]


class IdLedger:
    """Hashes of ids in an unnamed temporary file, eight bytes per id.

    Different ids may have the same hash: look at the ids of duplicate hashes before reporting them.

    Parameters
    ----------
    name : str
        What messages call the input.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        try:
            self.file = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __exit__
        except OSError as error:
            raise no_room(name, "the temporary folder", error) from None

    def __enter__(self) -> IdLedger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()

    def add(self, ids: pa.Array) -> None:
        """Add the hashes of a string array."""
        hashes = np.fromiter(map(hash, ids.to_pylist()), np.int64, len(ids))
        try:
            self.file.write(hashes.tobytes())
            self.file.flush()
        except OSError as error:
            raise no_room(self.name, tempfile.gettempdir(), error) from None
        self.count += len(ids)

    def duplicates(self) -> frozenset[int]:
        """Return hashes that appear more than once, at most `MOST_NAMED` of them."""
        if self.count < 2:
            return frozenset()
        hashes = np.memmap(self.file, np.int64, mode="r+", shape=(self.count,))
        hashes.sort()  # in place, in pages that the system may move to disk
        found: set[int] = set()
        step = 1 << 20
        for start in range(0, self.count - 1, step):
            part = hashes[start : start + step + 1]
            found.update(part[1:][part[1:] == part[:-1]][:MOST_NAMED].tolist())
            if len(found) >= MOST_NAMED:
                break
        return frozenset(found)


def match_ids(ids: pa.Array, known: pa.Array) -> pa.Array:
    """Return the position of each id among the known ones.

    An id is looked up as it is, and then in the other spellings of `pet.spelling`, because programs turn ``7`` into
    ``7.0`` when a column has gaps. Ids that mean the same are only matched exactly.

    Parameters
    ----------
    ids, known : arrays of strings, each without duplicates

    Returns
    -------
    int32 array of positions in `known`, of the length of `ids`; null for an unknown id

    Examples
    --------
    >>> match_ids(pa.array(["b", "7", "x"]), pa.array(["7.0", "b"])).to_pylist()
    [1, 0, None]
    """
    found = pc.index_in(ids, value_set=known)
    if not found.null_count:
        return found
    open_ids = pc.is_null(found)
    keys, known_keys = _meanings(ids), _meanings(known)
    twice = pa.concat_arrays([_twice(keys), _twice(known_keys)])
    at = pc.index_in(keys, value_set=known_keys)
    at = pc.if_else(pc.is_in(keys, value_set=twice), pa.scalar(None, at.type), at)
    return pc.if_else(open_ids, at, found)


def match_columns(ids: pa.ChunkedArray, known: pa.ChunkedArray, name: str) -> Array:
    """`match_ids` for columns of any length, some at a time.

    Parameters
    ----------
    ids, known : columns of strings, each without duplicates
    name : what messages call the input

    Returns
    -------
    int64 array of the length of `ids`: positions in `known`, -1 for an unknown id; if it is large, a memory map
    """
    groups = -(-max(len(ids), len(known)) // MATCHED)
    found = disk_array(len(ids), np.int64, name)
    of_ids, of_known = _groups(ids, groups), _groups(known, groups)
    for group in range(groups):
        rows, places = np.flatnonzero(of_ids == group), np.flatnonzero(of_known == group)
        at = match_ids(_of_group(ids, of_ids == group), _of_group(known, of_known == group))
        at = np.asarray(pc.fill_null(at, -1))
        found[rows] = np.append(places, -1)[at]
    return found


def _groups(ids: pa.ChunkedArray, count: int) -> Array:
    """Return a group for each id, from 0; ids with the same meaning are in the same group."""
    groups = np.zeros(len(ids), dtype=np.uint16)
    start = 0
    for chunk in ids.chunks if count > 1 else ():
        for part in range(0, len(chunk), _HASHED):
            meanings = _meanings(chunk.slice(part, _HASHED)).to_pylist()
            groups[start : start + len(meanings)] = [hash(text) % count for text in meanings]
            start += len(meanings)
    return groups


def _of_group(ids: pa.ChunkedArray, chosen: Array) -> pa.Array:
    starts = np.cumsum([0, *map(len, ids.chunks)])
    parts = [
        chunk.filter(pa.array(chosen[start : start + len(chunk)]))
        for chunk, start in zip(ids.chunks, starts[:-1], strict=True)
    ]
    return pa.concat_arrays(parts) if parts else pa.array([], pa.string())


def _meanings(ids: pa.Array) -> pa.Array:
    """`pet.spelling.meaning` of whole numbers and accents, for a whole array."""
    whole = pc.replace_substring_regex(ids, pattern=r"^(-?(?:0|[1-9][0-9]*))\.0+$", replacement=r"\1")
    return pc.utf8_normalize(whole, form="NFC")


def _twice(keys: pa.Array) -> pa.Array:
    counts = pc.value_counts(keys)
    return counts.field("values").filter(pc.greater(counts.field("counts"), 1))
