"""The feed-forward neurons that a prompt activates."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pet.backbones.masked import MaskedLM
from pet.cloze.frame import probe_frame
from pet.errors import PetError
from pet.tuning import prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pet.tuning.members import Backbone

Array = NDArray[Any]
# The first feed-forward matrix in BERT-like models, DistilBERT, ALBERT and ModernBERT (which appends the gates).
_NEURONS = re.compile(r"(^|\.)(intermediate\.dense|ffn\.lin1|ffn|mlp\.Wi)$")


def neuron_layers(model: PreTrainedModel) -> list[nn.Linear]:
    """Return the first matrix of each feed-forward layer; a matrix shared by several layers is returned once.

    Raises
    ------
    PetError
        If the architecture is not supported.
    """
    found = [m for name, m in model.base_model.named_modules() if isinstance(m, nn.Linear) and _NEURONS.search(name)]
    if not found:
        raise PetError(
            f"comparing prompts by neurons does not support models of type {model.config.model_type}: unknown "
            "feed-forward layers; compare by cosine or zero-shot accuracy"
        )
    return found


def check_neurons(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Check that a model supports comparing prompts by neurons.

    Parameters
    ----------
    model : the model; a meta model without weights is enough
    tokenizer : its tokenizer

    Raises
    ------
    PetError
        If the architecture is not supported, or the tokenizer has no mask token.
    """
    neuron_layers(model)
    if tokenizer.mask_token_id is None:
        raise PetError(
            f"comparing prompts by neurons requires a mask token, which models of type {model.config.model_type} lack; "
            "compare by cosine or zero-shot accuracy"
        )


def activated(backbone: Backbone, tokenizer: PreTrainedTokenizerBase, vectors: Array) -> Array:
    """Find the neurons that are active at the mask when the input is only a prompt and the mask.

    A neuron of a feed-forward layer, ``W2 f(W1 x + b1) + b2``, is active if ``W1 x + b1`` is positive, and thus
    ``f`` of it, for ReLU and GELU alike. The input is the prompt, the special tokens, and the mask (after Su et al.
    2021, arXiv 2111.06719, with the mask token as neutral text).

    Parameters
    ----------
    backbone : the model; it is restored before and afterwards
    tokenizer : its tokenizer
    vectors : the prompt, shape (n, D)

    Returns
    -------
    bool array of shape (neurons of all layers,), in the order of the layers
    """
    model = backbone.model
    backbone.restore()
    check_neurons(model, tokenizer)
    layers = neuron_layers(model)
    gated = model.config.model_type == "modernbert"
    batch, place = _mask_alone(tokenizer, len(vectors), model.get_input_embeddings().weight.device)
    states: list[Array] = []

    def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
        values = output[..., : output.shape[-1] // 2] if gated else output
        states.append((values[0, place] > 0).cpu().numpy())

    hooks = [layer.register_forward_hook(note) for layer in layers]
    prompt.inject(model, torch.from_numpy(np.array(vectors, dtype=np.float32)).to(batch["input_ids"].device))
    model.eval()
    try:
        with torch.no_grad():
            unknown = set() if MaskedLM(model).has_token_types else {"token_type_ids"}
            model.base_model(**{name: value for name, value in batch.items() if name not in unknown})
    finally:
        for hook in hooks:
            hook.remove()
        backbone.restore()
    return np.concatenate(states)


def _mask_alone(tokenizer: PreTrainedTokenizerBase, length: int, device: torch.device) -> tuple[dict[str, Tensor], int]:
    """Return a row with a prompt and a mask, and the position of the mask."""
    frame = probe_frame(tokenizer, 1)
    before = [-k - 1 for k in range(length)]
    ids = [*before, *frame.gaps[0], int(tokenizer.mask_token_id), *frame.gaps[1]]
    kinds = [frame.segment_types[0]] * length + [*frame.gap_types[0], frame.segment_types[0], *frame.gap_types[1]]
    rows = {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": kinds}
    batch = {name: torch.tensor([values], device=device) for name, values in rows.items()}
    return batch, length + len(frame.gaps[0])
