"""Weights of labels, balanced batches, and what rare labels got."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pet.embeddings.logistic import fit_logistic
from pet.run.rare_labels import rare_labels
from pet.training.batching import balanced_batches
from pet.training.losses import (
    class_weights,
    hinge_loss,
    independent_loss,
    loss_of_seen,
    weighted_cross_entropy,
)

LABELS = np.array([0] * 18 + [1] * 2)


def test_weights_make_every_label_count_the_same() -> None:
    weights = class_weights(LABELS, 3)
    np.testing.assert_allclose([weights[LABELS][label == LABELS].sum() for label in (0, 1)], 10)
    scores = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    each = F.cross_entropy(scores, torch.from_numpy(LABELS), reduction="none")
    expected = (each[:18].mean() + each[18:].mean()) / 2
    found = weighted_cross_entropy(scores, torch.from_numpy(LABELS), torch.from_numpy(weights))
    soft = weighted_cross_entropy(scores, torch.eye(3)[LABELS], torch.from_numpy(weights))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5) == soft.item()


def test_balanced_batches_use_every_text_and_rare_labels_often() -> None:
    batches = balanced_batches(LABELS, 4, np.random.default_rng(0))
    rows = np.concatenate([next(batches) for _ in range(9)])
    assert np.bincount(LABELS[rows]).tolist() == [18, 18] and set(rows.tolist()) == set(range(20))
    sets = np.array([[1, 1], [1, 0], [1, 0], [0, 0]])
    drawn = np.concatenate([next(balanced_batches(sets, 6, np.random.default_rng(seed))) for seed in range(4)])
    assert (drawn == 0).mean() > 1 / 3 and (drawn == 3).sum() == 8


def test_a_regression_with_weights_finds_the_rare_label() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(20, 2)) + LABELS[:, None]
    plain, weighted = (
        (fit_logistic(features, LABELS, 2, strength=1.0, weights=w)[0].scores(features).argmax(axis=1) == 1).sum()
        for w in (None, class_weights(LABELS, 2))
    )
    assert weighted > plain


def test_nothing_is_said_if_labels_have_equally_many_texts() -> None:
    rows = {label: {"f1": 0.5, "recall": 0.5, "support": 5} for label in "ab"}
    setting = "class_weight=balanced"
    assert rare_labels({"a": 4, "b": 4}, {"per_class": rows}, setting) == []
    assert rare_labels({"a": 40, "b": 0}, {"per_class": {**rows, "b": rows["b"] | {"support": 0}}}, setting) == []
    (said,) = rare_labels({"a": 40, "b": 1}, {"per_class": rows}, setting)
    assert "'b' (1 labeled text)" in said and setting in said
    (said,) = rare_labels({"a": 40, "b": 1}, {"per_class": rows}, None)
    assert "label more" in said and "--set" not in said
    (said,) = rare_labels({"a": 40, "b": 0}, {"per_class": rows}, setting)  # there are no texts to count more
    assert "'b' (0 labeled texts)" in said and "label some" in said and setting not in said


def test_a_label_without_examples_is_not_pushed_down() -> None:
    scores = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels, seen = torch.tensor([0, 2, 0, 2]), torch.tensor([0, 2])
    for loss in (F.cross_entropy, hinge_loss, partial(weighted_cross_entropy, weights=torch.ones(3))):
        found = loss_of_seen(scores, labels, loss, seen)
        (slope,) = torch.autograd.grad(found, scores)
        assert slope[:, 1].abs().max() == 0 < slope[:, 0].abs().max()
        assert found.item() == pytest.approx(loss(scores[:, [0, 2]], labels // 2).item(), rel=1e-5)
    sets = torch.tensor([[1.0, 0, 0], [0, 0, 1], [1, 0, 1], [0, 0, 0]])
    found = independent_loss(scores, sets, torch.tensor([True, False, True]))
    assert torch.autograd.grad(found, scores)[0][:, 1].abs().max() == 0
