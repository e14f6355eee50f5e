"""Verbalizers: the words that represent each label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pet.task.grammar import Field

OTHER = "{other}"  # the word of a label that stands for whatever else the model would write


@dataclass(frozen=True)
class Verbalizer:
    """The words of each label.

    Attributes
    ----------
    words : label -> its words, in the order of the task's labels. A word such as ``{choice1}`` is the text of a field,
        and ``{other}`` is the most probable text that is not the word of another label.
    places : label -> file and line of its words, for messages ("agnews.yaml:12")
    fields : label -> field whose text is its word
    """

    words: Mapping[str, tuple[str, ...]]
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    fields: Mapping[str, Field] = field(default_factory=dict, compare=False, repr=False)

    @property
    def by_row(self) -> bool:
        """Whether words come from the rows of the data."""
        return bool(self.fields)
