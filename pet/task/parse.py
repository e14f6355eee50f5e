"""From the tree of a task file to a Task, with every mistake that is in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pet.errors import PetError
from pet.suggest import suggest
from pet.task.document import Item
from pet.task.grammar import NAME, RESERVED, Template, parse_template
from pet.task.task import Pattern, Task
from pet.task.verbalizer import Verbalizer

KEYS = (
    "task",
    "description",
    "dataset",
    "fields",
    "labels",
    "metrics",
    "label_map",
    "input",
    "verbalizer",
    "patterns",
)
METRICS = ("accuracy", "macro_f1", "mcc", "ece")
_COLUMNS_OF_TABLES = ("id", "label")  # a field of such a name would hide them


def parse_task(root: Item, path: Path | None = None) -> Task:
    """Check the tree of a task file and make the task.

    Raises
    ------
    PetError
        With all mistakes, each with its place and what to do about it, in the order of the file.
    """
    return _Parser(path).task(root)


class _Parser:
    """Collects mistakes while it reads, so that one does not hide the next."""

    def __init__(self, path: Path | None):
        self.path = path
        self._found: list[tuple[int, str]] = []

    def wrong(self, item: Item, message: str) -> None:
        self._found.append((item.line, f"{item.place}: {message}"))

    @property
    def problems(self) -> list[str]:
        """All mistakes in the order of the file, each once (an alias is read as often as it stands)."""
        return list(dict.fromkeys(message for _, message in sorted(self._found, key=lambda found: found[0])))

    def task(self, root: Item) -> Task:
        pairs = self.mapping(root, "a task file", KEYS)
        if pairs is None:
            raise PetError(self.problems)
        for key in ("task", "fields", "labels", "patterns"):
            if key not in pairs:
                self.wrong(root, f"{key!r} is missing; write `{key}: ...`")
        get = pairs.get
        name = self._text(item, "the name of the task") if (item := get("task")) else ""
        fields = self._fields(item) if (item := get("fields")) else ()
        labels = self._labels(item) if (item := get("labels")) else ()
        metrics = self._metrics(item) if (item := get("metrics")) else METRICS[:2]
        label_map = self._label_map(item, labels) if (item := get("label_map")) else {}
        input_ = self.template(item, fields, mask=False) if (item := get("input")) else None
        description = self._text(item, "the description") if (item := get("description")) else ""
        dataset = self._dataset(item, fields) if (item := get("dataset")) else None
        shared = self.verbalizer(item, labels) if (item := get("verbalizer")) else None
        read = _Patterns(self, fields, labels, shared, "verbalizer" in pairs)
        patterns = read.all(item) if (item := get("patterns")) else ()
        if self.problems:
            raise PetError(self.problems)
        default = parse_template(" ".join(f"{{{field}}}" for field in fields), fields, mask=False)
        return Task(
            name=name,
            fields=fields,
            labels=labels,
            patterns=patterns,
            input=input_ or default,
            metrics=metrics,
            label_map=label_map,
            description=description,
            dataset=dataset,
            path=self.path,
        )

    # ---- shapes ------------------------------------------------------------------------------

    def _text(self, item: Item, what: str) -> str:
        """A scalar that is not empty, or "" after a complaint."""
        if isinstance(item.value, str) and item.value.strip():
            return item.value
        if item.value is None or isinstance(item.value, str):
            self.wrong(item, f"{what} is empty; write some text")
        elif item.flow and item.pairs is not None:
            self.wrong(item, f"{what} is read as a mapping; put it in quotes")
        else:
            self.wrong(item, f"{what} must be a text, not a list or a mapping; texts with braces stand in quotes")
        return ""

    def _texts(self, item: Item, what: str) -> list[tuple[str, Item]] | None:
        """A list of scalars without the empty ones and what is there twice."""
        if item.items is None:
            self.wrong(item, f"{what} must be a list, as in [one, two]")
            return None
        found: dict[str, Item] = {}
        for entry in item.items:
            text = self._text(entry, f"an entry of {what}")
            if text in found:
                self.wrong(entry, f"{text!r} is twice in {what}; take one away")
            elif text:
                found[text] = entry
        return list(found.items())

    def mapping(self, item: Item, what: str, keys: Sequence[str], kind: str = "key") -> dict[str, Item] | None:
        """A mapping with no key but `keys`, each once; None after a complaint about its shape."""
        if item.pairs is None:
            keys_shown = ", ".join(keys[:4]) + (", ..." if len(keys) > 4 else "")
            self.wrong(item, f"{what} must be a mapping ({kind}: value) with {keys_shown}")
            return None
        found: dict[str, Item] = {}
        for key, value in item.pairs:
            name = self._text(key, f"a {kind}")
            if not name:
                continue
            if name not in keys:
                self.wrong(key, f"unknown {kind} {name!r} in {what}; {suggest(name, keys)}")
            elif name in found:
                self.wrong(key, f"{kind} {name!r} is twice in {what}; take one away")
            else:
                found[name] = value
        return found

    # ---- the keys ----------------------------------------------------------------------------

    def _fields(self, item: Item) -> tuple[str, ...]:
        entries = self._texts(item, "fields")
        if entries is None:
            return ()
        if not entries:
            self.wrong(item, "fields is empty; name the text columns of the data")
        for name, entry in entries:
            if not NAME.fullmatch(name):
                self.wrong(
                    entry,
                    f"field {name!r}: a name is letters, digits, '_' and '-', and begins with a letter; "
                    "use `--column` to read a column of another name",
                )
            elif name in RESERVED + _COLUMNS_OF_TABLES:
                self.wrong(entry, f"field {name!r}: the name is taken; call the field otherwise, such as 'text'")
        return tuple(name for name, _ in entries)

    def _labels(self, item: Item) -> tuple[str, ...]:
        entries = self._texts(item, "labels")
        if entries is None:
            return ()
        if len(entries) < 2:
            self.wrong(item, f"there must be two labels at least, and there is {len(entries) or 'none'}; add labels")
        return tuple(name for name, _ in entries)

    def _metrics(self, item: Item) -> tuple[str, ...]:
        entries = self._texts(item, "metrics") or []
        for name, entry in entries:
            if name not in METRICS:
                self.wrong(entry, f"unknown metric {name!r}; {suggest(name, METRICS)}")
        return tuple(name for name, _ in entries)

    def _label_map(self, item: Item, labels: Sequence[str]) -> dict[str, str]:
        if item.pairs is None:
            self.wrong(item, "label_map must be a mapping from what the data says to a label, as in {0: negative}")
            return {}
        found: dict[str, str] = {}
        for key, value in item.pairs:
            text, label = self._text(key, "a text in label_map"), self._text(value, "a label in label_map")
            if not text or not label:
                continue
            if text in found:
                self.wrong(key, f"{text!r} is twice in label_map; take one away")
            if labels and label not in labels:
                self.wrong(value, f"label_map: unknown label {label!r}; {suggest(label, labels)}")
            elif text in labels and text != label:
                self.wrong(key, f"label_map: {text!r} is a label itself and cannot stand for {label!r}; take it away")
            found[text] = label
        return found

    def _dataset(self, item: Item, fields: Sequence[str]) -> dict[str, Any] | None:
        pairs = self.mapping(item, "dataset", ("path", "name", "columns"))
        if pairs is None:
            return None
        result: dict[str, Any] = {}
        if "path" not in pairs:
            self.wrong(item, "dataset has no path; write the name on the hub, or take dataset away")
        for key in ("path", "name"):
            if key in pairs:
                result[key] = self._text(pairs[key], f"dataset: {key}")
        if "columns" in pairs:
            names = [*fields, *_COLUMNS_OF_TABLES]
            columns = self.mapping(pairs["columns"], "columns of dataset", names, "field") or {}
            result["columns"] = {name: self._text(value, f"the column of {name}") for name, value in columns.items()}
        return result

    def verbalizer(self, item: Item, labels: Sequence[str]) -> Verbalizer | None:
        """Words for each label. None where they are not usable, after a complaint."""
        before = len(self._found)
        if not labels:  # has been complained about
            return None
        pairs = self.mapping(item, "the verbalizer", labels, "label")
        if pairs is None:
            return None
        owners: dict[str, str] = {}
        words: dict[str, tuple[str, ...]] = {}
        for label in labels:
            if label not in pairs:
                self.wrong(item, f"label {label!r} has no word; write `{label}: word` in the verbalizer")
            else:
                words[label] = self._words(pairs[label], label, owners)
        places = {label: value.place for label, value in pairs.items()}
        return Verbalizer(words, places) if len(self._found) == before else None

    def _words(self, item: Item, label: str, owners: dict[str, str]) -> tuple[str, ...]:
        """One word or a list of them; `owners` has the words that are taken."""
        entries = [item] if item.items is None else item.items
        if not entries:
            self.wrong(item, f"label {label!r} has no word; write one, or take the label away")
        words = []
        for entry in entries:
            word = " ".join(self._text(entry, f"a word of label {label!r}").split())
            if not word:
                continue
            if word in owners:
                whose = "this label already" if owners[word] == label else f"label {owners[word]!r} too"
                self.wrong(entry, f"word {word!r} of label {label!r} stands for {whose}; pick another one")
            owners.setdefault(word, label)
            words.append(word)
        return tuple(words)

    def template(self, item: Item, fields: Sequence[str], *, mask: bool) -> Template | None:
        source = self._text(item, "the pattern" if mask else "input")
        if not source or not fields:
            return None
        try:
            return parse_template(source, fields, mask=mask)
        except PetError as error:
            for problem in error.problems:
                self.wrong(item, problem)
            return None


class _Patterns:
    """Reads the patterns, when fields, labels and the shared words are known."""

    def __init__(
        self,
        parser: _Parser,
        fields: Sequence[str],
        labels: Sequence[str],
        shared: Verbalizer | None,
        has_shared: bool,
    ):
        self.parser = parser
        self.fields = fields
        self.labels = labels
        self.shared = shared
        self.has_shared = has_shared  # `shared` is None, too, where it is there and wrong

    def all(self, item: Item) -> tuple[Pattern, ...]:
        wrong = self.parser.wrong
        if item.items is None:
            wrong(item, 'patterns must be a list, with a line as in `- "{text} It is {mask}."` for each')
            return ()
        if not item.items:
            wrong(item, "patterns is empty; write at least one pattern")
        found: list[Pattern] = []
        for entry in item.items:
            pattern = self._one(entry)
            if pattern is None:
                continue
            if pattern in found:
                wrong(entry, f"pattern {pattern.template.source!r} is there twice; take one away")
            found.append(pattern)
        return tuple(found)

    def _one(self, item: Item) -> Pattern | None:
        parser = self.parser
        text, words = item, None
        if item.pairs is not None:
            names = [key.value for key, _ in item.pairs]
            if item.flow and "template" not in names:
                parser.wrong(item, 'a pattern is read as a mapping; put it in quotes: "{text} It is {mask}."')
                return None
            pairs = parser.mapping(item, "a pattern", ("template", "verbalizer")) or {}
            if "template" not in pairs:
                parser.wrong(item, "a pattern without 'template'; write `template: \"...\"`")
                return None
            text, words = pairs["template"], pairs.get("verbalizer")
        verbalizer = parser.verbalizer(words, self.labels) if words else self.shared
        if words is None and not self.has_shared:
            parser.wrong(item, "a pattern without words; write `verbalizer:` for the task, or for this pattern")
        template = parser.template(text, self.fields, mask=True)
        if template is None or verbalizer is None:
            return None
        return Pattern(template, verbalizer, text.place)
