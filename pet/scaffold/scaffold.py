"""A first task file for a data set: fields, labels, verbalizer and patterns, with comments on what to improve."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pet.data.infer_columns import InferredColumns
from pet.task.grammar import NAME, RESERVED
from pet.task.yaml_text import yaml_quoted, yaml_scalar

_ON_WORDS = (
    "# The word that fills the blank for each label, or several, as in [great, wonderful]. A word must be one",
    "# token of the model (frequent words are), fit into the patterns, and belong to one label only.",
)
_ON_GUESSES = (
    "# If the name of a label is not a single word, the guess is a part of it, a number or a letter.",
    "# Replace it with a better word.",
)
_ON_PATTERNS = (
    "# Each pattern turns a text into a cloze: the model fills {mask}. Write patterns in the language of the",
    "# texts, as sentences in which the words above sound natural. `||` starts a second segment. A field with",
    "# !keep after its name is never truncated.",
)
_TAKEN = (*RESERVED, "id", "label")  # names with another meaning in a pattern or a table


@dataclass(frozen=True)
class WordGuesses:
    """A first guess of each label's word.

    Attributes
    ----------
    words : label -> word
    unsure : labels whose word is only a part of their name, or a letter
    """

    words: Mapping[str, str]
    unsure: frozenset[str]


def field_names(columns: Sequence[str]) -> dict[str, str]:
    """Return field -> column. A field has the name of its column if the grammar of patterns allows it.

    Examples
    --------
    >>> field_names(["body", "Head line", "label"])
    {'body': 'body', 'Head_line': 'Head line', 'text_label': 'label'}
    """
    fields: dict[str, str] = {}
    taken = {c for c in columns if NAME.fullmatch(c) and c not in _TAKEN}
    for column in columns:
        name = column
        if column not in taken:
            stem = re.sub(r"[^\w-]+", "_", column).strip("_-")
            if not NAME.fullmatch(stem) or stem in _TAKEN:
                stem = f"text_{stem}".strip("_-")
            name = _free(stem[:40], taken | fields.keys())
        fields[name] = column
    return fields


def _free(stem: str, taken: Iterable[str]) -> str:
    used = {*taken, *_TAKEN}
    names = [stem, *(f"{stem}_{number}" for number in range(2, len(used) + 3))]
    return next(name for name in names if name not in used)


def guess_words(labels: Sequence[str]) -> WordGuesses:
    """Return a word for each label: its name, the first unused word of it, or a letter.

    Examples
    --------
    >>> guess_words(["card payment", "card"]).words
    {'card payment': 'payment', 'card': 'card'}
    """
    words: dict[str, str] = {}
    unsure = set()
    used: set[str] = set()
    # Whole names first, so that "card" gets its own word before "card payment" takes it.
    for label in sorted(labels, key=lambda name: len(_parts(name)) != 1):
        parts = [part for part in _parts(label) if _folded(part) not in used]
        if not parts or parts[0] != label.strip().lower() or parts[0].isdigit():
            unsure.add(label)
        word = parts[0] if parts else next(filler for filler in _fillers() if _folded(filler) not in used)
        used.add(_folded(word))
        words[label] = word
    return WordGuesses({label: words[label] for label in labels}, frozenset(unsure))


def _parts(label: str) -> list[str]:
    """The words of a name, or its number if it has no letters."""
    apart = re.sub(r"([a-z])([A-Z])", r"\1 \2", label)
    parts = re.findall(r"(?:[^\W\d_])+", apart) or re.findall(r"\d+", apart)
    return [part.lower() for part in parts if len(part) < 30]


def _folded(word: str) -> str:
    """A word as an uncased tokenizer that strips accents sees it."""
    plain = unicodedata.normalize("NFKD", word.casefold())
    return "".join(char for char in plain if not unicodedata.combining(char)) or word


def _fillers() -> Iterable[str]:
    yield from string.ascii_lowercase
    yield from map(str, range(1000))


def generic_patterns(fields: Sequence[str]) -> list[str]:
    """Return four patterns that suit most tasks because they say little about the task."""
    text = " ".join(f"{{{field}}}" for field in fields)
    return [
        f"{{mask}}: {text}",
        f"{text} It is {{mask}}.",
        f"[ Category: {{mask}} ] {text}",
        f"{text} || Category: {{mask}}.",
    ]


def task_file_text(name: str, found: InferredColumns, source: str) -> str:
    """Return the text of a commented task file.

    The names of columns and labels may be any text. They are quoted, also in comments.

    Parameters
    ----------
    name : str
        Name of the task.
    found : InferredColumns
        The columns and labels of the data.
    source : str
        The data file, for a comment.
    """
    fields = field_names(found.text)
    words = guess_words(found.labels)
    renamed = {field: column for field, column in fields.items() if field != column}
    if found.label != "label":
        renamed["label"] = found.label
    unused = ", ".join(map(_quoted, found.others[:12])) + (", ..." if len(found.others) > 12 else "")
    lines = [
        f"# A first task file for {_quoted(source)}.",
        "# It works as it is, but its words and patterns are guesses, and half of the accuracy depends on them.",
        "# `pet check` shows what they do.",
        f"task: {yaml_scalar(name)}",
        "",
        "# The text columns of the data. Patterns name them in braces.",
        *([f"# Not used: {unused}"] if found.others else []),
        *_renaming(renamed),
        "fields:",
        *(f"  - {yaml_scalar(field)}" for field in fields),
        "",
        f"# Values of the column {_quoted(found.label)}, and how many rows have each of them.",
        "# Results keep this order.",
        "labels:",
        *(f"  - {yaml_scalar(label)}  # {count}" for label, count in zip(found.labels, found.counts, strict=True)),
        "",
        "metrics: [accuracy, macro_f1]",
        "",
        *_ON_WORDS,
        *(_ON_GUESSES if words.unsure else []),
        "verbalizer:",
        *(_word_line(label, words) for label in found.labels),
        "",
        *_ON_PATTERNS,
        "patterns:",
        *(f"  - {yaml_quoted(pattern)}" for pattern in generic_patterns(list(fields))),
        "",
    ]
    return "\n".join(lines)


def _word_line(label: str, words: WordGuesses) -> str:
    line = f"  {yaml_scalar(label)}: {yaml_scalar(words.words[label])}"
    return f"{line}  # a guess" if label in words.unsure else line


def _renaming(renamed: Mapping[str, str]) -> list[str]:
    if not renamed:
        return []
    pairs = ", ".join(f"{field} is column {_quoted(column)}" for field, column in renamed.items())
    return [f"# The data has other names for them, so commands need --column: {pairs}."]


def _quoted(text: str) -> str:
    """A text in a comment, on one line and not too long."""
    return yaml_quoted(text if len(text) <= 60 else text[:59] + "…")
