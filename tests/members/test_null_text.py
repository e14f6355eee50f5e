"""Scores relative to texts without content, against values worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from tiny_text import LABELS

from pet.backbones.info import ModelInfo
from pet.ensemble.combine import Ensemble
from pet.inference.ensemble import untrained_ensemble
from pet.members.models import Models
from pet.members.null_text import NULL_TEXTS, label_bias
from pet.members.shared import Shared
from pet.members.spec import pattern_spec
from pet.members.texts import Texts
from pet.members.untrained import UntrainedMember
from pet.numerics import softmax
from pet.preflight.report import CheckReport, ZeroShot
from pet.preflight.text import check_text
from pet.preflight.zero_shot import accuracy_without_bias
from pet.recipe import make_recipe
from pet.run.settings import RunSettings
from pet.task.task import Task

VALUES = {
    "task": "t",
    "fields": ["text"],
    "labels": LABELS,
    "verbalizer": {label: label.lower() for label in LABELS},
    "patterns": ["{mask}: {text}"],
}
TEXTS = ["The striker scored twice.", "Shares of the bank fell.", "Engineers tested a chip."]

pytestmark = pytest.mark.usefixtures("one_thread")


def test_contextual_calibration_divides_by_the_mean_probability_of_texts_without_content() -> None:
    # p = (.7, .2, .1), null (.5, .3, .2)
    found = softmax(np.log([0.7, 0.2, 0.1]) - label_bias(np.log([[0.5, 0.3, 0.2]]), "contextual"))
    np.testing.assert_allclose(found, [0.545455, 0.259740, 0.194805], atol=1e-6)
    # the mean of (.8, .2) and (.2, .8) is even, whatever is added to the scores of a text
    null = np.log([[0.8, 0.2], [0.2, 0.8]]) + np.array([[0.0], [5.0]])
    np.testing.assert_allclose(label_bias(null, "contextual"), np.log([0.5, 0.5]))


def test_pmi_subtracts_the_scores_of_the_empty_text() -> None:
    assert NULL_TEXTS[0] == ""
    assert label_bias(np.array([[1.0, -2.0], [7.0, 7.0]]), "pmi").tolist() == [1.0, -2.0]


def scored(model: Path, texts: list[str], **settings: Any) -> Any:
    shared = Shared(
        Task.from_dict(VALUES),
        make_recipe("default", {"max_length": 40, **settings}),
        Models(ModelInfo(str(model)), 40, False),
        "cpu",
        "fp32",
    )
    out = np.empty((len(texts), len(LABELS)), dtype=np.float32)
    table = Dataset.from_dict({"id": list(map(str, range(len(texts)))), "text": texts})
    UntrainedMember(pattern_spec("untrained", 0, 0), shared).scores(Texts(table, lambda: shared.plan), out)
    return out, shared


@pytest.mark.parametrize("calibration", ["contextual", "pmi"])
def test_a_member_subtracts_its_bias_from_every_text(calibration: str, tiny_model: Path) -> None:
    plain, _ = scored(tiny_model, [*NULL_TEXTS, *TEXTS])
    found, _ = scored(tiny_model, TEXTS, calibration=calibration)
    np.testing.assert_allclose(found, plain[3:] - label_bias(plain[:3], calibration), atol=1e-5)


def test_calibrated_patterns_are_not_corrected_again_unless_a_prior_is_given(tiny_model: Path) -> None:
    def bias(**settings: str) -> Any:
        given = {"max_length": "40", **settings}
        made = RunSettings(
            VALUES, None, "pool.jsonl", None, model=str(tiny_model), settings=given, device="cpu", method="zero-shot"
        )
        return untrained_ensemble(made, Task.from_dict(VALUES)).ensemble.bias

    assert bias().any()
    assert not bias(calibration="contextual").any()
    assert bias(calibration="contextual", prior="World:.7,Sports:.1,Business:.1,Technology:.1").any()


def test_check_says_which_setting_removes_the_bias(tiny_model: Path) -> None:
    scores, shared = scored(tiny_model, TEXTS)

    ensemble = Ensemble.of(["p"], labels=4)
    found = accuracy_without_bias(shared, ensemble, [scores], np.array([1, 2, 3]))
    assert found.keys() == {"prior=balanced", "calibration=contextual"}
    _, given = scored(tiny_model, TEXTS, prior="balanced")
    assert accuracy_without_bias(given, ensemble, [scores], np.array([1, 2, 3])) == {}
    said = conclusion(0.17, {"prior=balanced": 0.59, "calibration=contextual": 0.49}, share=1.0)
    for part in ("All texts", "bug", "17%", "59%", "--set prior=balanced (59%) or calibration=contextual (49%)"):
        assert part in said
    assert "prior=balanced" not in conclusion(0.57, {"prior=balanced": 0.59}, share=0.3)


def conclusion(accuracy: float, without: dict[str, float], share: float) -> str:

    figures = {"accuracy": accuracy, "centered": 0.6}
    report = CheckReport("t", "m", 64)
    report.zero_shot = ZeroShot(
        "train", 40, 0.2, [figures], figures, favorite="bug", favorite_share=share, without_bias=without
    )
    return check_text(report)
