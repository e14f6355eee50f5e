"""Dynamic masking: which positions of a batch are hidden, and what stands there instead."""

from __future__ import annotations

import numpy as np


def choose(
    ids: np.ndarray,
    special: np.ndarray,
    rate: float,
    rng: np.random.Generator,
    continues: np.ndarray | None = None,
) -> np.ndarray:
    """Choose the positions to predict, the same share in each sequence.

    Parameters
    ----------
    ids : array of int, shape (batch, length)
    special : array of bool, shape (vocabulary,)
        Tokens that are never chosen.
    rate : float
        Share of the other tokens to choose; each sequence gets the nearest whole number, at least one.
    continues : array of bool, shape (vocabulary,), optional
        Tokens that go on with the word before them. Where given, words are chosen as a whole, and a
        sequence may get some tokens more or fewer.

    Returns
    -------
    array of bool, shape (batch, length)
    """
    free = ~special[ids]
    quota = np.where(free.any(1), np.maximum(1, np.rint(rate * free.sum(1))), 0).astype(np.int64)
    if continues is None:
        words = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    else:
        starts = ~continues[ids] | ~free
        starts[:, 1:] |= ~free[:, :-1]  # what follows a special token is a new word
        words = np.cumsum(starts, axis=1)
    keys = rng.random((ids.shape[0], ids.shape[1] + 1))
    key = np.where(free, np.take_along_axis(keys, words, axis=1), 2.0)  # one key a word; specials come last
    order = np.argsort(key, axis=1, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.broadcast_to(np.arange(ids.shape[1]), ids.shape), axis=1)
    chosen = (place < quota[:, None]) & free
    if continues is not None:
        # The word at the edge of the quota is taken whole if most of it is inside, else left whole.
        for row in range(ids.shape[0]):
            edge = order[row, quota[row] - 1] if quota[row] else -1
            if edge >= 0:
                members = free[row] & (words[row] == words[row, edge])
                inside = chosen[row, members].mean()
                alone = not (chosen[row] & ~members).any()
                chosen[row, members] = inside >= 0.5 or alone
    return chosen


def corrupt(
    ids: np.ndarray,
    chosen: np.ndarray,
    mask_id: int,
    ordinary: np.ndarray,
    rng: np.random.Generator,
    masked: float = 0.8,
    random: float = 0.1,
) -> np.ndarray:
    """The input: of the chosen positions 80 % are masks, 10 % random tokens, 10 % as they were.

    Parameters
    ----------
    ids, chosen : arrays, shape (batch, length)
    ordinary : array of int
        Token ids to draw random tokens from.
    masked, random : float
        The shares; see Devlin et al. (2019), section 3.1, https://arxiv.org/abs/1810.04805.
    """
    dice = rng.random(ids.shape)
    noise = ordinary[rng.integers(len(ordinary), size=ids.shape)]
    inputs = np.where(chosen & (dice < masked), mask_id, ids)
    return np.where(chosen & (dice >= masked) & (dice < masked + random), noise, inputs)
