"""Packed rows: which models use them, and the code that handles them."""

from __future__ import annotations

import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from families import FAMILIES, build_family
from torch import nn

from pet.backbones.dropout import dropout
from pet.backbones.masked import MaskedLM
from pet.backbones.packed import equal_runs, packed_features, packed_features_on_gpu, plain_layers
from pet.backbones.trained import load_masked_lm
from pet.training import memory
from pet.training.device import batch_tokens
from pet.training.memory import own_process
from pet.tuning import lora, networks, prefix_layers, prompt

LIKE_BERT = {"bert", "roberta", "xlm-r", "electra"}


@pytest.mark.parametrize("name", list(FAMILIES))
def test_only_models_with_berts_structure_are_packed(family_model, name):
    assert (plain_layers(load_masked_lm(str(family_model(name)))) is not None) == (name in LIKE_BERT)


def test_a_layer_with_an_additional_weight_is_not_packed(family_model):
    model = load_masked_lm(str(family_model("bert")))
    model.base_model.encoder.layer[1].attention.self.query.adapter = nn.Linear(2, 2)
    assert plain_layers(model) is None


@pytest.mark.parametrize("name", ["bert", "roberta", "electra"])
@pytest.mark.parametrize("tuning", ["prompt", "lora", "prefix"])
def test_soft_tokens_and_lora_are_packed_and_prefixes_are_not(family_model, name, tuning):
    model = load_masked_lm(str(family_model(name)))
    generator = torch.Generator().manual_seed(1)
    width = model.get_input_embeddings().embedding_dim
    if tuning == "prompt":
        prompt.inject(model, torch.randn(3, width, generator=generator))
    elif tuning == "prefix":
        prefix = torch.randn(3, 2, 2, model.config.hidden_size, generator=generator)
        prefix_layers.inject(model, networks.Numbers(prefix))
    else:
        pytest.importorskip("peft")
        lora.inject(model, lora.Config(rank=2, alpha=4.0, dropout=0.0, targets="all"))
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    batch = _ragged_batch([9, 9, 5, 3], 9)
    batch["input_ids"][:, 1:4] = torch.tensor([-1, -2, -3]) if tuning != "lora" else batch["input_ids"][:, 1:4]
    lm = MaskedLM(model).eval()
    assert (plain_layers(model) is None) == (tuning == "prefix")
    rows, positions = torch.arange(4), torch.tensor([0, 5, 4, 1])
    inputs = batch if lm.has_token_types else {k: v for k, v in batch.items() if k != "token_type_ids"}
    with torch.no_grad():
        found, expected = lm.word_logits(batch, rows, positions, None), model(**inputs).logits[rows, positions]
        alone = lm.word_logits({k: v[:1] for k, v in batch.items()}, rows[:1], positions[:1], None)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(alone, expected[:1], atol=1e-4, rtol=1e-4)


def test_a_decoder_is_not_packed(tmp_path):
    assert plain_layers(load_masked_lm(str(build_family("bert", tmp_path, is_decoder=True)))) is None


def test_neighboring_rows_of_equal_length_are_one_run():
    assert equal_runs([5, 5, 3, 5]) == [(2, 5), (1, 3), (1, 5)]
    assert equal_runs([]) == []


