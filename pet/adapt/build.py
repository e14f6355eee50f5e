"""What training starts from: a checkpoint, an encoder that gets a head, or nothing but text."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from pet.errors import PetError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def from_checkpoint(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, bool]:
    """A masked LM with its tokenizer, from a folder, an embedded model or the hub.

    An encoder without a masked-LM head gets a new one, whose output weights are the word embeddings.

    Returns
    -------
    model : PreTrainedModel
        In float32.
    tokenizer : PreTrainedTokenizerBase
    new_head : bool

    Raises
    ------
    PetError
        If it cannot be loaded, is no encoder, or its tokenizer lacks a mask token.
    """
    from transformers import AutoModelForMaskedLM

    from pet.backbones.load import load_model, load_tokenizer

    tokenizer = load_tokenizer(name)
    if tokenizer.mask_token_id is None:
        raise PetError(
            f"model {name}: its tokenizer has no mask token, so it is no masked language model; name another"
        )
    quiet = logging.getLogger("transformers")
    level = quiet.level
    quiet.setLevel(logging.ERROR)  # that head weights are missing is what we came to mend
    try:
        torch.manual_seed(0)  # a new head is the same each time
        model, info = load_model(name, AutoModelForMaskedLM)
    finally:
        quiet.setLevel(level)
    body = f"{model.base_model_prefix}."
    missing = [key for key in map(str, info["missing_keys"]) if "position_ids" not in key]
    broken = sorted(key for key in missing if key.startswith(body) and "pooler" not in key)
    if broken:
        raise PetError(f"model {name}: there are no weights for {', '.join(broken[:3])}; the checkpoint is not whole")
    new_head = any(key.endswith("weight") for key in missing if not key.startswith(body))
    if new_head:
        model.config.tie_word_embeddings = True
        model.tie_weights()
    return model.float(), tokenizer, new_head


def train_tokenizer(
    documents: Sequence[str], vocabulary: int, *, lowercase: bool = True, positions: int = 512
) -> PreTrainedTokenizerBase:
    """A WordPiece tokenizer with BERT's special tokens, learned from the documents."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    smallest = len(SPECIAL_TOKENS) + 10
    if vocabulary < smallest:
        raise PetError(f"--vocab {vocabulary}: is too small for a tokenizer; use {smallest} or more")
    pad, unknown, first, last, mask = SPECIAL_TOKENS
    core = Tokenizer(models.WordPiece(unk_token=unknown))
    core.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        limit_alphabet=min(1000, vocabulary // 4),
        show_progress=False,
    )
    core.train_from_iterator(documents, trainer=trainer)
    core.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B:1 {last}:1",
        special_tokens=[(token, core.token_to_id(token)) for token in (first, last)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=positions,
        pad_token=pad,
        unk_token=unknown,
        cls_token=first,
        sep_token=last,
        mask_token=mask,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def from_scratch(
    tokenizer: PreTrainedTokenizerBase, *, layers: int, hidden: int, positions: int = 512, seed: int = 0
) -> PreTrainedModel:
    """A BERT with random weights: heads of 64 (or 32) dimensions, feed-forward layers four times as wide."""
    from transformers import BertConfig, BertForMaskedLM

    if hidden < 32 or hidden % 32:
        raise PetError(f"--hidden {hidden}: must be a multiple of 32, best of 64, as 256 or 384")
    if layers < 1:
        raise PetError(f"--layers {layers}: must be at least 1")
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // (64 if hidden % 64 == 0 else 32),
        intermediate_size=4 * hidden,
        max_position_embeddings=positions,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    return BertForMaskedLM(config)


def set_output_bias(model: PreTrainedModel, counts: np.ndarray) -> None:
    """Start a new head from the frequencies of the tokens, so that training need not find them first."""
    output = model.get_output_embeddings()
    bias = getattr(output, "bias", None)
    if bias is None:
        return
    smoothed = np.zeros(bias.shape[0])
    smoothed[: len(counts)] = counts[: bias.shape[0]]
    share = (smoothed + 1) / (smoothed + 1).sum()
    with torch.no_grad():
        bias.copy_(torch.from_numpy(np.log(share) - np.log(share).mean()).to(bias))
