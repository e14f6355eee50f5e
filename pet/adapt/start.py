"""What training starts from: a checkpoint, shrunk or not, an encoder that gets a head, or random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from pet.adapt import shrink
from pet.adapt.settings import StartSettings
from pet.backbones.load import load_tokenizer
from pet.backbones.trained import load_pretrainable
from pet.errors import PetError
from pet.process import seeded

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def make_start(
    start: StartSettings, documents: Sequence[str], seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, bool]:
    """Return the model to train, its tokenizer, and whether its head is new. The vocabulary is not pruned yet."""
    if start.model is None:
        tokenizer = train_tokenizer(documents, start.vocab or 0, lowercase=not start.cased, positions=start.positions)
        return from_scratch(tokenizer, start.layers or 0, start.hidden or 0, start.positions, seed), tokenizer, True
    model, tokenizer, new_head = from_checkpoint(start.model)
    if start.keep_layers:
        model = shrink.keep_layers(model, start.keep_layers)
    if start.feed_forward:
        model = shrink.narrow(model, start.feed_forward)
    return model, tokenizer, new_head


def from_checkpoint(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, bool]:
    """Load a masked LM, or an encoder that gets a head, with its tokenizer; the last value says if the head is new.

    Raises
    ------
    PetError
        If it cannot be loaded, is not an encoder, or its tokenizer has no mask token.
    """
    tokenizer = load_tokenizer(name)
    if tokenizer.mask_token_id is None:
        raise PetError(f"model {name}: is not a masked language model (no mask token in its tokenizer); name another")
    model, new_head = load_pretrainable(name)
    return model.float(), tokenizer, new_head


def train_tokenizer(
    documents: Sequence[str], vocabulary: int, *, lowercase: bool = True, positions: int = 512
) -> PreTrainedTokenizerBase:
    """Train a WordPiece tokenizer with BERT's special tokens on documents."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    smallest = len(SPECIAL_TOKENS) + 10
    if vocabulary < smallest:
        raise PetError(f"--vocab {vocabulary}: too small for a tokenizer; use {smallest} or more")
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
    tokenizer: PreTrainedTokenizerBase, layers: int, hidden: int, positions: int = 512, seed: int = 0
) -> PreTrainedModel:
    """Return a BERT with random weights, 64 (or 32) dimensions per head, and feed-forward layers four times as wide."""
    from transformers import BertConfig, BertForMaskedLM

    if hidden < 32 or hidden % 32:
        raise PetError(f"--hidden {hidden}: must be a multiple of 32, or better of 64, such as 256")
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
    with seeded(seed):
        return BertForMaskedLM(config)


def set_output_bias(model: PreTrainedModel, counts: np.ndarray) -> None:
    """Start the bias of a new head from the token frequencies, so that training does not have to learn them first."""
    output = model.get_output_embeddings()
    bias = getattr(output, "bias", None)
    if bias is None:
        return
    smoothed = np.zeros(bias.shape[0])
    smoothed[: len(counts)] = counts[: bias.shape[0]]
    share = (smoothed + 1) / (smoothed + 1).sum()
    with torch.no_grad():
        bias.copy_(torch.from_numpy(np.log(share) - np.log(share).mean()).to(bias))
