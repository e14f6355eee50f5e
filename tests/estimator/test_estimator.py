"""`PetClassifier`: what it takes, what it gives back, what it leaves behind."""

from __future__ import annotations

import gc
import json
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny_text
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from small_run import pet

from pet import PetClassifier, PetError, RunResult, RunSettings, Task, run_task
from pet.data.memory import table_of
from pet.data.targets import class_values, label_positions

PATTERNS = ["{text} It was {mask}.", "{mask}: {text}"]
WORDS = {label: label.lower() for label in tiny_text.LABELS}
SETTINGS = {
    "merge": "weighted",
    "max_length": 64,
    "repetitions": 1,
    "steps": 2,
    "labeled_batch": 2,
    "unlabeled_batch": 2,
    "student_steps": 2,
    "student_batch": 4,
    "supervised_steps": 2,
    "supervised_batch": 4,
}
ROWS = tiny_text.news_rows()
TEXTS = [row["text"] for row in ROWS]
TOPICS = [row["label"] for row in ROWS]
CLASSES = sorted(tiny_text.LABELS)
TRAIN, POOL, NEW = slice(0, 8), slice(8, 24), slice(24, 30)
PAIR_TASK = {
    "task": "pairs",
    "fields": ["premise", "hypothesis"],
    "labels": ["no", "yes"],
    "verbalizer": {"no": "no", "yes": "yes"},
    "patterns": ["{premise} || {mask}, {hypothesis}"],
}

Make = Callable[..., PetClassifier]


@pytest.fixture
def make(tiny_model: Path) -> Make:
    """An estimator of the four topics, quick to train; keywords change it."""

    def build(**changes: Any) -> PetClassifier:
        task = {} if "task" in changes else {"patterns": PATTERNS, "verbalizer": WORDS}
        options: dict[str, Any] = {
            **task, "model": str(tiny_model), "settings": SETTINGS, "device": "cpu", "precision": "fp32"
        }  # fmt: skip
        return PetClassifier(**(options | changes))

    return build


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary folders are made: nothing may stay there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    gc.collect()
    assert list(folder.iterdir()) == []


# ---- methods -----------------------------------------------------------------------------------------


