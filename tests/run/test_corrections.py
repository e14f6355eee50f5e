"""`pet run --corrections`: reviewed texts become labeled ones and leave the pool."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from small_run import contents, interrupted, pet, refused, run_options, same_files, write_inputs, write_rows
from tiny_text import LABELS

from pet import PetError, RunResult
from pet.data.checks import text_key
from pet.data.corrections import read_corrections
from pet.data.read import read_table
from pet.inference.none_of_these import fit_of_classifier
from pet.inference.options import ComputeOptions
from pet.progress import Reporter
from pet.review.finished import open_finished
from pet.run.inputs import load_data
from pet.run.load_run import read_settings
from pet.task.task import Task

CPU = ComputeOptions(device="cpu")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs") / "in")


def decision(row: dict[str, Any], verdict: str, label: str | None = None) -> dict[str, Any]:
    return {"id": row["id"], "fields": {"text": row["text"]}, "label": label, "verdict": verdict}


@pytest.fixture(scope="module")
def reviewed(inputs: Path) -> Path:
    """Three labels, one text of none, one that nobody was sure about."""
    pool = [json.loads(line) for line in (inputs / "pool.jsonl").open()]
    rows = [decision(pool[number], "labeled", LABELS[number]) for number in range(3)]
    rows += [decision(pool[3], "none_of_these"), decision(pool[4], "unsure")]
    return write_rows(inputs / "reviewed.jsonl", rows)


@pytest.fixture(scope="module")
def corrected(inputs: Path, reviewed: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("corrected") / "run"
    pet(*run_options(inputs, tiny_model), "--corrections", reviewed, "-q", "-o", place)
    return place


def test_labels_are_added_and_texts_of_no_label_leave_the_pool(inputs: Path, corrected: Path) -> None:
    settings = read_settings(corrected)
    task = Task.from_dict(settings.task)
    data = load_data(settings, task, Reporter("quiet"))
    pool = [json.loads(line) for line in (inputs / "pool.jsonl").open()]
    assert data.train is not None
    assert data.pool is not None
    assert data.train["text"][-3:] == [row["text"] for row in pool[:3]]
    assert [LABELS[label] for label in data.train["label"][-3:]] == list(LABELS[:3])
    assert data.pool["text"][:] == [row["text"] for row in pool[4:]]
    counted = json.loads((corrected / "metrics.json").read_text())["data"]
    assert (counted["train"], counted["pool"]) == (15, 12)
    assert not any("from train" in message for message in counted["messages"])  # they were moved on purpose


@contextmanager
def one_more(file: Path, row: dict[str, Any], label: str) -> Iterator[None]:
    """Another decision in a file, as if the review went on."""
    kept = file.read_bytes()
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(decision(row, "labeled", label)) + "\n")
    try:
        yield
    finally:
        file.write_bytes(kept)


def rows_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.open(encoding="utf-8")]


def test_a_corrected_run_repeats(inputs: Path, reviewed: Path, corrected: Path, tiny_model: Path) -> None:
    before = contents(corrected)
    assert (corrected / "corrections" / "1.jsonl").read_bytes() == reviewed.read_bytes()
    made = pet(*run_options(inputs, tiny_model), "--corrections", reviewed, "-q", "-o", corrected)
    assert contents(corrected) == before and "changed" not in made.stderr
    pet("run", corrected / "config.yaml", "-q")
    assert contents(corrected) == before


def test_a_run_keeps_its_texts_while_the_review_goes_on(
    inputs: Path, reviewed: Path, tiny_model: Path, tmp_path: Path
) -> None:
    arguments = [*run_options(inputs, tiny_model), "--pool-size", 8, "--corrections", reviewed, "-q", "-o"]
    pet(*arguments, tmp_path / "whole")
    labels, before = RunResult(tmp_path / "whole").labels(), contents(tmp_path / "whole")
    interrupted(3, *arguments, tmp_path / "stopped")
    with one_more(reviewed, rows_of(inputs / "pool.jsonl")[5], LABELS[0]):
        assert RunResult(tmp_path / "whole").labels().equals(labels)
        pet("run", tmp_path / "whole" / "config.yaml", "-q", "-o", tmp_path / "again")
        same_files(tmp_path / "again", tmp_path / "whole")
        said = pet(*arguments, tmp_path / "stopped").stderr
        assert f"{reviewed}: has changed" in said and "another folder" in said
        same_files(tmp_path / "stopped", tmp_path / "whole")
    reviewed.rename(tmp_path / "away")
    try:
        assert str(reviewed) in pet("run", tmp_path / "whole" / "config.yaml", "-q").stderr
        assert contents(tmp_path / "whole") == before
    finally:
        (tmp_path / "away").rename(reviewed)


def test_a_run_without_a_sound_copy_refuses_changed_corrections(
    inputs: Path, reviewed: Path, corrected: Path, tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(corrected, folder)
    (folder / "corrections" / "1.jsonl").write_text("{}\n")
    open_finished(folder)
    with one_more(reviewed, rows_of(inputs / "pool.jsonl")[5], LABELS[0]):
        for use in (lambda: open_finished(folder), lambda: fit_of_classifier(str(folder), 0.1, CPU, Reporter("quiet"))):
            with pytest.raises(PetError) as caught:
                use()
            message = str(caught.value)
            assert str(reviewed) in message and "changed since the run" in message and "-o NEW" in message
        options = [*run_options(inputs, tiny_model), "--corrections", reviewed, "-q", "-o", folder]
        assert "hashes.corrections" in refused(*options)


def test_a_second_review_adds_to_the_first(
    inputs: Path, reviewed: Path, corrected: Path, tiny_model: Path, tmp_path: Path
) -> None:
    pool = rows_of(inputs / "pool.jsonl")
    second = [decision(pool[5], "labeled", LABELS[0]), decision(pool[6], "none_of_these")]
    file = write_rows(tmp_path / "second.jsonl", second)
    arguments = ["run", corrected / "config.yaml", "--corrections", file, "-o", tmp_path / "run"]
    with one_more(reviewed, pool[7], LABELS[0]):  # decided after the first corrected run, so not part of it
        said = pet(*arguments).stderr
    assert str(reviewed) in said and str(file) in said
    train, left = (open_finished(tmp_path / "run").texts(part)["text"][:] for part in ("train", "pool"))
    assert train[-4:] == [row["text"] for row in (*pool[:3], pool[5])]
    assert left == [row["text"] for row in (pool[4], *pool[7:])]
    before = contents(tmp_path / "run")
    pet(*arguments, "-q")
    assert contents(tmp_path / "run") == before
    again = ["run", tmp_path / "run" / "config.yaml", "--corrections", file, "-q", "-o", tmp_path / "again"]
    write_rows(file, [*second, decision(pool[8], "labeled", LABELS[1])])
    pet(*again)  # a file that the run knows takes the place of its copy
    assert open_finished(tmp_path / "again").texts("train")["text"][-2:] == [pool[5]["text"], pool[8]["text"]]


def test_of_two_files_the_last_decision_about_a_text_counts(inputs: Path, tmp_path: Path) -> None:
    pool, task = rows_of(inputs / "pool.jsonl"), Task.load(str(inputs / "task.yaml"))
    other = {**pool[3], "id": pool[0]["id"]}  # the id of another text, as in another pool without ids
    first = [decision(row, "labeled", LABELS[0]) for row in pool[:3]]
    later = [decision(pool[0], "labeled", LABELS[1]), decision(pool[1], "none_of_these"), decision(pool[2], "undone")]
    third = [decision(other, "labeled", LABELS[2])]
    files = [write_rows(tmp_path / f"{number}.jsonl", rows) for number, rows in enumerate((first, later, third))]
    found = read_corrections(list(map(str, files)), task)
    expected = [(pool[2], LABELS[0]), (pool[0], LABELS[1]), (other, LABELS[2])]
    assert found.labeled["text"][:] == [row["text"] for row, _ in expected]
    assert [task.labels[label] for label in found.labeled["label"]] == [label for _, label in expected]
    assert found.outside.tolist() == [text_key([pool[1]["text"]])]


def test_a_corrected_text_replaces_its_label(inputs: Path, tmp_path: Path) -> None:
    train = [json.loads(line) for line in (inputs / "train.jsonl").open()]
    other = next(label for label in LABELS if label != train[0]["label"])
    file = write_rows(tmp_path / "reviewed.jsonl", [decision(train[0], "labeled", other)])
    task = Task.load(str(inputs / "task.yaml"))
    table = read_table(str(inputs / "train.jsonl"), ["text"], labels=task.labels)
    found = read_corrections(str(file), task).add_to(table, task.fields)
    assert len(found) == len(table)
    assert found["text"][-1] == train[0]["text"]
    assert task.labels[found["label"][-1]] == other


def test_labels_may_come_from_a_review_alone(inputs: Path, reviewed: Path, tiny_model: Path, tmp_path: Path) -> None:
    options = run_options(inputs, tiny_model, parts=["unlabeled", "test"])
    pet(*options, "--corrections", reviewed, "-q", "-o", tmp_path / "run")
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["data"]["train"] == 3


def test_a_file_without_a_label_is_refused(inputs: Path, tiny_model: Path, tmp_path: Path) -> None:
    pool = [json.loads(line) for line in (inputs / "pool.jsonl").open()]
    file = write_rows(tmp_path / "reviewed.jsonl", [decision(pool[0], "unsure")])
    message = refused(*run_options(inputs, tiny_model), "--corrections", file, "-o", tmp_path / "run")
    assert str(file) in message
    assert "pet review" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "lines", ["text,label\nA match.,Sports\nA war.,World\n", '{"text": "A match.", "label": "Sports"}\n']
)
def test_a_table_is_refused_in_one_message_with_what_to_do(
    inputs: Path, tiny_model: Path, tmp_path: Path, lines: str
) -> None:
    table = tmp_path / "mine.csv"
    table.write_text(lines * 20)
    pool = [json.loads(line) for line in (inputs / "pool.jsonl").open()]
    soft = {"World": 0.25, "Sports": 0.25, "Business": 0.25, "Technology": 0.25}
    write_rows(tmp_path / "labels.jsonl", [{"id": row["id"], "probabilities": soft} for row in pool])
    distilled = ["distill", "--labels", tmp_path / "labels.jsonl", "--input", inputs / "pool.jsonl"]
    distilled += ["--task", inputs / "task.yaml", "-m", tiny_model]
    for command in (run_options(inputs, tiny_model), distilled):
        message = refused(*command, "--corrections", table, "-o", tmp_path / "out")
        assert message.count("error") == 1 and "correct the line" not in message
        assert all(word in message for word in (str(table), "pet review RUN --read F", "--train F"))
    assert not (tmp_path / "out").exists()
