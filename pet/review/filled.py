"""Show a pattern with a text and a label's word in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pet.task.filters import apply_filters
from pet.task.grammar import Field, Mask, Template, Text

LONGEST = 160  # characters of a field
_ENDING = 40  # of them from its end
Piece = tuple[str, str]


def filled(template: Template, values: Mapping[str, str], word: str) -> list[Piece]:
    """Return the pieces of a filled pattern. Long fields are shortened in the middle.

    Parameters
    ----------
    template : the pattern
    values : field -> text
    word : what the blank is filled with

    Returns
    -------
    list of (kind, text)
        The kind is ``field``, ``word`` or ``pattern``; soft tokens, which have no text, are left out.

    Examples
    --------
    >>> from pet.task.grammar import parse_template
    >>> filled(parse_template("{text} It was {mask}.", ["text"]), {"text": "I loved it."}, "great")
    [('field', 'I loved it.'), ('pattern', ' It was'), ('word', ' great'), ('pattern', '.')]
    """
    return list(_pieces(template, values, word))


def _pieces(template: Template, values: Mapping[str, str], word: str) -> Iterator[Piece]:
    for number, parts in enumerate(template.segments):
        if number:
            yield "pattern", " / "
        for part in parts:
            space = " " * part.space_before
            if isinstance(part, Text):
                yield "pattern", space + part.text
            elif isinstance(part, Mask):
                yield "word", space + word
            elif isinstance(part, Field):
                yield "field", space + shorten(apply_filters(values[part.name], part.filters).strip())
            elif part.words:
                yield "pattern", space + part.words


def shorten(text: str) -> str:
    """Return a text with its middle left out if it is long.

    Examples
    --------
    >>> len(shorten("x" * 1000))
    160
    """
    return text if len(text) <= LONGEST else f"{text[: LONGEST - _ENDING - 3]} … {text[-_ENDING:]}"
