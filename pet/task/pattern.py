"""Pattern-verbalizer pairs."""

from __future__ import annotations

from dataclasses import dataclass, field

from pet.task.grammar import Template
from pet.task.verbalizer import Verbalizer


@dataclass(frozen=True)
class Pattern:
    """A pattern-verbalizer pair (PVP).

    Attributes
    ----------
    template : the text with the mask
    verbalizer : the words that represent each label at the mask
    verbalizer_kind : ``words``, ``learned`` or ``prototype``; empty: as the setting `verbalizer` says
    place : file and line, for messages ("agnews.yaml:12")
    """

    template: Template
    verbalizer: Verbalizer
    verbalizer_kind: str = ""
    place: str = field(default="", compare=False, repr=False)
