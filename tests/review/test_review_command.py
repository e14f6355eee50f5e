"""`pet review` in a spreadsheet, its order and figures, and its mistakes."""

from __future__ import annotations

import csv
import json
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import pet, refused

from pet.data.reviewed import Decision, read_reviewed
from pet.errors import Notice
from pet.review.agreement import agreement
from pet.review.choose import choose
from pet.review.filled import filled
from pet.review.order import BATCH, Order
from pet.review.session import Review
from pet.task.grammar import parse_template

Rows = list[dict[str, str]]


def read_csv(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_csv(path: Path, rows: Rows) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def table(hostile_run: Path, tmp_path: Path) -> Path:
    """All texts of the run as a table to fill in."""
    pet("review", hostile_run, "--format", "csv", "-q", "-o", tmp_path / "next.csv")
    return tmp_path / "next.csv"


def test_a_filled_in_table_is_read_back(hostile_run: Path, table: Path, review: Review) -> None:
    rows = read_csv(table)
    assert len(rows) == 21
    assert {"id", "text", "label", "verdict", "note", "proposed", "doubt", "nearest_text"} <= rows[0].keys()
    rows[0]["label"], rows[0]["note"] = "World", "sure"
    rows[1]["label"] = "Business"  # as the data spells it
    rows[2]["verdict"] = "None_of_these"
    rows[3]["text"] = rows[3]["text"] + "\r\n"  # spreadsheets change line breaks
    write_csv(table, rows)
    options = (hostile_run, "--read", table, "-q", "-o", review.path)
    assert pet("review", *options).stdout.startswith("3 new decisions, 0 replaced, 0 known")
    found = read_reviewed(review.path, review.task)
    assert [(one.label, one.verdict, one.note) for one in found.values()] == [
        ("World", "labeled", "sure"),
        ("<b>Business</b>", "labeled", ""),
        (None, "none_of_these", ""),
    ]
    assert all(one.proposed == row["proposed"] for one, row in zip(found.values(), rows, strict=False))
    size = review.path.stat().st_size
    assert pet("review", *options).stdout.startswith("0 new decisions, 0 replaced, 3 known")
    assert review.path.stat().st_size == size
    rows[0]["label"] = "Sports"
    write_csv(table, rows)
    assert pet("review", *options).stdout.startswith("0 new decisions, 1 replaced, 2 known")


def test_the_table_has_what_is_decided(make_review: Callable[[Path], Review], tmp_path: Path) -> None:
    from pet.review.spreadsheet import read_table_back, write_table

    review = make_review(tmp_path / "reviewed.jsonl")
    row = review.suggested(1)[0]
    review.decide([row], [0], "labeled", [1], "=1+1")
    with pytest.warns(Notice, match="1 cell begins like a formula") as noticed:
        assert write_table(review, tmp_path / "next.csv", 5) == 5
    assert not any("--as-is" in str(notice.message) for notice in noticed)  # not an option of this command
    first, second, *_ = read_csv(tmp_path / "next.csv")
    assert (first["label"], first["verdict"]) == ("Sports", "labeled")
    assert first["note"] == "' =1+1"  # no formula for the spreadsheet
    assert second["label"] == second["verdict"] == ""
    back = read_table_back(review, tmp_path / "next.csv")
    assert (back.new, back.replaced, back.known) == (0, 0, 1)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("label", "Wrld", ["Wrld", "World", "write one of them"]),
        ("note", "Ask Ann.", ["note", "unsure"]),
        ("verdict", "maybe", ["maybe", "unsure"]),
        ("verdict", "labeled", ["no label"]),
        ("text", "Another text.", ["text", "--format csv"]),
        ("id", "n999", ["n999", "--format csv"]),
    ],
)
def test_mistakes_in_a_table_name_line_and_cure_and_save_nothing(
    hostile_run: Path, table: Path, tmp_path: Path, column: str, value: str, words: list[str]
) -> None:
    rows = sorted(read_csv(table), key=lambda row: not row["id"].startswith("n"))[:5]
    rows[0]["label"] = "World"
    if column not in ("verdict", "note"):
        rows[2]["label"] = "World"
    rows[2][column] = value
    write_csv(table, rows)
    message = refused("review", hostile_run, "--read", table, "-q", "-o", tmp_path / "reviewed.jsonl")
    assert all(word in message for word in [f"{table}:4", *words])
    assert not (tmp_path / "reviewed.jsonl").exists()


