"""pet compare: runs on the same test texts, matched by their content."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, Features, Sequence, Value
from small_run import pet, refused, run_options, write_inputs, write_rows
from tiny_text import LABELS, news_rows

from pet.errors import PetError
from pet.review import compare
from pet.review.tested import TestedRun
from pet.task.task import Task

WORDS = {"a": "a", "b": "b"}
TASK = {"task": "t", "fields": ["text"], "labels": ["a", "b"], "verbalizer": WORDS, "patterns": ["{text} {mask}"]}


def made(name: str, texts: str, gold: str, said: str, labels: str = "ab", fields: str = "text") -> TestedRun:
    """A run in memory: one letter for each text, its gold label, and the label that the run predicts."""
    task = Task.from_dict(TASK | {"labels": list(labels), "verbalizer": {label: label for label in labels}})
    if fields != "text":
        task = Task.from_dict(TASK | {"fields": [fields], "patterns": [f"{{{fields}}} {{mask}}"]})
    table = Dataset.from_dict(
        {"id": [f"{name}-{text}" for text in texts], fields: list(texts), "label": [labels.index(g) for g in gold]}
    )
    return TestedRun(name, task, "student", table, np.eye(len(labels))[[labels.index(label) for label in said]] * 0.9)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch):
    """Compare runs in memory."""

    def run(*runs: TestedRun) -> dict:
        there = {each.name: each for each in runs}
        monkeypatch.setattr(compare, "open_tested", there.__getitem__)
        return compare.compare_runs([each.name for each in runs])

    return run


def test_texts_and_labels_are_matched_in_any_order(compared) -> None:
    first = made("one", "uvwxyz", "aaabbb", "aabbba")
    other = made("two", "zyxwvu", "bbbaaa", "bbaaaa", labels="ba")
    found = compared(first, other)
    assert found["n"] == 6 and [run["figures"]["accuracy"] for run in found["runs"]] == [
        pytest.approx(4 / 6),
        pytest.approx(5 / 6),
    ]
    second = found["runs"][1]
    assert (second["fixed"], second["broken"], second["moved"]) == (2, 1, 0)
    assert (second["difference"]["wins"], second["difference"]["losses"]) == (2, 1)
    assert [(text["fields"]["text"], text["gold"], text["labels"]) for text in found["changed"]] == [
        ("w", "a", ["b", "a"]),
        ("x", "b", ["b", "a"]),
        ("z", "b", ["a", "b"]),
    ]


def test_repeated_texts_are_matched_by_their_labels(compared) -> None:
    found = compared(made("one", "uuv", "aba", "aaa"), made("two", "vuu", "aba", "aba"))
    assert found["runs"][1]["fixed"] == 1 and len(found["changed"]) == 1


def test_texts_that_differ_in_case_are_matched_in_any_order(compared) -> None:
    found = compared(made("one", ["GOOD", "Good", "x"], "aab", "abb"), made("two", ["x", "Good", "GOOD"], "baa", "bba"))
    second = found["runs"][1]
    assert (second["fixed"], second["broken"], found["changed"]) == (0, 0, [])


def test_repeated_texts_with_several_labels_are_matched_whatever_the_order_of_the_labels(compared) -> None:
    runs = []
    for name, labels in (("one", "ab"), ("two", "ba")):
        task = Task.from_dict(TASK | {"labels": list(labels), "multi_label": "true"})
        gold = np.array([[label in has for label in labels] for has in ("ab", "b")], dtype=np.float32)
        columns = {"id": ["1", "2"], "text": ["u", "u"], "label": gold.tolist()}
        kinds = Features(id=Value("string"), text=Value("string"), label=Sequence(Value("float32"), length=2))
        table = Dataset.from_dict(columns, features=kinds)
        runs.append(TestedRun(name, task, "student", table, gold * 0.8 + 0.1))
    assert [run["figures"]["exact_match"] for run in compared(*runs)["runs"]] == [1, 1]


def test_runs_that_cannot_be_compared_are_refused_with_the_reason(compared) -> None:
    one = made("one", "uv", "ab", "ab")
    for other, words in (
        (made("two", "uw", "ab", "ab"), ["1 of 2", "one-v", "1 are only in two", "--test"]),
        (made("two", "uvw", "abb", "abb"), ["0 of 2", "1 are only in two"]),
        (made("two", "uv", "aa", "ab"), ["one-v", "'a'", "'b'"]),
        (made("two", "uv", "ac", "ac", labels="ac"), ["'b'", "'c'", "labels"]),
        (made("two", "uv", "ab", "ab", fields="body"), ["body", "text"]),
    ):
        with pytest.raises(PetError) as error:
            compared(one, other)
        assert all(word in str(error.value) for word in ["one", "two", *words]), str(error.value)
    with pytest.raises(PetError, match="at least two"):
        compare.compare_runs(["one"])
    with pytest.raises(PetError, match="one is named twice"):
        compare.compare_runs(["one", "one"])
    with pytest.raises(PetError, match="one/ is named twice"):
        compare.compare_runs(["one", "one/"])


@pytest.fixture(scope="module")
def runs(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    inputs = write_inputs(folder / "in")
    hostile = [row | {"text": f"{row['text']} <b>\u202e"} for row in news_rows()[28:]]
    write_rows(inputs / "test.jsonl", hostile)
    pet(*run_options(inputs, tiny_model), "--method", "supervised", "-q", "-o", folder / "supervised")
    pet(*run_options(inputs, tiny_model, parts=["test"]), "--method", "zero-shot", "-q", "-o", folder / "zero")
    return folder


def test_a_student_and_an_ensemble_are_compared_in_a_table_and_on_a_page(runs: Path, tmp_path: Path) -> None:
    names = [str(runs / "zero"), str(runs / "supervised")]
    found = json.loads(pet("compare", *names, "--json").stdout)
    assert [run["result"] for run in found["runs"]] == ["ensemble", "student"]
    for run, name in zip(found["runs"], ("ensemble", "student"), strict=True):
        metrics = json.loads((Path(run["run"]) / "metrics.json").read_text())[name]
        assert run["figures"] == metrics
    said = pet("compare", *names, "--html", tmp_path / "page.html").stdout
    assert "12 test texts" in said and f"Texts whose label changed: {len(found['changed'])} of 12" in said
    assert found["changed"] and "\u202e" not in said and "\\u202e" in said
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("gold label") == len(found["changed"]) and "<b>" not in page.split("<main")[1]
    assert "--force" in refused("compare", *names, "--html", tmp_path / "page.html")
    assert ".html" in refused("compare", *names, "--html", tmp_path / "page.txt")


def test_damaged_scores_changed_test_files_and_runs_without_test_texts_are_named(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "supervised", tmp_path / "copy")
    scores = tmp_path / "copy" / "student" / "test-logits.npy"
    np.save(scores, np.load(scores) + 1)
    assert str(scores) in refused("compare", runs / "zero", tmp_path / "copy")
    config = tmp_path / "copy" / "config.yaml"
    config.write_text(config.read_text().replace(f"  test: {runs}", f"  test: {tmp_path}"))
    (tmp_path / "in").mkdir()
    write_rows(tmp_path / "in" / "test.jsonl", [{"text": "other", "label": LABELS[0]}])
    message = refused("compare", runs / "zero", tmp_path / "copy")
    assert str(tmp_path / "in" / "test.jsonl") in message and "changed" in message
    shutil.copytree(runs / "zero", tmp_path / "none")
    config = tmp_path / "none" / "config.yaml"
    lines = [line if not line.startswith("  test:") else "  test: null" for line in config.read_text().split("\n")]
    config.write_text("\n".join(lines))
    assert "--test" in refused("compare", runs / "zero", tmp_path / "none")
    assert "no such folder" in refused("compare", runs / "zero", tmp_path / "nowhere")
