"""Read YAML from untrusted sources.

Tags never construct objects. Nesting, aliases, numbers, and size are limited, so that a small file cannot take hours
or gigabytes. Dates stay text.
"""

from __future__ import annotations

import math
from typing import Any

import yaml

from pet.errors import PetError
from pet.store.text import decode
from pet.terminal import clean

MAX_DEPTH = 50
MAX_REPEATED = 10_000  # values that aliases may repeat: a written copy of the document must not be much longer
_MAX_INTEGER = 2**64
_LONGEST_NUMBER = 100  # characters
_SHOWN = 60
_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = ("str", "int", "float", "bool", "null", "timestamp", "merge", "value", "seq", "map")
_construct = yaml.constructor.SafeConstructor()


class _Composer(yaml.SafeLoader):
    """Builds the nodes of a document, within limits."""

    def __init__(self, text: str):
        super().__init__(text)
        self._depth = 0
        self._sizes: dict[int, int] = {}  # id of a finished node -> number of values in it
        self._repeated = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self._depth == MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"nested more than {MAX_DEPTH} levels deep", mark)
        is_alias = self.check_event(yaml.AliasEvent)  # type: ignore[no-untyped-call]
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is None:
            return None
        if is_alias and id(node) not in self._sizes:
            raise yaml.composer.ComposerError(None, None, "the alias refers to itself; write the content out", mark)
        if not is_alias:
            self._sizes[id(node)] = 1 + sum(self._sizes[id(inner)] for inner in _inside(node))
            return node
        self._repeated += self._sizes[id(node)]
        if self._repeated > MAX_REPEATED:
            message = f"aliases repeat more than {MAX_REPEATED} values; write the content out"
            raise yaml.composer.ComposerError(None, None, message, mark)
        return node


def _inside(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [inner for pair in node.value for inner in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def compose_yaml(text: str, shown: str) -> yaml.Node | None:
    """Parse a single YAML document into nodes, which know their lines; None if it is empty.

    Scalars keep their text. Aliases are nodes that appear in several places, never inside themselves.

    Parameters
    ----------
    text : the document
    shown : name of the file, for messages

    Raises
    ------
    PetError
        If it is not valid YAML, exceeds the limits, or has tags that would construct objects.
    """
    try:
        node: yaml.Node | None = _Composer(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        raise PetError(_problem(error, shown)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise PetError(
            f"{shown}:{line}: character {int(error.character):#x} is not allowed in YAML; delete it"
        ) from None
    except ValueError as error:  # such as \U00110000 in a quoted text
        raise PetError(f"{shown}: not valid YAML ({error}); correct it") from None
    problems = _tag_problems(node, shown)
    if problems:
        raise PetError(problems)
    return node


def parse_yaml(raw: bytes, shown: str) -> Any:
    """Parse a single YAML document into text, numbers, booleans, None, lists, and mappings with text as keys.

    Raises
    ------
    PetError
        As `compose_yaml`; also if it is not UTF-8, a key appears twice, or a number is infinite or too large.

    Examples
    --------
    >>> parse_yaml(b"{steps: 40, on: 2001-99-99, rate: 1.0e-5}", "config.yaml")
    {'steps': 40, 'on': '2001-99-99', 'rate': 1e-05}
    """
    node = compose_yaml(decode(raw, shown), shown)
    return None if node is None else _Values(shown).value(node)


class _Values:
    """Converts nodes to values."""

    def __init__(self, shown: str):
        self.shown = shown

    def value(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.SequenceNode):
            return [self.value(inner) for inner in node.value]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if not isinstance(node, yaml.MappingNode):
            raise TypeError(f"unknown kind of node {node!r}")
        found: dict[str, Any] = {}
        for key, inner in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _TAG + "merge":
                raise self._wrong(key, "a key must be text")
            if key.value in found:
                raise self._wrong(key, f"the key {key.value[:_SHOWN]!r} appears twice; remove one")
            found[key.value] = self.value(inner)
        return found

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if kind == "null":
            return None
        if kind == "bool":
            return _construct.construct_yaml_bool(node)  # type: ignore[no-untyped-call]
        return self._number(node, kind) if kind in ("int", "float") else node.value

    def _number(self, node: yaml.ScalarNode, kind: str) -> int | float:
        make = _construct.construct_yaml_int if kind == "int" else _construct.construct_yaml_float
        try:
            number = make(node) if len(node.value) <= _LONGEST_NUMBER else math.inf
        except (ValueError, OverflowError, KeyError, IndexError):  # such as 0b_, or !!bool with other text
            raise self._wrong(node, f"{node.value[:_SHOWN]!r} is not a number; correct it") from None
        if not math.isfinite(number) or abs(number) > (_MAX_INTEGER if kind == "int" else math.inf):
            raise self._wrong(node, f"the number {node.value[:_SHOWN]!r} is not finite or too large; correct it")
        return number  # type: ignore[no-any-return]

    def _wrong(self, node: yaml.Node, problem: str) -> PetError:
        return PetError(f"{self.shown}:{node.start_mark.line + 1}: {problem}")


def _problem(error: yaml.MarkedYAMLError, shown: str) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"{shown}:{mark.line + 1}" if mark else shown
    what = clean(error.problem or error.context or "cannot be read")
    if "'\\t'" in what:
        return f"{where}: not valid YAML (a tab begins a line or a value); write spaces instead"
    return f"{where}: not valid YAML ({what}); quote text that contains {{...}}, ':' or '#'"


def _tag_problems(root: yaml.Node | None, shown: str) -> list[str]:
    problems: list[str] = []
    waiting, seen = [root] if root else [], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        name = node.tag.removeprefix(_TAG)
        if name not in _PLAIN_TAGS or not node.tag.startswith(_TAG):
            tag = "!!" + name if node.tag.startswith(_TAG) else node.tag
            line = node.start_mark.line + 1
            problems.append(f"{shown}:{line}: tag {tag[:_SHOWN]} is not allowed; use plain text, lists and mappings")
        waiting += reversed(_inside(node))
    return problems
