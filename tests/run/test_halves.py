"""The estimate of accuracy without test texts, from halves of the labeled texts."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_run import pet, refused, run_options, write_inputs

from pet.cli.run import summary
from pet.ensemble.combine import Ensemble
from pet.members.spec import MemberSpec, pattern_spec
from pet.preflight.halves import Size, half_recipe, relative_cost, size_of
from pet.preflight.text import _time
from pet.recipe import make_recipe
from pet.report.estimate import _gained, estimate_lines
from pet.run.halves import draw_weights, estimate_from_halves, figures, right_rows, wants_halves
from pet.run.settings import RunSettings
from pet.run.stages import Member

NO_TEST = ("train", "unlabeled")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs") / "in")


@pytest.fixture(scope="module")
def estimated(inputs: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    place = tmp_path_factory.mktemp("estimated") / "run"
    said = pet(*run_options(inputs, tiny_model, parts=NO_TEST), "--estimate", "-q", "-o", place).stdout
    return place, said


def test_a_run_without_test_texts_says_how_good_it_is_and_what_more_labels_brought(
    estimated: tuple[Path, str], inputs: Path
) -> None:
    place, said = estimated
    found = json.loads((place / "metrics.json").read_text())["estimate"]
    assert (found["halves"]["draws"], found["halves"]["labeled"], found["halves"]["judged"]) == (4, 12, 12)
    assert found["low"] <= found["accuracy"] <= found["high"]
    gain = found["halves"]["gain"]
    assert gain["texts"] == 3 and gain["low"] <= gain["difference"] <= gain["high"]
    lines = estimate_lines(found)
    assert "4 × half of 12 labeled texts" in lines[0] and "3 labels" in lines[1]
    assert all(line in said for line in lines)
    assert all(line in (place / "report.html").read_text() for line in lines)


def test_the_estimate_is_the_same_after_it_was_lost(
    estimated: tuple[Path, str], inputs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    place, _ = estimated
    scores = np.load(place / "halves" / "scores.npy").reshape(8, 12, 4)
    assert (np.isnan(scores[0]).any(axis=1) != np.isnan(scores[1]).any(axis=1)).all()  # two draws share the texts
    assert (~np.isnan(scores[4:]).any(axis=2)).sum(axis=0).tolist() == [1] * 12  # and each fold is left out once
    (place / "halves" / "scores.npy").unlink()
    pet("run", place / "config.yaml", "-q")
    np.testing.assert_array_equal(np.load(place / "halves" / "scores.npy").reshape(8, 12, 4), scores)


def context_of(tests: bool, labeled: int = 32, **settings: bool) -> Any:
    """Return what the estimate needs to know of a default run with four labels and 1,000 unlabeled texts."""
    made = RunSettings(task={}, train="a", unlabeled="b", test=None, model="m", **settings)
    task = SimpleNamespace(multi_label=False, patterns=[None] * 4)
    train = type("Labeled", (), {"labels": np.arange(labeled) % 4, "__len__": lambda self: labeled})()
    texts: dict[str, Any] = {"train": train, "pool": range(1000)}
    said: list[str] = []
    return SimpleNamespace(
        settings=made, task=task, recipe=make_recipe(), shared=SimpleNamespace(group=None), texts=texts.__getitem__,
        has=lambda part: part != "test" or tests, reporter=SimpleNamespace(warn=said.append, said=said),
    )  # fmt: skip


def wants(tests: bool, **settings: bool) -> bool:
    """Return whether such a run with 32 labeled texts wants the estimate."""
    return wants_halves(context_of(tests, **settings))


def test_in_a_draw_one_pattern_weighs_as_much_as_all_and_every_other_member_as_in_the_run() -> None:
    specs = [pattern_spec("pattern", 0, 0), pattern_spec("pattern", 1, 0)]
    specs += [MemberSpec("rules", "words", {}), MemberSpec("rules", "more", {})]
    ensemble = Ensemble.of([spec.name for spec in specs], labels=2, weights=[0.25, 0.25, 0.125, 0.375])
    assert draw_weights([Member(spec) for spec in specs], ensemble) == {
        "p1-r1": 0.5, "p2-r1": 0.5, "words": 0.125, "more": 0.375,
    }  # fmt: skip


def test_by_default_a_run_estimates_where_there_are_no_test_texts() -> None:
    assert wants(tests=False)
    assert not wants(tests=True)
    assert wants(tests=True, estimate=True)
    assert not wants(tests=False, estimate=False)


@pytest.mark.parametrize(("asked", "warnings"), [(True, 1), (False, 0)])
def test_an_estimate_that_was_asked_for_and_needs_more_texts_is_missed(asked: bool, warnings: int) -> None:
    context = context_of(tests=False, labeled=7, **({"estimate": True} if asked else {}))
    members: Any = []
    ensemble: Any = None
    assert estimate_from_halves(context, members, ensemble, np.empty((0, 4))) is None
    assert len(context.reporter.said) == warnings
    assert all("8 labeled texts" in warning for warning in context.reporter.said)


def test_texts_with_several_labels_and_one_of_their_own_can_not_be_left_out() -> None:
    context = context_of(tests=False, estimate=True)
    context.texts("train").labels = np.eye(26, dtype=np.int8)
    assert not wants_halves(context)
    context.texts("train").labels = np.eye(26, dtype=np.int8)[np.arange(26) // 2]
    assert wants_halves(context)


def test_a_run_with_corrections_shows_the_estimate_before(tmp_path: Path) -> None:
    estimate = {"accuracy": 0.8, "low": 0.7, "high": 0.9, "disagreement": 0.1, "judged": 0, "wrong": 0}
    (tmp_path / "metrics.json").write_text(json.dumps({"method": "pet", "estimate": estimate}))
    settings = RunSettings(
        task={}, train="a", unlabeled="b", test=None, model="m", corrections="c", reuse=str(tmp_path)
    )  # fmt: skip
    said = summary({"method": "pet", "estimate": estimate | {"accuracy": 0.85}}, tmp_path / "new", settings)
    before = said[said.index("Before") :]
    assert "About 85%" in said and "80%" in before and str(tmp_path) in before and "too low" in before


def test_an_estimate_without_labeled_texts_is_refused(inputs: Path, tiny_model: Path, tmp_path: Path) -> None:
    options = run_options(inputs, tiny_model, parts=["unlabeled"])
    assert "--estimate" in refused(*options, "--method", "zero-shot", "--estimate", "-o", tmp_path / "run")


def test_of_several_labels_all_must_be_right() -> None:
    """Log-odds of two draws; the threshold is one half."""
    gold = np.array([[1, 0], [1, 1], [0, 0]])
    merged = np.array([[3.0, -1.0], [2.0, -0.1], [np.nan, np.nan]])
    np.testing.assert_array_equal(right_rows(merged, gold, 0.5), [1, 0, np.nan])
    np.testing.assert_array_equal(right_rows(merged, gold, 0.4), [1, 1, np.nan])


def test_the_estimate_of_several_labels_is_a_micro_f1_too() -> None:
    found = {"accuracy": 0.5, "low": 0.3, "high": 0.7, "disagreement": None, "judged": 20, "wrong": 10}
    (line,) = estimate_lines(found | {"micro_f1": [0.8, 0.7, 0.9]})
    assert "0.80 (0.70 to 0.90)" in line and "50%" in line and "20 labeled texts" in line and "10 right" in line


def test_pet_check_says_what_the_estimate_costs_and_what_it_would_cost() -> None:
    said = _time({"members": 60.0, "total": 60.0, "optional_estimate": 300.0}, [])
    assert "about 60 s" in said and "--estimate" in said and "5 min" in said and "optional" not in said
    assert "--no-estimate" in _time({"members": 60.0, "estimate": 30.0, "total": 90.0}, [])


def test_figures_weigh_every_text_alike() -> None:
    right = np.array([[1, 0, np.nan, np.nan], [1, np.nan, 0, np.nan], [np.nan, 1, 1, np.nan]])
    found = figures(right, np.array([1, 1, np.nan, 1]), 4, np.ones(4))
    assert (found.judged, found.accuracy) == (3, pytest.approx((1 + 0.5 + 0.5) / 3))
    assert found.gain is not None
    assert found.gain.difference == pytest.approx((0 + 0.5) / 2)
    assert "expect" not in _gained({"texts": 3, "difference": -0.2, "low": -0.3, "high": 0.1})
    many = figures(np.ones((1, 40)), np.ones(40), 5, np.ones(40))  # from 20 texts to 32
    assert many.gain is not None and many.gain.texts == 12
    assert figures(right, np.full(4, np.nan), 4, np.ones(4)).gain is None


def test_with_a_class_ratio_a_text_counts_as_often_as_its_label_occurs() -> None:
    right, weights = np.array([[1, 1, 0, 0]]), np.array([1.5, 1.5, 0.5, 0.5])
    found = figures(right, np.array([1, 1, 1, 0]), 4, weights)
    assert found.gain is not None
    assert (found.accuracy, found.size, found.judged) == (0.75, pytest.approx(16 / 5), 4)
    assert found.gain.difference == pytest.approx(0.5 / 4)
    assert found.low < 0.75 < found.high and found.gain.low < 0.5 / 4 < found.gain.high


def test_the_estimate_costs_less_than_the_run() -> None:
    recipe = make_recipe()
    assert half_recipe(recipe).member.unlabeled_batch == 0
    assert size_of(recipe, 4, 32, 1000).folds == 0 < size_of(recipe, 4, 10, 1000).folds
    cost = relative_cost(recipe, Size(4, 32, 1000))
    assert 0 < cost < relative_cost(recipe, Size(2, 32, 1000)) < relative_cost(recipe, Size(2, 32, 0))
