"""scikit-learn's own checks of an estimator, as far as they make sense for texts.

They only know rows of numbers, so that a subclass reads these as texts.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
from scipy import sparse

from pet import PetClassifier, resources

if tuple(int(part) for part in sklearn.__version__.split(".")[:2]) < (1, 6):
    pytest.skip("lists of expected failures came with scikit-learn 1.6", allow_module_level=True)

from sklearn.utils.estimator_checks import parametrize_with_checks

WORDS = ("good", "bad", "great", "terrible", "yes")
LABELS = (-1, 0, 1, 2, 3)

_TEXTS_HAVE_NO_WIDTH = "a text has no number of features: a row of other length is a text of other length"
_TASK_HAS_LABELS = "the labels are those of the task, and not those that y happens to have"
_RANDOM = "it must find clusters of points: nothing to be learnt by a tiny random model from a few words"
EXPECTED = {
    "check_n_features_in": _TEXTS_HAVE_NO_WIDTH,
    "check_n_features_in_after_fitting": _TEXTS_HAVE_NO_WIDTH,
    "check_estimators_empty_data_messages": "a row without numbers is an empty text, which is a text",
    "check_fit1d": "one-dimensional input is what a list of texts is",
    "check_fit2d_predict1d": "one-dimensional input is what a list of texts is",
    "check_classifiers_one_label": _TASK_HAS_LABELS,
    "check_classifiers_classes": _TASK_HAS_LABELS,
    "check_classifiers_train": _RANDOM,
}


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
    rows = X if sparse.issparse(X) else np.asarray(X)
    return [_text(row) for row in rows.tolist()] if isinstance(rows, np.ndarray) and rows.ndim == 2 else rows


def _text(row: list[Any]) -> str | None:
    """A word for each number; None, a missing text, for a row with a missing number."""
    numbers = [value.real for value in row]
    if not np.isfinite(numbers).all():
        return None
    return " ".join(WORDS[int(10 * abs(number)) % len(WORDS)] for number in numbers)


@pytest.fixture(autouse=True)
def embedded(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model is an embedded one: its path is not known when the checks are collected."""
    parent = tiny_model.parent
    monkeypatch.setattr(resources, "folder", lambda kind: parent)


def make(method: str) -> NumbersAsTexts:
    return NumbersAsTexts(
        patterns=["{text} It was {mask}."],
        verbalizer=dict(zip(LABELS, WORDS, strict=True)),
        model="bert",
        method=method,
        settings={"max_length": 64, "supervised_steps": 1, "supervised_batch": 4},
        device="cpu",
        precision="fp32",
    )


def run_check(estimator: Any, check: Callable[[Any], object]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@parametrize_with_checks([make("zero-shot")], expected_failed_checks=lambda estimator: EXPECTED)
def test_check_without_training(estimator: Any, check: Any) -> None:
    run_check(estimator, check)


@pytest.mark.slow
@parametrize_with_checks([make("supervised")], expected_failed_checks=lambda estimator: EXPECTED)
def test_check_with_training(estimator: Any, check: Any) -> None:
    run_check(estimator, check)


def test_tags_say_that_it_reads_texts() -> None:
    from sklearn.utils import get_tags

    tags = get_tags(PetClassifier())
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array
    assert not tags.input_tags.sparse
    assert tags.estimator_type == "classifier"
    assert tags.target_tags.required
    assert not get_tags(PetClassifier(method="zero-shot")).target_tags.required


def test_repeated_training_and_a_pickled_copy_agree() -> None:
    """The two checks of trained state that matter most, also in the quick suite."""
    X = np.arange(12.0).reshape(6, 2) / 7
    y = [0, 1, 2, 0, 1, 2]
    first = make("supervised").fit(X, y)
    again = make("supervised").fit(X, y)
    np.testing.assert_array_equal(first.predict_proba(X), again.predict_proba(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(first)).predict_proba(X), first.predict_proba(X))
