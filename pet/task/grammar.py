"""The pattern grammar: parses a string from a task file into a Template.

===================  ==============================================================================
``{mask}``           the mask that the language model fills
``{text}``           the field ``text`` of the data; truncated if the input is too long
``{text!keep}``      a field that is never truncated
``{text|lower}``     a field passed through a filter (see ``pet.task.filters``); filters apply left to right
``{soft:3}``         three soft tokens learned by p-tuning; other methods leave them out
``{soft:it was}``    one soft token per token of the words, initialized from them; other methods
                     read the words as text
``||``               start of the second segment
``{{`` and ``}}``    literal braces
===================  ==============================================================================

``{mask:3}`` is reserved. Everything else is literal text. A slot contains a name only: no attribute
access, no index, no conversion. Field values are never parsed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pet.errors import PetError
from pet.spelling import compose
from pet.suggest import suggest
from pet.task.filters import FILTERS, apply_filters
from pet.terminal import clean

NAME = re.compile(r"[^\W\d][\w-]*")
RESERVED = ("mask", "soft")
MOST_SOFT = 500  # soft tokens in one slot; a larger number is surely a typo
_SHOWN = 120  # characters of a pattern quoted in messages


@dataclass(frozen=True)
class Text:
    """Literal text of the pattern; never empty, no whitespace at either end."""

    text: str
    space_before: bool


@dataclass(frozen=True)
class Field:
    """A slot for a field of the data."""

    name: str
    filters: tuple[str, ...] = ()
    keep: bool = False
    space_before: bool = False


@dataclass(frozen=True)
class Mask:
    """The mask. Counts above 1 are reserved."""

    count: int = 1
    space_before: bool = False


@dataclass(frozen=True)
class Soft:
    """A slot for soft tokens: `count` of them, or one per token of `words`."""

    count: int = 0
    words: str = ""
    space_before: bool = False


Part = Text | Field | Mask | Soft


@dataclass(frozen=True)
class Template:
    """A parsed pattern.

    Attributes
    ----------
    source : the parsed string
    segments : one or two nonempty tuples of parts
    """

    source: str
    segments: tuple[tuple[Part, ...], ...]

    @property
    def fields(self) -> tuple[Field, ...]:
        """Fields in pattern order; a field used twice appears twice."""
        return tuple(part for parts in self.segments for part in parts if isinstance(part, Field))

    @property
    def keeps_fields(self) -> bool:
        """Whether some field is never truncated."""
        return any(part.keep for part in self.fields)

    @property
    def is_soft(self) -> bool:
        """Whether the pattern has soft tokens."""
        return any(isinstance(part, Soft) for parts in self.segments for part in parts)

    @property
    def mask_segment(self) -> int | None:
        """Index of the segment with the mask; None without a mask."""
        for number, parts in enumerate(self.segments):
            if any(isinstance(part, Mask) for part in parts):
                return number
        return None

    @property
    def mask_follows_directly(self) -> bool:
        """Whether the mask follows other content, or the segment break, without a space."""
        segment = self.mask_segment or 0
        return any(
            isinstance(part, Mask) and (i > 0 or segment > 0) and not part.space_before
            for i, part in enumerate(self.segments[segment])
        )

    def render(self, values: Mapping[str, str], mask: str = "[MASK]") -> str:
        """Return the filled pattern in readable form. Values are inserted verbatim, never parsed.

        Parameters
        ----------
        values : field name -> text
        mask : text shown for the mask

        Examples
        --------
        >>> parse_template("{body} It was {mask}.", ["body"]).render({"body": "{mask}"})
        '{mask} It was [MASK].'
        """
        return " || ".join(
            "".join(" " * part.space_before + _show(part, values, mask) for part in parts) for parts in self.segments
        )


def _show(part: Part, values: Mapping[str, str], mask: str) -> str:
    if isinstance(part, Text):
        return part.text
    if isinstance(part, Mask):
        return mask * part.count
    if isinstance(part, Soft):
        return f"{{soft:{part.words or part.count}}}"
    return apply_filters(values[part.name], part.filters).strip()


class _Builder:
    """Collects parts from left to right and tracks the whitespace between them."""

    def __init__(self) -> None:
        self.segments: list[list[Part]] = [[]]
        self._chars: list[str] = []
        self._space = False  # whether whitespace precedes the next part
        self._text_space = False  # whether whitespace precedes the text being collected

    def char(self, char: str) -> None:
        if char.isspace():
            self._space = True
            return
        if not self._chars:
            self._text_space = self._take_space()
        elif self._space:
            self._chars.append(" ")
            self._space = False
        self._chars.append(char)

    def slot(self, make: Field | Mask | Soft) -> None:
        self._end_text()
        self.segments[-1].append(replace(make, space_before=self._take_space()))

    def segment(self) -> None:
        self._end_text()
        self._space = False
        self.segments.append([])

    def done(self) -> tuple[tuple[Part, ...], ...]:
        self._end_text()
        return tuple(map(tuple, self.segments))

    def _take_space(self) -> bool:
        space = self._space and bool(self.segments[-1])
        self._space = False
        return space

    def _end_text(self) -> None:
        if self._chars:
            self.segments[-1].append(Text("".join(self._chars), self._text_space))
            self._chars = []


def parse_template(source: str, fields: Sequence[str], *, mask: bool = True) -> Template:
    """Parse a pattern.

    Parameters
    ----------
    source : the pattern as written in the task file
    fields : allowed field names
    mask : True to require exactly one ``{mask}``, False to allow none

    Raises
    ------
    PetError
        Every mistake in the pattern. The messages do not name the file.

    Examples
    --------
    >>> parse_template("{mask}: {headline!keep} || {body|lower}", ["headline", "body"]).fields[0]
    Field(name='headline', filters=(), keep=True, space_before=True)
    """
    problems: list[str] = []
    builder = _Builder()
    masks = 0
    position = 0
    while position < len(source):
        pair = source[position : position + 2]
        char = source[position]
        if pair in ("{{", "}}"):
            builder.char(char)
            position += 2
        elif pair == "||":
            builder.segment()
            position += 2
        elif char == "}":
            problems.append(f"column {position + 1}: '}}' without a preceding '{{'; write }}}} for a literal brace")
            position += 1
        elif char == "{":
            end = source.find("}", position)
            again = source.find("{", position + 1)
            if end < 0 or 0 <= again < end:
                problems.append(
                    f"column {position + 1}: '{{' is never closed; add '}}', or write {{{{ for a literal brace"
                )
                position = again if again >= 0 else len(source)
                continue
            slot, found = _parse_slot(source[position + 1 : end], fields)
            problems += [f"column {position + 1}: {problem}" for problem in found]
            masks += _names_mask(source[position + 1 : end])
            if slot is not None:
                builder.slot(slot)
            position = end + 1
        else:
            builder.char(char)
            position += 1
    segments = builder.done()
    problems += _check_whole(source, segments, masks, mask, fields, found_any=bool(problems))
    if problems:
        shown = repr(_shorten(source))
        raise PetError([f"pattern {shown}: {problem}" for problem in problems])
    return Template(source, segments)


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _names_mask(inside: str) -> bool:
    return re.split(r"[^\w-]", inside.strip(), maxsplit=1)[0] == "mask"


def _check_whole(
    source: str,
    segments: Sequence[Sequence[Part]],
    masks: int,
    mask: bool,
    fields: Sequence[str],
    found_any: bool,
) -> list[str]:
    """Return what is wrong with the pattern as a whole."""
    if not source.strip():
        return ["empty; write a sentence with " + ("{mask} and " if mask else "") + "a field"]
    problems = []
    if mask and masks == 0:
        problems.append("no {mask}; put {mask} where the label word belongs")
    if mask and masks > 1:
        problems.append(f"{masks} masks; a pattern has exactly one {{mask}}")
    if not mask and masks:
        problems.append("an input template cannot contain {mask}; use only fields")
    if not mask and any(isinstance(part, Soft) for parts in segments for part in parts):
        problems.append("an input template cannot contain {soft}; use only fields")
    if len(segments) > 2:
        problems.append(f"{len(segments)} segments; a pattern has at most one '||'")
    # A rejected slot leaves its segment empty; do not report it twice.
    if found_any:
        return problems
    for number, parts in enumerate(segments):
        if not parts and len(segments) > 1:
            problems.append(f"segment {number + 1} is empty; write something on both sides of '||', or remove it")
    if not any(isinstance(part, Field) for parts in segments for part in parts):
        problems.append(f"no field, so every text would look the same; use one of: {', '.join(fields)}")
    return problems


def _parse_slot(inside: str, fields: Sequence[str]) -> tuple[Field | Mask | Soft | None, list[str]]:
    """Parse the content of a slot; also return its mistakes."""
    content = compose(inside.strip())
    shown = "{" + clean(_shorten(inside)) + "}"
    if not content:
        return None, [f"{shown} is empty; write {{mask}} or a field: {', '.join(fields)}"]
    name_match = NAME.match(content)
    name = name_match.group() if name_match else ""
    rest = content[len(name) :].strip()
    if name == "soft":
        return _parse_soft(shown, rest)
    if name == "mask":
        return _parse_mask(shown, rest)
    if not name:
        return None, [f"{shown} does not start with a name; fields: {', '.join(fields)}"]
    problems = []
    if name not in fields:
        problems.append(f"{shown}: unknown field {_shorten(name)!r}; {suggest(name, [*fields, 'mask'])}")
    filters, keep, wrong = _parse_suffixes(shown, name, rest)
    problems += wrong
    return (None if problems else Field(name, filters, keep)), problems


def parse_word_field(word: str, fields: Sequence[str]) -> Field:
    """Parse a label word that is the text of a field.

    Parameters
    ----------
    word : such as ``{choice1}`` or ``{choice1|lower_first}``
    fields : allowed field names

    Raises
    ------
    PetError
        Every mistake.

    Examples
    --------
    >>> parse_word_field("{choice1|strip_punct}", ["choice1"])
    Field(name='choice1', filters=('strip_punct',), keep=False, space_before=False)
    """
    slot, problems = _parse_slot(word[1:-1], fields)
    if not problems and (not isinstance(slot, Field) or slot.keep):
        problems = [f"{word}: a word is plain text, or a field and filters, such as {{{fields[0]}}}"]
    if problems or not isinstance(slot, Field):
        raise PetError(problems)
    return slot


def _parse_soft(shown: str, rest: str) -> tuple[Soft | None, list[str]]:
    given = " ".join(rest[1:].split())
    if not rest.startswith(":") or not given:
        return None, [f"{shown}: give a number of soft tokens, {{soft:3}}, or their initial words, {{soft:it was}}"]
    if not re.fullmatch(r"[+-]?\d+", given):
        return Soft(words=given), []
    if not 1 <= int(given[:9]) <= MOST_SOFT:
        return None, [f"{shown}: the number of soft tokens must be 1 to {MOST_SOFT}"]
    return Soft(int(given)), []


def _parse_mask(shown: str, rest: str) -> tuple[Mask | None, list[str]]:
    if not rest:
        return Mask(), []
    if rest.startswith(":"):
        return None, [f"{shown} is reserved for future use; write {{mask}}"]
    return None, [f"{shown}: the mask takes no filter or !keep; write {{mask}}"]


def _parse_suffixes(shown: str, name: str, rest: str) -> tuple[tuple[str, ...], bool, list[str]]:
    """Parse the filters and marks after a field name; also return their mistakes."""
    filters: list[str] = []
    keep = False
    problems: list[str] = []
    while rest:
        found = re.match(r"\s*([|!])\s*([\w-]*)\s*", rest)
        if not found:
            problems.append(_refusal(shown, name, rest))
            break
        sign, word = found.groups()
        if sign == "!" and word == "keep":
            keep = True
        elif sign == "!":
            problems.append(
                f"{shown}: unknown mark '!{_shorten(word)}'; the only mark is !keep (never truncate the field)"
            )
        elif word in FILTERS:
            filters.append(word)
        elif not word:
            problems.append(f"{shown}: '|' without a filter; known: {', '.join(FILTERS)}")
        else:
            problems.append(f"{shown}: unknown filter {_shorten(word)!r}; {suggest(word, FILTERS)}")
        rest = rest[found.end() :]
    return tuple(filters), keep, problems


def _refusal(shown: str, name: str, rest: str) -> str:
    if rest[0] in ".[(":
        kind = {".": "attributes", "[": "indexes", "(": "calls"}[rest[0]]
        return f"{shown}: {kind} are not supported in patterns; write {{{name}}}"
    if rest[0] == ":":
        return f"{shown}: format codes are not supported in patterns; write {{{name}}}, or use a filter"
    forms = f"{{{name}}}, {{{name}|filter}} or {{{name}!keep}}"
    return f"{shown}: cannot parse {_shorten(rest)!r} after the name; write {forms}"
