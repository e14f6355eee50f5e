"""Problems in the tables of a run are found and counted."""

from __future__ import annotations

from typing import Any

import datasets
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pet.data.checks import check_tables, normalize, rows_without, text_key, text_keys

LABELS = ["good", "bad", "so so"]
WORDS = st.lists(st.sampled_from(["Tea", "straße", "ÉCOLE", "中文", "🎉", "a"]), min_size=1, max_size=4)


def table(texts: list[str], labels: list[int] | None = None, **others: list[str]) -> datasets.Dataset:
    columns: dict[str, Any] = {"id": [str(n) for n in range(len(texts))], "text": texts, **others}
    return datasets.Dataset.from_dict(columns | ({"label": labels} if labels is not None else {}))


def leak_free(pool: datasets.Dataset, train: datasets.Dataset, fields: list[str]) -> list[int]:
    found: list[int] = rows_without(text_keys(pool, fields), text_keys(train, fields)).tolist()
    return found


def disguise(words: list[str], data: st.DataObject) -> str:
    spaces = st.sampled_from([" ", "  ", "\n", "\t", "\u00a0", "\u3000"])
    cases = st.sampled_from([str.upper, str.lower, str.title])
    parts = [data.draw(cases)(word) + data.draw(spaces) for word in words]
    return data.draw(spaces) + "".join(parts)


@settings(max_examples=40, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=8), st.data())
def test_leaks_are_found_whatever_their_case_and_white_space(texts: list[list[str]], data: st.DataObject) -> None:
    train_size = data.draw(st.integers(0, len(texts)))
    train = table([disguise(words, data) for words in texts[:train_size]] or ["nothing else"])
    pool = table([disguise(words, data) for words in texts])
    secret = {" ".join(words).casefold() for words in texts[:train_size]}
    kept = [number for number, words in enumerate(texts) if " ".join(words).casefold() not in secret]
    assert leak_free(pool, train, ["text"]) == kept


@given(st.text(), st.text())
def test_normalize_is_idempotent_and_keys_follow_it(one: str, other: str) -> None:
    assert normalize(normalize(one)) == normalize(one)
    if normalize(one) == normalize(other):
        assert text_key([one]) == text_key([other])
    else:
        assert text_key([one]) != text_key([other])


def test_normalize_folds_case_and_white_space() -> None:
    assert normalize("  The\n\tSTRASSE \u00a0 straße ") == "the strasse strasse"


def test_the_key_is_the_same_in_every_process() -> None:
    assert text_key(["Good  News", "x"]) == text_key(["good news", "X "])
    assert text_key(["a"]) == int.from_bytes(bytes.fromhex("40f89e395b66422f"), "little")  # printf a | b2sum -l 64


def test_keys_keep_fields_apart() -> None:
    pairs = table(["a b", "a"], title=["c", "b c"])
    one, other = text_keys(pairs, ["text", "title"])
    assert one != other
    assert text_keys(table(["x"] * 10_000), ["text"]).shape == (10_000,)


def test_a_leak_requires_all_fields_to_be_equal() -> None:
    train = table(["premise"], title=["one"])
    pool = table(["premise", "Premise"], title=["two", " ONE"])
    assert leak_free(pool, train, ["text", "title"]) == [0]


def test_every_problem_is_counted_and_has_a_message() -> None:
    train = table(["One", "one ", "two", "", "three"], [0, 1, 1, 0, 1])
    pool = table(["ONE", "five", "six", "six", "  ", "\n"])
    test = table(["two", "five", "seven", ""], [0, 1, 2, 2])
    report = check_tables(["text"], LABELS, train, pool, test)
    assert report.rows == {"train": 5, "unlabeled": 6, "test": 4}
    assert report.label_counts == {
        "train": {"good": 2, "bad": 3, "so so": 0},
        "test": {"good": 1, "bad": 1, "so so": 2},
    }
    assert report.empty == {"train": 1, "unlabeled": 2, "test": 1}
    assert report.duplicates == {"train": 1, "unlabeled": 1, "test": 0}
    assert report.conflicts == {"train": 1, "test": 0}
    assert (report.train_in_pool, report.train_in_test, report.pool_in_test) == (1, 1, 1)
    expected = [
        ("train", "'so so'"), ("train", "1 row"), ("train", "1 row"), ("train", "1 text"),
        ("unlabeled", "2 rows"), ("unlabeled", "1 row"), ("test", "1 row"),
        ("unlabeled", "train"), ("test", "train"), ("test", "unlabeled"),
    ]  # fmt: skip
    for message, (table_name, part) in zip(report.messages, expected, strict=True):
        assert message.startswith(f"{table_name}: ") and part in message


def test_one_row_with_a_text_of_train_leaves_the_pool_as_it_and_more_as_them() -> None:
    train = table(["one", "two"], [0, 1])
    for pool, words in (
        (["One", "three"], "1 row with a text from train; a run leaves it out"),
        (
            ["One", "two"],
            "2 rows with a text from train; a run leaves them out",
        ),
    ):
        assert words in check_tables(["text"], LABELS, train, table(pool), None).messages[-1]


def test_texts_that_are_known_to_come_from_the_pool_give_no_message() -> None:
    train = table(["one", "two", "three"], [0, 1, 2])
    pool = table(["One", "two", "four"])
    known = text_keys(table(["one"]), ["text"])
    report = check_tables(["text"], LABELS, train, pool, None, known)
    assert report.train_in_pool == 1 and "1 row" in report.messages[-1]
    assert check_tables(["text"], LABELS, table(["one"], [0]), table(["One"]), None, known).train_in_pool == 0


def test_clean_or_missing_tables_give_no_messages() -> None:
    report = check_tables(["text"], ["good"], table(["a"], [0]), None, None)
    assert report.messages == [] and report.rows == {"train": 1}
    assert check_tables(["text"], LABELS, None, table(["a"]), None).messages == []
    assert check_tables(["text"], LABELS, None, None, None).rows == {}


def test_a_text_with_three_labels_is_one_conflict() -> None:
    train = table(["a", "A", " a", "b"], [0, 1, 2, 0])
    assert check_tables(["text"], LABELS, train, None, None).conflicts == {"train": 1}


def test_keys_of_long_texts_depend_on_their_ends() -> None:
    one, other = text_keys(table(["x" * 100_000 + "a", "x" * 100_000 + "b"]), ["text"])
    assert one != other


def test_selected_rows_are_checked_in_place_of_the_whole_table() -> None:
    picked = table(["a", "b", "c"], [0, 1, 2]).select([2, 0])
    assert check_tables(["text"], LABELS, picked, None, None).label_counts["train"] == {
        "good": 1,
        "bad": 0,
        "so so": 1,
    }
    assert np.array_equal(text_keys(picked, ["text"]), text_keys(table(["c", "a"]), ["text"]))
