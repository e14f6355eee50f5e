"""Tables are read alike from spreadsheets, databases, Arrow files, folders and pipes; hostile ones get one message."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import sqlite3
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

import pet.data.compressed
from pet.data.kept import keep_columns
from pet.data.open_source import open_source
from pet.data.read import iter_table, read_table
from pet.data.source_names import absolute
from pet.data.table_format import TableNotice
from pet.data.table_options import TableOptions
from pet.errors import PetError
from pet.store.spreadsheet import quoted

LABELS = ["good", "bad"]
Row = dict[str, Any]
ROWS: list[Row] = [
    {"text": "first café", "label": "good", "stars": "5"},
    {"text": 'second, "quoted"\nline', "label": "", "stars": "1"},
    {"text": "=1+1", "label": "bad", "stars": "2"},
    {"text": "' OR 1=1; --", "label": " ", "stars": ""},
]


def write_csv(path: Path, rows: list[Row]) -> str:
    import csv

    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def packed(path: Path, rows: list[Row], pack: Callable[[bytes], bytes]) -> str:
    raw = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(pack(raw))
    return str(path)


def zstd(raw: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(raw)
    return bytes(sink.getvalue())


def write_sqlite(path: Path, rows: list[Row], table: str = 'my "t"; DROP TABLE x') -> str:
    quoted = table.replace('"', '""')
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f'CREATE TABLE "{quoted}" (text, label, stars)')
        connection.executemany(f'INSERT INTO "{quoted}" VALUES (:text, :label, :stars)', rows)
        connection.execute("CREATE TABLE x (y)")
        connection.commit()
    return f"sqlite:{path}#{table}"


def write_duckdb(path: Path, rows: list[Row]) -> str:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(path)) as connection:
        connection.execute('CREATE TABLE "my ""t""" (text VARCHAR, label VARCHAR, stars VARCHAR)')
        connection.executemany('INSERT INTO "my ""t""" VALUES (?, ?, ?)', [list(row.values()) for row in rows])
    return f"duckdb:{path}"


def write_excel(path: Path, rows: list[Row]) -> str:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(list(rows[0]))
    sheet.append([])  # blank rows are skipped, as in a CSV file
    for row in rows:
        sheet.append([int(value) if value.isdigit() else value or None for value in row.values()])
        for cell in sheet[sheet.max_row]:
            cell.data_type = "s" if cell.data_type == "f" else cell.data_type
    book.save(path)
    return str(path)


def write_feather(path: Path, rows: list[Row]) -> str:
    feather.write_feather(pa.Table.from_pylist(rows), path)
    return str(path)


def save_dataset(path: Path, rows: list[Row]) -> str:
    datasets.Dataset.from_list(rows).save_to_disk(path)
    return str(path)


