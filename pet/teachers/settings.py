"""Settings of teachers that change their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pet.settings import Settings, setting

AUTO, NUMBERS, WORDS = "auto", "numbers", "words"


@dataclass(frozen=True)
class TeacherSettings(Settings):
    """How members that label by themselves are asked, such as ``openai:URL#MODEL``."""

    title: ClassVar[str] = "Teachers"

    examples: int = setting(
        4,
        "labeled texts in each prompt, spread over the labels; a labeled text is never an example for itself",
        low=0,
        high=100,
        name="teacher_examples",
    )
    answers: str = setting(
        AUTO,
        "what the teacher answers with: words (the names of the labels), numbers (the labels are numbered; letters "
        "with more than 9 labels), or auto (words, unless two labels begin alike or there are more than 20)",
        choices=(AUTO, NUMBERS, WORDS),
        name="teacher_answers",
    )
    orders: int = setting(
        2,
        "rotated orders of the labels in which each text is asked, because models prefer some positions in a list",
        low=1,
        high=26,
        name="teacher_orders",
    )
    votes: int = setting(
        5,
        "answers to each text if the server gives no log-probabilities",
        low=1,
        high=100,
        name="teacher_votes",
    )
    texts: int = setting(
        0,
        "unlabeled texts to ask about, drawn at random; the teacher abstains on the others. 0: all",
        low=0,
        high=10**9,
        name="teacher_texts",
    )
    calibrate: bool = setting(
        True,
        "subtract what the teacher says on average about the labeled texts of all labels, which is its preference for "
        "some labels; only with log-probabilities and labeled texts",
        name="teacher_calibrate",
    )
    characters: int = setting(
        4000, "longest field in a prompt, in characters; the rest is cut off", low=1, high=10**6,
        name="teacher_characters",
    )  # fmt: skip
    hypothesis: str = setting(
        "This text is about {}.",
        "hypothesis of a label for members `nli:MODEL`; its description, or else its first word, takes the place of {}",
        name="nli_hypothesis",
    )

    def problems(self) -> list[str]:
        return [] if "{}" in self.hypothesis else ["nli_hypothesis has no {} for the label; add it"]
