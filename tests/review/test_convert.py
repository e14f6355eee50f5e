"""``pet convert``: every format is read back by the library that it is for, if that is installed."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import TASK, pet, refused, run_options, write_inputs, write_rows
from tiny_text import LABELS

from pet.review.formats import FORMATS, LabeledText

TEXTS = ["Shares fall", "A goal __label__World decides\nthe cup", "=cmd() <b>rocket</b>", "Left out"]
SOFT = [[0.7, 0.1, 0.1, 0.1], [0.05, 0.85, 0.05, 0.05], [0.2, 0.2, 0.2, 0.4]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "task.yaml").write_text(TASK, encoding="utf-8")
    rows = [{"id": f"r{number}", "text": text, "label": LABELS[number]} for number, text in enumerate(TEXTS)]
    write_rows(tmp_path / "texts.jsonl", rows)
    soft: list[dict[str, Any]] = [
        {"id": f"r{number}", "probabilities": dict(zip(LABELS, row, strict=True))} for number, row in enumerate(SOFT)
    ]
    write_rows(tmp_path / "labels.jsonl", soft)
    return tmp_path


def convert(kind: str, output: str, *more: str) -> str:
    given = ("labels.jsonl", "--input", "texts.jsonl", "--task", "task.yaml")
    return pet("convert", *given, "--format", kind, "-o", output, *more).stdout


def test_texts_and_labels_are_matched_by_id_and_counted(folder: Path) -> None:
    assert json.loads(convert("fasttext", "x.txt", "--json")) == {"output": "x.txt", "texts": 3, "left_out": 1}
    write_rows(folder / "labels.jsonl", [{"id": "other", "probabilities": dict(zip(LABELS, SOFT[0], strict=True))}])
    message = refused("convert", "labels.jsonl", "--input", "texts.jsonl", "--format", "fasttext", "-o", "y.txt")
    assert "labels.jsonl" in message and "texts.jsonl" in message and not (folder / "y.txt").exists()
    assert "--input" in refused("convert", "labels.jsonl", "--format", "fasttext", "-o", "y.txt")
    said = refused("convert", "labels.jsonl", "--input", "texts.jsonl", "--format", "argilla", "-o", "y.csv")
    assert "name the file with the ending .json" in said


def test_what_is_neither_soft_labels_nor_a_run_is_named(folder: Path) -> None:
    assert "nowhere: no such file" in refused("convert", "nowhere", "--format", "fasttext", "-o", "y.txt")
    (folder / "seeds" / "seed-0").mkdir(parents=True)
    assert "seed-0" in refused("convert", "seeds", "--format", "fasttext", "-o", "y.txt")


def test_a_run_is_its_unlabeled_texts_with_the_labels_of_its_last_generation(workplace: Path, tmp_path: Path) -> None:
    made = pet("convert", workplace / "runs" / "reviews", "--format", "label-studio", "-o", tmp_path / "x.json")
    tasks = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    ids = [json.loads(line)["id"] for line in (workplace / "pool.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [task["data"]["id"] for task in tasks] == ids and f"{len(ids)} texts" in made.stdout


@pytest.mark.parametrize("packed", [False, True])
def test_labels_of_a_run_are_not_given_to_texts_of_a_changed_file(
    packed: bool, tiny_model: Path, tmp_path: Path
) -> None:
    inputs = write_inputs(tmp_path / "in")
    rows = [{"text": row["text"]} for row in map(json.loads, (inputs / "pool.jsonl").open(encoding="utf-8"))]
    pool = tmp_path / "db.sqlite" if packed else inputs / "pool.jsonl"

    def write(rows: list[dict[str, str]]) -> None:
        if not packed:
            write_rows(pool, rows)
            return
        with closing(sqlite3.connect(pool)) as connection, connection:
            connection.execute("DROP TABLE IF EXISTS pool")
            connection.execute("CREATE TABLE pool (text)")
            connection.executemany("INSERT INTO pool VALUES (:text)", rows)

    write(rows)
    options = [*run_options(inputs, tiny_model, parts=["train"]), "--unlabeled", f"sqlite:{pool}" if packed else pool]
    pet(*options, "-q", "-o", tmp_path / "run")
    pet("convert", tmp_path / "run", "--format", "fasttext", "-o", tmp_path / "same.txt")
    write(rows[::-1])
    said = refused("convert", tmp_path / "run", "--format", "fasttext", "-o", tmp_path / "changed.txt")
    assert str(pool) in said and "changed since the run" in said and not (tmp_path / "changed.txt").exists()
    given = ["--input", f"sqlite:{pool}" if packed else pool]  # whoever names a file knows which it is
    pet("convert", tmp_path / "run", *given, "--format", "fasttext", "-o", tmp_path / "given.txt")


def test_label_studio_accepts_the_predictions(folder: Path) -> None:
    convert("label-studio", "x.json")
    tasks = json.loads((folder / "x.json").read_text(encoding="utf-8"))
    assert [task["data"]["text"] for task in tasks] == TEXTS[:3]
    objects = pytest.importorskip("label_studio_sdk.label_interface.objects")
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    choices = "".join(f'<Choice value="{label}"/>' for label in LABELS)
    view = interface.LabelInterface(
        f'<View><Text name="text" value="$text"/><Choices name="label" toName="text">{choices}</Choices></View>'
    )
    predictions = [objects.PredictionValue(**task["predictions"][0]) for task in tasks]
    assert all(view.validate_prediction(prediction.model_dump()) for prediction in predictions)
    assert [p.result[0]["value"]["choices"] for p in predictions] == [[LABELS[0]], [LABELS[1]], [LABELS[3]]]


def test_argilla_reads_the_records(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert("argilla", "x.json")
    argilla = pytest.importorskip("argilla")
    given = json.loads((folder / "x.json").read_text(encoding="utf-8"))
    records = [
        argilla.Record(
            id=one["id"],
            fields=one["fields"],
            metadata=one["metadata"],
            suggestions=[argilla.Suggestion("label", **suggestion) for suggestion in one["suggestions"].values()],
        )
        for one in given
    ]
    assert [record.fields["text"] for record in records] == TEXTS[:3]
    assert [record.suggestions["label"].value for record in records] == [LABELS[0], LABELS[1], LABELS[3]]
    assert records[1].suggestions["label"].score == pytest.approx(0.85)


def test_cleanlab_finds_issues_in_the_arrays(folder: Path) -> None:
    convert("cleanlab", "x.npz")
    arrays = np.load(folder / "x.npz", allow_pickle=False)
    assert arrays["ids"].tolist() == ["r0", "r1", "r2"] and arrays["label_names"].tolist() == [*LABELS]
    assert arrays["labels"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(arrays["pred_probs"], SOFT)
    rank = pytest.importorskip("cleanlab.rank")
    quality = rank.get_label_quality_scores(arrays["labels"], arrays["pred_probs"])
    np.testing.assert_allclose(quality, [0.7, 0.85, 0.2])


def test_cleanlab_requires_labels(folder: Path) -> None:
    write_rows(folder / "texts.jsonl", [{"id": "r0", "text": "no label"}])
    command = ("convert", "labels.jsonl", "--input", "texts.jsonl", "--format", "cleanlab", "-o", "y.npz")
    assert "label is missing" in refused(*command) and not (folder / "y.npz").exists()


def test_spacy_reads_the_docbin(folder: Path) -> None:
    if not pytest.importorskip("pet.extras").is_installed("spacy"):
        assert "[spacy]" in refused(
            "convert", "labels.jsonl", "--input", "texts.jsonl", "--format", "spacy", "-o", "x.spacy"
        )
        pytest.skip("spaCy is not installed")
    import spacy
    from spacy.tokens import DocBin

    convert("spacy", "x.spacy")
    docs = list(DocBin(store_user_data=True).from_disk(folder / "x.spacy").get_docs(spacy.blank("xx").vocab))
    assert [doc.text for doc in docs] == TEXTS[:3] and [doc.user_data["id"] for doc in docs] == ["r0", "r1", "r2"]
    assert docs[1].cats == pytest.approx(dict(zip(LABELS, SOFT[1], strict=True)))


def test_fasttext_trains_on_the_lines(folder: Path) -> None:
    convert("fasttext", "x.txt")
    lines = (folder / "x.txt").read_text(encoding="utf-8").splitlines()
    labels = [[word for word in line.split() if word.startswith("__label__")] for line in lines]
    assert labels == [[f"__label__{LABELS[number]}"] for number in (0, 1, 3)]
    fasttext = pytest.importorskip("fasttext")
    model = fasttext.train_supervised(str(folder / "x.txt"), epoch=1, dim=4, minCount=1, thread=1, verbose=0)
    assert set(model.labels) == {f"__label__{LABELS[number]}" for number in (0, 1, 3)}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["_", "__", "label", "__label__", "</s>", " ", "\n", "\0", "x"]), max_size=12))
def test_no_text_makes_a_label_or_ends_a_line_for_fasttext(parts: list[str]) -> None:
    text = LabeledText("1", {"text": "".join(parts)}, np.array([0.9, 0.1]), ["ham"])
    with TemporaryDirectory() as folder:
        FORMATS["fasttext"].write(Path(folder) / "x.txt", ["ham", "spam"], [text], False)
        content = (Path(folder) / "x.txt").read_text(encoding="utf-8")
    first, *words = re.split("[ \0\n\t\v\f\r]", content.removesuffix("\n"))  # as fastText does
    assert first == "__label__ham"
    assert not [word for word in words if word.startswith("__label__") or word == "</s>"]
    assert content.count("\n") == 1
    assert content.count("x") == "".join(parts).count("x")


def test_several_labels_are_those_that_apply(folder: Path) -> None:
    rows = [
        {"id": "r0", "probabilities": {"a b": 0.9, "c": 0.4}, "labels": ["a b", "c"]},
        {"id": "r1", "probabilities": {"a b": 0.6, "c": 0.1}, "labels": []},
    ]
    write_rows(folder / "labels.jsonl", rows)
    command = ("convert", "labels.jsonl", "--input", "texts.jsonl")
    pet(*command, "--format", "fasttext", "-o", "x.txt")
    assert [line.split()[:2] for line in (folder / "x.txt").read_text(encoding="utf-8").splitlines()] == [
        ["__label__a_b", "__label__c"],
        ["A", "goal"],
    ]
    pet(*command, "--format", "argilla", "-o", "x.json")
    first = json.loads((folder / "x.json").read_text(encoding="utf-8"))[0]["suggestions"]["label"]
    assert (first["value"], first["score"]) == (["a b", "c"], [0.9, 0.4])
