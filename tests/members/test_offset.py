"""What is subtracted from the scores of a member, in training from the first update on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from tiny_text import LABELS, news_rows

from pet.backbones.info import ModelInfo
from pet.errors import PetError
from pet.members.kinds import fit_scorer, make_scorer, open_scorer
from pet.members.models import Models
from pet.members.offset import FILE, read_offset
from pet.members.pattern import PatternMember
from pet.members.seam import MemberData
from pet.members.shared import Shared
from pet.members.spec import pattern_spec
from pet.members.texts import Texts
from pet.numerics import softmax
from pet.recipe import make_recipe
from pet.task.task import Task

ROWS = news_rows()
SETTINGS = {"max_length": "32"}
TASK = {
    "task": "topics",
    "fields": ["text"],
    "labels": list(LABELS),
    "verbalizer": {label: label.lower() for label in LABELS},
    "patterns": ["{mask} : {text}"],
}
GOLD = np.array([0, 0, 0, 1, 1, 2])  # no text of the last label
SPEC = pattern_spec("pattern", 0, 0)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def shared_of(tiny_model: Path) -> Callable[..., Shared]:
    def make(**settings: Any) -> Shared:
        recipe = make_recipe("default", SETTINGS | {"steps": 0, "min_epochs": 0} | settings)
        models = Models(ModelInfo(str(tiny_model)), 48, shared=not recipe.tuning.trains_backbone)
        return Shared(Task.from_dict(TASK), recipe, models, device="cpu", precision="fp32")

    return make


def texts_of(shared: Shared, rows: int = len(GOLD)) -> Texts:
    columns = {name: [row[name] for row in ROWS[:rows]] for name in ("id", "text")}
    return Texts(Dataset.from_dict(columns), lambda: shared.plan)


def fitted(shared: Shared, folder: Path, gold: Any = GOLD, start: Path | None = None) -> PatternMember:
    member = make_scorer(SPEC, shared, 0)
    assert isinstance(member, PatternMember)
    member.start = start
    folder.mkdir()
    fit_scorer(SPEC, member, MemberData([(texts_of(shared), np.arange(len(gold)))], gold, None), folder)
    return member


def scored(member: Any, shared: Shared, rows: int = len(GOLD)) -> np.ndarray:
    out = np.empty((rows, len(LABELS)), np.float32)
    member.scores(texts_of(shared, rows), out)
    return out


def test_the_first_predictions_for_the_labeled_texts_are_their_label_shares_on_average(
    shared_of: Callable[..., Shared], tmp_path: Path
) -> None:
    shared = shared_of()
    member = fitted(shared, tmp_path / "m")
    np.testing.assert_allclose(softmax(scored(member, shared)).mean(axis=0), [0.4, 0.3, 0.2, 0.1], atol=1e-4)


def test_a_member_without_its_folder_does_not_score(shared_of: Callable[..., Shared], tmp_path: Path) -> None:
    shared = shared_of()
    fitted(shared, tmp_path / "m")
    member = open_scorer(tmp_path / "m", shared)
    shared.models.keep([tmp_path / "m"])
    scored(member, shared)  # from now on, its model is in memory
    (tmp_path / "m").rename(tmp_path / "n")
    with pytest.raises(PetError, match="folder not found"):
        scored(member, shared)


def test_labels_may_be_probabilities(shared_of: Callable[..., Shared], tmp_path: Path) -> None:
    shared = shared_of()
    soft = np.full((6, 4), [0.5, 0.5, 0.0, 0.0], np.float32)
    member = fitted(shared, tmp_path / "m", soft)
    np.testing.assert_allclose(softmax(scored(member, shared)).mean(axis=0), [0.4, 0.4, 0.1, 0.1], atol=1e-4)


def test_the_offset_changes_no_difference_between_texts(shared_of: Callable[..., Shared], tmp_path: Path) -> None:
    shared, plain = shared_of(), shared_of(even_start=False)
    member, other = fitted(shared, tmp_path / "m"), fitted(plain, tmp_path / "plain")
    difference = scored(other, plain, 12) - scored(member, shared, 12)
    offset = read_offset(tmp_path / "m", len(LABELS))
    np.testing.assert_allclose(difference, np.tile(offset, (12, 1)), atol=1e-5)
    assert not read_offset(tmp_path / "plain", len(LABELS)).any() and np.abs(offset).max() > 0.01


def test_an_opened_member_scores_like_the_one_that_was_trained(
    shared_of: Callable[..., Shared], tmp_path: Path
) -> None:
    shared = shared_of(steps=3)
    expected = scored(fitted(shared, tmp_path / "m"), shared)
    again = shared_of(steps=3)
    np.testing.assert_array_equal(scored(open_scorer(tmp_path / "m", again), again), expected)


def test_training_starts_from_the_offset(shared_of: Callable[..., Shared], tmp_path: Path) -> None:
    losses, gold = {}, np.array([0, 0, 0, 0, 0, 1])
    for even in (True, False):
        shared = shared_of(steps=1, labeled_batch=6, even_start=even)
        (folder := tmp_path / str(even)).mkdir()
        data = MemberData([(texts_of(shared), np.arange(6))], gold, None)
        losses[even] = fit_scorer(SPEC, make_scorer(SPEC, shared, 0), data, folder).losses[0]
    of_shares = -(5 * np.log(0.75) + np.log(0.25)) / 6  # labels without examples are not seen
    assert losses[True] == pytest.approx(of_shares, abs=0.03)
    assert losses[False] > of_shares + 0.08


def test_a_member_that_continues_keeps_the_offset(shared_of: Callable[..., Shared], tmp_path: Path) -> None:
    shared = shared_of(steps=2, learning_rate=1e-2)
    fitted(shared, tmp_path / "first")
    fitted(shared, tmp_path / "second", np.array([3, 3, 3, 3, 3, 2]), tmp_path / "first")
    np.testing.assert_array_equal(read_offset(tmp_path / "second", 4), read_offset(tmp_path / "first", 4))


def test_a_member_of_an_older_version_has_no_offset(shared_of: Callable[..., Shared], tmp_path: Path) -> None:
    shared = shared_of(even_start=False)
    expected = scored(fitted(shared, tmp_path / "m"), shared)
    (tmp_path / "m" / FILE).unlink()
    np.testing.assert_array_equal(scored(open_scorer(tmp_path / "m", shared), shared), expected)


def test_calibration_by_an_empty_text_cancels_the_offset(shared_of: Callable[..., Shared], tmp_path: Path) -> None:
    even, plain = shared_of(calibration="pmi"), shared_of(calibration="pmi", even_start=False)
    found = scored(fitted(even, tmp_path / "m"), even)
    np.testing.assert_allclose(found, scored(fitted(plain, tmp_path / "plain"), plain), atol=1e-5)
