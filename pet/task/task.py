"""Classification tasks: fields, labels and patterns, read from a task file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pet.errors import PetError
from pet.resources import expand, folder
from pet.suggest import suggest
from pet.task.document import from_plain, read_yaml
from pet.task.grammar import Template
from pet.task.group import Group
from pet.task.hierarchy import parents_of, slash_ancestors
from pet.task.parse import SEPARATOR, parse_task
from pet.task.pattern import ANSWERS, Pattern
from pet.task.usual import UsualColumn
from pet.task.verbalizer import Verbalizer

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Task:
    """A classification task.

    Attributes
    ----------
    name : name shown in reports
    fields : text columns of the data
    labels : labels, in the order used by every array, table and ``id2label``
    patterns : pattern-verbalizer pairs, at least one
    input : template that turns the fields into the text (or text pair) for a sequence classifier
    metrics : metrics to show first
    label_map : value in the data -> label, for data that spells labels differently
    description : one sentence, for humans
    dataset : where to get the data (``path``, ``name`` and ``columns``), for humans
    members : ensemble members in addition to the patterns, as text
    columns : field (or ``label``, ``id``) -> column of the data, where the names differ; a file that lacks the column
        may have the field's own name
    group : how texts form groups that are judged together, or None
    descriptions : label -> what it means, one sentence, for some or all labels
    multi_label : a text may have any number of labels
    label_separator : character between the labels of a text in a cell of a table
    ordered : the labels are in an order, such as one to five stars
    ancestors : label -> its ancestors in the hierarchy, from the top; empty without a hierarchy
    path : the task file

    Examples
    --------
    >>> task = Task.from_dict(
    ...     {
    ...         "task": "reviews",
    ...         "fields": ["text"],
    ...         "labels": ["bad", "good"],
    ...         "verbalizer": {"bad": "terrible", "good": "great"},
    ...         "patterns": ["{text} It was {mask}."],
    ...     }
    ... )
    >>> task.patterns[0].template.render({"text": "I loved it."})
    'I loved it. It was [MASK].'
    """

    name: str
    fields: tuple[str, ...]
    labels: tuple[str, ...]
    patterns: tuple[Pattern, ...]
    input: Template
    metrics: tuple[str, ...] = ("accuracy", "macro_f1")
    label_map: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    dataset: Mapping[str, Any] | None = None
    members: tuple[str, ...] = ()
    columns: Mapping[str, UsualColumn] = field(default_factory=dict)
    descriptions: Mapping[str, str] = field(default_factory=dict)
    multi_label: bool = False
    label_separator: str = SEPARATOR
    ordered: bool = False
    ancestors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    group: Group | None = None
    path: Path | None = field(default=None, compare=False)

    @classmethod
    def load(cls, name_or_path: str | Path, *, words: bool = True) -> Task:
        """Read a task file.

        Parameters
        ----------
        name_or_path : name of a task shipped with the package, or path of a YAML file
        words : False to accept a file whose labels have no words yet

        Raises
        ------
        PetError
            Every mistake in the file, each with its line.

        Examples
        --------
        >>> Task.load("agnews").labels
        ('World', 'Sports', 'Business', 'Sci/Tech')
        """
        path = find_task(name_or_path)
        task = cls(**parse_task(read_yaml(path), words=words), path=path)
        return replace(task, members=tuple(absolute_member(text, path.parent) for text in task.members))

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any], path: Path | None = None) -> Task:
        """Create a task from the contents of a task file.

        Raises
        ------
        PetError
            Every mistake in the mapping.
        """
        return cls(**parse_task(from_plain(mapping, str(path) if path else "task")), path=path)

    def with_patterns(self, numbers: Sequence[int]) -> Task:
        """Return the task restricted to some of its patterns, numbered from 1.

        Raises
        ------
        PetError
            If a pattern does not exist or is listed twice.
        """
        count = len(self.patterns)
        if not numbers or len(set(numbers)) < len(numbers) or not all(1 <= number <= count for number in numbers):
            raise PetError(
                f"--patterns {','.join(map(str, numbers))}: {self.name} has patterns 1 to {count}; list some of them, "
                "each at most once, for example --patterns 1"
            )
        return replace(self, patterns=tuple(self.patterns[number - 1] for number in numbers))

    def answers(self, pattern: Pattern) -> tuple[str, ...]:
        """Return what a pattern has words for: the labels, or ``no`` and ``yes`` if it asks about each label."""
        return ANSWERS if pattern.asks else self.labels

    def to_dict(self) -> dict[str, Any]:
        """Return plain text, lists and mappings from which `from_dict` creates an equal task."""
        shared = _most_common([pattern.verbalizer for pattern in self.patterns if not pattern.asks])
        result: dict[str, Any] = {"task": self.name}
        if self.description:
            result["description"] = self.description
        if self.dataset:
            result["dataset"] = {
                key: dict(value) if isinstance(value, Mapping) else value for key, value in self.dataset.items()
            }
        result["fields"] = list(self.fields)
        if self.columns:
            result["columns"] = {name: str(column) for name, column in self.columns.items()}
        result["labels"] = list(self.labels)
        if self.descriptions:
            result["descriptions"] = dict(self.descriptions)
        result["metrics"] = list(self.metrics)
        if self.ancestors:
            written = self.ancestors == slash_ancestors(self.labels)
            result["hierarchy"] = "true" if written else parents_of(self.ancestors)
        if self.ordered:
            result["ordered"] = "true"
        if self.multi_label:
            result |= {"multi_label": "true", "label_separator": self.label_separator}
        if self.group is not None:
            result["group"] = self.group.to_dict()
        if self.label_map:
            result["label_map"] = dict(self.label_map)
        result["input"] = self.input.source
        if shared is not None:
            result["verbalizer"] = _plain_words(shared)
        result["patterns"] = [_plain_pattern(pattern, shared) for pattern in self.patterns]
        if self.members:
            result["members"] = list(self.members)
        return result


def one_label_only(task: Task, what: str, cure: str = "use a task without `multi_label`") -> None:
    """Refuse a task whose texts may have several labels.

    Parameters
    ----------
    task : the task
    what : what needs one label per text, for the message
    cure : what to do instead

    Raises
    ------
    PetError
        If the task has `multi_label`.
    """
    if task.multi_label:
        raise PetError(f"{what} requires exactly one label per text, but {task.name} has `multi_label: true`; {cure}")


def absolute_member(text: str, folder: str | Path = "") -> str:
    """Return a member with the path of its file or folder, if it names one that exists, made absolute.

    Parameters
    ----------
    text : ``KIND``, ``KIND:FILE``, or ``NAME=KIND:FILE``
    folder : where relative paths start; the working directory if empty
    """
    kind, colon, file = text.partition(":")
    path = expand(Path(folder, file))
    return f"{kind}:{os.path.abspath(path)}" if colon and path.exists() else text


def _most_common(verbalizers: list[Verbalizer]) -> Verbalizer | None:
    if not verbalizers:
        return None
    counts = Counter(tuple(verbalizer.words.items()) for verbalizer in verbalizers)
    return Verbalizer(dict(counts.most_common(1)[0][0]))


def _plain_pattern(pattern: Pattern, shared: Verbalizer | None) -> str | dict[str, Any]:
    own = {} if pattern.verbalizer == shared else {"verbalizer": _plain_words(pattern.verbalizer)}
    kind = {"verbalizer_kind": pattern.verbalizer_kind} if pattern.verbalizer_kind and not pattern.asks else {}
    return {"template": pattern.template.source} | own | kind if own or kind else pattern.template.source


def _plain_words(verbalizer: Verbalizer) -> dict[str, list[str]]:
    return {label: list(words) for label, words in verbalizer.words.items()}


def list_tasks() -> list[str]:
    """Return the sorted names of the tasks shipped with the package."""
    return sorted(path.stem for path in folder("patterns").glob("*.yaml"))


def find_task(name_or_path: str | Path) -> Path:
    """Return the file of a task. Names of shipped tasks take precedence over files.

    Raises
    ------
    PetError
        If there is no such task; suggests similar names.
    """
    text = str(name_or_path)
    names = list_tasks()
    if text in names:
        return folder("patterns") / f"{text}.yaml"
    path = expand(name_or_path)
    if path.is_file():
        return path
    if path.is_dir():
        raise PetError(f"{text} is a folder; give a task file (YAML) in it, or a shipped task: {', '.join(names)}")
    if len(path.parts) > 1 or path.suffix in _SUFFIXES:
        raise PetError(f"task file {text} not found; {_alternatives(path)}")
    raise PetError(
        f"{text}: neither a file nor a task shipped with the package (`pet tasks` lists them); {suggest(text, names)}"
    )


def _alternatives(path: Path) -> str:
    """Suggest task files in the same folder, or a shipped task."""
    try:
        names = sorted(other.name for other in path.parent.iterdir() if other.suffix in _SUFFIXES)
    except OSError:
        return f"its folder {path.parent} does not exist either"
    if names:
        return f"in {path.parent}: {suggest(path.name, names)}"
    return f"give another file or a shipped task; {suggest(path.stem, list_tasks())}"
