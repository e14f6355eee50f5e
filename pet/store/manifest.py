"""The config.yaml and manifest.json of a run directory."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from pet.errors import PetError
from pet.extras import DISTRIBUTION
from pet.store.files import plain, write_atomically
from pet.store.json_reader import read_json
from pet.store.schema import (
    Check,
    anything,
    check,
    first_of,
    inside,
    mapping_of,
    maybe,
    number,
    record,
    text,
    whole,
)
from pet.store.text import MEGABYTE, read_bytes
from pet.store.yaml_reader import parse_yaml

CONFIG = "config.yaml"
MANIFEST = "manifest.json"
_FORMAT = 1
_SHOWN = 10
_ABSENT = object()
_REBUILD = "delete it to rebuild every stage"
MAX_CONFIG = 16 * MEGABYTE

_HASH = text(200)
_OUTPUT = first_of(whole(0, 2**63))  # old runs may have sizes without hashes; `pet.store.recorded` compares both
_STAGE = record(
    {"state": text(100), "inputs": _HASH, "outputs": mapping_of(_OUTPUT, inside())},
    {"info": maybe(mapping_of(anything(), text())), "seconds": number(0), "versions": mapping_of(text(), text())},
)
_MANIFEST = record({"stages": mapping_of(_STAGE, inside())})


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the config of a run directory.

    Raises
    ------
    PetError
        If the config is missing or invalid.
    """
    path = Path(folder, CONFIG)
    if not path.exists():
        raise PetError(f"{os.fspath(folder)} is not a run: it has no {CONFIG}")
    try:
        config = parse_yaml(read_bytes(path, str(path), MAX_CONFIG), str(path))
    except PetError as error:
        raise PetError([f"{problem}; or choose another folder" for problem in error.problems]) from None
    if not isinstance(config, dict):
        raise PetError(f"{path} is not the config of a run: it is not a mapping; choose another folder")
    return config


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write config.yaml atomically. `config` contains only JSON types."""
    dumped = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=100)
    write_atomically(
        folder / CONFIG, "# All settings of this run. Repeat it with: pet run THIS_FILE -o NEW_FOLDER\n" + dumped
    )


def differences(there: Any, here: Any, name: str = "") -> Iterator[str]:
    """Yield the differences between two configs as "key: X there, Y here"."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in list(there) + [key for key in here if key not in there]:
            dotted = f"{name}.{key}" if name else str(key)
            yield from differences(there.get(key, _ABSENT), here.get(key, _ABSENT), dotted)
    elif type(there) is not type(here) or there != here:
        yield f"{name}: {_shown(there)} there, {_shown(here)} here"


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def check_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Check that the config.yaml of a folder equals `config`.

    Raises
    ------
    PetError
        Names the keys that differ.
    """
    found = list(differences(read_config(folder), config))
    if not found:
        return
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    listed = "\n".join(f"  {line}" for line in found[:_SHOWN] + more)
    raise PetError(
        f"{folder} contains another run; choose another folder, delete that run, or use its settings."
        f" Differences in {CONFIG}:\n{listed}"
    )


def read_stages(folder: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Read the completed stages of a run, by name, in the order of completion.

    Returns
    -------
    dict
        For each stage: ``state``, ``inputs`` (hash), ``outputs`` (relative file -> [bytes, sha256]),
        ``seconds``, ``peak_memory_bytes`` (of the process so far), ``versions``, ``info``.
        Empty if no stage is complete.

    Raises
    ------
    PetError
        If manifest.json is invalid.
    """
    path = Path(folder, MANIFEST)
    if not path.exists():
        return {}
    manifest = read_json(path, _REBUILD)
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise PetError(f"{path} is not in the format of this version of pet; {_REBUILD}")
    check(manifest, _MANIFEST, str(path), _REBUILD)
    stages: dict[str, dict[str, Any]] = manifest["stages"]
    return stages


def stage_info(folder: str | os.PathLike[str], stages: Mapping[str, Any], name: str, schema: Check) -> dict[str, Any]:
    """Return the info of a stage in the manifest; empty if the stage does not exist.

    Raises
    ------
    PetError
        If it does not match the schema.
    """
    if name not in stages:
        return {}
    info: dict[str, Any] = stages[name].get("info") or {}
    if stages[name]["state"] == "done":
        check(info, schema, f"{Path(folder, MANIFEST)}: {name}", _REBUILD)
    return info


def write_stages(folder: Path, stages: Mapping[str, Any]) -> None:
    """Write manifest.json atomically."""
    dumped = json.dumps({"format": _FORMAT, "stages": plain(stages)}, indent=1, ensure_ascii=False)
    # JSON can contain lone surrogates, which UTF-8 cannot encode.
    write_atomically(folder / MANIFEST, (dumped + "\n").encode("utf-8", "backslashreplace"))


def versions() -> dict[str, str]:
    """Return the versions of Python, this package, and the libraries imported so far."""
    found = {"python": platform.python_version()}
    with suppress(importlib.metadata.PackageNotFoundError):  # run from a source tree
        found["pet"] = importlib.metadata.version(DISTRIBUTION)
    for name in ("torch", "transformers", "tokenizers", "datasets", "numpy"):
        version = getattr(sys.modules.get(name), "__version__", None)
        if version is not None:
            found[name] = str(version)
    return found


def peak_memory() -> dict[str, int]:
    """Return the peak memory of this process in bytes, and of its GPU if in use."""
    found = {}
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        found["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        found["peak_gpu_memory_bytes"] = int(torch.cuda.max_memory_allocated())
    return found
