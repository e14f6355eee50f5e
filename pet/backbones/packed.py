"""Run BERT-like encoders on packed rows, without computing anything for padding.

The encoders of transformers take rectangular batches: rows are padded to the longest one, and every
layer processes the padding too. Here only attention, which must not cross rows, sees separate rows;
everything else sees one long list of tokens. After the last attention, only the requested tokens
continue: a cloze needs one per text, the auxiliary loss 15% of them.

The model's own modules are called in their usual order, in training and inference. Models that differ
from BERT are not packed: `plain_layers` returns None, and they run as usual.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pet.backbones.dropout import dropout
from pet.backbones.row_attention import RowAttention, RowGroups, Run
from pet.training.batching import to_device

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Batch = Mapping[str, Tensor]

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
_FEW_RUNS = 8  # each run costs one attention call per layer on a GPU
_ALIGNED = 8  # tokens; attention on a GPU reads its mask in blocks of this size


def plain_layers(model: PreTrainedModel) -> list[Any] | None:
    """Return the layers of an encoder with exactly BERT's weights, else None.

    An additional weight (relative positions, a second norm, an adapter) or a missing one means a different
    computation, and so does a hook (such as a prefix of `pet.tuning.prefix`). Soft tokens and LoRA matrices do not
    matter here.
    """
    base = model.base_model
    encoder = getattr(base, "encoder", None)
    layers = getattr(encoder, "layer", None)
    if encoder is None or layers is None or getattr(model.config, "is_decoder", False):
        return None
    if getattr(model.config, "position_embedding_type", "absolute") != "absolute":
        return None
    if any(module._forward_hooks or module._forward_pre_hooks for module in encoder.modules()):
        return None
    weights = {name.replace(".base_layer.", ".") for name, _ in encoder.named_parameters() if ".lora_" not in name}
    if weights != {f"layer.{i}.{name}" for i in range(len(layers)) for name in _LAYER}:
        return None
    embeddings = {name for name, _ in base.embeddings.named_parameters()}
    if {name for name in embeddings if not name.startswith("word_embeddings.learned.")} != _EMBEDDINGS:
        return None
    return list(layers)


def packed_features(base: Any, layers: Sequence[Any], inputs: Batch, rows: Tensor, positions: Tensor) -> Tensor:
    """Return hidden states at N positions of a right-padded batch, on a CPU.

    Parameters
    ----------
    base : the encoder with its embeddings
    layers : result of `plain_layers`
    inputs : ``input_ids``, ``attention_mask`` and optionally ``token_type_ids``, each of shape (B, T)
    rows, positions : int64 tensors of shape (N,)

    Returns
    -------
    float tensor of shape (N, D)
    """
    real = inputs["attention_mask"].bool()
    lengths = real.sum(dim=1)
    starts = lengths.cumsum(dim=0) - lengths
    hidden = _embed(base, inputs, real.flatten().nonzero()[:, 0])
    if torch.is_autocast_enabled("cpu") and not torch.is_grad_enabled():
        # In inference, sums and norms may have the precision of the products between them; then no layer casts.
        hidden = hidden.to(torch.get_autocast_dtype("cpu"))
    runs = equal_runs(lengths.tolist())
    heads = layers[0].attention.self.num_attention_heads
    # For longer rows, fused attention is faster.
    groups = RowGroups(runs, heads) if torch.is_grad_enabled() and int(lengths.max()) <= _SHORT else runs
    for layer in layers[:-1]:
        hidden = _feed_forward(layer, _attention(layer, hidden, groups), hidden)
    wanted = starts[rows] + positions
    asked = hidden[wanted]
    if torch.equal(rows, torch.arange(len(lengths))):  # one token per row: no other token needs attention
        return _feed_forward(layers[-1], _attention(layers[-1], hidden, groups, asked), asked)
    return _feed_forward(layers[-1], _attention(layers[-1], hidden, groups)[wanted], asked)


def packed_features_on_gpu(
    base: Any, layers: Sequence[Any], inputs: Batch, lengths: Tensor, rows: Tensor, positions: Tensor
) -> Tensor:
    """Like `packed_features`, on a GPU, without ever synchronizing with it.

    If neighboring rows mostly have equal lengths, as in labeling, each run of them is one call of fused attention
    without a mask. Otherwise rows are padded for attention only.

    Parameters
    ----------
    base, layers, inputs, rows, positions : see `packed_features`
    lengths : int64 tensor of shape (B,), on the CPU
    """
    width = inputs["input_ids"].shape[1]
    real = to_device((torch.arange(width) < lengths[:, None]).flatten().nonzero()[:, 0], rows.device)
    starts = to_device(lengths.cumsum(dim=0) - lengths, rows.device)
    runs, rectangle = equal_runs(lengths.tolist()), None
    if len(runs) > _FEW_RUNS:
        rectangle = _rectangle(inputs["attention_mask"], real)
    hidden = _embed(base, inputs, real)
    for layer in layers[:-1]:
        hidden = _feed_forward(layer, _look_around(layer, hidden, runs, rectangle), hidden)
    wanted = starts[rows] + positions
    return _feed_forward(layers[-1], _look_around(layers[-1], hidden, runs, rectangle)[wanted], hidden[wanted])


def equal_runs(lengths: Sequence[int]) -> list[Run]:
    """Group neighboring rows of equal length. In packed form, each group is a rectangle that needs no copy.

    Examples
    --------
    >>> equal_runs([4, 4, 7])
    [(2, 4), (1, 7)]
    """
    return [(len(list(group)), length) for length, group in groupby(lengths)]


_TOKENS = ("input_ids", "token_type_ids")


def _embed(base: Any, inputs: Batch, real: Tensor) -> Tensor:
    """Return the embeddings of the real tokens, shape (tokens, D); `real` are their flat positions in the batch."""
    # RoBERTa-like models count positions from the padding id plus one.
    padding = base.embeddings.position_embeddings.padding_idx
    first = 0 if padding is None else padding + 1
    places = real % inputs["input_ids"].shape[1] + first
    ids, types = (inputs[name].flatten()[real][None] if name in inputs else None for name in _TOKENS)
    # RoBERTa of transformers 4.51 has defaults for no more tokens than one row may have.
    types = torch.zeros_like(places[None]) if types is None else types
    hidden: Tensor = base.embeddings(input_ids=ids, token_type_ids=types, position_ids=places[None])[0]
    projection = getattr(base, "embeddings_project", None)  # ELECTRA's embeddings may be narrower
    return hidden if projection is None else projection(hidden)


def _attention(layer: Any, hidden: Tensor, runs: list[Run] | RowGroups, asked: Tensor | None = None) -> Tensor:
    """Self-attention within each row, shape (tokens, D).

    If `asked` is given, the hidden states of one token per row, shape (B, D), only these attend: shape (B, D).
    """
    attention = layer.attention.self
    heads = attention.num_attention_heads
    drop = attention.dropout.p if attention.training else 0.0
    if isinstance(runs, RowGroups):
        query = attention.query(hidden if asked is None else asked)
        projected = [query, attention.key(hidden), attention.value(hidden)]
        if torch.is_autocast_enabled("cpu"):  # LoRA adds what it learns in float32
            projected = [x.to(torch.get_autocast_dtype("cpu")) for x in projected]
        gathered: Tensor = RowAttention.apply(*projected, runs, drop)
        return gathered
    tokens = [count * length for count, length in runs]
    # Splitting has a cheap gradient; the gradient of each slice would be as large as the whole.
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


@dataclass(frozen=True)
class _Rectangle:
    """Padding for attention: the shape (B, T), the flat positions of the tokens, and the attention mask."""

    shape: tuple[int, int]
    places: Tensor
    mask: Tensor


def _rectangle(real: Tensor, tokens: Tensor) -> _Rectangle:
    """Lay out tokens, given by flat positions in a batch shaped like `real`, in a batch of aligned width."""
    count, width = real.shape
    aligned = -(-width // _ALIGNED) * _ALIGNED
    mask = F.pad(real.bool(), (0, aligned - width))[:, None, None]
    return _Rectangle((count, aligned), tokens // width * aligned + tokens % width, mask)


def _look_around(layer: Any, hidden: Tensor, runs: list[Run], rectangle: _Rectangle | None) -> Tensor:
    """Run `_attention` on a GPU, shape (tokens, D)."""
    device = hidden.device.type
    if torch.is_autocast_enabled(device):  # cast once for query, key and value
        hidden = hidden.to(torch.get_autocast_dtype(device))
    return _attention(layer, hidden, runs) if rectangle is None else _padded_attention(layer, hidden, rectangle)


def _padded_attention(layer: Any, hidden: Tensor, rectangle: _Rectangle) -> Tensor:
    attention = layer.attention.self
    count, width = rectangle.shape

    def spread(values: Tensor) -> Tensor:
        padded = values.new_zeros(count * width, values.shape[1]).index_copy(0, rectangle.places, values)
        return padded.view(count, width, attention.num_attention_heads, -1).transpose(1, 2)

    query, key, value = (spread(part(hidden)) for part in (attention.query, attention.key, attention.value))
    drop = attention.dropout.p if attention.training else 0.0
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=rectangle.mask, dropout_p=drop)
    return mixed.transpose(1, 2).flatten(2).flatten(0, 1).index_select(0, rectangle.places)


def _attend(query: Tensor, key: Tensor, value: Tensor, drop: float) -> Tensor:
    """softmax(q k / sqrt(d)) v, each of shape (rows, heads, tokens, d)."""
    # On a CPU, torch's fused attention is only faster for long rows, and never in bfloat16.
    if key.device.type != "cpu" or (key.dtype == torch.float32 and key.shape[2] > _SHORT):
        return F.scaled_dot_product_attention(query, key, value, dropout_p=drop)
    scores = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(2, 3))
    shares = scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
    return torch.matmul(dropout(shares, drop), value)


def _feed_forward(layer: Any, mixed: Tensor, hidden: Tensor) -> Tensor:
    """Apply the rest of a layer, token by token."""
    hidden = _add_and_norm(layer.attention.output, mixed, hidden)
    return _add_and_norm(layer.output, layer.intermediate(hidden), hidden)


def _add_and_norm(block: Any, inner: Tensor, hidden: Tensor) -> Tensor:
    inner = dropout(block.dense(inner), block.dropout.p if block.training else 0.0)
    return block.LayerNorm(inner + hidden)
