"""Verbalizers: the words that represent each label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Verbalizer:
    """The words of each label.

    Attributes
    ----------
    words : label -> its words, in the order of the task's labels
    places : label -> file and line of its words, for messages ("agnews.yaml:12")
    """

    words: Mapping[str, tuple[str, ...]]
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
