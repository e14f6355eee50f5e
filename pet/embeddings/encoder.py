"""Turn texts into vectors of unit length with an untrained encoder.

Any ``transformers`` model works; the pooling of a sentence-transformers folder is read from its files. Members and
baselines that do not use patterns classify the vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pet.backbones.load import load_tokenizer, model_file
from pet.backbones.masked import position_limit
from pet.backbones.packed import packed_features, plain_layers
from pet.backbones.sequence import model_inputs
from pet.backbones.trained import load_encoder
from pet.errors import PetError
from pet.store.json_reader import read_json
from pet.store.schema import anything, check, inside, list_of, mapping_of, record, text
from pet.student.classifier import TextInput, encode_texts, set_padding
from pet.training.batching import pad_rows, padding_id, to_tensors, token_budget_batches, write_back
from pet.training.device import batch_tokens
from pet.training.memory import kept_memory

if TYPE_CHECKING:
    from accelerate import Accelerator
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Array = NDArray[Any]
_CURE = "download the model again"
# Key in a sentence-transformers pooling configuration -> name in `POOLINGS`.
_MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "last"}


@dataclass
class TextEncoder:
    """An encoder that turns texts into vectors.

    Attributes
    ----------
    model, tokenizer : the encoder
    text_input : how to make its input text from the fields
    max_length : longest input in tokens
    pooling : {"mean", "cls", "last"}
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    text_input: TextInput
    max_length: int
    pooling: str = "mean"

    @property
    def size(self) -> int:
        """Length of a vector."""
        return int(self.model.config.hidden_size)

    def embed(
        self,
        table: Dataset,
        accelerator: Accelerator,
        *,
        max_tokens: int = 8192,
        out: Array | None = None,
        on_rows: Callable[[int], object] = lambda n: None,
    ) -> Array:
        """Return the vector of every row.

        Parameters
        ----------
        table : the texts
        accelerator : device and precision
        max_tokens : maximum number of tokens per batch, including padding
        out : float32 array of shape (rows, D) to fill, such as a memory map; default: a new array
        on_rows : called with the number of rows finished since the last call

        Returns
        -------
        float32 array of shape (rows, D); every vector has length 1
        """
        encoded = encode_texts(table, self.text_input, self.tokenizer, self.max_length)
        if out is None:
            out = np.empty((len(encoded), self.size), dtype=np.float32)
        device, pad_id = accelerator.device, padding_id(self.tokenizer)
        self.model.to(device).eval()  # type: ignore[arg-type]
        layers = plain_layers(self.model) if device.type == "cpu" else None

        def embedded() -> Iterator[tuple[Array, Tensor]]:
            for rows in token_budget_batches(encoded.ids.lengths, batch_tokens(max_tokens, device)):
                batch = to_tensors(pad_rows(encoded, rows, pad_id)[0], device)
                yield rows, F.normalize(self._pool(batch, layers).float(), dim=1)

        with torch.inference_mode(), accelerator.autocast(), kept_memory(device.type):
            write_back(out, embedded(), on_rows)
        return out

    def _pool(self, batch: dict[str, Tensor], layers: list[Any] | None) -> Tensor:
        """Return one vector per row of a batch: shape (B, D)."""
        inputs, mask = model_inputs(self.model, batch), batch["attention_mask"]
        lengths = mask.sum(dim=1)
        first = torch.arange(len(mask), device=mask.device)
        if layers is not None and self.pooling == "cls":
            return packed_features(self.model, layers, inputs, first, torch.zeros_like(first))
        if layers is not None and self.pooling == "mean":
            rows, positions = mask.nonzero(as_tuple=True)
            states = packed_features(self.model, layers, inputs, rows, positions).float()
            sums = torch.zeros(len(mask), states.shape[1], dtype=states.dtype)
            return sums.index_add_(0, rows, states) / lengths[:, None]
        hidden = self.model(**inputs)[0].float()
        if self.pooling == "mean":
            return (hidden * mask[:, :, None]).sum(dim=1) / lengths[:, None]
        return hidden[first, lengths - 1 if self.pooling == "last" else torch.zeros_like(lengths)]


def open_encoder(name: str, text_input: TextInput, max_length: int, *, allow_pickle: bool = False) -> TextEncoder:
    """Open a pretrained model as an encoder of texts.

    Parameters
    ----------
    name : folder (also of sentence-transformers), embedded model, or hub name
    text_input : how to make its input text from the fields
    max_length : longest input in tokens; lowered to what the model can read
    allow_pickle : open pickled weights, too

    Raises
    ------
    PetError
        If it cannot be opened, lacks weights, or asks for modules that are not supported.
    """
    pooling = read_pooling(name)
    model = load_encoder(name, allow_pickle=allow_pickle)
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    tokenizer = load_tokenizer(name)
    set_padding(name, model, tokenizer)
    return TextEncoder(model, tokenizer, text_input, min(max_length, position_limit(model)), pooling)


def read_pooling(name: str) -> str:
    """Return the pooling of a sentence-transformers model; ``mean`` for any other model.

    Raises
    ------
    PetError
        If the model has modules other than a transformer, pooling, and normalization.
    """
    modules = model_file(name, "modules.json")
    if modules is None:
        return "mean"
    pooling = "mean"
    for module in read_json(modules, _CURE, list_of(record({"type": text(200)}, {"path": text(200)}), high=20)):
        kind = module["type"].rpartition(".")[2]
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise PetError(f"{modules}: module {kind} is not supported; use an encoder without it")
        if kind == "Pooling":
            check(module, record({"path": inside()}), str(modules), _CURE)
            path = model_file(name, f"{module['path']}/config.json")
            if path is None:
                raise PetError(f"{modules}: the file {module['path']}/config.json is missing; {_CURE}")
            pooling = _pooling_mode(path)
    return pooling


def _pooling_mode(path: Path) -> str:
    """Return the pooling that a configuration of the module ``Pooling`` asks for."""
    values = read_json(path, _CURE, mapping_of(anything()))
    asked = [name for name, value in values.items() if name.startswith("pooling_mode_") and value is True]
    if len(asked) != 1 or asked[0] not in _MODES:
        raise PetError(
            f"{path}: the pooling {', '.join(asked) or 'of the model'} is not supported; "
            f"supported are {', '.join(_MODES)}"
        )
    return _MODES[asked[0]]
