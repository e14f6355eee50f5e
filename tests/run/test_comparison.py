"""Every run with labels and test texts is compared with baselines that take seconds."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from small_run import pet, run_options, write_inputs
from tiny_text import LABELS

from pet.evaluate import chance_ece
from pet.run.comparison import _about_baselines, is_better
from pet.run.differences import baseline_labels

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs") / "in")


@pytest.fixture(scope="module")
def finished(inputs: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("finished") / "run"
    return folder, pet(*run_options(inputs, tiny_model), "-o", folder).stdout


def _metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("wins", "losses", "expected"),
    [
        (6, 0, True),
        (5, 0, False),
        (10, 2, True),
        (9, 2, False),
        (2, 10, False),
        (4000, 3000, True),
        (3550, 3450, False),
    ],
)
def test_better_means_more_than_chance_on_the_texts_that_one_alone_gets_right(wins, losses, expected):
    """Two-sided binomial probabilities: 2 of 64, 2 of 32, 158 of 4096, 134 of 2048."""
    ours = np.array([True] * wins + [False] * losses + [True, False] * 50)
    theirs = np.array([False] * wins + [True] * losses + [True, False] * 50)
    assert is_better(ours, theirs) is expected


def test_the_baselines_have_figures_and_rows_of_their_own(finished: tuple[Path, str]):
    folder, said = finished
    for kind in ("embeddings", "tfidf"):
        figures = _metrics(folder)["baselines"][kind]["ensemble"]
        scores = np.load(folder / "baselines" / kind / "g0" / kind / "test-logits.npy")
        assert figures["n"] == len(scores) == 12
        assert any(line.startswith(kind) and f"{figures['accuracy']:.3f}" in line for line in said.splitlines())
        assert kind in (folder / "report.html").read_text()


def test_the_student_is_compared_with_every_other_result_on_the_same_texts(finished: tuple[Path, str]):
    folder, said = finished
    metrics = _metrics(folder)
    assert metrics["differences"]["result"] == "student"
    others = metrics["differences"]["others"]
    assert list(others) == ["most frequent label", "embeddings", "tfidf", "ensemble"]
    for name, results in (("tfidf", metrics["baselines"]["tfidf"]), ("ensemble", metrics)):
        expected = metrics["student"]["accuracy"] - results["ensemble"]["accuracy"]
        assert others[name]["n"] == 12 and others[name]["accuracy"]["difference"] == pytest.approx(expected)
        assert f"{expected:+.3f} [" in said
    assert "95% interval, from 12 test texts" in said
    chance = f"{chance_ece(metrics['student']['calibration']):.3f}"
    assert f"the ECE of pet student would still be about {chance} by chance" in said
    assert f"still be about {chance} by chance" in (folder / "report.html").read_text(encoding="utf-8")


def test_the_report_shows_wrong_texts_with_their_labels(finished: tuple[Path, str], inputs: Path):
    page = (finished[0] / "report.html").read_text(encoding="utf-8")
    scores = np.load(finished[0] / "student" / "test-logits.npy")
    rows = [json.loads(line) for line in (inputs / "test.jsonl").read_text().splitlines()]
    wrong = [row for row, own in zip(rows, scores, strict=True) if LABELS[own.argmax()] != row["label"]]
    shown = page[page.index('id="wrong"') :]
    shown = shown[: shown.index('id="doubtful"')]
    assert f"({len(wrong)})" in shown and wrong
    for row in rows:
        assert (html.escape(row["text"]).replace("&#x27;", "&#39;") in shown) == (row in wrong)


def test_a_baseline_that_is_a_member_is_not_trained_twice(inputs: Path, tiny_model: Path, tmp_path: Path):
    pet(*run_options(inputs, tiny_model), "--member", "tfidf", "-o", tmp_path / "run")
    assert not (tmp_path / "run" / "baselines" / "tfidf").exists()
    metrics = _metrics(tmp_path / "run")
    assert metrics["baselines"]["tfidf"]["ensemble"] == metrics["members"]["tfidf"]


def test_a_better_baseline_and_a_weak_student_are_told_with_a_cure(
    inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pet.run.comparison.is_better", lambda ours, theirs: True)
    options = run_options(inputs, tiny_model)
    said = pet(*options, "-o", tmp_path / "run").stdout
    first, second = _metrics(tmp_path / "run")["advice"]
    assert "--member" in first and "12 test texts" in first
    assert "student" in second and "--set student_steps=8" in second
    assert first in said and second in said
    said = pet(*options, "--member", "tfidf", "--member", "embeddings", "-o", tmp_path / "both").stdout
    assert "pet check" in _metrics(tmp_path / "both")["advice"][0]


@pytest.mark.parametrize(
    ("best", "in_run", "cure"),
    [
        ("supervised", [], "--member head"),
        ("supervised", ["supervised"], "--method supervised"),
        ("tfidf", [], "--member tfidf"),
        ("tfidf", ["tfidf", "supervised"], "--patterns"),
    ],
)
def test_the_cure_does_not_name_a_member_that_is_there(best: str, in_run: list[str], cure: str):
    gold = np.zeros(20, dtype=int)
    (said,) = _about_baselines({best: gold}, {"student": gold + 1}, gold, in_run, trains=True)
    assert said.startswith(f"{best} is better than the student") and cure in said
    assert ("--member" in said) == (best not in in_run)


@pytest.mark.parametrize(("best", "member"), [("tfidf", "tfidf"), ("supervised", "head")])
def test_the_cure_of_a_run_without_trained_members_names_a_method_that_accepts_them(best: str, member: str):
    gold = np.zeros(20, dtype=int)
    (said,) = _about_baselines({best: gold}, {"student": gold + 1}, gold, [], trains=False)
    assert f"--method pet --member {member}" in said


def test_a_supervised_run_gets_no_advice_that_it_would_refuse(
    inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pet.run.comparison.is_better", lambda ours, theirs: True)
    monkeypatch.setattr("pet.run.comparison.rare_labels", lambda counts, metrics, setting: [f"setting: {setting}"])
    options = run_options(inputs, tiny_model, parts=["train", "test"])
    pet(*options, "--method", "supervised", "-q", "-o", tmp_path / "run")
    first, rare = _metrics(tmp_path / "run")["advice"]
    assert "--method pet --member" in first and rare == "setting: None"


def test_what_a_supervised_run_trains_is_a_classifier_and_no_student(inputs: Path, tiny_model: Path, tmp_path: Path):
    options = run_options(inputs, tiny_model, parts=["train", "test"])
    said = pet(*options, "--method", "supervised", "-q", "-o", tmp_path / "run").stdout
    assert _metrics(tmp_path / "run")["differences"]["result"] == "classifier"
    assert "classifier minus" in said and "student minus" not in said
    page = re.sub("<details>.*</details>", "", (tmp_path / "run" / "report.html").read_text(), flags=re.DOTALL)
    assert "The classifier labels" in page and "Figures of the classifier by label" in page
    assert "student" not in page.partition("<body")[2]


def test_a_run_that_is_worse_than_its_untrained_patterns_says_so(
    inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pet.run.comparison.is_better", lambda ours, theirs: True)
    monkeypatch.setattr("pet.run.comparison._right", lambda said, gold: np.full(len(gold), said is zero_shot[-1]))
    zero_shot: list[np.ndarray] = []
    original = baseline_labels

    def kept(*arguments):
        found = original(*arguments)
        zero_shot.append(found["zero-shot"])
        return found

    monkeypatch.setattr("pet.run.comparison.baseline_labels", kept)
    pet(*run_options(inputs, tiny_model), "--baselines", "-o", tmp_path / "run")
    advice = _metrics(tmp_path / "run")["advice"][0]
    assert "zero-shot is better than the student" in advice and "--method zero-shot" in advice


@pytest.mark.parametrize("missing", ["train", "test"])
def test_without_labels_or_test_texts_there_is_no_comparison(
    inputs: Path, tiny_model: Path, tmp_path: Path, missing: str
):
    parts = [part for part in ("train", "unlabeled", "test") if part != missing]
    method = ["--method", "zero-shot"] if missing == "train" else []
    pet(*run_options(inputs, tiny_model, parts=parts), *method, "-o", tmp_path / "run")
    metrics = _metrics(tmp_path / "run")
    assert "baselines" not in metrics and ("differences" in metrics) == (missing == "train")
    assert not (tmp_path / "run" / "baselines").exists()
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert 'id="doubtful"' in page and ('id="wrong"' in page) == (missing == "train")
