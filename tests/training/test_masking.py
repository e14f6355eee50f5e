"""Hiding tokens for the auxiliary loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pet.training.masking import MaskingRule, hide_share, hide_tokens, ordinary_vocabulary

SPECIAL = [0, 1, 2, 3, 4]
MASK = 4
VOCABULARY = 1000
RULE = MaskingRule(MASK, ordinary_vocabulary(VOCABULARY, SPECIAL))


def _batch(rows: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows ``[2] words … [4] words … [3] [0] …``, with padding of a different length in each."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(5, VOCABULARY, (rows, width))
    ids[:, 0] = 2
    ids[:, width // 3] = MASK
    for row, length in enumerate(generator.integers(width // 2, width + 1, rows)):
        ids[row, length - 1] = 3
        ids[row, length:] = 0
    return ids, ~np.isin(ids, SPECIAL)


def test_shares_of_chosen_masked_random_and_unchanged_tokens():
    ids, ordinary = _batch(400, 128)
    generator = np.random.default_rng(1)
    counts = np.zeros(4)
    for _ in range(10):
        hidden, rows, positions, targets = hide_tokens(ids, ordinary, RULE, generator)
        now = hidden[rows, positions]
        counts += [
            len(rows),
            (now == MASK).sum(),
            ((now != MASK) & (now != targets)).sum(),
            (now == targets).sum(),
        ]
    chosen = counts[0]
    assert chosen / (10 * ordinary.sum()) == pytest.approx(0.15, abs=0.003)
    # 1 in 995 random tokens is the old one again
    np.testing.assert_allclose(counts[1:] / chosen, [0.8, 0.1, 0.1], atol=0.008)


def test_every_ordinary_token_is_equally_likely_to_be_hidden():
    ids = np.full((1, 10), 50)
    ordinary = np.ones((1, 10), dtype=bool)
    generator = np.random.default_rng(0)
    hits = np.zeros(10)
    for _ in range(4000):
        hits[hide_tokens(ids, ordinary, RULE, generator)[2]] += 1
    # 0.15 of the draws, and a tenth of those that would have chosen none
    expected = 4000 * (0.15 + 0.85**10 / 10)
    np.testing.assert_allclose(hits, expected, rtol=0.12)


@given(st.integers(1, 6), st.integers(6, 40), st.integers(0, 2**32 - 1))
def test_only_ordinary_tokens_are_hidden(rows, width, seed):
    ids, ordinary = _batch(rows, width, seed)
    before = ids.copy()
    hidden, at_rows, positions, targets = hide_tokens(ids, ordinary, RULE, np.random.default_rng(seed))
    np.testing.assert_array_equal(ids, before)  # the batch itself stays as it is
    chosen = np.zeros_like(ordinary)
    chosen[at_rows, positions] = True
    assert chosen.sum() == len(at_rows) >= 1  # each place once
    assert not (chosen & ~ordinary).any()
    np.testing.assert_array_equal(hidden[~chosen], ids[~chosen])
    np.testing.assert_array_equal(targets, ids[at_rows, positions])
    assert not np.isin(np.setdiff1d(hidden[chosen], [MASK]), SPECIAL).any()


def test_at_least_one_token_is_hidden_if_any_is_ordinary():
    ids = np.array([[2, 77, 3]])
    ordinary = np.array([[False, True, False]])
    for seed in range(20):
        _, rows, positions, targets = hide_tokens(ids, ordinary, RULE, np.random.default_rng(seed))
        assert (list(rows), list(positions), list(targets)) == ([0], [1], [77])


def test_nothing_is_hidden_if_nothing_is_ordinary():
    ids = np.array([[2, 4, 3]])
    hidden, rows, _, targets = hide_tokens(ids, np.zeros((1, 3), dtype=bool), RULE, np.random.default_rng(0))
    np.testing.assert_array_equal(hidden, ids)
    assert len(rows) == len(targets) == 0


def test_masking_is_reproducible_and_differs_between_draws():
    ids, ordinary = _batch(8, 64)
    generator = np.random.default_rng(5)
    first, second = (hide_tokens(ids, ordinary, RULE, generator) for _ in range(2))
    again = hide_tokens(ids, ordinary, RULE, np.random.default_rng(5))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first[0], second[0])


def test_random_tokens_come_from_the_whole_ordinary_vocabulary_and_are_never_special():
    rule = MaskingRule(MASK, ordinary_vocabulary(12, SPECIAL), probability=1.0, mask_share=0.0, random_share=1.0)
    ids = np.full((50, 40), 11)
    hidden = hide_tokens(ids, np.ones(ids.shape, dtype=bool), rule, np.random.default_rng(0))[0]
    assert set(np.unique(hidden)) == set(range(5, 12))


def test_the_ordinary_vocabulary_may_start_at_zero():
    np.testing.assert_array_equal(ordinary_vocabulary(6, [5, 3]), [0, 1, 2, 4])


# --- the same share in each row ------------------------------------------------------------------------


def _full_rows(rows: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows ``[2] words … [3]`` without padding."""
    ids = np.random.default_rng(seed).integers(5, VOCABULARY, (rows, width))
    ids[:, 0], ids[:, -1] = 2, 3
    return ids, ~np.isin(ids, SPECIAL)


def test_each_row_gets_the_same_share_of_masks_random_and_unchanged_tokens():
    ids, ordinary = _full_rows(200, 102, seed=0)
    hidden, chosen = hide_share(ids, ordinary, RULE, np.random.default_rng(0))
    assert (chosen.sum(1) == 15).all() and not (chosen & ~ordinary).any()
    assert chosen[:, 1:-1].mean(0).std() < 0.05  # every position is equally likely
    np.testing.assert_array_equal(hidden[~chosen], ids[~chosen])
    assert (hidden[chosen] == MASK).mean() == pytest.approx(0.8, abs=0.03)
    assert (hidden[chosen] == ids[chosen]).mean() == pytest.approx(0.1, abs=0.03)
    noise = hidden[chosen & (hidden != MASK) & (hidden != ids)]
    assert len(noise) / chosen.sum() == pytest.approx(0.1, abs=0.03) and not np.isin(noise, SPECIAL).any()


def test_a_row_with_few_tokens_gets_one_mask_and_a_row_without_any_gets_none():
    ids, ordinary = np.array([[2, 9, 3], [2, 4, 3]]), np.array([[False, True, False], [False] * 3])
    chosen = hide_share(ids, ordinary, RULE, np.random.default_rng(0))[1]
    assert chosen.sum(1).tolist() == [1, 0]


def test_shares_are_drawn_anew_each_time_and_again_from_the_same_seed():
    ids, ordinary = _full_rows(2, 60, seed=0)
    one, two, again = (hide_share(ids, ordinary, RULE, np.random.default_rng([0, seed]))[1] for seed in (1, 2, 1))
    assert (one != two).any()
    np.testing.assert_array_equal(one, again)


def test_whole_words_are_hidden_as_a_whole():
    ids, ordinary = _full_rows(300, 80, seed=1)
    ids[:, 40], ordinary[:, 40] = 2, False
    continues = ids >= 500
    continues[:, 41] = True  # a word piece right after a special token is a word of its own
    chosen = hide_share(ids, ordinary, RULE, np.random.default_rng(1), continues)[1]
    assert not (chosen & ~ordinary).any()
    inside = continues & ordinary & np.roll(ordinary, 1, axis=1)
    assert (chosen[inside] == np.roll(chosen, 1, axis=1)[inside]).all()
    assert chosen.sum() / ordinary.sum() == pytest.approx(0.15, abs=0.01)
    assert chosen.any(1).all()
