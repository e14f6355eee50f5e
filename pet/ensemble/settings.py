"""Settings for merging the scores of members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pet.settings import Settings, setting


@dataclass(frozen=True)
class MergingSettings(Settings):
    """How the scores of members are merged."""

    title: ClassVar[str] = "Merging"

    merge: str = setting(
        "weighted",
        "weights of members: weighted (by accuracy before training) or uniform",
        choices=("weighted", "uniform"),
    )
    prior: str = setting(
        "none",
        "correct the merged scores toward a label distribution: none, balanced (all labels equally frequent), or "
        "labeled (as in the labeled texts)",
        choices=("none", "balanced", "labeled"),
    )
