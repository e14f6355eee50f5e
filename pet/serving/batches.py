"""Join concurrent requests into batches, which one thread computes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Row = Mapping[str, str]


class Busy(Exception):
    """Too many texts are waiting."""


@dataclass
class _Waiting:
    rows: Sequence[Row]
    result: asyncio.Future[Array]


@dataclass
class Batcher:
    """Computes the rows of many requests together.

    While a batch is computed, requests wait, and all that waited make up the next one. So batches grow with the load,
    and a single request never waits for others.

    Parameters
    ----------
    compute : maps rows to an array with one row each; called in one thread of its own
    most : texts of a batch; a larger request is a batch of its own
    limit : texts that may wait before requests are refused
    on_batch : called with the number of texts of every batch
    """

    compute: Callable[[Sequence[Row]], Array]
    most: int
    limit: int
    on_batch: Callable[[int], object] = lambda texts: None
    _queue: deque[_Waiting] = field(default_factory=deque)
    _texts: int = 0
    _worker: asyncio.Task[None] | None = None
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "batches"))

    @property
    def waiting(self) -> int:
        """Number of texts that wait."""
        return self._texts

    async def submit(self, rows: Sequence[Row]) -> Array:
        """Return the results of some rows; `Busy` if too many wait. If the caller gives up, they are not computed."""
        if self._texts and self._texts + len(rows) > self.limit:
            raise Busy
        one = _Waiting(rows, asyncio.get_running_loop().create_future())
        self._queue.append(one)
        self._texts += len(rows)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await one.result

    def close(self) -> None:
        """End the thread, after the batch that it computes."""
        self._thread.shutdown()

    async def _work(self) -> None:
        while self._queue:
            batch = self._next()
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        """Compute a batch. If that fails, each request is computed alone, so that one text does not fail the others."""
        rows = [row for one in batch for row in one.rows]
        self.on_batch(len(rows))
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, self.compute, rows)
        except Exception as error:
            for one in batch:
                if one.result.done():
                    continue
                if len(batch) == 1:
                    one.result.set_exception(error)
                else:
                    await self._answer([one])
            return
        start = 0
        for one in batch:
            if not one.result.done():
                one.result.set_result(found[start : start + len(one.rows)])
            start += len(one.rows)

    def _next(self) -> list[_Waiting]:
        """Take the requests of the next batch, without those whose callers have given up."""
        batch: list[_Waiting] = []
        texts = 0
        while self._queue and (not batch or texts + len(self._queue[0].rows) <= self.most):
            one = self._queue.popleft()
            self._texts -= len(one.rows)
            if not one.result.done():
                batch.append(one)
                texts += len(one.rows)
        return batch
