"""``--data``: one table with some labels filled in stands for labeled and unlabeled texts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from small_run import pet, refused, run_options, write_inputs

from pet.cli.main import main
from pet.run.load_run import read_settings


def write_workbook(inputs: Path) -> Path:
    """Write the labeled and unlabeled texts of a small run to one sheet."""
    book = pytest.importorskip("openpyxl").Workbook()
    book.active.append(["id", "text", "label"])
    for part in ("pool", "train"):
        for line in (inputs / f"{part}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            book.active.append([row["id"], row["text"], row.get("label")])
    book.save(inputs / "all.xlsx")
    return inputs / "all.xlsx"


def test_one_sheet_gives_the_same_run_as_two_files(tiny_model: Path, tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "in")
    command = run_options(inputs, tiny_model, parts=("train", "unlabeled"))
    pet(*command, "-q", "-o", tmp_path / "two")
    start = command.index("--train")
    command[start : start + 4] = ["--data", str(write_workbook(inputs))]
    pet(*command, "-q", "-o", tmp_path / "one")
    one, two = (pq.read_table(tmp_path / name / "g0" / "labels.parquet") for name in ("one", "two"))
    assert one.equals(two)
    assert read_settings(tmp_path / "one").unlabeled == f"unlabeled:{inputs}/all.xlsx"
    before = (tmp_path / "one" / "manifest.json").read_bytes()
    pet("run", tmp_path / "one" / "config.yaml", "-q")  # nothing is left to do
    assert (tmp_path / "one" / "manifest.json").read_bytes() == before
    suggested = json.loads(pet("suggest", tmp_path / "one", "-n", 2, "--json", "-q").stdout)
    assert len(suggested["suggestions"]) == 2


def test_check_finds_the_label_column_that_the_task_names(tiny_model: Path, tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    lines = [line for part in ("train", "pool") for line in (inputs / f"{part}.jsonl").read_text().splitlines()]
    table = tmp_path / "all.jsonl"
    table.write_text("\n".join(lines).replace('"label"', '"topic"'))
    task = inputs / "task.yaml"
    task.write_text(task.read_text() + "columns: {label: topic}\n")
    options = ["-m", tiny_model, "--max-length", 64, "--no-model", "--json", "-q"]
    said = pet("check", task, "--data", table, *options).stdout
    assert json.loads(said)["rows"] == {"train": 12, "unlabeled": 16}


def test_data_excludes_what_it_stands_for(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    for command in ("run", "check", "words"):
        message = refused(command, inputs / "task.yaml", "--data", "x.csv", "--train", "y.csv")
        assert "--data x.csv" in message and "leave out --train" in message


def test_tables_go_through_pipes(workplace: Path) -> None:
    texts = (workplace / "pool.jsonl").read_bytes()
    for command in ("label", "predict"):
        arguments = [command, str(workplace / "runs" / "reviews"), "--input", "-", "-o", "-", "-q"]
        made = CliRunner().invoke(main, arguments, input=gzip.compress(texts))
        assert made.exit_code == 0, made.output
        rows = [json.loads(line) for line in made.stdout.splitlines()]
        assert len(rows) == texts.count(b"\n") and set(rows[0]["probabilities"]) == {"good", "bad"}
