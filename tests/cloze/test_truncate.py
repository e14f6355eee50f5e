"""Truncation of fields, compared with removing single tokens."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pet.cloze.encode import truncate_lengths


def one_at_a_time(lengths: list[int], budget: int, keep: list[bool]) -> list[int]:
    """Reference: remove single tokens from the longest field (the last on ties) until everything fits."""
    stay = list(lengths)
    while sum(stay) > budget:
        free = [i for i, kept in enumerate(keep) if not kept and stay[i] > 0]
        if not free:
            break
        longest = max(free, key=lambda i: (stay[i], i))
        stay[longest] -= 1
    return stay


@st.composite
def tables(draw):
    fields = draw(st.integers(1, 5))
    row = st.lists(st.integers(0, 25), min_size=fields, max_size=fields)
    keep = draw(st.lists(st.booleans(), min_size=fields, max_size=fields))
    return draw(st.lists(row, min_size=1, max_size=6)), keep


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables(), st.integers(0, 80))
def test_truncation_equals_removing_single_tokens(table, budget):
    rows, keep = table
    result = truncate_lengths(np.array(rows), budget, keep)
    assert result.dtype == np.int64
    assert result.tolist() == [one_at_a_time(row, budget, keep) for row in rows]


def test_the_longest_field_is_truncated_first():
    assert truncate_lengths(np.array([[100, 10, 20]]), 40, [False] * 3).tolist() == [[15, 10, 15]]


def test_a_leftover_token_goes_to_the_first_field():
    assert truncate_lengths(np.array([[9, 9, 9]]), 8, [False] * 3).tolist() == [[3, 3, 2]]


def test_kept_fields_stay_whole_even_if_they_do_not_fit():
    assert truncate_lengths(np.array([[30, 5]]), 20, [True, False]).tolist() == [[30, 0]]
    assert truncate_lengths(np.array([[30, 5]]), 32, [True, False]).tolist() == [[30, 2]]
    assert truncate_lengths(np.array([[30, 5]]), 3, [True, True]).tolist() == [[30, 5]]


def test_without_room_other_fields_are_empty():
    assert truncate_lengths(np.array([[3, 4], [0, 0]]), 0, [False, False]).tolist() == [[0, 0], [0, 0]]


def test_fields_that_fit_are_unchanged():
    lengths = np.array([[3, 4]])
    result = truncate_lengths(lengths, 7, [False, False])
    assert result.tolist() == [[3, 4]]
    result[0, 0] = 99
    assert lengths[0, 0] == 3  # never the same memory


def test_truncation_accepts_zero_rows():
    assert truncate_lengths(np.zeros((0, 2), dtype=int), 5, [False, False]).shape == (0, 2)
