"""BERT-like encoders on a processor: rows laid end to end, so that nothing is computed for padding.

A library's encoder takes rectangles. Rows of different lengths are padded to the longest, and every
layer multiplies the padding, too. Here only attention, which must not look beyond a row, sees rows;
everything else sees one long list of tokens. After the last attention only the tokens that are asked
for go on: a cloze needs one of each text, the auxiliary loss 15 % of them.

The modules are the model's own, called in its own order, in training as well as in inference. What is
built differently from BERT is not touched: `plain_layers` then finds nothing, and the model runs as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pet.backbones.dropout import dropout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Batch = Mapping[str, Tensor]
Run = tuple[int, int]  # rows, tokens in each row

_DENSE = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
_FEED_FORWARD = ("intermediate.dense", "output.dense")
_NORMS = ("attention.output.LayerNorm", "output.LayerNorm")
_LAYER = {f"{name}.{kind}" for name in (*_DENSE, *_FEED_FORWARD, *_NORMS) for kind in ("weight", "bias")}
_EMBEDDINGS = {
    *(f"{name}_embeddings.weight" for name in ("word", "position", "token_type")),
    "LayerNorm.weight",
    "LayerNorm.bias",
}
_SHORT = 128  # tokens


def plain_layers(model: PreTrainedModel) -> list[Any] | None:
    """The layers of an encoder that has exactly the weights of BERT's, or None.

    One weight more (relative positions, a second norm, an adapter) or less means another computation.
    """
    base = model.base_model
    encoder = getattr(base, "encoder", None)
    layers = getattr(encoder, "layer", None)
    if encoder is None or layers is None or getattr(model.config, "is_decoder", False):
        return None
    if getattr(model.config, "position_embedding_type", "absolute") != "absolute":
        return None
    weights = {name for name, _ in encoder.named_parameters()}
    if weights != {f"layer.{i}.{name}" for i in range(len(layers)) for name in _LAYER}:
        return None
    if {name for name, _ in base.embeddings.named_parameters()} != _EMBEDDINGS:
        return None
    return list(layers)


def packed_features(
    base: Any, layers: Sequence[Any], inputs: Batch, rows: Tensor, positions: Tensor
) -> Tensor:
    """Hidden states at N places of a batch whose rows are padded on the right.

    Parameters
    ----------
    base : the encoder with its embeddings
    layers : what `plain_layers` found
    inputs : ``input_ids``, ``attention_mask`` and perhaps ``token_type_ids``, each of shape (B, T)
    rows, positions : int64 tensors of shape (N,)

    Returns
    -------
    float tensor of shape (N, D)
    """
    real = inputs["attention_mask"].bool()
    lengths = real.sum(dim=1)
    starts = lengths.cumsum(dim=0) - lengths
    hidden = _embed(base, inputs, real)
    runs = equal_runs(lengths.tolist())
    for layer in layers[:-1]:
        hidden = _feed_forward(layer, _attention(layer, hidden, runs), hidden)
    wanted = starts[rows] + positions
    asked = hidden[wanted]
    if torch.equal(rows, torch.arange(len(lengths))):  # one of each row: no other token needs to look around
        return _feed_forward(layers[-1], _attention(layers[-1], hidden, runs, asked), asked)
    return _feed_forward(layers[-1], _attention(layers[-1], hidden, runs)[wanted], asked)


def equal_runs(lengths: Sequence[int]) -> list[Run]:
    """Neighbouring rows of one length: they are a rectangle as they lie, without a copy."""
    return [(len(list(group)), length) for length, group in groupby(lengths)]


def _embed(base: Any, inputs: Batch, real: Tensor) -> Tensor:
    """Embeddings of the real tokens, shape (tokens, D)."""
    # RoBERTa and its kin count positions from behind the padding id.
    padding = base.embeddings.position_embeddings.padding_idx
    first = 0 if padding is None else padding + 1
    places = torch.arange(first, first + real.shape[1], device=real.device).expand(real.shape)
    given = {name: inputs[name][real][None] for name in ("input_ids", "token_type_ids") if name in inputs}
    hidden: Tensor = base.embeddings(position_ids=places[real][None], **given)[0]
    projection = getattr(base, "embeddings_project", None)  # ELECTRA's embeddings may be narrower
    return hidden if projection is None else projection(hidden)


def _attention(layer: Any, hidden: Tensor, runs: list[Run], asked: Tensor | None = None) -> Tensor:
    """Each token's mixture of the values of its own row, shape (tokens, D).

    With `asked`, hidden states of shape (B, D), only one token of each row looks around: shape (B, D).
    """
    attention = layer.attention.self
    heads = attention.num_attention_heads
    drop = attention.dropout.p if attention.training else 0.0
    tokens = [count * length for count, length in runs]
    # Splitting has a cheap gradient; that of every slice would be as large as the whole.
    if asked is None:
        queries = attention.query(hidden).split(tokens)
    else:
        queries = attention.query(asked).split([count for count, _ in runs])
    parts = zip(runs, queries, attention.key(hidden).split(tokens), attention.value(hidden).split(tokens), strict=True)
    mixed = []
    for (count, _), *part in parts:
        query, key, value = (x.view(count, -1, heads, x.shape[-1] // heads).transpose(1, 2) for x in part)
        mixed.append(_attend(query, key, value, drop).transpose(1, 2).flatten(2).flatten(0, 1))
    return torch.cat(mixed)


def _attend(query: Tensor, key: Tensor, value: Tensor, drop: float) -> Tensor:
    """softmax(q k / sqrt(d)) v, each of shape (rows, heads, tokens, d)."""
    # The library's fused attention is the faster one only for long rows, and never in bfloat16.
    if key.dtype == torch.float32 and key.shape[2] > _SHORT:
        return F.scaled_dot_product_attention(query, key, value, dropout_p=drop)
    scores = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(2, 3))
    shares = scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
    return torch.matmul(dropout(shares, drop), value)


def _feed_forward(layer: Any, mixed: Tensor, hidden: Tensor) -> Tensor:
    """The rest of a layer, token by token."""
    hidden = _add_and_norm(layer.attention.output, mixed, hidden)
    return _add_and_norm(layer.output, layer.intermediate(hidden), hidden)


def _add_and_norm(block: Any, inner: Tensor, hidden: Tensor) -> Tensor:
    inner = dropout(block.dense(inner), block.dropout.p if block.training else 0.0)
    return block.LayerNorm(inner + hidden)
