"""What this machine and this installation offer: versions, devices, threads, memory, cache folders, features."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pet.extras import DISTRIBUTION, TRACKERS, install_command, is_installed, tracker_command
from pet.library_defaults import CACHES, THREADS, WAITING, allowed_cores, usable_cores
from pet.report.tables import text_table
from pet.resources import expand

LIBRARIES = ("torch", "transformers", "tokenizers", "datasets", "pyarrow", "numpy", "scikit-learn", "click")
_FEATURES = {
    "duckdb": "tables in DuckDB files",
    "excel": "tables in Excel files",
    "gguf": "models in GGUF files",
    "lora": "--tuning lora",
    "onnx": "pet export --onnx, --runtime onnx",
    "openvino": "--runtime openvino",
    "ray": "--executor ray",
    "review": "the page of pet review, and pet serve",
    "sentencepiece": "checkpoints with a SentencePiece file only, such as DeBERTa-v3",
    "spacy": "pet convert --format spacy",
    "teachers": "--teacher openai:URL#MODEL",
}
_DEVELOPMENT = ("test", "dev", "docs")
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+).*;.*extra == [\"'](?P<extra>[\w.-]+)")
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def examine() -> dict[str, Any]:
    """Return what is known about this machine and installation, in plain values.

    Examples
    --------
    >>> sorted(examine())
    ['devices', 'features', 'folders', 'memory', 'threads', 'versions']
    """
    return {
        "versions": {"pet": _version(DISTRIBUTION, "pet"), "python": platform.python_version()}
        | {name: _version(name) for name in LIBRARIES},
        "devices": _devices(),
        "threads": _threads(),
        "memory": _memory(),
        "folders": _folders(),
        "features": features(),
    }


def _version(*names: str) -> str | None:
    """Return the version of the first of these distributions that is installed."""
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _devices() -> dict[str, Any]:
    """Return the device and precision that ``auto`` chooses, and all GPUs."""
    import torch

    from pet.compat import has_int8_instructions
    from pet.training.device import make_accelerator

    chosen = make_accelerator()
    gpus = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
    return {
        "chosen": str(chosen.device),
        "precision": chosen.precision,
        "cpu": _cpu_name(),
        "int8_instructions": has_int8_instructions(),
        "gpus": [{"name": gpu.name, "memory": gpu.total_memory} for gpu in gpus],
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _threads() -> dict[str, Any]:
    """Return how many threads torch uses, and what the number comes from."""
    import torch

    variables = (THREADS, "MKL_NUM_THREADS", *WAITING, *CACHES, "TOKENIZERS_PARALLELISM")
    allowed, given = allowed_cores(), os.environ.get(THREADS)
    source = "the cores that this process may use" if given is None else THREADS
    if given is not None and given == str(allowed):
        source = "the limit of this container"
    return {
        "torch": torch.get_num_threads(),
        "from": source,
        "usable_cores": usable_cores(),
        "allowed_cores": allowed,
        "logical_cores": os.cpu_count(),
        "physical_cores": physical_cores(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "environment": {name: os.environ[name] for name in variables if name in os.environ},
    }


def physical_cores() -> int | None:
    """Return the number of cores of this machine, each of which may run several threads; None if it is unknown."""
    places = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings_list")
    try:
        return len({place.read_text(encoding="ascii") for place in places}) or None
    except OSError:
        return None


def _memory() -> dict[str, Any]:
    """Return the bytes of memory, in total and available, and the mode of huge pages; empty where it is unknown."""
    found: dict[str, Any] = {}
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kilobytes = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
        found = {"total": kilobytes["MemTotal"] << 10, "available": kilobytes["MemAvailable"] << 10}
        found["huge_pages"] = _HUGE_PAGES.read_text(encoding="ascii").partition("[")[2].partition("]")[0]
    except (OSError, KeyError):
        pass
    return found


def _folders() -> dict[str, Any]:
    """Return the folders that models, data sets and temporary files go to, with their free space in bytes."""
    home = expand(os.environ.get("HF_HOME", "~/.cache/huggingface"))
    places = {
        "models": os.environ.get("HF_HUB_CACHE", str(home / "hub")),
        "data sets": os.environ.get("HF_DATASETS_CACHE", str(home / "datasets")),
        "temporary files": tempfile.gettempdir(),
    }
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    return {"places": {name: {"path": path, "free": _free(Path(path))} for name, path in places.items()}} | {
        "hub_offline": offline
    }


def _free(path: Path) -> int | None:
    """Return the free bytes of the disk of a folder, which need not exist yet; None if access is denied."""
    try:
        place = next((folder for folder in (path, *path.parents) if folder.exists()), None)
        return None if place is None else shutil.disk_usage(place).free
    except OSError:  # such as the home folder of another user
        return None


def features() -> dict[str, Any]:
    """Return the optional features: what each is for, what it lacks, and the command that installs it.

    The list comes from the metadata of the installed package.
    """
    try:
        wanted = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, Any] = {}
    for requirement in wanted:
        parts = _REQUIREMENT.match(requirement)
        if parts is None or parts["extra"] in _DEVELOPMENT:
            continue
        extra = parts["extra"]
        entry = found.setdefault(extra, {"for": _FEATURES.get(extra, extra), "missing": []})
        if _version(parts["name"]) is None:
            entry["missing"].append(parts["name"])
    for extra, entry in found.items():
        entry["install"] = install_command(extra) if entry["missing"] else None
    for name in TRACKERS:
        missing = [] if is_installed(name) else [TRACKERS[name]]
        found[name] = {
            "for": f"--track {name}",
            "missing": missing,
            "install": tracker_command(name) if missing else None,
        }
    return found


def doctor_text(found: Mapping[str, Any]) -> str:
    """Return the result of `examine` as text."""
    devices, threads, memory = found["devices"], found["threads"], found["memory"]
    int8 = {True: "yes", False: "no", None: "unknown"}[devices["int8_instructions"]]
    gpus = [f"{gpu['name']}, {gpu['memory'] / 2**30:.0f} GB" for gpu in devices["gpus"]]
    cores = f"{threads['usable_cores']} of {threads['logical_cores']} logical"
    physical = "" if threads["physical_cores"] is None else f", {threads['physical_cores']} physical"
    limit = "" if threads["allowed_cores"] is None else f", {threads['allowed_cores']} allowed by the container"
    rows = [[name, version or "not installed"] for name, version in found["versions"].items()]
    rows += [["executable", sys.executable], ["", ""]]
    rows += [["device", f"{devices['chosen']}, {devices['precision']}"], ["CPU", devices["cpu"]]]
    rows += [["int8 instructions", int8], ["GPUs", "; ".join(gpus) or "none"]]
    rows += [["threads", f"{threads['torch']}, from {threads['from']}"], ["cores", cores + physical + limit]]
    rows += [["load", "unknown" if threads["load"] is None else f"{threads['load']:.1f}"]]
    rows += [[name, value] for name, value in threads["environment"].items()]
    if memory:
        rows.append(["memory", f"{memory['available'] / 2**30:.1f} of {memory['total'] / 2**30:.1f} GB available"])
        rows.append(["huge pages", memory.get("huge_pages", "unknown")])
    rows.append(["", ""])
    for name, place in found["folders"]["places"].items():
        free = "" if place["free"] is None else f" ({place['free'] / 2**30:.1f} GB free)"
        rows.append([name, f"{place['path']}{free}"])
    rows.append(["hub", "offline (HF_HUB_OFFLINE)" if found["folders"]["hub_offline"] else "used when it is needed"])
    parts = [text_table(rows, ["item", "value"])]
    if found["features"]:
        lines = [[extra, entry["for"], entry["install"] or "installed"] for extra, entry in found["features"].items()]
        parts.append(text_table(lines, ["feature", "for", "install"]))
    return "\n\n".join(parts)
