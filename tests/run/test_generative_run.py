"""Whole runs with T5-like and causal models: the same commands, files and promises."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from families import CAUSAL, ENCODER_DECODERS, build_family
from small_run import contents, pet, refused, run_options, write_inputs, write_rows
from tiny_text import LABELS, news_rows
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from pet import PetClassifier
from pet.members import pattern

EVERY = [*ENCODER_DECODERS, *CAUSAL]
TASK = f"""\
task: topics
fields: [title, text]
labels: [{", ".join(LABELS)}]
verbalizer: {{World: [world, politics], Sports: football, Business: good, Technology: computer science}}
patterns:
  - "classify topic: {{title}} {{text}} It is {{mask}}."
  - "{{title}} || {{text}} ({{mask}})"
"""

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_inputs(tmp_path_factory.mktemp("generative") / "in")
    (folder / "task.yaml").write_text(TASK, encoding="utf-8")
    rows = [{**row, "title": row["text"].split()[1]} for row in news_rows()]
    write_rows(folder / "train.jsonl", rows[:12])
    write_rows(folder / "pool.jsonl", [{k: row[k] for k in ("id", "title", "text")} for row in rows[12:28]])
    write_rows(folder / "test.jsonl", rows[28:])
    return folder


@pytest.fixture(scope="module")
def finished(inputs: Path, family_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``finished(name)``: the folder of a family's run, made once."""
    root, made = tmp_path_factory.mktemp("finished"), set()

    def run(name: str) -> Path:
        if name not in made:
            pet(*run_options(inputs, family_model(name)), "-o", root / name)
            made.add(name)
        return root / name

    return run


def label(run: Path, inputs: Path, output: Path) -> bytes:
    pet("label", run, "--input", inputs / "pool.jsonl", "-o", output, "-q", "--device", "cpu")
    return output.read_bytes()


@pytest.mark.parametrize("name", EVERY)
def test_a_run_labels_predicts_and_distills(finished: Callable[[str], Path], inputs: Path, tmp_path: Path, name: str):
    run = finished(name)
    figures = json.loads((run / "metrics.json").read_text())
    assert {"members", "ensemble", "student"} <= figures.keys()
    assert label(run, inputs, tmp_path / "l.jsonl") == (run / "g0" / "labels.jsonl").read_bytes()
    pet("predict", run / "student", "--input", inputs / "test.jsonl", "-o", tmp_path / "p.jsonl", "--device", "cpu")
    assert len((tmp_path / "p.jsonl").read_text().splitlines()) == 12
    assert pipeline_labels(run / "student", inputs) == [
        json.loads(line)["label"] for line in (tmp_path / "p.jsonl").read_text().splitlines()
    ]


def pipeline_labels(student: Path, inputs: Path) -> list[str]:
    import transformers

    classify = transformers.pipeline("text-classification", str(student), device="cpu")
    rows = map(json.loads, (inputs / "test.jsonl").read_text().splitlines())
    return [classify(f"{row['title']} {row['text']}", truncation=True)[0]["label"] for row in rows]