WRITERS: dict[str, Callable[[Path, list[Row]], str]] = {
    "x.jsonl.gz": lambda path, rows: packed(path, rows, gzip.compress),
    "x.jsonl.bz2": lambda path, rows: packed(path, rows, bz2.compress),
    "x.jsonl.xz": lambda path, rows: packed(path, rows, lzma.compress),
    "x.jsonl.zst": lambda path, rows: packed(path, rows, zstd),
    "x.sqlite": write_sqlite,
    "x.duckdb": write_duckdb,
    "x.xlsx": write_excel,
    "x.feather": write_feather,
    "saved": save_dataset,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_the_same_rows_are_read_from_every_kind_of_source(tmp_path: Path, kind: str) -> None:
    columns = {"label": "stars"}
    rows = [row | {"stars": row["stars"] or "0"} for row in ROWS]
    source, plain = WRITERS[kind](tmp_path / kind, rows), write_csv(tmp_path / "x.csv", rows)
    how: dict[str, Any] = {"labels": ["0", "1", "2", "5"], "columns": columns}
    wanted = read_table(plain, ["text"], **how).to_list()
    assert read_table(source, ["text"], **how).to_list() == wanted
    assert [row for chunk in iter_table(source, ["text"], **how, chunk_rows=3) for row in chunk] == wanted


@pytest.mark.parametrize("kind", [*WRITERS, "x.csv"])
def test_a_partly_labeled_table_is_two_tables_with_one_numbering(tmp_path: Path, kind: str) -> None:
    source = {**WRITERS, "x.csv": write_csv}[kind](tmp_path / kind, ROWS)
    labeled = read_table(f"labeled:{source}", ["text"], labels=LABELS)
    assert (labeled["id"][:], labeled["label"][:]) == (["0", "2"], [0, 1])
    pool = read_table(f"unlabeled:{source}", ["text"])
    assert pool["id"][:] == ["1", "3"] and "label" not in pool.column_names
    kept = keep_columns(f"unlabeled:{source}", TableOptions(keep=("stars",)), {}, [], typed=False)
    assert list(map(str, kept.take(2)["stars"])) == ["1", ""]


def test_rows_without_a_label_key_are_unlabeled_in_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b", "label": "bad"}\n{"text": "c", "label": null}\n', encoding="utf-8")
    assert read_table(f"unlabeled:{path}", ["text"])["text"][:] == ["a", "c"]
    assert read_table(f"labeled:{path}", ["text"], labels=LABELS)["text"][:] == ["b"]


@pytest.mark.parametrize(("prefix", "label", "cure"), [("labeled", "", "--unlabeled"), ("unlabeled", "bad", "--train")])
def test_a_table_without_such_rows_names_the_other_option(tmp_path: Path, prefix: str, label: str, cure: str) -> None:
    source = write_csv(tmp_path / "x.csv", [{"text": "a", "label": label}])
    labels = LABELS if prefix == "labeled" else None
    with pytest.raises(PetError, match=rf"x\.csv.*label.*{cure}"):
        read_table(f"{prefix}:{source}", ["text"], labels=labels)
    with pytest.raises(PetError, match=r"'labl'.*--column label"):
        read_table(f"{prefix}:{source}", ["text"], columns={"label": "labl"}, labels=labels)


def test_texts_are_files_in_folders_named_after_their_labels(tmp_path: Path) -> None:
    folder = tmp_path / "reviews"
    for place, text in {"good/2.txt": "fine\n", "bad/1.txt": "awful", "new.txt": "so so", "good/x.html": "<b>"}.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text, encoding="utf-8")
    with pytest.warns(TableNotice, match=r"reviews: 1 file"):
        table = read_table(f"labeled:{folder}", ["text"], labels=LABELS)
    assert table.to_list() == [
        {"id": "bad/1.txt", "text": "awful", "label": 1},
        {"id": "good/2.txt", "text": "fine", "label": 0},
    ]
    with pytest.warns(TableNotice):
        assert read_table(f"unlabeled:{folder}", ["text"])["id"][:] == ["new.txt"]
    (folder / "good" / "x.html").unlink()
    (folder / "ugly").mkdir()
    (folder / "ugly" / "3.txt").write_text("meh", encoding="utf-8")
    with pytest.raises(PetError, match=r"ugly/3\.txt.*'ugly'"):
        read_table(f"labeled:{folder}", ["text"], labels=LABELS)
    (folder / "ugly" / "3.txt").write_bytes(b"caf\xe9 \x80")
    with pytest.raises(PetError, match=r"ugly/3\.txt.*0xe9.*--encoding"):
        read_table(folder, ["text"])


def test_names_of_text_files_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    for place in (b"caf\xe9/1.txt", b"good/caf\xe9.txt", b"good/2.txt"):
        path = tmp_path / os.fsdecode(place)
        try:
            path.parent.mkdir(exist_ok=True)
            path.write_text("fine", encoding="utf-8")
        except (OSError, UnicodeError):
            pytest.skip("this file system has no such names")
    with pytest.raises(PetError) as caught:
        read_table(tmp_path, ["text"])
    assert len(caught.value.problems) == 2
    for problem, name in zip(caught.value.problems, (r"caf\xe9/1.txt", r"good/caf\xe9.txt"), strict=True):
        assert name in problem and str(tmp_path) in problem and "rename" in problem


def test_a_link_out_of_a_folder_of_texts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(PetError, match=r"a\.txt.*link"):
        read_table(tmp_path / "texts", ["text"])


@pytest.mark.parametrize("kind", ["x.csv", "x.jsonl.gz", "x.xlsx", "x.feather", "x.parquet"])
def test_standard_input_is_read_in_any_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def write_parquet(path: Path, rows: list[Row]) -> str:
        pq.write_table(pa.Table.from_pylist(rows), path)
        return str(path)

    source = {**WRITERS, "x.csv": write_csv, "x.parquet": write_parquet}[kind](tmp_path / kind, ROWS)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(source).read_bytes())))
    for _ in range(2):  # commands open a table several times
        assert read_table("-", ["text"])["text"][:] == [row["text"] for row in ROWS]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"text\nanother\n")))
    assert read_table("-", ["text"])["text"][:] == ["another"]


def test_mistakes_in_a_sheet_have_the_numbers_that_a_person_sees(tmp_path: Path) -> None:
    source = write_excel(tmp_path / "x.xlsx", [*ROWS, {"text": "a", "label": "ugly", "stars": "1"}])
    with pytest.raises(PetError, match=r"x\.xlsx: row 7: .*'ugly'"):
        read_table(f"labeled:{source}", ["text"], labels=LABELS)


