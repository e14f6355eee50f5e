"""Groups of texts that are judged together, such as the answers to one question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Group:
    """How texts form groups.

    Attributes
    ----------
    by : fields whose values the texts of a group share
    right : the label of right answers
    choose_one : predict one text of each group as right; otherwise any number
    text : field with the answer, whose words are compared with those of right answers; empty for none
    """

    by: tuple[str, ...]
    right: str
    choose_one: bool = False
    text: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the group as a task file writes it."""
        choose = {"choose": "one"} if self.choose_one else {}
        return {"by": list(self.by), "right": self.right, **choose, **({"text": self.text} if self.text else {})}
