"""Settings for merging the scores of members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pet.settings import Settings, setting

NOT_CALIBRATED, CONTEXTUAL, PMI = "none", "contextual", "pmi"


@dataclass(frozen=True)
class MergingSettings(Settings):
    """How the scores of members are merged."""

    title: ClassVar[str] = "Merging"

    merge: str = setting(
        "learned",
        "weights of members: learned (each member leaves out a few labeled texts, and its weight depends on how well "
        "it predicts them), weighted (by accuracy before training, as in the paper), or uniform",
        choices=("learned", "weighted", "uniform"),
    )
    quick_members: bool = setting(
        True,
        "add the members `embeddings` and `tfidf`, which take seconds, to the patterns; only for `merge=learned`, "
        "which gives them little weight where they are of little use",
    )
    prior: str = setting(
        "auto",
        "class ratio of the unlabeled texts, to which merged scores are corrected: auto (no correction of trained "
        "members; untrained patterns are corrected to even shares, or by texts without content if --unlabeled is "
        "missing or has fewer than four texts for each label), none, balanced (even shares), labeled (as in the "
        "labeled texts), estimated (from predictions and labeled texts), "
        "shares such as good:0.8,bad:0.2, or a file with columns label and count, or of reviewed texts drawn at random",
    )
    calibration: str = setting(
        NOT_CALIBRATED,
        "what is subtracted from the scores of patterns, which needs neither labels nor unlabeled texts: contextual "
        "(the probabilities of texts without content), pmi (the scores of an empty text), or none; unless it is none, "
        "`prior=auto` corrects nothing",
        choices=(NOT_CALIBRATED, CONTEXTUAL, PMI),
    )
