"""Prompts pretrained on unlabeled text: examples, labels, and the commands."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import pet, refused, run_options, write_inputs
from tiny_text import LABELS, news_rows

from pet.errors import PetError
from pet.prompts.library import read_prompt
from pet.prompts.projection import model_map
from pet.prompts.self_supervised import (
    choice_examples,
    choice_task,
    most_confident,
    pair_examples,
    pair_task,
    split_sentences,
    to_choices,
    unified_task,
)
from pet.task.task import Task, list_tasks
from pet.tuning.members import read_member

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = ["--set", "max_length=64", "--set", "prompt_length=4", "--device", "cpu", "--precision", "fp32"]


def numbered(sizes: list[int]) -> list[list[str]]:
    """Documents whose sentences say where they stand: "2.0" is the first of the third one."""
    return [[f"{d}.{s}" for s in range(size)] for d, size in enumerate(sizes)]


def place(sentence: str) -> tuple[int, int]:
    document, number = sentence.split(".")
    return int(document), int(number)


def test_texts_are_split_into_sentences():
    assert split_sentences('He came. "Did he?" Yes! It cost 3.50 in the end...  No stop') == [
        "He came.", '"Did he?"', "Yes!", "It cost 3.50 in the end...", "No stop",
    ]  # fmt: skip
    assert split_sentences("他来了。真的吗？是") == ["他来了。", "真的吗？", "是"]
    assert split_sentences("   ") == []


@given(sizes=st.lists(st.integers(1, 6), min_size=2, max_size=5), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_pairs_are_labeled_correctly(sizes: list[int], seed: int):
    rows, labels = pair_examples(numbered([*sizes, 3]), 12, np.random.default_rng(seed))
    assert labels.tolist() == [0, 1, 2] * 4
    for (first, second), label in zip(rows, labels.tolist(), strict=True):
        (d, s), (e, t) = place(first), place(second)
        assert [d != e, d == e and abs(s - t) > 1, d == e and t == s + 1][label]


@given(sizes=st.lists(st.integers(2, 6), min_size=3, max_size=6), options=st.integers(2, 5), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_the_right_option_is_the_next_sentence(sizes: list[int], options: int, seed: int):
    rows, labels = choice_examples(numbered(sizes), options, 10, np.random.default_rng(seed))
    assert labels.tolist() == [i % options for i in range(10)]
    for (query, *offered), label in zip(rows, labels.tolist(), strict=True):
        d, s = place(query)
        assert len(set(offered)) == options
        assert place(offered[label]) == (d, s + 1)
        wrong = [place(text) for i, text in enumerate(offered) if i != label]
        assert all(e != d or abs(t - s) > 1 for e, t in wrong)
        can_be_far = s > 1 or s + 2 < sizes[d]
        assert sum(e == d for e, _ in wrong) == int(can_be_far)


def test_examples_are_determined_by_the_seed():
    documents = numbered([4, 4, 4])
    first, again, other = (pair_examples(documents, 30, np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_copy_of_an_adjacent_sentence_is_not_distant():
    """A sentence equal to an adjacent one does not count as distant."""
    documents = [["a", "b", "b", "b", "x"], ["y"]]
    rows, labels = pair_examples(documents, 300, np.random.default_rng(0))
    far = {row for row, label in zip(rows, labels.tolist(), strict=True) if label == 1}
    assert far <= {("a", "x"), ("x", "a"), ("b", "x"), ("b", "a")}
    next_ones = set(pairwise(documents[0]))
    assert {row for row, label in zip(rows, labels.tolist(), strict=True) if label == 2} <= next_ones


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([["a", "b", "c"]], "1 documents"),
        ([["a", "b"], ["c"]], "longest with 2 sentences"),
        ([["a", "a", "a"], ["b"]], "repetitive"),
        ([], "0 documents"),
    ],
)
def test_too_little_text_is_rejected(documents: list[list[str]], message: str):
    with pytest.raises(PetError, match=message):
        pair_examples(documents, 3, np.random.default_rng(0))


def test_the_most_confident_texts_of_each_label_are_selected():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3], [0.1, 0.9], [0.4, 0.6]])
    rows, labels = most_confident(probabilities, 2)
    assert rows.tolist() == [0, 3, 4, 2]
    assert labels.tolist() == [0, 0, 1, 1]
    rows, labels = most_confident(probabilities[:2], 5)
    assert (rows.tolist(), labels.tolist()) == ([0, 1], [0, 0])


def test_labels_become_positions_of_their_words():
    words = ("no", "maybe", "yes")
    labels = np.array([2, 0, 1, 2, 2, 0] * 5)
    rows, places = to_choices([f"q{i}" for i in range(30)], words, labels, np.random.default_rng(0))
    for number, (row, where) in enumerate(zip(rows, places.tolist(), strict=True)):
        assert row[0] == f"q{number}"
        assert sorted(row[1:]) == sorted(words)
        assert row[1 + where] == words[labels[number]]
    assert len({row[1:] for row in rows}) == 6  # all orders


def test_the_tasks_of_all_formats_are_valid():
    assert choice_task(3).patterns[0].template.source == "{query} A. {a} B. {b} C. {c} The answer is {mask}."
    assert choice_task(3).patterns[0].verbalizer.words == {"A": ("A",), "B": ("B",), "C": ("C",)}
    assert pair_task(("x", "y", "z")).patterns[0].verbalizer.words["next"] == ("z",)


def test_a_task_can_be_converted_to_the_unified_format():
    made = unified_task(Task.load("sst2"))
    assert made.patterns[0].template.source == "{text} A. terrible B. great The answer is {mask}."
    assert made.patterns[0].verbalizer.words == {"negative": ("A",), "positive": ("B",)}
    assert made.label_map == Task.load("sst2").label_map
    for task in map(Task.load, list_tasks()):
        if task.patterns[0].verbalizer.by_row:  # the words are not the same for all texts
            with pytest.raises(PetError, match=task.name):
                unified_task(task)
        elif len(task.labels) <= 26:
            assert unified_task(task).labels == task.labels
        else:
            with pytest.raises(PetError, match="26"):
                unified_task(task)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_inputs(tmp_path_factory.mktemp("pretrain") / "in")
    by_topic = {label: [row["text"] for row in news_rows() if row["label"] == label] for label in LABELS}
    lines = [" ".join(texts[i : i + 5]) for texts in by_topic.values() for i in (0, 5)]
    (folder / "text.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("form", ["pair", "choice", "single", "unified"])
def test_a_run_can_start_from_a_pretrained_prompt(inputs: Path, tiny_model: Path, tmp_path: Path, form: str):
    library = tmp_path / "library"
    words = ["--words", "no,great,yes"] if form == "pair" else ["--task", inputs / "task.yaml"]
    train = ["prompts", "pretrain", "--text", inputs / "text.txt", "--format", form, "--count", "24", *words]
    train += ["-m", tiny_model, *SMALL, "--set", "steps=4"]
    (made,) = json.loads(pet(*train, "-l", library, "--json").stdout)
    assert (made["name"], made["kind"], made["steps"]) == (f"ppt-{form}", "pretrained", 4)
    names = {task["task"] for task in made["tasks"]}
    unified = {"ppt-unified-pair", "ppt-unified-choice", "ppt-unified-single"}
    assert names == (unified if form == "unified" else {"topics" if form == "single" else f"ppt-{form}"})
    pet(*train, "-l", tmp_path / "again", "-q")
    file = Path(f"ppt-{form}") / "learned.safetensors"
    assert (library / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    run = [*run_options(inputs, tiny_model, parts=("train", "test")), "--tuning", "prompt", "--set", "steps=0"]
    pet(*run, "--init-prompt", f"ppt-{form}", "--prompt-library", library, "-o", tmp_path / "run")
    found = read_member(tmp_path / "run" / "g0" / "p1-r1").arrays["vectors"].numpy()
    np.testing.assert_array_equal(found, read_prompt(library / f"ppt-{form}").vectors)


@pytest.mark.parametrize("form", ["pair", "single", "unified"])
def test_a_prompt_of_a_causal_model_can_be_pretrained(inputs: Path, family_model: Any, tmp_path: Path, form: str):
    """Its patterns end in the mask."""
    train = ["prompts", "pretrain", "--text", inputs / "text.txt", "--format", form, "--count", "12"]
    train += ["-m", family_model("gpt2"), *SMALL, "--set", "steps=2", "-l", tmp_path]
    (made,) = json.loads(pet(*train, "--json").stdout)
    patterns = [pattern["template"] for task in made["tasks"] for pattern in task["patterns"]]
    assert patterns
    assert all(pattern.endswith("{mask}.") for pattern in patterns)
    assert read_prompt(tmp_path / f"ppt-{form}").vectors.shape[0] == 4


def test_a_classifier_can_be_the_teacher(inputs: Path, tiny_model: Path, tmp_path: Path):
    learn = ["--method", "supervised", "--set", "supervised_steps=40", "--set", "student_learning_rate=0.002"]
    pet(*run_options(inputs, tiny_model, parts=("train",)), *learn, "-o", tmp_path / "run")
    train = ["prompts", "pretrain", "--text", inputs / "text.txt", "--format", "single", "--count", "16"]
    train += ["-m", tiny_model, *SMALL, "--set", "steps=2", "-l", tmp_path / "library", "--teacher", tmp_path / "run"]
    (made,) = json.loads(pet(*train, "--task", inputs / "task.yaml", "--json").stdout)
    assert made["origin"]["teacher"] == "classifier"
    said = refused(*train, "--name", "other", "--task", "sst2")
    assert "--task" in said and "sst2" in said


def test_mistakes_in_pretraining_options_are_reported(inputs: Path, tiny_model: Path, tmp_path: Path):
    train = ["prompts", "pretrain", "--text", inputs / "text.txt", "-m", tiny_model, *SMALL, "-l", tmp_path / "library"]
    assert "--words" in refused(*train, "--words", "no,yes")
    assert "at most 26" in refused(*train, "--format", "choice", "--options", "1")
    assert "--count is 2" in refused(*train, "--count", "2")
    assert "multi_label" in refused(*train, "--format", "single", "--task", "tickets-multi")
    assert "several fields" in refused(*train, "--format", "single", "--task", "mnli")
    assert not (tmp_path / "library").exists()


def test_unify_writes_a_task_that_runs(inputs: Path, tiny_model: Path, tmp_path: Path):
    said = pet("prompts", "unify", inputs / "task.yaml", "-o", tmp_path / "u.yaml").stdout
    assert "{text} A. world B. sports C. business D. technology The answer is {mask}." in said
    options = run_options(inputs, tiny_model, parts=("train", "test"))
    options[1] = str(tmp_path / "u.yaml")
    pet(*options, "-o", tmp_path / "run")
    assert "u.yaml" in refused("prompts", "unify", inputs / "task.yaml", "-o", tmp_path / "u.yaml")


def test_project_maps_a_prompt_to_another_model(inputs: Path, tiny_model: Path, family_model: Any, tmp_path: Path):
    library, other = tmp_path / "library", family_model("roberta")
    train = ["prompts", "train", f"{inputs / 'task.yaml'}={inputs / 'train.jsonl'}", "-m", tiny_model, *SMALL]
    pet(*train, "--set", "steps=2", "-l", library)
    move = ["prompts", "project", "topics", "-l", library]
    (made,) = json.loads(pet(*move, "--from", tiny_model, "-m", other, "--json").stdout)
    assert (made["name"], made["kind"]) == (f"topics-on-{other.name}", "projected")
    matrix, figures = model_map(str(tiny_model), str(other))
    assert made["origin"]["words"] == figures["words"]
    before, after = read_prompt(library / "topics"), read_prompt(library / made["name"])
    padded = np.hstack([before.vectors, np.ones((4, 1))])
    np.testing.assert_allclose(after.vectors, padded @ matrix, rtol=1e-4, atol=1e-5)
    assert after.fingerprint != before.fingerprint
    run = [*run_options(inputs, other, parts=("train", "test")), "--tuning", "prompt"]
    pet(*run, "--init-prompt", made["name"], "--prompt-library", library, "-o", tmp_path / "run")
    said = refused(*move, "--from", other, "-m", tiny_model)
    assert "--from" in said
