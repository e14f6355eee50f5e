"""merge=learned: which labeled texts members leave out, and what the run does with their scores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import contents, pet, refused, run_options, write_inputs, write_rows
from tiny_text import LABELS, news_rows

from pet.ensemble.calibration import disagreement, estimate_error
from pet.ensemble.combine import Ensemble
from pet.ensemble.stacking import PRIORS, stack
from pet.numerics import log_softmax
from pet.run.context import PARTS

LEARNED = ["--set", "merge=learned"]
MEMBERS = ["p1-r1", "p2-r1", "embeddings", "tfidf"]


pytestmark = pytest.mark.usefixtures("one_thread")  # workers have one thread, too


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_inputs(tmp_path_factory.mktemp("inputs") / "in")
    rows = news_rows()[:12]
    write_rows(
        folder / "train.jsonl", rows + [row | {"id": f"{row['id']}-2", "text": f"{row['text']} Again."} for row in rows]
    )
    return folder


@pytest.fixture(scope="module")
def finished(inputs: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("learned") / "run"
    pet(*run_options(inputs, tiny_model), *LEARNED, "-q", "-o", folder)
    return folder


def _info(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())["stages"]["g0/labels"]["info"]


def _evidence(folder: Path, member: str) -> np.ndarray:
    return np.load(folder / "g0" / member / "train-logits.npy")


def _left_out_by_patterns(folder: Path) -> np.ndarray:
    scored = [~np.isnan(_evidence(folder, name)).any(axis=1) for name in MEMBERS[:2]]
    return np.flatnonzero(scored[0] | scored[1])


def test_the_quick_members_join_the_patterns(finished: Path) -> None:
    assert _info(finished)["members"] == MEMBERS
    assert not (finished / "baselines").exists()  # the members are the baselines


def test_each_pattern_leaves_out_its_own_fold(finished: Path) -> None:
    """24 texts, 4 labels, 5 folds: four or five texts each, and no text twice."""
    known = [~np.isnan(_evidence(finished, name)).any(axis=1) for name in ("p1-r1", "p2-r1")]
    assert all(mask.sum() in (4, 5) for mask in known)
    assert not (known[0] & known[1]).any()
    assert all(
        json.loads((finished / "g0" / name / "member.json").read_text())["labeled"] == 24 - mask.sum()
        for name, mask in zip(("p1-r1", "p2-r1"), known, strict=True)
    )


def test_the_report_shows_weights_left_out_texts_and_labels_that_others_contradict(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    row = page[page.index("<bdi>embeddings</bdi>", page.index('id="members"')) :]
    right = (_evidence(finished, "embeddings").argmax(axis=1) == np.arange(24) % 4).sum()
    weights = np.asarray(_info(finished)["weights"])
    assert f"{right} of 24" in row and f"{weights[2] / weights.sum():.3f}" in row
    assert 'id="contradicted"' in page
    assert "Nearest labeled text" in page


def test_quick_members_are_fitted_again_without_each_fold(finished: Path) -> None:
    for name in ("embeddings", "tfidf"):
        assert not np.isnan(_evidence(finished, name)).any()
        assert json.loads((finished / "g0" / name / "member.json").read_text())["labeled"] == 24


def test_soft_labels_are_merged_with_the_weights_and_the_temperature(finished: Path) -> None:
    ensemble = Ensemble.from_dict(_info(finished), 4)
    scores = [np.load(finished / "g0" / name / "pool-logits.npy") for name in MEMBERS]
    logs = [log_softmax(s) for s in scores]
    total = sum(w * s for w, s in zip(ensemble.weights, logs, strict=True)) / ensemble.temperature
    assert ensemble.combine(scores).probabilities == pytest.approx(np.exp(log_softmax(total)), abs=1e-6)
    first = json.loads((finished / "g0" / "labels.jsonl").read_text().splitlines()[0])
    assert first["confidence"] == pytest.approx(np.exp(log_softmax(total))[0].max(), abs=1e-4)


def test_the_same_weights_label_new_texts(finished: Path, inputs: Path, tmp_path: Path) -> None:
    pet("label", finished, "--input", inputs / "pool.jsonl", "-o", tmp_path / "labels.jsonl", "--device", "cpu", "-q")
    new, old = (
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in (tmp_path / "labels.jsonl", finished / "g0" / "labels.jsonl")
    )
    assert [row["label"] for row in new] == [row["label"] for row in old]
    assert [row["confidence"] for row in new] == pytest.approx([row["confidence"] for row in old], abs=1e-3)


def test_two_workers_write_the_same_bytes(finished: Path, inputs: Path, tiny_model: Path, tmp_path: Path) -> None:
    options = [*LEARNED, "-q", "--workers", "2", "--worker-cpus", "1"]
    pet(*run_options(inputs, tiny_model), *options, "-o", tmp_path / "run")
    assert contents(tmp_path / "run") == contents(finished)


def test_quick_members_can_be_left_out_with_workers_too(inputs: Path, tiny_model: Path, tmp_path: Path) -> None:
    options = [*run_options(inputs, tiny_model, parts=("train", "unlabeled")), *LEARNED, "--set", "quick_members=false"]
    pet(*options, "-q", "-o", tmp_path / "one")
    pet(*options, "--workers", 2, "--worker-cpus", 1, "-q", "-o", tmp_path / "two")
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert _info(tmp_path / "one")["members"] == ["p1-r1", "p2-r1"]


def test_an_edited_temperature_is_one_message(finished: Path, inputs: Path) -> None:
    path = finished / "manifest.json"
    sound = path.read_text()
    changed = json.loads(sound)
    changed["stages"]["g0/labels"]["info"]["temperature"] = 0
    try:
        path.write_text(json.dumps(changed))
        assert "temperature" in refused("label", finished, "--input", inputs / "pool.jsonl", "-o", "x.jsonl", "-q")
    finally:
        path.write_text(sound)


def test_effort_names_a_recipe(inputs: Path, tiny_model: Path, tmp_path: Path) -> None:
    given = run_options(inputs, tiny_model)
    said = refused(*given, "--effort", "low", "--recipe", "paper", "-q", "-o", tmp_path / "run")
    assert "--effort low" in said and "--recipe paper" in said
    pet(*given, "--effort", "low", "-q", "-o", tmp_path / "run")
    assert "recipe: low" in (tmp_path / "run" / "config.yaml").read_text()


def test_vectors_are_kept_and_a_resumed_run_does_not_embed_again(
    finished: Path, inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = {part: np.load(finished / "vectors" / "embeddings" / part / "vectors.npy").shape for part in PARTS}
    assert {part: rows for part, (rows, _) in shapes.items()} == {"train": 24, "pool": 16, "test": 12}
    shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "g0" / "embeddings")
    monkeypatch.setattr("pet.embeddings.encoder.TextEncoder.embed", None)
    pet(*run_options(inputs, tiny_model), *LEARNED, "-q", "-o", tmp_path / "run")
    assert contents(tmp_path / "run") == contents(finished)


def test_with_few_labeled_texts_no_member_leaves_one_out(tiny_model: Path, tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "in")
    pet(*run_options(inputs, tiny_model), *LEARNED, "-q", "-o", tmp_path / "run")
    assert not list((tmp_path / "run").glob("g0/*/train-logits.npy"))
    info, priors = _info(tmp_path / "run"), [PRIORS[kind].weight for kind in ("pattern", "embeddings", "tfidf")]
    shares = np.asarray(info["weights"])
    assert [shares[0] + shares[1], shares[2], shares[3]] == pytest.approx(np.divide(priors, sum(priors)))


def test_the_soft_labels_are_as_sure_as_the_patterns_agree(finished: Path, inputs: Path) -> None:
    scores = {name: np.load(finished / "g0" / name / "pool-logits.npy") for name in MEMBERS}
    patterns = [scores[name].argmax(axis=1) for name in MEMBERS[:2]]
    gold = np.array([LABELS.index(json.loads(line)["label"]) for line in (inputs / "train.jsonl").open()])
    kinds = ["pattern", "pattern", "embeddings", "tfidf"]
    rows = _left_out_by_patterns(finished)
    merged = stack(kinds, [_evidence(finished, name)[rows] for name in MEMBERS], gold[rows], PRIORS).log_probabilities
    wrong = int((merged.argmax(axis=1) != gold[rows]).sum())
    ensemble = Ensemble.from_dict(_info(finished), 4)
    share = disagreement(patterns, [0, 1])
    error = estimate_error(share, 4, wrong, len(rows), texts=len(patterns[0])).median
    assert ensemble.combine(list(scores.values())).confidence.mean() == pytest.approx(1 - error, abs=1e-3)
    kept = json.loads((finished / "metrics.json").read_text())["estimate"]
    assert kept["accuracy"] == pytest.approx(1 - error)
    assert kept["low"] < kept["accuracy"] < kept["high"]
    assert (kept["judged"], kept["wrong"]) == (len(rows), wrong)


def test_texts_that_no_pattern_leaves_out_are_no_evidence(finished: Path) -> None:
    """Two of five folds are left out by a pattern; the quick members alone would say too little about the others."""
    rows = _left_out_by_patterns(finished)
    assert len(rows) in range(8, 11)
    assert json.loads((finished / "metrics.json").read_text())["estimate"]["judged"] == len(rows)


def test_examples_of_a_single_label_say_nothing_about_predictions(
    inputs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) | {"label": "Sports"} for line in (inputs / "train.jsonl").open(encoding="utf-8")]
    train = ["--train", write_rows(tmp_path / "train.jsonl", rows)]
    options = [*run_options(inputs, tiny_model, parts=("unlabeled",)), *train, *LEARNED]
    said = pet(*options, "-o", tmp_path / "run")
    assert "every example has the label 'Sports'" in said.stderr and "has no example" not in said.stderr
    assert "should be right" not in said.stdout + said.stderr
    results = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert "estimate" not in results and "estimated" not in results["class_ratio"]


def test_a_file_pasted_into_a_text_is_no_word(inputs: Path, tiny_model: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (inputs / "train.jsonl").open(encoding="utf-8")]
    rows[0]["text"] += " attachment " + "iVBORw0KGgo" * 1000
    train = ["--train", write_rows(tmp_path / "train.jsonl", rows)]
    pet(*run_options(inputs, tiny_model, parts=("unlabeled",)), *train, *LEARNED, "-q", "-o", tmp_path / "run")
    words = json.loads((tmp_path / "run" / "g0" / "tfidf" / "terms.json").read_text())["words"]
    assert "attachment" in words and max(map(len, words)) < 100


def test_repetitions_of_one_pattern_do_not_say_how_good_the_labels_are(
    inputs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    options = ["--patterns", "1", "--set", "repetitions=2", "-q", "-o", tmp_path / "run"]
    said = pet(*run_options(inputs, tiny_model), *LEARNED, *options)
    assert _info(tmp_path / "run")["members"] == ["p1-r1", "p1-r2", *MEMBERS[2:]]
    assert "two patterns" not in said.stdout + said.stderr
    assert "estimate" not in json.loads((tmp_path / "run" / "metrics.json").read_text())
