"""Texts that untrained patterns label, and members learn from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from pet.backbones.info import ModelInfo
from pet.members import pattern_labels
from pet.members.models import Models
from pet.members.pattern_labels import (
    agreement,
    know_enough,
    number_of_texts,
    patterns_that_know,
    surest_texts,
    with_pattern_labels,
)
from pet.members.seam import MemberData
from pet.members.shared import Shared
from pet.members.texts import Texts
from pet.members.tfidf import own_features
from pet.recipe import make_recipe
from pet.task.task import Task

TASK = {
    "task": "topics",
    "fields": ["text"],
    "labels": ["a", "b"],
    "verbalizer": {"a": "good", "b": "bad"},
    "patterns": ["{mask} : {text}", "{text} {mask}"],
}
GOLD = [0, 0, 1, 1]
# What each pattern says for label b, relative to a. Both prefer a by 2, whatever the text.
KNOWN = [[-3.0, -3.0, -1.0, -1.0], [-3.0, -3.0, -1.0, -1.0]]
POOL = [[-5.0, -2.5, -1.9, 0.0, -4.0], [-5.0, -2.5, -1.9, 2.0, -4.0]]


@pytest.fixture
def shared(tiny_model: Path) -> Shared:
    recipe = make_recipe("default", {"max_length": "32"})
    models = Models(ModelInfo(str(tiny_model)), 48, shared=False)
    return Shared(Task.from_dict(TASK), recipe, models, device="cpu", precision="fp32")


def texts(shared: Shared, rows: int, labels: list[int] | None = None) -> Texts:
    columns: dict[str, Any] = {"id": list(map(str, range(rows))), "text": ["news"] * rows}
    return Texts(Dataset.from_dict(columns | ({} if labels is None else {"label": labels})), lambda: shared.plan)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patterns with the scores above."""

    class Fake:
        def __init__(self, position: int):
            self.position = position

        def scores(self, texts: Texts, out: Any, on_rows: Any = lambda rows: None) -> None:
            out[:] = 0
            out[:, 1] = (KNOWN if len(texts) == len(GOLD) else POOL)[self.position]
            on_rows(len(texts))

    monkeypatch.setattr(pattern_labels, "make_scorer", lambda spec, shared: Fake(spec.pattern))


@pytest.mark.usefixtures("fake")
def test_the_surest_texts_of_each_label_are_chosen_without_the_preference_of_the_patterns(shared: Shared) -> None:
    counted: list[int] = []
    known = patterns_that_know(shared, texts(shared, 4, GOLD), texts(shared, 5), counted.append)
    rows, labels, probabilities = surest_texts(known, np.array([2, 2]), texts(shared, 5), 2, counted.append)
    # Without the preference, the scores of b are -3, -0.5, 0.1, 3 and -2. So two fifths of the texts are b, and one of
    # two texts. The surest ones are the first and the fourth.
    assert (rows.tolist(), labels.tolist(), counted) == ([0, 3], [0, 1], [4, 4, 5, 5])
    np.testing.assert_allclose(probabilities[:, 1], 1 / (1 + np.exp([3.0, -3.0])), atol=0.01)


@pytest.mark.usefixtures("fake")
def test_patterns_that_know_too_little_are_not_used(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pattern_labels, "know_enough", lambda *_: False)
    assert patterns_that_know(shared, texts(shared, 4, GOLD), texts(shared, 5)) == []


def patterns(right: int) -> tuple[Any, Any]:
    """Return scores that give the right label of so many of 16 texts a probability of .75, and the labels."""
    gold = np.array([0, 1] * 8)
    return np.log(3) * np.eye(2)[np.where(np.arange(16) < right, gold, 1 - gold)], gold


def test_patterns_must_explain_labels_better_than_their_shares() -> None:
    nothing, (scores, gold) = np.zeros((16, 1)), patterns(13)
    # 13 log .75 + 3 log .25 - 16 log .5 = 3.2 nats, where 16 * .03 + 1 = 1.5 are needed
    assert know_enough(scores, [nothing], gold, agree=unasked)
    assert know_enough(4 * scores, [nothing], gold, agree=unasked)  # a quarter of these is what is known
    gold = np.tile(gold, 10)
    assert not know_enough(np.zeros((160, 2)), [np.zeros((160, 1))], gold, agree=unasked)  # 0 nats; 3.8 are needed


@pytest.mark.parametrize("agree", [True, False])
def test_patterns_must_agree_where_the_labels_leave_it_open(agree: bool) -> None:
    nothing, (scores, gold) = np.zeros((16, 1)), patterns(10)
    # .75 is too sure. Half of the scores, which give .634, are best: 10 log .634 + 6 log .366 - 16 log .5 = 0.5 nats.
    assert know_enough(scores, [nothing], gold, lambda: agree) is agree
    # Ten times as many texts explain 5.0 nats, where 4.8 - 1 and 4.8 + 1 are the bounds.
    assert know_enough(np.tile(scores, (10, 1)), [np.zeros((160, 1))], np.tile(gold, 10), lambda: agree) is agree


