"""The order of classes: that of scikit-learn in the estimator and in its helpers, whatever the order of the task.

The model is an oracle: it reads the label in the text, is unsure to a degree that depends on the text, and refuses to
be trained on other labels.
"""

from __future__ import annotations

import math
import pickle
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer, get_scorer_names, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

from pet import PetClassifier, PetError, Task
from pet.ensemble.soft_label_files import SoftLabelTable
from pet.estimator.classes import class_order

WORDS = ("good", "bad", "great", "terrible")
LABEL_SETS: dict[str, tuple[Any, ...]] = {
    "two texts": ("positive", "negative"),
    "two numbers": (1, 0),
    "two booleans": (True, False),
    "three texts": ("sports", "arts", "business"),
    "three numbers": (3, 10, 2),
}


@dataclass
class Oracle:
    """What `PetClassifier` keeps of a run; the text ``7 means bad`` has the label ``bad``."""

    labels: tuple[str, ...]
    soft_labels: SoftLabelTable | None = None
    student: None = None
    ensemble: None = None
    folder: None = None

    def to_cpu(self) -> None:
        """It has no weights."""

    @property
    def results(self) -> dict[str, Any]:
        return {}

    def probabilities(self, table: Any, *_: Any) -> Any:
        return plain(table["text"][:], self.labels)


def plain(texts: Sequence[str], labels: Sequence[Any]) -> Any:
    """Probabilities of texts, with columns in the order of `labels`."""
    names = [str(label) for label in labels]
    rows = []
    for text in texts:
        number, label = text.split(" means ")
        # A number for each label that does not depend on the order of the labels.
        noise = {name: np.random.default_rng([int(number), *name.encode()]).normal() for name in names}
        scores = [np.exp(noise[name] + 2.5 * (name == label)) for name in names]
        rows.append(np.array(scores) / math.fsum(scores))  # which rounds alike in every order
    return np.array(rows)


@pytest.fixture(autouse=True)
def oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(self: PetClassifier, task: Task, tables: Mapping[str, Any]) -> Oracle:
        for text, position in zip(tables["train"]["text"], tables["train"]["label"], strict=True):
            assert text.endswith(f" means {task.labels[position]}"), f"trained on {task.labels[position]}: {text}"
        found = Oracle(task.labels)
        if "unlabeled" in tables:
            found.soft_labels = SoftLabelTable([], found.probabilities(tables["unlabeled"]), list(task.labels))
        return found

    monkeypatch.setattr(PetClassifier, "_fit", fit)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="y has numbers")
        yield


def make(labels: Sequence[Any], **options: Any) -> PetClassifier:
    words = dict(zip(labels, WORDS, strict=False))
    return PetClassifier(patterns=["{text} {mask}"], verbalizer=words, **options)


def data(labels: Sequence[Any], rows: int = 60) -> tuple[list[str], Any]:
    """Texts and labels that alternate irregularly."""
    chosen = [labels[i] for i in np.random.default_rng(0).permutation(np.arange(rows) % len(labels))]
    return [f"{i} means {label}" for i, label in enumerate(chosen)], np.array(chosen)


every_set = pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=LABEL_SETS)


# ---- the estimator -----------------------------------------------------------------------------------


@every_set
def test_classes_and_columns_are_sorted_and_lead_back_to_the_task(labels: Any) -> None:
    X, y = data(labels)
    classifier = make(labels).fit(X, y, unlabeled=X[:7])
    order = np.unique(y)
    assert list(labels) != order.tolist()
    np.testing.assert_array_equal(classifier.classes_, order, strict=True)
    found = classifier.predict_proba(X)
    np.testing.assert_array_equal(found, plain(X, order.tolist()))
    np.testing.assert_array_equal(classifier.predict(X), order[found.argmax(axis=1)])
    assert classifier.score(X, y) == np.mean(classifier.predict(X) == y)
    assert classifier.task_.labels == tuple(map(str, labels))
    names = [classifier.task_.labels[i] for i in classifier.class_positions_]
    assert names == [str(value) for value in order.tolist()]
    np.testing.assert_array_equal(found[:, np.argsort(classifier.class_positions_)], plain(X, labels))
    assert classifier.soft_labels_.labels == names
    np.testing.assert_array_equal(classifier.soft_labels_.probabilities, found[:7])


def test_labels_that_are_not_in_y_are_classes_too() -> None:
    X, y = data(("c", "a"))
    classifier = make(("c", "b", "a")).fit(X, y)
    assert classifier.classes_.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(classifier.predict_proba(X), plain(X, "abc"))


def test_order_is_that_of_the_type_of_the_labels() -> None:
    for values in (["b", "B", "a", "Z", "é", "10", "9"], [10, 9, -1], [True, False], [2.5, 10.0, -1.0]):
        assert [values[i] for i in class_order(values)] == np.unique(np.array(values)).tolist()


