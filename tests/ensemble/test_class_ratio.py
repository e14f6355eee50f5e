"""The class ratio: how a user writes it, and how it is estimated from few labels and many predictions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pet.data.label_counts import read_label_counts
from pet.data.reviewed import Decision
from pet.ensemble.class_ratio import parse_shares, ratio_of_counts, read_prior, shares_text
from pet.ensemble.ratio_estimate import estimate_ratio
from pet.errors import PetError

NEWS = ["World", "Sports", "Sci/Tech"]


# ---- what users write --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["World:.5,Sports:.3,Sci/Tech:.2", "Sci/Tech:2,Sports:3, World: 5", "50,30,20", "0.5,0.3,0.2", "50.0,30.0,20.0"],
)
def test_shares_are_named_in_any_order_or_numbers_in_task_order(text: str):
    np.testing.assert_allclose(parse_shares(text, NEWS), [0.5, 0.3, 0.2])


def test_labels_of_shares_are_found_in_other_spellings_and_with_colons():
    np.testing.assert_allclose(parse_shares("1.0:.25,0.0:.75", ["0", "1"]), [0.75, 0.25])
    np.testing.assert_allclose(parse_shares("good:1,bad:3", ["0", "1"], {"good": "1", "bad": "0"}), [0.75, 0.25])
    np.testing.assert_allclose(parse_shares("a:b:.25,c:.75", ["a:b", "c"]), [0.25, 0.75])


def test_a_label_without_a_share_is_rare_and_not_impossible():
    shares = parse_shares("World:1,Sports:1,Sci/Tech:0", NEWS)
    assert 0 < shares[2] <= 1e-4
    assert shares.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("World:.5,Sport:.3,Sci/Tech:.2", ["'Sport'", "did you mean 'Sports'"]),
        ("World:.5,Sports:.5", ["'Sci/Tech'"]),
        ("World:.5,World:.3,Sports:.1,Sci/Tech:.1", ["'World'", "two"]),
        ("World:x,Sports:.3,Sci/Tech:.2", ["'World'", "'x'"]),
        ("World,Sports:.3,Sci/Tech:.2", ["'World'"]),
        ("World:.5,Sports:.3,Sci/Tech:.1", ["0.9"]),
        ("World:-1,Sports:1,Sci/Tech:1", ["at least 0"]),
        ("0,0,0", ["above 0"]),
        ("1,2", ["2 numbers", "3 labels"]),
        ("nan,nan,nan", ["'nan"]),
        ("inf:1,World:2", ["'inf'"]),
    ],
)
def test_a_mistake_in_shares_names_the_label_and_the_number(text: str, named: list[str]):
    with pytest.raises(PetError) as error:
        parse_shares(text, NEWS)
    assert all(part in str(error.value) for part in named), str(error.value)


def test_labels_with_commas_are_told_the_way_out():
    with pytest.raises(PetError, match="give the numbers alone"):
        parse_shares("no, never:.5,yes:.5", ["no, never", "yes"])
    assert shares_text(np.array([0.5, 0.5]), ["no, never", "yes"]) == "0.5,0.5"


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=12))
def test_shares_survive_being_written_and_read(counts: list[int]):
    labels = [f"label {number}" for number in range(len(counts))]
    shares = np.asarray(counts) / sum(counts)
    text = shares_text(shares, labels)
    np.testing.assert_allclose(parse_shares(text, labels), np.maximum(shares, 1e-4), atol=2e-3)
    assert shares_text(parse_shares(text, labels), labels) is not None


def test_unknown_values_suggest_a_word_or_name_the_missing_file():
    with pytest.raises(PetError, match="'balanced'"):
        read_prior("balancd", NEWS)
    with pytest.raises(PetError, match=r"counts\.csv: no such file"):
        read_prior("counts.csv", NEWS)
    assert read_prior("balanced", NEWS) is None


# ---- files -------------------------------------------------------------------------------------


def test_a_table_of_counts_has_one_row_a_label(tmp_path: Path):
    file = tmp_path / "counts.csv"
    file.write_text("label,count\nSports,30\nWorld,50\nSci/Tech,20\n")
    counts, sampled = read_label_counts(str(file), NEWS)
    assert (counts.tolist(), sampled) == ([50, 30, 20], False)
    # Its columns are its own, whatever those of the data are called.
    assert read_label_counts(str(file), NEWS, columns={"label": "topic"})[0].tolist() == [50, 30, 20]


def test_reviewed_texts_are_counted(tmp_path: Path):
    file = tmp_path / "reviewed.jsonl"
    rows = [{"text": "a", "topic": "World"}, {"text": "b", "topic": "World"}, {"text": "c", "topic": "Sports"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    counts, sampled = read_label_counts(str(file), NEWS, columns={"label": "topic"})
    assert (counts.tolist(), sampled) == ([2, 1, 0], True)


def test_of_a_review_only_the_decisions_that_hold_are_counted(tmp_path: Path):
    file = tmp_path / "reviewed.jsonl"
    said = [("a", "World", "labeled"), ("b", "World", "labeled"), ("a", "Sports", "labeled")]
    said += [("c", None, "skipped"), ("d", "World", "labeled"), ("d", None, "undone"), ("e", None, "none_of_these")]
    decisions = [Decision(name, {"text": name}, label, verdict) for name, label, verdict in said]
    file.write_text("".join(f"{decision.to_json()}\n" for decision in decisions))
    counts, sampled = read_label_counts(str(file), NEWS)
    assert (counts.tolist(), sampled) == ([1, 1, 0], True)
    with pytest.raises(PetError, match=r"reviewed\.jsonl:1: label 'World'"):
        read_label_counts(str(file), ["Wrld", "Sports"])
    file.write_text(Decision("a", {"text": "a"}, None, "skipped").to_json() + "\n")
    with pytest.raises(PetError, match=r"reviewed\.jsonl: no text is labeled"):
        read_label_counts(str(file), NEWS)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("label,count\nWorld,1\nSport,2\n", ["Sport", "Sports"]),
        ("label,count\nWorld,1\nSports,2\n", ["'Sci/Tech'"]),
        ("label,count\nWorld,1\nSports,many\nSci/Tech,3\n", ["row 2", "'Sports'", "'many'"]),
        ("label,count\nWorld,1\nSports,-2\nSci/Tech,3\n", ["row 2", "'Sports'", "'-2'"]),
        ("label,count\nWorld,1\nWorld,2\nSports,1\nSci/Tech,3\n", ["row 2", "'World'"]),
        ("label,count\nWorld,0\nSports,0\nSci/Tech,0\n", ["0"]),
        ("name,count\nWorld,1\n", ["label"]),
    ],
)
def test_a_mistake_in_a_file_of_counts_names_the_file_and_the_thing(tmp_path: Path, content: str, named: list[str]):
    file = tmp_path / "counts.csv"
    file.write_text(content)
    with pytest.raises(PetError) as error:
        read_label_counts(str(file), NEWS, name="prior")
    assert all(part in str(error.value) for part in (*named, "counts.csv")), str(error.value)


def test_the_ratio_of_a_sample_has_the_interval_of_wilson():
    ratio = ratio_of_counts(np.array([36, 9]))
    np.testing.assert_allclose([ratio.low[0], ratio.high[0]], [0.661770, 0.891039], atol=1e-6)
    np.testing.assert_allclose(ratio.shares, [37 / 47, 10 / 47])
    np.testing.assert_allclose(ratio_of_counts(np.array([40, 0])).low[0], 0.912378, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=2, max_size=200).filter(any))
def test_every_share_of_a_sample_is_above_zero_and_in_its_interval(counts: list[int]):
    ratio = ratio_of_counts(np.array(counts))
    assert ratio.shares.sum() == pytest.approx(1) and ratio.shares.min() > 0
    assert (ratio.low <= ratio.shares + 1e-12).all() and (ratio.shares <= ratio.high + 1e-12).all()


# ---- estimates ---------------------------------------------------------------------------------


def _classifier(gold: np.ndarray, labels: int, accuracy: float, generator: np.random.Generator) -> np.ndarray:
    """Log-probabilities that are highest for the right label in this share of the rows, and unsure."""
    said = np.where(generator.random(len(gold)) < accuracy, gold, generator.integers(0, labels, len(gold)))
    scores = generator.normal(0, 0.3, (len(gold), labels))
    scores[np.arange(len(gold)), said] += 1.5
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), labels=st.integers(2, 5), as_drawn=st.booleans())
def test_with_many_labeled_texts_the_shifted_ratio_is_found(seed: int, labels: int, as_drawn: bool):
    """Balanced labeled texts say nothing about the pool; labeled texts drawn from it do."""
    generator = np.random.default_rng(seed)
    truth = generator.dirichlet(np.full(labels, 2.0))
    pool = np.repeat(np.arange(labels), np.maximum(np.round(truth * 3000), 1).astype(int))
    truth = np.bincount(pool, minlength=labels) / len(pool)
    gold = generator.choice(pool, 2000) if as_drawn else np.arange(2000) % labels
    ratio = estimate_ratio(
        _classifier(gold, labels, 0.7, generator),
        gold,
        np.exp(_classifier(pool, labels, 0.7, generator)),
        as_drawn=as_drawn,
    )
    assert ratio.shares.sum() == pytest.approx(1)
    assert (ratio.shares > 0).all() and (ratio.low <= ratio.shares).all() and (ratio.shares <= ratio.high).all()
    np.testing.assert_allclose(ratio.shares, truth, atol=0.1)
    assert np.abs(ratio.shares - truth).sum() <= max(0.15, np.abs(1 / labels - truth).sum() / 2)


def test_intervals_hold_the_share_about_as_often_as_they_say():
    generator, held = np.random.default_rng(0), 0
    pool = np.repeat([0, 1, 2], [700, 200, 100])
    for _ in range(60):
        gold = np.arange(90) % 3
        ratio = estimate_ratio(
            _classifier(gold, 3, 0.7, generator), gold, np.exp(_classifier(pool, 3, 0.7, generator)), as_drawn=False
        )
        truth = np.array([0.7, 0.2, 0.1])
        held += int(((ratio.low <= truth) & (ratio.high >= truth)).sum())
    assert 0.85 <= held / 180 <= 1


def test_a_classifier_that_knows_nothing_leaves_the_ratio_of_the_labeled_texts():
    generator = np.random.default_rng(1)
    gold, pool = np.repeat([0, 1], [30, 10]), np.repeat([0, 1], [100, 900])
    guesses = [_classifier(rows, 2, 0.0, generator) for rows in (gold, pool)]
    drawn = estimate_ratio(guesses[0], gold, np.exp(guesses[1]), as_drawn=True)
    np.testing.assert_allclose(drawn.shares, [31 / 42, 11 / 42], atol=0.1)
    even = estimate_ratio(guesses[0], gold, np.exp(guesses[1]), as_drawn=False)
    assert (even.low < 0.5).all() and (even.high > 0.5).all()


def test_without_a_prediction_the_estimate_is_what_is_known_beforehand():
    none = np.full((4, 2), np.nan)
    pool = np.tile([0.9, 0.1], (50, 1))
    gold = np.array([0, 0, 0, 1])
    np.testing.assert_allclose(estimate_ratio(none, gold, pool, as_drawn=True).shares, [4 / 6, 2 / 6])
    np.testing.assert_allclose(estimate_ratio(none, gold, pool, as_drawn=False).shares, [0.9, 0.1])
    start = np.array([0.4, 0.6])
    np.testing.assert_allclose(estimate_ratio(none, gold, pool, as_drawn=False, start=start).shares, start)


def test_fewer_labeled_texts_move_the_estimate_less():
    """The mean prediction is .68 and .32 for the texts of a label: .644 = .9 · .68 + .1 · .32."""
    pool, even = np.tile([0.644, 0.356], (1000, 1)), np.array([0.5, 0.5])
    found = []
    for count in (10, 50, 1000):
        gold = np.arange(count) // 5 % 2
        said = np.where(np.arange(count) % 5 > 0, gold, 1 - gold)
        rows = np.log([[0.8, 0.2], [0.2, 0.8]])[said]
        found.append(float(estimate_ratio(rows, gold, pool, as_drawn=False, start=even).shares[0]))
    assert 0.5 < found[0] < found[1] < found[2]
    assert found[2] == pytest.approx(0.9, abs=0.02)
