"""A first task file for a data set: fields, labels, words and patterns, with comments that say what to do."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import yaml

from pet.task.grammar import NAME, RESERVED

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9]*([ _/-][A-Za-z0-9]+)*")
_ON_WORDS = (
    "# What stands in the blank for each label: one word, or several as in [great, wonderful]. A word must",
    "# be one token of the model (frequent words are), fit into the patterns, and belong to one label only.",
)
_ON_GUESSES = (
    "# Where the name of a label is no single word, a part of it, a number or a mere letter stands in:",
    "# put a better word there.",
)
_ON_PATTERNS = (
    "# Each pattern makes a cloze of a text: the model fills {mask}. Write them in the language of the",
    "# texts, as sentences in which the words above sound natural. `||` begins a second segment, and a field",
    "# with !keep behind its name is never cut.",
)
_TAKEN = (*RESERVED, "id", "label")  # names that mean something else in a pattern or a table


@dataclass(frozen=True)
class Words:
    """A first guess of the word of each label.

    Attributes
    ----------
    words : label -> word
    unsure : labels whose word is only a part of their name, or a mere letter
    """

    words: Mapping[str, str]
    unsure: frozenset[str]


def field_names(columns: Sequence[str]) -> dict[str, str]:
    """Field -> column. A field is called as its column where the grammar of patterns allows that."""
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


def guess_words(labels: Sequence[str]) -> Words:
    """A word for each label: its name, the first word of it that is free, or a letter."""
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
    return Words({label: words[label] for label in labels}, frozenset(unsure))


def _parts(label: str) -> list[str]:
    """The words of a name; of one without letters, its number."""
    apart = re.sub(r"([a-z])([A-Z])", r"\1 \2", label)
    parts = re.findall(r"(?:[^\W\d_])+", apart) or re.findall(r"\d+", apart)
    return [part.lower() for part in parts if len(part) < 30]


def _folded(word: str) -> str:
    """What an uncased tokenizer without accents makes of a word."""
    plain = unicodedata.normalize("NFKD", word.casefold())
    return "".join(char for char in plain if not unicodedata.combining(char)) or word


def _fillers() -> Iterable[str]:
    yield from string.ascii_lowercase
    yield from map(str, range(1000))


def draft_patterns(fields: Sequence[str]) -> list[str]:
    """Four patterns that say little about the task, and therefore suit most."""
    text = " ".join(f"{{{field}}}" for field in fields)
    return [
        f"{{mask}}: {text}",
        f"{text} It is {{mask}}.",
        f"[ Category: {{mask}} ] {text}",
        f"{text} || Category: {{mask}}.",
    ]


def draft_task(
    name: str,
    columns: Sequence[str],
    label_column: str,
    labels: Sequence[str],
    counts: Sequence[int],
    *,
    source: str,
    others: Sequence[str] = (),
) -> str:
    """The text of a commented task file.

    Names of columns and labels may be any text: they are quoted, in comments too.

    Parameters
    ----------
    name : of the task
    columns, label_column : of the data
    labels, counts : labels in order, and how many rows each has
    source : the data file, for a comment
    others : columns that are not used, for a comment
    """
    fields = field_names(columns)
    words = guess_words(labels)
    renamed = {field: column for field, column in fields.items() if field != column}
    if label_column != "label":
        renamed["label"] = label_column
    unused = ", ".join(map(_quoted, others[:12])) + (", ..." if len(others) > 12 else "")
    lines = [
        f"# A first task file for {_quoted(source)}.",
        "# It works as it is, but its words and patterns are guesses, and good ones are half of the",
        "# accuracy. See what they do with `pet check`.",
        f"task: {_scalar(name)}",
        "",
        "# The text columns of the data. Patterns name them in braces.",
        *([f"# Not used: {unused}"] if others else []),
        *_renaming(renamed),
        "fields:",
        *(f"  - {_scalar(field)}" for field in fields),
        "",
        f"# Values of the column {_quoted(label_column)}, with the rows that each has.",
        "# Results keep this order.",
        "labels:",
        *(f"  - {_scalar(label)}  # {count}" for label, count in zip(labels, counts, strict=True)),
        "",
        "metrics: [accuracy, macro_f1]",
        "",
        *_ON_WORDS,
        *(_ON_GUESSES if words.unsure else []),
        "verbalizer:",
        *(_word_line(label, words) for label in labels),
        "",
        *_ON_PATTERNS,
        "patterns:",
        *(f"  - {_double(pattern)}" for pattern in draft_patterns(list(fields))),
        "",
    ]
    return "\n".join(lines)


def _word_line(label: str, words: Words) -> str:
    line = f"  {_scalar(label)}: {_scalar(words.words[label])}"
    return f"{line}  # a guess" if label in words.unsure else line


def _renaming(renamed: Mapping[str, str]) -> list[str]:
    if not renamed:
        return []
    pairs = ", ".join(f"{field} is column {_quoted(column)}" for field, column in renamed.items())
    return [f"# The data calls them otherwise, so that commands need --column: {pairs}."]


def _scalar(text: str) -> str:
    """A YAML scalar that reads as this text everywhere: plain where that is safe."""
    if _PLAIN.fullmatch(text) and len(text) < 60 and yaml.safe_load(text) == text:
        return text
    return _double(text)


def _double(text: str) -> str:
    """A YAML scalar in double quotes, on one line, whatever the text is."""
    dumped: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=1 << 30)
    return dumped.removesuffix("\n")


def _quoted(text: str) -> str:
    """A text in a comment: it cannot end the line, nor fill the page."""
    return _double(text if len(text) <= 60 else text[:59] + "…")
