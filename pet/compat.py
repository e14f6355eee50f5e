"""Differences between library versions, all in one place."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch
import transformers

from pet.lean_imports import without_distributed_tensors
from pet.process import without_progress_bars

TRANSFORMERS_MAJOR = int(transformers.__version__.split(".")[0])
EMPTY_FIRST = TRANSFORMERS_MAJOR >= 5  # ``from_pretrained`` builds a model without memory before it loads weights


def dtype_argument(dtype: torch.dtype) -> dict[str, Any]:
    """Return the dtype argument of ``from_pretrained``, which was renamed in transformers 4.56."""
    installed = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    return {"dtype" if installed >= (4, 56) else "torch_dtype": dtype}


def gguf_argument(file: str) -> dict[str, Any]:
    """Return the arguments of ``from_pretrained`` that unpack a GGUF file; new versions would keep its blocks."""
    kind = getattr(transformers, "GgufConfig", None)
    return {"gguf_file": file} | ({} if kind is None else {"quantization_config": kind(dequantize=True)})


def no_code() -> dict[str, Any]:
    """Return the arguments that keep ``load_dataset`` from running code of a data set, as it can before version 4."""
    return {"trust_remote_code": False} if int(version("datasets").split(".")[0]) < 4 else {}


def repeat_cache(cache: Any, count: int) -> Any:
    """Repeat each row of a key-value cache `count` times; return None for caches that cannot be repeated.

    GPT-2's cache was a plain tuple before transformers 4.53. A recurrent state, alone (Mamba) or next to keys and
    values (Qwen3-Next), cannot be repeated.
    """
    if isinstance(cache, tuple):
        return tuple(tuple(part.repeat_interleave(count, dim=0) for part in layer) for layer in cache)
    layers = getattr(cache, "layers", (cache,))
    if any(hasattr(layer, state) for layer in layers for state in _STATES):
        return None
    if not all(hasattr(layer, "batch_repeat_interleave") for layer in layers):
        return None
    cache.batch_repeat_interleave(count)
    return cache


_STATES = ("recurrent_states", "conv_states", "ssm_states")


# Instruction sets with int8 multiplication: x86, then ARM.
_INT8_INSTRUCTIONS = ("avx512_vnni", "avx_vnni", "amx_int8", "i8mm", "dot")


def has_int8_instructions() -> bool | None:
    """Whether the CPU has int8 multiplication; None if this (older) version of torch cannot tell."""
    if not hasattr(torch.cpu, "get_capabilities"):
        return None
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in _INT8_INSTRUCTIONS)


def save_model(model: Any, folder: Any) -> None:
    """Call ``save_pretrained`` with safetensors and without progress bars."""
    options = {} if TRANSFORMERS_MAJOR >= 5 else {"safe_serialization": True}
    with without_progress_bars(), without_distributed_tensors():
        model.save_pretrained(folder, **options)
