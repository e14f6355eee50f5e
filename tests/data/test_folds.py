"""Folds of labeled texts."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pet.data.folds import NEVER, stratified_folds


@given(st.lists(st.integers(0, 4), max_size=40), st.integers(2, 7), st.integers(0, 5))
def test_folds_are_even_over_texts_and_labels(labels: list[int], folds: int, seed: int) -> None:
    gold = np.asarray(labels, dtype=np.int64)
    fold = stratified_folds(gold, folds, seed)
    counts = np.bincount(gold, minlength=5)
    assert ((fold == NEVER) == (counts[gold] == 1)).all()
    sizes = np.bincount(fold[fold != NEVER], minlength=folds)
    assert sizes.max(initial=0) - sizes.min(initial=len(gold)) <= 1
    for label in np.flatnonzero(counts > 1):
        own = np.bincount(fold[gold == label], minlength=folds)
        assert own.max() - own.min() <= 1


def test_folds_depend_on_the_seed_alone() -> None:
    gold = np.repeat([0, 1], 20)
    assert stratified_folds(gold, 5, 1).tolist() == stratified_folds(gold, 5, 1).tolist()
    assert stratified_folds(gold, 5, 1).tolist() != stratified_folds(gold, 5, 2).tolist()
