"""What a model folder may contain. It may come from anyone, so it is checked before a library reads it.

A folder is data. Nothing in it is executed, nothing outside of it is read, and no file in it can make loading take
forever. `pet.backbones.load` applies these checks, also to the files of hub models.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from pet.errors import PetError
from pet.store.disk import disk_problem

CONFIG, TOKENIZER_CONFIG, ADAPTER_CONFIG = "config.json", "tokenizer_config.json", "adapter_config.json"
WEIGHTS, INDEX, PICKLED_INDEX = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin.index.json"
READ = (".safetensors", ".json", ".txt", ".model", ".bin")  # suffixes of the files that make up a model
TEMPLATES = "additional_chat_templates"

_LARGE = 512 << 20  # maximum size of tokenizer.json and of an index of weights, in bytes
_SMALL = 64 << 20  # maximum size of other files without weights
_LARGE_FILES = ("tokenizer.json", INDEX, PICKLED_INDEX)
_COUNTS = re.compile("layers?|heads|experts|groups|labels|blocks|stages|depths?")
_MAX_COUNT = 100_000
_POSITIVE = re.compile("num_(hidden_)?layers|n_layers?|num_(attention_)?heads|n_heads?|relative_attention_max_distance")
_WINDOWS, _MAX_WINDOW = {"local_attention", "sliding_window"}, 10**9  # tokens
_OTHER_WEIGHTS = {"tf_model*.h5": "TensorFlow", "flax_model*.msgpack": "Flax", "*.gguf": "GGUF", "*.onnx": "ONNX"}


@dataclass(frozen=True)
class Weights:
    """The size of a folder's weights: number of tensors (0: unknown) and of bytes."""

    tensors: int
    bytes: int


def remote_code(name: object) -> PetError:
    """Return the error for a model that comes with its own Python code."""
    return PetError(
        f"model {name}: needs its own Python code (auto_map), and pet never runs code that comes with a model; use "
        "a model whose architecture is part of the transformers library, or update transformers if it has been added"
    )


def pickled(name: object, file: str) -> PetError:
    """Return the error for pickled weights."""
    return PetError(
        f"model {name}: its weights ({file}) are pickled, and loading them can execute arbitrary code; convert them "
        "to safetensors, or pass --allow-pickle if you trust their source"
    )


def adapter(name: object) -> PetError:
    """Return the error for an adapter without its model."""
    return PetError(
        f"model {name}: is an adapter ({ADAPTER_CONFIG}), which refers to another model; merge the two with PEFT's "
        "merge_and_unload(), and give the folder that save_pretrained writes"
    )


def check_files(folder: Path) -> None:
    """Check everything in a folder but its weights.

    Raises
    ------
    PetError
        For an adapter; for a link out of the folder, a file that is not a regular file or is too large; or for a
        configuration that asks for code, for other files, or for absurd sizes.
    """
    if (folder / ADAPTER_CONFIG).exists():
        raise adapter(folder)
    if not (folder / CONFIG).is_file():
        raise PetError(f"model {folder}: no config.json in this folder; give a folder saved by save_pretrained")
    check_links(folder)
    for file, check in ((CONFIG, check_config), (TOKENIZER_CONFIG, check_tokenizer_config)):
        if (folder / file).exists():
            check(read_json(folder / file), folder)


def check_links(folder: Path) -> None:
    """Check that the files of a folder are regular files of reasonable size in the folder, or in a hub's cache.

    Raises
    ------
    PetError
        If one is something else, or a link that leads elsewhere.
    """
    inside = _real(folder)
    for path in [*folder.iterdir(), *(folder / TEMPLATES).glob("*.jinja"), folder / TEMPLATES]:
        if path.is_symlink() and not _may_follow(path, inside):
            raise PetError(
                f"model {folder}: {path.name} is a link to {path.readlink()}, outside of the folder; replace the link "
                "with the file, or give the folder that the file is in"
            )
        if path.suffix not in (*READ, ".jinja") or not path.exists():
            continue
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise PetError(f"model {folder}: {path.name} is not a regular file; replace or remove it")
        limit = _LARGE if path.name in _LARGE_FILES else _SMALL
        if path.suffix not in (".safetensors", ".bin") and status.st_size > limit:
            raise PetError(
                f"model {folder}: {path.name} has {status.st_size >> 20:,} MiB, more than the limit of {limit >> 20} "
                "MiB; download it again, or remove it if it is not part of the model"
            )


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError:  # before Python 3.13, links that lead to each other
        return path


