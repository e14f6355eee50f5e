"""Ids of two tables are matched in any spelling, but never by guessing."""

from __future__ import annotations

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pet.data.ids import match_ids
from pet.spelling import meaning

IDS = st.lists(
    st.sampled_from(["0", "0.0", "7", "7.0", "7.00", "-7.0", "07", "7.5", "a", "\u00e9", "e\u0301"]), unique=True
)


def matched(ids: list[str], known: list[str]) -> list[int | None]:
    return list(match_ids(pa.array(ids, pa.string()), pa.array(known, pa.string())).to_pylist())


@pytest.mark.parametrize(
    ("ids", "known", "at"),
    [
        (["1", "2"], ["2", "1"], [1, 0]),
        (["1.0", "2.0"], ["2", "1"], [1, 0]),
        (["1", "2", "3"], ["2.0", "1.0"], [1, 0, None]),
        ([unicodedata.normalize("NFD", "é")], ["é"], [0]),
        (["01", "x"], ["1", "X"], [None, None]),
        (["1", "1.0"], ["1"], [0, None]),  # two ids for one: only the exact one is meant
        (["1.0"], ["1", "1.00"], [None]),
        ([], ["1"], []),
        (["1"], [], [None]),
    ],
)
def test_ids_are_matched_in_any_spelling_that_is_not_ambiguous(
    ids: list[str], known: list[str], at: list[int | None]
) -> None:
    assert matched(ids, known) == at


@given(ids=IDS, known=IDS)
def test_only_ids_of_one_meaning_are_matched_and_both_ways(ids: list[str], known: list[str]) -> None:
    there, back = matched(ids, known), matched(known, ids)
    assert [back[at] for at in there if at is not None] == [i for i, at in enumerate(there) if at is not None]
    for text, at in zip(ids, there, strict=True):
        assert text not in known or at == known.index(text)
        assert at is None or meaning(known[at]) == meaning(text)
