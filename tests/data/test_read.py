"""Tables are read alike from every format, and every mistake is named with its line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pet.data.fast
import pet.data.read
import pet.data.spill
from pet.data.read import iter_table, read_table
from pet.data.source import Unsound
from pet.errors import PetError

LABELS = ["good", "bad", "so so"]
Row = dict[str, Any]
# Everything that UTF-8 can hold, but NUL, which the csv module of Python 3.10 cannot write.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
ROWS = st.lists(
    st.fixed_dictionaries({"title": TEXTS, "text": TEXTS, "label": st.sampled_from(LABELS)}),
    min_size=1,
    max_size=12,
)


def write_json(rows: list[Row], path: Path) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_csv(rows: list[Row], path: Path) -> None:
    lines = io.StringIO()
    writer = csv.DictWriter(lines, list(rows[0]), delimiter="\t" if ".tsv" in path.name else ",", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(lines.getvalue().encode())


def write_parquet(rows: list[Row], path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


WRITERS: dict[str, Callable[[list[Row], Path], None]] = {
    ".jsonl": write_json,
    ".csv": write_csv,
    ".tsv": write_csv,
    ".parquet": write_parquet,
}


def expected(rows: list[Row]) -> list[Row]:
    composed = [{name: unicodedata.normalize("NFC", str(value)) for name, value in row.items()} for row in rows]
    return [
        {"id": str(number), "title": row["title"], "text": row["text"], "label": LABELS.index(row["label"])}
        for number, row in enumerate(composed)
    ]


def messages(source: str | Path, fields: list[str] | None = None, **options: Any) -> list[str]:
    with pytest.raises(PetError) as caught:
        read_table(source, fields or ["text"], **options)
    with pytest.raises(PetError) as streamed:
        iter_table(source, fields or ["text"], **options)
    assert streamed.value.problems == caught.value.problems
    return caught.value.problems


def refuse(*_: object) -> Any:
    """A fast path that handles nothing, so that the row-by-row reader has to."""
    raise Unsound("test")
    yield


# The same rows from every source


@pytest.mark.parametrize("suffix", WRITERS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_every_format_gives_the_rows_that_were_written(tmp_path: Path, suffix: str, rows: list[Row]) -> None:
    path = tmp_path / f"rows{suffix}"
    WRITERS[suffix](rows, path)
    table = read_table(path, ["title", "text"], labels=LABELS)
    assert table.to_list() == expected(rows)
    assert table.column_names == ["id", "title", "text", "label"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pet.data.read, "fast_batches", refuse)
        assert read_table(path, ["title", "text"], labels=LABELS).to_list() == expected(rows)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv"])
def test_gzip_is_read_and_a_truncated_file_is_named(tmp_path: Path, suffix: str) -> None:
    rows = [{"title": 'a, "b"', "text": "c\nd", "label": "bad"}]
    WRITERS[suffix](rows, tmp_path / f"x{suffix}")
    packed = tmp_path / f"x{suffix}.gz"
    packed.write_bytes(gzip.compress((tmp_path / f"x{suffix}").read_bytes()))
    assert read_table(packed, ["title", "text"], labels=LABELS).to_list() == expected(rows)
    packed.write_bytes(packed.read_bytes()[:-12])
    (message,) = messages(packed, ["title", "text"], labels=LABELS)
    assert "gzip" in message


def test_a_folder_of_shards_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    write_parquet([{"text": "b"}, {"text": "c"}], tmp_path / "part-2.parquet")
    write_parquet([{"text": "a"}], tmp_path / "part-1.parquet")
    assert read_table(tmp_path, ["text"])["text"][:] == ["a", "b", "c"]
    write_parquet([{"text": "d"}, {"text": None}], tmp_path / "part-3.parquet")
    (message,) = messages(tmp_path)
    assert "part-3.parquet: row 2" in message


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, chunk=st.integers(1, 15), suffix=st.sampled_from(list(WRITERS)), fast=st.booleans())
def test_all_chunks_together_are_the_table(
    tmp_path: Path, rows: list[Row], chunk: int, suffix: str, fast: bool
) -> None:
    path = tmp_path / f"rows{suffix}"
    WRITERS[suffix](rows, path)
    with pytest.MonkeyPatch.context() as patch:
        if not fast:
            patch.setattr(pet.data.read, "fast_batches", refuse)
        chunks = list(iter_table(path, ["title", "text"], labels=LABELS, chunk_rows=chunk))
    assert [row for part in chunks for row in part.to_list()] == expected(rows)
    assert all(len(part) == chunk for part in chunks[:-1])


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_rows_larger_than_a_block_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    rows = [{"title": "é" * 40, "text": "x\n" * number, "label": "good"} for number in range(60)]
    WRITERS[suffix](rows, tmp_path / f"x{suffix}")
    monkeypatch.setattr(pet.data.fast, "BLOCK", 37)
    assert read_table(tmp_path / f"x{suffix}", ["title", "text"], labels=LABELS).to_list() == expected(rows)


def test_a_large_table_is_memory_mapped_and_removed_at_exit(tmp_path: Path) -> None:
    write_json([{"text": f"text {number}"} for number in range(500)], tmp_path / "x.jsonl")
    script = (
        "import pet.data.spill, pet.data.read as r\n"
        "pet.data.spill.IN_MEMORY = 100\n"
        "t = r.read_table('x.jsonl', ['text'], cache_dir='cache')\n"
        "assert t['text'][:] == [f'text {n}' for n in range(500)]\n"
        "print(t.cache_files[0]['filename'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    made = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    file = tmp_path / made.stdout.strip()
    assert file.parent.parent == tmp_path / "cache"
    assert not file.parent.exists()


def test_a_mistake_late_in_a_large_table_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pet.data.spill, "IN_MEMORY", 100)
    rows: list[Row] = [{"text": "a" * 50} for _ in range(5000)]
    write_json([*rows, {"text": None}], tmp_path / "x.jsonl")
    with pytest.raises(PetError, match=r"x\.jsonl:5001: field 'text'"):
        read_table(tmp_path / "x.jsonl", ["text"], cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_temporary_folder_that_cannot_be_created_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pet.data.spill, "IN_MEMORY", 1)
    write_json([{"text": "a"}], tmp_path / "x.jsonl")
    (tmp_path / "file").write_text("")
    with pytest.raises(PetError, match=r"input: .*cache.*TMPDIR"):
        read_table(tmp_path / "x.jsonl", ["text"], cache_dir=tmp_path / "file" / "cache")


# Unusual input that is read


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        pytest.param(b'\xef\xbb\xbf{"text": "a"}\n', ["a"], id="bom"),
        pytest.param(b'{"text": "a"}', ["a"], id="no newline at the end"),
        pytest.param(b'\n{"text": "a"}\r\n  \n{"text": "b"}\r\n', ["a", "b"], id="blank lines and CRLF"),
        pytest.param(
            b'{"text": "2020-01-01"}\n{"text": "12"}\n',
            ["2020-01-01", "12"],
            id="text that looks like a date",
        ),
        pytest.param(b'{"text": 7}\n{"text": 12}\n', ["7", "12"], id="integers"),
        pytest.param(b'{"text": 1.50}\n{"text": "a"}\n{"text": true}\n', ["1.50", "a", "true"], id="mixed"),
        pytest.param(b'{"text": 12345678901234567890123}\n', ["12345678901234567890123"], id="long integer"),
        pytest.param(b'{"text": "a", "x": NaN}\n{"text": "b", "x": [{}]}\n', ["a", "b"], id="other columns"),
        pytest.param(
            b'{"text": "a", "x": 1, "x": {"y": 1}}\n{"text": "b", "x": {"y": 1, "y": 1}}',
            ["a", "b"],
            id="other columns with keys twice",
        ),
        pytest.param('{"text": "\\ud83d\\ude00"}\n{"text": "🎉🎉"}'.encode(), ["😀", "🎉🎉"], id="emoji"),
        pytest.param(b'{"text": "   "}\n{"text": ""}\n', ["   ", ""], id="only spaces"),
        pytest.param(b'{"text": "[MASK] </s> {text.__class__}"}', ["[MASK] </s> {text.__class__}"], id="special"),
        pytest.param(b'{"text": "' + b"x" * 100_000 + b'"}\n', ["x" * 100_000], id="100,000 characters"),
        pytest.param(b'{"text": "a\\u0000b\\nc"}\n', ["a\0b\nc"], id="escapes"),
    ],
)
def test_unusual_json_is_read(tmp_path: Path, content: bytes, texts: list[str]) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    assert read_table(path, ["text"])["text"][:] == texts


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        pytest.param(b"\xef\xbb\xbftext,b\n1,2\n", ["1"], id="bom"),
        pytest.param(b"b,text\r\n1,NA\r\n2,null\r\n3,", ["NA", "null", ""], id="no value is null"),
        pytest.param(b"b,text\n1,5'10\" tall\n", ["5'10\" tall"], id="lone quote inside"),
        pytest.param(
            b'b,text\n1,"' + b"x" * 200_000 + b'"\n2,"y"" "\n',
            ["x" * 200_000, 'y" '],
            id="200,000 characters",
        ),
        pytest.param(b"b,text\n\n1,2020-01-01\n\n", ["2020-01-01"], id="blank lines"),
    ],
)
@pytest.mark.parametrize("fast", [True, False])
def test_unusual_csv_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, texts: list[str], fast: bool
) -> None:
    if not fast:
        monkeypatch.setattr(pet.data.read, "fast_batches", refuse)
    (tmp_path / "x.csv").write_bytes(content)
    assert read_table(tmp_path / "x.csv", ["text"])["text"][:] == texts
    assert csv.field_size_limit() == 131072


def test_values_of_parquet_become_the_same_text_in_both_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table(
        {
            "text": pa.array(["a", "b"], pa.string()).dictionary_encode(),
            "n": pa.array([1, -2], pa.int16()),
            "f": pa.array([1.0, 0.1]),
            "t": pa.array([True, False]),
            "l": pa.array(["x", "y"], pa.large_string()),
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    fast = read_table(tmp_path / "x.parquet", ["text", "n", "f", "t", "l"]).to_list()
    assert fast[0] == {"id": "0", "text": "a", "n": "1", "f": "1.0", "t": "true", "l": "x"}
    monkeypatch.setattr(pet.data.read, "fast_batches", refuse)
    assert read_table(tmp_path / "x.parquet", ["text", "n", "f", "t", "l"]).to_list() == fast


# Columns, ids and labels


def test_columns_of_other_names(tmp_path: Path) -> None:
    write_json([{"review": "a", "nr": 7, "stars": "bad"}], tmp_path / "x.jsonl")
    table = read_table(
        tmp_path / "x.jsonl",
        ["text"],
        labels=LABELS,
        columns={"text": "review", "id": "nr", "label": "stars"},
    )
    assert table.to_list() == [{"id": "7", "text": "a", "label": 1}]


def test_one_column_for_two_fields(tmp_path: Path) -> None:
    write_csv([{"both": "a"}], tmp_path / "x.csv")
    table = read_table(tmp_path / "x.csv", ["title", "text"], columns={"title": "both", "text": "both"})
    assert table.to_list() == [{"id": "0", "title": "a", "text": "a"}]


@pytest.mark.parametrize("suffix", WRITERS)
def test_duplicate_ids_are_named(tmp_path: Path, suffix: str) -> None:
    rows = [{"id": name, "text": name} for name in ["a", "b", "a", "c", "b"]]
    WRITERS[suffix](rows, tmp_path / f"x{suffix}")
    first, second = messages(tmp_path / f"x{suffix}")
    assert "'a'" in first and "'b'" in second and "--column id=" in first
    assert read_table(tmp_path / f"x{suffix}", ["text"], columns={"id": ""})["id"][:] == [
        "0",
        "1",
        "2",
        "3",
        "4",
    ]


def test_many_duplicate_ids_are_counted(tmp_path: Path) -> None:
    write_json([{"id": number % 50, "text": "a"} for number in range(100)], tmp_path / "x.jsonl")
    found = messages(tmp_path / "x.jsonl")
    assert len(found) == 11 and "40" in found[-1]


def test_ids_in_only_some_lines_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_json([{"text": "a"}, {"text": "b", "id": "7"}], path)
    assert "x.jsonl:2: " in messages(path)[0] and "--column id=" in messages(path)[0]
    write_json([{"text": "a", "id": "7"}, {"text": "b"}], path)
    assert "x.jsonl:2: id" in messages(path)[0]


@pytest.mark.parametrize("suffix", WRITERS)
def test_the_label_map_translates_labels(tmp_path: Path, suffix: str) -> None:
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": 0}]
    WRITERS[suffix](rows, tmp_path / f"x{suffix}")
    table = read_table(tmp_path / f"x{suffix}", ["text"], labels=LABELS, label_map={"0": "good", "1": "so so"})
    assert table["label"][:] == [2, 0]


def test_labels_are_not_read_unless_requested(tmp_path: Path) -> None:
    write_json([{"text": "a", "label": ["what", "ever"]}], tmp_path / "x.jsonl")
    assert read_table(tmp_path / "x.jsonl", ["text"]).column_names == ["id", "text"]


def test_a_task_with_one_label_is_read(tmp_path: Path) -> None:
    write_json([{"text": "a", "label": "good"}] * 3, tmp_path / "x.jsonl")
    assert read_table(tmp_path / "x.jsonl", ["text"], labels=["good"])["label"][:] == [0, 0, 0]


@pytest.mark.parametrize("suffix", WRITERS)
def test_an_unknown_label_is_named_with_its_line_and_cure(tmp_path: Path, suffix: str) -> None:
    rows = [{"text": "a", "label": "good"}, {"text": "b", "label": "Bad"}, {"text": "c", "label": "Bad"}]
    WRITERS[suffix](rows, tmp_path / f"x{suffix}")
    (message,) = messages(tmp_path / f"x{suffix}", labels=LABELS)
    assert "'Bad'" in message and "mean 'bad'" in message and "label_map" in message
    assert "1 more" in message
    if suffix != ".parquet":
        line = 2 if suffix == ".jsonl" else 3
        assert message.startswith(f"input: {tmp_path / f'x{suffix}'}:{line}: ")


def test_a_label_map_to_an_unknown_label_is_named(tmp_path: Path) -> None:
    write_json([{"text": "a", "label": "good"}], tmp_path / "x.jsonl")
    (message,) = messages(tmp_path / "x.jsonl", labels=LABELS, label_map={"1": "best"})
    assert "'best'" in message and "so so" in message


def test_a_column_for_an_unknown_field_is_named(tmp_path: Path) -> None:
    write_json([{"text": "a"}], tmp_path / "x.jsonl")
    (message,) = messages(tmp_path / "x.jsonl", columns={"txt": "text"})
    assert "'txt'" in message and "mean 'text'" in message


# Mistakes


@pytest.mark.parametrize(
    ("file", "content", "parts"),
    [
        pytest.param("x.jsonl", b"", ["x.jsonl: ", "empty"], id="empty"),
        pytest.param("x.jsonl", b"\xef\xbb\xbf\n \n", ["x.jsonl: ", "empty"], id="blank"),
        pytest.param("x.jsonl", b"\n" * 5000, ["x.jsonl: ", "empty"], id="long and blank"),
        pytest.param("x.csv", b"text,label\n", ["x.csv: ", "empty"], id="header only"),
        pytest.param("x.jsonl", b'{"text": "a"}\n{"text": "b', ["x.jsonl:2: ", "truncated"], id="cut"),
        pytest.param("x.jsonl", b'{"text": "a"}\n{"text": "b"', ["x.jsonl:2: ", "truncated"], id="cut later"),
        pytest.param("x.csv", b'b,text\n1,a\n2,"cut', ["x.csv:3: ", "quote"], id="csv cut in a quote"),
        pytest.param("x.csv", b"text,b\n1,a\n2", ["x.csv:3: ", "1 column,", "line break"], id="csv cut"),
        pytest.param("x.csv", b"text,b\n1,a,2\n", ["x.csv:2: ", "3 columns", "quote values"], id="csv too wide"),
        pytest.param("x.jsonl", b'{"text": "\xff"}\n', ["x.jsonl:1: ", "UTF-8", "0xff"], id="invalid UTF-8"),
        pytest.param("x.jsonl", b'{"text": "a", "b": "\xe9"}\n', ["x.jsonl:1: ", "UTF-8"], id="UTF-8 elsewhere"),
        pytest.param(
            "x.jsonl",
            b'{"text": "a"}\n{"text": "a", "b": "\xe9"}\n',
            ["x.jsonl:2: ", "UTF-8"],
            id="UTF-8 later and elsewhere",
        ),
        pytest.param(
            "x.jsonl",
            b'{"text": "a"}\n{"text": "b"}{"text": "c"}\n',
            ["x.jsonl:2: ", "one object per line"],
            id="two on a later line",
        ),
        pytest.param("x.csv", b"text,b\na,\xc3\xa9\n\xe9,b\n", ["x.csv:3: ", "UTF-8", "0xe9"], id="csv UTF-8"),
        pytest.param("x.csv", b"text,b\na\xc3\xa9,\xe9\n", ["x.csv:2: ", "UTF-8"], id="csv UTF-8 elsewhere"),
        pytest.param("x.csv", b"text,\xe9\n\xc3\xa9,b\n", ["x.csv:1: ", "UTF-8"], id="csv UTF-8 in the header"),
        pytest.param("x.jsonl", '{"text": "a"}'.encode("utf-16-le"), ["UTF-16", "utf-16-le"], id="UTF-16"),
        pytest.param("x.jsonl", b'["a"]\n["b"]\n', ["x.jsonl:1: ", "array", "1 more line: 2"], id="arrays"),
        pytest.param("x.json", b'[{"text": "a"}]', ["x.json:1: ", "array", "jq -c"], id="array on a line"),
        pytest.param("x.json", b'{"text": "a"},\n{"text": "b"}\n', ["x.json:1: ", "comma"], id="comma after an object"),
        pytest.param("x.jsonl", b'{"text": "a"}\n"b"\n', ["x.jsonl:2: ", "object"], id="string"),
        pytest.param("x.json", b'[\n{"text": "a"}\n]', ["x.json:1: ", "one object per line"], id="one array"),
        pytest.param("x.jsonl", b'{"text":\n"a"}\n', ["x.jsonl:1: ", "one object per line"], id="object over lines"),
        pytest.param(
            "x.jsonl", b'{"text": "a"}{"text": "b"}\n', ["x.jsonl:1: ", "one object per line"], id="two on a line"
        ),
        pytest.param(
            "x.jsonl",
            b'{"text": "a"}\n{"txt": "b"}\n',
            ["x.jsonl:2: ", "'text'", "'txt'"],
            id="missing",
        ),
        pytest.param("x.csv", b"Text,b\na,b\n", ["x.csv: ", "'text'", "mean 'Text'"], id="csv missing"),
        pytest.param("x.csv", b"text,text\na,b\n", ["x.csv: ", "'text'", "rename"], id="column twice"),
        pytest.param(
            "x.jsonl",
            b'{"text": "a", "text": "b"}\n',
            ["x.jsonl:1: ", "'text'", "twice"],
            id="key twice",
        ),
        pytest.param("x.jsonl", b'{"text": "a"}\n{"text": null}\n', ["x.jsonl:2: ", "'text'", "null"], id="null"),
        pytest.param("x.jsonl", b'{"text": NaN}\n', ["x.jsonl:1: ", "'text'", "null"], id="NaN"),
        pytest.param("x.jsonl", b'{"text": ["a"]}\n', ["x.jsonl:1: ", "'text'", "array"], id="array value"),
        pytest.param("x.jsonl", b'{"text": {"a": 1}}\n', ["x.jsonl:1: ", "'text'", "object"], id="object value"),
        pytest.param("x.jsonl", b'{"text": "\\ud83d"}\n', ["x.jsonl:1: ", "\\ud83d"], id="lone surrogate"),
        pytest.param("x.jsonl", b'{"text": ' + b"[" * 100_000, ["x.jsonl:1: ", "nested"], id="deep"),
        pytest.param("x.txt", b"a", [".jsonl, .csv"], id="unknown suffix"),
        pytest.param("x", b"a", [".jsonl", ".parquet"], id="no suffix"),
        pytest.param("x.parquet", b"PAR1", ["x.parquet", "Parquet file"], id="broken parquet"),
        pytest.param("x.csv", b"\x1f\x8b\x08\0", ["x.csv: ", "gzip", ".csv.gz"], id="gzip named as CSV"),
        pytest.param("x.csv", b"PK\x03\x04\0", ["x.csv: ", "Excel", ".xlsx"], id="Excel named as CSV"),
        pytest.param("x.jsonl.gz", b"abc", ["x.jsonl.gz", "gzip"], id="broken gzip"),
    ],
)
def test_bad_files_are_one_message(tmp_path: Path, file: str, content: bytes, parts: list[str]) -> None:
    (tmp_path / file).write_bytes(content)
    (message,) = messages(tmp_path / file)
    for part in parts:
        assert part in message


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(
        b'{"text": "a", "label": "good"}\n[1]\n'
        b'{"text": null, "label": "Good"}\n{"label": "bad"}\n\xff\n{"text": "b", "la'
    )
    found = messages(tmp_path / "x.jsonl", labels=LABELS, name="train")
    assert [message.split(": ")[1].rsplit(":", 1)[1] for message in found] == ["2", "3", "3", "4", "5", "6"]
    assert all(message.startswith("train: ") for message in found)


def test_many_equal_mistakes_are_one_message(tmp_path: Path) -> None:
    write_json([{"text": None}] * 2000, tmp_path / "x.jsonl")
    (message,) = messages(tmp_path / "x.jsonl")
    assert "1,999" in message and "2, 3, 4, 5, 6, 7, 8, 9, 10, …" in message


def test_many_unknown_labels_are_counted(tmp_path: Path) -> None:
    write_json([{"text": "a", "label": str(number)} for number in range(300)], tmp_path / "x.jsonl")
    found = messages(tmp_path / "x.jsonl", labels=LABELS)
    assert len(found) == 11 and "290" in found[-1]


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    write_json([{"text": "a", "label": "\x1b[31m" + "x" * 500}], tmp_path / "x.jsonl")
    (message,) = messages(tmp_path / "x.jsonl", labels=LABELS)
    assert "\x1b" not in message and len(message) < 400


def test_a_missing_file_and_a_folder_without_shards_are_named(tmp_path: Path) -> None:
    assert "none.jsonl" in messages(tmp_path / "none.jsonl")[0]
    assert str(tmp_path) in messages(tmp_path)[0] and "*.parquet" in messages(tmp_path)[0]


def test_shards_with_different_columns_are_named(tmp_path: Path) -> None:
    write_parquet([{"text": "a"}], tmp_path / "1.parquet")
    write_parquet([{"txt": "a"}], tmp_path / "2.parquet")
    assert "2.parquet: " in messages(tmp_path)[0] and "txt" in messages(tmp_path)[0]


def test_a_parquet_file_that_is_broken_inside_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    table = pa.table({"text": [f"{number} {'x' * 50}" for number in range(500)]})
    pq.write_table(table, path, compression="gzip")
    content = bytearray(path.read_bytes())
    content[4:400] = b"\xff" * 396
    path.write_bytes(bytes(content))
    assert "x.parquet" in messages(path)[0] and "broken" in messages(path)[0]


def test_a_field_may_not_be_named_id(tmp_path: Path) -> None:
    write_json([{"id": "a"}], tmp_path / "x.jsonl")
    assert "'id'" in messages(tmp_path / "x.jsonl", ["id"])[0]


def test_a_file_that_changes_between_check_and_use_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_json([{"text": "a"}], path)
    chunks = iter_table(path, ["text"])
    path.write_text('{"text": "a"}\n{"tex')
    with pytest.raises(PetError, match=r"x\.jsonl: changed"):
        list(chunks)
