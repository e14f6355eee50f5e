"""What the scores of a member mean."""

from __future__ import annotations

from enum import Enum


class Scale(Enum):
    """What a member's scores mean. `pet.ensemble.combine.Ensemble` brings different scales to one."""

    LOGITS = "logits"
    LOG_PROBABILITIES = "log-probabilities"
