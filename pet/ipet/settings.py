"""Settings for iPET."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from pet.settings import Settings, setting, shorten

_NUMBERS = re.compile(r"[-+.\deE\s]+(,[-+.\deE\s]+)*")
NO_POOL = "--method ipet requires unlabeled texts, which members label for each other: give --unlabeled"


@dataclass(frozen=True)
class IpetSettings(Settings):
    """How many generations there are, and which examples they learn from."""

    title: ClassVar[str] = "iPET"

    growth: float = setting(
        5.0, "each generation's training set is this many times as large as the one before", low=1.01, high=1e6
    )
    enough: int = setting(1000, "stop adding generations at a training set of this many texts", low=1, high=10**9)
    generations: int = setting(
        0,
        "rounds of training; 0: as many as the training set needs to reach `enough` texts; without labeled texts one, "
        "unless `first_set` is given, because nothing could judge a second one",
        low=0,
        high=30,
    )
    first_set: int = setting(
        0,
        "without labeled texts: size of the first training set; 0: a fifth of the pool, 10 to 400 texts",
        low=0,
        high=10**9,
    )
    vote_share: float = setting(
        1.0,
        "fraction of the other members that label texts for a member; 0.25 in the recipes paper and fewglue",
        low=0,
        high=1,
    )
    ratio: str = setting(
        "auto",
        "label ratio of new examples: auto (that of `prior`; without one keep, which selection=ranked shrinks toward "
        "the predicted ratio), keep (as in the labeled texts), balanced, or numbers such as 3,1,1",
    )
    selection: str = setting(
        "ranked",
        "how to select examples: ranked (random; texts that rank better, by confidence and by a classifier on "
        "embeddings, are drawn more often), draw (random, in proportion to confidence, as in the paper), or top (the "
        "most confident of each label)",
        choices=("ranked", "draw", "top"),
        old_name="choice",
    )
    pool_share: float = setting(
        0.3, "with selection=ranked: at most this share of the pool becomes examples of a generation", low=0.01, high=1
    )
    accept: str = setting(
        "evidence",
        "when to use a new generation: evidence (if a classifier on embeddings that knows the labels speaks for it, "
        "and so do labeled texts that members left out, and label shares do not speak against it; otherwise the run "
        "ends with the generation before), or always (as in the paper)",
        choices=("evidence", "always"),
    )
    confidence_floor: float = setting(
        0.0, "never use texts whose label is less confident than this as examples", low=0, high=1
    )
    soft_targets: bool = setting(False, "train members on probabilities instead of labels")
    calibrate: bool = setting(False, "calibrate the scores that examples are selected by to the label ratio")
    restart: bool = setting(True, "start each generation from the pretrained weights, not from the last generation")
    stop_early: bool = setting(False, "stop when members agree no more than in the generation before")
    keep_best: bool = setting(False, "train the student on the generation whose members agree most")

    def problems(self) -> list[str]:
        """Return a problem if the ratio is neither a word nor numbers; their count depends on the task."""
        if self.ratio in ("auto", "keep", "balanced") or _NUMBERS.fullmatch(self.ratio):
            return []
        return [f"ratio is {shorten(repr(self.ratio))}: it must be auto, keep, balanced, or numbers such as 3,1,1"]
