"""Check the contents of a task file and report every mistake in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from pet.errors import PetError
from pet.spelling import Names, compose, unlike
from pet.suggest import suggest
from pet.task.document import Item
from pet.task.grammar import NAME, RESERVED, Field, Template, parse_template, parse_word_field
from pet.task.group import Group
from pet.task.hierarchy import slash_ancestors
from pet.task.nested import parse_nested
from pet.task.pattern import ANSWERS, LABEL, Pattern
from pet.task.usual import UsualColumn
from pet.task.verbalizer import OTHER, Verbalizer

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
# Higher numbers are a mistake, such as a data file instead of a task file.
MOST_FIELDS = 100
MOST_LABELS = 10_000
MOST_PATTERNS = 1000
_MOST_PROBLEMS = 501  # the last one is counted and not shown
METRICS = ("accuracy", "macro_f1", "mcc", "ece")
MULTI_LABEL_METRICS = ("micro_f1", "macro_f1", "lrap", "exact_match")
SEPARATOR = ";"  # between the labels of a cell
ORDERED_METRICS = ("qwk", "mae")  # require `ordered`
GROUP_METRICS = ("f1a", "em", "token_f1")  # require `group`
VERBALIZER_KINDS = ("words", "weighted", "learned", "prototype")
_SLOT = re.compile(r"\{[^{}]*\}")  # a word that is the text of a field
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


class _Parser:
    """Collects mistakes instead of stopping at the first one."""

    def __init__(self, words: bool = True) -> None:
        self._need_words = words
        self._found: list[tuple[int, str]] = []
        self.fields: tuple[str, ...] = ()

    def wrong(self, item: Item, message: str) -> None:
        self._found.append((item.line, f"{item.place}: {message}"))
        if len(self._found) == _MOST_PROBLEMS:
            raise PetError(self.problems)

    @property
    def problems(self) -> list[str]:
        """All mistakes in file order, without duplicates (a YAML alias is parsed once per use)."""
        return list(dict.fromkeys(message for _, message in sorted(self._found, key=lambda found: found[0])))

    def task(self, root: Item) -> TaskValues:
        pairs = self.mapping(root, "a task file", KEYS)
        if pairs is None:
            raise PetError(self.problems)
        for key in ("task", "fields", "labels", "patterns"):
            if key not in pairs:
                self.wrong(root, f"{key!r} is missing; write `{key}: ...`")
        get = pairs.get
        name = self._text(item, "the task name") if (item := get("task")) else ""
        fields = self.fields = self._fields(item) if (item := get("fields")) else ()
        labels = self._labels(item) if (item := get("labels")) else ()
        multi_label = self._flag(item, "multi_label") if (item := get("multi_label")) else False
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
        input_ = self.template(item, fields, mask=False) if (item := get("input")) else None
        columns = self._columns(item, fields) if (item := get("columns")) else {}
        descriptions = self._descriptions(item, labels) if (item := get("descriptions")) else {}
        description = self._text(item, "the description") if (item := get("description")) else ""
        dataset = self._dataset(item, fields) if (item := get("dataset")) else None
        shared = self._shared_words(get("verbalizer"), labels)
        members = self._members(get("members"), "members") + self._members(get("teachers"), "teachers")
        read = _Patterns(
            self, fields, labels, shared, "verbalizer" in pairs or not self._need_words, multi_label=multi_label
        )
        patterns = read.all(item) if (item := get("patterns")) else ()
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

    # ---- shapes ------------------------------------------------------------------------------

    def _text(self, item: Item, what: str) -> str:
        """Return a nonempty scalar, or record a mistake and return ""."""
        if isinstance(item.value, str) and item.value.strip():
            return item.value
        if item.value is None or isinstance(item.value, str):
            self.wrong(item, f"{what} is empty; write some text")
        elif item.flow and item.pairs is not None:
            self.wrong(item, f"{what} parses as a YAML mapping; put it in quotes")
        else:
            self.wrong(item, f"{what} must be text, not a list or a mapping; put text with braces in quotes")
        return ""

    def too_many(self, item: Item, what: str, most: int) -> bool:
        """Record a mistake and return True if a list is longer than `most`."""
        count = len(item.items or ())
        if count > most:
            self.wrong(item, f"{count} {what}; a task can have at most {most}; remove some (is this a data file?)")
        return count > most

    def _texts(self, item: Item, what: str, most: int = MOST_FIELDS) -> list[tuple[str, Item]] | None:
        """Return the scalars of a list; record those that are empty, or the same as another."""
        if item.items is None:
            self.wrong(item, f"{what} must be a list, such as [one, two]")
            return None
        if self.too_many(item, what, most):
            return None
        found: dict[str, Item] = {}
        known = Names()
        for entry in item.items:
            text = self._text(entry, f"an entry of {what}")
            same = known.add(text)
            if same is not None and text:
                self.wrong(entry, f"{_twice(text, same)} in {what}; remove one")
            elif text:
                found[text] = entry
        return list(found.items())

    def mapping(self, item: Item, what: str, keys: Sequence[str], kind: str = "key") -> dict[str, Item] | None:
        """Return a mapping restricted to `keys`; record a mistake and return None if it is not a mapping."""
        if item.pairs is None:
            keys_shown = ", ".join(keys[:4]) + (", ..." if len(keys) > 4 else "")
            self.wrong(item, f"{what} must be a mapping ({kind}: value) with {keys_shown}")
            return None
        found: dict[str, Item] = {}
        known = Names(keys)
        for key, value in item.pairs:
            given = self._text(key, f"a {kind}")
            if not given:
                continue
            name = known.find(given)
            if name is None:
                self.wrong(key, f"unknown {kind} {given!r} in {what}; {suggest(given, keys)}")
            elif name in found:
                self.wrong(key, f"{kind} {name!r} appears twice in {what}; remove one")
            else:
                found[name] = value
        return found

    # ---- the keys ----------------------------------------------------------------------------

    def _fields(self, item: Item) -> tuple[str, ...]:
        listed = self._texts(item, "fields")
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
        entries = self._texts(item, "labels", MOST_LABELS)
        if entries is None:
            return ()
        if len(entries) < 2:
            self.wrong(item, f"a task needs at least two labels, this one has {len(entries)}; add labels")
        return tuple(name for name, _ in entries)

    def _columns(self, item: Item, fields: Sequence[str]) -> dict[str, UsualColumn]:
        pairs = self.mapping(item, "columns", [*fields, *_TABLE_COLUMNS], "field") or {}
        found = {name: UsualColumn(self._text(value, f"the column for {name}")) for name, value in pairs.items()}
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
            label: " ".join(self._text(pairs[label], f"the description of label {label!r}").split())
            for label in labels
            if label in pairs
        }

    def _metrics(self, item: Item, known: Sequence[str]) -> tuple[str, ...]:
        entries = self._texts(item, "metrics") or []
        for name, entry in entries:
            if name in ORDERED_METRICS and name not in known:
                self.wrong(entry, f"metric {name} requires labels in an order; add `ordered: true`")
            elif name in GROUP_METRICS and name not in known:
                self.wrong(entry, f"metric {name!r} requires groups; add `group: {{by: [question], right: LABEL}}`")
            elif name not in known:
                self.wrong(entry, f"unknown metric {name!r}; {suggest(name, known)}")
        return tuple(name for name, _ in entries)

    def _flag(self, item: Item, name: str) -> bool:
        """Return a value that is written ``true`` or ``false``."""
        text = self._text(item, name).strip().casefold()
        if text and text not in ("true", "false"):
            self.wrong(item, f"{name} is {text!r}; write true or false")
        return text == "true"

    def _ordered(self, item: Item, multi_label: bool) -> bool:
        """Return whether the labels are in an order."""
        ordered = self._flag(item, "ordered")
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
            found = slash_ancestors(labels) if self._flag(item, "hierarchy") else {}
            if found and not any(found.values()):
                self.wrong(item, "no label is written parent/child; write so, or give hierarchy as parent: [labels]")
            return found
        parents: dict[str, str] = {}
        for key, value in item.pairs:
            parent = self._text(key, "a parent in hierarchy")
            if parent in labels:
                self.wrong(key, f"hierarchy: {parent!r} is itself a label; choose another name for the parent")
            for label, entry in self._texts(value, f"the labels of {parent!r}", MOST_LABELS) or ():
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
        values = {key: self._text(value, f"group: {key}") for key, value in pairs.items() if key != "by"}
        by = (
            [(compose(name), entry) for name, entry in self._texts(pairs["by"], "group: by") or ()]
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
                found.append(self._text(entry, "a member"))
                continue
            pairs = [(self._text(key, "a member"), self._text(value, "a member")) for key, value in entry.pairs]
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
            text, given = self._text(key, "a key of label_map"), self._text(value, "a label in label_map")
            if not text or not given:
                continue
            label = known.find(given) or given
            same = keys.add(text)
            if same is not None and (same == text or found[same] != label):
                self.wrong(key, f"{_twice(text, same)} in label_map; remove one")
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
                result[key] = self._text(pairs[key], f"dataset: {key}")
        if "columns" in pairs:
            names = [*fields, *_TABLE_COLUMNS]
            columns = self.mapping(pairs["columns"], "dataset columns", names, "field") or {}
            result["columns"] = {name: self._text(value, f"the column for {name}") for name, value in columns.items()}
        return result

    def _shared_words(self, item: Item | None, labels: Sequence[str]) -> Verbalizer | None:
        if not self._need_words and (item is None or item.value is None):
            return Verbalizer(dict.fromkeys(labels, ()))
        return None if item is None else self.verbalizer(item, labels)

    def verbalizer(self, item: Item, labels: Sequence[str]) -> Verbalizer | None:
        """Return the words for each label; record mistakes and return None if they are unusable."""
        before = len(self._found)
        if not labels:  # already reported
            return None
        pairs = self.mapping(item, "the verbalizer", labels, "label")
        if pairs is None:
            return None
        owners: dict[str, str] = {}
        words: dict[str, tuple[str, ...]] = {}
        for label in labels:
            if label not in pairs and not self._need_words:
                words[label] = ()
            elif label not in pairs:
                self.wrong(item, f"label {label!r} has no word; add `{label}: word` to the verbalizer")
            else:
                words[label] = self._words(pairs[label], label, owners)
        places = {label: value.place for label, value in pairs.items()}
        row_words = self._row_words(item, pairs, words)
        return Verbalizer(words, places, row_words) if len(self._found) == before else None

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
                        self.wrong(pairs[label], f"the word of label {label!r}: {problem}")
        if others and self.fields and (not found or len(others) > 1):
            cure = f"give one label the word {OTHER}, and another the text of a field, such as {{{self.fields[0]}}}"
            self.wrong(item, f"{OTHER} stands for all words but that of another label; {cure}")
        several = [label for label, listed in words.items() if len(listed) > 1]
        if found and several:
            self.wrong(
                pairs[several[0]], f"label {several[0]!r} has several words; with words from fields, write one each"
            )
        return found

    def _words(self, item: Item, label: str, owners: dict[str, str]) -> tuple[str, ...]:
        """Return one word or a list of them; `owners` maps each word in use to its label."""
        entries = [item] if item.items is None else item.items
        if not entries:
            self.wrong(item, f"label {label!r} has no word; add one, or remove the label")
        words = []
        for entry in entries:
            word = compose(" ".join(self._text(entry, f"a word of label {label!r}").split()))
            if not word:
                continue
            if word in owners:
                whose = "listed twice" if owners[word] == label else f"also a word of label {owners[word]!r}"
                self.wrong(entry, f"word {word!r} of label {label!r} is {whose}; choose a different word")
            owners.setdefault(word, label)
            words.append(word)
        return tuple(words)

    def template(self, item: Item, fields: Sequence[str], *, mask: bool) -> Template | None:
        source = compose(self._text(item, "the pattern" if mask else "input"))
        if not source or not fields:
            return None
        try:
            return parse_template(source, fields, mask=mask)
        except PetError as error:
            for problem in error.problems:
                self.wrong(item, problem)
            return None


def _twice(name: str, other: str) -> str:
    """Return the start of a message about a name that is the same as an earlier one."""
    if name == other:
        return f"{name!r} appears twice"
    hidden = unlike(name, other)
    return f"{name!r} and {other!r} mean the same" + (f" (they differ only in {hidden})" if hidden else "")


class _Patterns:
    """Reads the patterns once the fields, labels and shared words are known."""

    def __init__(
        self,
        parser: _Parser,
        fields: Sequence[str],
        labels: Sequence[str],
        shared: Verbalizer | None,
        has_shared: bool,
        *,
        multi_label: bool,
    ):
        self.parser = parser
        self.fields = fields
        self.labels = labels
        self.shared = shared
        self.has_shared = has_shared  # True even if the shared verbalizer is invalid and `shared` is None
        self.slots = (*fields, LABEL) if multi_label else tuple(fields)

    def all(self, item: Item) -> tuple[Pattern, ...]:
        wrong = self.parser.wrong
        if item.items is None:
            wrong(item, 'patterns must be a list with one line per pattern, such as `- "{text} It is {mask}."`')
            return ()
        if not item.items:
            wrong(item, "patterns is empty; add at least one pattern")
        if self.parser.too_many(item, "patterns", MOST_PATTERNS):
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
        kind = self.parser._text(item, "verbalizer_kind")
        if kind and kind not in VERBALIZER_KINDS:
            self.parser.wrong(item, f"unknown verbalizer_kind {kind!r}; {suggest(kind, VERBALIZER_KINDS)}")
        return kind

    def _one(self, item: Item) -> Pattern | None:
        parser = self.parser
        text, words, kind = item, None, ""
        if item.pairs is not None:
            names = [key.value for key, _ in item.pairs]
            if item.flow and "template" not in names:
                parser.wrong(item, 'a pattern parses as a YAML mapping; put it in quotes: "{text} It is {mask}."')
                return None
            pairs = parser.mapping(item, "a pattern", ("template", "verbalizer", "verbalizer_kind")) or {}
            if "template" not in pairs:
                parser.wrong(item, "pattern has no 'template'; add `template: \"...\"`")
                return None
            text, words = pairs["template"], pairs.get("verbalizer")
            kind = self._kind(pairs.get("verbalizer_kind"))
        template = parser.template(text, self.slots, mask=True)
        if template is not None and any(field.name == LABEL for field in template.fields):
            return self._asking(template, text, words, kind)
        verbalizer = parser.verbalizer(words, self.labels) if words else self.shared
        if words is None and not self.has_shared:
            parser.wrong(item, "pattern has no verbalizer; add `verbalizer:` to the task or to this pattern")
        if template is None or verbalizer is None:
            return None
        return Pattern(template, verbalizer, kind, text.place)

    def _asking(self, template: Template, text: Item, words: Item | None, kind: str) -> Pattern | None:
        """Return a pattern that asks about each label by itself, with words for no and yes."""
        if kind not in ("", "words"):
            self.parser.wrong(text, f"a pattern with {{{LABEL}}} needs words for no and yes; remove verbalizer_kind")
        if all(field.name == LABEL for field in template.fields):
            self.parser.wrong(text, f"the pattern has no field beside {{{LABEL}}}; add one of {', '.join(self.fields)}")
        usual = Verbalizer({answer: (answer,) for answer in ANSWERS})
        verbalizer = self.parser.verbalizer(words, ANSWERS) if words else usual
        return None if verbalizer is None else Pattern(template, verbalizer, "words", text.place)
