"""``pet label``, ``pet predict``, ``pet evaluate`` and ``pet distill`` with the results of a run."""

from __future__ import annotations

import csv
import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from families import build_family
from small_run import pet, refused, run_options, write_inputs, write_rows
from tiny_text import LABELS, news_rows

from pet.backbones.info import ModelInfo
from pet.data.corrections import read_corrections
from pet.data.table_options import TableOptions
from pet.ensemble.soft_label_files import read_soft_labels
from pet.errors import PetError
from pet.inference import distill_file as distill_module
from pet.inference import ensemble
from pet.inference.distill_file import DistillOptions, distill_file, unused_settings
from pet.inference.label_file import label_chunk, label_file
from pet.inference.place import settings_of
from pet.inference.predict_file import predict_file
from pet.members import models
from pet.run.settings import RunSettings
from pet.task.task import Task

QUICK = [
    "--set",
    "student_steps=3",
    "--set",
    "student_batch=4",
    "--max-length",
    "64",
    "--device",
    "cpu",
    "-q",
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("apply") / "in")


def _run(inputs: Path, model: Path, name: str, *options: str, **parts: Any) -> Path:
    folder = inputs.parent / name
    pet(*run_options(inputs, model, **parts), *options, "-q", "-o", folder)
    return folder


@pytest.fixture(scope="module")
def run(inputs: Path, tiny_model: Path) -> Path:
    return _run(inputs, tiny_model, "run", "--set", "student_steps=20")


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# --- label ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_label_gives_the_soft_labels_of_the_run(run: Path, inputs: Path, tmp_path: Path, ending: str):
    output = tmp_path / f"labels.{ending}"
    result = pet("label", run, "--input", inputs / "pool.jsonl", "-o", output, "--device", "cpu")
    assert output.read_bytes() == (run / "g0" / f"labels.{ending}").read_bytes()
    assert "16 texts" in result.stdout and str(output) in result.stdout


def test_label_applies_the_prior_correction_of_the_run(inputs: Path, tiny_model: Path, tmp_path: Path):
    corrected = _run(inputs, tiny_model, "prior", "--method", "zero-shot", "--set", "prior=balanced")
    assert any(json.loads((corrected / "manifest.json").read_text())["stages"]["g0/labels"]["info"]["bias"])
    output = tmp_path / "labels.jsonl"
    pet("label", corrected, "--input", inputs / "pool.jsonl", "-o", output, "-q", "--device", "cpu")
    assert output.read_bytes() == (corrected / "g0" / "labels.jsonl").read_bytes()


def test_label_reads_chunk_by_chunk(run: Path, inputs: Path, tmp_path: Path):
    whole = read_soft_labels(run / "g0" / "labels.parquet")
    counts = label_file(run, str(inputs / "pool.jsonl"), tmp_path / "some.parquet", table=TableOptions(chunk_rows=5))
    found = read_soft_labels(tmp_path / "some.parquet")
    assert found.ids == whole.ids and counts.texts == counts.kept == 16
    np.testing.assert_allclose(found.probabilities, whole.probabilities, atol=1e-6)


