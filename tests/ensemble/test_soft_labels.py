"""Soft labels are computed by hand, written in every format, and read from anyone's files."""

from __future__ import annotations

import csv
import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from pet.ensemble import soft_labels
from pet.ensemble.combine import Ensemble, merge_scores
from pet.ensemble.soft_label_files import read_soft_labels
from pet.ensemble.soft_labels import read_probabilities, write_soft_labels, writing_soft_labels
from pet.errors import PetError
from pet.members.external import read_external
from pet.numerics import softmax
from pet.store.temporary import temporary_folder

LABELS = ["no", 'yes, ünd "more"', "3"]
MEMBERS = ["p1-r1", "p2-r1"]
ENDINGS = ["parquet", "jsonl", "csv", "tsv"]
WEIGHTS = np.array([0.75, 0.25])


def _ensemble(names: list[str]) -> Ensemble:
    return Ensemble.of(names, labels=len(LABELS), weights=WEIGHTS)


def _write(paths: list[Path], ids: Any, scores: dict[str, Any]) -> None:
    write_soft_labels(paths, ids, list(scores.values()), _ensemble(list(scores)), LABELS)


def _scores(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=(rows, 3)).astype(np.float32) for name in MEMBERS}


# --- by hand -----------------------------------------------------------------------------------------


def test_merging_votes_confidence_entropy_and_agreement_by_hand():
    first, second = np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([[-1.0, 1.0], [4.0, 0.0]])
    soft = Ensemble.of(["a", "b"], labels=2, weights=WEIGHTS).combine([first, second])
    np.testing.assert_allclose(soft.probabilities, [[0.731059, 0.268941], [0.562177, 0.437823]], atol=5e-7)
    assert soft.votes.tolist() == [[0, 1], [1, 0]]
    assert soft.label.tolist() == [0, 0]
    np.testing.assert_allclose(soft.confidence, [0.731059, 0.562177], atol=5e-7)
    np.testing.assert_allclose(soft.agreement, [0.5, 0.5])
    p, q = soft.probabilities[0]
    assert soft.entropy[0] == pytest.approx(-(p * math.log(p) + q * math.log(q)))


def test_entropy_is_0_for_certainty_and_log_of_the_labels_for_ignorance():
    soft = Ensemble.of(["a"], labels=2).combine([np.array([[5000.0, 0.0], [1.0, 1.0]])])
    np.testing.assert_allclose(soft.entropy, [0, math.log(2)])
    assert soft.agreement.tolist() == [1, 1]


# --- our own files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_every_format_reads_back_as_it_was_written(tmp_path: Path, monkeypatch, rows):
    monkeypatch.setattr(soft_labels, "MERGE_ROWS", 3)
    ids = [f"id-{i}" for i in range(rows)]
    scores = _scores(rows)
    paths = [tmp_path / f"labels.{ending}" for ending in ENDINGS]
    _write(paths, ids, scores)
    expected = softmax(merge_scores(list(scores.values()), WEIGHTS))
    for path in paths:
        if not rows:
            with pytest.raises(PetError, match=path.name):
                read_soft_labels(path)
            continue
        table = read_soft_labels(path)
        assert table.ids == ids
        assert table.labels == LABELS
        np.testing.assert_allclose(table.probabilities, expected, rtol=1e-15)
        np.testing.assert_array_equal(read_soft_labels(path, LABELS[::-1]).probabilities, table.probabilities[:, ::-1])
    assert read_probabilities(paths[0]).shape == (rows, 3)
    assert not list(tmp_path.glob(".tmp-*"))


def test_probabilities_of_our_own_file_are_those_of_the_checking_reader(tmp_path: Path):
    _write([tmp_path / "l.parquet"], [str(i) for i in range(500)], _scores(500))
    checked = read_soft_labels(tmp_path / "l.parquet", LABELS).probabilities
    np.testing.assert_array_equal(read_probabilities(tmp_path / "l.parquet"), checked)


