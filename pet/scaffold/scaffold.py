"""A first task file for a data set: fields, labels, verbalizer and patterns, with comments on what to improve."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pet.data.infer_columns import InferredColumns
from pet.data.source_names import split_rows
from pet.task.edit import NewWords
from pet.task.grammar import NAME, RESERVED
from pet.task.parse import SEPARATOR
from pet.task.yaml_text import yaml_list, yaml_quoted, yaml_scalar

_ON_WORDS = (
    "# The word that fills the blank for each label, or several, as in [great, wonderful]. A word fits into the",
    "# patterns and belongs to one label only. It is best one token of the model, as frequent words are; several",
    "# tokens work, but are slower.",
)
_ON_GUESSES = (
    "# Words marked as a guess come from the name of the label, or are a part of it, a number or a letter.",
    "# Replace them with better ones.",
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


def field_names(columns: Sequence[str], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return field -> column. A field has the name of its column if the grammar of patterns allows it.

    Parameters
    ----------
    columns : text columns
    given : column -> field, for some columns

    Examples
    --------
    >>> field_names(["body", "Head line", "label"])
    {'body': 'body', 'Head_line': 'Head line', 'text_label': 'label'}
    """
    fields: dict[str, str] = {}
    given = given or {}
    own = {c for c in columns if NAME.fullmatch(c) and c not in (*_TAKEN, *given, *given.values())}
    taken = own | set(given.values())
    for column in columns:
        name = given.get(column, column)
        if column not in own and column not in given:
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
        parts = [part for part in _parts(label) if folded(part) not in used]
        if not parts or parts[0] != label.strip().lower() or parts[0].isdigit():
            unsure.add(label)
        word = parts[0] if parts else next(filler for filler in fillers() if folded(filler) not in used)
        used.add(folded(word))
        words[label] = word
    return WordGuesses({label: words[label] for label in labels}, frozenset(unsure))


def _parts(label: str) -> list[str]:
    """The words of a name, or its number if it has no letters."""
    apart = re.sub(r"([a-z])([A-Z])", r"\1 \2", label)
    parts = re.findall(r"(?:[^\W\d_])+", apart) or re.findall(r"\d+", apart)
    return [part.lower() for part in parts if len(part) < 30]


def folded(word: str) -> str:
    """A word as an uncased tokenizer that strips accents sees it."""
    plain = unicodedata.normalize("NFKD", word.casefold())
    return "".join(char for char in plain if not unicodedata.combining(char)) or word


def fillers() -> Iterable[str]:
    """Words for labels that have no better one: letters, then numbers."""
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


@dataclass(frozen=True)
class Draft:
    """What a task file will say.

    Attributes
    ----------
    name : name of the task
    source : the data file, for a comment
    found : the columns and labels of the data
    words : words of the labels
    patterns : the patterns
    model : model that the words were found with; empty if there was none
    """

    name: str
    source: str
    found: InferredColumns
    words: NewWords
    patterns: tuple[str, ...]
    model: str = ""


def first_draft(name: str, source: str, found: InferredColumns) -> Draft:
    """Return a draft with generic patterns, and words guessed from the names of the labels."""
    guesses = guess_words(found.labels)
    words = {label: (word,) for label, word in guesses.words.items()}
    notes = {label: "a guess" for label in found.labels if label in guesses.unsure}
    patterns = generic_patterns(list(field_names(found.text, found.fields)))
    return Draft(name, source, found, NewWords(words, notes), tuple(patterns))


def named_columns(found: InferredColumns) -> dict[str, str]:
    """Return field (or ``id``, ``label``) -> column, where the names differ."""
    named = {field: column for field, column in field_names(found.text, found.fields).items() if field != column}
    others = {"id": found.id, "label": found.label}
    return named | {name: column for name, column in others.items() if column not in (None, name)}  # type: ignore[misc]


def task_file_text(draft: Draft) -> str:
    """Return the text of a commented task file.

    The names of columns and labels may be any text. They are quoted, also in comments.
    """
    found, words = draft.found, draft.words
    unused = ", ".join(map(_quoted, found.others[:12])) + (", ..." if len(found.others) > 12 else "")
    lines = [
        f"# A first task file for {_quoted(split_rows(draft.source)[0])}.",
        *_about_words(draft.model),
        f"task: {yaml_scalar(draft.name)}",
        "",
        "# The text columns of the data. Patterns name them in braces.",
        *([f"# Not used: {unused}"] if found.others else []),
        "fields:",
        *(f"  - {yaml_scalar(field)}" for field in field_names(found.text, found.fields)),
        *_mapping("columns", named_columns(found), "# Where the data has other names for them."),
        "",
        f"# Values of the column {_quoted(found.label)}, and how many rows have each of them.",
        "# Results keep this order.",
        "labels:",
        *(f"  - {yaml_scalar(label)}  # {count}" for label, count in zip(found.labels, found.counts, strict=True)),
        *_several(found),
        *_mapping("label_map", found.label_map, "# Other spellings in the data -> label."),
        "",
        "# What a label means, in one sentence. `pet words` reads it, and it is shown in the report.",
        "# descriptions:",
        f"#   {yaml_scalar(found.labels[0])}: ...",
        "",
        f"metrics: [{'micro_f1' if found.several else 'accuracy'}, macro_f1]",
        "",
        *_ON_WORDS,
        *(_ON_GUESSES if words.notes else []),
        "verbalizer:",
        *(_word_line(label, words) for label in found.labels),
        "",
        *_ON_PATTERNS,
        "patterns:",
        *(f"  - {yaml_quoted(pattern)}" for pattern in draft.patterns),
        "",
    ]
    return "\n".join(lines)


def _several(found: InferredColumns) -> list[str]:
    """Return the lines that say that a text may have several labels, or that labels may have an order or parents."""
    if found.several:
        other = found.separator not in ("", SEPARATOR)
        separator = [f"label_separator: {yaml_quoted(found.separator)}"] if other else []
        return ["", "# A text may have any number of these labels.", "multi_label: true", *separator]
    if len(found.labels) > 2 and all(re.fullmatch(r"-?[0-9]+", label) for label in found.labels):
        return [
            "",
            "# If the labels are in an order, such as stars: adds kappa and mean distance.",
            "# ordered: true",
        ]
    parents = [label.rpartition("/")[0] for label in found.labels if "/" in label]
    if len({*parents}) < len(parents):
        return ["", "# If labels are written parent/child: adds figures for the parents.", "# hierarchy: true"]
    return []


def _about_words(model: str) -> list[str]:
    if model:
        return [
            f"# The words were found with the model {_quoted(model)}. Half of the accuracy depends on them and on the",
            "# patterns: improve both. `pet check` shows what they do.",
        ]
    return [
        "# The words are guesses from the names of the labels, and no model has checked them. `pet words FILE --write`",
        "# finds better ones, and `pet check` shows what they do.",
    ]


def _mapping(key: str, pairs: Mapping[str, str], comment: str) -> list[str]:
    lines = [f"  {yaml_scalar(name)}: {yaml_scalar(value)}" for name, value in pairs.items()]
    return ["", comment, f"{key}:", *lines] if lines else []


def _word_line(label: str, words: NewWords) -> str:
    note = f"  # {words.notes[label]}" if label in words.notes else ""
    return f"  {yaml_scalar(label)}: {yaml_list(list(words.words[label]))}{note}"


def _quoted(text: str) -> str:
    """A text in a comment, on one line and not too long."""
    return yaml_quoted(text if len(text) <= 60 else text[:59] + "…")
