"""Batching and padding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pet.cloze.ragged import Encoded, Ragged, ragged_index
from pet.errors import PetError
from pet.training.batching import pad_rows, shuffled_batches, to_tensors, token_budget_batches, write_back

row_lengths = st.lists(st.integers(0, 60), max_size=80).map(lambda values: np.array(values, dtype=np.int64))


@given(row_lengths, st.integers(1, 300), st.integers(1, 20))
def test_budget_batches_are_a_sorted_partition_within_the_budget(lengths, max_tokens, max_rows):
    batches = token_budget_batches(lengths, max_tokens, max_rows)
    order = [int(row) for batch in batches for row in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert list(lengths[order]) == sorted(lengths, reverse=True)
    for batch in batches:
        assert 1 <= len(batch) <= max_rows
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= max_tokens


@given(row_lengths, st.integers(1, 300))
def test_budget_batches_are_as_large_as_possible(lengths, max_tokens):
    batches = token_budget_batches(lengths, max_tokens)
    for batch in batches[:-1]:
        assert (len(batch) + 1) * max(lengths[batch].max(), 1) > max_tokens


def test_rows_of_the_same_length_keep_their_order():
    batches = token_budget_batches(np.array([3, 5, 3, 5, 3]), 10)
    assert [list(batch) for batch in batches] == [[1, 3], [0, 2, 4]]


@pytest.mark.parametrize(("rows", "size"), [(7, 3), (3, 7), (4, 4), (1, 5), (10, 1)])
def test_shuffled_batches_contain_every_row_once_per_epoch(rows, size):
    batches = list(itertools.islice(shuffled_batches(rows, size, np.random.default_rng(0)), 5 * rows))
    assert all(len(batch) == size for batch in batches)
    stream = np.concatenate(batches)
    for epoch in range(len(stream) // rows):
        assert sorted(stream[epoch * rows : (epoch + 1) * rows]) == list(range(rows))


def test_each_epoch_has_its_own_order_determined_by_the_seed():
    def epochs(seed: int) -> list[list[int]]:
        stream = shuffled_batches(50, 50, np.random.default_rng(seed))
        return [list(next(stream)) for _ in range(3)]

    first = epochs(1)
    assert first == epochs(1)
    assert first != epochs(2)
    assert first[0] != first[1] != first[2]


@st.composite
def encoded_rows(draw):
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=8))
    total = sum(lengths)
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    encoded = Encoded(
        Ragged(generator.integers(0, 100, total).astype(np.int32), offsets),
        generator.integers(0, 2, total).astype(np.int8),
        generator.integers(0, 2, total).astype(bool),
        np.zeros(len(lengths), dtype=np.int64),
        np.zeros(len(lengths), dtype=bool),
    )
    # rows may be asked for in any order, and more than once
    rows = draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=10))
    return encoded, np.array(rows)


@given(encoded_rows(), st.integers(0, 7))
def test_pad_rows_equals_a_naive_loop(drawn, pad_id):
    encoded, rows = drawn
    batch, ordinary = pad_rows(encoded, rows, pad_id)
    width = max(len(encoded.ids[row]) for row in rows)
    for name in batch:
        assert batch[name].shape == (len(rows), width)
        assert batch[name].dtype == np.int64
    for i, row in enumerate(rows):
        ids = list(encoded.ids[row])
        start, stop = encoded.ids.offsets[row : row + 2]
        missing = width - len(ids)
        assert list(batch["input_ids"][i]) == ids + [pad_id] * missing
        assert list(batch["attention_mask"][i]) == [1] * len(ids) + [0] * missing
        assert list(batch["token_type_ids"][i]) == list(encoded.types[start:stop]) + [0] * missing
        assert list(ordinary[i]) == list(encoded.ordinary[start:stop]) + [False] * missing


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 6)), max_size=10))
def test_ragged_index_equals_a_naive_loop(stretches):
    starts = np.array([start for start, _ in stretches], dtype=np.int64)
    lengths = np.array([length for _, length in stretches], dtype=np.int64)
    expected = [start + i for start, length in stretches for i in range(length)]
    assert list(ragged_index(starts, lengths)) == expected


def test_to_tensors_keeps_values_and_types():
    tensors = to_tensors({"a": np.array([[1, 2]]), "b": np.array([0.5], dtype=np.float32)}, torch.device("cpu"))
    torch.testing.assert_close(tensors["a"], torch.tensor([[1, 2]]))
    assert tensors["b"].dtype == torch.float32


def test_lengths_stay_on_the_cpu():
    batch = {"input_ids": np.ones((2, 3), dtype=np.int64), "lengths": np.array([3, 2])}
    tensors = to_tensors(batch, torch.device("meta"))
    assert tensors["input_ids"].device.type == "meta"
    assert tensors["lengths"].tolist() == [3, 2]


def test_results_are_written_to_their_rows():
    out, told = np.zeros((5, 2), dtype=np.float32), []
    batches = [np.array([4, 0]), np.array([2]), np.array([1, 3])]
    results = ((rows, torch.from_numpy(rows)[:, None].repeat(1, 2).bfloat16()) for rows in batches)
    write_back(out, results, told.append)
    assert out.tolist() == [[row, row] for row in range(5)]
    assert told == [2, 1, 2]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_results_that_are_no_numbers_are_refused(number: float):
    results = [(np.array([0, 1]), torch.tensor([[0.0, 1.0], [number, 1.0]]))]
    with pytest.raises(PetError, match=r"NaN.*--precision fp32"):
        write_back(np.zeros((2, 2), dtype=np.float32), results)
