"""Filters: small transformations of a field's text, written ``{field|filter}`` in a pattern.

A filter is a pure function from text to text. To add one, define it here and register it in FILTERS.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

# End of a sentence: closing punctuation (and any quotes or brackets after it) before whitespace, in Latin and Cyrillic
# scripts, Greek (;), Arabic (؟ and, in Urdu, ۔), Armenian (։) and Ethiopic (።); or marks that need no space after them:
# those of Chinese and Japanese (。！？｡) and the danda of Indian scripts (।, ॥).
_SENTENCE_END = re.compile(
    r"""[.!?\u2026\u037e\u061f\u06d4\u0589\u1362]+["')\]\u201c\u201d\u2019\u00bb]*(?=\s)"""
    r"""|[\u3002\uff01\uff1f\uff61\u0964\u0965]+["')\u201d\u2019\u300d\u300f\uff09\uff63]*|\n"""
)


def _is_punctuation(char: str) -> bool:
    return unicodedata.category(char).startswith("P")


def strip_punct(value: str) -> str:
    """Remove trailing punctuation, so that the pattern can supply its own."""
    end = len(value)
    while end and (value[end - 1].isspace() or _is_punctuation(value[end - 1])):
        end -= 1
    # Keep a text that is nothing but punctuation ("?!").
    return value[:end] if end else value.strip()


def lower_first(value: str) -> str:
    """Lowercase the first letter, so that the text can continue a sentence.

    All-caps words ("NASA", "I") are unchanged.
    """
    text = value.lstrip()
    word = text.split(maxsplit=1)[0] if text else ""
    stem = re.split(r"['\u2019]", word, maxsplit=1)[0]  # "I'm" starts with "I"
    if stem == "I" or (len(stem) > 1 and stem.isupper()):
        return text
    return text[:1].lower() + text[1:]


def upper_first(value: str) -> str:
    """Capitalize the first letter, so that the text can start a sentence."""
    text = value.lstrip()
    return text[:1].upper() + text[1:]


def first_sentence(value: str) -> str:
    """Keep the text up to the end of its first sentence or line."""
    text = value.strip()
    found = _SENTENCE_END.search(text)
    return text[: found.end()].rstrip() if found else text


FILTERS: dict[str, Callable[[str], str]] = {
    "first_sentence": first_sentence,
    "lower": str.lower,
    "lower_first": lower_first,
    "strip": str.strip,
    "strip_punct": strip_punct,
    "upper_first": upper_first,
}


def apply_filters(value: str, filters: tuple[str, ...]) -> str:
    """Apply the named filters from left to right.

    Examples
    --------
    >>> apply_filters("The end.", ("strip_punct", "lower_first"))
    'the end'
    """
    for name in filters:
        value = FILTERS[name](value)
    return value
