"""Words that vote for labels: what they match, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from pet.errors import PetError
from pet.members.kinds import fit_scorer, parse_member
from pet.members.nli import entailment_columns, hypotheses
from pet.members.rules import Rules, RulesMember, read_rules
from pet.members.seam import MemberData
from pet.members.texts import Texts
from pet.task.task import Task

LABELS = ("bad", "good")
TASK = Task.from_dict(
    {
        "task": "reviews",
        "fields": ["title", "text"],
        "labels": list(LABELS),
        "verbalizer": {"bad": "terrible", "good": "great"},
        "patterns": ["{title} {text} {mask}"],
    }
)


@pytest.mark.parametrize(
    ("word", "text", "found"),
    [
        ("great", "GREAT!", True),
        ("great", "greatest", False),
        ("Not good", "it was not\n good.", True),
        ("not good", "not very good", False),
        ("C++", "in c++", True),
        ("C++", "vitamin c", False),
        ("C#", "C# or F#?", True),
        ("R&D", "r&d costs", True),
        ("R&D", "r d", False),
        ("$5", "$50", False),
        ("refund", "#refund", True),
        (".*", "anything", False),
        ("café", "Cafe\u0301s and a cafe\u0301", True),
        ("差", "质量很差。", True),
        ("ﾀﾞﾒ", "これはﾀﾞﾒです", True),
        (":)", "well :)", True),
        ("straße", "STRASSE", True),
    ],
)
def test_words_are_found_whole_and_never_as_a_pattern(word: str, text: str, found: bool) -> None:
    assert list(Rules({word: [0]}).votes(text)) == [0] * found


def test_spellings_of_one_word_are_one_word_with_the_labels_of_all() -> None:
    rules = Rules({"Refund": [0], "refund": [1], "REFUND!": [1]})
    assert sorted(rules.votes("a refund")) == [0, 1]
    assert sorted(Rules({":D": [0], ":d": [1]}).votes("fine :D")) == [0, 1]


def test_votes_become_probabilities_and_texts_without_a_word_abstain(tmp_path: Path) -> None:
    (tmp_path / "words.csv").write_text("word,label\nlovely,good\nclean,good\nlovely,good\nawful,bad\n")
    member = RulesMember(parse_member(f"rules:{tmp_path / 'words.csv'}"), TASK)
    table = {"id": ["a", "b", "c"], "title": ["Lovely", "Awful", "Fine"], "text": ["clean lovely", "but clean", "ok"]}
    (tmp_path / "member").mkdir()
    fit_scorer(member.spec, member, MemberData([], np.zeros(0, np.int64), None), tmp_path / "member")
    out = np.zeros((3, 2), np.float32)
    RulesMember(member.spec, TASK, tmp_path / "member").scores(Texts(Dataset.from_dict(table)), out)
    np.testing.assert_allclose(np.exp(out[:2]), [[0.1 / 2.2, 2.1 / 2.2], [0.5, 0.5]], rtol=1e-5)
    assert np.isnan(out[2]).all()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("word,label\nlovely,goood\n", (":2", "'goood'", "good")),
        ("word,label\n,good\n", (":2", "no word")),
        ("word,label\na b c d e f g h i j k,good\n", (":2", "shorter")),
        ("word\nlovely\n", ("`word` and `label`",)),
        ("word,label\n", ("words.csv",)),
    ],
)
def test_a_mistake_names_line_thing_and_cure(tmp_path: Path, text: str, named: tuple[str, ...]) -> None:
    (tmp_path / "words.csv").write_text(text)
    with pytest.raises(PetError) as caught:
        read_rules(tmp_path / "words.csv", LABELS, "rules")
    assert all(part in str(caught.value) for part in named), str(caught.value)


def test_hypotheses_are_descriptions_or_words() -> None:
    described = Task.from_dict({**TASK.to_dict(), "descriptions": {"bad": "a complaint {x}."}})
    assert hypotheses(described, "It is {}.") == ["It is a complaint {x}.", "It is great."]


def test_a_classifier_without_entailment_is_no_model_of_inference() -> None:
    assert entailment_columns(("ENTAILMENT", "not_entailment"), "m") == (0, [1])
    with pytest.raises(PetError, match="entailment"):
        entailment_columns(("LABEL_0", "LABEL_1"), "m")


def test_a_label_that_patterns_ask_about_is_shown_by_its_name() -> None:
    asked = {"task": "t", "fields": ["text"], "labels": ["late", "rude"], "multi_label": "true"}
    task = Task.from_dict(
        {**asked, "patterns": ["{text} Is it {label}? {mask}."], "descriptions": {"rude": "an insult"}}
    )
    assert hypotheses(task, "It is {}.") == ["It is late.", "It is an insult."]


def test_a_model_without_entailment_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "id2label": {"0": "LABEL_0", "1": "b"}}))
    with pytest.raises(PetError) as caught:
        parse_member(f"nli:{tmp_path}")
    assert all(part in str(caught.value) for part in (str(tmp_path), "LABEL_0", "id2label"))
