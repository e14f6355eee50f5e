"""GGUF files, the format of llama.cpp: converted once to a model folder, which everything else opens.

Reading a GGUF file is slow: its weights and its tokenizer have to be converted. The folder is kept in the cache.
"""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path

import torch
import transformers

from pet.backbones.budget import limited_size
from pet.backbones.folder import Weights
from pet.compat import dtype_argument, gguf_argument, save_model
from pet.errors import PetError
from pet.extras import install_command, is_installed
from pet.process import without_messages, without_progress_bars
from pet.shortage import shortage
from pet.store.outputs import writing_folder

_MAGIC = b"GGUF"
_WEIGHTS_PER_BYTE = 4  # of the smallest quantized weights


def convert(path: Path, folder: Path) -> None:
    """Write the causal language model and the tokenizer of a GGUF file to a folder, in half precision.

    Parameters
    ----------
    path : a GGUF file
    folder : appears when it is complete

    Raises
    ------
    PetError
        If it is not a GGUF file, its architecture is not supported, or the package gguf is not installed.
    """
    with path.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise PetError(f"model {path}: not a GGUF file; download it again, or give the folder of a model")
    if not is_installed("gguf"):
        raise PetError(f"model {path}: reading GGUF files requires gguf; {install_command('gguf')}")
    weights = Weights(0, _WEIGHTS_PER_BYTE * path.stat().st_size)
    with writing_folder(folder, replace=True) as place:
        try:
            _write(path, weights, place)
        except Exception as error:
            if isinstance(error, (PetError, MemoryError)) or shortage(error) is not None:
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise PetError(
                f"model {path}: cannot be read ({reason[:300]}); download it again, or use the original model if this "
                "version of transformers does not support its architecture as GGUF"
            ) from error


def _write(path: Path, weights: Weights, folder: Path) -> None:
    where = str(path.parent)
    # The bar of the conversion ignores the switch for progress bars.
    silent = redirect_stderr(io.StringIO())
    with without_messages(), without_progress_bars(), silent, limited_size(str(path), weights):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            where, trust_remote_code=False, **dtype_argument(torch.float16), **gguf_argument(path.name)
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, gguf_file=path.name, trust_remote_code=False)
    if getattr(model.config, "quantization_config", None) is not None:
        del model.config.quantization_config  # the weights are plain now
    tokenizer.chat_template = None  # patterns are plain text
    save_model(model, folder)
    tokenizer.save_pretrained(folder)
