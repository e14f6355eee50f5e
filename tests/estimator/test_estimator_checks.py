"""scikit-learn's own checks of an estimator.

They pass rows of numbers, so a subclass makes a task for each: a field for each column, and the labels of `y`, in an
order that is not the sorted one.
"""

from __future__ import annotations

import math
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
from pet.data.values import label_text

if tuple(int(part) for part in sklearn.__version__.split(".")[:2]) < (1, 6):
    pytest.skip("lists of expected failures came with scikit-learn 1.6", allow_module_level=True)

from sklearn.utils.estimator_checks import check_classifiers_train, parametrize_with_checks

WORDS = ("good", "bad", "great", "terrible", "yes", "no", "news", "world", "sports", "business")
TINY, MINI = "bert", resources.folder("models") / "mini-en"
_FIELDS = "it is refused, but the message speaks of the fields of the task, not of features"
EXPECTED = {
    "check_n_features_in_after_fitting": _FIELDS,
    "check_estimators_empty_data_messages": _FIELDS,
    "check_fit2d_predict1d": _FIELDS,
}
UNTRAINED = EXPECTED | {
    "check_classifiers_one_label": "it must learn that there is one label; zero-shot does not train"
}


class NumbersAsTexts(PetClassifier):
    """Makes a word of each number, and a task for the shape of `X` and the labels in `y`."""

    def fit(self, X: Any, y: Any = None, unlabeled: Any = None) -> NumbersAsTexts:
        given = self.task
        self.task = _task(X, y)
        try:
            super().fit(_words(X), y, unlabeled)
        finally:
            self.task = given
        return self

    def predict_proba(self, X: Any) -> Any:
        return super().predict_proba(_words(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True  # without it scikit-learn checks nothing at all
        tags.classifier_tags.poor_score = self.model == TINY  # only the accuracy on clusters is then not checked
        return tags


def _task(X: Any, y: Any) -> dict[str, Any]:
    """A task for the columns of `X` and the labels in `y`; any task if they are not valid."""
    values = np.unique(np.asarray(y)) if y is not None else np.array([0, 1])
    labels = [label_text(value) for value in values[::-1]]
    if None in labels or len(labels) > len(WORDS):
        labels = ["1", "0"]
    labels += [str(1 - int(str(labels[0])))] if len(labels) == 1 else []
    fields = [f"x{i}" for i in range(X.shape[1] if getattr(X, "ndim", 0) == 2 else 0)] or ["x0", "x1"]
    return {
        "task": "numbers",
        "fields": fields,
        "labels": labels,
        "verbalizer": dict(zip(labels, WORDS, strict=False)),
        "patterns": [" ".join(f"{{{field}}}" for field in fields) + " {mask}."],
    }


def _words(X: Any) -> Any:
    """A word for each number; a missing text for NaN and for infinity, which would be the text ``inf``."""
    rows = X if sparse.issparse(X) else np.asarray(X)
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype.kind not in "fiu":
        return X
    return [[_word(number) for number in row] for row in rows.tolist()]


def _word(number: float) -> str | float:
    return WORDS[min(max(int(2 * number + 5), 0), 9)] if math.isfinite(number) else math.nan


@pytest.fixture(autouse=True)
def embedded(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model is an embedded one: its path is not known when the checks are collected."""
    parent = tiny_model.parent
    monkeypatch.setattr(resources, "folder", lambda kind: parent)


def make(method: str, **settings: Any) -> NumbersAsTexts:
    quick = {"max_length": 64, "supervised_steps": 1, "supervised_batch": 4}
    return NumbersAsTexts(model=TINY, method=method, settings=quick | settings, device="cpu", precision="fp32")


def run_check(estimator: Any, check: Callable[[Any], object]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@parametrize_with_checks([make("zero-shot", prior="none")], expected_failed_checks=lambda estimator: UNTRAINED)
def test_check_without_training(estimator: Any, check: Any) -> None:
    run_check(estimator, check)


@pytest.mark.slow
@parametrize_with_checks([make("supervised")], expected_failed_checks=lambda estimator: EXPECTED)
def test_check_with_training(estimator: Any, check: Any) -> None:
    run_check(estimator, check)


@pytest.mark.slow
def test_a_small_model_learns_clusters_of_numbers_as_words() -> None:
    learning = {"supervised_steps": 60, "supervised_batch": 16, "student_learning_rate": 5e-4}
    estimator = make("supervised", **learning).set_params(model=str(MINI))
    run_check(estimator, lambda e: check_classifiers_train("NumbersAsTexts", e))


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


def test_settings_are_parameters_that_a_search_can_set() -> None:
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV

    quick = {"max_length": 64, "supervised_steps": 1, "supervised_batch": 4}
    estimator = NumbersAsTexts(model=TINY, method="supervised", device="cpu", precision="fp32", **quick)
    copy = clone(estimator).set_params(supervised_batch=2, student_learning_rate=1e-3)
    assert copy.get_params()["supervised_batch"] == 2
    assert estimator.get_params()["supervised_batch"] == 4
    assert clone(copy).get_params() == copy.get_params()
    assert "supervised_batch=2" in repr(copy)
    X, y = np.arange(12.0).reshape(6, 2) / 7, [0, 1, 0, 1, 0, 1]
    search = GridSearchCV(estimator, {"supervised_steps": [1, 2]}, cv=2, refit=False).fit(X, y)
    assert [found["supervised_steps"] for found in search.cv_results_["params"]] == [1, 2]


def test_unknown_and_contradicting_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"supervised_stepz.*supervised_steps"):
        make("supervised", supervised_stepz=3).fit(np.arange(12.0).reshape(6, 2), [0, 1, 0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"supervised_stepz.*supervised_steps"):
        NumbersAsTexts(supervised_stepz=3).fit(np.arange(12.0).reshape(6, 2), [0, 1, 0, 1, 0, 1])
    with pytest.raises(ValueError, match="stepz"):
        PetClassifier().set_params(stepz=3)
    twice = make("supervised").set_params(supervised_steps=2)
    with pytest.raises(ValueError, match=r"supervised_steps.*2.*1"):
        twice.fit(np.arange(12.0).reshape(6, 2), [0, 1, 0, 1, 0, 1])


def test_no_setting_hides_an_attribute_of_the_estimator() -> None:
    from pet.estimator.inputs import setting_names

    assert [name for name in setting_names() if hasattr(PetClassifier(), name)] == []
