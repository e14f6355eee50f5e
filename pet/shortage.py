"""Recognize errors caused by a lack of memory, threads, or open files.

Libraries report them with all kinds of exceptions, and some only in the text.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pet.errors import PetError

_SMALLER = (
    "use smaller batches (--set labeled_batch=4 --set accumulation=2 --set student_batch=8 "
    "--set inference_tokens=2048), "
    "a smaller --max-length, fewer trained parameters (--tuning), fewer --workers, or a smaller model. "
    "A run with other settings needs a new folder"
)
_MEMORY_KINDS = {"MemoryError", "OutOfMemoryError"}
_MEMORY_TEXTS = (
    "can't allocate memory",  # torch's allocator
    "not enough memory",
    "out of memory",
    "cannot allocate memory",  # the system's ENOMEM
    "could not create a primitive",  # oneDNN cannot keep the code that it has generated
    "could not create a memory",
    "could not execute a primitive",
    "bad_alloc",  # C++
    "memory allocation of",  # Rust
    "failed to map segment from shared object",  # the loader of libraries
    "unable to mmap",
    "failed to allocate",
    "malloc of size",  # Arrow
)
_THREAD_TEXTS = ("can't start new thread", "pthread_create failed", "thread creation failed", "failed to spawn thread")
_LEAST_ADDRESS_SPACE = 1200 << 20  # torch alone needs about this much; with less, it kills the process silently
_GIGABYTE = 1 << 30
_RESERVE = 64 << 20


def shortage(error: BaseException) -> str | None:
    """Return a message if an error means that memory, threads or files ran out; None for other errors.

    Parameters
    ----------
    error : the error; its causes are examined, too

    Examples
    --------
    >>> shortage(RuntimeError("can't start new thread"))
    'the system refuses to start another thread; raise the limit on processes (ulimit -u), or use fewer --workers'
    >>> shortage(ValueError("no such label")) is None
    True
    """
    link: BaseException | None = error
    while link is not None and not isinstance(link, PetError):
        text = str(link).casefold()
        if any(sign in text for sign in _THREAD_TEXTS):
            return (
                "the system refuses to start another thread; raise the limit on processes (ulimit -u), or use fewer "
                "--workers"
            )
        if isinstance(link, OSError) and link.errno in (errno.EMFILE, errno.ENFILE):
            return "too many open files; raise the limit (ulimit -n), or use fewer --workers"
        names = {kind.__name__ for kind in type(link).__mro__}
        if names & _MEMORY_KINDS or (isinstance(link, Exception) and any(sign in text for sign in _MEMORY_TEXTS)):
            return _out_of_memory()
        link = link.__cause__ or link.__context__
    return None


def _out_of_memory() -> str:
    limit = address_space()
    if limit is None:
        return f"out of memory; {_SMALLER}"
    limited = f"this process is limited to {_size(limit)} of address space"
    return f"out of memory: {limited}; raise the limit (ulimit -v), or {_SMALLER}"


def check_address_space() -> None:
    """Check that the limit on address space leaves room for the libraries.

    Raises
    ------
    PetError
        If importing torch would kill the process.
    """
    limit = address_space()
    if limit is not None and limit < _LEAST_ADDRESS_SPACE:
        raise PetError(
            f"this process is limited to {_size(limit)} of address space, but needs {_size(_LEAST_ADDRESS_SPACE)} or "
            "more for torch alone; raise the limit (ulimit -v unlimited)"
        )


@contextmanager
def within_limits() -> Iterator[None]:
    """Save address space inside the block, if it is limited. For the command only: this concerns the whole process.

    A reserve is freed at the end of the block, so that a message can still be printed after memory has run out. Arrow
    allocates memory as needed, instead of 1 GB at once.
    """
    if address_space() is None:
        yield
        return
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    with mmap.mmap(-1, _RESERVE):
        yield


def address_space() -> int | None:
    """Return the limit on the address space of this process in bytes; None if it is unlimited."""
    if os.name == "nt" or sys.platform == "darwin":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _size(count: int) -> str:
    return f"{count / _GIGABYTE:.1f} GB"
