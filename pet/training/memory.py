"""Reuse freed memory instead of returning it to the system, in processes that run nothing but this package."""

from __future__ import annotations

import ctypes
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# mallopt's parameters (malloc.h of the GNU C library)
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_MEGABYTE = 1 << 20
_OBJECTS = 100_000  # new objects between two collections; Python's default is 700 or 2,000

_own_process: ContextVar[bool] = ContextVar("own_process", default=False)


@contextmanager
def own_process() -> Iterator[None]:
    """Inside the block, collect garbage less often, and allow `kept_memory` to tune the allocator of this process.

    Both serve the whole process, so only programs that own it do this: the ``pet`` command and its workers, never
    `pet.PetClassifier` or another function of the package. Libraries make a million objects while they are imported,
    and Python would look through them for garbage a thousand times, which takes a fifth of the time of a short command.
    """
    token, kept, often = _own_process.set(True), gc.get_freeze_count(), gc.get_threshold()
    gc.set_threshold(_OBJECTS, *often[1:])
    try:
        yield
    finally:
        gc.set_threshold(*often)
        _own_process.reset(token)
        if not kept:
            gc.unfreeze()


def keep_objects() -> None:
    """Within `own_process`, leave the objects that exist now out of garbage collections until its end.

    Call it when libraries are imported. Their million objects are never garbage, but each full collection, of which
    every training makes one, would take a quarter of a second to look at them.
    """
    if _own_process.get() and not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


@contextmanager
def kept_memory(device: str) -> Iterator[None]:
    """On a CPU and within `own_process`, keep freed memory in this process until the end of the block.

    The GNU C library returns large blocks to the system as soon as they are freed, and the system zero-fills
    every new one, which costs 10 to 20% of the time of a batch. Other C libraries and devices are unaffected. At
    the end, all free memory is returned.
    """
    if device != "cpu" or not _own_process.get() or platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, 1024 * _MEGABYTE)
    try:
        yield
    finally:  # the values that the library settles on after it has seen large blocks
        libc.mallopt(_MMAP_MAX, 65536)
        libc.mallopt(_MMAP_THRESHOLD, 32 * _MEGABYTE)
        libc.mallopt(_TRIM_THRESHOLD, 64 * _MEGABYTE)
        libc.malloc_trim(0)
