"""A small folder like those of `pet export --ensemble`, and what it takes to change one of its files."""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, PreTrainedTokenizerFast

FILES = ("ensemble.json", "onnx/ensemble.onnx", "config.json")
_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "terrible", "great", "it", "was", ".", "a", "text"]
ABOUT: dict[str, Any] = {
    "labels": ["bad", "good"],
    "members": [
        {"pattern": 1, "first_vector": 12, "vectors": 2, "before": 2, "soft": False},
        {"pattern": 2, "first_vector": 14, "vectors": 0, "before": 0, "soft": False},
    ],
    "merging": {"members": ["p1", "p2"], "weights": [1.0, 0.5], "merge": "weighted", "bias": [0.1, -0.1]},
    "max_length": 16,
    "mean_of_tokens": False,
    "columns": {"text": "review"},
    "task": {
        "task": "reviews",
        "fields": ["text"],
        "labels": ["bad", "good"],
        "verbalizer": {"bad": ["terrible"], "good": ["great"]},
        "patterns": ["{text} it was {mask} .", "{mask} : {text}"],
    },
}


def graph() -> bytes:
    """Return an ONNX graph with the inputs and outputs of two members and two labels."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def put(name: str, kind: int, *shape: int | str) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    constants = {"last": np.array([2]), "first": np.array([0]), "labels": np.array([[[0.01, -0.01]]], np.float32)}
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["ids", "mask"], ["real"]),
        helper.make_node("ReduceSum", ["real", "last"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["sum", "labels"], ["scores"]),
        helper.make_node("ReduceSum", ["scores", "first"], ["merged"], keepdims=0),
        helper.make_node("Softmax", ["merged"], ["probabilities"], axis=-1),
    ]
    made = helper.make_graph(
        nodes,
        "ensemble",
        [put(name, TensorProto.INT64, 2, "b", "t") for name in ("input_ids", "attention_mask")],
        [put("probabilities", TensorProto.FLOAT, "b", 2), put("scores", TensorProto.FLOAT, 2, "b", 2)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


@functools.cache
def _made() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="exported-")  # removed at the end of the process


@functools.cache
def sound_folder() -> Path:
    """Return a folder that no target changes; it is made once."""
    place = Path(_made().name)
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(_WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    special: dict[str, Any] = {f"{key}_token": name for key, name in names.items()}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **special).save_pretrained(place)
    BertConfig(vocab_size=len(_WORDS), hidden_size=8, num_hidden_layers=1).save_pretrained(place)
    (place / "onnx").mkdir()
    (place / "onnx" / "ensemble.onnx").write_bytes(graph())
    (place / "ensemble.json").write_text(json.dumps(ABOUT, indent=1), encoding="utf-8")
    return place


def changed(folder: Path, data: bytes) -> Path:
    """Copy the sound folder, with one file replaced by the data; the first byte selects the file."""
    place = folder / "exported"
    shutil.copytree(sound_folder(), place)
    (place / FILES[data[0] % len(FILES) if data else 0]).write_bytes(data[1:])
    return place