def write_cells(path: Path, rows: list[list[str]]) -> Path:
    book = pytest.importorskip("openpyxl").Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["text", "text", "label"], ["a", "b", "bad"]], "row 1: has the column 'text' twice"),
        ([["text", "", "", "label"], ["a", "", "", "bad"]], "row 1: 2 columns have no name"),
        ([["My survey"], ["text", "label"], ["a", "bad"]], "row 2: has more cells than row 1"),
    ],
)
def test_a_sheet_whose_columns_are_not_named_is_refused(tmp_path: Path, rows: list[list[str]], message: str) -> None:
    source = write_cells(tmp_path / "x.xlsx", rows)
    with pytest.raises(PetError, match=rf"x\.xlsx: {message}"):
        read_table(source, ["text"])


def test_escaped_characters_of_a_sheet_are_those_that_excel_shows(tmp_path: Path) -> None:
    cells = ["one_x000D_\ntwo", "_x005F_x000D_", "_xD800_ _x0041_"]
    source = write_cells(tmp_path / "x.xlsx", [["text"], *([cell] for cell in cells)])
    assert read_table(source, ["text"])["text"][:] == ["one\r\ntwo", "_x000D_", "_xD800_ _x0041_"]


def test_the_mark_before_a_formula_is_dropped_when_a_table_returns_as_a_sheet(tmp_path: Path) -> None:
    texts = ["=1+1", "@airline thanks", "' =1", "'tis", "-0.5"]
    cells = [[quoted("+text")], *([quoted(text)] for text in texts)]  # what a program shows of the CSV file, and saves
    source = write_cells(tmp_path / "x.xlsx", cells)
    assert read_table(source, ["text"], columns={"text": "+text"})["text"][:] == texts


def test_a_sheet_is_named_after_the_file(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["text"])
    book.active.append(["in the first"])
    book.create_sheet("June 24").append(["text"])
    book["June 24"].append(["in June"])
    book.save(tmp_path / "x.xlsx")
    with pytest.warns(TableNotice, match="first of 2 sheets.*June 24"):
        assert read_table(tmp_path / "x.xlsx", ["text"])["text"][:] == ["in the first"]
    assert read_table(f"{tmp_path}/x.xlsx#June 24", ["text"])["text"][:] == ["in June"]
    with pytest.raises(PetError, match=r"no sheet 'July'.*'June 24'"):
        read_table(f"{tmp_path}/x.xlsx#July", ["text"])


def test_an_empty_first_sheet_points_to_the_others(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.save(tmp_path / "alone.xlsx")
    with pytest.raises(PetError, match=r"'Sheet' is empty; its first row must name the columns$"):
        read_table(tmp_path / "alone.xlsx", ["text"])
    for name in ("June 24", "July"):
        book.create_sheet(name).append(["text"])
        book[name].append([f"in {name}"])
    book.save(tmp_path / "x.xlsx")
    with pytest.raises(
        PetError,
        match=r"'Sheet' is empty.*name another one as '.*x\.xlsx#June 24' \(the others are 'June 24', 'July'\)$",
    ):
        read_table(tmp_path / "x.xlsx", ["text"])
    assert read_table(f"{tmp_path}/x.xlsx#July", ["text"])["text"][:] == ["in July"]


def test_a_formula_needs_its_result(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["text", "label"], ["a", "good"], ["b", '=IF(1,"bad","good")']):
        book.active.append(row)
    book.save(tmp_path / "x.xlsx")  # a program stores no results
    with pytest.raises(PetError, match=r"x\.xlsx: cell B3.*formula.*save it"):
        read_table(tmp_path / "x.xlsx", ["text"])


def bomb(path: Path) -> None:
    with gzip.open(path, "wb") as stream:
        stream.write(b'{"text": "' + b"a" * (3 << 20))


def zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * (3 << 20))


