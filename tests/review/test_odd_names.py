"""Tables of a run whose fields have the names of columns, and whose labels have spaces at their ends."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from small_run import QUICK, pet, write_rows
from tiny_text import LABELS, news_rows

from pet import RunResult
from pet.data.label_sets import LabelSets
from pet.data.reviewed import read_reviewed
from pet.review.finished import open_finished

FIELDS = ["text", "note", "proposed", "verdict", "probability", "nearest_text", "confidence", "pet_verdict"]
NAMES = [f" {LABELS[0]}", f"{LABELS[1]} ", *LABELS[2:]]
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("odd")
    task = {
        "task": "odd",
        "fields": FIELDS,
        "labels": NAMES,
        "verbalizer": {name: name.strip().lower() for name in NAMES},
        "patterns": ["{text} It is {mask}."],
    }
    (place / "task.yaml").write_text(json.dumps(task), encoding="utf-8")
    rows = [{"id": row["id"], **{name: f"{row['text']} {name}" for name in FIELDS}} for row in news_rows()[:6]]
    pool = write_rows(place / "pool.jsonl", rows)
    options = ["--unlabeled", pool, "--model", tiny_model, *QUICK, "--method", "zero-shot"]
    pet("run", place / "task.yaml", *options, "-q", "-o", place / "run")
    return place / "run"


def filled_in(path: Path, changes: Rows) -> Rows:
    """Write a table again with other cells in its first rows; return the rows that were read."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, change in zip(rows, changes, strict=False):
        assert change.keys() <= row.keys()
        row.update(change)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return rows


def test_a_table_keeps_fields_and_decisions_apart(run: Path, tmp_path: Path) -> None:
    table, output = tmp_path / "next.csv", tmp_path / "reviewed.jsonl"
    pet("review", run, "--format", "csv", "-q", "-o", table)
    changes = [{"label": NAMES[0], "pet_note": "sure"}, {"label": NAMES[1]}, {"pet_pet_verdict": "unsure"}]
    rows = filled_in(table, changes)
    assert all(row[name].endswith(f" {name}") for row in rows for name in FIELDS)
    assert all(row["pet_proposed"] in NAMES and float(row["pet_probability"]) <= 1 for row in rows)
    read = pet("review", run, "--read", table, "-q", "-o", output)
    assert read.stdout.startswith("3 new decisions")
    found = read_reviewed(output, open_finished(run).task)
    assert [(one.label, one.verdict, one.note) for one in found.values()] == [
        (NAMES[0], "labeled", "sure"),
        (NAMES[1], "labeled", ""),
        (None, "unsure", ""),
    ]


def test_a_table_of_suggestions_keeps_fields_and_decisions_apart(run: Path, tmp_path: Path) -> None:
    table, output = tmp_path / "next.csv", tmp_path / "reviewed.jsonl"
    pet("suggest", run, "-n", "3", "-q", "-o", table)
    filled_in(table, [{"label": f" {LABELS[2]} "}])
    assert pet("review", run, "--read", table, "-q", "-o", output).stdout.startswith("1 new decision,")
    (decision,) = read_reviewed(output, open_finished(run).task).values()
    assert (decision.label, decision.note) == (LABELS[2], "")


def test_frames_keep_fields_and_figures_apart(run: Path) -> None:
    result = RunResult(run)
    labels = result.labels()
    assert labels["confidence"].str.endswith(" confidence").all()
    assert labels["pet_confidence"].between(0, 1).all() and labels["agreement"].between(0, 1).all()
    texts = result.texts(doubtful=2)
    assert texts["proposed"].str.endswith(" proposed").all() and set(texts["pet_proposed"]) <= set(NAMES)


def test_a_sheet_of_an_excel_file_is_read_back(run: Path, tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    pet("review", run, "--format", "csv", "-q", "-o", tmp_path / "next.csv")
    rows = filled_in(tmp_path / "next.csv", [{"label": LABELS[3]}])
    book = openpyxl.Workbook()
    sheet = book.create_sheet("June")
    for row in [list(rows[0]), *(list(row.values()) for row in rows)]:
        sheet.append(row)
    book.save(tmp_path / "next.xlsx")
    read = pet("review", run, "--read", f"{tmp_path / 'next.xlsx'}#June", "-q", "-o", tmp_path / "reviewed.jsonl")
    assert read.stdout.startswith("1 new decision,")


def test_labels_in_a_cell_may_have_spaces_at_their_ends() -> None:
    sets = LabelSets([" a", "b ", "c"], {}, ";")
    assert sets.indicator(" a;b ;c") == sets.indicator(' [" a", "b ", "c"]') == [1, 1, 1]
    assert sets.indicator(" a; c ") == [1, 0, 1]
