"""The words of labels, and texts with fields, in a task file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pet.errors import PetError
from pet.spelling import compose
from pet.task.document import Item
from pet.task.grammar import Field, Template, parse_template, parse_word_field
from pet.task.parse_shapes import Shapes
from pet.task.verbalizer import OTHER, Verbalizer

_SLOT = re.compile(r"\{[^{}]*\}")  # a word that is the text of a field


class WordReader:
    """Reads verbalizers and templates.

    Parameters
    ----------
    shapes : collects the mistakes
    fields : of the task
    need : whether every label needs a word
    """

    def __init__(self, shapes: Shapes, fields: Sequence[str], need: bool):
        self.shapes, self.fields, self.need = shapes, fields, need

    def shared(self, item: Item | None, labels: Sequence[str]) -> Verbalizer | None:
        """Return the words of the whole task, if it has any."""
        if not self.need and (item is None or item.value is None):
            return Verbalizer(dict.fromkeys(labels, ()))
        return None if item is None else self.read(item, labels)

    def read(self, item: Item, labels: Sequence[str]) -> Verbalizer | None:
        """Return the words for each label; record mistakes and return None if they are unusable."""
        before = self.shapes.count
        if not labels:  # already reported
            return None
        pairs = self.shapes.mapping(item, "the verbalizer", labels, "label")
        if pairs is None:
            return None
        owners: dict[str, str] = {}
        words: dict[str, tuple[str, ...]] = {}
        for label in labels:
            if label not in pairs and not self.need:
                words[label] = ()
            elif label not in pairs:
                self.shapes.wrong(item, f"label {label!r} has no word; add `{label}: word` to the verbalizer")
            else:
                words[label] = self._words(pairs[label], label, owners)
        places = {label: value.place for label, value in pairs.items()}
        row_words = self._row_words(item, pairs, words)
        return Verbalizer(words, places, row_words) if self.shapes.count == before else None

    def _row_words(
        self, item: Item, pairs: Mapping[str, Item], words: Mapping[str, tuple[str, ...]]
    ) -> dict[str, Field]:
        """Return label -> field, for words such as ``{choice1}``."""
        found: dict[str, Field] = {}
        others = []
        for label, listed in words.items():
            slots = [word for word in listed if _SLOT.fullmatch(word)]
            if slots == [OTHER] and "other" not in self.fields:
                others.append(label)
            elif slots and self.fields:
                try:
                    found[label] = parse_word_field(slots[0], self.fields)
                except PetError as error:
                    for problem in error.problems:
                        self.shapes.wrong(pairs[label], f"the word of label {label!r}: {problem}")
        if others and self.fields and (not found or len(others) > 1):
            cure = f"give one label the word {OTHER}, and another the text of a field, such as {{{self.fields[0]}}}"
            self.shapes.wrong(item, f"{OTHER} stands for all words but that of another label; {cure}")
        several = [label for label, listed in words.items() if len(listed) > 1]
        if found and several:
            self.shapes.wrong(
                pairs[several[0]], f"label {several[0]!r} has several words; with words from fields, write one each"
            )
        return found

    def _words(self, item: Item, label: str, owners: dict[str, str]) -> tuple[str, ...]:
        """Return one word or a list of them; `owners` maps each word in use to its label."""
        entries = [item] if item.items is None else item.items
        if not entries:
            self.shapes.wrong(item, f"label {label!r} has no word; add one, or remove the label")
        words = []
        for entry in entries:
            word = compose(" ".join(self.shapes.text(entry, f"a word of label {label!r}").split()))
            if not word:
                continue
            if word in owners:
                whose = "listed twice" if owners[word] == label else f"also a word of label {owners[word]!r}"
                self.shapes.wrong(entry, f"word {word!r} of label {label!r} is {whose}; choose a different word")
            owners.setdefault(word, label)
            words.append(word)
        return tuple(words)

    def template(self, item: Item, extra: Sequence[str] = (), *, mask: bool) -> Template | None:
        """Return a pattern, or the input of a classifier; record mistakes and return None if it is unusable."""
        source = compose(self.shapes.text(item, "the pattern" if mask else "input"))
        if not source or not self.fields:
            return None
        try:
            return parse_template(source, (*self.fields, *extra), mask=mask)
        except PetError as error:
            for problem in error.problems:
                self.shapes.wrong(item, problem)
            return None
