"""Models as ONNX graphs: the logits of a classifier, and the hidden states that a masked language model needs.

Encoders like BERT are written layer by layer on padded rows, so that the last layer computes only one token of each row
and a graph depends on nothing in transformers that traces badly, such as its attention masks. Other families are traced
as transformers runs them.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pet.backbones import xlnet
from pet.backbones.masked import has_token_types
from pet.backbones.packed import plain_layers
from pet.backbones.sequence import find_head
from pet.errors import PetError
from pet.extras import install_command, is_installed
from pet.process import without_messages
from pet.shortage import shortage

if TYPE_CHECKING:
    from transformers import PreTrainedModel

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
POSITIONS = "positions"
OPSET = 18
_LARGEST = 1_900_000_000  # bytes; one file of an ONNX graph holds at most 2 GB
_EXAMPLE = (3, 16)  # rows, tokens
_ONE_LENGTH = ("funnel", "longformer")  # families that are traced with the lengths of the example


class Graph(nn.Module):
    """A computation to export.

    Attributes
    ----------
    inputs : names of its inputs, in order
    outputs : names of its outputs, in order
    encoder : the part that `pet.runtimes.int8` quantizes
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    encoder: nn.Module

    def axes(self) -> dict[str, dict[int, str]]:
        """Return the names of the dimensions that may have any size, for each input and output."""
        named = {key: {0: "batch_size", 1: "sequence_length"} for key in INPUTS if key in self.inputs}
        named |= {key: {0: "batch_size"} for key in (POSITIONS, *self.outputs)}
        return {key: named[key] for key in (*self.inputs, *self.outputs)}

    def example(self) -> tuple[Tensor, ...]:
        """Return inputs to trace with: rows of different lengths."""
        ids = torch.ones(_EXAMPLE, dtype=torch.long)
        mask = torch.ones_like(ids)
        mask[1, _EXAMPLE[1] // 2 :] = 0
        types = torch.zeros_like(ids)
        values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types, POSITIONS: ids[:, 0]}
        return tuple(values[name] for name in self.inputs)


class LogitsGraph(Graph):
    """The logits of a sequence classifier, shape (B, L).

    Parameters
    ----------
    model : a ``transformers`` sequence classifier; it is copied
    """

    outputs = ("logits",)

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = copied(model)
        self.inputs = INPUTS if has_token_types(model) else INPUTS[:2]
        self._head = find_head(self.model)
        layers = None if self._head is None else plain_layers(self.model)
        self.encoder = self.model.base_model if layers is None else LayeredEncoder(self.model.base_model, layers)

    def forward(self, *inputs: Tensor) -> Tensor:
        if self._head is None or not isinstance(self.encoder, LayeredEncoder):
            logits: Tensor = self.model(**dict(zip(self.inputs, inputs, strict=True))).logits
            return logits
        first = torch.zeros_like(inputs[0][:, 0])
        return self._head(self.model, self.encoder(*inputs[:2], first, *inputs[2:])[:, None])


class FeaturesGraph(Graph):
    """The hidden state of one token of each row, shape (B, D).

    Parameters
    ----------
    model : a ``transformers`` masked language model; it is copied
    """

    outputs = ("features",)

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        if model.config.model_type in xlnet.TYPES:
            raise PetError(f"models of the family {model.config.model_type} run by torch only; use --runtime torch")
        self.model = copied(model)
        names = INPUTS if has_token_types(model) else INPUTS[:2]
        self.inputs = (*names[:2], POSITIONS, *names[2:])
        base, layers = self.model.base_model, plain_layers(self.model)
        self.encoder = base if layers is None else LayeredEncoder(base, layers)

    def forward(self, *inputs: Tensor) -> Tensor:
        if isinstance(self.encoder, LayeredEncoder):
            return self.encoder(*inputs)  # type: ignore[no-any-return]
        named = dict(zip(self.inputs, inputs, strict=True))
        positions = named.pop(POSITIONS)
        return token_at(self.encoder(**named)[0], positions)


