"""Texts that untrained patterns label, and members learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from pet.backbones.info import ModelInfo
from pet.members import pattern_labels
from pet.members.models import Models
from pet.members.pattern_labels import know_more, number_of_texts, surest_texts, with_pattern_labels
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
    rows, labels, probabilities = surest_texts(
        shared, texts(shared, 4, GOLD), texts(shared, 5), most=2, on_rows=counted.append
    )
    # Without the preference, the scores of b are -3, -0.5, 0.1, 3 and -2. So two fifths of the texts are b, and one of
    # two texts. The surest ones are the first and the fourth.
    assert (rows.tolist(), labels.tolist(), counted) == ([0, 3], [0, 1], [5, 5])
    np.testing.assert_allclose(probabilities[:, 1], 1 / (1 + np.exp([3.0, -3.0])), atol=0.01)


@pytest.mark.usefixtures("fake")
def test_patterns_that_know_too_little_label_nothing(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pattern_labels, "know_more", lambda *_: False)
    found = surest_texts(shared, texts(shared, 4, GOLD), texts(shared, 5), most=2)
    assert [part.shape for part in found] == [(0,), (0,), (0, 2)]


def test_patterns_must_beat_chance_and_a_classifier_that_learned_from_the_other_texts() -> None:
    gold = np.array([0, 1] * 8)
    sides, nothing = np.where(gold, 1.0, -1.0)[:, None], np.zeros((16, 1))
    scores = np.eye(2)[np.where(np.arange(16) < 10, gold, 1 - gold)]  # 10 of 16 are right
    assert know_more(scores, [nothing], gold) and not know_more(scores, [nothing, sides], gold)
    chance = np.eye(2)[np.where(np.arange(16) < 9, gold, 1 - gold)]  # the standard error of chance is 2 texts
    assert not know_more(chance, [nothing], gold)


def test_a_text_that_is_the_only_one_of_its_label_does_not_compare(shared: Shared) -> None:
    assert know_more(np.eye(3), [np.eye(3)], np.array([0, 1, 2]))  # no classifier can be judged


def test_at_most_forty_percent_of_the_pool_are_used(shared: Shared) -> None:
    assert [number_of_texts(shared, pool) for pool in (2, 5, 400, 10_000)] == [0, 2, 160, 200]


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
