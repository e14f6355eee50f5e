"""``pet words`` finds words that patterns accept, and writes them into task files that keep their comments."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pet.backbones.info import ModelInfo
from pet.cli.main import main
from pet.cloze.bind import bind_patterns
from pet.data.checks import column_labels
from pet.data.pick import pick_rows
from pet.errors import PetError
from pet.members.models import Models
from pet.members.shared import Shared
from pet.recipe import make_recipe
from pet.resources import folder
from pet.task.edit import NewWords, replace_words
from pet.task.task import Task
from pet.words.candidates import find_candidates
from pet.words.find import WordGroup, WordOptions, find_words
from pet.words.function_words import ASSOCIATED, association, presence
from pet.words.names import FREQUENT, name_tokens, seed_words
from pet.words.tables import read_texts
from pet.words.text import words_text

TASK = """\
# Mine.
task: news
fields: [headline, body]
labels: [World, Sports, Business, Technology]   # four
descriptions: {World: "Politics, war and peace."}
columns: {body: body}

patterns:
  - "{headline} {body} This is about {mask}."
  - "[ Category: {mask} ] {headline}"   # short
  - template: "A {mask} story: {headline}"
    verbalizer: {World: politics, Sports: sports, Business: business, Technology: technology}
"""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["words", *map(str, arguments), "-m", "mini-en", "--max-length", "48"])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two labels with five texts, one with one, one with none; and unlabeled texts."""
    root = tmp_path_factory.mktemp("words")
    lines = (folder("data") / "news" / "train.jsonl").read_text().splitlines()
    wanted = {"Sports": 5, "Business": 5, "Technology": 1}
    chosen = [
        line
        for label, count in wanted.items()
        for line in [line for line in lines if json.loads(line)["label"] == label][:count]
    ]
    pool = (folder("data") / "news" / "unlabeled.jsonl").read_text().splitlines()[:80]
    made = {"train": root / "train.jsonl", "pool": root / "pool.jsonl", "task": root / "task.yaml"}
    for name, content in {"train": chosen, "pool": pool, "task": TASK.splitlines()}.items():
        made[name].write_text("".join(f"{line}\n" for line in content))
    return made


@pytest.fixture(scope="module")
def shared(files: dict[str, Path]) -> Shared:
    recipe = make_recipe("default", {"max_length": "48"})
    task = Task.load(files["task"], words=False)
    return Shared(task, recipe, Models(ModelInfo("mini-en"), 48, shared=False), "cpu", "fp32")


@pytest.fixture(scope="module")
def found(shared: Shared, files: dict[str, Path]) -> list[WordGroup]:
    tables = read_texts(shared.task, {"train": str(files["train"]), "unlabeled": str(files["pool"])})
    return find_words(shared, tables["train"], tables["unlabeled"], WordOptions(count=4, texts=30))


def test_patterns_that_share_words_are_ranked_together(found: list[WordGroup]) -> None:
    assert [group.patterns for group in found] == [(0, 1), (2,)]
    for group in found:
        for words in group.words.values():
            scores = [word.score for word in words]
            assert scores == sorted(scores, reverse=True)
            assert all(word.score == pytest.approx(sum(word.patterns) / len(group.patterns)) for word in words)


def test_a_word_is_a_token_of_the_texts_and_serves_one_label(found: list[WordGroup], shared: Shared) -> None:
    for group in found:
        words = [word for found_words in group.words.values() for word in found_words]
        assert len({word.word.casefold() for word in words}) == len(words) > 8
        names = {label.lower() for label in shared.task.labels}
        assert all(word.count > 0 or word.word in names for word in words)
        plain = {label: [word.word for word in found_words] for label, found_words in group.words.items()}
        patterns = ["{headline} {mask}."]
        task = Task.from_dict(shared.task.to_dict() | {"verbalizer": plain, "patterns": patterns})
        bind_patterns(task, shared.tokenizer, 48)


def test_labels_with_few_texts_are_guessed_from_their_names(found: list[WordGroup]) -> None:
    assert set(found[0].notes) == {"World", "Technology"}
    assert "description" in found[0].notes["World"] and "description" not in found[0].notes["Technology"]
    assert "technology" in [word.word for word in found[0].words["Technology"]]


