"""Whether ids are unique, in memory that does not grow with their number."""

from __future__ import annotations

import tempfile
from types import TracebackType

import numpy as np
import pyarrow as pa

from pet.data.spill import no_room

MOST_NAMED = 1000


class IdLedger:
    """Hashes of ids in an unnamed temporary file: eight bytes an id, and none of the ids.

    `name` is what messages call the input. Equal hashes of different ids are possible; who
    is told of doubled hashes looks at the ids.
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
        """Note the hashes of a string array."""
        hashes = np.fromiter(map(hash, ids.to_pylist()), np.int64, len(ids))
        try:
            self.file.write(hashes.tobytes())
            self.file.flush()
        except OSError as error:
            raise no_room(self.name, tempfile.gettempdir(), error) from None
        self.count += len(ids)

    def doubled(self) -> frozenset[int]:
        """Hashes that are there more than once, `MOST_NAMED` at most."""
        if self.count < 2:
            return frozenset()
        hashes = np.memmap(self.file, np.int64, mode="r+", shape=(self.count,))
        hashes.sort()  # in place, in pages that the system may write out
        found: set[int] = set()
        step = 1 << 20
        for start in range(0, self.count - 1, step):
            part = hashes[start : start + step + 1]
            found.update(part[1:][part[1:] == part[:-1]][:MOST_NAMED].tolist())
            if len(found) >= MOST_NAMED:
                break
        return frozenset(found)