def test_pet_gives_a_student_and_soft_labels(make: Make, temporary: Path) -> None:
    classifier = make()
    assert classifier.fit(TEXTS[TRAIN], TOPICS[TRAIN], unlabeled=TEXTS[POOL]) is classifier
    assert list(temporary.iterdir()) == []  # everything that predictions need is in memory
    assert classifier.classes_.tolist() == CLASSES != list(tiny_text.LABELS)
    assert [classifier.task_.labels[i] for i in classifier.class_positions_] == CLASSES
    assert classifier.n_features_in_ == 1
    assert classifier.task_.labels == tiny_text.LABELS
    assert classifier.student_ is not None
    assert classifier.ensemble_ is None
    assert classifier.soft_labels_.ids == [str(i) for i in range(16)]
    assert classifier.soft_labels_.probabilities.shape == (16, 4)
    assert classifier.soft_labels_.labels == CLASSES
    assert classifier.results_["data"]["train"] == 8
    probabilities = classifier.predict_proba(TEXTS[NEW])
    assert probabilities.shape == (6, 4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    predicted = classifier.predict(TEXTS[NEW])
    assert predicted.tolist() == [CLASSES[i] for i in probabilities.argmax(axis=1)]
    assert classifier.score(TEXTS[NEW], TOPICS[NEW]) == np.mean(predicted == np.array(TOPICS[NEW]))
    weights = [1, 0, 0, 0, 0, 0]
    assert classifier.score(TEXTS[NEW], TOPICS[NEW], weights) == float(predicted[0] == TOPICS[NEW][0])


def test_same_student_as_a_run_on_files(make: Make, tmp_path: Path, write_jsonl: Any, tiny_model: Path) -> None:
    train = [{"text": t, "label": y} for t, y in zip(TEXTS[TRAIN], TOPICS[TRAIN], strict=True)]
    estimator = make(output=tmp_path / "fitted", random_state=3)
    estimator.fit(TEXTS[TRAIN], TOPICS[TRAIN], unlabeled=TEXTS[POOL])
    settings = RunSettings(
        task=estimator.task_.to_dict(),
        train=str(write_jsonl("train.jsonl", train)),
        unlabeled=str(write_jsonl("pool.jsonl", [{"text": text} for text in TEXTS[POOL]])),
        test=None,
        model=str(tiny_model),
        seed=3,
        settings=SETTINGS,
        device="cpu",
        precision="fp32",
    )
    run_task(settings, tmp_path / "run")
    for file in ("g0/labels.jsonl", "student/model.safetensors", "g0/p2-r1/model.safetensors"):
        assert (tmp_path / "fitted" / file).read_bytes() == (tmp_path / "run" / file).read_bytes(), file


def test_pet_without_pool_predicts_with_the_ensemble(
    make: Make, temporary: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pet.ensemble.combine import merge_scores
    from pet.inference.ensemble import open_ensemble
    from pet.numerics import softmax

    classifier = make().fit(TEXTS[TRAIN], TOPICS[TRAIN])
    assert list(temporary.iterdir()) == []
    assert classifier.student_ is None
    assert classifier.soft_labels_ is None
    assert classifier.ensemble_.names == ["p1-r1", "p2-r1"]
    assert "unlabeled" in capsys.readouterr().err
    kept = make(output=tmp_path / "run").fit(TEXTS[TRAIN], TOPICS[TRAIN])
    ensemble = open_ensemble(tmp_path / "run")
    ensemble.use("cpu", "fp32")
    scores = ensemble.score(table_of(TEXTS[NEW], ["text"]))
    expected = softmax(merge_scores(scores, ensemble.ensemble.weights))[:, classifier.class_positions_]
    np.testing.assert_array_equal(classifier.predict_proba(TEXTS[NEW]), expected)
    np.testing.assert_array_equal(kept.predict_proba(TEXTS[NEW]), expected)
    with pytest.raises(PetError, match="student"):
        classifier.save(tmp_path / "saved")


@pytest.mark.parametrize("tuning", ["full", "prompt"])
def test_an_ensemble_predicts_the_same_without_the_folder_of_its_run(make: Make, tmp_path: Path, tuning: str) -> None:
    kept = make(output=tmp_path / "run", tuning=tuning).fit(TEXTS[TRAIN], TOPICS[TRAIN])
    loaded = PetClassifier.load(tmp_path / "run", device="cpu")
    pickled = pickle.dumps(kept)
    expected = make(tuning=tuning).fit(TEXTS[TRAIN], TOPICS[TRAIN]).predict_proba(TEXTS[NEW])
    shutil.rmtree(tmp_path / "run")
    for classifier in (kept, loaded, pickle.loads(pickled)):
        np.testing.assert_array_equal(classifier.predict_proba(TEXTS[NEW]), expected)


@pytest.mark.parametrize("verbalizer", ["weighted", "learned", "prototype"])
def test_an_ensemble_keeps_learned_verbalizers_in_memory(make: Make, tmp_path: Path, verbalizer: str) -> None:
    settings = SETTINGS | {"verbalizer": verbalizer}
    kept = make(settings=settings, output=tmp_path / "run").fit(TEXTS[TRAIN], TOPICS[TRAIN])
    expected = kept.predict_proba(TEXTS[NEW])
    shutil.rmtree(tmp_path / "run")
    classifier = make(settings=settings).fit(TEXTS[TRAIN], TOPICS[TRAIN])
    for other in (kept, classifier, pickle.loads(pickle.dumps(classifier))):
        np.testing.assert_array_equal(other.predict_proba(TEXTS[NEW]), expected)


def test_ensemble_larger_than_memory_stays_on_disk(
    make: Make, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = make().fit(TEXTS[TRAIN], TOPICS[TRAIN]).predict_proba(TEXTS[NEW])
    monkeypatch.setattr("pet.members.models.KEEP_BYTES", 0)
    classifier = make().fit(TEXTS[TRAIN], TOPICS[TRAIN])
    assert len(list(temporary.iterdir())) == 1
    np.testing.assert_array_equal(classifier.predict_proba(TEXTS[NEW]), expected)
    with pytest.raises(PetError, match="pickled"):
        pickle.dumps(classifier)
    del classifier
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_zero_shot_needs_no_data(make: Make) -> None:
    classifier = make(method="zero-shot").fit(None)
    assert classifier.classes_.tolist() == CLASSES
    again = make(method="zero-shot").fit(TEXTS[TRAIN], TOPICS[TRAIN])
    np.testing.assert_array_equal(again.predict_proba(TEXTS[NEW]), classifier.predict_proba(TEXTS[NEW]))


def test_zero_shot_can_be_primed_with_labeled_texts(make: Make) -> None:
    settings = {**SETTINGS, "priming": 2, "prior": "none"}  # unlabeled texts would correct the label bias
    primed = make(method="zero-shot", settings=settings).fit(TEXTS[TRAIN], TOPICS[TRAIN])
    plain = make(method="zero-shot").fit(None)
    assert not np.allclose(primed.predict_proba(TEXTS[NEW]), plain.predict_proba(TEXTS[NEW]))
    labeled = make(method="zero-shot", settings=settings).fit(TEXTS[TRAIN], TOPICS[TRAIN], TEXTS[POOL])
    np.testing.assert_allclose(labeled.predict_proba(TEXTS[NEW]), primed.predict_proba(TEXTS[NEW]))
    with pytest.raises(PetError, match="labeled"):
        make(method="zero-shot", settings=settings).fit(None)


def test_zero_shot_labels_a_pool(make: Make) -> None:
    classifier = make(method="zero-shot").fit(None, unlabeled=TEXTS[POOL])
    found = classifier.soft_labels_.probabilities
    np.testing.assert_allclose(found, classifier.predict_proba(TEXTS[POOL]), atol=1e-6)


def test_supervised_trains_a_plain_classifier_without_soft_labels(make: Make) -> None:
    classifier = make(method="supervised").fit(TEXTS[TRAIN], TOPICS[TRAIN], unlabeled=TEXTS[POOL])
    assert classifier.student_ is not None
    assert classifier.soft_labels_ is None
    assert classifier.results_["data"]["pool"] == 0
    assert set(classifier.predict(TEXTS[NEW])) <= set(tiny_text.LABELS)


def test_texts_of_train_are_left_out_of_the_pool(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    classifier = make().fit(TEXTS[TRAIN], TOPICS[TRAIN], unlabeled=TEXTS[0:12])
    assert classifier.soft_labels_.ids == ["8", "9", "10", "11"]
    assert "8 rows" in capsys.readouterr().err


# ---- inputs ------------------------------------------------------------------------------------------


def test_a_task_can_be_a_name_path_mapping_or_object(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(PAIR_TASK), encoding="utf-8")  # JSON is YAML
    for task in (str(path), path, PAIR_TASK, Task.load(path)):
        classifier = make(task=task, method="zero-shot").fit(None)
        assert classifier.task_ == Task.from_dict(PAIR_TASK)
        assert classifier.n_features_in_ == 2


def test_texts_with_two_fields_can_be_tuples_mappings_or_columns(make: Make) -> None:
    pairs = list(zip(TEXTS[:6], TEXTS[6:12], strict=True))
    classifier = make(task=PAIR_TASK, method="zero-shot").fit(None)
    expected = classifier.predict_proba(pairs)
    records = [{"hypothesis": b, "premise": a, "note": 1} for a, b in pairs]
    forms: list[Any] = [records, np.array(pairs), np.array(pairs, dtype=object), list(map(list, pairs))]
    pandas = pytest.importorskip("pandas")
    forms += [pandas.DataFrame(records), pandas.DataFrame(pairs), table_of(pairs, ["premise", "hypothesis"])]
    for form in forms:
        np.testing.assert_array_equal(classifier.predict_proba(form), expected)


def test_columns_that_the_task_names_are_read(make: Make, tmp_path: Path) -> None:
    task = PAIR_TASK | {"columns": {"premise": "sentence", "label": "answer"}}
    table = pd.DataFrame({"hypothesis": TEXTS[8:12], "sentence": TEXTS[0:4]})
    pool = pd.DataFrame({"hypothesis": TEXTS[16:20], "sentence": TEXTS[12:16]})
    named = table.rename(columns={"sentence": "premise"})
    classifier = make(task=task, output=tmp_path / "run").fit(table, ["yes", "no"] * 2, unlabeled=pool)
    plain = make(task=PAIR_TASK).fit(named, ["yes", "no"] * 2, unlabeled=pool.to_numpy()[:, ::-1])
    expected = plain.predict_proba(named)
    for texts in (table, table.to_dict("records"), named, list(zip(TEXTS[0:4], TEXTS[8:12], strict=True))):
        np.testing.assert_array_equal(classifier.predict_proba(texts), expected)
    assert 0 <= classifier.score(table, ["yes", "no"] * 2) <= 1
    assert RunResult(tmp_path / "run").texts(doubtful=1)["premise"].item() in TEXTS[12:16]


def test_forms_of_texts_with_one_field() -> None:
    texts = TEXTS[:3]
    forms: list[Any] = [texts, tuple(texts), np.array(texts), np.array(texts)[:, None], iter(texts)]
    forms += [[(text,) for text in texts], [{"text": text} for text in texts], list(map(np.str_, texts))]
    for form in forms:
        table = table_of(form, ["text"])
        assert table["text"][:] == texts
        assert table["id"][:] == ["0", "1", "2"]
    assert table_of([1, 2.5, True, np.int64(7)], ["text"])["text"][:] == ["1", "2.5", "true", "7"]


def test_series_and_frames_with_any_index() -> None:
    pandas = pytest.importorskip("pandas")
    series = pandas.Series(TEXTS[:3], index=[7, 5, 3])
    for form in (series, series.astype("category"), series.to_frame("text")):
        assert table_of(form, ["text"])["text"][:] == TEXTS[:3]
    with pytest.raises(PetError, match=r"column 'text'.*'review'"):
        table_of(series.to_frame("review"), ["text"])
    with pytest.raises(PetError, match=r"row 1 .*text"):
        table_of(pandas.Series(["a", None], dtype="string"), ["text"])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", "X is a str"),
        (None, "X is a NoneType"),
        (3, "X is a int"),
        ([], "X"),
        (["a", None], "X: row 1 .*text"),
        (["a", float("nan")], "X: row 1 .*text"),
        (["a", b"b"], "X: row 1 .*bytes"),
        (["a", ("b", "c")], r"X: row 1 .*\('b', 'c'\)"),
        (["a", {"words": "b"}], "X: row 1 .*'text'"),
        (["a", "\ud800"], "X: row 1 .*surrogate"),
        (np.array("text"), "X"),
        ([["a", "b"], ["c", "d"]], "X: row 0 "),
    ],
)
def test_values_that_are_no_texts_are_refused_with_their_row(texts: Any, message: str) -> None:
    with pytest.raises(PetError, match=message):
        table_of(texts, ["text"])


def test_all_bad_rows_are_counted_and_the_first_ten_named() -> None:
    with pytest.raises(PetError) as caught:
        table_of([None] * 12, ["text"])
    (message,) = caught.value.problems
    assert "row 0 " in message and "11 more rows: 1, 2, " in message


# ---- labels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verbalizer", "y"),
    [
        ({0: "bad", 1: "good"}, [1, 0, 1, 0]),
        ({0: "bad", 1: "good"}, np.array([1, 0, 1, 0], dtype=np.int8)),
        ({"0": "bad", "1": "good"}, [1, 0, 1, 0]),
        ({False: "bad", True: "good"}, [True, False, True, False]),
        ({"bad": "bad", "good": ["good", "great"]}, np.array(["good", "bad", "good", "bad"], dtype=object)),
    ],
)
def test_predictions_are_spelled_as_y_is(make: Make, verbalizer: Any, y: Any) -> None:
    classifier = make(verbalizer=verbalizer, method="zero-shot").fit(TEXTS[:4], y)
    assert sorted(classifier.classes_.tolist()) == sorted(set(np.asarray(y).tolist()))
    predicted = classifier.predict(TEXTS[:4])
    assert predicted.dtype.kind == np.asarray(list(np.asarray(y).tolist())).dtype.kind
    assert classifier.score(TEXTS[:4], y) == np.mean(predicted == np.asarray(y))


def test_classes_are_spelled_as_y_or_as_the_task_writes_them() -> None:
    labels = ("negative", "positive", "neutral")
    mapped = {"0": "negative", "1": "positive", "2": "neutral"}
    assert class_values(labels, {}).tolist() == list(labels)
    assert class_values(labels, mapped, [0, 1, 0]).tolist() == [0, 1, 2]  # 2 was not seen
    assert class_values(labels, mapped, [0, "negative", 1]).tolist() == ["negative", 1, "neutral"]
    assert class_values(("1", "2", "x"), {}, [2, 1]).tolist() == [1, 2, "x"]
    assert class_values(("-1", "1"), {}, [1]).tolist() == [-1, 1]
    assert class_values(("False", "True"), {}, [True]).tolist() == [False, True]
    assert class_values(("a", "b"), {}, ["b"], ["a", "b"]).tolist() == ["a", "b"]
    assert class_values(("0", "1"), {}, [], [0, 1]).tolist() == [0, 1]


def test_labels_are_found_in_any_spelling_and_others_are_counted() -> None:
    found = label_positions([1, 1.0, np.int64(1), "1", "one"], ["0", "1"], {"one": "1"})
    assert found.tolist() == [1] * 5
    with pytest.raises(PetError) as caught:
        label_positions(["Sport", "b", "b"], ["sport", "arts"], {})
    unknown, case = caught.value.problems
    assert unknown.startswith("y: 'b'") and "2 of 3" in unknown and "'sport', 'arts'" in unknown
    assert case.startswith("y: 'Sport'") and "1 of 3" in case and "mean 'sport'" in case


# ---- mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patterns": None}, "task="),
        ({"verbalizer": None}, "task="),
        ({"task": "agnews", "patterns": PATTERNS}, "task.*patterns"),
        ({"patterns": ["no blank"]}, "mask"),
        ({"verbalizer": {1: "good", "1": "bad"}}, "label"),
        ({"method": "magic"}, "'magic'"),
        ({"recipe": "cake"}, "'cake'"),
        ({"settings": {"step": 1}}, "'step'.*steps"),
        ({"settings": "steps=1"}, "settings is a str.*mapping"),
        ({"verbalizer": ["good", "bad"]}, "verbalizer is a list.*mapping"),
        ({"verbalizer": {"good": "good", "bad": None}}, "'bad'"),
        ({"patterns": 1}, "patterns"),
        ({"model": "./nowhere"}, "./nowhere"),
        ({"device": "tpu9"}, "tpu9"),
        ({"method": "zero-shot", "output": "somewhere"}, "output"),
    ],
)
def test_mistakes_in_parameters_are_value_errors_of_fit(make: Make, changes: dict[str, Any], message: str) -> None:
    pool = None if changes.get("method") == "zero-shot" else TEXTS[POOL]
    estimator = make(**changes)  # checked in fit, as scikit-learn requires
    with pytest.raises(PetError, match=message) as caught:
        estimator.fit(TEXTS[TRAIN], TOPICS[TRAIN], unlabeled=pool)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(NotFittedError):
        estimator.predict(TEXTS[NEW])


