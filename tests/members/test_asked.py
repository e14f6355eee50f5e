"""Patterns that ask about each label by itself: `{label}` in the pattern, yes or no at the mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from pet.backbones.info import ModelInfo
from pet.cloze.pvp import bind_pattern
from pet.errors import PetError
from pet.members.models import Models
from pet.members.scoring import score_rows
from pet.members.shared import Shared
from pet.members.texts import Texts
from pet.members.training import ClozeData, asked_data
from pet.recipe import make_recipe
from pet.task.task import Task

LABELS = ["good_news", "bad", "sports"]
ASKED: dict[str, Any] = {
    "task": "t",
    "fields": ["text"],
    "labels": LABELS,
    "multi_label": "true",
    "patterns": ["{text} Is it {label}? {mask}."],
}
TEXTS = ["The striker scored twice.", "Shares of the bank fell."]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def shared(tiny_model: Path) -> Shared:
    model = ModelInfo(str(tiny_model))
    return Shared(Task.from_dict(ASKED), make_recipe("default", {"max_length": 40}), Models(model, 40, False), "cpu")


@pytest.fixture
def texts(shared: Shared) -> Texts:
    return Texts(Dataset.from_dict({"id": ["0", "1"], "text": TEXTS}), lambda: shared.plan)


def test_a_label_scores_as_yes_against_no_in_a_pattern_with_its_name(shared: Shared, texts: Texts) -> None:
    lm, most = shared.models.untrained(), 200
    found = score_rows(lm, shared.tokenizer, shared.pvps[0], texts.tokens, shared.accelerator, max_tokens=most)
    for number, name in enumerate(["good news", "bad", "sports"]):
        mapping = {"task": "t", "fields": ["text"], "labels": ["n", "y"], "verbalizer": {"n": "no", "y": "yes"}}
        alone = Task.from_dict(mapping | {"patterns": [f"{{text}} Is it {name}? {{mask}}."]})
        pvp = bind_pattern(alone.patterns[0], alone.labels, shared.tokenizer, 40)
        both = score_rows(lm, shared.tokenizer, pvp, texts.tokens, shared.accelerator, max_tokens=most)
        np.testing.assert_allclose(found[:, number], both[:, 1] - both[:, 0], atol=1e-4)


def test_a_training_set_has_a_row_for_each_text_and_each_label_with_examples(shared: Shared, texts: Texts) -> None:
    pvp = shared.pvps[0]
    assert pvp.names is not None
    gold = np.array([[1, 0, 0], [0, 0, 1]], dtype=np.float32)  # nothing is "bad"
    data = asked_data(ClozeData(texts.tokens, gold, texts.tokens), pvp.names)
    assert data.labels.tolist() == [1, 0, 0, 1]
    filled = [shared.tokenizer.decode(row) for row in map(pvp.encoder.encode(data.labeled).ids.__getitem__, range(4))]
    assert ["good news" in row for row in filled] == [True, False, True, False]
    assert ["striker" in row for row in filled] == [True, True, False, False]
    assert data.unlabeled is not None and len(pvp.encoder.encode(data.unlabeled)) == 2
    soft = asked_data(ClozeData(texts.tokens, gold * 0.75, None), pvp.names)
    assert soft.labels.tolist() == [[0.25, 0.75], [1, 0], [1, 0], [0.25, 0.75]]


def test_words_for_yes_and_no_can_be_given_and_stay_in_the_task() -> None:
    words = {"no": ["false", "wrong"], "yes": ["true"]}
    pattern = {"template": "{text} About {label|lower}? {mask}.", "verbalizer": words}
    task = Task.from_dict({**ASKED, "patterns": [pattern, *ASKED["patterns"]]})
    assert dict(task.patterns[0].verbalizer.words) == {"no": ("false", "wrong"), "yes": ("true",)}
    assert Task.from_dict(task.to_dict()) == task and "verbalizer" not in task.to_dict()
    assert [task.answers(pattern) for pattern in task.patterns] == [("no", "yes")] * 2


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"multi_label": "false"}, ["unknown field 'label'"]),
        ({"patterns": ["Is it {label}? {mask}."]}, ["{label}", "text"]),
        ({"patterns": [{"template": ASKED["patterns"][0], "verbalizer": {"yes": "yes"}}]}, ["'no' has no word"]),
        ({"patterns": [{"template": ASKED["patterns"][0], "verbalizer_kind": "learned"}]}, ["verbalizer_kind"]),
    ],
)
def test_mistakes_in_such_a_pattern_are_told(changes: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(PetError) as error:
        Task.from_dict({**ASKED, **changes})
    assert all(text in str(error.value) for text in named)
