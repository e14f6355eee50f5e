"""Texts that fit no label: the mass of the label words, and the distance to the labeled texts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_run import pet, refused

from pet.embeddings.fit import held_out_fit, label_centers
from pet.inference.none_of_these import NoneOfThese, fit_of_classifier
from pet.inference.options import ComputeOptions
from pet.numerics import unit_length
from pet.progress import Reporter
from pet.training.losses import word_mass

pytestmark = pytest.mark.usefixtures("one_thread")


def test_mass_adds_up_words_and_multiplies_their_tokens() -> None:
    # words of probability .2, and .5 × .4 = .2, in the first text; .1 and .3 × .1 = .03 in the second
    tokens = torch.tensor([[0.2, 0.5, 0.4], [0.1, 0.3, 0.1]]).log()
    np.testing.assert_allclose(word_mass(tokens, torch.tensor([0, 1, 1])).exp(), [0.4, 0.13], atol=1e-6)


def test_a_labeled_text_is_compared_with_the_others_of_its_label() -> None:
    # two labels at a right angle, and one text alone with its label
    vectors = unit_length(np.array([[1.0, 0, 0], [1.0, 0, 0], [0, 3.0, 0], [0, 4.0, 3.0], [0.6, 0, 0.8]]))
    gold = np.array([0, 0, 2, 2, 1])
    np.testing.assert_allclose(held_out_fit(vectors, gold), [1, 1, 0.8, 0.8, 0.6], atol=1e-6)
    np.testing.assert_allclose(label_centers(vectors, gold)[:2], [[1, 0, 0], [0.6, 0, 0.8]], atol=1e-6)


@pytest.mark.parametrize("by", ["embeddings", "mass"])
def test_texts_that_fit_no_label_are_left_out(by: str, workplace: Path, tmp_path: Path) -> None:
    run, pool = workplace / "runs" / "reviews", workplace / "pool.jsonl"
    options: list[Any] = ["label", run, "--input", pool, "--json", "-q", "--device", "cpu"]
    some = [*options, "--none-of-these", 0.4, "--none-of-these-by", by]
    found = json.loads(pet(*some, "-o", tmp_path / "some.jsonl", "--html", tmp_path / "page.html").stdout)
    rows = [json.loads(line) for line in (tmp_path / "some.jsonl").read_text().splitlines()]
    assert found["kept"] + found["none_of_these"] == found["texts"]
    assert len(rows) == found["kept"] and found["labeled"] == 8
    assert found["labeled_dropped"] <= 0.4 * 8
    assert all(row["fit"] >= found["threshold"] for row in rows)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"kept {found['kept']} of them, {found['none_of_these']} fit no label." in page
    json.loads(pet(*options, "-o", tmp_path / "all.jsonl").stdout)
    every = {row["id"]: row for row in map(json.loads, (tmp_path / "all.jsonl").read_text().splitlines())}
    assert all("fit" not in row for row in every.values())
    assert all(row["probabilities"] == every[row["id"]]["probabilities"] for row in rows)


def test_a_share_outside_its_range_is_refused(workplace: Path, tmp_path: Path) -> None:
    run, pool = workplace / "runs" / "reviews", workplace / "pool.jsonl"
    said = refused("label", run, "--input", pool, "-o", tmp_path / "o.jsonl", "--none-of-these", 1.5)
    assert "--none-of-these" in said and "1.5" in said
    assert NoneOfThese(0.0).by == "embeddings"


def test_predictions_leave_out_the_same_texts_as_labels(workplace: Path, tmp_path: Path) -> None:
    run, pool = workplace / "runs" / "reviews", workplace / "pool.jsonl"
    options: list[Any] = [run, "--input", pool, "--device", "cpu", "--none-of-these", 0.4]
    pet("label", *options, "-q", "-o", tmp_path / "labels.jsonl")
    said = pet("predict", *options, "-o", tmp_path / "p.jsonl").stderr
    labels, found = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("labels.jsonl", "p.jsonl")
    )
    assert [(row["id"], row["fit"]) for row in found] == [(row["id"], row["fit"]) for row in labels]
    assert f"{32 - len(found)} of 32 texts" in said and "of 8 labeled texts" in said


def test_an_evaluation_says_what_would_be_kept_and_left_out(workplace: Path) -> None:
    run, test = workplace / "runs" / "reviews", workplace / "test.jsonl"
    options: list[Any] = ["evaluate", run, "--input", test, "-q", "--device", "cpu", "--none-of-these", 0.4]
    figures = json.loads(pet(*options, "--json").stdout)
    found = figures["none_of_these"]
    rights = [(found[f"{part}_right"] or 0) * found[part] for part in ("kept", "dropped")]
    assert found["kept"] + found["dropped"] == 12 and sum(rights) == pytest.approx(12 * figures["accuracy"])
    assert f"keeps {found['kept']} texts" in pet(*options).stdout


def test_only_the_classifier_of_a_run_knows_what_fits(workplace: Path, tmp_path: Path) -> None:
    shutil.copytree(workplace / "runs" / "reviews" / "student", tmp_path / "alone")
    options: list[Any] = ["--input", workplace / "pool.jsonl", "-o", tmp_path / "o.jsonl", "--none-of-these", 0.1]
    said = refused("predict", tmp_path / "alone", *options)
    assert "--none-of-these" in said and "run" in said and not (tmp_path / "o.jsonl").exists()


def test_a_run_whose_method_requires_unlabeled_texts_is_compared_by_its_labeled_ones(
    workplace: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(workplace / "runs" / "reviews", run)
    config = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(config.replace("method: pet\n", "method: ipet\n"), encoding="utf-8")
    found = fit_of_classifier(str(run), 0.4, ComputeOptions(device="cpu"), Reporter("quiet"))
    assert found.labeled == 8


def test_labeled_texts_that_changed_since_the_run_are_refused(workplace: Path, tmp_path: Path) -> None:
    run, train = tmp_path / "run", tmp_path / "train.jsonl"
    shutil.copytree(workplace / "runs" / "reviews", run)
    shutil.copy(workplace / "train.jsonl", train)
    config = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(config.replace(str(workplace / "train.jsonl"), str(train)), encoding="utf-8")
    options: list[Any] = [run, "--input", workplace / "pool.jsonl", "--device", "cpu", "--none-of-these", 0.4, "-q"]
    pet("predict", *options, "-o", tmp_path / "same.jsonl")
    train.write_text("".join(train.read_text(encoding="utf-8").splitlines(keepends=True)[1:]), encoding="utf-8")
    said = refused("predict", *options, "-o", tmp_path / "changed.jsonl")
    assert str(train) in said and "changed since the run" in said and not (tmp_path / "changed.jsonl").exists()
