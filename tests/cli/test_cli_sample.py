"""``pet sample`` draws few-shot files that keep the columns of their source."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from pet.cli.main import main
from pet.data.draw import DrawOptions, draw_file
from pet.data.read import read_table
from pet.data.table_options import TableOptions
from pet.errors import PetError
from pet.progress import Reporter
from pet.run.inputs import load_data
from pet.run.settings import RunSettings
from pet.task.task import Task

WriteRows = Callable[..., Path]
TASK = """\
task: tone
fields: [text]
labels: [good, bad]
verbalizer: {good: great, bad: terrible}
patterns: ["{text} It was {mask}."]
"""
ROWS: list[dict[str, Any]] = [
    {
        "id": f"r{i}",
        "text": f"text {i}, with a comma",
        "label": ("good", "bad")[i % 3 == 0],
        "stars": i,
        "x": None,
    }
    for i in range(24)
]


@pytest.fixture
def task(tmp_path: Path) -> Path:
    path = tmp_path / "task.yaml"
    path.write_text(TASK)
    return path


@pytest.fixture
def source(write_jsonl: WriteRows) -> Path:
    return write_jsonl("all.jsonl", ROWS)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["sample", *map(str, arguments)])


def failure(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    return result.stderr


def json_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_draw_has_all_columns_and_the_rest_has_no_labels(tmp_path: Path, task: Path, source: Path) -> None:
    out, rest = tmp_path / "train.jsonl", tmp_path / "pool.jsonl"
    result = call(task, "--input", source, "--shots", 3, "-o", out, "--rest", rest)
    assert result.exit_code == 0, result.output
    assert "6 rows in" in result.stdout and "good: 3" in result.stdout and "18 rows without labels" in result.stdout
    drawn, others = json_rows(out), json_rows(rest)
    assert all(row in ROWS for row in drawn)
    assert [row["label"] for row in drawn].count("bad") == 3
    left = [{key: row[key] for key in ("id", "text", "stars", "x")} for row in ROWS if row not in drawn]
    assert others == left
    result = call(task, "--input", source, "--shots", 3, "-o", out, "--rest", rest, "--keep-labels", "--force")
    assert "18 rows with labels" in result.stdout
    assert json_rows(rest) == [row for row in ROWS if row not in drawn]


def test_the_rows_are_those_of_a_run_with_this_seed(tmp_path: Path, task: Path, source: Path) -> None:
    out = tmp_path / "train.jsonl"
    assert call(task, "--input", source, "--examples", 7, "--seed", 5, "-o", out).exit_code == 0
    loaded = Task.load(task)
    settings = RunSettings(loaded.to_dict(), str(source), None, None, "none", examples=7, seed=5)
    train = load_data(settings, loaded, Reporter("quiet")).train
    assert train is not None
    assert [row["id"] for row in json_rows(out)] == list(train["id"])


def test_larger_draws_begin_with_smaller_ones_and_seeds_differ(tmp_path: Path, task: Path, source: Path) -> None:
    loaded = Task.load(task)

    def drawn(seed: int, **size: Any) -> list[str]:
        options = DrawOptions(seed=seed, **size)
        draw_file(loaded, str(source), tmp_path / "t.jsonl", options, table=TableOptions(force=True))
        return [row["id"] for row in json_rows(tmp_path / "t.jsonl")]

    assert drawn(0, shots=5)[:4] == drawn(0, shots=2)
    assert drawn(0, shots=5) != drawn(1, shots=5)
    assert sorted(drawn(0, examples=24, balanced=False)) == sorted(row["id"] for row in ROWS)


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("origin", [".jsonl", ".csv", ".tsv", ".parquet"])
def test_every_format_to_every_format(origin: str, ending: str, tmp_path: Path, task: Path) -> None:
    rows = [row | {"text": f'{row["text"]} "quoted"\ttab\nline é'} for row in ROWS]
    source = tmp_path / f"all{origin}"
    if origin == ".jsonl":
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif origin == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), source)
    else:
        with source.open("w", newline="") as stream:
            writer = csv.writer(stream, delimiter="," if origin == ".csv" else "\t")
            writer.writerows([list(rows[0]), *(["" if v is None else v for v in row.values()] for row in rows)])
    out, rest = tmp_path / f"out{ending}", tmp_path / f"rest{ending}"
    loaded = Task.load(task)
    assert draw_file(loaded, str(source), out, DrawOptions(shots=2), rest=rest).per_label == {"good": 2, "bad": 2}
    drawn = read_table(out, ["text", "stars"], labels=loaded.labels)
    by_id = {row["id"]: row for row in rows}
    for row in drawn:
        known = by_id[row["id"]]
        assert (row["text"], row["stars"]) == (known["text"], str(known["stars"]))
        assert loaded.labels[row["label"]] == known["label"]
    others = read_table(rest, ["text", "x"] if ending in (".csv", ".tsv") else ["text"])
    assert set(others["id"]) | set(drawn["id"]) == set(by_id) and len(others) == 20


def test_parquet_keeps_its_types_and_binary_columns_require_parquet(tmp_path: Path, task: Path) -> None:
    columns = {
        "text": ["a", "b", "c"],
        "label": ["good", "bad", "good"],
        "day": [date(2020, 1, n) for n in (1, 2, 3)],
        "n": pa.array([1, 2, 3], pa.int8()),
        "raw": [b"\xff", b"", None],
    }
    source = tmp_path / "all.parquet"
    pq.write_table(pa.table(columns), source)
    loaded = Task.load(task)
    draw_file(loaded, str(source), tmp_path / "out.parquet", DrawOptions(shots=1))
    assert pq.read_schema(tmp_path / "out.parquet").types == pq.read_schema(source).types
    with pytest.raises(PetError, match=r"binary.*\.parquet"):
        draw_file(loaded, str(source), tmp_path / "out.jsonl", DrawOptions(shots=1))
    assert not (tmp_path / "out.jsonl").exists()


def test_columns_that_the_first_line_lacks_are_kept(tmp_path: Path, task: Path, write_jsonl: WriteRows) -> None:
    rows = [{"text": "a", "label": "good"}, {"text": "b", "label": "bad", "note": {"deep": [1]}}]
    source = write_jsonl("all.jsonl", rows)
    draw_file(Task.load(task), str(source), tmp_path / "out.csv", DrawOptions(examples=2))
    with (tmp_path / "out.csv").open(newline="") as stream:
        found = sorted(csv.DictReader(stream), key=lambda row: row["text"])
    assert [row["note"] for row in found] == ["", '{"deep": [1]}']


def test_parquet_refuses_a_column_with_values_of_different_types(
    tmp_path: Path, task: Path, write_jsonl: WriteRows
) -> None:
    rows = [{"text": "a", "label": "good", "n": 1}, {"text": "b", "label": "bad", "n": "two"}]
    said = failure(task, "--input", write_jsonl("a.jsonl", rows), "--shots", 1, "-o", tmp_path / "out.parquet")
    assert "'n'" in said and ".jsonl" in said
    assert not (tmp_path / "out.parquet").exists()


def test_column_mapping_and_json_summary(tmp_path: Path, task: Path, write_jsonl: WriteRows) -> None:
    rows = [{"review": row["text"], "verdict": row["label"]} for row in ROWS]
    source, rest = write_jsonl("all.jsonl", rows), tmp_path / "rest.csv"
    columns = ["--column", "text=review", "--column", "label=verdict"]
    out = tmp_path / "o.csv"
    result = call(task, "--input", source, "--shots", 1, "-o", out, "--rest", rest, "--json", *columns)
    assert json.loads(result.stdout) == {
        "output": str(out), "rest": str(rest), "rows": 2, "per_label": {"good": 1, "bad": 1}, "rest_rows": 22,
    }  # fmt: skip
    assert out.read_text().splitlines()[0] == "review,verdict"
    assert rest.read_text().splitlines()[0] == "review"


def test_keep_narrows_the_columns_to_those_of_the_task_and_those_named(
    tmp_path: Path, task: Path, source: Path
) -> None:
    out, rest = tmp_path / "train.csv", tmp_path / "rest.parquet"
    base = (task, "--input", source, "--shots", 2, "-o", out, "--rest", rest)
    assert call(*base, "--keep", "stars").exit_code == 0
    assert out.read_text().splitlines()[0] == "id,text,label,stars"
    assert pq.read_schema(rest).names == ["id", "text", "stars"]
    assert pq.read_schema(rest).field("stars").type == pa.int64()
    said = failure(*base, "--keep", "star,xx", "--force")
    assert "--keep star" in said and "'stars'" in said and "--keep xx" in said


def test_numbers_of_json_lines_share_one_parquet_type(tmp_path: Path, task: Path, write_jsonl: WriteRows) -> None:
    rows = [{"text": f"t{i}", "label": ("good", "bad")[i % 2], "n": i if i < 5000 else i + 0.5} for i in range(6000)]
    source, out, rest = write_jsonl("a.jsonl", rows), tmp_path / "out.parquet", tmp_path / "rest.parquet"
    draw_file(Task.load(task), str(source), out, DrawOptions(shots=1), rest=rest)
    numbers = [n for path in (out, rest) for n in pq.read_table(path, columns=["n"])["n"].to_pylist()]
    assert pq.read_schema(out).field("n").type == pq.read_schema(rest).field("n").type == pa.float64()
    assert sorted(numbers) == [row["n"] for row in rows]


def test_existing_files_are_replaced_only_with_force(tmp_path: Path, task: Path, source: Path) -> None:
    out, rest = tmp_path / "train.jsonl", tmp_path / "pool.jsonl"
    rest.write_text("mine")
    base = (task, "--input", source, "--shots", 1, "-o", out, "--rest", rest)
    said = failure(*base)
    assert str(rest) in said and "--force" in said
    assert rest.read_text() == "mine" and not out.exists()
    assert call(*base, "--force").exit_code == 0
    assert len(json_rows(rest)) == 22


def test_mistakes_are_named_and_nothing_is_written(tmp_path: Path, task: Path, source: Path) -> None:
    out = tmp_path / "out.jsonl"
    before = sorted(tmp_path.iterdir())
    base = (task, "--input", source, "-o", out)
    assert "--shots" in failure(*base)
    assert "--examples" in failure(*base, "--shots", 1, "--examples", 1)
    assert "--shots 0" in failure(*base, "--shots", 0)
    assert "--shots -1" in failure(*base, "--shots", -1)
    assert "--seed -1" in failure(*base, "--shots", 1, "--seed", -1)
    assert "'bad'" in failure(*base, "--shots", 9) and "8" in failure(*base, "--shots", 9)
    assert "24" in failure(*base, "--examples", 25)
    assert str(out) in failure(*base, "--shots", 1, "--rest", out)
    assert "input" in failure(task, "--input", source, "--shots", 1, "-o", source, "--force")
    assert ".parquet" in failure(task, "--input", source, "--shots", 1, "-o", tmp_path / "out.txt")
    assert "none.jsonl" in failure(task, "--input", tmp_path / "none.jsonl", "--shots", 1, "-o", out)
    assert "review" in failure(*base, "--shots", 1, "--column", "text=review")
    assert sorted(tmp_path.iterdir()) == before


def test_a_label_with_a_line_break_is_one_line_of_the_summary(tmp_path: Path, write_jsonl: WriteRows) -> None:
    task = tmp_path / "lines.yaml"
    task.write_text(TASK.replace("[good, bad]", '["go\\nod", bad]').replace("good: great", '"go\\nod": great'))
    source = write_jsonl("lines.jsonl", [{"text": str(n), "label": ("go\nod", "bad")[n % 2]} for n in range(4)])
    result = call(task, "--input", source, "--shots", 1, "-o", tmp_path / "out.jsonl")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1:] == ["  go od: 1", "  bad: 1"]