def test_a_label_that_all_texts_have_is_guessed_from_its_name(shared: Shared, files: dict[str, Path]) -> None:
    train = read_texts(shared.task, {"train": str(files["train"])})["train"]
    alone = pick_rows(train, np.flatnonzero(column_labels(train) == shared.task.labels.index("Sports")))
    for group in find_words(shared, alone, None, WordOptions(count=2, texts=5)):
        assert "sports" in [word.word for word in group.words["Sports"]] and "Sports" in group.notes


def test_a_label_without_words_is_told_what_to_add(found: list[WordGroup], shared: Shared) -> None:
    lacking = replace(found[0], words=found[0].words | {"Sports": ()})
    (line,) = [line for line in words_text(shared.task, [lacking]).splitlines() if line.startswith("Sports:")]
    assert "no words" in line and "labeled texts" in line and "descriptions" in line


def test_frequent_words_that_have_nothing_to_do_with_a_label_are_not_proposed(
    found: list[WordGroup], files: dict[str, Path], shared: Shared
) -> None:
    rows = [[json.loads(line) for line in files[part].read_text().splitlines()] for part in ("train", "pool")]
    texts = [f"{row['headline']} {row['body']}" for row in (*rows[1], *rows[0])]
    frequent = find_candidates(texts, shared.tokenizer).words[:FREQUENT]
    assert {"the", "of"} < set(frequent)
    labels = list(shared.task.labels)
    belongs = np.array([[row["label"] == label for label in labels] for row in rows[0]])
    associated = association(presence(texts[len(rows[1]) :], frequent), belongs) >= ASSOCIATED
    for words in (group.words for group in found):
        for number, label in enumerate(labels):
            empty = {word for word, own in zip(frequent, associated, strict=True) if not own[number]}
            assert not empty & {word.word for word in words[label]}


def test_a_part_of_a_name_does_not_stand_for_the_label(shared: Shared) -> None:
    tokenizer = shared.tokenizer
    parts = tokenizer.tokenize("infile")
    assert parts[0] == "in"  # a word of its own, too
    ids = tokenizer.convert_tokens_to_ids(["money", *parts])
    assert name_tokens(tokenizer, ["infile", "money"]) == (ids[:1], ids[1:])
    assert name_tokens(tokenizer, ["infile"]) == (ids[1:], ids[1:])


def test_patterns_that_ask_about_each_label_get_no_words(shared: Shared, files: dict[str, Path]) -> None:
    mapping = shared.task.to_dict() | {"multi_label": "true", "metrics": ["micro_f1"]}
    mapping["verbalizer"] = {label: label.lower() for label in shared.task.labels}
    mapping["patterns"] = ["{headline} Is it {label}? {mask}.", "{headline} This is {mask}."]
    (files["task"].parent / "asks.yaml").write_text(json.dumps(mapping))
    task = Task.load(files["task"].parent / "asks.yaml")
    pool = read_texts(task, {"unlabeled": str(files["pool"])})["unlabeled"]
    (group,) = find_words(replace(shared, task=task), None, pool, WordOptions(count=2, texts=5))
    assert group.patterns == (1,)
    with pytest.raises(PetError, match="no and yes"):
        find_words(replace(shared, task=task.with_patterns([1])), None, pool)


def test_a_task_whose_words_are_fields_has_none_to_find(shared: Shared) -> None:
    table: Any = object()
    with pytest.raises(PetError, match=r"copa.*fields"):
        find_words(replace(shared, task=Task.load("copa")), table, None)


def test_shared_words_and_frequent_words_of_descriptions_do_not_stand_for_a_label(shared: Shared) -> None:
    labels = {"labels": ["card payment", "cardArrival", "1"], "descriptions": {"1": "The card of it, friend."}}
    verbalizer = {"card payment": "a", "cardArrival": "b", "1": "c"}
    task = Task.from_dict({"task": "t", "fields": ["x"], "verbalizer": verbalizer, "patterns": ["{x} {mask}"]} | labels)
    candidates = find_candidates(["the of it the of it"], shared.tokenizer)
    assert [sorted(words) for words in seed_words(task, candidates)] == [["payment"], ["Arrival"], ["friend"]]


