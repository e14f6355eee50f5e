"""iPET: the schedule of generations and the selection of texts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pet.ensemble.combine import Ensemble
from pet.errors import PetError
from pet.ipet.plan import make_plan
from pet.ipet.selection import (
    Candidates,
    apportion,
    best_generation,
    choose_voters,
    count_generations,
    draw_confident,
    generation_warnings,
    new_examples,
    parse_ratio,
    take_most_probable,
)
from pet.recipe import make_recipe
from pet.task.task import Task

LABELS = ["a", "b"]


def candidates_of(scores, weights, target=None) -> Candidates:
    names = [str(number) for number in range(len(scores))]
    return Candidates.of(Ensemble.of(names, labels=scores[0].shape[1], weights=weights), scores, target)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- sizes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((5, 5), [(20, 20), (120, 120), (620, 620)]),
        ((7, 3), [(28, 12), (168, 72), (868, 372)]),
        ((9, 1), [(36, 4), (216, 24), (1116, 124)]),
    ],
)
def test_new_examples_are_those_of_the_paper(counts, expected):
    found = [tuple(new_examples(np.array(counts), g, 5.0)) for g in (1, 2, 3)]
    assert found == expected


def test_without_labeled_texts_sets_start_at_ten_and_are_balanced():
    sets = [tuple(new_examples(np.zeros(4), g, 5.0)) for g in (1, 2, 3, 4)]
    assert sets[0] == (3, 3, 2, 2)
    assert [sum(s) for s in sets] == [10, 50, 250, 1250]
    assert sets[3] == (313, 313, 312, 312)


def test_without_labeled_texts_every_label_gets_an_example():
    assert new_examples(np.zeros(77), 1, 5.0).tolist() == [1] * 77


@pytest.mark.parametrize(("first", "rounds"), [(10, 4), (50, 3), (100, 3), (200, 2), (1000, 1), (5000, 1), (1, 6)])
def test_generations_end_at_a_thousand_texts(first, rounds):
    assert count_generations(first, 5.0, 1000) == rounds


def test_the_ratio_can_be_given_or_balanced():
    assert new_examples(np.array([9, 1]), 1, 5.0, parse_ratio("balanced", LABELS)).tolist() == [20, 20]
    assert new_examples(np.array([9, 1]), 1, 5.0, parse_ratio("3,1", LABELS)).tolist() == [30, 10]
    assert new_examples(np.zeros(2), 1, 5.0, parse_ratio("3, 1", LABELS)).tolist() == [8, 2]
    assert parse_ratio("keep", LABELS) is None


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "1,-1", "0,0", "nan,1", "inf,1", "even", "1;2"])
def test_an_invalid_ratio_is_rejected(text):
    with pytest.raises(PetError, match=r"ratio.*keep, balanced, or 2 .*a, b"):
        parse_ratio(text, LABELS)


@given(
    total=st.integers(0, 10_000),
    shares=st.lists(st.floats(0, 100), min_size=1, max_size=20).filter(lambda s: sum(s) > 1e-3),
)
def test_apportion_sums_to_the_total_and_is_off_by_less_than_one(total, shares):
    counts = apportion(total, np.array(shares))
    exact = total * np.array(shares) / sum(shares)
    assert counts.sum() == total
    assert (np.abs(counts - exact) < 1 + 1e-6).all()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any), st.integers(1, 4), st.sampled_from([2.0, 5.0]))
def test_a_kept_ratio_equals_that_of_the_labeled_texts(counts, generation, growth):
    assert (new_examples(np.array(counts), generation, growth) == np.array(counts) * (growth**generation - 1)).all()


# ---- voters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "share", "voters"), [(14, 0.25, 4), (2, 0.25, 1), (1, 0.25, 1), (6, 0.25, 2), (5, 1.0, 5), (4, 0.0, 1)]
)
def test_the_number_of_voters_is_rounded_half_up(others, share, voters):
    assert len(choose_voters([f"p{i}-r0" for i in range(others)], share, rng())) == voters


def test_voters_need_other_members():
    with pytest.raises(ValueError, match="no other members"):
        choose_voters([], 0.25, rng())


@given(st.permutations([f"p{i}-r0" for i in range(7)]), st.integers(0, 5))
def test_voters_do_not_depend_on_the_order_of_the_members(names, seed):
    voters = choose_voters(names, 0.5, rng(seed))
    assert voters == choose_voters(sorted(names), 0.5, rng(seed))
    assert len(set(voters)) == len(voters) == 4


# ---- the choice ------------------------------------------------------------------------------

tables = st.integers(1, 60).flatmap(
    lambda rows: st.tuples(
        st.lists(st.integers(0, 2), min_size=rows, max_size=rows),
        st.lists(st.floats(0.34, 1.0), min_size=rows, max_size=rows),
        st.lists(st.booleans(), min_size=rows, max_size=rows),
    )
)


@given(tables, st.lists(st.integers(0, 30), min_size=3, max_size=3), st.integers(0, 3))
def test_draws_are_distinct_eligible_and_as_many_as_wanted_or_available(table, wanted, seed):
    label, confidence, eligible = (np.array(column) for column in table)
    chosen = draw_confident(label, confidence, np.array(wanted), eligible, rng(seed))
    assert len(set(chosen.rows.tolist())) == len(chosen.rows)
    assert (label[chosen.rows] == chosen.labels).all()
    assert eligible[chosen.rows].all()
    there = np.bincount(label[eligible], minlength=3)
    assert (chosen.available == there).all()
    assert (np.bincount(chosen.labels, minlength=3) == np.minimum(wanted, there)).all()
    again = draw_confident(label, confidence, np.array(wanted), eligible, rng(seed))
    assert (again.rows == chosen.rows).all()


def test_a_larger_draw_contains_the_smaller_one():
    label, confidence = np.zeros(100, dtype=int), rng(1).uniform(0.5, 1, 100)
    few, many = (
        set(draw_confident(label, confidence, np.array([n]), np.ones(100, bool), rng(2)).rows) for n in (10, 40)
    )
    assert few < many


def test_draws_are_proportional_to_the_confidence():
    """Of two rows, one has three times the confidence, so it gets three quarters of the draws."""
    label, confidence = np.zeros(2, dtype=int), np.array([0.9, 0.3])
    generator = rng(3)
    first = [draw_confident(label, confidence, np.array([1]), np.ones(2, bool), generator).rows[0] for _ in range(4000)]
    assert np.mean(first) == pytest.approx(0.25, abs=0.03)


def test_the_second_draw_is_proportional_among_the_remaining_rows():
    """Confidences 3, 2, 1: the pair {0, 1} has probability 3/6 · 2/3 + 2/6 · 3/4 = 7/12 (worked out by hand)."""
    label, confidence = np.zeros(3, dtype=int), np.array([0.6, 0.4, 0.2])
    generator = rng(4)
    pairs = [
        tuple(draw_confident(label, confidence, np.array([2]), np.ones(3, bool), generator).rows) for _ in range(4000)
    ]
    assert pairs.count((0, 1)) / 4000 == pytest.approx(7 / 12, abs=0.03)


def test_a_label_without_predictions_gets_no_texts():
    chosen = draw_confident(np.zeros(5, dtype=int), np.ones(5), np.array([2, 2]), np.ones(5, bool), rng())
    assert chosen.labels.tolist() == [0, 0]
    assert chosen.available.tolist() == [5, 0]


def scores_of(probabilities) -> np.ndarray:
    return np.log(np.array(probabilities, dtype=np.float64)).astype(np.float32)


def test_the_first_set_takes_the_best_of_each_label_whatever_the_argmax():
    """All texts are predicted a; b gets the two with the highest probability of b."""
    table = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4], [0.95, 0.05]]
    candidates = candidates_of([scores_of(table)], np.ones(1))
    chosen = take_most_probable(candidates, np.array([2, 2]), np.ones(5, bool))
    assert dict(zip(chosen.rows.tolist(), chosen.labels.tolist(), strict=True)) == {0: 0, 4: 0, 2: 1, 3: 1}


def test_the_first_set_uses_each_eligible_text_once():
    table = [[0.5, 0.49, 0.01], [0.4, 0.3, 0.3], [0.2, 0.2, 0.6]]
    candidates = candidates_of([scores_of(table)], np.ones(1))
    chosen = take_most_probable(candidates, np.array([1, 1, 1]), np.ones(3, bool))
    assert dict(zip(chosen.rows.tolist(), chosen.labels.tolist(), strict=True)) == {0: 0, 1: 1, 2: 2}
    chosen = take_most_probable(candidates, np.array([1, 1, 1]), np.array([False, True, True]))
    assert sorted(zip(chosen.rows.tolist(), chosen.labels.tolist(), strict=True)) == [(1, 0), (2, 2)]
    chosen = take_most_probable(candidates, np.array([1, 1, 1]), np.ones(3, bool), 0.35)
    assert sorted(zip(chosen.rows.tolist(), chosen.labels.tolist(), strict=True)) == [(0, 0), (2, 2)]
    assert chosen.available.tolist() == [2, 1, 1]


@given(st.integers(1, 40), st.integers(0, 5), st.lists(st.integers(0, 6), min_size=3, max_size=3), st.integers(1, 50))
def test_the_first_set_is_greedy_whatever_the_chunk_size(rows, seed, wanted, chunk):
    scores = rng(seed).normal(size=(rows, 3)).astype(np.float32)
    candidates = candidates_of([scores], np.ones(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pet.ipet.selection._CHUNK", chunk)
        chosen = take_most_probable(candidates, np.array(wanted), np.ones(rows, bool))
    probabilities = candidates.probabilities(slice(None))
    left, taken = list(wanted), {}
    for _, row, label in sorted((-probabilities[r, k], r, k) for r in range(rows) for k in range(3)):
        if left[label] and row not in taken:
            taken[row], left[label] = label, left[label] - 1
    assert dict(zip(chosen.rows.tolist(), chosen.labels.tolist(), strict=True)) == taken


def test_candidates_merge_raw_scores_and_not_probabilities():
    """Golden values; a mean of probabilities would predict b for the second text."""
    one, two = np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([[-1.0, 1.0], [4.0, 0.0]])
    label, confidence = candidates_of([one, two], np.array([0.75, 0.25])).predictions()
    assert label.tolist() == [0, 0]
    assert confidence == pytest.approx([0.731059, 0.562177], abs=1e-6)


def test_voters_with_zero_weights_count_equally():
    one, two = np.array([[2.0, 0.0]]), np.array([[0.0, 1.0]])
    assert candidates_of([one, two], np.zeros(2)).predictions()[1] == pytest.approx([1 / (1 + np.exp(-0.5))])


def test_calibrated_candidates_predict_the_wanted_ratio_on_average():
    scores = rng(5).normal(size=(500, 2)) + np.array([3.0, 0.0])  # a language model that prefers the first word
    plain = candidates_of([scores], np.ones(1))
    calibrated = candidates_of([scores], np.ones(1), np.array([0.25, 0.75]))
    assert plain.probabilities(slice(None)).mean(axis=0)[0] > 0.85
    assert calibrated.probabilities(slice(None)).mean(axis=0) == pytest.approx([0.25, 0.75], abs=1e-5)


# ---- watching --------------------------------------------------------------------------------


def test_the_best_generation_agrees_most_and_did_not_collapse():
    assert best_generation([0.7, 0.9, 0.8], [0.3, 0.3, 0.3]) == 1
    assert best_generation([0.7, 0.8, 1.0], [0.3, 0.4, 0.99]) == 1
    assert best_generation([0.8, 0.8], [0.3, 0.3]) == 1
    assert best_generation([0.9, 1.0], [0.99, 1.0]) == 1


def test_falling_agreement_collapse_and_missing_labels_give_warnings():
    even, wanted = np.array([0.5, 0.5]), np.array([20, 20])
    assert generation_warnings(1, [0.7, 0.8], even, wanted, LABELS) == []
    (falling,) = generation_warnings(1, [0.8, 0.7], even, wanted, LABELS)
    assert "0.800" in falling and "0.700" in falling
    collapse, nobody = generation_warnings(2, [0.7, 1.0], np.array([0.0, 1.0]), wanted, LABELS)
    assert "generation 2" in collapse and "100%" in collapse and "'b'" in collapse
    assert "generation 2" in nobody and "'a'" in nobody
    assert generation_warnings(2, [0.7, 0.7], np.array([0.1, 0.9]), np.array([0, 40]), LABELS) == []


def task(patterns: int) -> Task:
    templates = ["{text} It is {mask}.", "{mask}: {text}", "{text} ({mask})"][:patterns]
    mapping = {"task": "t", "fields": ["text"], "labels": LABELS, "verbalizer": {"a": "good", "b": "bad"}}
    return Task.from_dict({**mapping, "patterns": templates})


def test_the_plan_covers_few_and_no_labeled_texts():
    plan = make_plan(task(2), make_recipe().ipet, np.array([5, 5]))
    assert (plan.rounds, plan.last, plan.labeled) == (4, 3, True)
    plan = make_plan(task(2), make_recipe().ipet, np.zeros(2))
    assert (plan.rounds, plan.last, plan.labeled) == (1, 1, False)
    plan = make_plan(task(2), make_recipe("default", {"first_set": 10}).ipet, np.zeros(2))
    assert (plan.rounds, plan.last, plan.labeled) == (4, 4, False)
    assert make_plan(task(2), make_recipe("default", {"generations": 2}).ipet, np.array([5, 5])).last == 1
    assert make_plan(task(2), make_recipe("default", {"ratio": "3,1"}).ipet, np.zeros(2)).target().tolist() == [
        0.75,
        0.25,
    ]


@pytest.mark.parametrize(("pool", "first"), [(20, 6), (1000, 200), (100_000, 400)])
def test_without_labels_the_first_set_is_a_fifth_of_the_pool(pool: int, first: int):
    """10 to 400 texts, and at most the share of the pool that becomes examples."""
    plan = make_plan(task(2), make_recipe().ipet, np.zeros(2), pool=pool)
    assert (plan.last, plan.wanted(1).sum()) == (1, first)
    assert make_plan(task(2), make_recipe("paper").ipet, np.zeros(2), pool=1000).wanted(1).sum() == 10


def test_one_pattern_is_not_enough_for_ipet():
    with pytest.raises(PetError, match=r"two members.* --set repetitions=3.*--method pet"):
        make_plan(task(1), make_recipe().ipet, np.array([5, 5]))
    assert make_plan(task(1), make_recipe().ipet, np.array([5, 5]), 2).last == 3
    with pytest.raises(PetError, match="the untrained patterns"):
        make_plan(task(1), make_recipe().ipet, np.zeros(2), 2)
