"""One value of a table: its text, or what is wrong with it.

Every source of tables uses these functions: files, data sets, and values in memory. The same value therefore becomes
the same text, or gets the same message, wherever it comes from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

_PRINTED = (int, float, Decimal, date, time, timedelta, UUID)  # types whose `str` is a text
_MISSING = ("NAType", "NaTType")  # the missing values of pandas
_MISSING_TEXTS = ("", "nan", "none", "null", "na", "n/a", "<na>", "nat")  # as programs write a missing label


def as_text(value: Any) -> str | None:
    """Return a value as text; None if it is missing, or not a single value such as a text, a number or a date.

    Examples
    --------
    >>> as_text(1.5), as_text(True), as_text([1]), as_text(float("nan"))
    ('1.5', 'true', None, None)
    """
    if isinstance(value, str):
        return str(value)
    value = _plain(value)
    if isinstance(value, bool):
        return "true" if value else "false"  # as JSON and Arrow write it
    return str(value) if isinstance(value, _PRINTED) and not is_missing(value) else None


def label_text(value: Any) -> str | None:
    """Return a label as a task file writes it; None as for `as_text`.

    Examples
    --------
    >>> label_text(1), label_text(1.0), label_text(True)
    ('1', '1', 'True')
    """
    value = _plain(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, bool) else as_text(value)


def _plain(value: Any) -> Any:
    """Return a NumPy scalar as a Python value; other values are unchanged."""
    if not isinstance(value, np.generic):
        return value
    if isinstance(value, (np.datetime64, np.timedelta64)) and isinstance(value.item(), int):
        value = value.astype(f"{value.dtype.kind}8[us]")  # Python has no nanoseconds
    return value.item()


def is_missing(value: Any) -> bool:
    """Return True for None, NaN, and the missing values of pandas (NA and NaT).

    Examples
    --------
    >>> is_missing(float("nan")), is_missing(""), is_missing(0)
    (True, False, False)
    """
    if value is None or type(value).__name__ in _MISSING:
        return True
    if isinstance(value, Decimal):
        return value.is_nan()
    return isinstance(value, (float, np.floating)) and math.isnan(value)


def is_missing_label(text: str) -> bool:
    """Return True if a text that is not a label stands for a missing one, such as an empty text or ``NaN``."""
    return text.strip().casefold() in _MISSING_TEXTS


def kind_of(value: Any) -> str:
    """Return what a value without text is, for messages.

    Examples
    --------
    >>> kind_of(None), kind_of([1]), kind_of(b"a")
    ('missing (null)', 'an array', 'binary (bytes)')
    """
    if is_missing(value):
        return "missing (null)" if value is None else "missing (NaN)"
    if isinstance(value, (list, tuple, np.ndarray)):
        return "an array"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (bytes, bytearray)):
        return "binary (bytes)"
    return f"a {type(value).__name__}"


def is_unicode(text: str) -> bool:
    """Return False if a text contains a lone surrogate (half a character), which no file can store."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
