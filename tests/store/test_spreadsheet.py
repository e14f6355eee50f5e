"""Cells that a spreadsheet would run as a formula are quoted in CSV and TSV files, and read back as they were."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import pet, write_rows

from pet.data.read import read_table
from pet.errors import Notice
from pet.report.generations import generations_csv
from pet.store.spreadsheet import ORIGINAL, QUOTED, quoted, unquoted
from pet.store.tables import OutputColumn, writing_table

FORMULAS = [
    "=1+100",
    '=cmd|" /C calc"!A0',
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1+1",
    "- a point",
    "=x",
]
HARMLESS = ["good", "-1", "+1", "-0.5e-3", "+.5", "-", "=", "", "'tis", "a=b", " =1", "' ", "' hello", "'=1"]
signs = st.text(st.sampled_from("'' =+-@\t\r\n＝1.ea"), max_size=8)


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_quoted(text: str) -> None:
    assert quoted(text) == f"' {text}" and unquoted(quoted(text)) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_numbers_and_other_texts_stay(text: str) -> None:
    assert quoted(text) == text == unquoted(text)


@settings(deadline=None)
@given(signs | st.text())
def test_every_text_comes_back_and_no_quoted_text_is_a_formula(text: str) -> None:
    assert unquoted(quoted(text)) == text
    assert not re.match(r"[=+\-@\t\r\n＝＋－＠].", quoted(text), re.DOTALL) or re.fullmatch(r"[+-][\d.eE+-]+", text)


@settings(deadline=None)
@given(st.lists(signs | st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_arrow_undoes_the_quoting_in_the_same_way(texts: list[str]) -> None:
    made = pc.replace_substring_regex(pa.array(list(map(quoted, texts))), QUOTED, ORIGINAL)
    assert made.to_pylist() == texts


@pytest.mark.parametrize("ending", ["csv", "tsv"])
@pytest.mark.parametrize("extra", ["", '"'], ids=["fast", "by rows"])
def test_a_file_that_was_written_reads_as_the_original(tmp_path: Path, ending: str, extra: str) -> None:
    texts = [text for text in [*FORMULAS, *HARMLESS] if text.strip()] + ([f"odd {extra}"] if extra else [])
    path = tmp_path / f"t.{ending}"
    with (
        pytest.warns(Notice, match=rf"t\.{ending}.*{len(FORMULAS) + 1} cells.*--as-is"),
        writing_table(path, [OutputColumn("id", pa.string()), OutputColumn("=text", pa.string())]) as table,
    ):
        table.write({"id": [str(i) for i in range(len(texts))], "=text": texts})
    written = path.read_text(encoding="utf-8")
    assert "' =1+100" in written and "' =text" in written
    assert list(read_table(path, ["text"], columns={"text": "=text"}, name="t")["text"]) == texts


def test_cells_are_written_as_they_are_on_request_and_elsewhere(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, as_is in (("a.csv", True), ("b.jsonl", False)):
            with writing_table(tmp_path / name, [OutputColumn("text", pa.string())], as_is=as_is) as table:
                table.write({"text": ["=1+100", "good"]})
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "text\n=1+100\ngood\n"
    assert "' " not in (tmp_path / "b.jsonl").read_text(encoding="utf-8")


def test_commands_quote_formulas_and_say_so(tmp_path: Path) -> None:
    labels = ("Sports", "World", "Business", "Sci/Tech")
    rows = [{"headline": f"={i} + 1", "body": "x", "label": label} for i in range(2) for label in labels]
    write_rows(tmp_path / "all.jsonl", rows)
    command = ["sample", "agnews", "--input", "all.jsonl", "--shots", "1", "-o", "train.csv"]
    made = subprocess.run(  # a real process: pytest would catch the warning
        [sys.executable, "-m", "pet", *command], cwd=tmp_path, capture_output=True, encoding="utf-8", check=True
    )
    (line,) = made.stderr.splitlines()
    assert line.startswith("train.csv: 4 cells") and "--as-is" in line
    assert (tmp_path / "train.csv").read_text(encoding="utf-8").count("' =") == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = ["--input", tmp_path / "train.csv", "--shots", "1", "--as-is", "-o", tmp_path / "again.csv"]
        pet("sample", "agnews", *again)
    assert "' =" not in (tmp_path / "again.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["predict", "label", "sample"])
def test_the_commands_that_write_tables_have_the_option(command: str) -> None:
    assert "--as-is" in pet(command, "--help").stdout


def test_the_table_of_generations_quotes_labels() -> None:
    pool = {"confidence": 0.5, "agreement": 0.5, "changed": None}
    pool |= {name: [0.5, 0.5] for name in ("shares", "label_confidence", "label_agreement")}
    entry = {"generation": 0, "trained": True, "labeled": 10, "pool": pool}
    assert "\n0,' =x," in generations_csv([entry], ["=x", "b"])