@pytest.mark.parametrize(
    ("labels", "y"),
    [
        (("x", 1, 2), None),
        (("x", "1", "2"), [2, 1]),  # 'x' is not a number
        (("x", "1", "2"), np.array(["x", 1], dtype=object)),
    ],
)
def test_labels_of_mixed_types_are_refused_before_training(labels: Any, y: Any) -> None:
    X = None if y is None else [f"{i} means {label}" for i, label in enumerate(y)]
    with pytest.raises(ValueError, match=r"'x'.*number"):
        make(labels, method="zero-shot" if y is None else "supervised").fit(X, y)


def test_weights_of_score_are_checked() -> None:
    X, y = data(("b", "a"))
    classifier = make(("b", "a")).fit(X, y)
    right = classifier.predict(X) == y
    weights = np.arange(len(X))
    assert classifier.score(X, y, sample_weight=weights) == pytest.approx(weights[right].sum() / weights.sum())
    with pytest.raises(ValueError, match=r"(?i)inconsistent|samples"):
        classifier.score(X, y, sample_weight=[1.0])
    with pytest.raises(TypeError, match="sample_weight"):
        make(("b", "a")).fit(X, y, sample_weight=weights)


def test_a_pickle_in_the_order_of_the_task_is_sorted_when_it_is_opened() -> None:
    labels = ("sports", "arts", "business")
    X, y = data(labels)
    classifier = make(labels).fit(X, y, unlabeled=X[:5])
    state = classifier.__getstate__()
    old = {key: value for key, value in state.items() if key != "class_positions_"}
    old["classes_"] = np.array(labels)
    old["soft_labels_"] = SoftLabelTable([], plain(X[:5], labels), list(labels))
    opened = PetClassifier.__new__(PetClassifier)
    opened.__setstate__(pickle.loads(pickle.dumps(old)))
    for copy in (opened, pickle.loads(pickle.dumps(classifier))):
        assert copy.classes_.tolist() == sorted(labels)
        np.testing.assert_array_equal(copy.predict_proba(X), classifier.predict_proba(X))
        np.testing.assert_array_equal(copy.soft_labels_.probabilities, classifier.soft_labels_.probabilities)


# ---- scorers -----------------------------------------------------------------------------------------


