"""Settings for reading texts: their length, words of several tokens, and priming."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pet.settings import Settings, setting

# How a masked language model scores a word of several tokens
TOGETHER, CONFIDENT, LEFT_TO_RIGHT = "together", "confident", "left-to-right"


@dataclass(frozen=True)
class EncodingSettings(Settings):
    """How texts become tokens, and how words of several tokens are scored."""

    title: ClassVar[str] = "Encoding"

    max_length: int = setting(
        256, "longest input in tokens, including the pattern and special tokens", low=8, high=10**6
    )
    mean_of_tokens: bool = setting(
        False, "score a word of several tokens by the mean of their log-probabilities, not the sum"
    )
    multi_token: str = setting(
        TOGETHER,
        "masked models: how the tokens of a word are scored: together (all masks at once), or one after the other with "
        "those before filled in: confident (the most probable one first) or left-to-right",
        choices=(TOGETHER, CONFIDENT, LEFT_TO_RIGHT),
    )


@dataclass(frozen=True)
class PrimingSettings(Settings):
    """Labeled examples in front of each text, for zero-shot labeling."""

    title: ClassVar[str] = "Priming"

    count: int = setting(
        0, "zero-shot: number of labeled examples in front of each text", low=0, high=10**4, name="priming"
    )
    selection: str = setting(
        "balanced",
        "how priming examples are selected: random, balanced (evenly over the labels), or similar (to the text, by "
        "TF-IDF)",
        choices=("random", "balanced", "similar"),
        name="priming_selection",
        old_name="priming_choice",
    )