def test_two_answers_for_a_text_and_missing_columns_are_named(hostile_run: Path, table: Path, tmp_path: Path) -> None:
    rows = [row | {"label": "World"} for row in read_csv(table) if row["id"].startswith("n")][:2]
    write_csv(table, [*rows, rows[0] | {"label": "Sports"}])
    options = ["--read", table, "-q", "-o", tmp_path / "reviewed.jsonl"]
    message = refused("review", hostile_run, *options)
    assert f"{table}:4" in message and rows[0]["id"] in message and "line 2" in message
    write_csv(table, [{name: value for name, value in row.items() if name != "text"} for row in rows])
    message = refused("review", hostile_run, *options)
    assert "'text' is missing" in message and "--format csv" in message and "--column" not in message


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_tables_of_suggest_are_read_back(hostile_run: Path, tmp_path: Path, ending: str) -> None:
    import pandas as pd

    file = tmp_path / f"next.{ending}"
    pet("suggest", hostile_run, "-n", "40", "-q", "-o", file)
    if ending == "parquet":
        frame = pd.read_parquet(file)
        frame["label"] = frame["proposed"]
        frame.to_parquet(file)
    else:
        text = file.read_text(encoding="utf-8")
        changed = [json.loads(line) for line in text.splitlines()] if ending == "jsonl" else read_csv(file)
        changed = [row | {"label": row["proposed"]} for row in changed]
        if ending == "jsonl":
            file.write_text("".join(json.dumps(row) + "\n" for row in changed), encoding="utf-8")
        else:
            write_csv(file, changed)
    read = pet("review", hostile_run, "--read", file, "-q", "-o", tmp_path / "reviewed.jsonl")
    assert read.stdout.startswith("21 new decisions")


def test_a_table_that_is_named_as_the_file_of_decisions_is_refused_and_kept(hostile_run: Path, tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("id,text,label\n1,a,World\n2,b,Sports\n")
    message = refused("review", hostile_run, "-o", table, "-q")
    assert message.count("error") == 1 and "correct the line" not in message
    assert all(word in message for word in (str(table), "pet review", "-o", "--read"))
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [
        ("mine.csv", "id,text,label\n1,a,World\n2,b,Sports\n")
    ]


def test_other_mistakes(hostile_run: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--read" in refused("review", hostile_run, "--format", "csv", "--read", table, "-o", tmp_path / "x.csv")
    assert "-o next.csv" in refused("review", hostile_run, "--format", "csv")
    assert "-n 0" in refused("review", hostile_run, "--format", "csv", "-n", "0", "-o", tmp_path / "x.csv")
    assert "--force" in refused("review", hostile_run, "--format", "csv", "-o", table)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refused("review", hostile_run, "--port", port, "-o", tmp_path / "r.jsonl", "-q")
    assert str(port) in message
    assert "--port" in message
    foreign = Decision("other", {"text": "x"}, "World", "labeled")
    (tmp_path / "reviewed.jsonl").write_text(foreign.to_json() + "\n")
    message = refused("review", hostile_run, "-o", tmp_path / "reviewed.jsonl", "-q")
    assert all(word in message for word in (f"{tmp_path / 'reviewed.jsonl'}:1", "'other'", "-o"))
    monkeypatch.setattr("pet.extras.is_installed", lambda module: module != "uvicorn")
    message = refused("review", hostile_run)
    assert "pip install 'pattern-exploiting-training[review]'" in message
    assert "uvicorn" in message


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 90), st.integers(0, 1000), st.integers(1, 30))
def test_the_order_has_every_row_once_and_begins_as_suggest_does(rows: int, seed: int, step: int) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(rows + 5, 3))
    doubt = generator.random(rows + 5)
    some = np.sort(generator.permutation(rows + 5)[:rows])
    order = Order(some, doubt, vectors, seed)
    first = order.first(step)
    assert order.first(rows + 9)[:step] == first
    assert sorted(order.first(rows + 9)) == some.tolist()
    assert order.first(BATCH) == some[choose(doubt[some], vectors[some], BATCH, seed)].tolist()


def test_agreement_counts_decisions_that_are_about_labels() -> None:
    def said(verdict: str, label: str | None = None) -> Decision:
        return Decision("a", {}, label, verdict, proposed="x")

    decisions = [said("labeled", "x"), said("skipped"), said("labeled", "y"), said("none_of_these"), said("unsure")]
    found = agreement(decisions)
    assert (found["right"], found["n"]) == (1, 3)
    assert found["interval"] == pytest.approx((0.0615, 0.7923), abs=1e-3)  # 1 of 3, Wilson
    assert [point[:2] for point in found["curve"]] == [(1, 1), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert agreement([])["interval"] is None
    several = Decision("a", {}, ("x", "y"), "labeled", proposed=("y", "x"))  # the task has another order by now
    assert agreement([several])["right"] == 1
    many = agreement([said("labeled", "x")] * 1000)
    assert len(many["curve"]) == 60
    assert many["curve"][-1][:2] == (1000, 1)


def test_a_filled_pattern_shortens_long_fields_and_never_parses_texts() -> None:
    template = parse_template("{text} || It was {mask}.", ["text"])
    (kind, text), *rest = filled(template, {"text": "{mask} " + "x" * 500 + " end"}, "great")
    assert kind == "field"
    assert len(text) == 160
    assert text.startswith("{mask} xx")
    assert text.endswith("x end")
    assert rest == [("pattern", " / "), ("pattern", "It was"), ("word", " great"), ("pattern", ".")]


def test_the_decisions_of_a_run_are_next_to_it(hostile_run: Path, table: Path) -> None:
    rows = read_csv(table)
    rows[0]["label"] = "World"
    write_csv(table, rows)
    pet("review", hostile_run, "--read", table, "-q")
    written = (hostile_run / "reviewed.jsonl").read_text()
    (hostile_run / "reviewed.jsonl").unlink()
    assert [json.loads(line)["id"] for line in written.splitlines()] == [rows[0]["id"]]
