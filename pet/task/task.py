"""Tasks: what the texts are, which labels there are, and the patterns that ask for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pet.errors import PetError
from pet.resources import folder
from pet.suggest import suggest
from pet.task.grammar import Template
from pet.task.verbalizer import Verbalizer

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Pattern:
    """A pattern-verbalizer pair.

    Attributes
    ----------
    template : the text with the blank
    verbalizer : the words that stand for the labels in the blank
    place : where it is written ("agnews.yaml:12"), for messages
    """

    template: Template
    verbalizer: Verbalizer
    place: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Task:
    """A classification task.

    Attributes
    ----------
    name : what it is called in reports
    fields : text columns of the data
    labels : in the order that every array, table and ``id2label`` keeps
    patterns : at least one
    input : how the fields become the text (or text pair) of an ordinary sequence classifier
    metrics : which figures to show first
    label_map : text in the data -> label, for data that spells the labels otherwise
    description : a sentence for people
    dataset : where the data can be had: ``path``, ``name`` and ``columns``; for people
    path : the file that it was read from
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
    path: Path | None = field(default=None, compare=False)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Task:
        """Read a task file.

        Parameters
        ----------
        name_or_path : the name of a task that comes with the package, or the path of a YAML file

        Raises
        ------
        PetError
            With everything that is wrong with the file, each with its line.
        """
        from pet.task.document import read_yaml
        from pet.task.parse import parse_task

        path = find_task(name_or_path)
        return parse_task(read_yaml(path), path)

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any], path: Path | None = None) -> Task:
        """A task from the mapping that a task file holds.

        Raises
        ------
        PetError
            With everything that is wrong with it.
        """
        from pet.task.document import from_plain
        from pet.task.parse import parse_task

        return parse_task(from_plain(mapping, str(path) if path else "task"), path)

    def with_patterns(self, numbers: Sequence[int]) -> Task:
        """The task with some of its patterns alone, which are counted from 1.

        Raises
        ------
        PetError
            If there is no such pattern, or one is named twice.
        """
        count = len(self.patterns)
        if not numbers or len(set(numbers)) < len(numbers) or not all(1 <= number <= count for number in numbers):
            raise PetError(
                f"--patterns {','.join(map(str, numbers))}: {self.name} has the patterns 1 to {count}; name some of "
                "them, each once, as --patterns 1"
            )
        return replace(self, patterns=tuple(self.patterns[number - 1] for number in numbers))

    def to_dict(self) -> dict[str, Any]:
        """The mapping that `from_dict` makes an equal task of: text, lists and mappings only."""
        shared = _most_common([pattern.verbalizer for pattern in self.patterns])
        result: dict[str, Any] = {"task": self.name}
        if self.description:
            result["description"] = self.description
        if self.dataset:
            result["dataset"] = {
                key: dict(value) if isinstance(value, Mapping) else value for key, value in self.dataset.items()
            }
        result["fields"] = list(self.fields)
        result["labels"] = list(self.labels)
        result["metrics"] = list(self.metrics)
        if self.label_map:
            result["label_map"] = dict(self.label_map)
        result["input"] = self.input.source
        result["verbalizer"] = _plain_words(shared)
        result["patterns"] = [
            pattern.template.source
            if pattern.verbalizer == shared
            else {"template": pattern.template.source, "verbalizer": _plain_words(pattern.verbalizer)}
            for pattern in self.patterns
        ]
        return result


def _most_common(verbalizers: list[Verbalizer]) -> Verbalizer:
    counts = Counter(tuple(verbalizer.words.items()) for verbalizer in verbalizers)
    return Verbalizer(dict(counts.most_common(1)[0][0]))


def _plain_words(verbalizer: Verbalizer) -> dict[str, list[str]]:
    return {label: list(words) for label, words in verbalizer.words.items()}


def list_tasks() -> list[str]:
    """The names of the tasks that come with the package, sorted."""
    return sorted(path.stem for path in folder("patterns").glob("*.yaml"))


def find_task(name_or_path: str | Path) -> Path:
    """The file of a task. A name that comes with the package goes before a file of the same name.

    Raises
    ------
    PetError
        If there is none; with the names that are like it.
    """
    text = str(name_or_path)
    names = list_tasks()
    if text in names:
        return folder("patterns") / f"{text}.yaml"
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise PetError(f"{text}: is a folder; name a task file (YAML) in it, or a task: {', '.join(names)}")
    if len(path.parts) > 1 or path.suffix in _SUFFIXES:
        raise PetError(f"{text}: there is no such task file; {_beside(path)}")
    raise PetError(
        f"{text}: no task of that name comes with the package (`pet tasks` lists them), and no file is "
        f"called so; {suggest(text, names)}"
    )


def _beside(path: Path) -> str:
    """What could have been meant: task files in the same folder, or a shipped task."""
    try:
        names = sorted(other.name for other in path.parent.iterdir() if other.suffix in _SUFFIXES)
    except OSError:
        return f"there is no folder {path.parent} either"
    if names:
        return f"in {path.parent}: {suggest(path.name, names)}"
    return f"tasks that come with the package: {suggest(path.stem, list_tasks())}"
