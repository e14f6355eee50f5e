"""Runs of masked language models with label words of several tokens: the same commands, files and promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_run import contents, interrupted, pet, run_options, same_files, write_inputs
from tiny_text import LABELS

TASK = f"""\
task: topics
fields: [text]
labels: [{", ".join(LABELS)}]
verbalizer: {{World: [world, politics], Sports: football, Business: good, Technology: computer science}}
patterns: ["{{mask}}: {{text}}", "{{text}} It is {{mask}}."]
"""
MORE = ["--method", "ipet", "--set", "generations=1", "--set", "growth=1.5", "--set", "accept=always"]
MORE += ["--set", "loss=hinge", "--set", "multi_token=confident"]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_inputs(tmp_path_factory.mktemp("multi") / "in")
    (folder / "task.yaml").write_text(TASK, encoding="utf-8")
    return folder


def test_an_ipet_run_resumes_to_the_same_bytes_and_labels_as_it_labeled(
    inputs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    pet(*run_options(inputs, tiny_model), *MORE, "-o", tmp_path / "whole")
    interrupted(3, *run_options(inputs, tiny_model), *MORE, "-o", tmp_path / "again")
    assert "g1/labels.jsonl" not in contents(tmp_path / "again")
    pet(*run_options(inputs, tiny_model), *MORE, "-o", tmp_path / "again")
    same_files(tmp_path / "again", tmp_path / "whole")
    labels = tmp_path / "l.jsonl"
    pet("label", tmp_path / "again", "--input", inputs / "pool.jsonl", "-o", labels, "-q", "--device", "cpu")
    last = max((tmp_path / "again").glob("g*/labels.jsonl"))
    assert labels.read_bytes() == last.read_bytes()


def test_check_reports_how_many_tokens_a_text_costs(inputs: Path, tiny_model: Path) -> None:
    options: list[Any] = ["check", inputs / "task.yaml", "--train", inputs / "train.jsonl", "--model", tiny_model]
    options += ["--max-length", 64, "--no-model"]
    pattern, _ = json.loads(pet(*options, "--json").stdout)["patterns"]
    sizes = [len(tokens) for words in pattern["words"].values() for tokens in words.values()]
    length = pattern["mean_length"]["train"]
    assert max(sizes) > 1
    assert pattern["tokens_read"]["train"] == pytest.approx(sum(length + size - 1 for size in set(sizes)))
    assert f"{pattern['tokens_read']['train']:.0f} tokens per text of train" in pet(*options).stdout
    found = json.loads(pet(*options, "--set", "multi_token=confident", "--json").stdout)["patterns"][0]["tokens_read"]
    more = sum((size - 1) * (length + size - 1) for size in sizes)
    assert found["train"] == pytest.approx(pattern["tokens_read"]["train"] + more)
