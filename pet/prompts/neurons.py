"""Which neurons of the feed-forward layers a prompt activates."""

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
# The layer that makes the neurons: BERT and its kin; DistilBERT; ALBERT; ModernBERT, with the gates behind it
_NEURONS = re.compile(r"(^|\.)(intermediate\.dense|ffn\.lin1|ffn|mlp\.Wi)$")


def neuron_layers(model: PreTrainedModel) -> list[nn.Linear]:
    """The first matrix of each feed-forward layer; one that several layers share is there once.

    Raises
    ------
    PetError
        When the model is built in a way that is not known here.
    """
    found = [m for name, m in model.base_model.named_modules() if isinstance(m, nn.Linear) and _NEURONS.search(name)]
    if not found:
        raise PetError(
            f"the feed-forward layers of a {model.config.model_type} model are built in a way that is not known here; "
            "compare prompts by cosine or by zero-shot accuracy"
        )
    return found


def check_neurons(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a model whose neurons cannot be looked at.

    Parameters
    ----------
    model : shapes are enough, without weights

    Raises
    ------
    PetError
        When its feed-forward layers are not known here, or it has no mask.
    """
    neuron_layers(model)
    if tokenizer.mask_token_id is None:
        raise PetError(
            f"neurons are looked at in the mask, and a {model.config.model_type} model has none; compare prompts by "
            "cosine or by zero-shot accuracy"
        )


def activated(backbone: Backbone, tokenizer: PreTrainedTokenizerBase, vectors: Array) -> Array:
    """Which neurons are active at the mask when nothing but a prompt and the mask is read.

    A neuron of a feed-forward layer, ``W2 f(W1 x + b1) + b2``, is active where ``W1 x + b1`` is above 0, and so
    ``f`` of it, for ReLU as for GELU. The input is the prompt, the special tokens, and the mask (after Su et al. 2021,
    arXiv 2111.06719, with the mask token as the neutral text).

    Parameters
    ----------
    backbone : what an earlier member has left in it goes, and nothing stays
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
    """A row with a prompt and a mask, and where the mask stands."""
    frame = probe_frame(tokenizer, 1)
    before = [-k - 1 for k in range(length)]
    ids = [*before, *frame.gaps[0], int(tokenizer.mask_token_id), *frame.gaps[1]]
    kinds = [frame.segment_types[0]] * length + [*frame.gap_types[0], frame.segment_types[0], *frame.gap_types[1]]
    rows = {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": kinds}
    batch = {name: torch.tensor([values], device=device) for name, values in rows.items()}
    return batch, length + len(frame.gaps[0])