def test_all_formats_hold_the_same(tmp_path: Path):
    scores = _scores(5)
    paths = [tmp_path / f"l.{ending}" for ending in ENDINGS]
    _write(paths, list("abcde"), scores)
    table = pq.read_table(tmp_path / "l.parquet")
    assert table.column_names == [
        "id", "probabilities", "label", "confidence", "entropy", "agreement", "votes"
    ]  # fmt: skip
    assert json.loads(table.schema.metadata[b"labels"]) == LABELS
    assert json.loads(table.schema.metadata[b"members"]) == MEMBERS
    lines = [json.loads(line) for line in (tmp_path / "l.jsonl").read_text(encoding="utf-8").splitlines()]
    for row, line in zip(table.to_pylist(), lines, strict=True):
        assert list(line["probabilities"].items()) == list(zip(LABELS, row["probabilities"], strict=True))
        assert list(line["votes"].items()) == list(zip(MEMBERS, row["votes"], strict=True))
        for column in ("id", "label", "confidence", "entropy", "agreement"):
            assert line[column] == row[column]
        assert line["label"] == LABELS[int(np.argmax(row["probabilities"]))]
        assert line["confidence"] == max(row["probabilities"])
    for name, delimiter in (("l.csv", ","), ("l.tsv", "\t")):
        with (tmp_path / name).open(encoding="utf-8", newline="") as stream:
            cells = list(csv.DictReader(stream, delimiter=delimiter))
        for line, row in zip(lines, cells, strict=True):
            assert [float(row[f"p({label})"]) for label in LABELS] == list(line["probabilities"].values())
            assert [row[f"vote({member})"] for member in MEMBERS] == list(line["votes"].values())
            assert (row["id"], row["label"], float(row["entropy"])) == (line["id"], line["label"], line["entropy"])
    votes = np.stack([s.argmax(axis=1) for s in scores.values()], axis=1)
    assert [list(line["votes"].values()) for line in lines] == [[LABELS[v] for v in row] for row in votes]


def test_a_failed_write_leaves_nothing(tmp_path: Path):
    for name in ("a.jsonl", "a.parquet", "a.csv"):
        with pytest.raises(RuntimeError), writing_soft_labels(tmp_path / name, LABELS, MEMBERS) as append:
            append(["x"], _ensemble(list(_scores(1))).combine(list(_scores(1).values())))
            raise RuntimeError
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.csv"])
def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    @contextmanager
    def full_folder(parent: Path, name: str) -> Iterator[Path]:
        with temporary_folder(parent, name) as folder:
            (folder / name).symlink_to("/dev/full")
            yield folder

    monkeypatch.setattr("pet.store.files.temporary_folder", full_folder)
    with (
        pytest.raises(PetError, match=rf"{name}.*full"),
        writing_soft_labels(tmp_path / name, LABELS, MEMBERS) as append,
    ):
        append(["x"], _ensemble(list(_scores(1))).combine(list(_scores(1).values())))
    assert not list(tmp_path.iterdir())


def test_unknown_endings_and_missing_files_are_named(tmp_path: Path):
    with pytest.raises(PetError, match=r"labels\.txt.*\.jsonl"):
        writing_soft_labels(tmp_path / "labels.txt", LABELS, MEMBERS).__enter__()
    (tmp_path / "labels.txt").write_text("id,probabilities\n")
    with pytest.raises(PetError, match=r"labels\.txt.*\.jsonl"):
        read_soft_labels(tmp_path / "labels.txt")
    with pytest.raises(PetError, match=r"missing\.jsonl"):
        read_soft_labels(tmp_path / "missing.jsonl")


# --- files from elsewhere ----------------------------------------------------------------------------------


def _jsonl(folder: Path, *rows: Any) -> Path:
    path = folder / "theirs.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def _parquet(folder: Path, ids: Any, probabilities: Any, labels: Any = None) -> Path:
    path = folder / "theirs.parquet"
    table = pa.table({"id": ids, "probabilities": probabilities})
    pq.write_table(table.replace_schema_metadata({"labels": json.dumps(labels)} if labels else None), path)
    return path


def test_jsonl_with_a_mapping(tmp_path: Path):
    path = _jsonl(
        tmp_path,
        {"id": 7, "probabilities": {"b": 0.25, "a": 0.75}},
        "",
        {"id": "x", "probabilities": {"a": 1, "b": 0}, "more": None},
    )
    table = read_soft_labels(path)
    assert (table.ids, table.labels) == (["7", "x"], ["b", "a"])
    assert table.probabilities.tolist() == [[0.25, 0.75], [0, 1]]
    table = read_soft_labels(path, ["a", "b"])
    assert (table.labels, table.probabilities.tolist()) == (["a", "b"], [[0.75, 0.25], [1, 0]])


def test_jsonl_with_lists_requires_the_labels_and_may_have_a_byte_order_mark(tmp_path: Path):
    path = _jsonl(tmp_path, {"id": "x", "probabilities": [0.25, 0.75]})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_soft_labels(path, ["a", "b"]).probabilities.tolist() == [[0.25, 0.75]]
    with pytest.raises(PetError, match=r"theirs\.jsonl:1: .*--task"):
        read_soft_labels(path)


