"""Decisions about texts: saved, taken back, and read again."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pet.data.reviewed import VERDICTS, Decision, read_reviewed
from pet.errors import PetError
from pet.review.ledger import Conflict, Ledger
from pet.task.task import Task

TASK = Task.from_dict(
    {
        "task": "reviews",
        "fields": ["text"],
        "labels": ["bad", "good", "1"],
        "verbalizer": {"bad": "terrible", "good": "great", "1": "one"},
        "patterns": ["{text} It was {mask}."],
    }
)


def said(name: str, label: str | None, verdict: str = "labeled", note: str = "") -> Decision:
    return Decision(name, {"text": f"Text {name}."}, label, verdict, note, proposed="bad")


def final(path: Path) -> dict[str, tuple[str, str | None]]:
    return {name: (decision.verdict, decision.label) for name, decision in read_reviewed(path, TASK).items()}


def test_a_line_has_everything_about_a_decision(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "reviewed.jsonl", TASK)
    ledger.decide([said("a", None, "unsure", "Ask\nAnn \u202e.")], [0])
    (line,) = map(json.loads, (tmp_path / "reviewed.jsonl").read_text().splitlines())
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "id": "a",
        "fields": {"text": "Text a."},
        "label": None,
        "verdict": "unsure",
        "note": "Ask\nAnn \u202e.",
        "proposed": "bad",
    }


def test_the_last_decision_counts_and_undo_brings_the_one_before_back(tmp_path: Path) -> None:
    path = tmp_path / "reviewed.jsonl"
    ledger = Ledger(path, TASK)
    ledger.decide([said("a", "good")], [0])
    ledger.decide([said("b", None, "none_of_these")], [0])
    ledger.decide([said("a", "bad")], [1])
    assert final(path) == {"b": ("none_of_these", None), "a": ("labeled", "bad")}
    assert ledger.undo({"a": 3}) == ["a"]
    assert final(path) == {"a": ("labeled", "good"), "b": ("none_of_these", None)}
    assert ledger.undo({"a": 1}) == ["a"]
    with pytest.raises(Conflict):
        ledger.undo({"a": 1})
    assert final(path) == {"b": ("none_of_these", None)}
    assert len(path.read_text().splitlines()) == 5


def test_undo_after_a_restart_takes_back_what_was_decided_last(tmp_path: Path) -> None:
    path = tmp_path / "reviewed.jsonl"
    noon = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)
    first = Ledger(path, TASK, clock=lambda: noon)  # two calls within a millisecond
    first.decide([said("a", "good")], [0])
    first.decide([said(name, "bad") for name in "bcd"], [0, 0, 0])
    second = Ledger(path, TASK)
    assert sorted(second.undo_last()) == ["b", "c", "d"]
    assert second.undo_last() == ["a"]
    assert second.undo_last() == []
    assert final(path) == {}


def test_two_writers_lose_nothing_and_hear_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "reviewed.jsonl"
    first, second = Ledger(path, TASK), Ledger(path, TASK)
    assert first.decide([said("a", "good")], [0]) == []
    assert second.decide([said("b", "good")], [0]) == []
    (replaced,) = second.decide([said("a", "bad")], [0])
    assert replaced.before is not None
    assert replaced.before.label == "good"
    with pytest.raises(Conflict):
        first.undo({"a": 1})
    first.sync()
    assert first.decisions.since(1) == ["a", "b"]
    assert final(path) == {"b": ("labeled", "good"), "a": ("labeled", "bad")}


def test_undo_takes_back_nothing_that_another_writer_has_decided(tmp_path: Path) -> None:
    path = tmp_path / "reviewed.jsonl"
    first, second = Ledger(path, TASK), Ledger(path, TASK)
    first.decide([said("a", "good")], [0])
    second.decide([said("a", "bad")], [0])
    first.sync()
    first.decide([said("a", "1")], [2])
    first.undo({"a": 3})
    with pytest.raises(Conflict):
        first.undo({"a": 1})
    assert final(path) == {"a": ("labeled", "bad")}
    second.undo({"a": 2})
    assert first.undo({"a": 1}) == ["a"]  # it holds again
    assert final(path) == {}


def test_undo_of_several_decisions_leaves_those_that_another_writer_has_replaced(tmp_path: Path) -> None:
    path = tmp_path / "reviewed.jsonl"
    first, second = Ledger(path, TASK), Ledger(path, TASK)
    first.decide([said(name, "good") for name in "abc"], [0, 0, 0])
    second.decide([said("b", "bad")], [0])
    assert first.undo({"a": 1, "b": 2, "c": 3}) == ["a", "c"]
    assert final(path) == {"b": ("labeled", "bad")}


def test_undo_of_the_last_decisions_leaves_those_on_later_lines(tmp_path: Path) -> None:
    path = tmp_path / "reviewed.jsonl"
    first, second = Ledger(path, TASK), Ledger(path, TASK)
    first.decide([said("a", "good")], [0])
    first.decide([said("b", "good")], [0])
    second.decide([said("b", "bad")], [2])
    second.decide([said("c", "bad")], [0])
    assert first.undo_last(2) == ["a"]
    assert first.undo_last(2) == []
    assert final(path) == {"b": ("labeled", "bad"), "c": ("labeled", "bad")}


ACTIONS = st.lists(st.tuples(st.integers(0, 1), st.sampled_from("abc"), st.sampled_from(["good", "bad", "undo"])))


@settings(max_examples=25, deadline=None)
@given(ACTIONS, st.integers(0, 300))
def test_a_kill_loses_nothing_that_was_saved(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[int, str, str]], torn: int
) -> None:
    """Two writers act in turn; then a write is torn. The file holds what a list of decisions for each text holds."""
    path = tmp_path_factory.mktemp("kill") / "reviewed.jsonl"
    writers = [Ledger(path, TASK), Ledger(path, TASK)]
    expected: dict[str, list[str]] = {}
    for writer, name, action in actions:
        ledger = writers[writer]
        ledger.sync()
        if action == "undo":
            held = ledger.decisions.latest(name)
            ledger.undo({} if held is None else {name: held[0]})
            del expected.get(name, [])[-1:]
        else:
            ledger.decide([said(name, action)], [ledger.decisions.changed(name)])
            expected.setdefault(name, []).append(action)
    wanted = {name: ("labeled", labels[-1]) for name, labels in expected.items() if labels}
    line = said("z", "good").to_json()
    with path.open("a") as stream:
        stream.write(line[: torn % len(line)])
    assert final(path) == wanted
    Ledger(path, TASK).decide([said("y", "good")], [0])
    assert final(path) == wanted | {"y": ("labeled", "good")}


@pytest.mark.parametrize(
    "content",
    [
        b'{"id": "x", "text": "of another program"}',
        b'{"text": "no line br',
        b'{"text": "a"}\n{"text": "no line br',
        b'{"id": "x", "text": "a"}\n{"id": "x", "te',
        b'{"id": "x", "text": "a"}\n{"id": "y", "text": "b"}\n',
        b"id,text,label\n1,a,good\n2,b,bad\n",
        b"id,text,label\r\n1,a,good\r\n2,b,bad",
        b"PAR1\xff\xfe\n\x00\x15\n",
        b"[]\n",
    ],
)
def test_the_file_of_another_program_is_refused_at_once_and_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.jsonl"
    path.write_bytes(content)
    with pytest.raises(PetError) as refused:
        Ledger(path, TASK)
    (message,) = refused.value.problems
    assert str(path) in message and "-o" in message and "line" not in message
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("other.jsonl", content)]


def test_a_review_with_a_line_that_is_broken_is_a_review(tmp_path: Path) -> None:
    path = tmp_path / "reviewed.jsonl"
    path.write_text("broken\n" + said("a", "good").to_json() + "\n")
    with pytest.raises(PetError, match=r"reviewed\.jsonl:1.*correct the line"):
        Ledger(path, TASK)


@pytest.mark.parametrize("torn", ["{", '{"id": "b", "fie', "\0\0"])
def test_a_review_whose_first_line_was_cut_off_goes_on(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "reviewed.jsonl"
    path.write_text(torn)
    Ledger(path, TASK).decide([said("a", "good")], [0])
    assert final(path) == {"a": ("labeled", "good")}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": "goood"}, ["goood", "good"]),
        ({"label": None}, ["labeled", "no label"]),
        ({"verdict": "skipped"}, ["skipped"]),
        ({"verdict": "maybe"}, ["verdict", *VERDICTS]),
        ({"fields": {"body": "x"}}, ["body", "text"]),
        ({"note": 3}, ["note", "text"]),
    ],
)
def test_mistakes_name_file_line_and_cure(tmp_path: Path, change: dict[str, object], words: list[str]) -> None:
    path = tmp_path / "reviewed.jsonl"
    good = json.loads(said("a", "good").to_json())
    path.write_text("".join(json.dumps(row) + "\n" for row in (good, good | {"id": "b"} | change, good)))
    for read in (lambda: read_reviewed(path, TASK), lambda: Ledger(path, TASK)):
        with pytest.raises(PetError) as caught:
            read()
        message = str(caught.value)
        assert all(word in message for word in [f"{path}:2", "remove" if "fields" not in change else "run", *words])


def test_other_spellings_of_labels_and_files_without_a_last_line_break_are_read(tmp_path: Path) -> None:
    path = tmp_path / "reviewed.jsonl"
    path.write_text(said("a", "1.0").to_json())
    assert final(path) == {"a": ("labeled", "1")}


def test_a_missing_file_and_a_folder_are_mistakes(tmp_path: Path) -> None:
    with pytest.raises(PetError, match="pet review"):
        read_reviewed(tmp_path / "none.jsonl", TASK)
    with pytest.raises(PetError, match="folder"):
        Ledger(tmp_path, TASK)
