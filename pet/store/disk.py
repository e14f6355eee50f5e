"""Turn errors of disks and file systems into one message that names the file and the reason."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from pet.errors import PetError

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_CURES = {
    errno.EACCES: "choose a folder where you have write permission",
    errno.EPERM: "choose a folder where you have write permission",
    errno.EROFS: "choose a folder where you have write permission",
    errno.EIO: "check the disk or the network drive, then run again",
    errno.ENXIO: "check the disk or the network drive, then run again",
    errno.ENODEV: "check the disk or the network drive, then run again",
    getattr(errno, "ESTALE", errno.EIO): "check the network drive, then run again",
    errno.ETIMEDOUT: "check the network drive, then run again",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), or use a file system without one",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close other programs, or raise the system's limit on open files",
}
_WRONG_PLACE = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ENOENT}
_WRONG_PLACE |= {errno.ELOOP, errno.EINVAL}
# Libraries written in Rust or C++ (safetensors, tokenizers, pyarrow) report the system's error as text.
_AS_TEXT = re.compile(r"(?:os error |errno:? ?|Os \{ code: )(\d+)", re.IGNORECASE)
_REASON_AND_CODE = re.compile(r"([A-Z][\w /-]*) \((\d{1,3})\)$")  # torch: "...: Input/output error (5)"
_FULL_AS_TEXT = ("No space left on device", "Disk quota exceeded")
_HALF_AS_TEXT = re.compile(r"\d+ requested and \d+ written")  # NumPy does not say why


def disk_problem(error: BaseException, doing: str) -> str | None:
    """Return a message if a full, failing or unwritable disk caused the error, else None.

    Parameters
    ----------
    error : BaseException
        The error.
    doing : str
        What was being done, for the message ("write g0/labels in runs/news").

    Examples
    --------
    >>> disk_problem(OSError(errno.EIO, "Input/output error"), "write labels.csv")
    'cannot write labels.csv: Input/output error; check the disk or the network drive, then run again'
    """
    link: BaseException | None = error
    named = True  # the error itself, or one that a library has wrapped on purpose
    while link is not None:
        code = _code(link)
        if code in _FULL:
            return f"cannot {doing}: the disk is full; free some space and run again, completed work is kept"
        if isinstance(link, OSError) and _HALF_AS_TEXT.search(str(link)):
            return f"cannot {doing}: only part of a file was written; the disk or the limit (ulimit -f) is full"
        if named and code is not None and code in _CURES:
            return f"cannot {doing}: {_reason(link, code)}; {_CURES[code]}"
        named = named and link.__cause__ is not None
        link = link.__cause__ or link.__context__
    return None


def path_problem(error: OSError, doing: str) -> str | None:
    """Like `disk_problem`, but also covers paths that cannot exist, for example because the parent is a file."""
    if error.errno is not None and error.errno in _WRONG_PLACE:
        return f"cannot {doing}: {_reason(error, error.errno)}; choose another path"
    return disk_problem(error, doing)


@contextmanager
def disk_errors(doing: str, *, paths: bool = False) -> Iterator[None]:
    """Convert errors of a full, failing or unwritable disk to a PetError; let other errors pass.

    Parameters
    ----------
    doing : what is being done, for the message ("write g0/labels in runs/news")
    paths : also convert those of `path_problem`; only where no other files are used
    """
    try:
        yield
    except PetError:
        raise
    except Exception as error:
        message = path_problem(error, doing) if paths and isinstance(error, OSError) else disk_problem(error, doing)
        if message is None:
            raise
        raise PetError(message) from error


def _code(error: BaseException) -> int | None:
    """Return the system's number of an error; for libraries that have none, read it from their message."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    text = str(error) if isinstance(error, Exception) and not isinstance(error, PetError) else ""
    if any(sign in text for sign in _FULL_AS_TEXT):
        return errno.ENOSPC
    found = _AS_TEXT.search(text)
    if found:
        return int(found[1])
    with_reason = _REASON_AND_CODE.search(text)
    return int(with_reason[2]) if with_reason and os.strerror(int(with_reason[2])) == with_reason[1] else None


def _reason(error: BaseException, code: int) -> str:
    name = error.filename if isinstance(error, OSError) else None
    return f"{os.strerror(code)} ({name})" if name else os.strerror(code)
