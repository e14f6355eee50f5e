"""Replace the label words in the text of a task file, and keep everything else, comments included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from pet.errors import PetError
from pet.spelling import Names
from pet.store.yaml_reader import compose_yaml
from pet.task.yaml_text import yaml_list, yaml_scalar

GUESS = "# a guess"  # start of a comment after words that somebody should check


@dataclass(frozen=True)
class NewWords:
    """Words of the labels, for all patterns that share them.

    Attributes
    ----------
    words : label -> words, in the order of the task's labels
    notes : label -> comment to write after its words, without ``#``
    """

    words: Mapping[str, Sequence[str]]
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Edit:
    """Replace a part of the text."""

    start: int
    stop: int
    text: str


def replace_words(text: str, shown: str, shared: NewWords | None, own: Mapping[int, NewWords]) -> str:
    """Return the text of a task file with other label words.

    Parameters
    ----------
    text : the task file, which has been parsed without mistakes
    shown : its name, for messages
    shared : words of the task; None: unchanged
    own : position of a pattern with a verbalizer of its own, from 0 -> its words

    Raises
    ------
    PetError
        If words are YAML aliases, which stand for words elsewhere in the file.

    Examples
    --------
    >>> before = "verbalizer:\\n  bad: awful  # a guess\\n  good: great  # mine\\npatterns: []\\n"
    >>> print(replace_words(before, "t.yaml", NewWords({"bad": ["poor"], "good": ["fine", "nice"]}), {}), end="")
    verbalizer:
      bad: [poor]
      good: [fine, nice]  # mine
    patterns: []
    """
    keys = _keys(text, shown)
    editor = _Editor(text, shown)
    if shared is not None and "verbalizer" in keys:
        editor.verbalizer(*keys["verbalizer"], shared)
    elif shared is not None:
        editor.insert(keys["patterns"][0], shared)
    entries = keys["patterns"][1].value
    for position, words in own.items():
        pairs = {key.value: (key, value) for key, value in entries[position].value}
        editor.verbalizer(*pairs["verbalizer"], words)
    return editor.result()


def own_verbalizers(text: str, shown: str) -> list[int]:
    """Return the positions of patterns with a verbalizer of their own in the text of a task file, from 0."""
    patterns = _keys(text, shown)["patterns"][1]
    return [
        position
        for position, entry in enumerate(patterns.value)
        if isinstance(entry, yaml.MappingNode) and any(key.value == "verbalizer" for key, _ in entry.value)
    ]


def _keys(text: str, shown: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    root = compose_yaml(text, shown)
    if not isinstance(root, yaml.MappingNode):
        raise PetError(f"{shown}: is not a task file; it must be a YAML mapping")
    return {key.value: (key, value) for key, value in root.value}


class _Editor:
    """Collects the changes of one text."""

    def __init__(self, text: str, shown: str):
        self.text = text
        self.shown = shown
        self.newline = "\r\n" if "\r\n" in text else "\n"
        self.edits: list[_Edit] = []

    def result(self) -> str:
        text = self.text
        for edit in sorted(self.edits, key=lambda edit: edit.start, reverse=True):
            text = text[: edit.start] + edit.text + text[edit.stop :]
        return text

    def insert(self, before: yaml.Node, new: NewWords) -> None:
        """Add a verbalizer on the lines before a key, and before the comments directly above it."""
        lines = self.text[: before.start_mark.index].splitlines(keepends=True)
        while lines and lines[-1].lstrip().startswith("#"):
            lines.pop()
        start = sum(map(len, lines))
        block = f"verbalizer:{self._block(new, '  ')}{self.newline}{self.newline}"
        self.edits.append(_Edit(start, start, block))

    def verbalizer(self, key: yaml.Node, value: yaml.Node, new: NewWords) -> None:
        """Replace the words of a verbalizer: each where it is in block style, or the whole in flow style."""
        self._refuse_alias(key, value)
        if not isinstance(value, yaml.MappingNode) or value.flow_style:
            in_flow = isinstance(value, yaml.MappingNode) and key.start_mark.column > 0
            indent = " " * (key.start_mark.column + 2)
            made = f" {{{self._flow(new)}}}" if in_flow else self._block(new, indent)
            self.edits.append(_Edit(self._after_colon(key), _end(value), made))
            return
        known, missing = Names(list(new.words)), dict(new.words)
        for label_key, words in value.value:
            label = known.find(label_key.value)
            if label is not None and missing.pop(label, None) is not None:
                self._refuse_alias(label_key, words)
                self._label(label_key, words, new.words[label], new.notes.get(label, ""))
        if missing:
            last = self._line_end(_end(value))
            more = NewWords(missing, new.notes)
            self.edits.append(_Edit(last, last, self._block(more, " " * value.start_mark.column)))

    def _label(self, key: yaml.Node, value: yaml.Node, words: Sequence[str], note: str) -> None:
        stop = _end(value)
        rest = self.text[stop : self._line_end(stop)]
        comment = rest.strip()
        if not comment or comment.startswith(GUESS):
            stop, comment = stop + len(rest), f"# {note}" if note else ""
        elif note:
            stop, comment = stop + len(rest), f"# {note}; {comment.removeprefix('#').strip()}"
        else:
            comment = ""
        made = f" {yaml_list(list(words))}" + (f"  {comment}" if comment else "")
        self.edits.append(_Edit(self._after_colon(key), stop, made))

    def _block(self, new: NewWords, indent: str) -> str:
        lines = []
        for label, words in new.words.items():
            note = f"  # {new.notes[label]}" if new.notes.get(label) else ""
            lines.append(f"{self.newline}{indent}{yaml_scalar(label)}: {yaml_list(list(words))}{note}")
        return "".join(lines)

    def _flow(self, new: NewWords) -> str:
        return ", ".join(f"{yaml_scalar(label)}: {yaml_list(list(words))}" for label, words in new.words.items())

    def _after_colon(self, key: yaml.Node) -> int:
        return self.text.index(":", key.end_mark.index) + 1

    def _line_end(self, start: int) -> int:
        found = [place for mark in ("\r\n", "\n") if (place := self.text.find(mark, start)) >= 0]
        return min(found, default=len(self.text))

    def _refuse_alias(self, key: yaml.Node, value: yaml.Node) -> None:
        if value.start_mark.index < key.end_mark.index:
            raise PetError(
                f"{self.shown}:{key.start_mark.line + 1}: the words of {key.value} are a YAML alias (*name), which "
                "--write cannot replace; write them out, or change them by hand"
            )


def _end(node: yaml.Node) -> int:
    """Return where the last scalar or bracket of a node ends; block nodes reach into the lines after them."""
    if isinstance(node, (yaml.MappingNode, yaml.SequenceNode)) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)
