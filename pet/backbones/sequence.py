"""Sequence classifiers: logits from the first token, on packed rows where the model allows.

A classifier like BERT's reads only the first token of the last layer. So rows are packed (`pet.backbones.packed`), and
the last layer computes only the first token of each text. Other families run as transformers runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pet.backbones.masked import has_token_types
from pet.backbones.packed import packed_features, packed_features_on_gpu, plain_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Batch = Mapping[str, Tensor]


def _bert(model: Any, first: Tensor) -> Tensor:
    logits: Tensor = model.classifier(model.dropout(model.bert.pooler(first)))
    return logits


def _roberta(model: Any, first: Tensor) -> Tensor:
    logits: Tensor = model.classifier(first)
    return logits


# Model type -> its classification head, given hidden states of shape (B, 1, D).
_HEADS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "bert": _bert,
    "roberta": _roberta,
    "xlm-roberta": _roberta,
    "camembert": _roberta,
    "electra": _roberta,
}


def find_head(model: PreTrainedModel) -> Callable[[Any, Tensor], Tensor] | None:
    """Return the function that applies a classifier's head to hidden states of shape (B, 1, D); None if unknown."""
    return _HEADS.get(model.config.model_type)


def model_inputs(model: PreTrainedModel, tensors: Batch) -> dict[str, Tensor]:
    """Return the inputs of the model in a padded batch: token types only if it has more than one."""
    names = ["input_ids", "attention_mask"]
    if has_token_types(model):
        names.append("token_type_ids")
    return {name: tensors[name] for name in names}


class SequenceLogits:
    """Computes the logits of a sequence classifier.

    Parameters
    ----------
    model : a ``transformers`` sequence classifier. Its layers are looked up here, so make this object before
        `pet.backbones.int8.quantize_linears` replaces their weights
    """

    def __init__(self, model: PreTrainedModel):
        self.model = model
        self._head = find_head(model)
        self._layers = None if self._head is None else plain_layers(model)

    @property
    def packs(self) -> bool:
        """True if the model runs on packed rows."""
        return self._layers is not None

    def __call__(self, batch: Batch) -> Tensor:
        """Return the logits of a padded batch, shape (B, L).

        Parameters
        ----------
        batch : ``input_ids``, ``attention_mask`` and ``token_type_ids``, each of shape (B, T), and on a GPU also
            ``lengths`` of shape (B,), on the CPU; models that are packed need padding on the right
        """
        inputs = model_inputs(self.model, batch)
        if self._head is None or self._layers is None:
            logits: Tensor = self.model(**inputs).logits
            return logits
        base, device = self.model.base_model, inputs["input_ids"].device
        rows = torch.arange(len(inputs["input_ids"]), device=device)
        places = base, self._layers, inputs
        first = torch.zeros_like(rows)
        if device.type == "cpu":
            states = packed_features(*places, rows, first)
        else:
            states = packed_features_on_gpu(*places, batch["lengths"], rows, first)
        return self._head(self.model, states[:, None])
