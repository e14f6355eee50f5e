"""Soft labels as a table, and as files."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pet.ensemble import soft_labels
from pet.ensemble.combine import merge_scores
from pet.ensemble.soft_label_files import read_soft_labels
from pet.ensemble.soft_labels import make_soft_labels, write_soft_labels, writing_soft_labels
from pet.errors import PetError
from pet.numerics import softmax

LABELS = ["no", 'yes, ünd "more"', "3"]
MEMBERS = ["p0-r0", "p1-r0"]
WEIGHTS = np.array([0.75, 0.25])


def _scores(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=(rows, 3)).astype(np.float32) for name in MEMBERS}


# --- by hand -----------------------------------------------------------------------------------------


def test_merging_votes_confidence_entropy_and_agreement_by_hand():
    first, second = np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([[-1.0, 1.0], [4.0, 0.0]])
    soft = make_soft_labels([first, second], WEIGHTS)
    np.testing.assert_allclose(soft.probabilities, [[0.731059, 0.268941], [0.562177, 0.437823]], atol=5e-7)
    assert soft.votes.tolist() == [[0, 1], [1, 0]]
    assert soft.label.tolist() == [0, 0]
    np.testing.assert_allclose(soft.confidence, [0.731059, 0.562177], atol=5e-7)
    np.testing.assert_allclose(soft.agreement, [0.5, 0.5])
    p, q = soft.probabilities[0]
    assert soft.entropy[0] == pytest.approx(-(p * math.log(p) + q * math.log(q)))


def test_entropy_of_certainty_and_of_ignorance():
    soft = make_soft_labels([np.array([[5000.0, 0.0], [1.0, 1.0]])], np.ones(1))
    np.testing.assert_allclose(soft.entropy, [0, math.log(2)])
    assert soft.agreement.tolist() == [1, 1]


# --- ours --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_round_trip(tmp_path: Path, monkeypatch, rows):
    monkeypatch.setattr(soft_labels, "MERGE_ROWS", 3)
    ids = [f"id-{i}" for i in range(rows)]
    scores = _scores(rows)
    paths = [tmp_path / "labels.parquet", tmp_path / "labels.jsonl"]
    write_soft_labels(paths, ids, scores, WEIGHTS, LABELS)
    expected = softmax(merge_scores(list(scores.values()), WEIGHTS))
    for path in paths:
        if not rows:
            with pytest.raises(PetError, match="empty"):
                read_soft_labels(path)
            continue
        table = read_soft_labels(path)
        assert table.ids == ids
        assert table.labels == LABELS
        np.testing.assert_allclose(table.probabilities, expected, rtol=1e-15)
    assert not list(tmp_path.glob(".tmp-*"))


def test_both_files_say_the_same_and_all_of_it(tmp_path: Path):
    scores = _scores(5)
    write_soft_labels([tmp_path / "l.parquet", tmp_path / "l.jsonl"], list("abcde"), scores, WEIGHTS, LABELS)
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
    votes = np.stack([s.argmax(axis=1) for s in scores.values()], axis=1)
    assert [list(line["votes"].values()) for line in lines] == [[LABELS[v] for v in row] for row in votes]


def test_nothing_is_left_where_writing_fails(tmp_path: Path):
    for name in ("a.jsonl", "a.parquet"):
        with pytest.raises(RuntimeError), writing_soft_labels(tmp_path / name, LABELS, MEMBERS) as append:
            append(["x"], make_soft_labels(list(_scores(1).values()), WEIGHTS))
            raise RuntimeError
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setattr("pet.store.files.TEMPORARY", ".full-")
    (tmp_path / f".full-{os.getpid()}-{name}").symlink_to("/dev/full")
    with (
        pytest.raises(PetError, match=rf"cannot write .*{name}: the disk is full"),
        writing_soft_labels(tmp_path / name, LABELS, MEMBERS) as append,
    ):
        append(["x"], make_soft_labels(list(_scores(1).values()), WEIGHTS))
    assert not list(tmp_path.iterdir())


def test_other_endings_are_refused(tmp_path: Path):
    with pytest.raises(PetError, match=r"written as .parquet or .jsonl"):
        writing_soft_labels(tmp_path / "labels.txt", LABELS, MEMBERS).__enter__()
    (tmp_path / "labels.csv").write_text("id,probabilities\n")
    with pytest.raises(PetError, match=r"read from .parquet or .jsonl"):
        read_soft_labels(tmp_path / "labels.csv")
    with pytest.raises(PetError, match="no such file"):
        read_soft_labels(tmp_path / "missing.jsonl")


# --- other people's ----------------------------------------------------------------------------------


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


def test_jsonl_with_lists_and_a_byte_order_mark(tmp_path: Path):
    path = _jsonl(tmp_path, {"id": "x", "probabilities": [0.25, 0.75]})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_soft_labels(path, ["a", "b"]).probabilities.tolist() == [[0.25, 0.75]]
    with pytest.raises(PetError, match=r"line 1: .*--task"):
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
def test_parquet_of_any_make(tmp_path: Path, ids, probabilities):
    table = read_soft_labels(_parquet(tmp_path, ids, probabilities), ["a", "b"])
    assert (table.ids, table.labels) == (["7", "8"], ["a", "b"])
    assert table.probabilities.tolist() == [[0.25, 0.75], [1, 0]]


def test_columns_come_in_the_order_that_is_asked_for(tmp_path: Path):
    path = _parquet(tmp_path, ["x"], [[0.25, 0.75]], ["b", "a"])
    assert read_soft_labels(path).labels == ["b", "a"]
    table = read_soft_labels(path, ["a", "b"])
    assert (table.labels, table.probabilities.tolist()) == (["a", "b"], [[0.75, 0.25]])


def test_small_rounding_is_evened_out(tmp_path: Path):
    for path in (
        _jsonl(tmp_path, {"id": "x", "probabilities": [0.3333, 0.3333, 0.3333]}),
        _parquet(tmp_path, ["x"], [[0.3333, 0.3333, 0.3333]]),
    ):
        np.testing.assert_allclose(read_soft_labels(path, LABELS).probabilities, 1 / 3, rtol=1e-12)


GOOD = {"id": "g", "probabilities": {"a": 0.5, "b": 0.5}}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"id": "x", "prob', "line 2: this is no JSON"),
        ("[" * 100_000, "line 2: this is no JSON"),
        ([1, 2], "line 2: each line needs an `id`"),
        ({"probabilities": {"a": 1, "b": 0}}, "line 2: each line needs an `id`"),
        ({"id": None, "probabilities": {"a": 1, "b": 0}}, "line 2: each line needs an `id`"),
        ({"id": True, "probabilities": {"a": 1, "b": 0}}, "line 2: each line needs an `id`"),
        ({"id": "x"}, "line 2: each line needs an `id`"),
        (GOOD, "line 2: the id 'g' stands in the file twice"),
        ({"id": "x", "probabilities": {"a": 1}}, r"line 2: the labels differ from a, b \('b'\)"),
        ({"id": "x", "probabilities": {"a": 1, "c": 0}}, r"line 2: the labels differ from a, b \('b', 'c'\)"),
        ({"id": "x", "probabilities": [1]}, "line 2: `probabilities` must be 2 numbers from 0 to 1"),
        ({"id": "x", "probabilities": "1 0"}, "line 2: `probabilities` must be 2 numbers"),
        ({"id": "x", "probabilities": {"a": "1", "b": 0}}, "line 2: `probabilities` must be 2 numbers"),
        ({"id": "x", "probabilities": {"a": True, "b": 0}}, "line 2: `probabilities` must be 2 numbers"),
        ({"id": "x", "probabilities": {"a": None, "b": 1}}, "line 2: `probabilities` must be 2 numbers"),
        (
            {"id": "x", "probabilities": {"a": float("nan"), "b": 1}},
            "line 2: `probabilities` must be 2 numbers",
        ),
        ({"id": "x", "probabilities": {"a": -0.5, "b": 1.5}}, "line 2: `probabilities` must be 2 numbers"),
        ({"id": "x", "probabilities": {"a": 0.9, "b": 0.2}}, "line 2: the probabilities add up to 1.1000"),
        ({"id": "x", "probabilities": {"a": 0, "b": 0}}, "line 2: the probabilities add up to 0.0000"),
    ],
)
def test_malformed_jsonl_names_the_line(tmp_path: Path, bad, message):
    with pytest.raises(PetError, match=rf"theirs\.jsonl: {message}"):
        read_soft_labels(_jsonl(tmp_path, GOOD, bad, {**GOOD, "id": "h"}))


def test_bytes_that_are_no_text_name_the_line(tmp_path: Path):
    path = _jsonl(tmp_path, GOOD)
    path.write_bytes(path.read_bytes() + b'{"id": "\xff\xfe"}\n')
    with pytest.raises(PetError, match="line 2: this is no JSON"):
        read_soft_labels(path)


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_jsonl_is_refused(tmp_path: Path, text):
    path = tmp_path / "theirs.jsonl"
    path.write_text(text)
    with pytest.raises(PetError, match="the file is empty"):
        read_soft_labels(path)


@pytest.mark.parametrize(
    ("ids", "probabilities", "message"),
    [
        (["x", None], [[0.5, 0.5], [0.5, 0.5]], "row 2: each row needs an `id`"),
        ([1.5, 2.5], [[0.5, 0.5], [0.5, 0.5]], "row 1: each row needs an `id`"),
        (["x", "x"], [[0.5, 0.5], [0.5, 0.5]], "row 2: the id 'x' stands in the file twice"),
        (["x", "y"], [[0.5, 0.5], [0.5]], "row 2: `probabilities` must be 2 numbers"),
        (["x", "y"], [[0.5, 0.5], None], "row 2: `probabilities` must be 2 numbers"),
        (["x", "y"], [[0.5, 0.5], [0.5, None]], "row 2: `probabilities` must be 2 numbers"),
        (["x", "y"], [[0.5, 0.5], [float("nan"), 1.0]], "row 2: `probabilities` must be 2 numbers"),
        (["x", "y"], [[0.5, 0.5], [-0.5, 1.5]], "row 2: `probabilities` must be 2 numbers"),
        (["x", "y"], [["1", "0"], ["0", "1"]], "row 1: `probabilities` must be 2 numbers"),
        (["x", "y"], [[True, False], [True, False]], "row 1: `probabilities` must be 2 numbers"),
        (["x", "y"], ["1 0", "0 1"], "row 1: `probabilities` must be 2 numbers"),
        (["x", "y"], [[0.5, 0.5], [0.9, 0.2]], "row 2: the probabilities add up to 1.1000"),
        (["x", "y"], [{"a": 0.5, "b": 0.5}, None], "row 2: `probabilities` must be 2 numbers"),
        (["x", "y"], [{"a": 0.5, "c": 0.5}, None], r"row 1: the labels differ from a, b \('b', 'c'\)"),
    ],
)
def test_malformed_parquet_names_the_row(tmp_path: Path, ids, probabilities, message):
    with pytest.raises(PetError, match=rf"theirs\.parquet: {message}"):
        read_soft_labels(_parquet(tmp_path, ids, probabilities), ["a", "b"])


def test_parquet_of_another_task_is_refused(tmp_path: Path):
    path = _parquet(tmp_path, ["x"], [[0.5, 0.5]], ["a", "b"])
    with pytest.raises(PetError, match=r"labels differ from a, c \('b', 'c'\)"):
        read_soft_labels(path, ["a", "c"])


def test_parquet_without_labels_columns_rows_or_sense(tmp_path: Path):
    with pytest.raises(PetError, match="does not say which labels"):
        read_soft_labels(_parquet(tmp_path, ["x"], [[0.5, 0.5]]))
    with pytest.raises(PetError, match="the file is empty"):
        read_soft_labels(_parquet(tmp_path, [], []), ["a", "b"])
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"id": ["x"]}), path)
    with pytest.raises(PetError, match=r"no column probabilities; there are \['id'\]"):
        read_soft_labels(path)
    path.write_bytes(b"PAR1 no more than that")
    with pytest.raises(PetError, match="this is no Parquet file"):
        read_soft_labels(path)


def test_metadata_of_other_programs_is_not_taken_for_labels(tmp_path: Path):
    path = tmp_path / "theirs.parquet"
    table = pa.table({"id": ["x"], "probabilities": [[0.5, 0.5]]})
    for foreign in (b"{not json", b'{"a": 1}', b"[1, 2]"):
        pq.write_table(table.replace_schema_metadata({b"labels": foreign}), path)
        assert read_soft_labels(path, ["a", "b"]).labels == ["a", "b"]


def test_a_folder_of_shards(tmp_path: Path):
    scores = _scores(4)
    write_soft_labels([tmp_path / "one.parquet"], ["a", "b", "c", "d"], scores, WEIGHTS, LABELS)
    folder = tmp_path / "shards"
    folder.mkdir()
    for number, rows in enumerate([slice(0, 3), slice(3, 3), slice(3, 4)]):
        part = {name: values[rows] for name, values in scores.items()}
        write_soft_labels([folder / f"part-{number}.parquet"], ["a", "b", "c", "d"][rows], part, WEIGHTS, LABELS)
    found, expected = read_soft_labels(folder), read_soft_labels(tmp_path / "one.parquet")
    assert (found.ids, found.labels) == (expected.ids, expected.labels)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    write_soft_labels([folder / "more.parquet"], ["d"], {n: s[:1] for n, s in scores.items()}, WEIGHTS, LABELS)
    with pytest.raises(PetError, match="the id 'd' stands in the file twice"):
        read_soft_labels(folder)


def test_a_folder_without_labels(tmp_path: Path):
    with pytest.raises(PetError, match=r"is a folder without \*\.parquet files"):
        read_soft_labels(tmp_path)
    write_soft_labels([tmp_path / "a.parquet"], [], {n: s[:0] for n, s in _scores(1).items()}, WEIGHTS, LABELS)
    with pytest.raises(PetError, match="its files are empty"):
        read_soft_labels(tmp_path)
