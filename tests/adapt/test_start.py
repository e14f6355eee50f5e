"""What training starts from: shrunk checkpoints, new heads, new tokenizers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tiny_text import training_text
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from pet.adapt import packing, shrink, start, vocabulary
from pet.errors import PetError

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

DOCUMENTS = list(training_text())


def load(folder: Path) -> tuple[Any, Any]:
    return AutoModelForMaskedLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def counts_of(tokenizer: Any, texts: list[str]) -> np.ndarray:
    return np.bincount(np.concatenate(packing.encode(tokenizer, texts)), minlength=len(tokenizer))


@pytest.mark.parametrize(
    "family", ["bert", "roberta", "xlm-r", "albert", "electra", "distilbert", "deberta-v2", "mpnet"]
)
def test_a_pruned_vocabulary_keeps_tokens_and_logits(
    family: str, family_model: Callable[[str], Path], tmp_path: Path
) -> None:
    model, tokenizer = load(family_model(family))
    texts = DOCUMENTS[:8]
    keep = vocabulary.choose_tokens(tokenizer, counts_of(tokenizer, texts), 700, ["great", "sports"])
    assert keep == sorted(set(keep)) and len(keep) < len(tokenizer)
    small_tokenizer = vocabulary.prune_tokenizer(tokenizer, keep)
    small = vocabulary.prune_model(model, keep, small_tokenizer).eval()
    assert small.get_input_embeddings().weight.shape[0] == len(keep) == small.config.vocab_size
    small.save_pretrained(tmp_path / "small")
    small_tokenizer.save_pretrained(tmp_path / "small")
    small, small_tokenizer = load(tmp_path / "small")
    names = small_tokenizer.convert_ids_to_tokens(range(len(keep)))
    assert names == tokenizer.convert_ids_to_tokens(keep)
    for text in [*texts, f"{texts[0]} {tokenizer.mask_token} sports great."]:
        old, new = (t(text, return_tensors="pt") for t in (tokenizer, small_tokenizer))
        assert tokenizer.convert_ids_to_tokens(old["input_ids"][0]) == small_tokenizer.convert_ids_to_tokens(
            new["input_ids"][0]
        )
        with torch.no_grad():
            expected, found = model(**old).logits[..., keep], small(**new).logits
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_too_small_a_vocabulary_is_refused(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    with pytest.raises(PetError, match="--vocab 3"):
        vocabulary.choose_tokens(tokenizer, np.ones(len(tokenizer), dtype=int), 3)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "deberta-v2"])
def test_kept_layers_are_unchanged(family: str, family_model: Callable[[str], Path]) -> None:
    model, tokenizer = load(family_model(family))
    one = shrink.keep_layers(model, [1]).eval()
    assert one.config.num_hidden_layers == 1
    assert sum(p.numel() for p in one.parameters()) < sum(p.numel() for p in model.parameters())
    both = shrink.keep_layers(model, [0, 1]).eval()
    ids = tokenizer(DOCUMENTS[0], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        torch.testing.assert_close(both(input_ids=ids).logits, model(input_ids=ids).logits)
        assert not torch.allclose(one(input_ids=ids).logits, model(input_ids=ids).logits)


@pytest.mark.parametrize("family", ["albert", "modernbert"])
def test_shared_or_alternating_layers_are_refused(family: str, family_model: Callable[[str], Path]) -> None:
    with pytest.raises(PetError, match="--keep-layers"):
        shrink.keep_layers(load(family_model(family))[0], [0])


def test_layers_that_do_not_exist_are_refused_with_the_range(tiny_model: Path) -> None:
    with pytest.raises(PetError, match="0 to 1"):
        shrink.keep_layers(load(tiny_model)[0], [0, 2])


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_narrowing_keeps_the_strongest_units(family: str, family_model: Callable[[str], Path]) -> None:
    model, tokenizer = load(family_model(family))
    with torch.no_grad():  # units 10 to 63 do nothing, so that leaving them out changes nothing
        for name, p in model.named_parameters():
            if name.endswith(("intermediate.dense.weight", "ffn.lin1.weight")):
                p[10:] = 0
            if name.endswith((".output.dense.weight", "ffn.lin2.weight")) and "attention" not in name:
                p[:, 10:] = 0
    narrow = shrink.narrow(model, 10).eval()
    ids = tokenizer(DOCUMENTS[0], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        torch.testing.assert_close(narrow(input_ids=ids).logits, model(input_ids=ids).logits)
    with pytest.raises(PetError, match=r"--feed-forward 64: .*64"):
        shrink.narrow(model, 64)


def test_narrowing_other_feed_forward_layers_is_refused(family_model: Callable[[str], Path]) -> None:
    with pytest.raises(PetError, match="--feed-forward"):
        shrink.narrow(load(family_model("modernbert"))[0], 8)


def test_an_encoder_gets_a_head_tied_to_its_embeddings(tiny_model: Path, tmp_path: Path) -> None:
    encoder, tokenizer = AutoModel.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)
    encoder.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, _, new_head = start.from_checkpoint(str(tmp_path))
    assert new_head
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    torch.testing.assert_close(model.get_input_embeddings().weight, encoder.get_input_embeddings().weight)
    assert not start.from_checkpoint(str(tiny_model))[2]
    counts = np.arange(len(tokenizer))
    start.set_output_bias(model, counts)
    bias = model.get_output_embeddings().bias.detach().numpy()
    assert (np.diff(bias) > 0).all() and abs(bias.mean()) < 1e-5


def test_a_model_without_a_mask_token_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    AutoModelForMaskedLM.from_pretrained(tiny_model).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(tmp_path)
    with pytest.raises(PetError, match="no mask token"):
        start.from_checkpoint(str(tmp_path))


def test_a_trained_tokenizer_has_the_usual_special_tokens() -> None:
    tokenizer = start.train_tokenizer(DOCUMENTS, 300)
    assert len(tokenizer) == 300 and tokenizer.mask_token == "[MASK]" and tokenizer.pad_token_id == 0
    assert tokenizer.unk_token_id not in tokenizer("The river ROSE in the night.")["input_ids"]
    pair = tokenizer("the river", "the night")
    assert pair["input_ids"].count(tokenizer.sep_token_id) == 2 and 1 in pair["token_type_ids"]
    with pytest.raises(PetError, match="--vocab 7"):
        start.train_tokenizer(DOCUMENTS, 7)