def entities(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", b'<!DOCTYPE x [<!ENTITY a "aa">]><workbook/>')


def broken_offsets(path: Path) -> None:
    batch = pa.RecordBatch.from_pydict({"text": ["a" * 7, "b" * 7]})
    with pa.ipc.new_file(path, batch.schema) as writer:
        writer.write_batch(batch)
    offsets = b"\x07\0\0\0\x0e\0\0\0"
    assert path.read_bytes().count(offsets) == 1
    path.write_bytes(path.read_bytes().replace(offsets, b"\x07\0\0\0\xff\xff\xff\x7f"))


def blob(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (text)")
        connection.executemany("INSERT INTO t VALUES (?)", [(b"\x00\x01",), ("a",)])
        connection.commit()


HOSTILE: list[Any] = [
    ("x.jsonl.gz", bomb, "gzip.*more than"),
    ("x.xlsx", zip_bomb, "unpacks"),
    ("x.xlsx", entities, "document type"),
    ("x.xlsx", lambda path: path.write_bytes(b"\xd0\xcf\x11\xe0" * 99), "password.*CSV"),
    ("x.arrow", broken_offsets, "broken"),
    ("x.arrow", lambda path: path.write_bytes(b"ARROW1\0\0 no"), "Arrow file"),
    ("x.feather", lambda path: path.write_bytes(b"FEA1 old"), "version 1"),
    ("x.csv.zst", lambda path: path.write_bytes(b"\x28\xb5\x2f\xfd\0\0"), "zstd"),
    ("x.csv.xz", lambda path: path.write_bytes(b"text\na"), "xz"),
    ("sqlite:x.db", lambda path: path.write_bytes(b"text\na\n" * 200), "SQLite"),
    ("sqlite:x.db", blob, "row 1.*text"),
    ("sqlite:x.db#nope", blob, "no table 'nope'.*'t'"),
    ("sqlite:missing.db#t", blob, "no such file"),
    ("x.txt", lambda path: path.write_bytes(b"a"), "cannot tell the format.*jsonl"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "make", "message"), HOSTILE)
def test_a_hostile_or_broken_source_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, make: Callable[[Path], Any], message: str
) -> None:
    if "xlsx" in source:
        pytest.importorskip("openpyxl")
    monkeypatch.setattr(pet.data.compressed, "MOST_FREE", 1 << 20)
    monkeypatch.setattr("pet.data.sheet.MOST_FREE", 1 << 20)
    monkeypatch.chdir(tmp_path)
    make(tmp_path / source.removeprefix("sqlite:").removesuffix("#nope").replace("missing", "x"))
    with pytest.raises(PetError, match=message) as caught:
        read_table(source, ["text"])
    assert len(caught.value.problems) == 1 and source.split("#")[0] in str(caught.value)


def test_a_locked_database_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pet.data.database._WAIT", 0.01)
    source = write_sqlite(tmp_path / "x.db", ROWS, "t")
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(PetError, match="locked by another program"):
            read_table(source, ["text"])


def test_a_database_is_not_written_to(tmp_path: Path) -> None:
    source = write_sqlite(tmp_path / "x.db", ROWS, "t")
    before = (tmp_path / "x.db").read_bytes()
    os.chmod(tmp_path / "x.db", 0o400)
    assert len(read_table(source, ["text"])) == 4
    assert (tmp_path / "x.db").read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["x.db"]


def test_a_view_in_a_duckdb_file_reads_no_other_files(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    (tmp_path / "secret.csv").write_text("text\nsecret\n", encoding="utf-8")
    with duckdb.connect(str(tmp_path / "x.duckdb")) as connection:
        connection.execute(f"CREATE VIEW v AS SELECT * FROM read_csv('{tmp_path}/secret.csv')")
    with pytest.raises(PetError, match="DuckDB"):
        read_table(f"duckdb:{tmp_path}/x.duckdb", ["text"])


def test_a_saved_data_set_keeps_its_class_names_and_names_its_splits(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=LABELS)})
    table = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    datasets.DatasetDict({"train": table, "test": table}).save_to_disk(tmp_path / "all")
    assert read_table(tmp_path / "all" / "train", ["text"], labels=LABELS)["label"][:] == [1, 0]
    with pytest.raises(PetError, match="train, test"):
        read_table(tmp_path / "all", ["text"])
    state = tmp_path / "all" / "train" / "state.json"
    state.write_text(json.dumps({"_data_files": [{"filename": "../../x.arrow"}]}), encoding="utf-8")
    with pytest.raises(PetError, match=r"state\.json"):
        read_table(tmp_path / "all" / "train", ["text"])


def test_names_mean_the_same_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.db", "a.csv", "a.xlsx"):
        (tmp_path / name).touch()
    assert absolute("labeled:sqlite:a.db#t") == f"labeled:sqlite:{tmp_path}/a.db#t"
    assert absolute("a.csv") == f"{tmp_path}/a.csv" and absolute("hub:a/b") == "hub:a/b"
    assert absolute("-") == "-" and absolute("labeled:a.xlsx#b") == f"labeled:{tmp_path}/a.xlsx#b"


def test_a_database_is_read_again_after_it_has_changed(tmp_path: Path) -> None:
    source = write_sqlite(tmp_path / "x.db", ROWS, "t")
    assert len(open_source(source, "input").dataset or ()) == 4
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("DELETE FROM t WHERE label = 'bad'")
        connection.commit()
    assert len(open_source(source, "input").dataset or ()) == 3
