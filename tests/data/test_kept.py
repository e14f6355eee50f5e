"""Whole rows and kept columns are read in step with the table, with their types."""

from __future__ import annotations

import gzip
import json
from datetime import date
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pet.data.kept import choose_columns, keep_columns
from pet.data.open_source import open_source
from pet.data.read import iter_table
from pet.data.rows import output_columns, whole_rows
from pet.data.table_options import TableOptions
from pet.errors import PetError
from pet.store.tables import MISSING, OutputColumn


def write_json(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_column_with_a_comma_in_its_name_can_be_kept() -> None:
    header = ["a,b", "a", "c"]
    assert choose_columns(["a,b"], header, "x") == ("a,b",)
    assert choose_columns(["a, c", "a"], header, "x") == ("a", "c")
    with pytest.raises(PetError) as caught:
        choose_columns(["c,d", "A"], header, "x.csv")
    assert ["--keep d" in caught.value.problems[0], "--keep A" in caught.value.problems[1]] == [True, True]
    assert all("x.csv" in problem for problem in caught.value.problems)


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_kept_columns_are_read_in_step_with_the_chunks(tmp_path: Path, chunk: int) -> None:
    rows: list[dict[str, Any]] = [{"text": f"t{i}", "n": i} for i in range(10)]
    del rows[4]["n"]
    source = write_json(tmp_path / "x.jsonl", rows)
    (tmp_path / "x.jsonl").write_text((tmp_path / "x.jsonl").read_text().replace("\n", "\n\n"))  # blank lines
    kept = keep_columns(source, TableOptions(keep=("n",)), {}, (), typed=True)
    assert kept.columns == [OutputColumn("n", pa.int64())]
    found = [kept.take(len(part))["n"] for part in iter_table(source, ["text"], chunk_rows=chunk)]
    assert [value for part in found for value in part] == [row.get("n", MISSING) for row in rows]


def test_some_positions_of_a_chunk_can_be_taken(tmp_path: Path) -> None:
    source = write_json(tmp_path / "x.jsonl", [{"n": i} for i in range(6)])
    kept = keep_columns(source, TableOptions(keep=("n",)), {}, (), typed=False)
    assert kept.take(4, [3, 0]) == {"n": [3, 0]}
    assert kept.take(2) == {"n": [4, 5]}
    with pytest.raises(PetError, match=r"x\.jsonl: changed"):
        kept.take(1)


def test_nothing_is_read_if_nothing_is_kept(tmp_path: Path) -> None:
    kept = keep_columns(str(tmp_path / "missing.jsonl"), TableOptions(), {}, (), typed=True)
    assert kept.columns == [] and kept.take(5) == {}


@pytest.mark.parametrize("name", ["id", "p", "p(yes)"])
def test_a_kept_column_may_not_have_the_name_of_an_output_column(tmp_path: Path, name: str) -> None:
    output = [OutputColumn("id", pa.string()), OutputColumn("p", pa.float64(), ("yes",), "p({})")]
    source = write_json(tmp_path / "x.jsonl", [{"id": 1, "p": 2, "p(yes)": 3}])
    with pytest.raises(PetError, match="--keep"):
        keep_columns(source, TableOptions(keep=(name,)), {}, output, typed=False)


@pytest.mark.parametrize(("own", "kept"), [("label", "labels"), ("labels", "label")])
def test_a_kept_column_may_not_make_predictions_look_like_those_of_another_task(
    tmp_path: Path, own: str, kept: str
) -> None:
    """A file with a column `labels` is read as one of texts that may have several."""
    source = write_json(tmp_path / "x.jsonl", [{"id": 1, kept: ["a"]}])
    with pytest.raises(PetError, match="--keep"):
        keep_columns(source, TableOptions(keep=(kept,)), {}, [OutputColumn(own, pa.string())], typed=False)


def test_types_are_those_of_the_source(tmp_path: Path) -> None:
    table = pa.table({"n": pa.array([1], pa.int8()), "day": [date(2020, 1, 1)]})
    pq.write_table(table, tmp_path / "x.parquet")
    found = output_columns(open_source(tmp_path / "x.parquet", "x"), ["day", "n"], "x", typed=True)
    assert [column.kind for column in found] == [pa.date32(), pa.int8()]
    with gzip.open(tmp_path / "x.csv.gz", "wt") as stream:
        stream.write("n,day\n1,2020\n")
    found = output_columns(open_source(tmp_path / "x.csv.gz", "x"), ["n"], "x", typed=True)
    assert [column.kind for column in found] == [pa.string()]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([None, 1, 2.5], pa.float64()),
        ([None, None], pa.null()),
        (["a", None], pa.string()),
        ([{"a": 1}, {"b": "x"}], pa.struct([("a", pa.int64()), ("b", pa.string())])),
    ],
)
def test_a_type_of_json_lines_holds_all_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[Any], kind: pa.DataType
) -> None:
    source = open_source(write_json(tmp_path / "x.jsonl", [{"x": value} for value in values]), "x")
    for size in (1, 100):
        monkeypatch.setattr("pet.data.rows.ROWS_AT_ONCE", size)
        assert output_columns(source, ["x"], "x", typed=True)[0].kind == kind


def test_a_column_of_different_types_is_named(tmp_path: Path) -> None:
    source = open_source(write_json(tmp_path / "x.jsonl", [{"x": 1}, {"x": "two"}]), "x")
    with pytest.raises(PetError, match=r"'x'.*\.jsonl"):
        output_columns(source, ["x"], "x", typed=True)


def test_class_numbers_are_kept_as_names(tmp_path: Path) -> None:
    features = datasets.Features({"kind": datasets.ClassLabel(names=["ant", "bee"])})
    datasets.Dataset.from_dict({"kind": [1, 0]}, features=features).to_parquet(str(tmp_path / "x.parquet"))
    source = open_source(tmp_path / "x.parquet", "x")
    assert [row["kind"] for row in whole_rows(source, "x", columns=["kind"])] == ["bee", "ant"]
    assert output_columns(source, ["kind"], "x", typed=True)[0].kind == pa.string()
