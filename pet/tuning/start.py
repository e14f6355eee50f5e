"""What learned vectors start from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pet.errors import PetError

if TYPE_CHECKING:
    from pet.cloze.pvp import PVP
    from pet.cloze.tokens import TokenTable
    from pet.tuning.settings import StartSettings

Array = NDArray[Any]
_FREQUENT = 5000  # words, as in Lester et al. 2021 (arXiv 2104.08691, section 3.2)


def start_ids(
    pvp: PVP, start: StartSettings, tables: Sequence[TokenTable], generator: np.random.Generator
) -> list[int | None]:
    """The token that each learned vector of a pattern starts from, or None for random numbers.

    Words in the pattern go before `start.init`. What the labels' words do not fill is drawn from the
    vocabulary.

    Parameters
    ----------
    tables : texts that frequent words are counted in
    generator : the source of chance
    """
    given = pvp.encoder.learned
    missing = given.count(None)
    found: list[int | None] = [None] * missing
    if start.init == "words":
        words = pvp.encoder.plain.literal(start.words, space_before=True, continuation=False)
        if not words:
            raise PetError(f"prompt_words {start.words!r} are nothing to this model's tokenizer; give words")
        found = list(islice(cycle(words), missing))
    elif start.init != "random":
        words = _label_words(pvp)[:missing] if start.init == "labels" else []
        found = [*words, *_draw(pvp, tables, missing - len(words), generator)]
    rest = iter(found)
    return [next(rest) if token is None else token for token in given]


def _label_words(pvp: PVP) -> list[int]:
    """The tokens of all label words: the first one of each label, then the second ones."""
    labels = pvp.word_to_label.argmax(axis=1)
    turn = [int((labels[:i] == label).sum()) for i, label in enumerate(labels)]
    return [int(i) for i in pvp.words[np.argsort(turn, kind="stable")]]


def _draw(pvp: PVP, tables: Sequence[TokenTable], count: int, generator: np.random.Generator) -> list[int]:
    """Tokens out of the most frequent ones of some texts; each once, as far as there are enough."""
    counts = np.zeros(0, dtype=np.int64)
    for key in pvp.encoder.keys:
        for table in tables:
            more = np.bincount(table[key].values, minlength=len(counts))
            more[: len(counts)] += counts
            counts = more
    special = [i for i in pvp.encoder.plain.special_ids if i < len(counts)]
    counts[special] = 0
    frequent = np.argsort(-counts, kind="stable")[: min(_FREQUENT, int((counts > 0).sum()))]
    if not len(frequent):
        frequent = pvp.words  # texts without a word in them
    return [int(i) for i in generator.choice(frequent, size=count, replace=count > len(frequent))]


def uniform(shape: Sequence[int], width: float, generator: np.random.Generator) -> Tensor:
    """Numbers drawn evenly between -width and width."""
    return torch.from_numpy(generator.uniform(-width, width, size=tuple(shape)).astype(np.float32))


def start_vectors(weight: Tensor, ids: Sequence[int | None], width: float, generator: np.random.Generator) -> Tensor:
    """Embeddings of the tokens, random rows for None: shape (n, D), on the device of `weight` (words, D)."""
    random = uniform((len(ids), weight.shape[1]), width, generator).to(weight.device)
    rows = [random[k] if token is None else weight[token] for k, token in enumerate(ids)]
    return torch.stack(rows).detach().clone()
