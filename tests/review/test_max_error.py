"""`pet label --max-error`: labels that are kept with a guarantee."""

from __future__ import annotations

import io
import json
import shutil
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import pet, refused, run_options, write_inputs, write_rows

from pet.ensemble.combine import Ensemble, SoftLabels
from pet.ensemble.selective import select
from pet.errors import PetError
from pet.inference.options import ComputeOptions
from pet.progress import Reporter
from pet.review import max_error
from pet.review.finished import open_finished
from pet.teachers.access import Access


@pytest.fixture(scope="module")
def finished(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("error")
    pet(*run_options(write_inputs(place / "in"), tiny_model), "-q", "-o", place / "run")
    return place / "run"


def held_out(finished: Path, folder: Path) -> Path:
    """Write twenty new texts whose labels are those that the run predicts, and one with another label."""
    rows = [{"id": f"h{number}", "text": f"A text with the number {number}."} for number in range(21)]
    write_rows(folder / "new.jsonl", rows)
    pet("label", finished, "--input", folder / "new.jsonl", "-q", "-o", folder / "labels.jsonl")
    found = [json.loads(line) for line in (folder / "labels.jsonl").open()]
    least = int(np.argmin([row["confidence"] for row in found]))
    names = list(found[0]["probabilities"])
    for number, (row, soft) in enumerate(zip(rows, found, strict=True)):
        others = [name for name in names if name != soft["label"]]
        row["label"] = others[0] if number == least else soft["label"]
    return write_rows(folder / "held.jsonl", rows)


def test_only_labels_above_the_confidence_are_written(finished: Path, tmp_path: Path) -> None:
    file = held_out(finished, tmp_path)
    pool = finished.parent / "in" / "pool.jsonl"
    page = tmp_path / "all.html"
    pet("label", finished, "--input", pool, "-q", "-o", tmp_path / "all.jsonl", "--html", page)
    _is_about(page.read_text(), [json.loads(line) for line in (tmp_path / "all.jsonl").open()], pool)
    pet(
        "label",
        finished,
        "--input",
        pool,
        "-q",
        "-o",
        tmp_path / "kept.jsonl",
        "--max-error",
        "0.3",
        "--held-out",
        file,
    )
    all_rows, kept = ([json.loads(line) for line in (tmp_path / name).open()] for name in ("all.jsonl", "kept.jsonl"))
    labels = [json.loads(line) for line in (tmp_path / "labels.jsonl").open()]
    sure = np.array([row["confidence"] for row in labels])
    chosen = select(sure, sure > sure.min(), open_finished(finished).pool.confidence, 0.3)
    assert 0 < len(kept) <= len(all_rows)
    assert [row["id"] for row in kept] == [
        row["id"] for row in all_rows if row["confidence"] >= chosen.confidence - 1e-6
    ]


def test_a_held_out_text_that_does_not_fit_is_named_by_its_id(tiny_model: Path, tmp_path: Path) -> None:
    place = write_inputs(tmp_path / "in")
    (place / "task.yaml").write_text((place / "task.yaml").read_text().replace("{text} It", "{text!keep} It"))
    options = run_options(place, tiny_model, parts=["unlabeled"])
    pet(*options, "--method", "zero-shot", "-q", "-o", tmp_path / "run")
    held = write_rows(tmp_path / "held.jsonl", [{"id": "long", "text": "world " * 80, "label": "World"}])
    with pytest.raises(PetError, match=r"held-out: pattern .* the first has the id 'long'"):
        max_error.least_confidence(tmp_path / "run", 0.5, str(held))


def labels_with(finished: Path, source: Path, output: Path, *options: object) -> dict[str, dict[str, Any]]:
    """Label a file with some options; return the rows of the output by their ids."""
    pet("label", finished, "--input", source, "-q", "--force", "-o", output, *options)
    return {row["id"]: row for row in map(json.loads, output.open())}


@pytest.mark.parametrize("by", ["embeddings", "mass"])
def test_the_error_is_that_of_the_labels_that_all_rules_keep(finished: Path, tmp_path: Path, by: str) -> None:
    file, pool = held_out(finished, tmp_path), finished.parent / "in" / "pool.jsonl"
    names = [row["id"] for row in map(json.loads, file.open())]
    every = labels_with(finished, file, tmp_path / "x.jsonl")
    sure = np.array([every[name]["confidence"] for name in names])
    right = sure > sure.min()
    middle = float(np.median(open_finished(finished).pool.confidence))
    rules: dict[str, list[Any]] = {
        "fit": ["--none-of-these", 0.2, "--none-of-these-by", by],
        "sure": ["--min-confidence", middle],
    }
    for rule in (rules["fit"], rules["sure"], rules["fit"] + rules["sure"]):
        fit = np.array([name in labels_with(finished, file, tmp_path / "x.jsonl", *rule) for name in names])
        without = labels_with(finished, pool, tmp_path / "without.jsonl", *rule)
        ids = [row["id"] for row in map(json.loads, pool.open())]
        new = np.array([without[name]["confidence"] if name in without else -np.inf for name in ids])
        chosen = select(np.where(fit, sure, -np.inf), right, new, 0.6)
        kept = labels_with(finished, pool, tmp_path / "kept.jsonl", *rule, "--max-error", 0.6, "--held-out", file)
        assert 0 < len(kept) < len(ids)
        assert list(kept) == [name for name in without if without[name]["confidence"] >= chosen.confidence - 1e-6]


def test_held_out_texts_that_fit_no_label_count_as_wrong(finished: Path, tmp_path: Path) -> None:
    pool = finished.parent / "in" / "pool.jsonl"
    rows = [{"id": f"h{number}", "text": f"A text with the number {number}."} for number in range(40)]
    found = labels_with(finished, write_rows(tmp_path / "new.jsonl", rows), tmp_path / "labels.jsonl")
    right = [row | {"label": found[row["id"]]["label"]} for row in rows]
    held = write_rows(tmp_path / "held.jsonl", right)
    options = ["label", finished, "--input", pool, "--force", "-o", tmp_path / "x.jsonl", "--max-error", "0.5"]
    options += ["--held-out", held]
    rule = ["--none-of-these", "0"]  # keeps most texts
    alone = pet(*options).stderr
    assert ", 0 are wrong" in alone and "warning" not in alone
    assert all(word in pet(*options, *rule).stderr for word in ("warning", "none_of_these", "--held-out"))
    write_rows(held, [row | {"label": "none_of_these"} for row in right])
    assert ", 0 are wrong" not in pet(*options).stderr
    assert "40 of 40 held-out labels are wrong" in refused(*options, "--max-error", "0.03")
    write_rows(held, [*right[:39], right[39] | {"label": "none_of_these"}])
    assert "warning" not in pet(*options, *rule).stderr
    write_rows(held, [*right[:39], right[39] | {"label": "none_of_those"}])
    assert "did you mean 'none_of_these'" in refused(*options)


def test_if_other_rules_leave_nothing_the_message_names_them(finished: Path, tmp_path: Path) -> None:
    file, pool = held_out(finished, tmp_path), finished.parent / "in" / "pool.jsonl"
    options = ["label", finished, "--input", pool, "-o", tmp_path / "x.jsonl", "--max-error", "0.6", "--held-out", file]
    assert "--min-confidence" in refused(*options, "--min-confidence", "1")
    assert not (tmp_path / "x.jsonl").exists()


def test_if_a_text_may_have_several_labels_all_of_them_must_be_right(tiny_model: Path, tmp_path: Path) -> None:
    inputs, run, held = write_inputs(tmp_path / "in"), tmp_path / "run", tmp_path / "held.jsonl"
    with (inputs / "task.yaml").open("a", encoding="utf-8") as task:
        task.write("multi_label: true\n")
    pet(*run_options(inputs, tiny_model), "-q", "-o", run)
    rows = [{"id": f"h{number}", "text": f"A text with the number {number}."} for number in range(20)]
    new = write_rows(tmp_path / "new.jsonl", rows)
    options = ["label", run, "--input", new, "--force", "-o", tmp_path / "labels.jsonl"]
    pet(*options, "-q")
    found = [json.loads(line) for line in (tmp_path / "labels.jsonl").open()]
    right = [row | {"label": soft["labels"]} for row, soft in zip(rows, found, strict=True)]
    write_rows(held, right)
    assert ", 0 are wrong" in pet(*options, "--max-error", "0.3", "--held-out", held).stderr
    write_rows(held, [row | {"label": sorted({"World", "Sports"} ^ set(row["label"]))} for row in right])
    assert "20 of 20 held-out labels are wrong" in refused(*options, "--max-error", "0.3", "--held-out", held)


def _is_about(page: str, rows: list[dict[str, Any]], pool: Path) -> None:
    """The page of a file of labels has the shares of the labels, and the texts with the least certain ones first."""
    texts = {row["id"]: row["text"] for row in map(json.loads, pool.open())}
    assert f"labeled {len(rows)} texts" in page
    for label in rows[0]["probabilities"]:
        assert f"{sum(row['label'] == label for row in rows) / len(rows):.3f}" in page
    places = [page.index(escape(texts[row["id"]])) for row in sorted(rows, key=lambda row: row["confidence"])]
    assert places == sorted(places)


def test_a_page_requires_a_file_of_labels(finished: Path, tmp_path: Path) -> None:
    options = ["label", finished, "--input", finished.parent / "in" / "pool.jsonl", "--html", tmp_path / "p.html"]
    assert "-o FILE" in refused(*options, "-o", "-")
    assert "--input FILE" in refused(*options, "--input", "-", "-o", tmp_path / "labels.csv")  # it cannot be read again
    unfinished = shutil.copytree(finished, tmp_path / "run")
    (unfinished / "metrics.json").unlink()
    assert "metrics.json" in refused("label", unfinished, *options[2:], "-o", tmp_path / "labels.csv")
    assert not (tmp_path / "labels.csv").exists()
    assert "--none-of-these X" in refused(*options, "-o", tmp_path / "labels.csv", "--none-of-these-by", "mass")


def test_too_few_held_out_texts_are_told_with_the_number_that_is_needed(finished: Path, tmp_path: Path) -> None:
    message = refused(
        "label",
        finished,
        "--input",
        finished.parent / "in" / "pool.jsonl",
        "-o",
        tmp_path / "x.csv",
        "--max-error",
        "0.01",
    )
    assert "at least 99" in message
    assert not (tmp_path / "x.csv").exists()


def test_texts_that_the_run_learned_from_are_refused(finished: Path, tmp_path: Path) -> None:
    inputs = finished.parent / "in"
    options = ["--input", inputs / "pool.jsonl", "-o", tmp_path / "x.csv", "--max-error", "0.3"]
    assert "learned from 12" in refused("label", finished, *options, "--held-out", inputs / "train.jsonl")
    assert "--max-error" in refused("label", finished, *options[:4], "--held-out", inputs / "train.jsonl")
    assert "1.5" in refused("label", finished, *options[:5], "1.5")


class Unsure:
    """Stands for the run's ensemble on another engine: the same label for all texts, with falling confidence."""

    names = ("one",)

    def __init__(self) -> None:
        self.seen: list[int] = []

    def label(self, table: Any, on_rows: Any = None) -> SoftLabels:
        self.seen.append(len(table))
        sure = np.linspace(0.9, 0.6, len(table))
        first = np.stack([sure, *[(1 - sure) / 3] * 3], axis=1)
        return Ensemble.of(self.names, labels=4).combine([np.log(first).astype(np.float32)])


@pytest.mark.parametrize(
    "other",
    [{"quantize": True}, {"runtime": "onnx"}, {"runtime": "auto"}, {"precision": "bf16"}, {"device": "cuda:7"}],
)
def test_labels_of_another_engine_get_a_threshold_from_labels_of_this_engine(
    finished: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any]
) -> None:
    monkeypatch.setattr(max_error, "MOST", 5)
    engine, said = Unsure(), io.StringIO()
    compute, reporter = ComputeOptions(**other), Reporter("plain", said)
    chosen = max_error.open_max_error(finished, 0.9, compute=compute, reporter=reporter).choose(engine)
    assert engine.seen == [12, 5]  # the test texts, and some of the 16 unlabeled ones
    assert chosen.confidence == pytest.approx(0.6, abs=1e-3) and chosen.kept == 1
    assert "100% of 5 of the run's 16 unlabeled texts" in said.getvalue()


