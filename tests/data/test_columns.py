"""Columns that options name are found in any spelling, and a column that appears twice is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pet.data.documents import read_documents
from pet.data.draw import DrawOptions, draw_file
from pet.data.infer_columns import infer_columns
from pet.data.kept import choose_columns
from pet.data.read import read_table
from pet.data.table_format import TableNotice
from pet.data.table_options import TableOptions
from pet.ensemble.soft_label_files import read_soft_labels
from pet.errors import PetError
from pet.task.task import Task

COMPOSED, DECOMPOSED = "\u00e9toiles", "e\u0301toiles"
TASK = Task.from_dict(
    {
        "task": "reviews",
        "fields": ["text"],
        "labels": ["bad", "good"],
        "verbalizer": {"bad": "bad", "good": "good"},
        "patterns": ["{text} {mask}"],
    }
)


def test_a_file_may_lack_columns_that_only_the_task_file_names(tmp_path: Path) -> None:
    task = Task.from_dict(TASK.to_dict() | {"columns": {"text": "body", "label": "class", "id": "no"}})
    how = {"labels": task.labels, "columns": task.columns}
    mapped = read_table({"no": ["a", "b"], "body": ["x", "y"], "class": ["bad", "good"]}, task.fields, **how)
    assert (mapped["id"], mapped["text"], mapped["label"]) == (["a", "b"], ["x", "y"], [0, 1])
    plain = read_table({"text": ["x"], "label": ["good"]}, task.fields, **how)
    assert (plain["id"], plain["text"], plain["label"]) == (["0"], ["x"], [1])
    with pytest.raises(PetError, match="body"):
        read_table({"other": ["x"], "label": ["good"]}, task.fields, **how)
    with pytest.raises(PetError, match="body"):  # named with --column
        read_table({"text": ["x"]}, task.fields, columns={**task.columns, "text": "body"})


def test_a_drawn_file_hides_the_label_column_of_the_task_file(tmp_path: Path) -> None:
    source, rest = tmp_path / "all.csv", tmp_path / "rest.csv"
    source.write_text("text,class\na,bad\nb,good\nc,bad\nd,good\n")
    task = Task.from_dict(TASK.to_dict() | {"columns": {"label": "class"}})
    draw_file(task, str(source), tmp_path / "few.csv", DrawOptions(examples=2), rest=rest)
    assert rest.read_text().splitlines()[0] == "text"


def test_kept_columns_are_found_decomposed_and_refused_twice() -> None:
    assert choose_columns([COMPOSED], ["id", DECOMPOSED], "x.csv") == (DECOMPOSED,)
    with pytest.raises(PetError, match=r"--keep n: x\.csv has the column 'n' twice"):
        choose_columns(["n"], ["n", "text", "n"], "x.csv")
    with pytest.raises(PetError, match="COMBINING ACUTE ACCENT"):
        choose_columns([COMPOSED], [COMPOSED, DECOMPOSED], "x.csv")


def test_labels_do_not_reach_the_pool_under_another_spelling(tmp_path: Path) -> None:
    rows = "".join(f"text {i},{'bad' if i % 2 else 'good'}\n" for i in range(4))
    (tmp_path / "x.csv").write_text(f"text,{DECOMPOSED}\n{rows}", encoding="utf-8")
    draw_file(
        TASK,
        str(tmp_path / "x.csv"),
        tmp_path / "train.csv",
        DrawOptions(shots=1),
        rest=tmp_path / "pool.csv",
        table=TableOptions(columns={"label": COMPOSED}),
    )
    assert (tmp_path / "train.csv").read_text(encoding="utf-8").splitlines()[0] == f"text,{DECOMPOSED}"
    assert (tmp_path / "pool.csv").read_text(encoding="utf-8").splitlines()[0] == "text"


def test_a_new_task_has_each_label_once(tmp_path: Path) -> None:
    labels = ["1", "1.0", "0", "0.0", "1", "0"]
    rows = "".join(f"some words of a text number {i},{label}\n" for i, label in enumerate(labels))
    (tmp_path / "x.csv").write_text(f"text,{DECOMPOSED}\n{rows}", encoding="utf-8")
    found = infer_columns(str(tmp_path / "x.csv"), label=COMPOSED)
    assert found.label == DECOMPOSED
    assert found.labels == ("0", "1") and found.counts == (3, 3)


def test_a_key_twice_inside_probabilities_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": "a", "probabilities": {"bad": 0.4, "good": 0.6, "bad": 0.4}}\n')
    with pytest.raises(PetError, match=r"x\.jsonl:1: has the key 'bad' twice"):
        read_soft_labels(tmp_path / "x.jsonl")


def test_documents_have_each_field_once(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(f'{{"{DECOMPOSED}": "a", "m": {{"m": 1, "{DECOMPOSED}": 2}}}}\n', encoding="utf-8")
    assert list(read_documents([str(path)], fields=[COMPOSED])) == ["a"]
    path.write_text('{"text": "a", "text": "b"}\n', encoding="utf-8")
    with pytest.raises(PetError, match=r"x\.jsonl, line 1: .*'text' appears twice"):
        list(read_documents([str(path)], fields=["text"]))


@pytest.mark.parametrize("key", ["fields", "labels", "word"])
def test_a_task_has_no_names_that_only_look_different(key: str) -> None:
    changes = {
        "fields": {"fields": [COMPOSED, DECOMPOSED]},
        "labels": {
            "labels": [COMPOSED, DECOMPOSED],
            "verbalizer": {COMPOSED: "bad", DECOMPOSED: "good"},
        },
        "word": {"verbalizer": {"bad": COMPOSED, "good": DECOMPOSED}},
    }
    with pytest.raises(PetError) as caught:
        Task.from_dict({**TASK.to_dict(), **changes[key]})
    message = str(caught.value)
    assert "also a word of label 'bad'" in message or "COMBINING ACUTE ACCENT" in message


def test_a_task_finds_its_own_names_in_any_spelling(tmp_path: Path) -> None:
    task = Task.from_dict(
        {
            "task": "reviews",
            "fields": [DECOMPOSED],
            "labels": [COMPOSED, "1"],
            "verbalizer": {DECOMPOSED: "bad", "1.0": "good"},
            "label_map": {"x": DECOMPOSED, "y": "1.0"},
            "patterns": [f"{{{COMPOSED}}} {{mask}}", f"{{mask}}: {{{DECOMPOSED}}}"],
        }
    )
    assert task.fields == (COMPOSED,) and task.labels == (COMPOSED, "1")
    assert task.label_map == {"x": COMPOSED, "y": "1"}
    assert list(task.patterns[0].verbalizer.words) == [COMPOSED, "1"]
    assert Task.from_dict(task.to_dict()) == task
    (tmp_path / "x.csv").write_text(f"{DECOMPOSED},label\na,x\nb,1.0\n", encoding="utf-8")
    with pytest.warns(TableNotice, match="accents are decomposed"):
        table = read_table(tmp_path / "x.csv", task.fields, labels=task.labels, label_map=task.label_map)
    assert table.to_list() == [{"id": "0", COMPOSED: "a", "label": 0}, {"id": "1", COMPOSED: "b", "label": 1}]


@pytest.mark.parametrize(
    ("label_map", "named"),
    [
        ({"1.0": "bad", "1": "good"}, "'1' and '1.0' mean the same"),
        ({"Bad": "good", "bad": "good"}, "'bad' is itself a label"),
        ({"x": "Good"}, "did you mean 'good'"),
    ],
)
def test_a_label_map_does_not_contradict_itself(label_map: dict[str, str], named: str) -> None:
    with pytest.raises(PetError) as caught:
        Task.from_dict({**TASK.to_dict(), "label_map": label_map})
    assert named in str(caught.value)


def test_soft_labels_name_their_labels_in_any_spelling(tmp_path: Path) -> None:
    labels = [COMPOSED, "1"]
    rows = {"id": ["a"], "probabilities": [{"1.0": 0.75, DECOMPOSED: 0.25}]}
    pq.write_table(pa.table(rows), tmp_path / "struct.parquet")
    ordered = pa.table({"id": ["a"], "probabilities": [[0.75, 0.25]]})
    stored = json.dumps(["1.0", DECOMPOSED]).encode()
    pq.write_table(ordered.replace_schema_metadata({b"labels": stored}), tmp_path / "list.parquet")
    (tmp_path / "x.jsonl").write_text(
        f'{{"id": "a", "probabilities": {{"1.0": 0.75, "{DECOMPOSED}": 0.25}}}}\n', encoding="utf-8"
    )
    (tmp_path / "x.csv").write_text(f"id,p(1.0),p({DECOMPOSED})\na,0.75,0.25\n", encoding="utf-8")
    (tmp_path / "bare.csv").write_text(f"id,1,{DECOMPOSED}\na,0.75,0.25\n", encoding="utf-8")
    for name in ("list.parquet", "x.jsonl", "x.csv", "bare.csv"):
        found = read_soft_labels(tmp_path / name, labels)
        assert found.labels == labels and found.probabilities.tolist() == [[0.25, 0.75]], name
    found = read_soft_labels(tmp_path / "struct.parquet", labels)
    assert found.probabilities.tolist() == [[0.25, 0.75]]


def test_the_id_column_is_never_a_probability(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,name\n0.4,0.6\n")
    with pytest.raises(PetError, match=r"p\(LABEL\)"):
        read_soft_labels(tmp_path / "x.csv", ["id", "name"])


def test_soft_labels_with_a_column_twice_are_refused(tmp_path: Path) -> None:
    columns = [pa.array(["a"]), pa.array([[0.5, 0.5]]), pa.array(["b"])]
    pq.write_table(pa.Table.from_arrays(columns, names=["id", "probabilities", "id"]), tmp_path / "x.parquet")
    (tmp_path / "x.csv").write_text("id,p(bad),p(good),p(bad)\na,0.5,0.5,0.5\n")
    for name in ("x.parquet", "x.csv"):
        with pytest.raises(PetError, match="twice"):
            read_soft_labels(tmp_path / name, ["bad", "good"])
