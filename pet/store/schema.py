"""Declare and check the values that a received file must contain.

A check is a function that takes a value and the name of its place, and yields problems. The functions below make
checks. A schema is a check of the whole document.

Examples
--------
>>> schema = record({"steps": whole(0, 100), "names": list_of(text())})
>>> list(schema({"steps": -1, "names": ["a", 2]}, ""))
['steps is -1; it must be a whole number from 0 to 100', 'names[1] is 2; it must be text']
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from pet.errors import PetError
from pet.terminal import clean

Check = Callable[[Any, str], Iterator[str]]
_SHOWN = 60
_MOST_PROBLEMS = 10
_MOST_ENTRIES = 1_000_000


def check(value: Any, schema: Check, shown: str, cure: str) -> None:
    """Raise a `PetError` with the first problems of a value.

    Parameters
    ----------
    value : the document
    schema : what it must be
    shown : name of the file, for the message
    cure : what to do, for the message: "train this member again"

    Examples
    --------
    >>> check({"steps": 5}, record({"steps": whole(0, 100)}), "note.json", "write it again")
    """
    problems = []
    for problem in schema(value, ""):
        problems.append(f"{shown}: {problem}; {cure}")
        if len(problems) == _MOST_PROBLEMS:
            break
    if problems:
        raise PetError(problems)


def _is(value: Any, place: str, wanted: str) -> Iterator[str]:
    yield f"{place or 'the content'} is {_shown(value)}; it must be {wanted}"


def _shown(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a mapping"
    text = clean(json.dumps(value[: 2 * _SHOWN] if isinstance(value, str) else value, ensure_ascii=False, default=str))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def text(longest: int = 10_000, *, pattern: str = "", wanted: str = "", choices: Collection[str] = ()) -> Check:
    """Return a check for text: its length, a regular expression to match (which `wanted` describes), its choices."""
    regex = re.compile(pattern)

    def problems(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield from _is(value, place, "text")
        elif len(value) > longest:
            yield f"{place} has {len(value)} characters; it may have at most {longest}"
        elif pattern and not regex.fullmatch(value):
            yield from _is(value, place, wanted)
        elif choices and value not in choices:
            yield from _is(value, place, f"one of {', '.join(choices)}")

    return problems


def whole(low: int, high: int) -> Check:
    """Return a check for a whole number in a range."""

    def problems(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            yield from _is(value, place, f"a whole number from {low} to {high}")

    return problems


def number(low: float = -1e300, high: float = 1e300) -> Check:
    """Return a check for a finite number in a range."""

    def problems(value: Any, place: str) -> Iterator[str]:
        usable = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not usable or not low <= value <= high:
            unbounded = (low, high) == (-1e300, 1e300)
            yield from _is(value, place, "a finite number" if unbounded else f"a number from {low:g} to {high:g}")

    return problems


def flag() -> Check:
    """Return a check for true or false."""

    def problems(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, bool):
            yield from _is(value, place, "true or false")

    return problems


def anything() -> Check:
    """Return a check that accepts every value, for entries that no code reads."""
    return lambda value, place: iter(())


def maybe(inner: Check) -> Check:
    """Return a check that also accepts null."""
    return lambda value, place: iter(()) if value is None else inner(value, place)


def list_of(inner: Check, low: int = 0, high: int = _MOST_ENTRIES, *, per: str = "") -> Check:
    """Return a check for a list whose length is in a range; `per` says why: "one per label"."""

    def problems(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield from _is(value, place, "a list")
        elif not low <= len(value) <= high:
            wanted = str(low) if low == high else f"{low} to {high}"
            yield f"{place} has length {len(value)}; it must have length {wanted}" + (f" ({per})" if per else "")
        else:
            for index, item in enumerate(value):
                yield from inner(item, f"{place}[{index}]")

    return problems


def first_of(*checks: Check) -> Check:
    """Return a check for a list that begins with certain entries, each with its own check."""

    def problems(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, list) or len(value) < len(checks):
            yield from _is(value, place, f"a list of {len(checks)} entries")
        else:
            for index, inner in enumerate(checks):
                yield from inner(value[index], f"{place}[{index}]")

    return problems


def mapping_of(inner: Check, keys: Check | None = None) -> Check:
    """Return a check for a mapping with any keys, or keys that pass a check."""

    def problems(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield from _is(value, place, "a mapping")
            return
        if len(value) > _MOST_ENTRIES:
            yield f"{place} has {len(value)} entries; it may have at most {_MOST_ENTRIES}"
            return
        for key, item in value.items():
            if keys is not None:
                yield from keys(key, f"a key of {place or 'the content'}")
            yield from inner(item, _inner_place(place, key))

    return problems


def record(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """Return a check for a mapping with certain keys. Other keys are ignored: later versions may add some."""

    def problems(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield from _is(value, place, "a mapping")
            return
        for key in required:
            if key not in value:
                yield f"{_inner_place(place, key)} is missing"
        for key, inner in {**required, **(optional or {})}.items():
            if key in value:
                yield from inner(value[key], _inner_place(place, key))

    return problems


def _inner_place(place: str, key: str) -> str:
    shown = clean(key if len(key) <= _SHOWN else key[: _SHOWN - 3] + "...")
    return f"{place}.{shown}" if place else shown


def inside(longest: int = 500) -> Check:
    """Return a check for the name of a file inside a folder: relative, with ``/``, and never out of the folder.

    Examples
    --------
    >>> list(inside()("g0/labels.parquet", "file")), len(list(inside()("../labels.parquet", "file")))
    ([], 1)
    """

    def problems(value: Any, place: str) -> Iterator[str]:
        parts = value.split("/") if isinstance(value, str) else [""]
        odd = any(part in ("", ".", "..") or not part.isprintable() or re.search(r"[\\:]", part) for part in parts)
        if odd or len(value) > longest:
            yield from _is(value, place, "the name of a file in this folder")

    return problems