def test_function_words_of_a_name_do_not_stand_for_the_label(shared: Shared) -> None:
    names = ["State of the Art", "Sports and Games"]
    verbalizer = dict(zip(names, "ab", strict=True))
    about = {"task": "t", "fields": ["x"], "labels": names, "patterns": ["{x} {mask}"]}
    task = Task.from_dict(about | {"verbalizer": verbalizer})
    few = ["The end of the war and the start of the talks.", "The cost of the state and the price of the land."]
    names_only = ["Art and sports", "games"]
    found = seed_words(task, find_candidates(few * 15 + names_only, shared.tokenizer))
    assert [sorted(words) for words in found] == [["Art", "State"], ["Games", "Sports"]]
    found = seed_words(task, find_candidates(few + names_only, shared.tokenizer))  # too few texts to tell
    assert [sorted(words) for words in found] == [["Art", "State", "of", "the"], ["Games", "Sports", "and"]]


def test_words_that_the_texts_lack_do_not_stand_for_a_label_with_others(shared: Shared) -> None:
    candidates = find_candidates(["the world of sports"], shared.tokenizer, ["war"])
    task = replace(shared.task, descriptions={"World": "War in the world."})
    assert seed_words(task, candidates)[0] == ["World"]


def test_candidates_are_frequent_whole_words_of_one_token(shared: Shared) -> None:
    found = find_candidates(["War war WAR peace", "peace xqzzk 1999 a", "football"], shared.tokenizer)
    assert found.words == ("war", "peace", "football")
    assert found.counts.tolist() == [3, 2, 1]


def test_words_are_printed_and_written_with_comments_kept(files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(TASK)
    result = call(path, "--unlabeled", files["pool"], "-k", 2, "--texts", 12, "--write", "--json", "-q")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    said = document["groups"][0]["labels"]
    written, before = Task.load(path), TASK.splitlines()
    assert written.patterns[0].verbalizer.words["World"] == tuple(w["word"] for w in said["World"]["words"])
    lines = path.read_text().splitlines()
    assert [line for line in lines if line and line in before] == [line for line in before[:-1] if line]
    assert sum("# a guess" in line for line in lines) == 4


def test_words_for_yes_and_no_stay_as_they_are(files: dict[str, Path], tmp_path: Path) -> None:
    """Words of a pattern that asks about each label are not searched for."""
    path = tmp_path / "task.yaml"
    asks = '  - template: "{headline} Is it about {label}? {mask}."\n    verbalizer: {"no": wrong, "yes": right}\n'
    path.write_text(f"{TASK}{asks}multi_label: true\n")
    result = call(path, "--unlabeled", files["pool"], "-k", 2, "--texts", 12, "--write", "-q")
    assert result.exit_code == 0, result.output
    assert Task.load(path).patterns[-1].verbalizer.words == {"no": ("wrong",), "yes": ("right",)}


def test_a_task_of_the_package_is_not_changed_and_texts_are_required(files: dict[str, Path]) -> None:
    result = call("agnews", "--unlabeled", files["pool"], "--write")
    assert result.exit_code == 2 and "pet tasks agnews" in result.stderr
    result = call(files["task"])
    assert result.exit_code == 2 and "--train" in result.stderr and "--unlabeled" in result.stderr


OLD = """\
verbalizer:
  bad: awful  # a guess
  "no":
    - so   # inside
    - la
  good: great  # mine
patterns: ["{x} {mask}"]
"""
NEW = NewWords({"bad": ["poor"], "no": ["on", "x"], "good": ["fine"], "more": ["a: b"]}, {"good": "a guess"})


def test_only_the_words_change() -> None:
    assert replace_words(OLD, "t", NEW, {}).splitlines() == [
        "verbalizer:",
        "  bad: [poor]",
        '  "no": ["on", x]',
        "  good: [fine]  # a guess; mine",
        '  more: ["a: b"]',
        'patterns: ["{x} {mask}"]',
    ]


@pytest.mark.parametrize("old", ["verbalizer: {bad: awful} \n", "verbalizer:\n", ""])
def test_missing_and_flow_verbalizers_are_written_as_lines(old: str) -> None:
    text = f"task: t\n{old}# About patterns.\npatterns: ['{{x}} {{mask}}']\n"
    lines = replace_words(text, "t", NewWords({"bad": ["poor"]}, {"bad": "a guess"}), {}).splitlines()
    assert [line.rstrip() for line in lines if line] == [
        "task: t",
        "verbalizer:",
        "  bad: [poor]  # a guess",
        "# About patterns.",
        "patterns: ['{x} {mask}']",
    ]


def test_an_alias_is_refused_with_its_line() -> None:
    with pytest.raises(PetError, match=r"t:2.*alias"):
        replace_words("a: &w {bad: x}\nverbalizer: *w\npatterns: []\n", "t", NEW, {})
