"""scikit-learn's own checks of an estimator, as far as they make sense for texts.

They only know rows of numbers, so that a subclass reads these as texts.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
from scipy import sparse

from pet import PetClassifier, resources

if tuple(int(part) for part in sklearn.__version__.split(".")[:2]) < (1, 6):
    pytest.skip("estimator tags and lists of expected failures came with scikit-learn 1.6", allow_module_level=True)

from sklearn.utils.estimator_checks import parametrize_with_checks

WORDS = ("good", "bad", "great", "terrible", "yes", "no", "news", "world")
LABELS = (-1, 0, 1, 2, 3)


class NumbersAsTexts(PetClassifier):
    """Reads a row of numbers as a text of as many words."""

    def fit(self, X: Any, y: Any = None, unlabeled: Any = None) -> NumbersAsTexts:
        super().fit(_texts(X), y, unlabeled)
        return self

    def predict_proba(self, X: Any) -> Any:
        return super().predict_proba(_texts(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True  # without it scikit-learn checks nothing at all
        return tags


def _texts(X: Any) -> Any:
    if sparse.issparse(X):
        return X
    rows = np.asarray(X)
    if rows.ndim != 2:
        return rows
    return [_text(row) for row in rows.tolist()]


def _text(row: list[Any]) -> str | None:
    """A word for each number; None, a missing text, for a row with a missing number."""
    numbers = [value.real for value in row]
    return " ".join(WORDS[int(10 * abs(x)) % len(WORDS)] for x in numbers) if np.isfinite(numbers).all() else None


EXPECTED: dict[str, str] = {}


@pytest.fixture(autouse=True)
def tiny_default(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the default model stands for the tiny one."""
    parent = tiny_model.parent
    monkeypatch.setattr(resources, "folder", lambda kind: parent)


ESTIMATOR = NumbersAsTexts(
    patterns=["{text} It was {mask}."],
    verbalizer=dict(zip(LABELS, WORDS, strict=False)),
    model="bert",
    method="supervised",
    settings={"max_length": 64, "supervised_steps": 1, "supervised_batch": 4},
    device="cpu",
    precision="fp32",
)


@parametrize_with_checks([ESTIMATOR], expected_failed_checks=lambda estimator: EXPECTED)
def test_scikit_learn_check(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)
