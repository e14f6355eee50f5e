"""Choose and hide tokens for a masked-LM loss, anew in every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class MaskingRule:
    """How to hide tokens (Devlin et al. 2019, arXiv 1810.04805, section 3.1).

    Attributes
    ----------
    mask_id : id of the mask token
    random_ids : ids to draw random replacements from: the vocabulary without special tokens
    probability : share of the ordinary tokens to choose
    mask_share, random_share : share of the chosen tokens that become the mask, or a random token
    """

    mask_id: int
    random_ids: Array
    probability: float = 0.15
    mask_share: float = 0.8
    random_share: float = 0.1


def hide_tokens(
    input_ids: Array, ordinary: Array, rule: MaskingRule, generator: np.random.Generator
) -> tuple[Array, Array, Array, Array]:
    """Hide tokens of a padded batch, each with the same probability.

    Parameters
    ----------
    input_ids : int array of shape (B, T)
    ordinary : bool array of shape (B, T); only these tokens may be chosen (no padding, no special tokens, not the
        pattern's own mask)
    rule, generator : how to hide tokens, and the random generator

    Returns
    -------
    ids : the batch with the chosen tokens replaced, shape (B, T)
    rows, positions : int64 arrays of shape (N,); where the chosen tokens are
    targets : int64 array of shape (N,); the original tokens

    At least one token is chosen if any is ordinary, so that the mean over them exists.
    """
    chosen = ordinary & (generator.random(input_ids.shape) < rule.probability)
    if not chosen.any() and ordinary.any():
        places = np.flatnonzero(ordinary)
        chosen.flat[places[generator.integers(len(places))]] = True
    rows, positions = np.nonzero(chosen)
    targets = input_ids[rows, positions].astype(np.int64)
    fate = generator.random(len(rows))
    random_ids = rule.random_ids[generator.integers(len(rule.random_ids), size=len(rows))]
    ids = input_ids.copy()
    ids[rows, positions] = _replacements(targets, fate, random_ids, rule)
    return ids, rows, positions, targets


def hide_share(
    input_ids: Array,
    ordinary: Array,
    rule: MaskingRule,
    generator: np.random.Generator,
    continues: Array | None = None,
) -> tuple[Array, Array]:
    """Hide the same share of the tokens in each row.

    Parameters
    ----------
    input_ids, ordinary, rule, generator : as for `hide_tokens`; each row gets the nearest whole number, at least one
    continues : bool array of shape (B, T): tokens that continue the word before them. If given, whole words are
        chosen, and a row may get a few tokens more or fewer

    Returns
    -------
    ids : the batch with the chosen tokens replaced, shape (B, T)
    chosen : bool array of shape (B, T)
    """
    chosen = _choose_share(ordinary, rule.probability, generator, continues)
    fate = generator.random(input_ids.shape)
    random_ids = rule.random_ids[generator.integers(len(rule.random_ids), size=input_ids.shape)]
    return np.where(chosen, _replacements(input_ids, fate, random_ids, rule), input_ids), chosen


def _replacements(originals: Array, fate: Array, random_ids: Array, rule: MaskingRule) -> Array:
    """Return the mask, a random token or the original, depending on a number from 0 to 1 for each token."""
    random_limit = rule.mask_share + rule.random_share
    return np.where(fate < rule.mask_share, rule.mask_id, np.where(fate < random_limit, random_ids, originals))


def _choose_share(
    ordinary: Array, share: float, generator: np.random.Generator, continues: Array | None = None
) -> Array:
    count, width = ordinary.shape
    quota = np.where(ordinary.any(1), np.maximum(1, np.rint(share * ordinary.sum(1))), 0).astype(np.int64)
    if continues is None:
        words = np.broadcast_to(np.arange(width), ordinary.shape)
    else:
        starts = ~continues | ~ordinary
        starts[:, 1:] |= ~ordinary[:, :-1]  # a word starts after each special token
        words = np.cumsum(starts, axis=1)
    keys = generator.random((count, width + 1))
    key = np.where(ordinary, np.take_along_axis(keys, words, axis=1), 2.0)  # one key per word; special tokens last
    order = np.argsort(key, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(width), ordinary.shape), axis=1)
    chosen: Array = (rank < quota[:, None]) & ordinary
    if continues is not None:
        for row in np.flatnonzero(quota):
            _round_to_words(chosen[row], ordinary[row], words[row], order[row, quota[row] - 1])
    return chosen


def _round_to_words(chosen: Array, ordinary: Array, words: Array, edge: int) -> None:
    """Choose the word at the edge of a row's quota as a whole if most of it is inside or it is alone, else not."""
    word = ordinary & (words == words[edge])
    chosen[word] = chosen[word].mean() >= 0.5 or not (chosen & ~word).any()


def ordinary_vocabulary(vocabulary_size: int, special_ids: list[int]) -> Array:
    """Return all ids of a vocabulary that are not special."""
    return np.setdiff1d(np.arange(vocabulary_size), np.asarray(special_ids, dtype=np.int64))