def unasked() -> bool:
    raise AssertionError("the labels are enough to tell")


def test_agreement_ignores_what_patterns_prefer_and_texts_that_all_labels_fit() -> None:
    rng = np.random.default_rng(0)
    about = rng.normal(size=(1, 200, 3))
    preferred, fits = 9 * rng.normal(size=(4, 1, 3)), 9 * rng.normal(size=(4, 200, 1))
    assert agreement(about + preferred + fits) == pytest.approx(1)
    assert abs(agreement(rng.normal(size=(4, 200, 3)) + preferred)) < 0.1
    # As much of each: half of the variance is common.
    assert agreement(about + rng.normal(size=(4, 200, 3))) == pytest.approx(0.5, abs=0.1)


def test_one_pattern_and_patterns_that_always_say_the_same_do_not_agree() -> None:
    assert agreement(np.random.default_rng(0).normal(size=(1, 9, 2))) == 0
    assert agreement(np.ones((3, 9, 2))) == 0


def test_with_more_texts_of_one_label_its_share_is_what_chance_explains() -> None:
    gold = np.array([0] * 14 + [1] * 2)
    always = np.tile([np.log(15 / 3), 0.0], (16, 1))  # the shares, with one text more of each label
    assert not know_enough(always, [np.zeros((16, 1))], gold, lambda: False)


def test_a_classifier_that_sees_the_labels_stops_patterns_that_know_less() -> None:
    scores, gold = patterns(12)
    sides, nothing = np.where(gold, 1.0, -1.0)[:, None], np.zeros((16, 1))
    assert know_enough(scores, [nothing], gold, unasked)
    assert not know_enough(scores, [nothing, sides], gold, unasked)


@pytest.mark.parametrize(("right", "times", "enough"), [(13, 1, True), (14, 1, False), (13, 4, True)])
def test_classifiers_on_other_texts_may_explain_labels_a_little_better(
    monkeypatch: pytest.MonkeyPatch, right: int, times: int, enough: bool
) -> None:
    scores, gold = (np.concatenate([part] * times) for part in patterns(12))
    predicted = np.concatenate([patterns(right)[0]] * times)
    monkeypatch.setattr(pattern_labels, "cross_fit", lambda *_: (predicted, []))
    # 12 right ones explain 12 log .75 + 4 log .25 = -9.0 nats. 13 explain 13 log .75 + 3 log .25 = -7.9, and 14, with
    # twice the scores, 14 log .9 + 2 log .1 = -6.1. So they are 1.1 and 2.9 nats better, where 1.6 are allowed. With
    # four times as many texts, 13 of 16 are 4.4 nats better, and 6.4 are allowed.
    assert know_enough(scores, [gold], gold, lambda: True) is enough


@pytest.mark.parametrize(("right", "enough"), [(4, True), (2, True), (1, False)])
def test_half_must_be_right_if_no_classifier_can_be_judged(right: int, enough: bool) -> None:
    gold = np.arange(4)  # a single text of each label
    said = np.where(gold < right, gold, (gold + 1) % 4)
    assert know_enough(np.eye(4)[said], [np.eye(4)], gold, lambda: True) is enough


def test_at_most_forty_percent_of_the_pool_are_used(shared: Shared) -> None:
    assert [number_of_texts(shared, pool) for pool in (2, 5, 400, 10_000)] == [0, 2, 160, 200]
    fewer = replace(shared, recipe=shared.recipe.with_settings(pattern_share=0.2))
    assert [number_of_texts(fewer, pool) for pool in (4, 5, 400, 10_000)] == [0, 1, 80, 200]


def test_labeled_texts_are_repeated_until_they_are_as_many(shared: Shared) -> None:
    train, pool = texts(shared, 2), texts(shared, 9)
    data = MemberData([(train, np.array([0, 1]))], np.array([0, 1]), pool)
    found = with_pattern_labels(data, np.array([3, 5, 6, 8]), np.array([1, 1, 0, 0]))
    assert [(part, rows.tolist()) for part, rows in found.parts] == [(train, [0, 1, 0, 1]), (pool, [3, 5, 6, 8])]
    assert found.labels.tolist() == [0, 1, 0, 1, 1, 1, 0, 0]
    more = with_pattern_labels(data, np.array([3]), np.array([1]))
    assert more.labels.tolist() == [0, 1, 1]  # many labeled texts are not repeated
    nothing = np.zeros(0, dtype=np.int64)
    assert with_pattern_labels(data, nothing, nothing) is data


def test_features_of_words_tell_texts_apart(shared: Shared) -> None:
    columns = {"id": ["1", "2", "3"], "text": ["the bill is wrong", "the bill is wrong", "no login"]}
    found = own_features(shared, Texts(Dataset.from_dict(columns), lambda: shared.plan))
    assert found.shape[0] == 3
    np.testing.assert_allclose(found @ found.T, [[2, 2, 0], [2, 2, 0], [0, 0, 2]], atol=0.3)  # two views of length 1
