"""Intervals and paired comparisons: values worked out by hand, and how often an interval holds the true value."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from pet.statistics import metric_intervals, paired, wilson
from pet.statistics_sets import paired_sets

FEW = settings(max_examples=25, deadline=None)


def test_the_wilson_interval_matches_values_worked_out_by_hand():
    # 8 of 10, z = 1.96: center (.8 + .19208) / 1.38416, half 1.96 * sqrt(.016 + .009604) / 1.38416
    assert wilson(8, 10) == pytest.approx((0.71674 - 0.22658, 0.71674 + 0.22658), abs=2e-4)
    # 0 of n: the upper end is z² / (n + z²)
    assert wilson(0, 20) == (0.0, pytest.approx(3.8415 / 23.8415, abs=1e-4))
    assert wilson(20, 20) == (pytest.approx(20 / 23.8415, abs=1e-4), 1.0)
    for hits, n in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError):
            wilson(hits, n)


@FEW
@given(st.integers(1, 500), st.data())
def test_the_wilson_interval_holds_the_share_and_mirrors_its_opposite(n, data):
    hits = data.draw(st.integers(0, n))
    low, high = wilson(hits, n)
    assert 0 <= low <= hits / n <= high <= 1 and low < high
    assert wilson(n - hits, n) == pytest.approx((1 - high, 1 - low))
    wider = wilson(hits * 2, n * 2)
    assert wider[1] - wider[0] < high - low


@pytest.mark.parametrize("n", [12, 40, 300])
def test_the_wilson_interval_holds_the_true_share_about_95_times_in_100(n):
    """Exact, from the binomial distribution; the mean over true shares."""
    hits = np.arange(n + 1)
    ends = np.array([wilson(int(number), n) for number in hits])
    covered = [
        binom.pmf(hits, n, share)[(ends[:, 0] <= share) & (share <= ends[:, 1])].sum()
        for share in np.linspace(0.02, 0.98, 49)
    ]
    assert 0.94 < np.mean(covered) < 0.975 and min(covered) > 0.82


@pytest.mark.parametrize("per_label", [2, 10])
def test_the_interval_of_macro_f1_holds_the_true_value_about_95_times_in_100(per_label, monkeypatch):
    """For several numbers of labels, equally hard ones and others; `benchmarks/intervals.py` does more."""
    monkeypatch.setattr("pet.statistics._DRAWS", 400)
    generator, covered = np.random.default_rng(per_label), []
    for labels, accuracy, hard in product((2, 4, 10, 20), (0.6, 0.8, 0.95), (0.0, 0.2)):
        right = accuracy - hard * np.linspace(-1, 1, labels) * (1 - accuracy)
        cells = np.full((labels, labels), ((1 - right) / (labels - 1))[:, None]) / labels
        np.fill_diagonal(cells, right / labels)
        truth = np.mean(2 * np.diag(cells) / (cells.sum(axis=0) + cells.sum(axis=1)))
        for _ in range(20):
            counts = generator.multinomial(per_label * labels, cells.ravel()).reshape(labels, labels)
            low, high = metric_intervals(counts)["macro_f1_interval"]
            covered.append(low <= truth <= high)
    assert 0.93 <= np.mean(covered) <= 0.97  # of 480


def test_labels_without_texts_may_be_as_good_as_others_if_texts_are_few():
    few = metric_intervals(np.diag([3, 3, 3, 0]))["macro_f1_interval"]
    many = metric_intervals(np.diag([300, 300, 300, 0]))["macro_f1_interval"]
    assert few[0] < 0.75 and few[1] > 0.95
    assert many == pytest.approx([0.75, 0.75], abs=0.01)


def test_a_perfect_score_on_few_texts_is_not_certain():
    found = metric_intervals(np.diag([6, 6]))
    assert found["accuracy_interval"] == [pytest.approx(12 / (12 + 3.8415), abs=1e-4), 1.0]
    assert 0.7 < found["macro_f1_interval"][0] < 0.9 and found["macro_f1_interval"][1] == 1.0
    assert 0.5 < found["mcc_interval"][0] < 0.9
    assert metric_intervals(np.diag([600, 600]))["macro_f1_interval"][0] > 0.99


@FEW
@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=3, max_size=3))
def test_intervals_are_ordered_in_range_and_repeat_exactly(rows):
    counts = np.array(rows)
    counts[0, 0] += 1
    found = metric_intervals(counts)
    for name, (low, high) in found.items():
        assert (-1 if name == "mcc_interval" else 0) <= low <= high <= 1
    assert found == metric_intervals(counts)


def test_a_paired_comparison_counts_texts_that_one_alone_gets_right():
    gold = np.zeros(20, dtype=int)
    ours, theirs = gold.copy(), gold.copy()
    theirs[:6] = 1
    ours[6:8] = 1
    ours[8:10] = theirs[8:10] = 1
    found = paired(gold, ours, theirs, 2)
    assert (found["n"], found["wins"], found["losses"]) == (20, 6, 2)
    assert found["accuracy"]["difference"] == pytest.approx(0.2)
    # P(Beta(6.5, 2.5) > 1/2) by Simpson's rule
    x = np.linspace(0, 1, 20001)
    density = x**5.5 * (1 - x) ** 1.5
    assert found["accuracy"]["better"] == pytest.approx(density[10000:].sum() / density.sum(), abs=1e-3)
    low, high = found["accuracy"]["interval"]
    assert -0.1 < low < 0.05 and 0.35 < high < 0.5


def test_equal_predictions_are_better_with_probability_one_half():
    gold = np.array([0, 1, 2] * 4)
    found = paired(gold, gold, gold, 3)
    assert found["accuracy"]["better"] == pytest.approx(0.5) and found["macro_f1"]["better"] == pytest.approx(
        0.5, abs=0.05
    )
    for figure in ("accuracy", "macro_f1"):
        low, high = found[figure]["interval"]
        assert found[figure]["difference"] == 0 and low < -0.01 and high > 0.01


def test_a_difference_is_in_its_interval_even_of_a_single_text():
    truth = np.array([[True, False, False]])
    for found in (paired([0], [1], [0], 3), paired_sets(truth, ~truth, truth), paired_sets(truth, truth, ~truth)):
        for figure in (value for value in found.values() if isinstance(value, dict)):
            low, high = figure["interval"]
            assert low <= figure["difference"] <= high


@FEW
@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=30))
def test_swapping_two_classifiers_swaps_the_signs(rows):
    gold, ours, theirs = np.array(rows).T
    one, two = paired(gold, ours, theirs, 3), paired(gold, theirs, ours, 3)
    assert one["wins"] == two["losses"]
    assert one["accuracy"]["better"] == pytest.approx(1 - two["accuracy"]["better"])
    for figure in ("accuracy", "macro_f1"):
        assert one[figure]["difference"] == pytest.approx(-two[figure]["difference"])
    assert one["macro_f1"]["better"] == pytest.approx(1 - two["macro_f1"]["better"], abs=0.1)


def test_a_paired_macro_f1_allows_for_labels_that_a_few_texts_do_not_have():
    one_label, other = np.zeros(5, dtype=int), np.ones(5, dtype=int)
    found = paired(one_label, one_label, other, 6)["macro_f1"]
    assert found["difference"] == pytest.approx(1 / 6)
    assert found["interval"][1] > 0.5 and 0.5 < found["better"] < 0.95  # five labels may speak for either
    many = paired(np.zeros(120, dtype=int), np.zeros(120, dtype=int), np.ones(120, dtype=int), 6)["macro_f1"]
    assert many["interval"][1] < 0.2 and many["better"] > 0.99


def test_intervals_of_paired_differences_hold_the_true_value_with_as_many_labels_as_texts():
    generator, labels, tries = np.random.default_rng(0), 12, 60
    accuracies = generator.uniform(0.5, 0.95, (2, labels))
    gold = generator.integers(0, labels, 20_000)
    ours, theirs = (
        np.where(generator.random(len(gold)) < own[gold], gold, (gold + step) % labels)
        for step, own in enumerate(accuracies, 1)
    )
    true = paired(gold, ours, theirs, labels)["macro_f1"]["difference"]
    held = 0
    for _ in range(tries):
        drawn = generator.integers(0, len(gold), labels)
        low, high = paired(gold[drawn], ours[drawn], theirs[drawn], labels)["macro_f1"]["interval"]
        held += low <= true <= high
    assert held >= 0.85 * tries


def test_texts_must_be_the_same():
    with pytest.raises(ValueError, match="same texts"):
        paired([0, 1], [0, 1], [0], 2)
