"""The one place that knows how library versions differ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers

TRANSFORMERS_MAJOR = int(transformers.__version__.split(".")[0])


def loading_arguments(dtype: torch.dtype) -> dict[str, Any]:
    """Keywords of ``from_pretrained`` that differ between versions.

    The one for the weights' type was renamed in transformers 4.56. The other way of loading, of which
    version 5 knows no alternative, is needed with 4.48: it otherwise reads the output bias of RoBERTa
    and ALBERT as zeros.
    """
    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    arguments: dict[str, Any] = {"dtype" if version >= (4, 56) else "torch_dtype": dtype}
    if TRANSFORMERS_MAJOR < 5:
        arguments["low_cpu_mem_usage"] = True
    return arguments


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing bars of its own between our lines."""
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()


def save_model(model: Any, folder: Any) -> None:
    """``save_pretrained`` as safetensors, silently."""
    options = {} if TRANSFORMERS_MAJOR >= 5 else {"safe_serialization": True}
    with without_progress_bars():
        model.save_pretrained(folder, **options)
