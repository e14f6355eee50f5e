"""Unlabeled text as documents."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pet.data.documents import read_documents, read_strings
from pet.errors import PetError


def test_documents_are_lines_paragraphs_files_or_fields_of_records(tmp_path: Path) -> None:
    plain = tmp_path / "a.txt"
    plain.write_text("\ufeffone\ntwo  words\n\n \nthree\n", encoding="utf-8")
    packed = tmp_path / "a.txt.xz"
    packed.write_bytes(lzma.compress(plain.read_bytes()))
    rows = tmp_path / "a.jsonl.gz"
    rows.write_bytes(gzip.compress(b'{"h": "head", "b": "body"}\n\n{"h": null, "b": "more"}\n', mtime=0))
    assert read_documents([str(plain)]) == ["one", "two words", "three"]
    assert read_documents([str(packed)], document="blank") == ["one two words", "three"]
    assert read_documents([str(packed)], document="file") == ["one two words three"]
    assert read_documents([str(plain), str(rows)], ["h", "b"])[3:] == ["head body", "more"]


@pytest.mark.parametrize(
    ("name", "content", "fields", "message"),
    [
        ("none.txt", None, (), "check the path"),
        ("empty.txt", b" \n\n", (), "at least one document"),
        ("latin.txt", "Zürich".encode("latin-1"), (), "UTF-8.*iconv"),
        ("cut.txt.xz", lzma.compress(b"text " * 99)[:40], (), "truncated"),
        ("cut.txt.gz", gzip.compress(b"text " * 99, mtime=0)[:20], (), "truncated"),
        ("a.jsonl", b'{"text": "x"}', (), "--field"),
        ("a.jsonl", b'{"text": "x"}\n{"text', ("text",), "line 2: .*JSON"),
        ("a.jsonl", b"[1]", ("text",), "line 1: .*JSON object"),
        ("a.jsonl", b'{"text": "x"}', ("body",), "line 1: .*'body'.*--field.*'text'"),
        ("a.jsonl", b'{"text": 3}', ("text",), "line 1: .*'text'.*int.*--field"),
    ],
)
def test_text_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes | None, fields: tuple[str, ...], message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PetError, match=message) as caught:
        read_documents([str(path)], fields)
    assert name in str(caught.value)


def test_strings_of_records_are_read_whatever_their_fields(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text(json.dumps({"id": 1, "deep": [{"text": "one"}, "two"]}) + "\n\n", encoding="utf-8")
    assert read_strings(str(path)) == ["one", "two"]
    plain = tmp_path / "test.txt"
    plain.write_text("one\n two\n")
    assert read_strings(str(plain)) == ["one", "two"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_text_with_a_byte_order_mark_is_read_and_without_one_it_is_refused(tmp_path: Path, pack) -> None:
    path = tmp_path / ("a.txt.gz" if pack is gzip.compress else "a.txt")
    path.write_bytes(pack("Z\xfcrich\r\ntwo\r\n".encode("utf-16")))
    assert read_documents([str(path)]) == ["Z\xfcrich", "two"]
    path.write_bytes(pack("one\ntwo\n".encode("utf-16-le")))
    with pytest.raises(PetError, match=r"a\.txt.*UTF-16"):
        read_documents([str(path)])


def test_a_table_gives_the_text_of_its_column_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,title,body\n1,Late,"It came, ""late"",\nand wet"\n2,,fine\n', encoding="utf-8")
    assert read_documents([str(path)], ["title", "body"]) == ['Late It came, "late", and wet', "fine"]
    assert read_strings(str(path))[:3] == ["1", "Late", 'It came, "late",\nand wet']
    with pytest.raises(PetError, match=r"a\.csv.*--field.*'title', 'body'"):
        read_documents([str(path)])
    with pytest.raises(PetError, match=r"a\.csv.*'text'.*--field.*'title', 'body'"):
        read_documents([str(path)], ["text"])
    table = pa.Table.from_pylist([{"text": "one", "label": "x"}, {"text": "two", "label": None}])
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_documents([f"unlabeled:{tmp_path}/a.parquet"], ["text"]) == ["two"]


def test_a_folder_gives_the_documents_of_its_text_files(tmp_path: Path) -> None:
    for name, text in {"b/2.txt": "two\nthree", "1.txt": "one", "notes.md": "left out"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_documents([str(tmp_path)], document="file") == ["one", "two three"]
