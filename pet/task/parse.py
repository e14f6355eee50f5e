"""Check the contents of a task file and report every mistake in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from pet.errors import PetError
from pet.spelling import Names, compose
from pet.suggest import suggest
from pet.task.document import Item
from pet.task.grammar import NAME, RESERVED, Template, parse_template
from pet.task.group import Group
from pet.task.hierarchy import slash_ancestors
from pet.task.nested import parse_nested
from pet.task.parse_patterns import MOST_PATTERNS, PatternReader
from pet.task.parse_shapes import Shapes, twice
from pet.task.parse_words import WordReader
from pet.task.pattern import Pattern
from pet.task.usual import UsualColumn

KEYS = (
    "task",
    "description",
    "dataset",
    "fields",
    "columns",
    "labels",
    "descriptions",
    "metrics",
    "group",
    "label_map",
    "multi_label",
    "label_separator",
    "ordered",
    "hierarchy",
    "input",
    "verbalizer",
    "patterns",
    "members",
    "teachers",
)
MOST_LABELS = 10_000  # a higher number is a mistake, such as a data file instead of a task file
METRICS = ("accuracy", "macro_f1", "mcc", "ece")
MULTI_LABEL_METRICS = ("micro_f1", "macro_f1", "lrap", "exact_match")
SEPARATOR = ";"  # between the labels of a cell
ORDERED_METRICS = ("qwk", "mae")  # require `ordered`
GROUP_METRICS = ("f1a", "em", "token_f1")  # require `group`
_TABLE_COLUMNS = ("id", "label")  # reserved: a field with one of these names would shadow the column


class TaskValues(TypedDict):
    """The contents of a task file: keyword arguments for `pet.task.task.Task`."""

    name: str
    fields: tuple[str, ...]
    labels: tuple[str, ...]
    patterns: tuple[Pattern, ...]
    input: Template
    metrics: tuple[str, ...]
    label_map: dict[str, str]
    description: str
    dataset: dict[str, Any] | None
    members: tuple[str, ...]
    columns: dict[str, UsualColumn]
    descriptions: dict[str, str]
    multi_label: bool
    label_separator: str
    ordered: bool
    ancestors: dict[str, tuple[str, ...]]
    group: Group | None


def parse_task(root: Item, *, words: bool = True) -> TaskValues:
    """Check the contents of a task file.

    Parameters
    ----------
    root : what `pet.task.document.read_yaml` or `from_plain` returns
    words : whether every label needs a word; otherwise labels may have an empty tuple

    Raises
    ------
    PetError
        All mistakes in file order, each with its location and how to fix it.
    """
    return _Parser(words).task(root)


class _Parser(Shapes):
    """Reads the keys of a task file."""

    def __init__(self, words: bool) -> None:
        super().__init__()
        self._need_words = words

    def task(self, root: Item) -> TaskValues:
        pairs = self.mapping(root, "a task file", KEYS)
        if pairs is None:
            raise PetError(self.problems)
        for key in ("task", "fields", "labels", "patterns"):
            if key not in pairs:
                self.wrong(root, f"{key!r} is missing; write `{key}: ...`")
        get = pairs.get
        name = self.text(item, "the task name") if (item := get("task")) else ""
        fields = self._fields(item) if (item := get("fields")) else ()
        labels = self._labels(item) if (item := get("labels")) else ()
        multi_label = self.flag(item, "multi_label") if (item := get("multi_label")) else False
        separator = self._separator(item) if (item := get("label_separator")) else SEPARATOR
        ordered = self._ordered(item, multi_label) if (item := get("ordered")) else False
        known = METRICS + GROUP_METRICS * ("group" in pairs) + ORDERED_METRICS * ordered
        known = MULTI_LABEL_METRICS if multi_label else known
        usual = known[:2] + ORDERED_METRICS * ordered
        metrics = self._metrics(item, known) if (item := get("metrics")) else usual
        group = self._group(item, fields, labels) if (item := get("group")) else None
        if item is not None and multi_label:
            self.wrong(item, "a task with multi_label has no groups; remove group or multi_label")
        ancestors = self._hierarchy(get("hierarchy"), labels, multi_label)
        label_map = self._label_map(item, labels) if (item := get("label_map")) else {}
        words = WordReader(self, fields, self._need_words)
        input_ = words.template(item, mask=False) if (item := get("input")) else None
        columns = self._columns(item, fields) if (item := get("columns")) else {}
        descriptions = self._descriptions(item, labels) if (item := get("descriptions")) else {}
        description = self.text(item, "the description") if (item := get("description")) else ""
        dataset = self._dataset(item, fields) if (item := get("dataset")) else None
        shared = words.shared(get("verbalizer"), labels)
        members = self._members(get("members"), "members") + self._members(get("teachers"), "teachers")
        reader = PatternReader(words, labels, shared, "verbalizer" in pairs or not self._need_words, multi_label)
        patterns = reader.all(item) if (item := get("patterns")) else ()
        if self.problems:
            raise PetError(self.problems)
        default = parse_template(" ".join(f"{{{field}}}" for field in fields), fields, mask=False)
        return TaskValues(
            name=name,
            fields=fields,
            labels=labels,
            patterns=patterns,
            input=input_ or default,
            metrics=metrics,
            label_map=label_map,
            description=description,
            dataset=dataset,
            members=members,
            columns=columns,
            descriptions=descriptions,
            multi_label=multi_label,
            label_separator=separator,
            ordered=ordered,
            ancestors=ancestors,
            group=group,
        )

    def _fields(self, item: Item) -> tuple[str, ...]:
        listed = self.texts(item, "fields")
        if listed is None:
            return ()
        entries = [(compose(name), entry) for name, entry in listed]
        if not entries:
            self.wrong(item, "fields is empty; list the text columns of the data")
        for name, entry in entries:
            if not NAME.fullmatch(name):
                self.wrong(
                    entry,
                    f"field {name!r}: a name starts with a letter and contains only letters, digits, '_' and '-'; "
                    "use `--column` to read a column with a different name",
                )
            elif name in RESERVED + _TABLE_COLUMNS:
                self.wrong(entry, f"field {name!r}: this name is reserved; choose another, such as 'text'")
        return tuple(name for name, _ in entries)

    def _labels(self, item: Item) -> tuple[str, ...]:
        entries = self.texts(item, "labels", MOST_LABELS)
        if entries is None:
            return ()
        if len(entries) < 2:
            self.wrong(item, f"a task needs at least two labels, this one has {len(entries)}; add labels")
        return tuple(name for name, _ in entries)

    def _columns(self, item: Item, fields: Sequence[str]) -> dict[str, UsualColumn]:
        pairs = self.mapping(item, "columns", [*fields, *_TABLE_COLUMNS], "field") or {}
        found = {name: UsualColumn(self.text(value, f"the column for {name}")) for name, value in pairs.items()}
        for name, value in pairs.items():
            try:
                parse_nested(found[name], found)
            except ValueError as error:
                self.wrong(value, f"the column for {name}: {error}")
        return found

    def _descriptions(self, item: Item, labels: Sequence[str]) -> dict[str, str]:
        """Return label -> description, in the order of the labels. Some labels may have none."""
        pairs = self.mapping(item, "descriptions", labels, "label") or {}
        return {
            label: " ".join(self.text(pairs[label], f"the description of label {label!r}").split())
            for label in labels
            if label in pairs
        }

    def _metrics(self, item: Item, known: Sequence[str]) -> tuple[str, ...]:
        entries = self.texts(item, "metrics") or []
        for name, entry in entries:
            if name in ORDERED_METRICS and name not in known:
                self.wrong(entry, f"metric {name} requires labels in an order; add `ordered: true`")
            elif name in GROUP_METRICS and name not in known:
                self.wrong(entry, f"metric {name!r} requires groups; add `group: {{by: [question], right: LABEL}}`")
            elif name not in known:
                self.wrong(entry, f"unknown metric {name!r}; {suggest(name, known)}")
        return tuple(name for name, _ in entries)

    def _ordered(self, item: Item, multi_label: bool) -> bool:
        """Return whether the labels are in an order."""
        ordered = self.flag(item, "ordered")
        if ordered and multi_label:
            self.wrong(item, "ordered labels exclude each other; remove `ordered`, or `multi_label`")
        return ordered and not multi_label

    def _hierarchy(self, item: Item | None, labels: Sequence[str], multi_label: bool) -> dict[str, tuple[str, ...]]:
        """Return the ancestors of each label, from the top; empty without a hierarchy."""
        if item is None:
            return {}
        if multi_label:
            self.wrong(item, "hierarchy requires one label per text; remove it, or `multi_label`")
        if item.pairs is None:
            found = slash_ancestors(labels) if self.flag(item, "hierarchy") else {}
            if found and not any(found.values()):
                self.wrong(item, "no label is written parent/child; write so, or give hierarchy as parent: [labels]")
            return found
        parents: dict[str, str] = {}
        known = Names(labels)
        for key, value in item.pairs:
            parent = self.text(key, "a parent in hierarchy")
            if known.find(parent) is not None:
                self.wrong(key, f"hierarchy: {parent!r} is itself a label; choose another name for the parent")
            for given, entry in self.texts(value, f"the labels of {parent!r}", MOST_LABELS) or ():
                label = known.find(given) or given
                if label not in labels:
                    self.wrong(entry, f"hierarchy: unknown label {label!r}; {suggest(label, labels)}")
                elif label in parents:
                    self.wrong(entry, f"hierarchy: {label!r} has the parent {parents[label]!r} already; remove one")
                parents.setdefault(label, parent)
        return {label: (parents[label],) if label in parents else () for label in labels}

    def _separator(self, item: Item) -> str:
        """Return the character between the labels of a cell."""
        text = item.value if isinstance(item.value, str) else ""
        text = text.strip() or text  # a space or a tab is a separator, too
        if len(text) != 1 or text.isalnum():
            self.wrong(item, 'label_separator must be one character that is no letter or digit, such as ";"')
        return text

    def _group(self, item: Item, fields: Sequence[str], labels: Sequence[str]) -> Group | None:
        pairs = self.mapping(item, "group", ("by", "right", "choose", "text"))
        if pairs is None:
            return None
        values = {key: self.text(value, f"group: {key}") for key, value in pairs.items() if key != "by"}
        by = (
            [(compose(name), entry) for name, entry in self.texts(pairs["by"], "group: by") or ()]
            if "by" in pairs
            else []
        )
        right = Names(labels).find(values.get("right", ""))
        for name, entry in [*by, *([(compose(values["text"]), pairs["text"])] if values.get("text") else [])]:
            if fields and name not in fields:
                self.wrong(entry, f"group: unknown field {name!r}; {suggest(name, fields)}")
        if not by:
            self.wrong(item, "group has no fields; add `by: [...]`, the fields that the texts of a group share")
        if right is None:
            self.wrong(item, f"group: `right` must be the label of right answers; the labels are {', '.join(labels)}")
        if values.get("choose", "any") not in ("any", "one"):
            self.wrong(pairs["choose"], f"group: choose is {values['choose']!r}; write one or any")
        choose_one = values.get("choose") == "one"
        if values.get("text") and not choose_one:
            self.wrong(pairs["text"], "group: text requires `choose: one`; add it, or remove text")
        return Group(tuple(name for name, _ in by), right or "", choose_one, compose(values.get("text", "")))

    def _members(self, item: Item | None, key: str) -> tuple[str, ...]:
        """Return the members in a list: ``KIND``, ``KIND:ARGUMENT``, or ``NAME=KIND:ARGUMENT``."""
        if item is None:
            return ()
        if item.items is None:
            example = "{external: votes.csv}" if key == "members" else "{rules: words.csv}"
            self.wrong(item, f"{key} must be a list, such as [{example}]")
            return ()
        if self.too_many(item, key, MOST_PATTERNS):
            return ()
        found: list[str] = []
        for entry in item.items:
            if entry.pairs is None:
                found.append(self.text(entry, "a member"))
                continue
            pairs = [(self.text(key, "a member"), self.text(value, "a member")) for key, value in entry.pairs]
            named = dict(pairs)
            name = named.pop("name", "")
            if len(named) != 1:
                self.wrong(
                    entry,
                    "a member needs exactly one kind, such as {external: votes.csv}, and optionally a name",
                )
                continue
            ((kind, argument),) = named.items()
            found.append(f"{name}={kind}:{argument}" if name else f"{kind}:{argument}")
        return tuple(found)

    def _label_map(self, item: Item, labels: Sequence[str]) -> dict[str, str]:
        if item.pairs is None:
            self.wrong(item, "label_map must map values in the data to labels, such as {0: negative}")
            return {}
        found: dict[str, str] = {}
        known, keys = Names(labels), Names()
        for key, value in item.pairs:
            text, given = self.text(key, "a key of label_map"), self.text(value, "a label in label_map")
            if not text or not given:
                continue
            label = known.find(given) or given
            same = keys.add(text)
            if same is not None and (same == text or found[same] != label):
                self.wrong(key, f"{twice(text, same)} in label_map; remove one")
            if labels and known.find(given) is None:
                self.wrong(value, f"label_map: unknown label {label!r}; {suggest(label, labels)}")
            elif known.find(text) not in (None, label):
                self.wrong(key, f"label_map: {text!r} is itself a label and cannot map to {label!r}; remove it")
            found[text] = label
        return found

    def _dataset(self, item: Item, fields: Sequence[str]) -> dict[str, Any] | None:
        pairs = self.mapping(item, "dataset", ("path", "name", "columns"))
        if pairs is None:
            return None
        result: dict[str, Any] = {}
        if "path" not in pairs:
            self.wrong(item, "dataset has no path; add the dataset's name on the Hugging Face Hub, or remove dataset")
        for key in ("path", "name"):
            if key in pairs:
                result[key] = self.text(pairs[key], f"dataset: {key}")
        if "columns" in pairs:
            names = [*fields, *_TABLE_COLUMNS]
            columns = self.mapping(pairs["columns"], "dataset columns", names, "field") or {}
            result["columns"] = {name: self.text(value, f"the column for {name}") for name, value in columns.items()}
        return result