def copied(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy of a model on the CPU, in float32, for inference.

    Raises
    ------
    PetError
        If a graph of such a model would fit texts of one length only.
    """
    if model.config.model_type in _ONE_LENGTH:
        raise PetError(f"models of the family {model.config.model_type} run by torch only; use --runtime torch")
    return copy.deepcopy(model).to("cpu", torch.float32).eval()  # type: ignore[arg-type, no-any-return]


def token_at(hidden: Tensor, positions: Tensor) -> Tensor:
    """Return one token of each row: shape (B, D)."""
    places = positions[:, None, None].expand(-1, 1, hidden.shape[2])
    return hidden.gather(1, places)[:, 0]


class LayeredEncoder(nn.Module):
    """An encoder like BERT, on padded rows; see `pet.backbones.packed`.

    Parameters
    ----------
    base : the encoder with its embeddings
    layers : result of `plain_layers`
    """

    def __init__(self, base: Any, layers: Sequence[Any]):
        super().__init__()
        self.base, self.layers = base, nn.ModuleList(layers)

    def forward(self, ids: Tensor, mask: Tensor, positions: Tensor, types: Tensor | None = None) -> Tensor:
        """Return the last hidden state at one position of each row: shape (B, D)."""
        # RoBERTa-like models count positions from the padding id plus one.
        padding = self.base.embeddings.position_embeddings.padding_idx
        places = mask.new_ones(mask.shape[1]).cumsum(0)[None] + (-1 if padding is None else padding)
        types = torch.zeros_like(ids) if types is None else types
        hidden: Tensor = self.base.embeddings(input_ids=ids, token_type_ids=types, position_ids=places)
        projection = getattr(self.base, "embeddings_project", None)  # ELECTRA's embeddings may be narrower
        hidden = hidden if projection is None else projection(hidden)
        away = ((1.0 - mask.to(hidden.dtype)) * torch.finfo(hidden.dtype).min)[:, None, None]
        for layer in self.layers[:-1]:  # type: ignore[union-attr]
            hidden = _feed_forward(layer, _attention(layer, hidden, hidden, away), hidden)
        asked = hidden.gather(1, positions[:, None, None].expand(-1, 1, hidden.shape[2]))
        return _feed_forward(self.layers[-1], _attention(self.layers[-1], asked, hidden, away), asked)[:, 0]


def single_token_layers(encoder: nn.Module) -> set[nn.Module]:
    """Return the linear layers that read only one token of each row, which take almost no time."""
    if not isinstance(encoder, LayeredEncoder):
        return set()
    last: Any = encoder.layers[-1]
    several = {last.attention.self.key, last.attention.self.value}
    return {module for module in last.modules() if type(module) is nn.Linear and module not in several}


def _attention(layer: Any, asked: Tensor, hidden: Tensor, away: Tensor) -> Tensor:
    attention = layer.attention.self
    heads = attention.num_attention_heads

    def split(values: Tensor) -> Tensor:
        return values.view(values.shape[0], -1, heads, values.shape[-1] // heads).transpose(1, 2)

    query, key, value = (
        split(part(x)) for part, x in ((attention.query, asked), (attention.key, hidden), (attention.value, hidden))
    )
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=away)
    return mixed.transpose(1, 2).flatten(2)


def _feed_forward(layer: Any, mixed: Tensor, hidden: Tensor) -> Tensor:
    output = layer.attention.output
    hidden = output.LayerNorm(output.dense(mixed) + hidden)
    return layer.output.LayerNorm(layer.output.dense(layer.intermediate(hidden)) + hidden)  # type: ignore[no-any-return]


def write_graph(graph: Graph, path: Path, name: str) -> None:
    """Write a graph to an ONNX file.

    Parameters
    ----------
    graph : what to export
    path : the file; weights of more than 1.9 GB go into a second file, ``NAME.onnx_data``
    name : name of the model in messages

    Raises
    ------
    PetError
        If ``onnx`` is not installed, or the model has an operation that ONNX does not have.
    """
    if not is_installed("onnx"):
        raise PetError(f"ONNX graphs require the package onnx; install it with: {install_command('onnx')}")
    size = sum(p.numel() * p.element_size() for p in graph.parameters())
    try:
        with without_messages(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            # The exporter by torch.export (dynamo=True) works, too: with torch 2.13.0 and onnxscript 0.7.2, outputs are
            # equal, also for other shapes. But it requires onnxscript, takes several times as long, and ONNX Runtime
            # runs its graphs more slowly. Look again when torch removes the older one, which it calls deprecated.
            torch.onnx.export(
                graph.eval(),
                graph.example(),
                str(path),
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                dynamic_axes=graph.axes(),
                opset_version=OPSET,
                dynamo=False,
            )
        if size > _LARGEST:
            _move_weights(path)
    except (RuntimeError, TypeError, ValueError, torch.onnx.OnnxExporterError) as error:
        if shortage(error) is not None:
            raise
        reason = " ".join(str(error).split())[:300]
        raise PetError(f"model {name}: cannot be written as ONNX ({reason}); use torch for this model") from error


def has_weights_beside(path: Path) -> bool:
    """Return True if the weights of an ONNX file are in a second file."""
    return path.with_name(f"{path.name}_data").is_file()


def _move_weights(path: Path) -> None:
    """Put the weights of a large graph into one file beside it, which transformers.js and optimum expect there."""
    import onnx

    model = onnx.load(str(path))
    for other in path.parent.iterdir():
        if other != path and other.suffix != ".onnx":
            other.unlink()
    onnx.save_model(model, str(path), save_as_external_data=True, location=f"{path.name}_data")
