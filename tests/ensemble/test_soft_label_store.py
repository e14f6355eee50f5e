"""Soft labels of many texts are read, matched and drawn some at a time, with the same result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pet.data import ids as ids_module
from pet.data.ids import match_columns, match_ids
from pet.data.read import read_table
from pet.ensemble import soft_label_files, soft_label_parquet
from pet.ensemble.soft_label_files import open_soft_labels, read_soft_labels
from pet.errors import PetError
from pet.inference import distill_match
from pet.inference.distill_match import match_texts
from pet.training import batching
from pet.training.batching import draw_some

ROWS = 50
LABELS = ["bad", "good"]


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven rows at a time; anything is large."""
    for module in (soft_label_files, soft_label_parquet):
        monkeypatch.setattr(module, "PART_ROWS", 7)
    for module in (batching, distill_match):
        monkeypatch.setattr(module, "SHUFFLED", 10)
    monkeypatch.setattr(distill_match, "_ROWS", 7)
    monkeypatch.setattr(ids_module, "MATCHED", 7)
    monkeypatch.setattr(ids_module, "_HASHED", 3)
    monkeypatch.setattr("pet.data.spill.IN_MEMORY", 64)


def write(folder: Path, ids: list[str], probabilities: np.ndarray) -> dict[str, str]:
    """Write the same soft labels in several formats; return the names of the files."""
    rows = list(zip(ids, probabilities, strict=True))
    (folder / "labels.csv").write_text("id,p(bad),p(good)\n" + "".join(f"{i},{p[0]},{p[1]}\n" for i, p in rows))
    lists = pa.array(probabilities.tolist(), pa.list_(pa.float64()))
    table = pa.table({"id": ids, "probabilities": lists}).replace_schema_metadata({"labels": '["bad", "good"]'})
    pq.write_table(table, folder / "labels.parquet", row_group_size=9)
    (folder / "shards").mkdir()
    for number, start in enumerate(range(0, len(ids), 20)):
        pq.write_table(table.slice(start, 20), folder / "shards" / f"{number}.parquet")
    return {name: str(folder / name) for name in ("labels.csv", "labels.parquet", "shards")}


def soft(rows: int = ROWS) -> np.ndarray:
    first = np.random.default_rng(0).random(rows)
    return np.stack([first, 1 - first], axis=1)


def test_labels_in_parts_are_those_of_the_file(tmp_path: Path, in_parts: None) -> None:
    ids, p = [f"n{i}" for i in range(ROWS)], soft()
    for path in write(tmp_path, ids, p).values():
        store, table = open_soft_labels(path), read_soft_labels(path, LABELS[::-1])
        assert store.ids.to_pylist() == ids == table.ids
        np.testing.assert_allclose(np.concatenate(list(store.parts())), p, rtol=1e-15)
        np.testing.assert_allclose(table.probabilities, p[:, ::-1], rtol=1e-15)
        rows = np.array([49, 0, 7, 6, 30])
        np.testing.assert_allclose(store.probabilities(rows), p[rows], rtol=1e-15)


def test_mistakes_in_later_parts_are_named_with_their_row(tmp_path: Path, in_parts: None) -> None:
    ids, p = [f"n{i}" for i in range(ROWS)], soft()
    p[30] = 0.9, 0.9
    files = write(tmp_path, ids, p)
    with pytest.raises(PetError, match=r"labels\.parquet: row 31: .*add up to 1\.8"):
        open_soft_labels(files["labels.parquet"])
    with pytest.raises(PetError, match=r"labels\.csv:32: .*add up to 1\.8"):
        open_soft_labels(files["labels.csv"])


def test_an_id_in_two_parts_is_refused(tmp_path: Path, in_parts: None) -> None:
    ids = [f"n{i}" for i in range(ROWS - 1)] + ["n3"]
    for path in write(tmp_path, ids, soft()).values():
        with pytest.raises(PetError, match=r"'n3' appears more than once"):
            open_soft_labels(path)


def test_columns_are_matched_like_arrays(in_parts: None) -> None:
    ids = [*(str(i) for i in range(40)), "é", "x", "5.0"]
    known = [*(f"{i}.0" for i in range(30, 4, -1)), "e\u0301", "5", "39"]
    at = match_columns(pa.chunked_array([ids[:11], ids[11:]]), pa.chunked_array([known]), "labels")
    assert at.tolist() == [-1 if i is None else i for i in match_ids(pa.array(ids), pa.array(known)).to_pylist()]


@pytest.mark.parametrize("hard", [False, True])
def test_texts_and_labels_are_matched_in_any_order(tmp_path: Path, in_parts: None, hard: bool) -> None:
    p = soft()
    path = write(tmp_path, [f"n{i}" for i in range(ROWS)], p)["shards"]
    order = [*range(ROWS - 1, -1, -1), 77]
    (tmp_path / "texts.csv").write_text("id,text\n" + "".join(f"n{i},text {i}\n" for i in order))
    table = read_table(tmp_path / "texts.csv", ["text"])
    texts, targets, counts = match_texts(path, open_soft_labels(path), table, 0.8, hard=hard)
    sure = [i for i in order[:-1] if p[i].max() >= 0.8]
    assert counts == {"texts": len(sure), "left_out": ROWS - len(sure), "unlabeled": 1}
    rows = np.array([3, 1])
    assert texts.select(rows)["text"][:] == [f"text {sure[3]}", f"text {sure[1]}"]
    expected = p[sure]
    np.testing.assert_allclose(targets[rows], np.round(expected)[rows] if hard else expected[rows], rtol=1e-15)
    np.testing.assert_allclose(targets[:], np.round(expected) if hard else expected, rtol=1e-15)


def test_labels_without_texts_are_refused(tmp_path: Path, in_parts: None) -> None:
    path = write(tmp_path, [f"n{i}" for i in range(ROWS)], soft())["shards"]
    (tmp_path / "texts.csv").write_text("id,text\n" + "".join(f"n{i},text {i}\n" for i in range(40)))
    with pytest.raises(PetError, match=r"10 of its 50 ids .*'n40'.*'n44', … \(10 in all\)"):
        match_texts(path, open_soft_labels(path), read_table(tmp_path / "texts.csv", ["text"]), 0.0)


def test_a_few_of_many_rows_are_drawn_without_a_shuffle() -> None:
    generator = np.random.default_rng(0)
    assert sorted(draw_some(5, 5, generator).tolist()) == [0, 1, 2, 3, 4]
    many = draw_some(10**15, 100, generator)
    assert len(set(many.tolist())) == 100 and many.max() > 10**14