@pytest.mark.parametrize(
    ("X", "y", "unlabeled", "message"),
    [
        (TEXTS[:4], None, None, "requires y to be passed"),
        (TEXTS[:4], TOPICS[:3], None, "X has 4 texts, .*3 labels"),
        (TEXTS[:4], ["Sport", *TOPICS[:3]], None, "y: 'Sport' .*mean 'Sports'"),
        (TEXTS[:4], [*TOPICS[:3], -1], None, "(?s)'-1' is not a label.*unlabeled="),
        (TEXTS[:4], TOPICS[:4], [], "unlabeled"),
        (TEXTS[:4], TOPICS[:4], TEXTS[:3], "unlabeled.*train"),
        (TEXTS[:4], TOPICS[:4], "pool.jsonl", "unlabeled is a str"),
        (None, TOPICS[:4], None, "X is a NoneType"),
    ],
)
def test_mistakes_in_data_are_value_errors_that_name_the_argument(
    make: Make, X: Any, y: Any, unlabeled: Any, message: str
) -> None:
    with pytest.raises(PetError, match=message) as caught:
        make().fit(X, y, unlabeled)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(("method", "y"), [("pcp", TOPICS[:4]), ("ipet", None)])
def test_a_method_that_needs_unlabeled_texts_asks_for_the_argument(make: Make, method: str, y: Any) -> None:
    with pytest.raises(ValueError, match=f"'{method}'.*unlabeled="):
        make(method=method).fit(None if y is None else TEXTS[:4], y)


