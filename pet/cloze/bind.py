"""Bind all patterns of a task to a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pet.cloze.blank import Blank, mask_blank
from pet.cloze.pvp import PVP, bind_pattern, prime_pattern
from pet.cloze.settings import TOGETHER, PrimingSettings
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
    multi_token: str = TOGETHER,
) -> list[PVP]:
    """Bind all patterns of a task to a tokenizer.

    Parameters
    ----------
    task : the task
    tokenizer, max_length, before, soft, blank, mean_of_tokens : see `pet.cloze.pvp.bind_pattern`;
        `blank` defaults to the tokenizer's mask token
    multi_token : see `pet.cloze.settings.EncodingSettings`

    Raises
    ------
    PetError
        The mistakes of all patterns at once.
    """
    options: dict[str, Any] = {"before": before, "soft": soft, "mean_of_tokens": mean_of_tokens}
    options["blank"] = blank or mask_blank(tokenizer)  # report a missing mask token before any problem with words
    pvps: list[PVP] = []
    problems: list[str] = []
    good: list[int] = []
    for number, pattern in enumerate(task.patterns, 1):
        try:
            pvp = bind_pattern(pattern, task.labels, tokenizer, max_length, **options)
            pvps.append(replace(pvp, multi_token=multi_token))
            good.append(number)
        except PetError as error:
            where = pattern.place or f"{task.name}: pattern {number}"
            # Problems with words already start with their line, which several patterns may share.
            file = f"{where.rpartition(':')[0]}:"
            problems += [p if pattern.place and p.startswith(file) else f"{where}: {p}" for p in error.problems]
    if problems:
        raise PetError([*dict.fromkeys(problems), *hint_at(good)])
    return pvps


def hint_at(good: Sequence[int]) -> list[str]:
    """Suggest the usable patterns, numbered from 1, if there are any."""
    listed = ",".join(map(str, good))
    return [f"the task's other patterns are usable: select them with --patterns {listed}"] if good else []


def prime_patterns(
    pvps: Sequence[PVP], tokens: TokenTable, labels: Any, priming: PrimingSettings, seed: int
) -> list[PVP]:
    """Return patterns that prepend labeled examples to every text. Random selection draws the same for all patterns.

    Parameters
    ----------
    pvps : bound patterns
    tokens : token table of the labeled examples
    labels : int array of shape (examples,)
    priming : how many examples, and how they are selected
    seed : random seed
    """
    chance = derive_seed(seed, "priming")
    count, selection = priming.count, priming.selection
    return [prime_pattern(pvp, tokens, labels, count, selection, np.random.default_rng(chance)) for pvp in pvps]
