"""YAML files and mappings as a tree whose nodes know their file and line.

Scalars keep their literal text: ``no``, ``1`` and ``1.0`` are strings, not a boolean and two equal
numbers. Tags never construct objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from pet.errors import PetError

MAX_BYTES = 2_000_000
_PLAIN_TAGS = ("str", "int", "float", "bool", "null", "timestamp", "merge", "value", "seq", "map")
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Item:
    """A node of the tree.

    Attributes
    ----------
    value : the text of a scalar, a list of items, a tuple of (key, item) pairs for a mapping (keys may
        repeat), or None for an empty value
    place : location for messages: "file.yaml:12"
    line : line number, from 1; 0 if the source has no lines
    flow : True for flow style (braces or brackets)
    """

    value: Value
    place: str
    line: int = 0
    flow: bool = False

    @property
    def pairs(self) -> tuple[tuple[Item, Item], ...] | None:
        """Keys and values of a mapping; None if the node is not a mapping."""
        return self.value if isinstance(self.value, tuple) else None

    @property
    def items(self) -> list[Item] | None:
        """Items of a list; None if the node is not a list."""
        return self.value if isinstance(self.value, list) else None


Value: TypeAlias = "str | list[Item] | tuple[tuple[Item, Item], ...] | None"


def read_yaml(path: Path, shown: str | None = None) -> Item:
    """Read a file with a single YAML document.

    Parameters
    ----------
    path : the file, UTF-8 with or without a byte-order mark
    shown : name to use in messages; default: `path`

    Raises
    ------
    PetError
        If the file cannot be read, is not UTF-8, is not valid YAML, or contains a tag that would construct an object.
    """
    shown = shown or str(path)
    text = _read_text(path, shown)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise PetError(_yaml_problem(error, shown)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise PetError(
            f"{shown}:{line}: character {int(error.character):#x} is not allowed in YAML; delete it"
        ) from None
    except RecursionError:
        raise PetError(f"{shown}: nested too deeply for a task file") from None
    problems: list[str] = []
    item = _Converter(shown, problems).convert(node)
    if problems:
        raise PetError(problems)
    return item


def _read_text(path: Path, shown: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PetError(f"{shown}: cannot be read: {error.strerror or error}") from None
    if len(raw) > MAX_BYTES:
        raise PetError(f"{shown}: larger than {MAX_BYTES} bytes, too large for a task file; is it a data file?")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PetError(f"{shown}:{line}: byte {raw[error.start]:#04x} is not UTF-8; save the file as UTF-8") from None


def _yaml_problem(error: yaml.MarkedYAMLError, shown: str) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"{shown}:{mark.line + 1}" if mark else shown
    what = error.problem or error.context or "cannot be read"
    return f"{where}: not valid YAML ({what}); quote text that contains {{...}}, ':' or '#'"


class _Converter:
    """Converts composed YAML nodes to items."""

    def __init__(self, shown: str, problems: list[str]):
        self.shown = shown
        self.problems = problems
        self._done: dict[int, Item | None] = {}

    def convert(self, node: yaml.Node | None) -> Item:
        if node is None:
            return Item(None, f"{self.shown}:1", 1)
        line = node.start_mark.line + 1
        place = f"{self.shown}:{line}"
        if id(node) in self._done:
            known = self._done[id(node)]  # an alias: the same node again; None while it is being converted
            if known is None:
                self.problems.append(f"{place}: the alias refers to itself; write the content out")
            return known or Item(None, place, line)
        self._done[id(node)] = None
        self._check_tag(node.tag, place)
        item = Item(self._value(node), place, line, bool(getattr(node, "flow_style", False)))
        self._done[id(node)] = item
        return item

    def _value(self, node: yaml.Node) -> Value:
        if isinstance(node, yaml.MappingNode):
            return tuple((self.convert(key), self.convert(value)) for key, value in node.value)
        if isinstance(node, yaml.SequenceNode):
            return [self.convert(value) for value in node.value]
        empty = node.value == "" and node.tag == _TAG + "null"
        return None if empty else str(node.value)

    def _check_tag(self, tag: str, place: str) -> None:
        name = tag.removeprefix(_TAG)
        if name not in _PLAIN_TAGS or not tag.startswith(_TAG):
            shown = "!!" + name if tag.startswith(_TAG) else tag
            self.problems.append(f"{place}: tag {shown} is not allowed; use plain text, lists and mappings")


def from_plain(value: Any, place: str) -> Item:
    """Build the same tree from Python mappings, sequences, strings and numbers.

    Raises
    ------
    PetError
        If a value has another type. Booleans are rejected because their original spelling is lost.
    """
    if value is None or isinstance(value, str):
        return Item(value, place)
    if isinstance(value, bool):
        raise PetError(f"{place}: {value} is a boolean, not text; put the text in quotes")
    if isinstance(value, int | float):
        return Item(str(value), place)
    if isinstance(value, Mapping):
        pairs = ((from_plain(key, place), from_plain(inner, f"{place}.{key}")) for key, inner in value.items())
        return Item(tuple(pairs), place)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return Item([from_plain(inner, f"{place}[{i}]") for i, inner in enumerate(value)], place)
    raise PetError(f"{place}: type {type(value).__name__} is not allowed in a task; use text, lists and mappings")
