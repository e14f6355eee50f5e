"""`RunResult`: a finished run in Python."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import pet, run_options, write_inputs
from tiny_text import LABELS

from pet import PetError, RunResult
from pet.inference.label_file import Labeled
from pet.inference.label_report import label_summary


@pytest.fixture(scope="module")
def result(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    place = tmp_path_factory.mktemp("result")
    pet(*run_options(write_inputs(place / "in"), tiny_model), "-q", "-o", place / "run")
    return RunResult(place / "run")


def test_labels_are_those_of_the_table_that_the_run_wrote(result: RunResult) -> None:
    frame = result.labels()
    written = [json.loads(line) for line in (result.folder / "g0" / "labels.jsonl").open()]
    assert frame["id"].tolist() == [row["id"] for row in written]
    assert frame["label"].tolist() == [row["label"] for row in written]
    assert frame["confidence"].to_numpy() == pytest.approx([row["confidence"] for row in written], abs=1e-4)
    assert frame[[f"p({label})" for label in LABELS]].to_numpy().sum(axis=1) == pytest.approx(np.ones(len(frame)))


def test_the_table_has_the_figures_of_the_run(result: RunResult) -> None:
    table = result.table()
    assert table.loc["pet student", "accuracy"] == result.figures["student"]["accuracy"]
    assert {"embeddings", "tfidf"} <= set(table.index)


def test_shares_are_corrected_and_have_an_interval(result: RunResult) -> None:
    shares = result.shares()
    assert shares.index.tolist() == list(LABELS)
    assert shares["predicted"].tolist() == pytest.approx(
        [(result.labels()["label"] == label).mean() for label in LABELS]
    )
    assert shares["estimated"].sum() == pytest.approx(1, abs=1e-3)
    assert ((shares["low"] <= shares["estimated"]) & (shares["estimated"] <= shares["high"])).all()
    report = result.report().read_text()
    assert f"{shares['estimated'].iloc[0]:.3f} [{shares['low'].iloc[0]:.3f}," in report


def test_members_have_weights_and_agree_with_the_merged_labels_as_their_votes_do(result: RunResult) -> None:
    members = result.members()
    written = [json.loads(line) for line in (result.folder / "g0" / "labels.jsonl").open()]
    assert members["weight"].sum() == pytest.approx(1) and (members["labeled"] == 1).all()
    for name in members.index:
        same = [row["votes"][name] == row["label"] for row in written]
        assert members.loc[name, "agreement"] == pytest.approx(np.mean(same))
        assert members.loc[name, "accuracy"] == result.figures["members"][name]["accuracy"]


def test_doubtful_texts_are_unlabeled_ones(result: RunResult) -> None:
    texts = result.texts(doubtful=4)
    assert set(texts["id"]) <= set(result.labels()["id"])
    assert len(texts) == 4


def test_a_notebook_shows_names_as_text(result: RunResult, tmp_path: Path) -> None:
    folder = tmp_path / "<img src=x>"
    shutil.copytree(result.folder, folder)
    shown = RunResult(folder)._repr_html_()
    assert "<img" not in shown
    assert "&lt;img" in shown
    assert "pet student" in shown


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PetError, match=r"metrics\.json"):
        RunResult(tmp_path)


def changed(value: Any, other: Any) -> Iterator[Any]:
    """Yield copies of JSON data with one value replaced, or left out if `other` is ``...``, each value in turn."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        rest = {name: own for name, own in value.items() if name != key}
        yield rest if other is ... else rest | {key: other}
        yield from (rest | {key: one} for one in changed(inner, other))


@pytest.mark.parametrize("other", ["<b>", -7, None, [], {}, ...], ids=str)
def test_odd_figures_of_a_received_run_are_refused_or_shown(result: RunResult, tmp_path: Path, other: Any) -> None:
    folder, refusals = tmp_path / "run", 0
    shutil.copytree(result.folder, folder)
    for figures in changed(result.figures, other):
        (folder / "metrics.json").write_text(json.dumps(figures))
        try:
            received = RunResult(folder)
        except PetError as error:
            refusals += 1
            assert "metrics.json" in str(error) and "repeat the run" in str(error)
        else:
            received.table(), received.shares(), received._repr_html_()
            label_summary(folder, "new.csv", Labeled(1, 1, {}, 1.0), received.figures)
    assert refusals >= 2