def _ragged_batch(lengths: list[int], width: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(5, 800, mask.shape, generator=generator) * mask
    types = torch.randint(0, 2, mask.shape, generator=generator) * mask
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


@pytest.mark.parametrize(
    "lengths", [[9, 9, 9], [9, 9, 5, 3], [3, 9, 3, 8, 4, 7, 5, 6, 9, 1]], ids=["full", "runs", "mask"]
)
@pytest.mark.parametrize("name", ["bert", "electra"])
def test_the_gpu_path_equals_the_whole_model(family_model, name, lengths):
    """The same code runs on a GPU; the last case pads rows to a width of 16 for attention."""
    model = load_masked_lm(str(family_model(name))).eval()
    base, layers, batch = model.base_model, plain_layers(model), _ragged_batch(lengths, 9)
    rows, positions = torch.tensor([2, 0, 1, 2]), torch.tensor([0, 1, 1, 2])

    def gradients(found: torch.Tensor) -> list[torch.Tensor]:
        model.zero_grad()
        (found**3).sum().backward()
        return [p.grad.clone() for p in base.parameters() if p.grad is not None]

    expected = base(**batch)[0][rows, positions]
    found = packed_features_on_gpu(base, layers, batch, torch.tensor(lengths), rows, positions)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(gradients(found), gradients(expected), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("lengths", [[9, 9, 5], list(range(9, 0, -1))], ids=["runs", "mask"])
def test_the_gpu_path_applies_attention_dropout_and_bf16(family_model, lengths):
    model = load_masked_lm(str(family_model("bert"))).eval()
    base, layers, batch = model.base_model, plain_layers(model), _ragged_batch(lengths, 9)
    rows, positions = torch.arange(len(lengths)), torch.zeros(len(lengths), dtype=torch.int64)
    arguments = base, layers, batch, torch.tensor(lengths), rows, positions
    with torch.no_grad():
        exact = packed_features_on_gpu(*arguments)
        with torch.autocast("cpu", torch.bfloat16):
            rough = packed_features_on_gpu(*arguments)
        for layer in layers:
            layer.attention.self.dropout.p = 0.9
            layer.attention.self.train()
        dropped = packed_features_on_gpu(*arguments)
    assert not torch.equal(rough.float(), exact)
    torch.testing.assert_close(rough.float(), exact, atol=0.1, rtol=0.1)
    assert float((dropped - exact).abs().max()) > 1e-3


def test_on_a_cpu_hidden_states_are_float32_only_in_training(family_model):
    """With bf16, sums are in bf16 in inference, close to the exact ones, and in float32 in training."""
    model = load_masked_lm(str(family_model("bert"))).eval()
    base, layers, batch = model.base_model, plain_layers(model), _ragged_batch([9, 9, 5], 9)
    arguments = base, layers, batch, torch.arange(3), torch.zeros(3, dtype=torch.int64)
    exact = packed_features(*arguments)
    with torch.autocast("cpu", torch.bfloat16):
        learning = packed_features(*arguments)
        with torch.inference_mode():
            read = packed_features(*arguments)
    assert (learning.dtype, read.dtype) == (torch.float32, torch.bfloat16)
    for rough in (learning, read.float()):
        torch.testing.assert_close(rough, exact, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_dropout_zeroes_the_given_share_and_preserves_the_mean(dtype, probability):
    torch.manual_seed(0)
    ones = torch.ones(401, 499, dtype=dtype, requires_grad=True)  # not a multiple of four elements
    result = dropout(ones, probability)
    zero = (result == 0).float()
    # five standard deviations of the mean of 200,000 draws are less than 0.006
    assert abs(float(zero.mean()) - probability) < 0.006
    assert float(zero.mean(dim=0).std()) < 0.04  # no column is dropped more often than others
    kept = result[result != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - probability)))
    result.sum().backward()
    torch.testing.assert_close(ones.grad, result.detach())


def test_dropout_of_neighboring_elements_is_independent_and_seeded():
    torch.manual_seed(1)
    first = dropout(torch.ones(100_000), 0.5) == 0
    for shift in range(1, 9):
        together = float((first[shift:] & first[:-shift]).float().mean())
        assert abs(together - 0.25) < 0.01
    torch.manual_seed(1)
    assert torch.equal(dropout(torch.ones(100_000), 0.5) == 0, first)
    ones = torch.ones(3)
    assert dropout(ones, 0.0) is ones


def test_batches_on_a_cpu_are_limited():
    assert batch_tokens(8192, torch.device("cpu")) < 8192 == batch_tokens(8192, torch.device("cuda"))
    assert batch_tokens(16, torch.device("cpu")) == 16


@pytest.mark.parametrize("before", [0, 5], ids=["none", "some"])
def test_objects_are_kept_out_of_collections_only_in_a_process_of_ones_own(monkeypatch, before):
    """`before`: objects that a program froze itself; they stay as they are."""
    calls: list[str] = []
    thresholds = [(700, 10, 10)]
    fake = SimpleNamespace(
        get_threshold=lambda: thresholds[-1],
        set_threshold=lambda *values: thresholds.append(values),
        collect=lambda: calls.append("collect"),
        freeze=lambda: calls.append("freeze"),
        unfreeze=lambda: calls.append("unfreeze"),
        get_freeze_count=lambda: 7 if calls[-1:] == ["freeze"] else before,
    )
    monkeypatch.setattr(memory, "gc", fake)
    memory.keep_objects()
    with own_process():
        memory.keep_objects()
        memory.keep_objects()
        assert thresholds[-1][0] > 700
    assert calls == ([] if before else ["collect", "freeze", "unfreeze"])
    assert thresholds[-1] == (700, 10, 10)


# Page faults of large blocks in a fresh process: what earlier tests have freed cannot serve them.
FAULTS = """
import resource, torch
from pet.training.memory import kept_memory, own_process

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16 << 20)  # 64 MiB: 16384 pages, or 32 huge ones
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
"""
OWN = """
with own_process():
    with kept_memory("cpu"):
        faults()
        inside = faults()
    with kept_memory("cuda"):
        print(inside, faults())
"""
OTHER = """
with kept_memory("cpu"):
    print(faults(), faults())
"""


def two_counts(program: str) -> tuple[int, int]:
    done = subprocess.run([sys.executable, "-c", FAULTS + program], capture_output=True, text=True, check=True)
    first, second = map(int, done.stdout.split())
    return first, second


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the GNU C library's allocator")
def test_freed_memory_is_kept_until_the_end_of_the_block():
    inside, outside = two_counts(OWN)
    assert inside * 5 < outside


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the GNU C library's allocator")
def test_freed_memory_is_not_kept_in_other_programs():
    assert min(two_counts(OTHER)) >= 10 * 32
