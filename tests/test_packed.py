"""Rows laid end to end: which models are run so, and the parts that are their own code."""

from __future__ import annotations

import platform

import pytest
import torch
from families import FAMILIES, build_family
from torch import nn

from pet.backbones.dropout import dropout
from pet.backbones.load import load_masked_lm
from pet.backbones.packed import equal_runs, plain_layers
from pet.training.device import batch_tokens
from pet.training.memory import kept_memory

LIKE_BERT = {"bert", "roberta", "xlm-r", "electra"}


@pytest.mark.parametrize("name", list(FAMILIES))
def test_only_what_is_built_as_bert_is_packed(family_model, name):
    assert (plain_layers(load_masked_lm(str(family_model(name)))) is not None) == (name in LIKE_BERT)


def test_a_layer_with_one_weight_more_is_not_packed(family_model):
    model = load_masked_lm(str(family_model("bert")))
    model.base_model.encoder.layer[1].attention.self.query.adapter = nn.Linear(2, 2)
    assert plain_layers(model) is None


def test_a_decoder_is_not_packed(tmp_path):
    assert plain_layers(load_masked_lm(str(build_family("bert", tmp_path, is_decoder=True)))) is None


def test_neighbours_of_one_length_are_one_run():
    assert equal_runs([5, 5, 3, 5]) == [(2, 5), (1, 3), (1, 5)]
    assert equal_runs([]) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_dropout_zeroes_that_share_and_keeps_the_mean(dtype, probability):
    torch.manual_seed(0)
    ones = torch.ones(401, 499, dtype=dtype, requires_grad=True)  # no multiple of four elements
    result = dropout(ones, probability)
    zero = (result == 0).float()
    # five standard deviations of the mean of 200,000 draws are less than 0.006
    assert abs(float(zero.mean()) - probability) < 0.006
    assert float(zero.mean(dim=0).std()) < 0.04  # no column is dropped more often than others
    kept = result[result != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - probability)))
    result.sum().backward()
    torch.testing.assert_close(ones.grad, result.detach())


def test_dropout_of_neighbours_is_independent_and_seeded():
    torch.manual_seed(1)
    first = dropout(torch.ones(100_000), 0.5) == 0
    for shift in range(1, 9):
        together = float((first[shift:] & first[:-shift]).float().mean())
        assert abs(together - 0.25) < 0.01
    torch.manual_seed(1)
    assert torch.equal(dropout(torch.ones(100_000), 0.5) == 0, first)
    ones = torch.ones(3)
    assert dropout(ones, 0.0) is ones


def test_a_processor_gets_batches_that_its_caches_hold():
    assert batch_tokens(8192, torch.device("cpu")) < 8192 == batch_tokens(8192, torch.device("cuda"))
    assert batch_tokens(16, torch.device("cpu")) == 16


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the GNU C library's allocator")
def test_freed_memory_stays_until_the_end_of_the_block():
    import resource

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.ones(16 << 20)  # 64 MiB: 16384 pages
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults()
    with kept_memory("cpu"):
        faults()
        inside = faults()
    with kept_memory("cuda"):
        outside = faults()
    assert inside < 1000 < outside