@pytest.mark.parametrize("same", [{}, {"runtime": "torch"}, {"precision": "fp32"}, {"device": "cpu"}])
def test_labels_of_the_same_engine_get_it_from_the_stored_ones(finished: Path, same: dict[str, Any]) -> None:
    asked = max_error.open_max_error(finished, 0.9, compute=ComputeOptions(**same))
    assert not asked.scores
    assert asked.choose(None) == max_error.least_confidence(finished, 0.9)


def test_the_engine_that_labels_chooses_the_threshold(finished: Path, tmp_path: Path) -> None:
    file, pool = held_out(finished, tmp_path), finished.parent / "in" / "pool.jsonl"
    names = [row["id"] for row in map(json.loads, file.open())]
    way = ["--precision", "bf16"]
    every = labels_with(finished, file, tmp_path / "x.jsonl", *way)
    gold = {row["id"]: row["label"] for row in map(json.loads, file.open())}
    new = labels_with(finished, pool, tmp_path / "new.jsonl", *way)
    right = np.array([every[name]["label"] == gold[name] for name in names])
    new_sure = np.array([row["confidence"] for row in new.values()])
    chosen = select(np.array([every[name]["confidence"] for name in names]), right, new_sure, 0.4)
    kept = labels_with(finished, pool, tmp_path / "kept.jsonl", *way, "--max-error", 0.4, "--held-out", file)
    assert list(kept) == [name for name in new if new[name]["confidence"] >= chosen.confidence - 1e-6]
    compute = ComputeOptions(precision="bf16")
    alone = max_error.least_confidence(finished, 0.4, str(file), compute=compute)
    assert alone.confidence == pytest.approx(chosen.confidence, abs=1e-6)


def test_options_that_a_cluster_refuses_are_refused_before_texts_are_scored(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(max_error, "least_confidence", None)
    options = ["label", finished, "--input", finished.parent / "in" / "pool.jsonl", "-o", tmp_path / "labels"]
    message = refused(*options, "--executor", "ray", "--max-error", "0.5", "--quantize")
    assert "--quantize works in one process only" in message


def test_teachers_are_asked_about_held_out_texts_as_about_new_ones(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def noting(folder: Path, **options: Any) -> None:
        given.update(options)
        raise PetError("enough")

    monkeypatch.setattr(max_error, "open_ensemble", noting)
    compute, held = ComputeOptions(access=Access(max_calls=3)), finished.parent / "in" / "test.jsonl"
    with pytest.raises(PetError, match="enough"):
        max_error.least_confidence(finished, 0.5, str(held), compute=compute)
    assert given["access"] is compute.access