@pytest.mark.parametrize(
    "probabilities",
    [
        [[0.25, 0.75], [1.0, 0.0]],
        pa.array([[0.25, 0.75], [1.0, 0.0]], pa.large_list(pa.float32())),
        pa.array([[0.25, 0.75], [1.0, 0.0]], pa.list_(pa.float32(), 2)),
        [{"a": 0.25, "b": 0.75}, {"a": 1.0, "b": 0.0}],
        [{"b": 0.75, "a": 0.25}, {"b": 0.0, "a": 1.0}],
    ],
)
@pytest.mark.parametrize("ids", [["7", "8"], [7, 8], pa.array(["7", "8"]).dictionary_encode()])
def test_parquet_from_any_writer(tmp_path: Path, ids, probabilities):
    table = read_soft_labels(_parquet(tmp_path, ids, probabilities), ["a", "b"])
    assert (table.ids, table.labels) == (["7", "8"], ["a", "b"])
    assert table.probabilities.tolist() == [[0.25, 0.75], [1, 0]]


def test_columns_are_returned_in_the_requested_order(tmp_path: Path):
    path = _parquet(tmp_path, ["x"], [[0.25, 0.75]], ["b", "a"])
    assert read_soft_labels(path).labels == ["b", "a"]
    table = read_soft_labels(path, ["a", "b"])
    assert (table.labels, table.probabilities.tolist()) == (["a", "b"], [[0.75, 0.25]])


def test_rounded_probabilities_are_normalized(tmp_path: Path):
    for path in (
        _jsonl(tmp_path, {"id": "x", "probabilities": [0.3333, 0.3333, 0.3333]}),
        _parquet(tmp_path, ["x"], [[0.3333, 0.3333, 0.3333]]),
    ):
        np.testing.assert_allclose(read_soft_labels(path, LABELS).probabilities, 1 / 3, rtol=1e-12)


def _csv(folder: Path, text: str) -> Path:
    path = folder / "theirs.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("header", ["id,p(b),p(a),more", "id,b,a,p"])
def test_csv_with_a_column_for_each_label(tmp_path: Path, header):
    table = read_soft_labels(_csv(tmp_path, f"{header}\n7,0.25,0.75,\nx,1,0,\n"), ["a", "b"])
    assert (table.ids, table.labels) == (["7", "x"], ["a", "b"])
    assert table.probabilities.tolist() == [[0.75, 0.25], [0, 1]]


def test_csv_says_its_labels_itself_only_in_columns_of_probabilities(tmp_path: Path):
    assert read_soft_labels(_csv(tmp_path, "p(b),id,p(a)\n0.5,x,0.5\n")).labels == ["b", "a"]
    with pytest.raises(PetError, match=r"theirs\.csv: .*p\(LABEL\).*--task.*'b'"):
        read_soft_labels(_csv(tmp_path, "id,b,a\nx,0.5,0.5\n"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Id,p(a),p(b)\nx,1,0\n", ["theirs.csv", "'id'", "'Id'"]),
        ("id,p(a)\nx,1\n", ["theirs.csv", "'a', 'b'", "'b'"]),
        ("id,p(a),p(b)\nx,1,0\ny,1,\n", ["theirs.csv:3", "2 numbers"]),
        ("id,p(a),p(b)\nx,1,0\nx,1,0\n", ["theirs.csv:3", "'x'"]),
        ("id,p(a),p(b)\n,1,0\n", ["theirs.csv:2", "`id`"]),
        ("id,p(a),p(b)\nx,0.9,0.2\n", ["theirs.csv:2", "1.1000"]),
        ("id,p(a),p(b)\nx,1\n", ["theirs.csv:2", "2 columns"]),
        ("id,p(a),p(b)\n", ["theirs.csv", "empty"]),
    ],
)
def test_malformed_csv_names_the_line(tmp_path: Path, text, parts):
    with pytest.raises(PetError) as caught:
        read_soft_labels(_csv(tmp_path, text), ["a", "b"])
    (problem,) = caught.value.problems
    assert all(part in problem for part in parts), problem


def test_all_mistakes_are_reported_at_once(tmp_path: Path):
    path = _jsonl(tmp_path, GOOD, {"id": None}, "[]", GOOD, {"id": "x", "probabilities": {"a": 0.9, "b": 0.2}}, "{")
    with pytest.raises(PetError) as caught:
        read_soft_labels(path)
    assert [problem.split(": ")[1].rsplit(":", 1)[1] for problem in caught.value.problems] == ["2", "3", "4", "5", "6"]


