"""Scores from outside: what files may look like, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from pet.errors import PetError
from pet.members.external import FLOOR, VOTE, ExternalMember, log_probabilities, parse, read_external
from pet.members.seam import MemberData
from pet.members.spec import MemberSpec
from pet.members.texts import Texts

LABELS = ("no", "yes")
EXPECTED = np.log([[0.75, 0.25], [0.1, 0.9]]).astype(np.float32)
FILES = {
    "mapping.jsonl": '{"id": "a", "probabilities": {"yes": 0.25, "no": 0.75}}\n'
    '{"id": "b", "probabilities": {"no": 0.1, "yes": 0.9}}\n',
    "list.jsonl": '{"id": "a", "probabilities": [0.75, 0.25]}\n{"id": "b", "probabilities": [0.1, 0.9]}\n',
    "columns.csv": "yes,id,no\n0.25,a,0.75\n0.9,b,0.1\n",
    "named.tsv": "id\tp(no)\tp(yes)\na\t0.75\t0.25\nb\t0.1\t0.9\n",
    "logs.jsonl": f'{{"id": "a", "no": {np.log(0.75)}, "yes": {np.log(0.25)}}}\n'
    f'{{"id": "b", "no": {np.log(0.1) - 5}, "yes": {np.log(0.9) - 5}}}\n',
}


@pytest.mark.parametrize("name", FILES)
def test_every_file_format_gives_the_same_scores(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    ids, scores = read_external(tmp_path / name, LABELS, "teacher")
    assert ids == ["a", "b"]
    np.testing.assert_allclose(scores, EXPECTED, rtol=1e-5)


def test_parquet_gives_the_same_scores(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a", "b"], "no": [0.75, 0.1], "yes": [0.25, 0.9]}), tmp_path / "t.parquet")
    np.testing.assert_allclose(read_external(tmp_path / "t.parquet", LABELS, "t")[1], EXPECTED, rtol=1e-5)


def test_a_vote_becomes_a_probability_below_one(tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text("id,probabilities,label\na,,yes\nb,,\nc,,no\n")
    ids, scores = read_external(tmp_path / "votes.csv", LABELS, "votes")
    assert ids == ["a", "c"]  # an empty vote abstains
    np.testing.assert_allclose(np.exp(scores), [[1 - VOTE, VOTE], [VOTE, 1 - VOTE]], rtol=1e-5)


def test_no_probability_is_below_the_floor() -> None:
    chances = np.exp(log_probabilities([1.0, 0.0]))
    np.testing.assert_allclose(chances, [1 / (1 + FLOOR), FLOOR / (1 + FLOOR)], rtol=1e-5)


@given(st.lists(st.floats(-50, -0.01), min_size=2, max_size=6))
def test_log_probabilities_are_normalized_and_keep_their_order(values: list[float]) -> None:
    chances = np.exp(log_probabilities(values))
    assert chances.sum() == pytest.approx(1, abs=1e-5)
    assert (np.diff(chances[np.argsort(values)]) >= -1e-6).all()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("id,no,yes\na,0.5,0.9\n", (":2", "0.5, 0.9", "log-probabilities")),
        ("id,no,yes\na,0.5,\n", (":2", "every label")),
        ("id,no,yes\na,0.5,0.5\na,0.1,0.9\n", (":3", "'a'", "unique")),
        ("id,no,yes\n,0.5,0.5\n", (":2", "no id")),
        ("id,label\na,yess\n", (":2", "'yess'", "yes")),
        ("id,no,yes\na,x,0.5\n", (":2", "not numbers")),
        ("id,score\na,1\n", ("`id`", "'no', 'yes'", "'id', 'score'")),
        ("no,yes\n0.5,0.5\n", ("`id`",)),
        ("id,no,yes\na,,\n", ("scores.csv: no row",)),
    ],
)
def test_a_mistake_names_line_thing_and_cure(tmp_path: Path, text: str, named: tuple[str, ...]) -> None:
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(PetError) as caught:
        read_external(tmp_path / "scores.csv", LABELS, "teacher")
    assert all(part in str(caught.value) for part in ("teacher", "scores.csv", *named)), str(caught.value)


def test_all_wrong_lines_are_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("id,label\na,maybe\nb,yes\nc,perhaps\n")
    with pytest.raises(PetError) as caught:
        read_external(tmp_path / "scores.csv", LABELS, "teacher")
    assert len(caught.value.problems) == 2


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PetError, match=r"nowhere\.csv"):
        parse(str(tmp_path / "nowhere.csv"))


def test_a_fitted_member_needs_no_file_and_abstains_on_texts_without_scores(tmp_path: Path) -> None:
    file = tmp_path / "scores.csv"
    file.write_text(FILES["columns.csv"])
    (tmp_path / "member").mkdir()
    member = ExternalMember(parse(str(file)), LABELS, ("text",))
    member.fit(MemberData([], np.zeros(0, dtype=np.int64), None), tmp_path / "member")
    file.unlink()
    again = ExternalMember(member.spec, LABELS, ("text",), tmp_path / "member")
    texts = Texts(Dataset.from_dict({"id": ["b", "zzz", "a"], "text": ["", "", ""]}))
    out = np.zeros((3, 2), dtype=np.float32)
    again.scores(texts, out)
    np.testing.assert_allclose(out[[0, 2]], EXPECTED[[1, 0]], rtol=1e-5)
    assert np.isnan(out[1]).all()


@pytest.mark.parametrize("change", ["garbage", "a label less", "texts as scores"])
def test_a_damaged_copy_of_the_scores_is_named(tmp_path: Path, change: str) -> None:
    kept = tmp_path / "scores.parquet"
    columns = {"id": ["a"], "text": pa.array([1], pa.uint64()), "score_0": [-0.1]}
    if change == "garbage":
        kept.write_bytes(b"garbage")
    else:
        pq.write_table(pa.table(columns if change == "a label less" else columns | {"score_1": ["much"]}), kept)
    spec = MemberSpec("external", "votes", {"file": "votes.csv"})
    with pytest.raises(PetError, match=re.escape(str(kept))):
        ExternalMember(spec, LABELS, ("text",), tmp_path).load()


def test_labels_columns_and_ids_are_found_in_any_spelling(tmp_path: Path) -> None:
    labels = ("\u00e9", "1")
    files = {
        "a.csv": "id,p(e\u0301),p(1)\n7.0,0.75,0.25\n",
        "b.jsonl": '{"id": 7.0, "probabilities": {"e\u0301": 0.75, "1.0": 0.25}}\n',
        "c.csv": "id,label\n7.0,e\u0301\n",
        "d.csv": "id,label\n7.0,1.0\n",
    }
    pool = Texts(Dataset.from_dict({"id": ["7", "8"], "text": ["x", "y"]}))
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        member = ExternalMember(parse(str(tmp_path / name)), labels, ("text",))
        folder = tmp_path / f"of {name}"
        folder.mkdir()
        member.fit(MemberData([], np.zeros(0, dtype=np.int64), pool), folder)
        scores = np.zeros((2, 2), dtype=np.float32)
        member.scores(pool, scores)
        assert scores[0].argmax() == (name == "d.csv")
        assert np.isnan(scores[1]).all()


def test_a_label_may_have_the_name_of_the_id_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,p(id),p(name)\n0.9,0.2,0.8\n")
    ids, scores = read_external(tmp_path / "a.csv", ("id", "name"), "teacher")
    assert ids == ["0.9"] and scores[0].argmax() == 1
    (tmp_path / "b.csv").write_text("id,name\n0.9,0.1\n")
    with pytest.raises(PetError, match="requires a column `id` and either"):
        read_external(tmp_path / "b.csv", ("id", "name"), "teacher")


@pytest.mark.parametrize("vote", ["[1]", "{}", '"E\u0301"'])
def test_a_vote_that_is_no_label_is_refused(tmp_path: Path, vote: str) -> None:
    (tmp_path / "votes.jsonl").write_text('{"id": 1, "label": ' + vote + "}\n", encoding="utf-8")
    with pytest.raises(PetError, match=r"votes\.jsonl:1: label"):
        read_external(tmp_path / "votes.jsonl", ("\u00e9", "1"), "votes")