def test_predicting_before_fit_is_refused(make: Make) -> None:
    for method in (lambda e: e.predict_proba(TEXTS), lambda e: e.score(TEXTS, TOPICS), lambda e: e.save("x")):
        with pytest.raises(NotFittedError):
            method(make())


# ---- scikit-learn ------------------------------------------------------------------------------------


def test_parameters_are_stored_as_given_and_cloned() -> None:
    given: dict[str, Any] = {
        "task": None, "patterns": PATTERNS, "verbalizer": WORDS, "model": "m", "method": "supervised",
        "recipe": "paper", "settings": SETTINGS, "student_model": "s", "random_state": 5, "device": "cpu",
        "precision": "bf16", "output": "o", "allow_pickle": True, "verbose": True, "estimate": True,
    }  # fmt: skip
    estimator = PetClassifier(**given)
    assert estimator.get_params() == given
    assert all(getattr(estimator, name) is value for name, value in given.items())
    assert clone(estimator).get_params() == given
    with_task = PetClassifier(Task.from_dict(PAIR_TASK))
    assert clone(with_task).task == with_task.task
    assert estimator.set_params(method="pet").method == "pet"


def test_fitting_again_forgets_the_first_fit(make: Make) -> None:
    classifier = make().fit(TEXTS[TRAIN], TOPICS[TRAIN], unlabeled=TEXTS[POOL])
    assert classifier.soft_labels_ is not None
    classifier.set_params(verbalizer={"bad": "bad", "good": "good"}, method="zero-shot").fit(None)
    assert classifier.student_ is None
    assert classifier.soft_labels_ is None
    assert classifier.predict_proba(TEXTS[NEW]).shape == (6, 2)


