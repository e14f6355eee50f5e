"""The class ratio in a run: named, read from a file, estimated, or missing where it matters."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from small_run import contents, pet, refused, run_options, write_inputs
from tiny_text import LABELS

from pet.ensemble.class_ratio import ClassRatio, parse_shares
from pet.ensemble.combine import Ensemble
from pet.ensemble.soft_label_files import read_soft_labels
from pet.estimator.classifier import PetClassifier
from pet.report.estimate import estimate_lines
from pet.run.ratio_figures import _warn

SHARES = {"World": 0.4, "Sports": 0.3, "Business": 0.2, "Technology": 0.1}
NAMED = ",".join(f"{label}:{share}" for label, share in SHARES.items())


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs") / "in")


@pytest.fixture(scope="module")
def named(inputs: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("named") / "run"
    pet(*run_options(inputs, tiny_model), "--set", f"prior={NAMED}", "-o", folder)
    return folder


def _metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


def _mean(folder: Path, generation: int = 0) -> np.ndarray:
    return read_soft_labels(folder / f"g{generation}" / "labels.parquet").probabilities.mean(axis=0)


def _bias(folder: Path, stage: str) -> list[float]:
    return json.loads((folder / "manifest.json").read_text())["stages"][stage]["info"]["bias"]


def test_a_named_ratio_is_the_mean_of_the_soft_labels_and_in_the_report(named: Path):
    np.testing.assert_allclose(_mean(named), list(SHARES.values()), atol=1e-3)
    ratio = _metrics(named)["class_ratio"]
    assert ratio["target"] == pytest.approx(SHARES) and set(ratio["predicted"]) == set(LABELS)
    assert "share predicted" in (named / "report.html").read_text()


def test_a_file_gives_the_same_run_as_the_shares_in_it(named: Path, inputs: Path, tiny_model: Path, tmp_path: Path):
    """The configuration holds the shares, so the run can be repeated when the file is gone."""
    file = tmp_path / "counts.csv"
    file.write_text("label,count\nSports,300\nWorld,400\nTechnology,100\nBusiness,200\n")
    options = [*run_options(inputs, tiny_model), "--set", f"prior={file}", "-o", tmp_path / "run"]
    pet(*options)
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["settings"]["settings"]["prior"] == config["recipe"]["prior"] == NAMED
    same = contents(tmp_path / "run"), contents(named)
    assert same[0]["g0/labels.jsonl"] == same[1]["g0/labels.jsonl"]
    assert _metrics(tmp_path / "run")["class_ratio"]["source"] == str(file)
    before = contents(tmp_path / "run")
    pet(*options)
    assert contents(tmp_path / "run") == before
    file.write_text("label,count\nSports,1\nWorld,1\nTechnology,1\nBusiness,1\n")
    assert "prior" in refused(*options)
    file.unlink()
    pet("run", tmp_path / "run" / "config.yaml", "-o", tmp_path / "again")
    assert contents(tmp_path / "again")["g0/labels.jsonl"] == before["g0/labels.jsonl"]


def test_reviewed_texts_give_a_ratio_with_an_interval(inputs: Path, tiny_model: Path, tmp_path: Path):
    zero = ["--method", "zero-shot", "--set", f"prior={inputs / 'test.jsonl'}"]
    pet(*run_options(inputs, tiny_model, parts=["unlabeled"]), *zero, "-o", tmp_path / "run")
    ratio = _metrics(tmp_path / "run")["class_ratio"]
    assert ratio["rows"] == 12
    assert all(ratio["low"][label] < ratio["target"][label] < ratio["high"][label] for label in LABELS)


@pytest.mark.parametrize(
    ("prior", "named"),
    [
        ("balancd", ["balanced"]),
        ("missing.csv", ["missing.csv", "no such file"]),
        ("World:.4,Sport:.3,Business:.2,Technology:.1", ["'Sport'", "'Sports'"]),
        (f"World:{'9' * 300}", ["prior"]),
        ("estimated", ["--unlabeled"]),
    ],
)
def test_a_wrong_prior_is_one_message_before_anything_is_written(
    inputs: Path, tiny_model: Path, tmp_path: Path, prior: str, named: list[str]
):
    options = run_options(inputs, tiny_model, parts=["train", "test"])
    said = refused(*options, "--set", f"prior={prior}", "-o", tmp_path / "run")
    assert all(part in said for part in named), said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("merge", ["weighted", "learned"])
def test_the_estimated_accuracy_is_that_of_texts_with_the_given_ratio(
    inputs: Path, tiny_model: Path, tmp_path: Path, merge: str, monkeypatch: pytest.MonkeyPatch
):
    """Nearly all texts are World and are labeled so: nearly all labels are right, whatever the model has learned."""
    monkeypatch.setattr("pet.run.held_out.FEWEST_TEXTS", 8)
    skewed = "World:0.97,Sports:0.01,Business:0.01,Technology:0.01"
    found = {}
    for name, prior in (("even", "balanced"), ("skewed", skewed)):
        options = [*run_options(inputs, tiny_model, parts=["train", "unlabeled"]), "--set", f"prior={prior}"]
        pet(*options, "--set", f"merge={merge}", "--estimate", "-o", tmp_path / name)
        found[name] = _metrics(tmp_path / name)["estimate"]
    even, world = found["even"], found["skewed"]
    assert (world["judged"] > 0) == (merge == "learned")
    assert even["accuracy"] < 0.7 < 0.9 < world["accuracy"] and world["assumes_ratio"]
    assert "right if the class ratio is (" in estimate_lines(world)[0]
    assert even["halves"]["accuracy"] < 0.7 < 0.9 < world["halves"]["accuracy"]
    assert world["halves"]["size"] < even["halves"]["size"] == pytest.approx(12)
    if merge == "learned":  # the temperature is that of the corrected labels
        confidence = read_soft_labels(tmp_path / "even" / "g0" / "labels.parquet").probabilities.max(axis=1).mean()
        assert confidence == pytest.approx(even["accuracy"], abs=0.01)


def test_an_estimate_without_labeled_texts_is_refused(inputs: Path, tiny_model: Path, tmp_path: Path):
    options = [*run_options(inputs, tiny_model), "--method", "ipet", "--shots", "0", "--set", "prior=estimated"]
    assert "--train" in refused(*options, "-o", tmp_path / "run")


@pytest.mark.parametrize("merge", ["weighted", "learned"])
def test_an_estimate_is_kept_with_the_run_and_its_interval_reported(
    inputs: Path, tiny_model: Path, tmp_path: Path, merge: str, monkeypatch: pytest.MonkeyPatch
):
    """From embeddings, or from the labeled texts that each member left out."""
    monkeypatch.setattr("pet.run.held_out.FEWEST_TEXTS", 8)
    options = [*run_options(inputs, tiny_model), "--set", "prior=estimated", "--set", f"merge={merge}"]
    options += ["-o", tmp_path / "run"]
    pet(*options)
    kept = json.loads((tmp_path / "run" / "g0" / "ratio.json").read_text())
    ratio = _metrics(tmp_path / "run")["class_ratio"]
    assert list(ratio["estimated"].values()) == list(ratio["target"].values()) == kept["shares"]
    np.testing.assert_allclose(_mean(tmp_path / "run"), kept["shares"], atol=1e-3)
    before = contents(tmp_path / "run")
    pet(*options)
    assert contents(tmp_path / "run") == before


def test_the_shares_in_the_warning_can_be_given():
    """Rounded to two decimals, these shares would add up to 1.02."""
    labels, shares, said = list("abcde"), np.array([0.2055] * 4 + [0.178]), []
    context: Any = SimpleNamespace(
        task=SimpleNamespace(labels=labels),
        reporter=SimpleNamespace(warn=said.append),
        data=SimpleNamespace(report={"messages": []}),
    )
    merged = np.random.default_rng(0).normal(0, 0.1, (200, 5))
    ratio = ClassRatio(shares, shares - 0.001, shares + 0.001)
    _warn(context, Ensemble.of(["merged"], labels=5), merged, np.full(5, 0.2), ratio)
    (given,) = re.findall(r"--set prior=(a\S+);", said[0])
    np.testing.assert_allclose(parse_shares(given, labels), shares, atol=0.002)


def test_a_balanced_draw_from_a_skewed_pool_is_told_with_the_cure(
    inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The tiny model predicts one label for most of the pool; the estimate is what a good classifier would say."""
    shares = np.array([0.7, 0.1, 0.1, 0.1])
    ratio = ClassRatio(shares, shares - 0.05, shares + 0.05)
    monkeypatch.setattr("pet.run.class_ratio._estimate", lambda context, rows: ratio)
    monkeypatch.setattr("pet.run.ratio_figures._SUSPICIOUS", 0.0)
    monkeypatch.setattr("pet.run.ratio_figures._WORTH", 0.0)
    options = [*run_options(inputs, tiny_model, parts=["train", "unlabeled"]), "--shots", "2"]
    said = pet(*options, "-o", tmp_path / "run").stderr
    assert "World 65 to 75%" in said
    assert "--set prior=World:0.7,Sports:0.1,Business:0.1,Technology:0.1" in said and "prior=estimated" in said
    found = _metrics(tmp_path / "run")
    assert any("World 65 to 75%" in message for message in found["data"]["messages"])
    assert 0 <= found["class_ratio"]["changes"] <= 1 and found["class_ratio"]["low"]["World"] == pytest.approx(0.65)
    # Labeled texts that nobody balanced, or a ratio that was given: nothing to say.
    drawn = ["--shots", "2", "--set", "prior=none"]
    assert "balanced" not in pet(*options[:-2], *drawn, "-o", tmp_path / "none").stderr


