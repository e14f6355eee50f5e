"""Check what a library has opened: the tokenizer and the weights of a model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from pet.errors import PetError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def check_vocabulary(name: str, tokenizer: PreTrainedTokenizerBase, rows: object) -> None:
    """Check that a tokenizer has a vocabulary, and no tokens beyond the rows of the model's embeddings."""
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # what transformers returns if there are no files
        raise PetError(
            f"model {name}: its tokenizer has no vocabulary (no tokenizer.json); copy the file from the original model"
        )
    if not isinstance(rows, int):  # the model reads characters
        return
    last = max(tokenizer.get_vocab().values())
    if last >= rows:
        raise PetError(
            f"model {name}: its tokenizer has tokens up to number {last}, but the model only has embeddings for "
            f"{rows} tokens; use the model's own tokenizer, or call resize_token_embeddings and save both"
        )


def check_finite(name: str, model: PreTrainedModel) -> None:
    """Check that all weights are numbers. A sum, which takes little time, is not finite if one of them is not."""
    for key, weight in model.named_parameters():
        if not torch.isfinite(weight.detach().sum()) and not torch.isfinite(weight.detach()).all():
            raise PetError(
                f"model {name}: the weights {key} contain NaN or infinite numbers; the checkpoint is damaged, or its "
                "training diverged: use another one"
            )


def check_layers(name: str, model: PreTrainedModel, left_out: Iterable[str]) -> None:
    """Check that the weights have no more layers than the model: without them it would be another model."""
    prefix = f"{model.base_model_prefix}."
    known = {_any_layer(key.removeprefix(prefix)) for key, _ in model.named_parameters()}
    more = sorted(key for key in map(str, left_out) if _any_layer(key.removeprefix(prefix)) in known)
    if more:
        raise PetError(
            f"model {name}: the weights have more layers than config.json says ({more[0]}); correct the number of "
            "layers, or write the shortened model with save_pretrained"
        )


def _any_layer(key: str) -> str:
    return re.sub(r"\.\d+\.", ".N.", key)