@pytest.mark.parametrize("name", ["t5", "gpt2"])
def test_an_interrupted_run_resumes_to_the_same_bytes(
    finished: Callable[[str], Path],
    inputs: Path,
    family_model: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
):
    whole = finished(name)
    train, calls = pattern.train_member, []

    def stop_at_the_second(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(*arguments)

    monkeypatch.setattr(pattern, "train_member", stop_at_the_second)
    pet(*run_options(inputs, family_model(name)), "-o", tmp_path / "again", expect=130)
    monkeypatch.undo()
    pet(*run_options(inputs, family_model(name)), "-o", tmp_path / "again")
    found, expected = contents(tmp_path / "again"), contents(whole)
    assert sorted(found) == sorted(expected)
    assert [file for file in expected if found[file] != expected[file]] == []


@pytest.mark.parametrize("name", ["mt5", "llama"])
def test_ipet_works_without_labels(inputs: Path, family_model: Any, tmp_path: Path, name: str):
    more = ["--method", "ipet", "--set", "generations=2", "--set", "growth=1.5", "--set", "mean_of_tokens=true"]
    more += ["--set", "accept=always"]
    pet(*run_options(inputs, family_model(name), parts=("unlabeled", "test")), *more, "-o", tmp_path / "run")
    assert (tmp_path / "run" / "student" / "model.safetensors").is_file()
    last = tmp_path / "run" / "g2"
    assert label(tmp_path / "run", inputs, tmp_path / "l.jsonl") == (last / "labels.jsonl").read_bytes()


def test_the_student_may_be_another_kind_of_model(inputs: Path, family_model: Any, tiny_model: Path, tmp_path: Path):
    pet(*run_options(inputs, family_model("qwen2")), "--student-model", tiny_model, "-o", tmp_path / "run")
    config = json.loads((tmp_path / "run" / "student" / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]


def test_a_causal_model_refuses_a_pattern_with_words_after_the_mask(inputs: Path, family_model: Any, tmp_path: Path):
    folder = tmp_path / "in"
    shutil.copytree(inputs, folder)
    task = TASK.replace("{text} ({mask})", "{mask}: {text}")
    (folder / "task.yaml").write_text(task, encoding="utf-8")
    said = refused(*run_options(folder, family_model("gpt2")), "-o", tmp_path / "run")
    assert "task.yaml:7" in said and "{title} || {mask}: {text}" in said
    assert not (tmp_path / "run").exists()
    checked = ["check", folder / "task.yaml", "--model", family_model("gpt2"), "--max-length", 64]
    result = pet(*checked, "--device", "cpu", expect=2)
    assert "task.yaml:7" in result.stderr
    assert "task.yaml:6" not in result.stderr
    pet(*run_options(folder, family_model("t5")), "-o", tmp_path / "run")  # a sentinel may stand anywhere


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_check_shows_the_mask_and_tries_the_patterns(inputs: Path, family_model: Any, name: str):
    data = ["--train", inputs / "train.jsonl", "--unlabeled", inputs / "pool.jsonl", "--max-length", 64]
    found = json.loads(
        pet("check", inputs / "task.yaml", *data, "--model", family_model(name), "--device", "cpu", "--json").stdout
    )
    filled = found["patterns"][0]["filled"][0]
    assert filled["tokens"][filled["mask"]] == ("<extra_id_0>" if name == "t5" else "____")
    assert len(found["patterns"][0]["words"]["Technology"]["computer science"]) > 1
    assert found["zero_shot"]["rows"] == 12
    assert found["seconds"]["members"] > 0


def test_an_encoder_decoder_without_sentinels_is_refused(inputs: Path, family_model: Any, tmp_path: Path):
    model, tokenizer = tmp_path / "model", AutoTokenizer.from_pretrained(family_model("gpt2"))
    t5 = AutoModelForSeq2SeqLM.from_pretrained(family_model("t5"))
    t5.resize_token_embeddings(len(tokenizer))
    for part in (t5, tokenizer):
        part.save_pretrained(model)
    said = refused(*run_options(inputs, model), "-o", tmp_path / "run")
    assert "<extra_id_0>" in said
    assert not (tmp_path / "run").exists()


def test_a_model_without_its_head_is_refused(inputs: Path, tmp_path: Path):
    import transformers

    model = build_family("llama", tmp_path / "model")
    transformers.AutoModel.from_pretrained(model).save_pretrained(model)
    said = refused(*run_options(inputs, model), "-o", tmp_path / "run")
    assert "lm_head.weight" in said


def test_the_estimator_works_with_a_causal_model(family_model: Any):
    rows = news_rows()
    texts, topics = [row["text"] for row in rows], [row["label"] for row in rows]
    classifier = PetClassifier(
        patterns=["{text} It is {mask}."],
        verbalizer={"World": "politics", "Sports": "sports", "Business": "business", "Technology": "computers"},
        model=str(family_model("qwen2")),
        settings={"steps": 2, "max_length": 64},
        device="cpu",
        precision="fp32",
    )
    found = classifier.fit(texts[:12], topics[:12]).predict_proba(texts[20:])
    np.testing.assert_allclose(found.sum(axis=1), 1)