def test_untrained_patterns_are_corrected_unless_told_otherwise(inputs: Path, tiny_model: Path, tmp_path: Path):
    options = [*run_options(inputs, tiny_model, parts=["unlabeled"]), "--method", "zero-shot"]
    pet(*options, "-o", tmp_path / "auto")
    np.testing.assert_allclose(_mean(tmp_path / "auto"), 0.25, atol=1e-3)
    pet(*options, "--set", "prior=none", "-o", tmp_path / "none")
    assert not any(_bias(tmp_path / "none", "g0/labels"))
    alone = [*run_options(inputs, tiny_model, parts=["test"]), "--method", "zero-shot"]
    pet(*alone, "-o", tmp_path / "alone")
    bias = _bias(tmp_path / "alone", "g0/ensemble")
    assert any(bias) and sum(bias) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("method", "prior"), [("zero-shot", "auto"), ("pet", NAMED)])
def test_a_pool_of_a_few_texts_is_corrected_as_without_a_pool(
    inputs: Path, tiny_model: Path, tmp_path: Path, method: str, prior: str
):
    """A correction to the class ratio of a single text would give it that ratio, whatever it says."""
    few = tmp_path / "few.jsonl"
    few.write_text("".join((inputs / "pool.jsonl").read_text().splitlines(keepends=True)[:1]))
    how = ["--method", method, "--set", f"prior={prior}", "--no-estimate"]
    options = [*run_options(inputs, tiny_model, parts=["train", "test"] if method == "pet" else ["test"]), *how]
    pet(*options, "-o", tmp_path / "alone")
    pet(*options, "--unlabeled", few, "-o", tmp_path / "run")
    bias = _bias(tmp_path / "run", "g0/labels")
    assert any(bias) and bias == pytest.approx(_bias(tmp_path / "alone", "g0/ensemble"), abs=1e-5)