GOOD = {"id": "g", "probabilities": {"a": 0.5, "b": 0.5}}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"id": "x", "prob', "JSON"),
        ("[" * 100_000, "nested"),
        ([1, 2], "array"),
        ({"probabilities": {"a": 1, "b": 0}}, "`id`"),
        ({"id": None, "probabilities": {"a": 1, "b": 0}}, "`id`"),
        ({"id": True, "probabilities": {"a": 1, "b": 0}}, "`id`"),
        ({"id": "x"}, "`probabilities`"),
        (GOOD, "'g'"),
        ({"id": "x", "probabilities": {"a": 1}}, "'a', 'b'.*lacks 'b'"),
        ({"id": "x", "probabilities": {"a": 1, "c": 0}}, "lacks 'b' and also has 'c'"),
        ({"id": "x", "probabilities": [1]}, "`probabilities`.*2 numbers"),
        ({"id": "x", "probabilities": "1 0"}, "`probabilities`.*2 numbers"),
        ({"id": "x", "probabilities": {"a": "1", "b": 0}}, "`probabilities`.*2 numbers"),
        ({"id": "x", "probabilities": {"a": True, "b": 0}}, "`probabilities`.*2 numbers"),
        ({"id": "x", "probabilities": {"a": None, "b": 1}}, "`probabilities`.*2 numbers"),
        (
            {"id": "x", "probabilities": {"a": float("nan"), "b": 1}},
            "`probabilities`.*2 numbers",
        ),
        ({"id": "x", "probabilities": {"a": -0.5, "b": 1.5}}, "`probabilities`.*2 numbers"),
        ({"id": "x", "probabilities": {"a": 0.9, "b": 0.2}}, "1.1000"),
        ({"id": "x", "probabilities": {"a": 0, "b": 0}}, "0.0000"),
    ],
)
def test_malformed_jsonl_names_the_line(tmp_path: Path, bad, message):
    with pytest.raises(PetError, match=rf"theirs\.jsonl:2: .*{message}"):
        read_soft_labels(_jsonl(tmp_path, GOOD, bad, {**GOOD, "id": "h"}))


def test_bytes_that_are_not_utf8_name_the_line(tmp_path: Path):
    path = _jsonl(tmp_path, GOOD)
    path.write_bytes(path.read_bytes() + b'{"id": "\xff\xfe"}\n')
    with pytest.raises(PetError, match=r"theirs\.jsonl:2: .*UTF-8"):
        read_soft_labels(path)


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_jsonl_is_refused(tmp_path: Path, text):
    path = tmp_path / "theirs.jsonl"
    path.write_text(text)
    with pytest.raises(PetError, match=r"theirs\.jsonl: .*empty"):
        read_soft_labels(path)


@pytest.mark.parametrize(
    ("ids", "probabilities", "message"),
    [
        (["x", None], [[0.5, 0.5], [0.5, 0.5]], "row 2: `id`"),
        ([1.5, 2.5], [[0.5, 0.5], [0.5, 0.5]], "row 1: `id`"),
        (["x", "x"], [[0.5, 0.5], [0.5, 0.5]], "row 2: .*'x'"),
        (["x", "y"], [[0.5, 0.5], [0.5]], "row 2: `probabilities`.*2 numbers"),
        (["x", "y"], [[0.5, 0.5], None], "row 2: .*`probabilities`.*`label`"),
        (["x", "y"], [[0.5, 0.5], []], "row 2: .*`probabilities`.*`label`"),
        (["x", "y"], [[0.5, 0.5], [None, None]], "row 2: .*`probabilities`.*`label`"),
        (["x", "y"], [[0.5, 0.5], [0.5, None]], "row 2: `probabilities`.*2 numbers"),
        (["x", "y"], [[0.5, 0.5], [float("nan"), 1.0]], "row 2: `probabilities`.*2 numbers"),
        (["x", "y"], [[0.5, 0.5], [-0.5, 1.5]], "row 2: `probabilities`.*2 numbers"),
        (["x", "y"], [["1", "0"], ["0", "1"]], "row 1: `probabilities`.*2 numbers"),
        (["x", "y"], [[True, False], [True, False]], "row 1: `probabilities`.*2 numbers"),
        (["x", "y"], ["1 0", "0 1"], "row 1: `probabilities`.*2 numbers"),
        (["x", "y"], [[0.5, 0.5], [0.9, 0.2]], "row 2: .*1.1000"),
        (["x", "y"], [{"a": 0.5, "b": 0.5}, None], "row 2: .*`probabilities`.*`label`"),
        (["x", "y"], [{"a": 0.5, "c": 0.5}, None], "row 1: .*lacks 'b' and also has 'c'"),
    ],
)
def test_malformed_parquet_names_the_row(tmp_path: Path, ids, probabilities, message):
    with pytest.raises(PetError, match=rf"theirs\.parquet: {message}"):
        read_soft_labels(_parquet(tmp_path, ids, probabilities), ["a", "b"])


