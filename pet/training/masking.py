"""Which tokens the auxiliary masked-LM loss hides, drawn anew at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class MaskingRule:
    """How tokens are hidden (Devlin et al. 2019, arXiv 1810.04805, section 3.1).

    Attributes
    ----------
    mask_id : id of the mask token
    random_ids : ids that a random replacement is drawn from: the vocabulary without special tokens
    probability : share of the ordinary tokens that is chosen
    mask_share, random_share : of the chosen ones, how many become the mask, or a random token
    """

    mask_id: int
    random_ids: Array
    probability: float = 0.15
    mask_share: float = 0.8
    random_share: float = 0.1


def hide_tokens(
    input_ids: Array, ordinary: Array, rule: MaskingRule, generator: np.random.Generator
) -> tuple[Array, Array, Array, Array]:
    """Hide tokens of a padded batch.

    Parameters
    ----------
    input_ids : int array of shape (B, T)
    ordinary : bool array of shape (B, T); only there is anything hidden (not in padding, special
        tokens or the pattern's own mask)
    rule, generator : how, and the source of chance

    Returns
    -------
    ids : the batch with the chosen tokens replaced, shape (B, T)
    rows, positions : int64 arrays of shape (N,); the chosen places
    targets : int64 array of shape (N,); what stood there

    At least one token is chosen where there is an ordinary one, so that the mean over them exists.
    """
    chosen = ordinary & (generator.random(input_ids.shape) < rule.probability)
    if not chosen.any() and ordinary.any():
        places = np.flatnonzero(ordinary)
        chosen.flat[places[generator.integers(len(places))]] = True
    rows, positions = np.nonzero(chosen)
    targets = input_ids[rows, positions].astype(np.int64)
    fate = generator.random(len(rows))
    random_ids = rule.random_ids[generator.integers(len(rule.random_ids), size=len(rows))]
    random_limit = rule.mask_share + rule.random_share
    replaced = np.where(fate < rule.mask_share, rule.mask_id, np.where(fate < random_limit, random_ids, targets))
    ids = input_ids.copy()
    ids[rows, positions] = replaced
    return ids, rows, positions, targets


def ordinary_vocabulary(vocabulary_size: int, special_ids: list[int]) -> Array:
    """All ids of a vocabulary that are not special."""
    return np.setdiff1d(np.arange(vocabulary_size), np.asarray(special_ids, dtype=np.int64))