def test_random_state_decides_the_result(make: Make) -> None:
    def fitted(state: Any) -> Any:
        classifier = make(method="supervised", random_state=state).fit(TEXTS[TRAIN], TOPICS[TRAIN])
        return classifier.predict_proba(TEXTS[NEW])

    same = fitted(1)
    np.testing.assert_array_equal(fitted(np.int64(1)), same)
    np.testing.assert_array_equal(fitted(np.random.RandomState(4)), fitted(np.random.RandomState(4)))
    assert (fitted(2) != same).any()
    assert (fitted(None) != same).any()


@pytest.mark.parametrize("pool", [TEXTS[POOL], None])
def test_pickled_copy_predicts_the_same(make: Make, pool: Any) -> None:
    classifier = make().fit(TEXTS[TRAIN], TOPICS[TRAIN], unlabeled=pool)
    expected = classifier.predict_proba(TEXTS[NEW])
    copy = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(copy.predict_proba(TEXTS[NEW]), expected)
    np.testing.assert_array_equal(classifier.predict_proba(TEXTS[NEW]), expected)


@pytest.mark.parametrize("method", ["zero-shot", "supervised"])
def test_pickle_of_an_earlier_version_predicts_the_same(make: Make, method: str) -> None:
    classifier = make(method=method).fit(TEXTS[TRAIN], TOPICS[TRAIN])
    expected = classifier.predict_proba(TEXTS[NEW])
    state = classifier.__getstate__()
    del state["class_positions_"]
    state["classes_"] = np.array(tiny_text.LABELS)  # in the order of the task
    predictor = state["_fitted"].predictor
    state["_fitted"].predictor = opened(type(predictor), {k: v for k, v in vars(predictor).items() if k != "_lock"})
    np.testing.assert_array_equal(opened(PetClassifier, state).predict_proba(TEXTS[NEW]), expected)