def test_parquet_of_another_task_is_refused(tmp_path: Path):
    path = _parquet(tmp_path, ["x"], [[0.5, 0.5]], ["a", "b"])
    with pytest.raises(PetError, match="lacks 'c' and also has 'b'"):
        read_soft_labels(path, ["a", "c"])


def test_parquet_without_labels_columns_or_rows_is_refused(tmp_path: Path):
    with pytest.raises(PetError, match=r"theirs\.parquet: .*--task"):
        read_soft_labels(_parquet(tmp_path, ["x"], [[0.5, 0.5]]))
    with pytest.raises(PetError, match=r"theirs\.parquet: .*empty"):
        read_soft_labels(_parquet(tmp_path, [], []), ["a", "b"])
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"id": ["x"]}), path)
    with pytest.raises(PetError, match=r"other\.parquet: .*probabilities.*'id'"):
        read_soft_labels(path)
    path.write_bytes(b"PAR1 no more than that")
    with pytest.raises(PetError, match=r"other\.parquet: .*Parquet"):
        read_soft_labels(path)


def test_metadata_of_other_programs_is_ignored(tmp_path: Path):
    path = tmp_path / "theirs.parquet"
    table = pa.table({"id": ["x"], "probabilities": [[0.5, 0.5]]})
    for foreign in (b"{not json", b'{"a": 1}', b"[1, 2]"):
        pq.write_table(table.replace_schema_metadata({b"labels": foreign}), path)
        assert read_soft_labels(path, ["a", "b"]).labels == ["a", "b"]


def test_a_folder_of_shards_reads_as_one_file(tmp_path: Path):
    scores = _scores(4)
    _write([tmp_path / "one.parquet"], ["a", "b", "c", "d"], scores)
    folder = tmp_path / "shards"
    folder.mkdir()
    for number, rows in enumerate([slice(0, 3), slice(3, 3), slice(3, 4)]):
        part = {name: values[rows] for name, values in scores.items()}
        _write([folder / f"part-{number}.parquet"], ["a", "b", "c", "d"][rows], part)
    found, expected = read_soft_labels(folder), read_soft_labels(tmp_path / "one.parquet")
    assert (found.ids, found.labels) == (expected.ids, expected.labels)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    _write([folder / "more.parquet"], ["d"], {n: s[:1] for n, s in scores.items()})
    with pytest.raises(PetError, match=r"shards: .*'d'"):
        read_soft_labels(folder)


def test_a_folder_without_rows_is_refused(tmp_path: Path):
    with pytest.raises(PetError, match=r"\*\.parquet"):
        read_soft_labels(tmp_path)
    _write([tmp_path / "a.parquet"], [], {n: s[:0] for n, s in _scores(1).items()})
    with pytest.raises(PetError, match="empty"):
        read_soft_labels(tmp_path)


def test_sheets_databases_and_arrow_files_hold_soft_labels(tmp_path: Path):
    book = pytest.importorskip("openpyxl").Workbook()
    for row in (["id", "p(a)", "p(b)", "label"], [1, 0.25, 0.75, None], ["r2", None, None, "a"]):
        book.active.append(row)
    book.save(tmp_path / "x.xlsx")
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("CREATE TABLE t (id, a, b, label)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", [(1, 0.25, 0.75, None), ("r2", None, None, "a")])
    given = {"id": ["1", "r2"], "probabilities": [[0.25, 0.75], None], "label": [None, "a"]}
    feather.write_feather(pa.table(given), tmp_path / "x.feather")
    for source in (tmp_path / "x.xlsx", f"sqlite:{tmp_path}/x.db", tmp_path / "x.feather"):
        found = read_soft_labels(source, ["a", "b"])
        assert (found.ids, found.probabilities.tolist(), found.certain) == (["1", "r2"], [[0.25, 0.75], [1, 0]], 1)
        ids, scores = read_external(source, ["a", "b"], "m")
        assert ids == ["1", "r2"] and scores[0].argmax() == 1 and scores[1].argmax() == 0
