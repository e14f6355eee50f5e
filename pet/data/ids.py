"""Check that ids are unique, in constant memory."""

from __future__ import annotations

import tempfile
from types import TracebackType

import numpy as np
import pyarrow as pa

from pet.data.spill import no_room

MOST_NAMED = 1000  # duplicate ids


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