def _may_follow(path: Path, inside: Path) -> bool:
    """Return True if a link stays in the folder, or leads from a snapshot in the hub's cache to a blob there."""
    target = _real(path)
    if target.is_relative_to(inside):
        return True
    if inside.parent.name != "snapshots" or not inside.parents[1].name.startswith("models--"):
        return False
    return any(target.is_relative_to(place / "blobs") for place in (inside.parents[1], inside.parents[2]))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    PetError
        If the file cannot be read, or is not a JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PetError(f"{path}: not a valid JSON file ({error}); download it again") from error
    if not isinstance(values, dict):
        raise PetError(f"{path}: expected a JSON object, not {type(values).__name__}; download it again")
    return values


def check_config(config: Mapping[str, Any], name: object) -> None:
    """Check the content of a ``config.json``.

    Parameters
    ----------
    config : its content
    name : the model, for messages

    Raises
    ------
    PetError
        If it asks for code, is quantized, or has impossible numbers.
    """
    if "auto_map" in config and str(config.get("model_type")) not in CONFIG_MAPPING_NAMES:
        raise remote_code(name)
    if config.get("quantization_config") is not None:
        raise PetError(f"model {name}: its weights are quantized (quantization_config); use the original model")
    file = config.get("transformers_weights")
    if file is not None:
        _check_name(file, f"model {name}: transformers_weights in {CONFIG}")
    start, rows = config.get("decoder_start_token_id"), config.get("vocab_size")
    if start is not None and isinstance(rows, int) and not (isinstance(start, int) and 0 <= start < rows):
        raise PetError(
            f"model {name}: decoder_start_token_id in {CONFIG} is {str(start)[:40]}, not the id of one of its "
            f"{rows} tokens; the file is damaged, download it again"
        )
    for depth, key, value in _walk(config):
        if key == "auto_map" and depth:
            raise remote_code(name)
        if "_implementation" in key and "/" in json.dumps(value):
            raise PetError(
                f"model {name}: {key} in {CONFIG} names code on the hub ({value}), and pet never runs code that comes "
                "with a model; remove the key"
            )
        wanted = _wanted_number(key, len(value) if isinstance(value, (list, dict)) else value)
        if wanted is not None:
            raise PetError(
                f"model {name}: {key} in {CONFIG} is {str(value)[:40]}, not {wanted}; the file is damaged, download it "
                "again"
            )


def _wanted_number(key: str, number: Any) -> str | None:
    """Return what a number in a configuration must be, if it is invalid and libraries notice too late or not at all."""
    if not isinstance(number, (int, float)):
        return None
    if number != number:
        return "a number"
    if re.search("dropout|pdrop", key) and not 0 <= number < 1:
        return "a fraction from 0 to less than 1"
    if _POSITIVE.fullmatch(key) and number < 1:
        return "1 or more"
    if key in _WINDOWS and number > _MAX_WINDOW:
        return f"{_MAX_WINDOW:,} or less"
    if _COUNTS.search(key) and number > _MAX_COUNT:
        return f"{_MAX_COUNT:,} or less"
    return None


