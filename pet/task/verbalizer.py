"""Verbalizers: which words stand for which label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Verbalizer:
    """The words of each label.

    Attributes
    ----------
    words : label -> its words, in the order of the task's labels
    places : label -> where its words are written ("agnews.yaml:12"), for messages
    """

    words: Mapping[str, tuple[str, ...]]
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