def opened(kind: type, state: dict[str, Any]) -> Any:
    """What unpickling makes of a state."""
    made = kind.__new__(kind)
    made.__setstate__(state)
    return made


def test_cross_validation_works(make: Make) -> None:
    scores = cross_val_score(make(method="zero-shot"), np.array(TEXTS), TOPICS, cv=2, scoring="accuracy")
    whole = make(method="zero-shot").fit(None).score(TEXTS, TOPICS)
    assert np.mean(scores) == pytest.approx(whole)


# ---- folders -----------------------------------------------------------------------------------------


def test_saved_student_is_a_transformers_classifier(make: Make, tmp_path: Path) -> None:
    from transformers import pipeline

    classifier = make(method="supervised").fit(TEXTS[TRAIN], TOPICS[TRAIN])
    folder = tmp_path / "deep" / "saved"
    classifier.save(folder)
    assert sorted(p.name for p in folder.parent.iterdir()) == ["saved"]
    answers = pipeline("text-classification", str(folder), device="cpu")(TEXTS[NEW], top_k=None)
    for answer, row in zip(answers, classifier.predict_proba(TEXTS[NEW]), strict=True):
        found = {entry["label"]: entry["score"] for entry in answer}
        np.testing.assert_allclose([found[label] for label in classifier.classes_], row, atol=1e-5)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "Sports" in card
    assert str(tmp_path) not in card
    with pytest.raises(PetError, match="saved"):
        classifier.save(folder)


