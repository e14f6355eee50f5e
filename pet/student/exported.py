"""Classifiers that other engines run: folders of `pet export`, and classifiers that were opened with torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pet.backbones.load import empty_model, load_config, load_tokenizer
from pet.backbones.masked import position_limit
from pet.backbones.sequence import Batch
from pet.errors import PetError
from pet.runtimes.build import build_engine
from pet.runtimes.engines import AUTO, ONNX, Engine, check_runtime, open_engine, runtime_of_export
from pet.runtimes.graph import INPUTS, LogitsGraph
from pet.student.classifier import Classifier, check_outputs, check_room, encode_texts, saved_input, set_padding
from pet.student.outputs import read_outputs
from pet.training.batching import pad_rows, token_budget_batches

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

FOLDER, FULL, QUANTIZED = "onnx", "model.onnx", "model_quantized.onnx"
_TOKENS = 1024  # of a batch that measures scales


class EngineLogits:
    """Computes the logits of a classifier with an engine, in place of `pet.backbones.sequence.SequenceLogits`."""

    packs = False

    def __init__(self, engine: Engine):
        self.engine = engine

    def __call__(self, batch: Batch) -> Tensor:
        values = {name: batch[name].numpy() for name in INPUTS if name in batch}
        return torch.from_numpy(self.engine(values))


class _NoWeights(nn.Module):
    """Stands for the model of an exported classifier: its configuration, without weights."""

    def __init__(self, config: Any):
        super().__init__()
        self.config = config


def is_exported(folder: Path) -> bool:
    """Return True if a folder holds an ONNX classifier and no weights of torch."""
    return (folder / FOLDER / FULL).is_file() and not any(folder.glob("*.safetensors"))


def load_exported(
    folder: Path,
    runtime: str | None,
    precision: str,
    *,
    device: str = AUTO,
    quantize: bool = False,
    independent: bool = False,
) -> Classifier:
    """Open a folder that `pet export --onnx` wrote, or another one of this layout.

    Parameters
    ----------
    folder : holds config.json, the tokenizer, and onnx/model.onnx
    runtime, device : see `pet.runtimes.engines.runtime_of_export`
    precision : see `pet.runtimes.engines.open_engine`
    quantize : read onnx/model_quantized.onnx
    independent : accept a classifier whose labels do not exclude each other

    Raises
    ------
    PetError
        If the folder is damaged, or the runtime is missing or cannot run it.
    """
    name, path = str(folder), folder / FOLDER / (QUANTIZED if quantize else FULL)
    # OpenVINO runs layers that are quantized as they run more slowly than fp32.
    wanted = ONNX if quantize and runtime in (None, AUTO) else runtime
    chosen = runtime_of_export(folder, wanted, device, "use the original classifier")
    if not path.is_file():
        raise PetError(f"{path}: no such file; export the classifier with --int8, or omit --quantize")
    outputs = read_outputs(name)
    if outputs is None:
        raise PetError(f"{folder}: no config.json in this folder; export the classifier again")
    check_outputs(outputs, name, independent)
    config = load_config(name)
    tokenizer = load_tokenizer(name, config)
    model: Any = _NoWeights(config)
    set_padding(name, model, tokenizer)
    text_input, threshold = saved_input(folder)
    most = longest_input(name, config, tokenizer)
    check_room(name, tokenizer, text_input, most)
    classifier = Classifier(model, tokenizer, text_input, outputs.labels, most, outputs.independent, threshold)
    use_engine(classifier, open_engine(chosen, path, precision, int8=quantize))
    return classifier


def longest_input(name: str, config: Any, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return how many tokens a model without weights may read; with more, an engine would compute something else.

    Parameters
    ----------
    name, config, tokenizer : of the model
    """
    given = int(min(tokenizer.model_max_length, 1 << 20))
    if given < (getattr(config, "max_position_embeddings", None) or 0):
        return given
    return min(given, position_limit(empty_model(name, config)))  # some positions may be unused, as in RoBERTa


def use_engine(classifier: Classifier, engine: Engine) -> None:
    """Let an engine compute the logits of a classifier."""
    vars(classifier)["logits"] = EngineLogits(engine)


def engine_of(classifier: Classifier) -> Engine | None:
    """Return the engine that computes the logits of a classifier; None if torch does."""
    logits = vars(classifier).get("logits")
    return logits.engine if isinstance(logits, EngineLogits) else None


def classifier_engine(
    classifier: Classifier, name: str, runtime: str, precision: str, sample: Dataset | None = None
) -> Engine:
    """Return an engine for a classifier that was opened with torch.

    Parameters
    ----------
    classifier, name : the classifier, and its name in messages
    runtime, precision : see `pet.runtimes.build.build_engine`
    sample : texts to measure scales on, to compute in int8
    """
    check_runtime(runtime)
    graph = LogitsGraph(classifier.model)
    batches = None if sample is None else list(_batches(classifier, sample, graph.inputs))
    return build_engine(graph, runtime, precision, name, batches)


def _batches(classifier: Classifier, table: Dataset, names: tuple[str, ...]) -> Iterator[tuple[Tensor, ...]]:
    encoded = encode_texts(table, classifier.text_input, classifier.tokenizer, classifier.max_length)
    for rows in token_budget_batches(np.asarray(encoded.ids.lengths), _TOKENS):
        batch, _ = pad_rows(encoded, rows, classifier.pad_id, left=classifier.pads_left)
        yield tuple(torch.from_numpy(batch[name]) for name in names)
