"""Read JSON from untrusted sources.

Python's reader accepts more than JSON and has no limits. This one refuses NaN and Infinity, numbers that do not fit in
64 bits, repeated keys, and deep nesting. Schemas (`pet.store.schema`)
declare what the values must be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pet.errors import PetError
from pet.store.schema import Check, check
from pet.store.text import MEGABYTE, decode, read_bytes

MAX_BYTES = 64 * MEGABYTE  # a manifest with thousands of stages has a few
MAX_DEPTH = 50
_MAX_DIGITS = 20  # 2**64 has 20
_MAX_INTEGER = 2**64


class _Refused(ValueError):
    """JSON that is well-formed, but outside the limits."""


def read_json(path: Path, cure: str, schema: Check | None = None, *, limit: int = MAX_BYTES) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : the file
    cure : what to do if it is damaged, for the message: "train this member again"
    schema : what the value must be; see `pet.store.schema`
    limit : maximum size in bytes

    Raises
    ------
    PetError
        If it cannot be read, is not JSON within the limits, or does not match the schema. Names the file and the cure.
    """
    shown = str(path)
    try:
        text = decode(read_bytes(path, shown, limit), shown)
    except PetError as error:
        raise PetError([f"{problem}; {cure}" for problem in error.problems]) from None
    return parse_json(text, shown, cure, schema)


def parse_json(text: str, shown: str, cure: str, schema: Check | None = None) -> Any:
    """Parse JSON text; for the parameters see `read_json`.

    Raises
    ------
    PetError

    Examples
    --------
    >>> parse_json('{"a": [1, 2.5]}', "note.json", "write it again")
    {'a': [1, 2.5]}
    """
    try:
        value = json.loads(
            text, parse_int=_integer, parse_float=_number, parse_constant=_constant, object_pairs_hook=_object
        )
        _check_depth(value)
    except json.JSONDecodeError as error:
        raise PetError(f"{shown}:{error.lineno}: not valid JSON ({error.msg}); {cure}") from None
    except _Refused as error:
        raise PetError(f"{shown}: {error}; {cure}") from None
    except RecursionError:
        raise PetError(f"{shown}: nested more than {MAX_DEPTH} levels deep; {cure}") from None
    if schema is not None:
        check(value, schema, shown, cure)
    return value


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS + 1 or abs(int(text)) > _MAX_INTEGER:
        raise _Refused(f"the number {text[:_MAX_DIGITS]}... is too large")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Refused(f"the number {text[:_MAX_DIGITS]} is too large")
    return value


def _constant(text: str) -> float:
    raise _Refused(f"{text} is not a number in JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Refused(f"the key {key[:100]!r} appears twice")
            seen.add(key)
    return found


def _check_depth(value: Any) -> None:
    layer, depth = [value], 0
    while layer:
        depth += 1
        if depth > MAX_DEPTH:
            raise _Refused(f"nested more than {MAX_DEPTH} levels deep")
        layer = [inner for outer in layer for inner in _inside(outer)]


def _inside(value: Any) -> Iterable[Any]:
    """Return the lists and mappings in a list or mapping."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in inner if isinstance(item, (dict, list))]
