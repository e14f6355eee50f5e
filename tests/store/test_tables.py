"""Tables are written chunk by chunk in every format, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pet.errors import PetError
from pet.store.spreadsheet import unquoted
from pet.store.tables import MISSING, TABLE_ENDINGS, OutputColumn, writing_table

COLUMNS = [
    OutputColumn("id", pa.string()),
    OutputColumn("p", pa.float64(), ("no", 'yes, "x"'), "p({})"),
    OutputColumn("n", pa.int64()),
]
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
ROWS = st.lists(st.tuples(TEXT, st.floats(0, 1), st.integers(-(2**60), 2**60) | st.none()), max_size=8)


def values(rows: list[Any]) -> dict[str, Any]:
    return {
        "id": [text for text, _, _ in rows],
        "p": np.array([[p, 1 - p] for _, p, _ in rows]).reshape(-1, 2),
        "n": [n for _, _, n in rows],
    }


@pytest.mark.filterwarnings("ignore::pet.errors.Notice")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks=st.lists(ROWS, max_size=3), ending=st.sampled_from(TABLE_ENDINGS))
@example(chunks=[[("\r", 0.0, None)]], ending=".csv")
def test_every_format_holds_what_was_written(tmp_path: Path, chunks: list[list[Any]], ending: str) -> None:
    path = tmp_path / f"t{ending}"
    with writing_table(path, COLUMNS) as table:
        for rows in chunks:
            table.write(values(rows))
    expected = [(text, p, 1 - p, n) for rows in chunks for text, p, n in rows]
    if ending == ".parquet":
        found = [(row["id"], *row["p"], row["n"]) for row in pq.read_table(path).to_pylist()]
    elif ending == ".jsonl":
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        found = [(row["id"], *row["p"].values(), row["n"]) for row in map(json.loads, lines)]
    else:
        with path.open(encoding="utf-8", newline="") as stream:
            read = list(csv.reader(stream, delimiter="," if ending == ".csv" else "\t"))
        assert read[0] == ["id", "n", "p(no)", 'p(yes, "x")']
        found = [(unquoted(text), float(p), float(q), int(n) if n else None) for text, n, p, q in read[1:]]
    assert found == expected


def test_a_stream_gets_json_lines() -> None:
    stream = io.StringIO()
    with writing_table(stream, COLUMNS) as table:
        table.write(values([("é", 0.5, 1)]))
    assert stream.getvalue() == '{"id": "é", "p": {"no": 0.5, "yes, \\"x\\"": 0.5}, "n": 1}\n'


@pytest.mark.parametrize(
    ("value", "line", "cell"),
    [
        (MISSING, "{}", ""),
        (None, '{"x": null}', ""),
        (True, '{"x": true}', "true"),
        ({"é": [1, None]}, '{"x": {"é": [1, null]}}', '{"é": [1, null]}'),
        (date(2020, 1, 2), '{"x": "2020-01-02"}', "2020-01-02"),
        (Decimal("1.50"), '{"x": "1.50"}', "1.50"),
        ("a\0b", '{"x": "a\\u0000b"}', "ab"),  # a CSV file with this character could not be read again
        ("half \ud83d", '{"x": "half \\ud83d"}', "half ?"),
    ],
)
def test_values_without_a_type_in_the_format_become_text(tmp_path: Path, value: Any, line: str, cell: str) -> None:
    for ending in (".jsonl", ".csv"):
        with writing_table(tmp_path / f"t{ending}", [OutputColumn("x", pa.null())]) as table:
            table.write({"x": [value]})
    assert (tmp_path / "t.jsonl").read_text(encoding="utf-8") == line + "\n"
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as stream:
        assert list(csv.reader(stream)) == [["x"], [cell] if cell else [""]]


@pytest.mark.parametrize(
    ("ending", "value", "part"),
    [(".jsonl", b"\xff", ".parquet"), (".csv", b"\xff", ".parquet"), (".parquet", "text", "'n'")],
)
def test_a_value_that_does_not_fit_is_refused_and_leaves_nothing(
    tmp_path: Path, ending: str, value: Any, part: str
) -> None:
    with pytest.raises(PetError, match=part), writing_table(tmp_path / f"t{ending}", COLUMNS) as table:
        table.write(values([("a", 0.5, 1), ("b", 0.5, value)]))
    assert not list(tmp_path.iterdir())


def test_an_unknown_ending_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(PetError) as caught, writing_table(tmp_path / "t.xlsx", COLUMNS):
        pass
    assert all(ending in str(caught.value) for ending in ("t.xlsx", *TABLE_ENDINGS))
