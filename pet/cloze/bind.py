"""All patterns of a task, bound to a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pet.cloze.blank import Blank, mask_blank
from pet.cloze.pvp import PVP, bind_pattern, prime_pattern
from pet.cloze.settings import PrimingSettings
from pet.cloze.tokens import TokenTable
from pet.errors import PetError
from pet.seeds import derive_seed
from pet.task.task import Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def bind_patterns(
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    *,
    before: int = 0,
    soft: bool = False,
    blank: Blank | None = None,
    mean_of_tokens: bool = False,
) -> list[PVP]:
    """All patterns of a task with a tokenizer; every pattern's mistakes are reported at once.

    The options are those of `pet.cloze.pvp.bind_pattern`; `blank` None: the tokenizer's mask token.
    """
    options: dict[str, Any] = {"before": before, "soft": soft, "mean_of_tokens": mean_of_tokens}
    options["blank"] = blank or mask_blank(tokenizer)  # without one every word would be reported first
    pvps: list[PVP] = []
    problems: list[str] = []
    good: list[int] = []
    for number, pattern in enumerate(task.patterns, 1):
        try:
            pvps.append(bind_pattern(pattern, task.labels, tokenizer, max_length, **options))
            good.append(number)
        except PetError as error:
            where = pattern.place or f"{task.name}: pattern {number}"
            # Words carry the line where they stand, which several patterns may share.
            file = f"{where.rpartition(':')[0]}:"
            problems += [p if pattern.place and p.startswith(file) else f"{where}: {p}" for p in error.problems]
    if problems:
        raise PetError([*dict.fromkeys(problems), *hint_at(good)])
    return pvps


def hint_at(good: Sequence[int]) -> list[str]:
    """What to do where some patterns cannot be used, and these can."""
    listed = ",".join(map(str, good))
    return [f"the task's other patterns can be used: --patterns {listed} takes them alone"] if good else []


def prime_patterns(
    pvps: Sequence[PVP], tokens: TokenTable, labels: Any, priming: PrimingSettings, seed: int
) -> list[PVP]:
    """Patterns with labeled examples before every text, the same ones for all of them where chance chooses.

    Parameters
    ----------
    pvps : bound patterns
    tokens, labels : the labeled texts, and the position of each one's label
    priming : how many examples, and how they are selected
    seed : random seed
    """
    chance = derive_seed(seed, "priming")
    count, selection = priming.count, priming.selection
    return [prime_pattern(pvp, tokens, labels, count, selection, np.random.default_rng(chance)) for pvp in pvps]
