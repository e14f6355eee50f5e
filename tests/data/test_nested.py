"""Tables whose texts are inside nested rows, as in SuperGLUE."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pet.data.draw import DrawOptions, draw_file
from pet.data.kept import keep_columns
from pet.data.read import read_table
from pet.data.table_options import TableOptions
from pet.errors import PetError
from pet.task.task import Task

QUESTIONS = [
    {
        "idx": 3,
        "passage": {
            "text": "Ann met Bob.",
            "questions": [
                {"question": "Who?", "answers": [{"text": "Ann", "label": 1}, {"text": "Eve", "label": 0}]},
                {"question": "Whom?", "answers": [{"text": "Bob", "label": 1}]},
            ],
        },
    }
]
ENTITIES = [
    {
        "passage": {
            "text": "Ann met Bob. Ann left.",
            "entities": [{"start": 0, "end": 2}, {"start": 8, "end": 10}, {"start": 13, "end": 15}],
        },
        "qas": [{"query": "@placeholder was met.", "answers": [{"text": "Bob"}]}],
    }
]
PRONOUN = {"text": "Ann saw him. He ran.", "target": {"span1_text": "Ann", "span2_text": "him", "span2_index": 2}}


def jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def read(task: str, source: Any, labeled: bool = True) -> list[dict[str, Any]]:
    made = Task.load(task)
    columns = {key: column for key, column in made.columns.items() if labeled or key != "label"}
    labels = made.labels if labeled else None
    table = read_table(source, made.fields, labels=labels, label_map=made.label_map, columns=columns, name="train")
    return [{key: value for key, value in row.items() if key != "id"} for row in table]


@pytest.mark.parametrize("form", ["jsonl", "parquet", "memory"])
def test_each_answer_to_each_question_is_a_text(tmp_path: Path, form: str) -> None:
    source: Any = QUESTIONS
    if form == "jsonl":
        source = jsonl(tmp_path / "a.jsonl", QUESTIONS)
    elif form == "parquet":
        source = str(tmp_path / "a.parquet")
        pq.write_table(pa.Table.from_pylist(QUESTIONS), source)
    rows = read("multirc", source)
    assert [(row["question"], row["answer"], row["label"]) for row in rows] == [
        ("Who?", "Ann", 1),
        ("Who?", "Eve", 0),
        ("Whom?", "Bob", 1),
    ]
    assert {row["passage"] for row in rows} == {"Ann met Bob."}


def test_rows_without_labels_can_be_unlabeled_texts(tmp_path: Path) -> None:
    rows = json.loads(json.dumps(QUESTIONS).replace('"label"', '"hidden"'))
    assert len(read("multirc", jsonl(tmp_path / "a.jsonl", rows), labeled=False)) == 3


def test_a_file_with_one_plain_row_for_each_text_needs_no_paths(tmp_path: Path) -> None:
    rows = read("multirc", jsonl(tmp_path / "nested.jsonl", QUESTIONS))
    plain = [{**row, "label": ["false", "true"][row["label"]]} for row in rows]
    assert read("multirc", jsonl(tmp_path / "plain.jsonl", plain)) == rows
    (tmp_path / "plain.csv").write_text(
        "passage,question,answer,label\n"
        + "".join(f"{r['passage']},{r['question']},{r['answer']},{r['label']}\n" for r in plain)
    )
    assert read("multirc", str(tmp_path / "plain.csv")) == rows


def test_spans_membership_and_marks() -> None:
    columns = {
        "entity": "span(passage.text, passage.entities[].start, passage.entities[].end)",
        "query": "qas[].query",
        "label": "one_of(entity, qas[].answers[].text)",
    }
    table = read_table(ENTITIES, ["query", "entity"], labels=["false", "true"], columns=columns)
    assert table["entity"][:] == ["Ann", "Bob"]  # Ann is in the passage twice
    assert table["label"][:] == [0, 1]
    marked = {"text": "mark(text, target.span2_text, target.span2_index)", "who": "target.span1_text"}
    table = read_table([{"sentence": 1, **PRONOUN}], ["text", "who"], columns={**marked, "text": "text"})
    assert (table["text"][0], table["who"][0]) == ("Ann saw him. He ran.", "Ann")
    marked = {"sentence": "mark(text, target.span2_text, target.span2_index)"}
    assert read_table([PRONOUN], ["sentence"], columns=marked)["sentence"][0] == "Ann saw *him*. He ran."


def test_a_value_that_a_row_lacks_is_named_with_its_line(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", [*QUESTIONS, {"passage": {"questions": []}}, {"passage": {"text": "?"}}])
    with pytest.raises(PetError) as caught:
        read("multirc", source)
    assert any(
        "a.jsonl:3" in problem and "passage.questions[].question" in problem for problem in caught.value.problems
    )


@pytest.mark.parametrize(
    ("column", "named"),
    [
        ("span(text, first)", "span(text, first, last)"),
        ("mark(text, a b, c)", "a b"),
        ("choose(text)", "choose(value, A=x, B=y)"),
        ("before(text)", "before(text, WORD)"),
    ],
)
def test_a_function_that_cannot_be_read_is_named(column: str, named: str) -> None:
    with pytest.raises(PetError) as caught:
        read_table([PRONOUN], ["word"], columns={"word": column})
    assert named in str(caught.value) and "word" in str(caught.value)


def test_rows_with_several_texts_are_not_copied(tmp_path: Path) -> None:
    task, source = Task.load("multirc"), jsonl(tmp_path / "a.jsonl", QUESTIONS)
    with pytest.raises(PetError, match="several texts"):
        keep_columns(source, TableOptions(keep=("idx",)), task.columns, (), typed=False)
    with pytest.raises(PetError, match="several texts"):
        draw_file(task, source, tmp_path / "out.jsonl", DrawOptions(examples=1))
    assert not (tmp_path / "out.jsonl").exists()


SUPERGLUE = {
    "boolq": {"question": "is it so", "passage": "It is so.", "label": True, "idx": 0},
    "cb": {"premise": "It may be.", "hypothesis": "it is", "label": "neutral", "idx": 0},
    "copa": {"premise": "It rained.", "choice1": "A.", "choice2": "B.", "question": "effect", "label": 1, "idx": 0},
    "multirc": QUESTIONS[0],
    "record": ENTITIES[0],
    "rte": {"premise": "It is so.", "hypothesis": "It is.", "label": "entailment", "idx": 0},
    "wic": {"word": "a", "sentence1": "A b.", "sentence2": "C a.", "start1": 0, "end1": 1, "label": False, "idx": 0},
    "wsc": {**PRONOUN, "label": True, "idx": 0},
}


@pytest.mark.parametrize("name", SUPERGLUE)
def test_a_task_of_superglue_reads_the_rows_of_its_files(tmp_path: Path, name: str) -> None:
    rows = read(name, jsonl(tmp_path / "train.jsonl", [SUPERGLUE[name]]))
    assert rows and all(text for row in rows for key, text in row.items() if key not in ("label", "before"))
    assert name != "copa" or (rows[0]["link"], rows[0]["label"]) == ("so", 1)
    assert name != "record" or (rows[1]["before"], rows[1]["after"], rows[1]["entity"]) == ("", " was met.", "Bob")


@pytest.mark.shared
@pytest.mark.parametrize("name", SUPERGLUE)
def test_the_files_of_fewglue_are_read(shared_dir: Path, name: str) -> None:
    folders = {folder.name.lower(): folder for folder in (shared_dir / "data" / "fewglue").iterdir()}
    assert len(read(name, str(folders[name] / "train.jsonl"))) >= 32
