"""Masked language models: logits of chosen words at chosen positions, and nothing more.

The vocabulary is by far the largest matrix of a small model. A cloze needs a handful of its rows at
one position of each text, the auxiliary loss all rows at 15 % of the positions. So the encoder runs
once, the wanted positions are taken out, and only they go through the head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional as F

from pet.backbones.packed import packed_features, plain_layers
from pet.errors import PetError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Batch = Mapping[str, Tensor]
# A head: the function from hidden states to what the output embedding multiplies, that embedding, its bias.
Head = tuple[Callable[[Tensor], Tensor], Tensor, "Tensor | None"]


def _bert(m: Any) -> Head:
    head = m.cls.predictions
    return head.transform, head.decoder.weight, head.decoder.bias


def _roberta(m: Any) -> Head:
    head = m.lm_head
    return lambda x: head.layer_norm(F.gelu(head.dense(x))), head.decoder.weight, head.decoder.bias


def _albert(m: Any) -> Head:
    head = m.predictions
    return lambda x: head.LayerNorm(head.activation(head.dense(x))), head.decoder.weight, head.decoder.bias


def _electra(m: Any) -> Head:
    return m.generator_predictions, m.generator_lm_head.weight, m.generator_lm_head.bias


def _distilbert(m: Any) -> Head:
    out = m.vocab_projector
    return lambda x: m.vocab_layer_norm(m.activation(m.vocab_transform(x))), out.weight, out.bias


def _deberta(m: Any) -> Head:
    if m.config.legacy:
        return _bert(m)
    head = m.lm_predictions.lm_head
    words = m.deberta.embeddings.word_embeddings.weight
    return lambda x: head.LayerNorm(head.transform_act_fn(head.dense(x))), words, head.bias


def _modernbert(m: Any) -> Head:
    return m.head, m.decoder.weight, m.decoder.bias


_HEADS: dict[str, Callable[[Any], Head]] = {
    "bert": _bert,
    "roberta": _roberta,
    "xlm-roberta": _roberta,
    "camembert": _roberta,
    "mpnet": _roberta,
    "albert": _albert,
    "electra": _electra,
    "distilbert": _distilbert,
    "deberta": _deberta,
    "deberta-v2": _deberta,
    "modernbert": _modernbert,
}


def position_limit(model: PreTrainedModel) -> int:
    """Longest row, in tokens, that a model's position embeddings allow.

    RoBERTa and its kin count positions from the padding id plus one; their table of positions then
    knows a padding row of its own.
    """
    limit = getattr(model.config, "max_position_embeddings", None) or math.inf
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            limit -= module.padding_idx + 1
            break
    return int(min(limit, 1 << 20))


class MaskedLM(nn.Module):
    """A masked LM that scores words at positions.

    Parameters
    ----------
    model : a ``transformers`` masked LM. Families in the table above are cut before the head; any
        other is run whole and its logits are picked from, which is right but slower.
    """

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = model
        find = _HEADS.get(model.config.model_type)
        if find is not None:
            find(model)  # fails here, not in training, if a version of the library names things otherwise
        self._find_head = find
        self._layers = None if find is None else plain_layers(model)

    @property
    def max_positions(self) -> int:
        """Longest row that the position embeddings allow."""
        return position_limit(self.model)

    @property
    def has_token_types(self) -> bool:
        return int(getattr(self.model.config, "type_vocab_size", 0) or 0) > 1

    def _inputs(self, batch: Batch) -> dict[str, Tensor]:
        names = ["input_ids", "attention_mask"] + (["token_type_ids"] if self.has_token_types else [])
        return {name: batch[name] for name in names if name in batch}

    def word_logits(self, batch: Batch, rows: Tensor, positions: Tensor, words: Tensor | None) -> Tensor:
        """Raw logits of some words at some positions.

        Parameters
        ----------
        batch : ``input_ids``, ``attention_mask`` and perhaps ``token_type_ids``, each of shape (B, T)
        rows, positions : int64 tensors of shape (N,); the N places that are asked for
        words : int64 tensor of shape (W,), or None for the whole vocabulary

        Returns
        -------
        float tensor of shape (N, W)
        """
        return self.project(self.features(batch, rows, positions), words)

    def features(self, batch: Batch, rows: Tensor, positions: Tensor) -> Tensor:
        """What the output embedding is multiplied with, at N places: shape (N, D)."""
        if self._find_head is None:
            logits: Tensor = self.model(**self._inputs(batch)).logits
            return logits[rows, positions]
        transform, _, _ = self._find_head(self.model)
        return transform(self._hidden(batch, rows, positions))

    def _hidden(self, batch: Batch, rows: Tensor, positions: Tensor) -> Tensor:
        """Hidden states of the last layer at N places: shape (N, D)."""
        inputs, base = self._inputs(batch), self.model.base_model
        if self._layers is not None and rows.device.type == "cpu":
            return packed_features(base, self._layers, inputs, rows, positions)
        hidden: Tensor = base(**inputs)[0]
        return hidden[rows, positions]

    def project(self, features: Tensor, words: Tensor | None) -> Tensor:
        """Logits of some words, or of all, from features: shape (N, W)."""
        if self._find_head is None:
            return features if words is None else features[:, words]
        _, weight, bias = self._find_head(self.model)
        if words is not None:
            weight, bias = weight[words], None if bias is None else bias[words]
        return F.linear(features, weight, bias)


def check_length(model: PreTrainedModel, max_length: int, name: str) -> None:
    """Refuse rows that are longer than the model's positions."""
    limit = position_limit(model)
    if max_length > limit:
        raise PetError(f"model {name}: it has {limit} positions, and --max-length is {max_length}; lower --max-length")
