"""A run of a task whose texts may have several labels, and what can be done with it."""

from __future__ import annotations

import csv
import json
import shutil
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import transformers
from datasets import Dataset
from small_run import TASK, contents, pet, refused, run_options, same_files, write_inputs, write_rows
from tiny_text import LABELS, news_rows

from pet.data.checks import column_labels
from pet.data.columns import lay_out
from pet.data.corrections import read_corrections
from pet.data.open_source import open_source
from pet.data.shards import cut_rows
from pet.ensemble.pseudo_labels import read_pseudo_labels
from pet.ensemble.soft_label_files import read_soft_labels
from pet.ensemble.soft_labels import read_probabilities
from pet.errors import PetError
from pet.inference.shard_worker import ABOUT, ATTEMPTS, ShardLabeler, ShardWork
from pet.review.finished import open_finished
from pet.review.session import Filter, Review
from pet.task.task import Task

pytestmark = pytest.mark.usefixtures("one_thread")
METRICS = ["micro_f1", "macro_f1", "lrap", "exact_match"]


def two_texts(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Return rows of one or two texts, with the labels of both; the last has none."""
    made: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        other = rows[number - 1] if number % 2 else None
        text = f"{row['text']} {other['text']}" if other else row["text"]
        labels = sorted({row["label"], other["label"]}) if other else [row["label"]]
        made.append({"id": row["id"], "text": text, "label": labels})
    return [*made[:-1], {**made[-1], "text": "The soup was cold.", "label": []}]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_inputs(tmp_path_factory.mktemp("inputs") / "in")
    asks = '  - "{text} Is it about {label}? {mask}."\n'  # a pattern with yes or no for each label
    (folder / "task.yaml").write_text(TASK + asks + "multi_label: true\n")
    rows = two_texts(news_rows())
    again = [row | {"id": f"{row['id']}-2", "text": f"{row['text']} Again."} for row in rows[:12]]
    write_rows(folder / "train.jsonl", rows[:12] + again)
    write_rows(folder / "test.jsonl", rows[28:])
    return folder


@pytest.fixture(scope="module")
def run(inputs: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("multi") / "run"
    pet(*run_options(inputs, tiny_model), "--set", "merge=learned", "-q", "-o", folder)
    return folder


def test_the_figures_are_those_of_label_sets(run: Path) -> None:
    results = json.loads((run / "metrics.json").read_text())
    for figures in (results["student"], results["ensemble"], results["baselines"]["tfidf"]["ensemble"]):
        assert set(METRICS) <= set(figures) and not {"accuracy", "confusion"} & set(figures)
    shares = results["class_ratio"]
    assert sum(shares["labeled"].values()) > 1 and set(shares["predicted"]) == set(LABELS)
    assert all(
        0 <= shares["low"][label] <= shares["estimated"][label] <= shares["high"][label] <= 1 for label in LABELS
    )
    report = (run / "report.html").read_text()
    assert "micro F1" in report and "MCC" not in report


def test_without_test_texts_halves_of_the_labeled_texts_say_how_good_it_is(
    inputs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    files = run_options(inputs, tiny_model, parts=["train", "unlabeled"])
    said = pet(*files, "--set", "merge=learned", "--estimate", "-q", "-o", tmp_path / "run").stdout
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())["estimate"]
    figure, low, high = found["micro_f1"]
    assert 0 <= low <= figure <= high <= 1
    assert found["halves"]["judged"] == 24 and found["halves"]["gain"]["texts"] == 7
    assert found["judged"] in range(14, 16)  # in three of five folds, one for each pattern
    assert "micro F1" in said and "4 × half of 24 labeled texts" in said


def test_the_threshold_is_that_of_scores_in_the_class_ratio(inputs: Path, tiny_model: Path, tmp_path: Path) -> None:
    """The bias of a ratio and the threshold must not correct the number of labels twice."""
    shares = dict.fromkeys(LABELS, 0.7)
    prior = ",".join(f"{label}:{share}" for label, share in shares.items())
    more = ["--set", "merge=learned", "--set", f"prior={prior}", "--estimate"]
    pet(*run_options(inputs, tiny_model), *more, "-q", "-o", tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "g0" / "labels.parquet")
    applied = np.mean([len(row) for row in table["labels"].to_pylist()]) / len(LABELS)
    assert applied == pytest.approx(0.7, abs=0.15)
    estimate = json.loads((tmp_path / "run" / "metrics.json").read_text())["estimate"]
    labeled = [len(json.loads(line)["label"]) for line in (inputs / "train.jsonl").open()]
    assert estimate["wrong"] > 0 and np.mean(labeled) < 2  # most texts have fewer labels than that


def test_figures_have_intervals_and_baselines_are_compared_text_by_text(run: Path) -> None:
    results = json.loads((run / "metrics.json").read_text())
    for name in ("micro_f1", "macro_f1", "exact_match"):
        low, high = results["student"][f"{name}_interval"]
        assert 0 <= low <= results["student"][name] <= high <= 1
    others = results["differences"]["others"]
    assert {"most frequent label", "embeddings", "tfidf", "ensemble"} <= set(others)
    for name in ("embeddings", "tfidf"):
        expected = results["student"]["micro_f1"] - results["baselines"][name]["ensemble"]["micro_f1"]
        assert others[name]["micro_f1"]["difference"] == pytest.approx(expected)
    report = (run / "report.html").read_text()
    assert "Compared with the baselines" in report and "micro F1, drawn" in report


def test_runs_are_compared_with_all_labels_of_a_text(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "other")
    note = tmp_path / "other" / "student" / "pet.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"threshold": 0.0}))  # every text gets every label
    page = tmp_path / "c.html"
    found = json.loads(pet("compare", run, tmp_path / "other", "--json", "--html", page).stdout)
    first, second = found["runs"]
    assert set(METRICS) <= set(first["figures"]) and second["figures"]["micro_f1"] < 1
    assert second["difference"]["micro_f1"]["difference"] == pytest.approx(
        second["figures"]["micro_f1"] - first["figures"]["micro_f1"]
    )
    assert all(text["labels"][1] == ", ".join(LABELS) for text in found["changed"]) and found["changed"]
    assert "micro F1" in pet("compare", run, tmp_path / "other").stdout and "micro F1" in page.read_text()


def test_texts_to_label_next_are_suggested_with_all_their_labels(run: Path, tmp_path: Path) -> None:
    found = json.loads(pet("suggest", run, "-n", 5, "--json").stdout)["suggestions"]
    threshold = json.loads((run / "student" / "pet.json").read_text())["threshold"]
    for one in found:
        likely = [label for label, share in one["probabilities"].items() if share >= threshold]
        assert sorted(one["proposed"]) == sorted(likely) and one["doubt"] >= 0
    pet("suggest", run, "-n", 5, "-q", "-o", tmp_path / "next.csv")
    rows = list(csv.DictReader((tmp_path / "next.csv").open()))
    assert [row["proposed"] for row in rows] == [";".join(one["proposed"]) for one in found]
    pet("suggest", run, "-n", 5, "-q", "--tool", "argilla", "-o", tmp_path / "next.json")
    for record, one in zip(json.loads((tmp_path / "next.json").read_text()), found, strict=True):
        assert record["suggestions"]["label"]["value"] == one["proposed"]


def test_sets_of_labels_are_reviewed_in_a_spreadsheet_and_trained_on(run: Path, inputs: Path, tmp_path: Path) -> None:
    table, saved = tmp_path / "r.csv", tmp_path / "reviewed.jsonl"
    pet("review", run, "--format", "csv", "-n", 4, "-q", "-o", table)
    rows = list(csv.DictReader(table.open()))
    said = ["World; Sports", "Sports", "", ""]
    for row, label in zip(rows, said, strict=True):
        row["label"] = label
    rows[2]["verdict"] = "none_of_these"

    def read(rows: list[dict[str, str]]) -> list[Any]:
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        return ["review", run, "--read", table, "-o", saved]

    assert "Wrld" in refused(*read([rows[0] | {"label": "Sports;Wrld"}]))
    pet(*read(rows))
    lines = [json.loads(line) for line in saved.read_text().splitlines()]
    assert [line["label"] for line in lines] == [["World", "Sports"], ["Sports"], None]
    assert all(";".join(line["proposed"]) == row["proposed"] for line, row in zip(lines, rows, strict=False))
    task = Task.load(inputs / "task.yaml")
    found = read_corrections(str(saved), task)
    assert column_labels(found.labeled).tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert not len(found.outside)  # a text without labels is a labeled text
    train = open_finished(run).texts("train")
    assert len(found.add_to(train, task.fields)) == len(train) + 3
    saved.write_text(json.dumps(lines[0] | {"label": "World"}))
    with pytest.raises(PetError, match=r"reviewed.jsonl:1: label is one text"):
        read_corrections(str(saved), task)


def test_the_review_page_decides_about_all_labels_of_a_text(run: Path, tmp_path: Path) -> None:
    review = Review(open_finished(run), tmp_path / "reviewed.jsonl")
    (item,) = review.page(Filter(), 0, 1)["items"]
    threshold = json.loads((run / "student" / "pet.json").read_text())["threshold"]
    assert item["proposed"] == [n for n, share in enumerate(item["probabilities"]) if share >= round(threshold, 4)]
    votes = [vote for member in item["members"] for vote in member["votes"]]
    asked = [vote["filled"] for vote in votes if ["field", f" {LABELS[vote['label']]}"] in vote["filled"]]
    assert votes and all(filled[-2] == ["word", " yes"] for filled in asked)
    assert all(isinstance(near["labels"], list) for near in item["nearest"])
    review.decide([item["row"]], [0], "labeled", [2, 0])
    (changed,) = review.state(0)["changed"]
    assert changed["decision"]["labels"] == [0, 2]
    same = review.similar(item["row"], 5)["rows"]
    applies = review.run.pool.applies
    assert all((applies[row] == applies[item["row"]]).all() for row in same)
    with pytest.raises(PetError, match="no label 4"):
        review.decide([item["row"]], [1], "labeled", [4])


def test_texts_unlike_all_labeled_ones_are_left_out(run: Path, inputs: Path, tmp_path: Path) -> None:
    how = ["--input", inputs / "test.jsonl", "--none-of-these", 0.2, "--json", "-q"]
    found = json.loads(pet("evaluate", run, *how).stdout)["none_of_these"]
    assert found["kept"] + found["dropped"] == 12 and 0 <= found["kept_right"] <= 1
    said = json.loads(pet("label", run, *how, "-o", tmp_path / "l.jsonl").stdout)
    assert (said["kept"], said["none_of_these"]) == (found["kept"], found["dropped"])
    mass = pet("label", run, *how, "--none-of-these-by", "mass", "-o", tmp_path / "m.jsonl").stdout
    assert json.loads(mass)["threshold"] != said["threshold"]


def test_the_report_shows_texts_with_all_their_labels(run: Path) -> None:
    results = json.loads((run / "metrics.json").read_text())
    page = (run / "report.html").read_text()
    wrong = round(12 * (1 - results["student"]["exact_match"]))
    assert f"Wrong labels of test texts ({wrong})" in page and "least sure of" in page
    for title in ("Labeled texts that the others contradict", "Doubtful unlabeled texts", "Nearest labeled text"):
        assert title in page


def test_a_shard_of_a_cluster_gets_the_labels_of_one_process(run: Path, inputs: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "pool.parquet", tmp_path / "parts"
    pool = Dataset.from_json(str(inputs / "pool.jsonl"))
    pool.to_parquet(str(source))
    pet("label", run, "--input", source, "-o", tmp_path / "whole.parquet", "-q")
    output.mkdir()
    (output / ABOUT).touch()
    (output / ATTEMPTS).mkdir()
    opened = open_source(str(source), "input")
    layout = lay_out(["id", "text"], ["text"], None, {}, "input", strict=True)
    (shard,) = cut_rows([source], 100)
    labeler = ShardLabeler(ShardWork(str(run), str(output), opened, layout))
    (answer,) = map(json.loads, labeler({"shard": [json.dumps(shard.to_dict())]})["answer"])
    whole, part = pq.read_table(tmp_path / "whole.parquet"), pq.read_table(labeler.work.part(shard))
    assert part.equals(whole) and answer["written"] == answer["texts"] == 16
    assert answer["per_label"] == [sum(label in row for row in whole["labels"].to_pylist()) for label in LABELS]


@pytest.mark.slow
def test_two_workers_write_the_same_files_as_one_process(
    run: Path, inputs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    options = run_options(inputs, tiny_model)
    pet(*options, "--set", "merge=learned", "--workers", 2, "--worker-cpus", 1, "-q", "-o", tmp_path / "run")
    same_files(tmp_path / "run", run)


def test_each_label_has_a_probability_of_its_own(run: Path) -> None:
    table = read_soft_labels(run / "g0" / "labels.parquet")
    assert table.independent and table.labels == list(LABELS)
    assert np.abs(table.probabilities.sum(axis=1) - 1).max() > 0.01
    np.testing.assert_array_equal(table.probabilities, read_probabilities(run / "g0" / "labels.parquet"))
    row = json.loads((run / "g0" / "labels.jsonl").read_text().splitlines()[0])
    ensemble = json.loads((run / "manifest.json").read_text())["stages"]["g0/labels"]["info"]
    assert row["labels"] == [label for label, p in row["probabilities"].items() if p >= ensemble["threshold"]]


def test_the_student_gives_the_same_probabilities_in_plain_transformers(
    run: Path, inputs: Path, tmp_path: Path
) -> None:
    config = json.loads((run / "student" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    pet("predict", run, "--input", inputs / "test.jsonl", "-o", tmp_path / "p.jsonl", "-q")
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    texts = [json.loads(line)["text"] for line in (inputs / "test.jsonl").read_text().splitlines()]
    classify = transformers.pipeline("text-classification", str(run / "student"), top_k=None, device="cpu")
    for row, found in zip(rows, classify(texts, truncation=True), strict=True):
        assert {item["label"]: pytest.approx(item["score"], abs=1e-5) for item in found} == row["probabilities"]


def test_evaluate_gives_the_figures_of_the_run(run: Path, inputs: Path) -> None:
    found = json.loads(pet("evaluate", run, "--input", inputs / "test.jsonl", "--json", "-q").stdout)
    student = json.loads((run / "metrics.json").read_text())["student"]
    assert {name: found[name] for name in METRICS} == {name: pytest.approx(student[name]) for name in METRICS}


def test_label_gives_the_probabilities_of_the_run_and_counts_every_label(
    run: Path, inputs: Path, tmp_path: Path
) -> None:
    said = json.loads(
        pet("label", run, "--input", inputs / "pool.jsonl", "-o", tmp_path / "l.csv", "--json", "-q").stdout
    )
    table, kept = read_soft_labels(tmp_path / "l.csv"), read_soft_labels(run / "g0" / "labels.parquet")
    np.testing.assert_allclose(table.probabilities, kept.probabilities, atol=1e-6)
    ensemble = json.loads((run / "manifest.json").read_text())["stages"]["g0/labels"]["info"]
    counts = (table.probabilities >= ensemble["threshold"]).sum(axis=0)
    assert said["kept"] == 16 and list(said["per_label"].values()) == counts.tolist()


def test_the_page_of_labels_shows_the_decisions_of_the_file(run: Path, inputs: Path, tmp_path: Path) -> None:
    output, page = tmp_path / "l.jsonl", tmp_path / "l.html"
    pet("label", run, "--input", inputs / "pool.jsonl", "-o", output, "--html", page, "-q")
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    html = page.read_text(encoding="utf-8").partition("least certain first")[2]
    shown = [html.index(escape(row["text"])) for row in _pool_in_order(inputs, rows)]
    assert shown == sorted(shown)  # the least certain decision first


def _pool_in_order(inputs: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    texts = {row["id"]: row for row in map(json.loads, (inputs / "pool.jsonl").open(encoding="utf-8"))}
    return [texts[row["id"]] for row in sorted(rows, key=lambda row: row["confidence"])]


def test_a_classifier_is_distilled_from_soft_labels_of_several_labels(
    run: Path, inputs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    labels = run / "g0" / "labels.jsonl"
    how = ["--input", inputs / "pool.jsonl", "--model", tiny_model, "--set", "student_steps=1", "--max-length", 64]
    pet("distill", "--labels", labels, *how, "--task", inputs / "task.yaml", "-o", tmp_path / "small", "-q")
    assert json.loads((tmp_path / "small" / "config.json").read_text())["problem_type"] == "multi_label_classification"
    assert "top_k=None" in (tmp_path / "small" / "README.md").read_text(encoding="utf-8")
    (tmp_path / "one.yaml").write_text(TASK)
    message = refused("distill", "--labels", labels, *how, "--task", tmp_path / "one.yaml", "-o", tmp_path / "no")
    assert "several labels" in message and not (tmp_path / "no").exists()


def test_a_finished_run_is_not_repeated(run: Path) -> None:
    before = contents(run)
    pet("run", run / "config.yaml", "-q")
    assert contents(run) == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--set", "loss=hinge"], ["loss=hinge", "multi_label"]),
        (["--set", "prior=estimated"], ["prior=estimated", "multi_label"]),
        (["--set", "calibration=contextual"], ["calibration=contextual", "multi_label"]),
        (["--set", "prior=balancd"], ["auto, none, balanced, labeled, or the share", "'balanced'"]),
        (["--set", "prior=World:1.5,Sports:0.2,Business:0.1,Tech:0.1"], ["prior", "less than 1"]),
    ],
)
def test_what_requires_one_label_per_text_is_refused(
    inputs: Path, tiny_model: Path, tmp_path: Path, options: list[str], named: list[str]
) -> None:
    options = [option.replace("Tech", LABELS[-1]) for option in options]
    message = refused(*run_options(inputs, tiny_model), *options, "-o", tmp_path / "run")
    assert all(text in message for text in named) and not (tmp_path / "run").exists()


def test_labeled_texts_without_any_label_are_refused(inputs: Path, tiny_model: Path, tmp_path: Path) -> None:
    rows = [row | {"label": []} for row in news_rows()[:12]]
    train = ["--train", write_rows(tmp_path / "train.jsonl", rows)]
    files = run_options(inputs, tiny_model, parts=["unlabeled"])
    assert "none of its 12 texts has a label" in refused(*files, *train, "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert "none of its 12 texts has a label" in pet("check", inputs / "task.yaml", *train, expect=2).stderr


def test_generations_learn_from_texts_with_all_their_labels(inputs: Path, tiny_model: Path, tmp_path: Path) -> None:
    generations = ["--method", "ipet", "--set", "generations=2", "--set", "growth=1.4", "--set", "accept=always"]
    pet(*run_options(inputs, tiny_model), *generations, "-q", "-o", tmp_path / "run")
    files = sorted((tmp_path / "run" / "g1" / "examples").glob("*.parquet"))
    assert [file.stem for file in files] == ["p1-r1", "p2-r1", "p3-r1"]
    threshold = json.loads((tmp_path / "run" / "manifest.json").read_text())["stages"]["g0/labels"]["info"]["threshold"]
    for file in files:
        rows, sets, probabilities = read_pseudo_labels(file, LABELS)
        assert len(rows) and len(set(rows.tolist())) == len(rows)
        np.testing.assert_array_equal(sets, probabilities >= threshold)
    history = json.loads((tmp_path / "run" / "metrics.json").read_text())["generations"]
    assert [entry["generation"] for entry in history] == [0, 1] and history[1]["texts"] == len(rows)
    assert "micro_f1" in history[1]["test"] and "test_micro_f1" in (tmp_path / "run" / "generations.csv").read_text()


def test_the_model_is_pretrained_on_texts_with_one_of_their_labels_each(
    inputs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    method = ["--method", "pcp", "--set", "pcp_steps=3", "--set", "pcp_batch=4"]
    pet(*run_options(inputs, tiny_model), *method, "-q", "-o", tmp_path / "run")
    results = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert results["generation"] == 1 and set(METRICS) <= set(results["student"])
    assert (tmp_path / "run" / "g1" / "pretrained" / "model.safetensors").is_file()


def test_zero_shot_predicts_labels_in_the_given_shares(inputs: Path, tiny_model: Path, tmp_path: Path) -> None:
    shares = dict(zip(LABELS, (0.6, 0.5, 0.2, 0.1), strict=True))
    prior = ",".join(f"{label}:{share}" for label, share in shares.items())
    pet(
        *run_options(inputs, tiny_model, parts=["unlabeled"]), "--method", "zero-shot", "--set", f"prior={prior}", "-q",
        "-o", tmp_path / "run",
    )  # fmt: skip
    means = read_probabilities(tmp_path / "run" / "g0" / "labels.parquet").mean(axis=0)
    np.testing.assert_allclose(means, list(shares.values()), atol=1e-4)


def test_check_ranks_labels_and_estimates_the_time(inputs: Path, tiny_model: Path) -> None:
    options = ["--train", inputs / "train.jsonl", "--unlabeled", inputs / "pool.jsonl", "--max-length", 64]
    said = pet("check", inputs / "task.yaml", *options, "--model", tiny_model, "--device", "cpu", "-q").stdout
    assert "ranking precision" in said and "A run takes about" in said


@pytest.mark.parametrize("more", [(), ("--set", "tuning=prompt")], ids=["full", "prompt"])
def test_check_takes_a_first_pattern_that_begins_with_the_label(
    inputs: Path, tiny_model: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    task = (inputs / "task.yaml").read_text(encoding="utf-8")
    asks = 'patterns:\n  - "{label}? {text} {mask}."\n'
    (tmp_path / "task.yaml").write_text(task.replace("patterns:\n", asks), encoding="utf-8")
    options = ["--train", inputs / "train.jsonl", "--unlabeled", inputs / "pool.jsonl", "--max-length", 64, *more]
    said = pet("check", tmp_path / "task.yaml", *options, "--model", tiny_model, "--device", "cpu", "-q").stdout
    assert "A run takes about" in said
