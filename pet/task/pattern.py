"""Pattern-verbalizer pairs."""

from __future__ import annotations

from dataclasses import dataclass, field

from pet.task.grammar import Template
from pet.task.verbalizer import Verbalizer

LABEL = "label"  # the slot {label}: the name of the label that a pattern asks about
ANSWERS = ("no", "yes")  # what such a pattern has words for


@dataclass(frozen=True)
class Pattern:
    """A pattern-verbalizer pair (PVP).

    Attributes
    ----------
    template : the text with the mask
    verbalizer : the words that represent each label at the mask, or ``no`` and ``yes`` if the pattern has ``{label}``
    verbalizer_kind : ``words``, ``weighted``, ``learned`` or ``prototype``; empty: as the setting `verbalizer` says
    place : file and line, for messages ("agnews.yaml:12")
    """

    template: Template
    verbalizer: Verbalizer
    verbalizer_kind: str = ""
    place: str = field(default="", compare=False, repr=False)

    @property
    def asks(self) -> bool:
        """Whether the pattern asks about one label at a time: ``{label}`` stands for its name."""
        return any(field.name == LABEL for field in self.template.fields)
