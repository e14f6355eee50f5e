"""What a teacher is asked: the task, the labels in some order, a few examples, and a text."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from pet.task.task import Task
from pet.teachers.settings import AUTO, WORDS, TeacherSettings

Fields = tuple[str, ...]  # the values of a text's fields, in the order of the task
_NAMED = 20  # labels; a server gives log-probabilities of that many tokens
_BEGINNING = 3  # characters, by which the first tokens of names probably differ
_NUMBERS = 9  # with more labels, the second digit would be a second token


@dataclass(frozen=True)
class Example:
    """A labeled text in a prompt; `label` is a position in the task's labels."""

    fields: Fields
    label: int


@dataclass(frozen=True)
class Prompt:
    """How texts of a task are put to a teacher.

    Attributes
    ----------
    task : the task
    settings : number of examples, form of the answers, longest field
    examples : labeled texts to choose from; see `spare_examples`
    """

    task: Task
    settings: TeacherSettings
    examples: tuple[Example, ...] = ()

    @property
    def by_name(self) -> bool:
        """True if the teacher answers with the names of labels: by request, or because that works better."""
        labels = self.task.labels
        if len(labels) > len(string.ascii_uppercase):
            return True
        if self.settings.answers != AUTO:
            return self.settings.answers == WORDS
        names = [label.casefold() for label in labels]
        alike = any(other.startswith(name[:_BEGINNING]) for name, other in permutations(names, 2))
        return len(labels) <= _NAMED and not alike

    @property
    def marks(self) -> tuple[str, ...]:
        """What the teacher answers with: the mark of each place in the list of labels, or the name of each label."""
        labels = self.task.labels
        if self.by_name:
            return labels
        return tuple(string.digits[1:] if len(labels) <= _NUMBERS else string.ascii_uppercase)[: len(labels)]

    def orders(self, count: int) -> list[tuple[int, ...]]:
        """Return `count` orders of the labels: rotations that are spread evenly, again from the start if need be.

        Examples
        --------
        >>> from pet.task.task import Task
        >>> Prompt(Task.load("agnews"), TeacherSettings()).orders(2)
        [(0, 1, 2, 3), (2, 3, 0, 1)]
        """
        labels = range(len(self.task.labels))
        different = min(count, len(labels))
        starts = [len(labels) * number // different for number in range(different)]
        return [(*labels[start:], *labels[:start]) for start in (starts[i % different] for i in range(count))]

    def messages(self, fields: Fields, order: Sequence[int]) -> list[dict[str, str]]:
        """Return the chat about a text.

        The text comes last, so that servers that keep the beginning of a prompt compute it once.

        Parameters
        ----------
        fields : the text
        order : positions of the labels in the order in which they are listed
        """
        messages = [{"role": "system", "content": self._instructions(order)}]
        marks = self.marks
        for example in self._chosen(fields, order):
            place = example.label if self.by_name else order.index(example.label)
            messages.append({"role": "user", "content": self._question(example.fields)})
            messages.append({"role": "assistant", "content": marks[place]})
        return [*messages, {"role": "user", "content": self._question(fields)}]

    def _instructions(self, order: Sequence[int]) -> str:
        marks = self.marks
        listed = [
            f"- {self._explained(label)}" if self.by_name else f"{marks[place]}. {self._explained(label)}"
            for place, label in enumerate(order)
        ]
        what = "name" if self.by_name else "number" if marks[0].isdigit() else "letter"
        return "\n".join(
            [
                "You label texts. Choose the one label that fits the text best.",
                *([f"Task: {self.task.description}"] if self.task.description else []),
                "Labels:",
                *listed,
                f"Answer with the {what} of the label and nothing else.",
            ]
        )

    def _explained(self, label: int) -> str:
        """Return a label with its description, or else with its words if these say more than its name."""
        name = self.task.labels[label]
        text = self.task.descriptions.get(name, "")
        if not text:
            words = label_words(self.task, name)
            text = ", ".join(word for word in words[:4] if word.casefold() != name.casefold())
        return f"{name}: {text}" if text else name

    def _question(self, fields: Fields) -> str:
        most = self.settings.characters
        if len(fields) == 1:
            text = f"Text: {fields[0][:most]}"
        else:
            text = "\n".join(f"{name}: {value[:most]}" for name, value in zip(self.task.fields, fields, strict=True))
        return f"{text}\nLabel:"

    def _chosen(self, fields: Fields, order: Sequence[int]) -> list[Example]:
        """Return the examples for a text, none of which is the text itself, with labels in the listed order."""
        left = {label: [e for e in self.examples if e.label == label and e.fields != fields] for label in order}
        wanted = self.settings.examples
        chosen: list[Example] = []
        while len(chosen) < wanted and any(left.values()):
            for label in order:
                if left[label] and len(chosen) < wanted:
                    chosen.append(left[label].pop(0))
        return chosen


def label_words(task: Task, label: str) -> tuple[str, ...]:
    """Return the words of a label in the first pattern, without slots for fields; none if it asks about each label."""
    words = task.patterns[0].verbalizer.words.get(label, ())
    return tuple(word for word in words if not word.startswith("{"))


def spare_examples(examples: Sequence[Example], labels: int, count: int) -> tuple[Example, ...]:
    """Return the first examples of each label: enough for `count` in a prompt, and one more.

    The one more takes the place of an example in the prompt about this example itself.
    """
    most = -(-count // labels) + 1
    return tuple(e for label in range(labels) for e in [e for e in examples if e.label == label][:most] if count)
