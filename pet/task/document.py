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
from pet.store.text import MEGABYTE, decode, read_bytes
from pet.store.yaml_reader import compose_yaml

MAX_BYTES = 2 * MEGABYTE
SWITCHES = ("multi_label", "ordered", "hierarchy")  # keys whose value is true or false
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
    return from_yaml(decode(read_bytes(path, shown, MAX_BYTES), shown), shown)


def from_yaml(text: str, shown: str) -> Item:
    """Build the tree from the text of a YAML document.

    Parameters
    ----------
    text : the document
    shown : name to use in messages

    Raises
    ------
    PetError
        If the text is not valid YAML, or contains a tag that would construct an object.
    """
    node = compose_yaml(text, shown)
    return Item(None, f"{shown}:1", 1) if node is None else _Converter(shown).convert(node)


class _Converter:
    """Converts composed YAML nodes to items."""

    def __init__(self, shown: str):
        self.shown = shown
        self._done: dict[int, Item] = {}

    def convert(self, node: yaml.Node) -> Item:
        if id(node) not in self._done:  # otherwise an alias: the same node again
            line = node.start_mark.line + 1
            flow = bool(getattr(node, "flow_style", False))
            self._done[id(node)] = Item(self._value(node), f"{self.shown}:{line}", line, flow)
        return self._done[id(node)]

    def _value(self, node: yaml.Node) -> Value:
        if isinstance(node, yaml.MappingNode):
            return tuple((self.convert(key), self.convert(value)) for key, value in node.value)
        if isinstance(node, yaml.SequenceNode):
            return [self.convert(value) for value in node.value]
        empty = node.value == "" and node.tag == _TAG + "null"
        return None if empty else str(node.value)


def _entry(key: Any, value: Any, place: str) -> Item:
    """Return the value of a key. Keys that are switches may have a boolean."""
    if key in SWITCHES and isinstance(value, bool):
        return Item(str(value).lower(), place)
    return from_plain(value, place)


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
        pairs = ((from_plain(key, place), _entry(key, inner, f"{place}.{key}")) for key, inner in value.items())
        return Item(tuple(pairs), place)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return Item([from_plain(inner, f"{place}[{i}]") for i, inner in enumerate(value)], place)
    raise PetError(f"{place}: type {type(value).__name__} is not allowed in a task; use text, lists and mappings")
