"""Keeping freed memory at hand while tensors of the same sizes come and go."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# mallopt's parameters (malloc.h of the GNU C library)
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_MEGABYTE = 1 << 20


@contextmanager
def kept_memory(device: str) -> Iterator[None]:
    """On a processor, let freed memory stay with this process until the end of the block.

    The GNU C library hands large pieces back to the system as soon as they are freed, and the system fills each
    new one with zeros: 10 to 20 % of the time of a batch, all of it in the system. Other libraries and devices
    are left as they are. At the end everything that is free is handed back.
    """
    if device != "cpu" or platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, 1024 * _MEGABYTE)
    try:
        yield
    finally:  # to what the library itself arrives at after it has seen large pieces
        libc.mallopt(_MMAP_MAX, 65536)
        libc.mallopt(_MMAP_THRESHOLD, 32 * _MEGABYTE)
        libc.mallopt(_TRIM_THRESHOLD, 64 * _MEGABYTE)
        libc.malloc_trim(0)