def _walk(values: Any, depth: int = 0) -> Iterator[tuple[int, str, Any]]:
    """Yield all keys in nested objects, with their depth and value."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield depth, str(key), value
            yield from _walk(value, depth + 1)
    elif isinstance(values, list):
        for value in values:
            yield from _walk(value, depth + 1)


def check_tokenizer_config(config: Mapping[str, Any], name: object) -> None:
    """Check the content of a ``tokenizer_config.json``.

    Parameters
    ----------
    config : its content
    name : the model, for messages

    Raises
    ------
    PetError
        If it names files in other folders, or the maximum length is not a positive number.
    """
    for key, value in config.items():
        # Old versions wrote other keys that end in _file; no version reads them.
        if re.fullmatch(r"(\w*(vocab|merges|spm|emoji)|source_spm|target_spm|tokenizer)_file", key) and value:
            _check_name(value, f"model {name}: {key} in {TOKENIZER_CONFIG}")
    files = config.get("fast_tokenizer_files")
    for value in files if isinstance(files, list) else [files] if files else []:
        _check_name(value, f"model {name}: fast_tokenizer_files in {TOKENIZER_CONFIG}")
    length = config.get("model_max_length")
    is_number = isinstance(length, (int, float)) and not isinstance(length, bool)
    if length is not None and not (is_number and length >= 1):
        raise PetError(
            f"model {name}: model_max_length in {TOKENIZER_CONFIG} is {length!r}, not a number of tokens; correct it, "
            "or remove the line"
        )


def _check_name(value: Any, what: str) -> None:
    if not isinstance(value, str) or re.search(r"[/\\\0]", value) or value in ("", ".", ".."):
        raise PetError(f"{what} is {value!r}, not the name of a file in the folder; correct it, or remove it")


def check_weights(folder: Path, allow_pickle: bool) -> Weights:
    """Check that a folder has complete weights that may be loaded, without loading them.

    Raises
    ------
    PetError
        If they are missing, damaged, in other folders, or pickled (without `allow_pickle`).
    """
    named = read_json(folder / CONFIG).get("transformers_weights")
    if named is not None:
        return _headers(folder, _shards(folder / named) if named.endswith(".json") else [folder / named])
    if (folder / WEIGHTS).exists():
        return _headers(folder, [folder / WEIGHTS])
    if (folder / INDEX).exists():
        return _headers(folder, _shards(folder / INDEX))
    files = sorted(p.name for p in folder.iterdir() if re.fullmatch(r"pytorch_model.*\.bin|.*\.(pt|ckpt)", p.name))
    if files and not allow_pickle:
        raise pickled(folder, files[0])
    if files:
        shards = _shards(folder / PICKLED_INDEX) if (folder / PICKLED_INDEX).exists() else []
        return Weights(0, sum(path.stat().st_size for path in {*shards, *(folder / file for file in files)}))
    found = [f"; it has weights for {kind} ({p.name})" for pattern, kind in _OTHER_WEIGHTS.items()
             for p in sorted(folder.glob(pattern))][:1]  # fmt: skip
    raise PetError(
        f"model {folder}: no weights for PyTorch ({WEIGHTS}) in this folder{''.join(found)}; give another folder, or "
        "save the model with save_pretrained"
    )


def _shards(index: Path) -> list[Path]:
    """Return the files named in an index of weights."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise PetError(f"{index}: no weight_map, which lists the weights; download it again")
    files = list(dict.fromkeys(map(str, weight_map.values())))
    for file in files:
        _check_name(file, f"{index}: a file of weights")
    missing = [file for file in files if not (index.parent / file).is_file()]
    if missing:
        raise PetError(
            f"model {index.parent}: {len(missing)} of {len(files)} shards are missing ({missing[0]}); download them"
        )
    return [index.parent / file for file in files]


def _headers(folder: Path, files: list[Path]) -> Weights:
    """Read the headers of safetensors files. The library checks them against the file sizes."""
    tensors = 0
    for path in files:
        try:
            with safe_open(path, "pt") as file:
                tensors += len(file.keys())
        except (SafetensorError, OSError, RuntimeError) as error:
            raise PetError(
                disk_problem(error, f"read {path}")
                or f"model {folder}: {path.name} is truncated or not a safetensors file ({error}); download it again "
                "(Git LFS files: `git lfs pull`)"
            ) from error
    return Weights(tensors, sum(path.stat().st_size for path in files))