def test_the_estimator_and_a_run_without_a_pool_correct_by_the_same_text_without_content(
    inputs: Path, tiny_model: Path, tmp_path: Path
):
    alone = [*run_options(inputs, tiny_model, parts=["test"]), "--method", "zero-shot"]
    pet(*alone, "-o", tmp_path / "run")
    options: dict[str, Any] = {"model": str(tiny_model), "method": "zero-shot", "device": "cpu", "precision": "fp32"}
    classifier = PetClassifier(str(inputs / "task.yaml"), settings={"max_length": 64}, **options).fit(None)
    assert classifier.ensemble_ is not None
    np.testing.assert_allclose(classifier.ensemble_.ensemble.bias, _bias(tmp_path / "run", "g0/ensemble"), atol=1e-4)
    given = PetClassifier(str(inputs / "task.yaml"), settings={"max_length": 64, "prior": SHARES}, **options).fit(None)
    assert given.ensemble_ is not None
    shift = given.ensemble_.ensemble.bias - classifier.ensemble_.ensemble.bias
    wanted = np.log(list(SHARES.values()))
    np.testing.assert_allclose(shift, wanted - wanted.mean(), atol=1e-6)


def test_without_a_pool_trained_members_are_shifted_from_the_labeled_ratio(
    inputs: Path, tiny_model: Path, tmp_path: Path
):
    options = [*run_options(inputs, tiny_model, parts=["train", "test"]), "--shots", "2"]
    pet(*options, "--set", f"prior={NAMED}", "-o", tmp_path / "run")
    np.testing.assert_allclose(_bias(tmp_path / "run", "g0/ensemble"), np.log(np.array(list(SHARES.values())) * 4))


def test_generations_of_ipet_grow_in_the_given_ratio_unless_another_is_set(
    inputs: Path, tiny_model: Path, tmp_path: Path
):
    ipet = [*run_options(inputs, tiny_model, parts=["train", "unlabeled"]), "--method", "ipet"]
    ipet += ["--shots", "2", "--set", "generations=2", "--set", "growth=3", "--set", f"prior={NAMED}"]
    ipet += ["--set", "pool_share=1", "--set", "accept=always"]
    pet(*ipet, "-o", tmp_path / "run")
    stages = json.loads((tmp_path / "run" / "manifest.json").read_text())["stages"]
    assert stages["g1/examples"]["info"]["wanted"] == [6, 5, 3, 2]
    np.testing.assert_allclose(_mean(tmp_path / "run", 1), list(SHARES.values()), atol=1e-3)
    pet(*ipet, "--set", "ratio=keep", "-o", tmp_path / "keep")
    stages = json.loads((tmp_path / "keep" / "manifest.json").read_text())["stages"]
    assert stages["g1/examples"]["info"]["wanted"] == [4, 4, 4, 4]


def test_baselines_are_held_to_the_same_ratio(inputs: Path, tiny_model: Path, tmp_path: Path):
    extreme = "World:0.9997,Sports:0.0001,Business:0.0001,Technology:0.0001"
    pet(*run_options(inputs, tiny_model), "--baselines", "--set", f"prior={extreme}", "-o", tmp_path / "run")
    baselines = _metrics(tmp_path / "run")["baselines"]
    for name in ("tfidf", "zero-shot"):
        confusion = np.asarray(baselines[name]["ensemble"]["confusion"])
        assert confusion[:, 0].sum() == confusion.sum(), name


def test_the_check_finds_mistakes_in_a_class_ratio(inputs: Path, tiny_model: Path):
    check = ["check", inputs / "task.yaml", "--model", tiny_model, "--no-model", "--set"]
    assert "'Sports'" in refused(*check, "prior=World:.4,Sport:.3,Business:.2,Technology:.1")
