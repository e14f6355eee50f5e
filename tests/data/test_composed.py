"""Accents may be composed or decomposed (NFC and NFD): texts, patterns and words agree, so that their tokens do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pet.cloze.words import word_token
from pet.data.documents import read_documents
from pet.data.memory import table_of
from pet.data.read import iter_table, read_table
from pet.task.task import Task

TEXT = "Schöne Grüße, ガラスの中に"
ROWS = [{"text": normalize("NFD", TEXT), "label": normalize("NFD", "größer")}, {"text": "plain", "label": "no"}]
LABELS = ["no", "größer"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "walked", "memory"])
def test_readers_compose_accents(tmp_path: Path, form: str) -> None:
    assert ROWS[0]["text"] != TEXT
    source: Any = tmp_path / f"rows.{form}"
    if form == "csv":
        pd.DataFrame(ROWS).to_csv(source, index=False)
    elif form == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), source)
    elif form == "memory":
        source = ROWS
    else:
        source = tmp_path / "rows.jsonl"
        rows = [{**row, "inner": {"text": row["text"]}} for row in ROWS]
        source.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    columns = {"text": "inner.text"} if form == "walked" else {}
    source = source if form == "memory" else str(source)
    table = read_table(source, ["text"], labels=LABELS, columns=columns)
    assert table["text"][:] == [TEXT, "plain"] and table["label"][:] == [1, 0]
    if form != "memory":
        (chunk,) = iter_table(source, ["text"], columns=columns)
        assert chunk["text"][:] == [TEXT, "plain"]


def test_texts_in_python_and_documents_are_composed(tmp_path: Path) -> None:
    assert table_of([ROWS[0]["text"], "plain"], ["text"])["text"][:] == [TEXT, "plain"]
    path = tmp_path / "corpus.txt"
    path.write_text(ROWS[0]["text"] + "\n", encoding="utf-8")
    assert read_documents([str(path)]) == [TEXT]


def test_patterns_and_words_are_composed_and_have_the_tokens_of_texts(
    tmp_path: Path, family_model: Callable[[str], Path]
) -> None:
    from transformers import AutoTokenizer

    content = """\
task: t
fields: [text]
labels: [no, yes]
verbalizer: {no: übel, yes: schön}
patterns: ["{text} Fürwahr {mask}."]
"""
    tasks = []
    for form in ("NFC", "NFD"):
        path = tmp_path / f"{form}.yaml"
        path.write_text(normalize(form, content), encoding="utf-8")
        tasks.append(Task.load(path))
    assert tasks[0].patterns == tasks[1].patterns and tasks[0].input == tasks[1].input
    tokenizer = AutoTokenizer.from_pretrained(family_model("roberta"))
    word = tasks[1].patterns[0].verbalizer.words["yes"][0]
    assert word_token(tokenizer, word) == word_token(tokenizer, "schön")
