"""The patterns of a task file."""

from __future__ import annotations

from collections.abc import Sequence

from pet.suggest import suggest
from pet.task.document import Item
from pet.task.grammar import Template
from pet.task.parse_words import WordReader
from pet.task.pattern import ANSWERS, LABEL, Pattern
from pet.task.verbalizer import Verbalizer

MOST_PATTERNS = 1000
VERBALIZER_KINDS = ("words", "weighted", "learned", "prototype")


class PatternReader:
    """Reads the patterns once the labels and their words are known.

    Parameters
    ----------
    words : reads words and templates
    labels : of the task
    shared : words of the whole task; None if it has none, or if they are unusable
    has_shared : whether the task has such words, even unusable ones
    multi_label : whether a text can have several labels, so that a pattern can ask about each
    """

    def __init__(
        self, words: WordReader, labels: Sequence[str], shared: Verbalizer | None, has_shared: bool, multi_label: bool
    ):
        self.words = words
        self.shapes = words.shapes
        self.fields = words.fields
        self.labels = labels
        self.shared = shared
        self.has_shared = has_shared
        self.extra = (LABEL,) if multi_label else ()

    def all(self, item: Item) -> tuple[Pattern, ...]:
        """Return the patterns of a list."""
        wrong = self.shapes.wrong
        if item.items is None:
            wrong(item, 'patterns must be a list with one line per pattern, such as `- "{text} It is {mask}."`')
            return ()
        if not item.items:
            wrong(item, "patterns is empty; add at least one pattern")
        if self.shapes.too_many(item, "patterns", MOST_PATTERNS):
            return ()
        found: list[Pattern] = []
        for entry in item.items:
            pattern = self._one(entry)
            if pattern is None:
                continue
            if pattern in found:
                wrong(entry, f"pattern {pattern.template.source!r} appears twice; remove one")
            found.append(pattern)
        return tuple(found)

    def _kind(self, item: Item | None) -> str:
        if item is None:
            return ""
        kind = self.shapes.text(item, "verbalizer_kind")
        if kind and kind not in VERBALIZER_KINDS:
            self.shapes.wrong(item, f"unknown verbalizer_kind {kind!r}; {suggest(kind, VERBALIZER_KINDS)}")
        return kind

    def _one(self, item: Item) -> Pattern | None:
        shapes = self.shapes
        text, words, kind = item, None, ""
        if item.pairs is not None:
            names = [key.value for key, _ in item.pairs]
            # A blank in a key, as in `- It was {mask}: {text}`, makes a mapping of the text.
            braces = any(not isinstance(name, str) or "{" in name for name in names)
            if "template" not in names and (item.flow or braces):
                shapes.wrong(item, 'a pattern parses as a YAML mapping; put it in quotes: "{text} It is {mask}."')
                return None
            pairs = shapes.mapping(item, "a pattern", ("template", "verbalizer", "verbalizer_kind")) or {}
            if "template" not in pairs:
                shapes.wrong(item, "pattern has no 'template'; add `template: \"...\"`")
                return None
            text, words = pairs["template"], pairs.get("verbalizer")
            kind = self._kind(pairs.get("verbalizer_kind"))
        template = self.words.template(text, self.extra, mask=True)
        if template is not None and any(field.name == LABEL for field in template.fields):
            return self._asking(template, text, words, kind)
        verbalizer = self.words.read(words, self.labels) if words else self.shared
        if words is None and not self.has_shared:
            shapes.wrong(item, "pattern has no verbalizer; add `verbalizer:` to the task or to this pattern")
        if template is None or verbalizer is None:
            return None
        return Pattern(template, verbalizer, kind, text.place)

    def _asking(self, template: Template, text: Item, words: Item | None, kind: str) -> Pattern | None:
        """Return a pattern that asks about each label by itself, with words for no and yes."""
        if kind not in ("", "words"):
            self.shapes.wrong(text, f"a pattern with {{{LABEL}}} needs words for no and yes; remove verbalizer_kind")
        if all(field.name == LABEL for field in template.fields):
            self.shapes.wrong(text, f"the pattern has no field beside {{{LABEL}}}; add one of {', '.join(self.fields)}")
        usual = Verbalizer({answer: (answer,) for answer in ANSWERS})
        verbalizer = self.words.read(words, ANSWERS) if words else usual
        return None if verbalizer is None else Pattern(template, verbalizer, "words", text.place)
