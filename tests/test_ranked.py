"""iPET: selection by rank, quotas, and neighbors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pet.ipet import ranked
from pet.ipet.acceptance import Evidence, compare, decide, drift
from pet.ipet.plan import make_plan
from pet.ipet.ranked import cut_statistic, draw_ranked, kappa, nearest, rank_within, shrunk_shares
from pet.numerics import unit_length
from pet.recipe import make_recipe
from pet.task.task import Task


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- sizes -----------------------------------------------------------------------------------


def test_shares_of_few_labeled_texts_are_shrunk_toward_the_predicted_shares():
    """(24 + 16 · 0.5) / (32 + 16) and (8 + 16 · 0.5) / (32 + 16)."""
    assert shrunk_shares(np.array([24, 8]), np.array([0.5, 0.5]), 16.0) == pytest.approx([2 / 3, 1 / 3])


def test_without_labeled_texts_predicted_shares_are_shrunk_halfway_to_equal_ones():
    assert shrunk_shares(np.zeros(4), np.array([1.0, 0, 0, 0]), 20.0) == pytest.approx([0.625, 0.125, 0.125, 0.125])


def plan_for(pool: int | None, **settings: object):
    patterns = ["{text} It is {mask}.", "{mask}: {text}"]
    mapping = {"task": "t", "fields": ["text"], "labels": ["a", "b"], "verbalizer": {"a": "good", "b": "bad"}}
    task = Task.from_dict({**mapping, "patterns": patterns})
    return make_plan(task, make_recipe("default", settings).ipet, np.array([8, 8]), pool=pool)


def test_no_generation_learns_from_more_than_a_share_of_the_pool():
    plan = plan_for(1000)
    assert [plan.wanted(g).sum() for g in range(1, plan.last + 1)] == [64, 300]
    plan = plan_for(1000, pool_share=0.05)
    assert [plan.wanted(g).sum() for g in range(1, plan.last + 1)] == [50]
    plan = plan_for(1000, generations=4)  # as many as asked for
    assert [plan.wanted(g).sum() for g in range(1, plan.last + 1)] == [64, 300, 300]


def test_other_selections_and_the_paper_may_take_the_whole_pool():
    assert [plan_for(1000, selection="draw").wanted(g).sum() for g in (1, 2, 3)] == [64, 384, 1984]
    for recipe in ("paper", "fewglue"):
        settings = make_recipe(recipe).ipet
        assert (settings.selection, settings.accept, settings.vote_share) == ("draw", "always", 0.25)


# ---- ranks -----------------------------------------------------------------------------------


def test_ranks_of_several_scores_are_averaged_within_a_label():
    """Ranks of the texts with label 0: (0, 1, 2) and (2, 1, 0) with half the weight, so 1, 1.5, 2."""
    label = np.array([0, 0, 1, 0])
    confidence, other = np.array([0.9, 0.8, 0.1, 0.7]), np.array([0.1, 0.2, 0.9, 0.3])
    assert rank_within(label, [confidence, other], [1.0, 0.5]).tolist() == [0, 1, 0, 2]
    assert rank_within(label, [confidence, other], [0.5, 1.0]).tolist() == [2, 1, 0, 0]
    assert rank_within(label, [confidence, other], [1.0, 0.0]).tolist() == [0, 1, 0, 2]


def test_the_odds_of_a_draw_fall_exponentially_with_the_rank():
    """One of two texts is wanted: weights 1 and exp(-2), so the first gets 1 / (1 + exp(-2)) = 0.881 of the draws."""
    label, rank, generator = np.zeros(2, dtype=int), np.array([1, 0]), rng(3)
    drawn = [draw_ranked(label, rank, np.array([1]), np.ones(2, bool), generator).rows[0] for _ in range(4000)]
    assert np.mean(drawn) == pytest.approx(1 / (1 + np.exp(-2)), abs=0.02)


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=60), st.lists(st.integers(0, 30), min_size=3, max_size=3),
    st.integers(0, 3),
)  # fmt: skip
def test_ranked_draws_are_distinct_eligible_and_as_many_as_wanted_or_available(label, wanted, seed):
    label, eligible = np.array(label), rng(seed).random(len(label)) < 0.8
    rank = rank_within(label, [rng(seed).random(len(label))], [1.0])
    chosen = draw_ranked(label, rank, np.array(wanted), eligible, rng(seed))
    assert len(set(chosen.rows.tolist())) == len(chosen.rows)
    assert (label[chosen.rows] == chosen.labels).all() and eligible[chosen.rows].all()
    available = np.bincount(label[eligible], minlength=3)
    assert (np.bincount(chosen.labels, minlength=3) == np.minimum(wanted, available)).all()
    again = draw_ranked(label, rank, np.array(wanted), eligible, rng(seed))
    assert (again.rows == chosen.rows).all()


def test_most_draws_are_among_the_best_but_not_only_the_very_best():
    label, rank = np.zeros(1000, dtype=int), np.arange(1000)
    chosen = draw_ranked(label, rank, np.array([200]), np.ones(1000, bool), rng())
    assert 0.9 < (chosen.rows < 400).mean() <= 1
    assert (chosen.rows < 200).mean() < 0.9


def test_kappa_is_zero_at_chance_and_one_for_equal_labels():
    label = np.array([0, 0, 1, 1])
    assert kappa(label, label, 2) == 1
    assert kappa(label, np.array([0, 1, 0, 1]), 2) == 0
    assert kappa(np.zeros(4, int), np.zeros(4, int), 2) == 0


# ---- neighbors -------------------------------------------------------------------------------


def test_neighbors_are_the_nearest_other_texts():
    vectors = unit_length(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]))
    rows, weights = nearest(vectors, 2)
    assert rows[:, 0].tolist() == [1, 0, 3, 2]
    assert (weights[:, 0] > weights[:, 1]).all()
    distance = np.linalg.norm(vectors[0] - vectors[1])
    assert weights[0, 0] == pytest.approx(1 / (1 + distance), abs=1e-4)


def test_neighbors_of_a_large_pool_come_from_evenly_spaced_texts(monkeypatch):
    vectors = unit_length(rng(1).normal(size=(50, 4)))
    exact, _ = nearest(vectors, 5)
    monkeypatch.setattr(ranked, "_ROWS", 7)
    assert (nearest(vectors, 5)[0] == exact).all()
    monkeypatch.setattr(ranked, "REFERENCES", 10)
    rows, _ = nearest(vectors, 5)
    assert set(rows.ravel().tolist()) <= set(np.linspace(0, 49, 10).astype(int).tolist())
    assert (rows != np.arange(50)[:, None]).all()


@pytest.mark.parametrize("texts", [1, 2])
def test_few_texts_have_as_many_neighbors_as_there_are(texts):
    rows, _ = nearest(unit_length(np.ones((texts, 3))), 20)
    assert rows.shape == (texts, texts - 1)
    assert cut_statistic(np.zeros(texts, dtype=int), *nearest(np.ones((texts, 3)), 20), 2).tolist() == [0] * texts


def test_the_cut_statistic_is_a_z_score():
    """Shares 3/4 and 1/4. Row 0 has neighbors 1 (weight 1, same label) and 3 (weight 0.5, another one).

    Surplus 1 - 0.75 · 1.5 = -0.125; deviation sqrt(0.75 · 0.25 · (1 + 0.25)) = 0.484.
    """
    label = np.array([0, 0, 0, 1])
    neighbors, weights = np.array([[1, 3], [0, 2], [0, 1], [0, 1]]), np.array([[1, 0.5], [1, 1], [1, 1], [1, 1]])
    z = cut_statistic(label, neighbors, weights, 2)
    assert z[0] == pytest.approx(-0.125 / np.sqrt(0.1875 * 1.25))
    assert z[1] == pytest.approx((2 - 1.5) / np.sqrt(0.1875 * 2))
    assert z[3] == pytest.approx((0 - 0.5) / np.sqrt(0.1875 * 2))


# ---- acceptance ------------------------------------------------------------------------------


def evidence(change: float, name: str = "figure") -> Evidence:
    return Evidence(name, 0.5, 0.5 + change / 10, change)


def test_a_paired_difference_is_measured_in_standard_errors():
    """Differences 1, 0, 1, 0: mean 0.5, standard deviation 0.577, standard error 0.289."""
    found = compare("figure", np.zeros(4), np.array([1.0, 0, 1, 0]))
    assert (found.before, found.after) == (0, 0.5)
    assert found.change == pytest.approx(0.5 / (np.sqrt(1 / 3) / 2))
    same = compare("figure", np.ones(3), np.ones(3))
    assert same.change == 0
    assert compare("figure", np.array([np.nan, 1, 1, 1]), np.array([5.0, 0, 0, 0])).change == -1
    assert compare("figure", np.array([np.nan, 1]), np.array([1.0, 1])) is None


def test_a_generation_is_used_if_every_figure_rose_by_two_standard_errors():
    assert decide([evidence(2.0)], 0.0).accepted
    assert decide([evidence(2.0), evidence(3.0)], 0.0).accepted
    assert not decide([evidence(1.9)], 0.0).accepted
    assert not decide([], 0.0).accepted
    assert decide([], 0.0, "the generation before is untrained").accepted


def test_one_figure_that_did_not_rise_is_enough_against_it():
    decision = decide([evidence(4.0, "one"), evidence(1.3, "other")], 0.0)
    assert not decision.accepted and "one" not in decision.reason
    assert "other" in decision.reason and "+1.3" in decision.reason and "2 is needed" in decision.reason


def test_label_shares_that_move_away_from_the_expected_ones_speak_against_it():
    even = np.array([0.5, 0.5])
    assert drift(even, np.array([0.7, 0.3]), even) == pytest.approx(0.2)
    assert drift(np.array([0.7, 0.3]), even, even) == pytest.approx(-0.2)
    decision = decide([evidence(3.0)], 0.2)
    assert not decision.accepted and "0.20" in decision.reason