def test_label_opens_members_in_turn_if_they_do_not_fit_into_memory(
    run: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    opened: list[str] = []
    load = ModelInfo.open

    def noting(info: ModelInfo) -> Any:
        opened.append(Path(info.name).name)
        return load(info)

    monkeypatch.setattr(ModelInfo, "open", noting)
    tens = TableOptions(chunk_rows=10)
    label_file(run, str(inputs / "pool.jsonl"), tmp_path / "a.jsonl", table=tens)
    assert opened == ["p1-r1", "p2-r1"]
    opened.clear()
    monkeypatch.setattr(models, "KEEP_BYTES", 0)
    label_file(run, str(inputs / "pool.jsonl"), tmp_path / "b.jsonl", table=tens)
    assert opened == ["p1-r1", "p2-r1"] * 2
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_label_writes_only_confident_texts(run: Path, inputs: Path, tmp_path: Path):
    rows = json_lines(run / "g0" / "labels.jsonl")
    limit = sorted(row["confidence"] for row in rows)[10]
    options = [
        "label",
        run,
        "--input",
        inputs / "pool.jsonl",
        "-o",
        tmp_path / "sure.jsonl",
        "--device",
        "cpu",
    ]
    result = pet(*options, "--min-confidence", limit, "--json", "--keep", "text")
    kept = [row for row in rows if row["confidence"] >= limit]
    texts = {row["id"]: row["text"] for row in json_lines(inputs / "pool.jsonl")}
    assert json_lines(tmp_path / "sure.jsonl") == [{**row, "text": texts[row["id"]]} for row in kept]
    summary = json.loads(result.stdout)
    assert (summary["texts"], summary["kept"]) == (16, len(kept))
    assert sum(summary["per_label"].values()) == len(kept)
    assert "--min-confidence is 2" in refused(*options, "--min-confidence", 2)


def test_label_weights_members_as_the_run_would_have(run: Path, inputs: Path, tiny_model: Path, tmp_path: Path):
    other = _run(inputs, tiny_model, "no-pool", parts=["train"])
    accuracies = json.loads((other / "g0" / "untrained.json").read_text())["accuracy"]
    assert json.loads((run / "g0" / "untrained.json").read_text())["accuracy"] == accuracies
    manifest = json.loads((run / "manifest.json").read_text())
    noted = manifest["stages"]["g0/labels"]["info"]["weights"]
    np.testing.assert_allclose(ensemble.open_ensemble(other).ensemble.weights, noted)
    np.testing.assert_allclose(ensemble.open_ensemble(run).ensemble.weights, noted)
    pet("label", other, "--input", inputs / "pool.jsonl", "-o", tmp_path / "labels.jsonl", "-q")
    assert len(json_lines(tmp_path / "labels.jsonl")) == 16
    manifest = json.loads((other / "manifest.json").read_text())
    stages = manifest["stages"]  # as if the second member had been finished first, by another worker
    (other / "manifest.json").write_text(json.dumps(manifest | {"stages": dict(reversed(stages.items()))}))
    assert ensemble.open_ensemble(other).names == ["p1-r1", "p2-r1"]


def test_label_with_a_zero_shot_run_gives_its_soft_labels(inputs: Path, tiny_model: Path, tmp_path: Path):
    zero = _run(inputs, tiny_model, "zero", "--method", "zero-shot")
    output = tmp_path / "labels.parquet"
    pet("label", zero, "--input", inputs / "pool.jsonl", "-o", output, "-q", "--device", "cpu")
    assert output.read_bytes() == (zero / "g0" / "labels.parquet").read_bytes()


def test_what_has_no_ensemble_is_refused_with_a_cure(run: Path, inputs: Path, tiny_model: Path, tmp_path: Path):
    supervised = _run(inputs, tiny_model, "supervised", "--method", "supervised")
    options = ["--input", inputs / "pool.jsonl", "-o", tmp_path / "labels.parquet"]
    assert f"pet predict {supervised / 'student'}" in refused("label", supervised, *options)
    assert "an ensemble" in refused("predict", supervised, *options, "--none-of-these", 0.1)
    assert str(tiny_model) in refused("label", tiny_model, *options)
    assert "nowhere" in refused("label", tmp_path / "nowhere", *options)
    seeds = inputs.parent / "seeds"
    shutil.copytree(run, seeds / "seed-0")
    assert str(seeds / "seed-0") in refused("label", seeds, *options)
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["stages"]["g0/p2-r1"]
    (seeds / "seed-0" / "manifest.json").write_text(json.dumps(manifest))
    message = refused("label", seeds / "seed-0", *options)
    assert "1 of 2 members" in message and "config.yaml" in message
    assert not list(tmp_path.iterdir())


def test_outputs_that_cannot_be_written_are_refused(run: Path, inputs: Path, tmp_path: Path):
    pool = inputs / "pool.jsonl"
    before = pool.read_bytes()
    options = ["label", run, "--input", pool, "-o"]
    for ending in (".jsonl", ".csv", ".tsv", ".parquet"):
        assert ending in refused(*options, tmp_path / "labels.txt")
    assert "nowhere" in refused(*options, tmp_path / "nowhere" / "labels.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    assert "folder.jsonl" in refused(*options, tmp_path / "folder.jsonl")
    assert "input" in refused(*options, pool, "--force")
    assert pool.read_bytes() == before
    assert "--executor ray" in refused(*options, tmp_path / "labels.jsonl", "--workers", 2)


@pytest.mark.parametrize("command", ["label", "predict"])
def test_existing_files_are_replaced_only_with_force(command: str, run: Path, inputs: Path, tmp_path: Path):
    output = tmp_path / "out.jsonl"
    output.write_text("mine")
    options = [command, run, "--input", inputs / "pool.jsonl", "-o", output, "--device", "cpu"]
    message = refused(*options)
    assert str(output) in message and "--force" in message and output.read_text() == "mine"
    pet(*options, "--force")
    assert len(json_lines(output)) == 16


KEPT = [
    {"id": f"n{i}", "text": row["text"], "stars": i, "more": {"deep": [i, None]}, "p(World)": "taken"}
    for i, row in enumerate(news_rows()[:6])
]


@pytest.mark.parametrize("command", ["label", "predict"])
def test_kept_columns_are_copied_in_every_format(command: str, run: Path, tmp_path: Path):
    import pyarrow.parquet as pq

    given = [row if i != 2 else {k: v for k, v in row.items() if k != "more"} for i, row in enumerate(KEPT)]
    write_rows(tmp_path / "in.jsonl", given)
    options = [command, run, "--input", tmp_path / "in.jsonl", "--device", "cpu", "--keep", "stars,text"]
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        pet(*options, "--keep", "more", "-o", tmp_path / name)
    rows = json_lines(tmp_path / "a.jsonl")
    assert [{name: row.get(name, "none") for name in ("id", "text", "stars", "more")} for row in rows] == [
        {"more": "none", **{name: value for name, value in row.items() if name != "p(World)"}} for row in given
    ]
    table = pq.read_table(tmp_path / "a.parquet")
    assert [(row["stars"], row["more"]) for row in table.to_pylist()] == [(r["stars"], r.get("more")) for r in given]
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as stream:
        cells = list(csv.DictReader(stream))
    assert [(row["text"], row["stars"]) for row in cells] == [(row["text"], str(row["stars"])) for row in KEPT]
    assert [json.loads(row["more"]) if row["more"] else None for row in cells] == [r.get("more") for r in given]


def test_columns_that_cannot_be_kept_are_all_named(run: Path, tmp_path: Path):
    write_rows(tmp_path / "in.jsonl", [KEPT[0]])
    for command in ("label", "predict"):
        options = [command, run, "--input", tmp_path / "in.jsonl", "-o", tmp_path / "out.csv", "--keep"]
        message = refused(*options, "star,nothing")
        assert "--keep star" in message and "'stars'" in message and "--keep nothing" in message
        message = refused(*options, "p(World)", "--keep", "id")
        assert "--keep p(World)" in message and "--keep id" in message
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize("command", ["label", "predict"])
@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_distill_reads_what_label_and_predict_write(
    command: str, ending: str, run: Path, inputs: Path, distill: Any, tmp_path: Path
):
    output = tmp_path / f"labels.{ending}"
    pet(command, run, "--input", inputs / "pool.jsonl", "-o", output, "--device", "cpu", "--keep", "text")
    outcome = json.loads(pet(*distill(output, tmp_path / "student", "--json")).stdout)
    assert outcome["texts"] == 16
    assert list(by_pipeline(tmp_path / "student", TEXTS)[0]) and (tmp_path / "student" / "pet.json").is_file()


def test_distill_reads_the_columns_that_the_task_file_names(run: Path, inputs: Path, tiny_model: Path, tmp_path: Path):
    rows = [json.loads(line) for line in (inputs / "pool.jsonl").read_text(encoding="utf-8").splitlines()]
    write_rows(tmp_path / "pool.jsonl", [{"nr": row["id"], "message": row["text"]} for row in rows])
    task = (inputs / "task.yaml").read_text(encoding="utf-8")
    (tmp_path / "task.yaml").write_text(task + "columns: {text: message, id: nr}\n", encoding="utf-8")
    given = ["--labels", run / "g0" / "labels.parquet", "--input", tmp_path / "pool.jsonl", "--model", tiny_model]
    given += ["--task", tmp_path / "task.yaml", "--set", "student_steps=1", "--max-length", "64"]
    pet("distill", *given, "-q", "-o", tmp_path / "student")
    assert (tmp_path / "student" / "pet.json").is_file()


def test_a_bad_line_late_in_the_input_is_named_and_leaves_nothing(run: Path, tmp_path: Path):
    write_rows(tmp_path / "in.jsonl", [*news_rows(), {"id": "x", "txt": "a"}])
    for command in (["label", run], ["predict", run]):
        message = refused(*command, "--input", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl")
        assert "in.jsonl:41" in message
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


# --- predict -------------------------------------------------------------------------------------------

TEXTS = [
    "The team won the match in the stadium.",
    "What the [MASK] is this [SEP] and that [CLS]?",
    "[MASK]",
    "[SEP] [PAD] [UNK]",
    "😀 😀",
    "Shares of the bank fell. " * 200,
]


def by_pipeline(folder: Path, texts: list[Any]) -> list[dict[str, float]]:
    from transformers import pipeline

    classify = pipeline("text-classification", str(folder), device="cpu")
    answers = classify(texts, truncation=True, top_k=None)
    return [{row["label"]: row["score"] for row in answer} for answer in answers]


def assert_same(rows: list[dict[str, Any]], answers: list[dict[str, float]]) -> None:
    assert len(rows) == len(answers)
    for row, answer in zip(rows, answers, strict=True):
        assert row["probabilities"] == pytest.approx(answer, abs=1e-5)
        assert row["confidence"] == max(row["probabilities"].values()) == row["probabilities"][row["label"]]


def test_predict_agrees_with_the_pipeline(run: Path, tmp_path: Path):
    write_rows(tmp_path / "in.jsonl", [{"text": text} for text in TEXTS])
    pet("predict", run / "student", "--input", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl")
    rows = json_lines(tmp_path / "out.jsonl")
    assert_same(rows, by_pipeline(run / "student", TEXTS))
    assert [row["id"] for row in rows] == [str(i) for i in range(len(TEXTS))]
    assert list(rows[0]["probabilities"]) == list(LABELS)


def test_predict_agrees_with_the_pipeline_on_pairs(tiny_model: Path, tmp_path: Path):
    rows = [{"id": row["id"], "head": row["text"][:20], "body": row["text"]} for row in news_rows()[:8]]
    rows[3]["body"] = "the [SEP] of [MASK]"
    rows[4]["head"] = ""
    write_rows(tmp_path / "in.jsonl", rows)
    soft = [{"id": row["id"], "probabilities": {"a": 0.9, "b": 0.1}} for row in rows]
    write_rows(tmp_path / "soft.jsonl", soft)
    (tmp_path / "pair.yaml").write_text(
        "task: pair\nfields: [head, body]\nlabels: [a, b]\ninput: '{head} || {body}'\n"
        "verbalizer: {a: good, b: bad}\npatterns: ['{head} {mask} {body}']\n"
    )
    options = [
        "--input",
        tmp_path / "in.jsonl",
        "--task",
        tmp_path / "pair.yaml",
        "--model",
        tiny_model,
        *QUICK,
    ]
    pet("distill", "--labels", tmp_path / "soft.jsonl", *options, "-o", tmp_path / "student")
    pet("predict", tmp_path / "student", "--input", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl")
    pairs = [{"text": row["head"], "text_pair": row["body"]} for row in rows]
    assert_same(json_lines(tmp_path / "out.jsonl"), by_pipeline(tmp_path / "student", pairs))
    assert "text_pair" in (tmp_path / "student" / "README.md").read_text()


def test_predict_writes_the_same_in_every_format(run: Path, inputs: Path, tmp_path: Path):
    import pyarrow.parquet as pq

    options = ["predict", run, "--input", inputs / "pool.jsonl", "--device", "cpu", "-o"]
    printed = pet(*options, "-").stdout
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        assert "16 texts" in pet(*options, tmp_path / name).stdout
    assert (tmp_path / "a.jsonl").read_text(encoding="utf-8") == printed
    rows = json_lines(tmp_path / "a.jsonl")
    table = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [{**row, "probabilities": list(row["probabilities"].values())} for row in rows] == [
        {name: row[name] for name in ("id", "label", "confidence", "probabilities")} for row in table
    ]
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [float(line["p(Sports)"]) for line in lines] == [row["probabilities"]["Sports"] for row in rows]
    assert [line["label"] for line in lines] == [row["label"] for row in rows]


def test_predict_reads_chunk_by_chunk(run: Path, inputs: Path, tmp_path: Path):
    import io

    chunks, whole = io.StringIO(), io.StringIO()
    assert predict_file(str(run), str(inputs / "pool.jsonl"), chunks, table=TableOptions(chunk_rows=3)) == 16
    predict_file(str(run), str(inputs / "pool.jsonl"), whole)
    for part, row in zip(chunks.getvalue().splitlines(), whole.getvalue().splitlines(), strict=True):
        assert json.loads(part)["probabilities"] == pytest.approx(json.loads(row)["probabilities"], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("keep", [(), ("text",)])
def test_memory_does_not_grow_with_the_input(run: Path, tmp_path: Path, keep: tuple[str, ...]):
    pytest.importorskip("resource")
    peaks = []
    for count in (30_000, 120_000):
        texts = (news_rows()[i % 40]["text"] for i in range(count))
        source = write_rows(tmp_path / f"{count}.jsonl", ({"text": text} for text in texts))
        program = (
            "import resource, sys; from pet import label_file; from pet.data.table_options import TableOptions\n"
            f"table = TableOptions(chunk_rows=8192, keep={keep})\n"
            f"label_file({str(run)!r}, {str(source)!r}, {str(tmp_path / f'{count}.parquet')!r}, table=table)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] * 1.15


def _classifier(model: Path, folder: Path, names: Mapping[int, str]) -> Path:
    """A classifier that this package did not make."""
    import transformers

    fresh = transformers.AutoModelForSequenceClassification.from_pretrained(
        model, num_labels=len(names), id2label=dict(names), label2id={name: i for i, name in names.items()}
    )
    fresh.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return folder


def test_any_transformers_classifier_predicts_and_is_evaluated(tiny_model: Path, inputs: Path, tmp_path: Path):
    theirs = _classifier(tiny_model, tmp_path / "theirs", dict(enumerate(LABELS)))
    rows = [{"body": row["text"], "label": row["label"]} for row in news_rows()[:8]]
    write_rows(tmp_path / "in.jsonl", rows)
    options = [theirs, "--input", tmp_path / "in.jsonl", "--column", "text=body"]
    pet("predict", *options, "-o", tmp_path / "out.jsonl")
    assert_same(json_lines(tmp_path / "out.jsonl"), by_pipeline(theirs, [row["body"] for row in rows]))
    metrics = json.loads(pet("evaluate", *options, "--json").stdout)
    right = [p["label"] == row["label"] for p, row in zip(json_lines(tmp_path / "out.jsonl"), rows, strict=True)]
    assert metrics["accuracy"] == pytest.approx(np.mean(right)) and metrics["n"] == 8


def test_what_is_no_classifier_is_refused_with_a_cure(run: Path, inputs: Path, tiny_model: Path, tmp_path: Path):
    options = ["--input", inputs / "pool.jsonl", "-o", tmp_path / "out.jsonl"]
    assert str(tiny_model) in refused("predict", tiny_model, *options)
    assert "config.json" in refused("predict", inputs, *options)
    zero = _run(inputs, tiny_model, "zero-too", "--method", "zero-shot", parts=["unlabeled"])
    assert f"pet label {zero}" in refused("predict", zero, *options)
    assert ".csv" in refused("predict", run, "--input", inputs / "pool.jsonl", "-o", tmp_path / "out.xlsx")
    assert "'nothing'" in refused("predict", run, *options, "--column", "text=nothing")
    assert not list(tmp_path.iterdir())


def test_a_run_without_unlabeled_texts_says_what_would_help(inputs: Path, tiny_model: Path, tmp_path: Path):
    lone = _run(inputs, tiny_model, "lone", parts=["train"])
    for command in ("suggest", "review"):
        assert "run it again with --unlabeled" in refused(command, lone)
    output = ["--input", inputs / "pool.jsonl", "-o", tmp_path / "out.jsonl"]
    said = refused("predict", lone, *output)
    assert "it had no unlabeled texts" in said and f"pet label {lone}" in said
    said = refused("distill", "--labels", lone, *output, "--task", inputs / "task.yaml", "-m", tiny_model)
    assert f"pet label {lone}" in said and "g0/labels.parquet" not in said


def test_files_that_have_moved_are_named_with_the_place_to_correct(run: Path, inputs: Path, tmp_path: Path):
    moved, config = tmp_path / "run", tmp_path / "run" / "config.yaml"
    shutil.copytree(run, moved)
    sound = config.read_text(encoding="utf-8")
    config.write_text(sound.replace(str(inputs / "train.jsonl"), str(tmp_path / "gone.jsonl")), encoding="utf-8")
    said = refused("suggest", moved)
    assert str(tmp_path / "gone.jsonl") in said and f"after `train:` in {config}" in said
    shutil.copy(inputs / "train.jsonl", tmp_path / "gone.jsonl")
    pet("suggest", moved)


# --- evaluate ------------------------------------------------------------------------------------------


def test_evaluate_gives_the_metrics_of_the_run(run: Path, inputs: Path):
    expected = json.loads((run / "metrics.json").read_text())["student"]
    for model in (run, run / "student"):
        found = json.loads(pet("evaluate", model, "--input", inputs / "test.jsonl", "--json", "--device", "cpu").stdout)
        assert {key: found[key] for key in ("n", "accuracy", "macro_f1", "mcc", "confusion")} == {
            key: expected[key] for key in ("n", "accuracy", "macro_f1", "mcc", "confusion")
        }
    text = pet("evaluate", run, "--input", inputs / "test.jsonl").stdout
    assert f"accuracy {expected['accuracy']:.3f}" in text and "gold" in text


def test_a_student_belongs_to_its_run_from_inside_its_folder_too(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(run / "student")
    assert settings_of(Path(".")) == settings_of(run) is not None


def test_evaluate_names_labels_that_the_classifier_does_not_know(tiny_model: Path, inputs: Path, tmp_path: Path):
    theirs = _classifier(tiny_model, tmp_path / "theirs", {0: "NEG", 1: "POS"})
    message = refused("evaluate", theirs, "--input", inputs / "test.jsonl")
    assert "'NEG', 'POS'" in message and "'World'" in message


def test_evaluate_translates_labels_with_the_label_map_of_a_task(run: Path, inputs: Path, tmp_path: Path):
    rows = [{"text": row["text"], "label": LABELS.index(row["label"])} for row in news_rows()[28:]]
    write_rows(tmp_path / "test.jsonl", rows)
    assert "'0'" in refused("evaluate", run, "--input", tmp_path / "test.jsonl")
    task = (inputs / "task.yaml").read_text()
    numbers = ", ".join(f"{i}: {label}" for i, label in enumerate(LABELS))
    (tmp_path / "task.yaml").write_text(task + f"label_map: {{{numbers}}}\n")
    found = pet("evaluate", run, "--input", tmp_path / "test.jsonl", "--task", tmp_path / "task.yaml", "--json")
    expected = json.loads((run / "metrics.json").read_text())["student"]
    assert json.loads(found.stdout)["confusion"] == expected["confusion"]


# --- distill -------------------------------------------------------------------------------------------


@pytest.fixture
def soft(tmp_path: Path) -> Path:
    """Soft labels for the pool from elsewhere, as JSON lines."""
    dice = np.random.default_rng(0)
    rows = []
    for row in news_rows()[12:28]:
        p = dice.dirichlet(np.ones(4))
        rows.append({"id": row["id"], "probabilities": dict(zip(LABELS, map(float, p), strict=True))})
    return write_rows(tmp_path / "soft.jsonl", rows)


@pytest.fixture
def distill(inputs: Path, tiny_model: Path) -> Callable[..., list[Any]]:
    """Arguments of a distillation."""

    def arguments(labels: Path, output: Path, *more: Any) -> list[Any]:
        basic = [
            "distill",
            "--labels",
            labels,
            "--input",
            inputs / "pool.jsonl",
            "--model",
            tiny_model,
            *QUICK,
        ]
        return [*basic, "-o", output, *more]

    return arguments


def test_distill_does_not_depend_on_the_order_of_rows_or_labels(soft: Path, distill: Any, tmp_path: Path):
    rows = json_lines(soft)
    random.Random(1).shuffle(rows)
    shuffled = [{**row, "probabilities": dict(reversed(row["probabilities"].items()))} for row in rows]
    write_rows(tmp_path / "shuffled.jsonl", shuffled)
    task = ["--task", soft.parent / "task.yaml"]
    write_inputs(soft.parent)
    result = pet(*distill(soft, tmp_path / "a", *task))
    pet(*distill(tmp_path / "shuffled.jsonl", tmp_path / "b", *task))
    assert f"pet predict {tmp_path / 'a'}" in result.stdout
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert "README.md" in names and "model.safetensors" in names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert by_pipeline(tmp_path / "a", TEXTS)[0].keys() == set(LABELS)


def test_distill_reads_the_labels_of_a_run_and_predictions(run: Path, inputs: Path, distill: Any, tmp_path: Path):
    pet("predict", run, "--input", inputs / "pool.jsonl", "-o", tmp_path / "p.parquet", "-q")
    for labels in (run / "g0" / "labels.parquet", run / "g0" / "labels.jsonl", tmp_path / "p.parquet"):
        output = tmp_path / labels.name.replace(".", "-")
        outcome = json.loads(pet(*distill(labels, output, "--json")).stdout)
        assert outcome["texts"] == 16 and (output / "config.json").is_file()
        shutil.rmtree(output)
    assert f"such as {run / 'g0' / 'labels.parquet'}" in refused(*distill(run, tmp_path / "student"))


def test_every_option_of_distill_changes_the_student(soft: Path, distill: Any, inputs: Path, tmp_path: Path):
    made: dict[str, bytes] = {}
    variants: dict[str, list[Any]] = {
        "plain": [],
        "hard": ["--hard"],
        "hot": ["--temperature", 8],
        "gold": ["--train", inputs / "train.jsonl", "--gold-weight", 0.5],
        "sure": ["--min-confidence", 0.6],
        "seed": ["--seed", 1],
    }
    for name, options in variants.items():
        outcome = json.loads(pet(*distill(soft, tmp_path / name, "--json", *options)).stdout)
        made[name] = (tmp_path / name / "model.safetensors").read_bytes()
        sure = sum(max(row["probabilities"].values()) >= 0.6 for row in json_lines(soft))
        assert outcome["texts"] == (sure if name == "sure" else 16)
        assert outcome["gold"] == (12 if name == "gold" else 0)
    assert len(set(made.values())) == len(variants)


def test_distill_takes_reviewed_labels_as_certain(soft: Path, distill: Any, inputs: Path, tmp_path: Path):
    pool = json_lines(inputs / "pool.jsonl")
    outside = {"id": "new", "text": "Nobody has seen this text before."}
    rows = [(pool[0], "labeled", LABELS[1]), (outside, "labeled", LABELS[2]), (pool[1], "none_of_these", None)]
    decisions = [
        {"id": row["id"], "fields": {"text": row["text"]}, "label": label, "verdict": verdict}
        for row, verdict, label in (*rows, (pool[2], "unsure", None))
    ]
    reviewed = write_rows(tmp_path / "reviewed.jsonl", decisions)
    options = ["--task", inputs / "task.yaml", "--corrections", reviewed]
    outcome = json.loads(pet(*distill(soft, tmp_path / "student", "--json", *options)).stdout)
    assert (outcome["texts"], outcome["corrected"]) == (len(pool), 2)  # one joins, one leaves
    table = Dataset.from_list([{"id": row["id"], "text": row["text"]} for row in pool])
    corrections = read_corrections(str(reviewed), Task.load(inputs / "task.yaml"))
    found, targets = distill_module._corrected(table, np.full((len(pool), 4), 0.25), corrections, ["text"])
    assert found["id"][-2:] == [pool[0]["id"], "new"]
    assert found["id"][0] == pool[2]["id"]
    assert targets[-2:].tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]


def test_distill_learns_the_labels(inputs: Path, tiny_model: Path, tmp_path: Path):
    names = ("World", "Sports")
    gold = [row for row in news_rows() if row["label"] in names]
    soft = [{"id": row["id"], "probabilities": {n: float(n == row["label"]) for n in names}} for row in gold]
    write_rows(tmp_path / "soft.jsonl", soft)
    write_rows(tmp_path / "texts.jsonl", [{"id": row["id"], "text": row["text"]} for row in gold])
    pet(
        "distill", "--labels", tmp_path / "soft.jsonl", "--input", tmp_path / "texts.jsonl", "-m", tiny_model,
        "--set", "student_steps=40", "--set", "student_learning_rate=0.004", "--max-length", 64, "-q",
        "-o", tmp_path / "student",
    )  # fmt: skip
    write_rows(tmp_path / "gold.jsonl", gold)
    found = pet("evaluate", tmp_path / "student", "--input", tmp_path / "gold.jsonl", "--json")
    assert json.loads(found.stdout)["accuracy"] >= 0.9


def test_distill_trains_a_decoder_without_a_padding_token(soft: Path, inputs: Path, tmp_path: Path):
    import transformers

    build_family("roberta", tmp_path / "model")
    path = tmp_path / "model" / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    for role in ("pad_token", "cls_token", "sep_token", "mask_token"):
        settings.pop(role)
    path.write_text(json.dumps(settings | {"tokenizer_class": "PreTrainedTokenizerFast"}))
    config = transformers.GPT2Config(vocab_size=1000, n_positions=96, n_embd=16, n_layer=1, n_head=1)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "model")
    options = [
        "--input",
        inputs / "pool.jsonl",
        "--model",
        tmp_path / "model",
        *QUICK,
        "-o",
        tmp_path / "student",
    ]
    pet("distill", "--labels", soft, *options)
    write_rows(tmp_path / "in.jsonl", [{"text": text} for text in TEXTS])
    pet("predict", tmp_path / "student", "--input", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl")
    assert_same(json_lines(tmp_path / "out.jsonl"), by_pipeline(tmp_path / "student", TEXTS))


def test_distill_names_ids_without_texts(soft: Path, distill: Any, tmp_path: Path):
    rows = json_lines(soft)
    write_rows(soft, [*rows, {**rows[0], "id": "ghost"}, {**rows[0], "id": "spirit"}])
    message = refused(*distill(soft, tmp_path / "student"))
    assert "2 of its 18" in message and "'ghost', 'spirit'" in message
    assert [path.name for path in tmp_path.iterdir()] == ["soft.jsonl"]


BAD_LABELS = {
    "empty": ("", "bad.jsonl"),
    "one label": ('{"id": "n12", "probabilities": {"World": 1.0}}\n', "'World'"),
    "no sum": ('{"id": "n12", "probabilities": {"a": 0.5, "b": 0.1}}\n', "0.6000"),
    "no numbers": ('{"id": "n12", "probabilities": {"a": "x", "b": "y"}}\n', "bad.jsonl:1"),
    "lists without a task": ('{"id": "n12", "probabilities": [0.5, 0.5]}\n', "--task"),
    "cut off": ('{"id": "n12", "probab', "bad.jsonl:1"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_distill_refuses_bad_labels(case: str, distill: Any, tmp_path: Path):
    text, word = BAD_LABELS[case]
    (tmp_path / "bad.jsonl").write_text(text)
    assert word in refused(*distill(tmp_path / "bad.jsonl", tmp_path / "student"))
    assert not (tmp_path / "student").exists()


def test_distill_names_options_that_contradict_each_other(soft: Path, distill: Any, inputs: Path, tmp_path: Path):
    cases: list[tuple[list[Any], str]] = [
        (["--hard", "--temperature", 2], "--hard or --temperature"),
        (["--task", inputs / "task.yaml", "--field", "text"], "--task or --field"),
        (["--train", inputs / "train.jsonl"], "--gold-weight"),
        (["--gold-weight", 0.5], "--train"),
        (["--set", "gold_weight=0.5"], "--train"),
        (["--gold-weight", 1.5, "--train", inputs / "train.jsonl"], "--gold-weight is 1.5"),
        (["--min-confidence", 1.0], "--min-confidence 1.0"),
        (["--set", "stepz=1"], "steps?"),
        (["--temperature", 0], "temperature"),
        (["--corrections", inputs / "train.jsonl"], "--task"),
    ]
    for options, word in cases:
        message = refused(*distill(soft, tmp_path / "student", *options))
        assert word in message and not re.search(r"\bNone\b", message)
    assert not (tmp_path / "student").exists()


def test_distill_replaces_only_its_own_folders_and_only_with_force(soft: Path, distill: Any, run: Path, tmp_path: Path):
    assert "did not write" in refused(*distill(soft, run / "student", "--force"))  # it belongs to the run
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("Dear")
    for force in ((), ("--force",)):
        assert str(tmp_path / "full") in refused(*distill(soft, tmp_path / "full", *force))
        assert str(soft) in refused(*distill(soft, soft, *force))
    assert (tmp_path / "full" / "letter.txt").read_text() == "Dear"
    (tmp_path / "empty").mkdir()
    pet(*distill(soft, tmp_path / "empty"))
    assert (tmp_path / "empty" / "model.safetensors").is_file()
    before = (tmp_path / "empty" / "model.safetensors").read_bytes()
    again = distill(soft, tmp_path / "empty", "--seed", 1)
    assert "--force" in refused(*again)
    assert (tmp_path / "empty" / "model.safetensors").read_bytes() == before
    pet(*again, "--force")
    assert (tmp_path / "empty" / "model.safetensors").read_bytes() != before
    assert not list(tmp_path.glob(".*"))
    pet(*distill(soft, tmp_path / "new" / "deep" / "student"))
    assert (tmp_path / "new" / "deep" / "student" / "model.safetensors").is_file()


def test_a_failed_distillation_leaves_nothing(
    soft: Path, inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pet.student.classifier.Classifier.save", full)
    from pet.recipe import make_recipe

    recipe = make_recipe("default", {"student_steps": 1, "max_length": 32})
    options = DistillOptions(recipe=recipe)
    with pytest.raises(PetError, match="full"):
        distill_file(soft, str(inputs / "pool.jsonl"), str(tiny_model), tmp_path / "student", options=options)
    assert [path.name for path in tmp_path.iterdir()] == ["soft.jsonl"]


def test_a_setting_without_an_effect_on_a_distillation_is_named() -> None:
    assert unused_settings({"student_steps": "3", "max_length": "64", "ratio": "1"}) == ["ratio"]


@pytest.mark.parametrize(
    "more",
    [
        {"patterns": ["{text!keep} {mask}"], "verbalizer": {"World": "world", "Sports": "sports"}},
        {"patterns": ["{text!keep} {label}? {mask}"], "multi_label": True},  # a row for each text and label
    ],
    ids=["one label", "about each label"],
)
def test_a_text_that_does_not_fit_is_named_by_its_id(tiny_model: Path, more: dict[str, Any]) -> None:
    task = Task.from_dict({"task": "t", "fields": ["text"], "labels": ["World", "Sports"]} | more)
    settings = RunSettings(
        task.to_dict(), None, None, "new.jsonl", str(tiny_model), "zero-shot", settings={"max_length": 16}
    )
    untrained = ensemble.untrained_ensemble(settings, task)
    chunk = Dataset.from_dict({"id": ["a", "b"], "text": ["world", "world " * 40]})
    with pytest.raises(PetError, match=r"input: .* in 1 row, the first has the id 'b';"):
        label_chunk(untrained, chunk, 0.0)