def test_save_leaves_nothing_when_it_fails(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = make(method="supervised").fit(TEXTS[TRAIN], TOPICS[TRAIN])

    def full(self: Any, folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(classifier.student_), "save", full)
    with pytest.raises(PetError, match="full"):
        classifier.save(tmp_path / "new" / "saved")
    assert list((tmp_path / "new").iterdir()) == []


def test_output_keeps_the_run_and_continues_it(make: Make, tmp_path: Path) -> None:
    place = tmp_path / "run"
    first = make(output=place).fit(TEXTS[TRAIN], TOPICS[TRAIN], unlabeled=TEXTS[POOL])
    weights = place / "g0" / "p1-r1" / "model.safetensors"
    made = weights.stat().st_mtime_ns
    again = make(output=place).fit(TEXTS[TRAIN], TOPICS[TRAIN], unlabeled=TEXTS[POOL])
    assert weights.stat().st_mtime_ns == made
    np.testing.assert_array_equal(first.predict_proba(TEXTS[NEW]), again.predict_proba(TEXTS[NEW]))
    for texts, topics, pool in (
        (TEXTS[1:9], TOPICS[1:9], TEXTS[POOL]),
        (TEXTS[TRAIN], TOPICS[1:9], TEXTS[POOL]),
        (TEXTS[TRAIN], TOPICS[TRAIN], TEXTS[9:24]),
    ):
        with pytest.raises(PetError, match=str(place)):
            make(output=place).fit(texts, topics, unlabeled=pool)
    loaded = PetClassifier.load(place)
    np.testing.assert_array_equal(first.predict_proba(TEXTS[NEW]), loaded.predict_proba(TEXTS[NEW]))
    # The texts are in the folder, too, so that the run can be looked at and corrected.
    result = RunResult(place)
    assert result.labels()["text"].tolist() == TEXTS[POOL]
    doubtful = result.texts(doubtful=3)
    assert set(doubtful["text"]) <= set(TEXTS[POOL]) and set(doubtful["nearest_text"]) <= set(TEXTS[TRAIN])
    assert result.report().is_file() and "pet" in result._repr_html_()
    made = pet("run", place / "config.yaml", "--from", place, "--set", "student_steps=1", "-o", tmp_path / "again")
    assert "keeps the models" in made.stderr
    labels = [folder / "g0" / "labels.jsonl" for folder in (place, tmp_path / "again")]
    assert labels[0].read_bytes() == labels[1].read_bytes()
    (place / "texts" / "unlabeled.jsonl").write_text('{"text": "changed"}\n')
    with pytest.raises(PetError, match="changed since the run"):
        RunResult(place).labels()


def test_a_run_from_memory_cannot_be_repeated_from_its_config(make: Make, tmp_path: Path) -> None:
    from pet.run.load_run import read_settings

    make(output=tmp_path / "run").fit(TEXTS[TRAIN], TOPICS[TRAIN])
    settings = read_settings(tmp_path / "run")
    assert settings.train == "memory:train"
    with pytest.raises(PetError, match="Python"):
        run_task(settings, tmp_path / "other")