class Plain(ClassifierMixin, BaseEstimator):
    """The same figures as plain arrays, in the least that scikit-learn calls a classifier."""

    def fit(self, X: Any, y: Any) -> Plain:
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: Any) -> Any:
        return plain(X, self.classes_.tolist())

    def predict(self, X: Any) -> Any:
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def figure(name: str, classifier: Any, X: Any, y: Any) -> Any:
    """The figure of a scorer, or the kind of its error: some scorers only apply to numbers, or to two labels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return float(get_scorer(name)(classifier, X, y))
        except (ValueError, TypeError, AttributeError) as error:
            return type(error).__name__


@every_set
def test_every_scorer_gives_the_figure_of_plain_arrays(labels: Any) -> None:
    X, y = data(labels)
    classifier, reference = make(labels).fit(X, y), Plain().fit(X, y)
    found = {name: figure(name, classifier, X, y) for name in get_scorer_names()}
    expected = {name: figure(name, reference, X, y) for name in get_scorer_names()}
    assert found == pytest.approx(expected, nan_ok=True)
    figures = {name for name, value in found.items() if isinstance(value, float)}
    assert {"accuracy", "f1_macro", "neg_log_loss", "roc_auc_ovr", "roc_auc_ovo", "matthews_corrcoef"} <= figures
    assert len(figures) >= 30
    if len(labels) == 2:
        columns = plain(X, np.unique(y).tolist())
        assert found["roc_auc"] == roc_auc_score(y == np.unique(y)[1], columns[:, 1]) > 0.9


# ---- helpers that encode labels ----------------------------------------------------------------------


@every_set
def test_helpers_of_scikit_learn_keep_labels_and_columns(labels: Any) -> None:
    X, y = data(labels)
    order = np.unique(y)
    columns = plain(X, order.tolist())
    hard = order[columns.argmax(axis=1)]
    accuracy = np.mean(hard == y)
    assert accuracy > 0.8

    def predicted(classifier: Any) -> Any:
        return classifier.fit(X, y).predict(X)

    for classifier in (make(labels), make_pipeline("passthrough", make(labels))):
        np.testing.assert_array_equal(cross_val_predict(classifier, X, y, cv=3), hard)
        np.testing.assert_array_equal(cross_val_predict(classifier, X, y, cv=3, method="predict_proba"), columns)
    two = [("a", make(labels)), ("b", make(labels, random_state=1))]
    np.testing.assert_array_equal(predicted(VotingClassifier(two, voting="hard")), hard)
    soft = VotingClassifier(two, voting="soft").fit(X, y)
    np.testing.assert_allclose(soft.predict_proba(X), columns)
    np.testing.assert_array_equal(soft.predict(X), hard)
    for ensemble in (True, False):
        assert np.mean(predicted(CalibratedClassifierCV(make(labels), cv=3, ensemble=ensemble)) == y) > 0.8
    assert np.mean(predicted(StackingClassifier(two, LogisticRegression(), cv=3)) == y) > 0.8
    search = GridSearchCV(make(labels), {"random_state": [0, 1]}, cv=3, scoring="accuracy", error_score="raise")
    np.testing.assert_array_equal(predicted(search), hard)
    assert search.best_score_ == pytest.approx(accuracy)
    scores = cross_val_score(make(labels), X, y, cv=3, scoring="roc_auc_ovr", error_score="raise")
    np.testing.assert_array_equal(scores, cross_val_score(Plain(), X, y, cv=3, scoring="roc_auc_ovr"))


def test_one_against_the_rest_works_for_two_labels_only() -> None:
    X, y = data(("positive", "negative"))
    hard = Plain().fit(X, y).predict(X)
    np.testing.assert_array_equal(OneVsRestClassifier(make(("positive", "negative"))).fit(X, y).predict(X), hard)
    X, y = data(("sports", "arts", "business"))
    with pytest.raises(PetError, match=r"not a label(.|\n)*verbalizer="):
        OneVsRestClassifier(make(("sports", "arts", "business"))).fit(X, y)


def test_reading_encoded_labels_is_announced_with_their_meaning() -> None:
    X, y = data(("positive", "negative"))
    with pytest.warns(UserWarning, match="0 = 'negative', 1 = 'positive'"):
        cross_val_predict(make(("positive", "negative")), X, y, cv=2, method="predict_proba")


def test_numbers_that_a_user_passes_for_texts_are_refused_with_the_cure() -> None:
    X, _ = data(("positive", "negative"))
    y = np.arange(len(X)) % 2
    for fit in (
        lambda: make(("positive", "negative")).fit(X, y),
        lambda: cross_val_score(make(("positive", "negative")), X, y, error_score="raise"),
    ):
        with pytest.raises(PetError, match=r"'0' is not a label(.|\n)*verbalizer=\{0: "):
            fit()


def test_a_label_that_no_helper_could_encode_is_refused() -> None:
    X, y = data(("sports", "arts"))  # the task has a third label
    with pytest.raises(PetError, match=r"not a label(.|\n)*LabelEncoder"):
        cross_val_predict(make(("sports", "arts", "business")), X, y, method="predict_proba")


# ---- numbers that have a meaning in the task ---------------------------------------------------------


def topics() -> Task:
    """A task whose data numbers its labels in another order than the sorted one."""
    return Task.from_dict(
        {
            "task": "topics",
            "fields": ["text"],
            "labels": ["World", "Sports", "Business"],
            "label_map": {"0": "World", "1": "Sports", "2": "Business"},
            "verbalizer": {"World": "world", "Sports": "sports", "Business": "business"},
            "patterns": ["{text} {mask}"],
        }
    )


def test_numbers_of_the_task_are_read_by_the_task() -> None:
    X, names = data(topics().labels)
    y = np.array([topics().labels.index(name) for name in names])
    classifier = PetClassifier(topics()).fit(X, y)
    assert classifier.classes_.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(classifier.predict_proba(X), plain(X, topics().labels))
    search = GridSearchCV(PetClassifier(topics()), {"random_state": [0]}, error_score="raise").fit(X, y)
    assert search.score(X, y) == classifier.score(X, y) > 0.8
    assert np.mean(CalibratedClassifierCV(PetClassifier(topics()), cv=3).fit(X, y).predict(X) == y) > 0.8


@pytest.mark.parametrize("numbers", [False, True])
def test_numbers_with_two_meanings_are_refused(numbers: bool) -> None:
    X, names = data(topics().labels)
    y = np.array([topics().labels.index(name) for name in names]) if numbers else names
    for helper in (
        lambda c: cross_val_predict(c, X, y, method="predict_proba"),
        lambda c: VotingClassifier([("a", c)]).fit(X, y),
    ):
        with pytest.raises(PetError, match=r"0 is 'World' .*'Business'.*label_map"):
            helper(PetClassifier(topics()))
    cured = PetClassifier(replace(topics(), label_map={}))
    found = cross_val_predict(cured, X, names, method="predict_proba")
    np.testing.assert_array_equal(found, plain(X, sorted(topics().labels)))


def test_numbers_of_labels_that_do_not_start_at_zero_are_told_from_their_encoding() -> None:
    labels = (1, 2, 3)
    X, y = data(labels)
    np.testing.assert_array_equal(cross_val_predict(make(labels), X, y, method="predict_proba", cv=3), plain(X, labels))
    first = y == 1  # in the other fold no number is unknown
    folds = [(np.flatnonzero(~first), np.flatnonzero(first)), (np.flatnonzero(first), np.flatnonzero(~first))]
    with pytest.raises(PetError, match="1 is '1' in the task, but '2'"):
        cross_val_predict(make(labels), X, y, method="predict_proba", cv=folds)


def test_labels_that_an_encoding_would_shift_are_named() -> None:
    X, y = data((0, 1, 2))
    with pytest.warns(UserWarning, match="no '3'"):
        VotingClassifier([("a", make((0, 1, 2, 3)))]).fit(X, y)
