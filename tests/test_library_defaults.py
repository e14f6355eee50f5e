"""Defaults of libraries: nothing asks, nothing uses the network, and nothing is printed or written elsewhere."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import pet, run_options, write_inputs

from pet import library_defaults
from pet.library_defaults import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "library-defaults.md").read_text(encoding="utf-8")

# Records what a process does to the world outside, and lets no connection be made.
WATCHED = """\
import contextlib, io, json, os, sys

seen = {"network": [], "written": [], "processes": []}

def watch(event, values):
    asks_for_ipv6 = event == "socket.bind" and values[1][0] == "::1"  # urllib3 before version 2, when imported
    is_network = event.startswith("socket.") and event != "socket.__new__" or event == "urllib.Request"
    if is_network and not asks_for_ipv6:
        seen["network"].append(f"{event} {values!r}")
        raise OSError("no network in this test")
    if event == "open" and isinstance(values[0], (str, bytes)) and values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen["written"].append(os.fsdecode(values[0]))
    if event == "os.mkdir":
        seen["written"].append(os.fsdecode(values[0]))
    if event == "subprocess.Popen":
        seen["processes"].append(repr(values[1]))

sys.addaudithook(watch)
from pet.cli.main import main

orders, record = json.loads(sys.argv[1]), sys.argv[2]
outputs = []
for order in orders:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        main(order, standalone_mode=False)
    outputs.append(text.getvalue())
with open(record, "w") as stream:
    json.dump(seen | {"outputs": outputs}, stream)
"""


def test_commands_only_print_results_and_only_write_their_output(tiny_model: Path, tmp_path: Path):
    inputs = write_inputs(tmp_path / "in")
    places = {name: tmp_path / name for name in ("home", "temporary", "current")}
    for place in places.values():
        place.mkdir()
    run, predictions, labels = (tmp_path / name for name in ("run", "predictions.jsonl", "labels.jsonl"))
    rows = ["--input", inputs / "pool.jsonl", "--device", "cpu"]
    orders = [
        [
            "check",
            inputs / "task.yaml",
            "--train",
            inputs / "train.jsonl",
            "-m",
            tiny_model,
            "--max-length",
            64,
            "--json",
        ],
        [*run_options(inputs, tiny_model), "--json", "-o", run],
        ["predict", run / "student", *rows, "-o", predictions, "-q"],
        ["label", run, *rows, "-o", labels, "-q"],
        ["evaluate", run / "student", "--input", inputs / "test.jsonl", "--device", "cpu", "--json"],
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    environment |= {"HOME": str(places["home"]), "USERPROFILE": str(places["home"]), "TMPDIR": str(places["temporary"])}
    environment |= {"TEMP": str(places["temporary"]), "TMP": str(places["temporary"])}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR", *ENVIRONMENT):
        environment.pop(name, None)
    words = json.dumps([[str(word) for word in order] for order in orders])
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, words, str(tmp_path / "record")],
        stdin=subprocess.DEVNULL, capture_output=True, cwd=places["current"], env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b""  # what libraries print without Python's standard output
    record = json.loads((tmp_path / "record").read_text(encoding="utf-8"))
    assert record["network"] == []
    assert set(record["processes"]) <= {"['lscpu']"}  # joblib counts cores
    for number in (0, 1, 4):
        json.loads(record["outputs"][number])
    assert list(places["home"].iterdir()) == [] and list(places["current"].iterdir()) == []
    left = [path.name for path in places["temporary"].iterdir()]
    assert [name for name in left if not name.startswith("torchinductor_")] == []
    mine = [run, predictions, labels, places["temporary"], tmp_path / "record"]
    allowed = (*map(str, mine), os.devnull)
    beside = f"{tmp_path}{os.sep}.tmp-"  # the temporary names of files
    elsewhere = [path for path in record["written"] if not path.startswith((*allowed, beside))]
    assert elsewhere == []


def test_the_command_sets_the_variables_of_the_page_unless_the_user_has(monkeypatch: pytest.MonkeyPatch):

    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    kept = next(iter(ENVIRONMENT))
    monkeypatch.setenv(kept, "mine")
    pet("tasks")
    assert os.environ[kept] == "mine"
    for name, value in list(ENVIRONMENT.items())[1:]:
        assert os.environ[name] == value
        monkeypatch.delenv(name)
    assert all(f"`{name}`" in PAGE for name in ENVIRONMENT)


def test_data_sets_are_loaded_without_their_code_in_one_place():
    calls = []
    for path in sorted((ROOT / "pet").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("load_dataset", "load_dataset_builder")):
                calls.append(
                    (path.name, any(k.arg is None and "no_code" in ast.unparse(k.value) for k in node.keywords))
                )
    assert calls == [("hub.py", True)]


def test_tables_are_picked_in_one_place():
    """Elsewhere the library would hash row numbers, in a block that swallows Ctrl-C."""
    for path in sorted((ROOT / "pet").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                is_step = node.func.attr in (
                    "select",
                    "select_columns",
                    "remove_columns",
                    "rename_column",
                    "add_column",
                )
                assert not is_step or path.name == "pick.py", f"{path}:{node.lineno}: use pet.data.pick"


def test_the_page_names_places_that_exist():

    for place in re.findall(r"`(pet/[\w/.]+)`", PAGE):
        assert (ROOT / place).is_file(), place


@pytest.mark.parametrize(
    ("load", "given", "found"),
    [
        (0.1, {}, {"GOMP_SPINCOUNT": "1000"}),
        (3.0, {}, {"OMP_WAIT_POLICY": "PASSIVE"}),
        (3.0, {"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
    ],
)
def test_waiting_threads_spin_briefly_unless_the_user_decides(
    load: float, given: dict[str, str], found: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = dict(given)
    monkeypatch.setattr(library_defaults.os, "environ", environment)
    monkeypatch.setattr(library_defaults.os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    library_defaults.bound_spinning()
    assert environment == found


@pytest.mark.parametrize("given", [{}, {"LRU_CACHE_CAPACITY": "7"}])
def test_compiled_code_is_bounded_unless_the_user_decides(
    given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = dict(given)
    monkeypatch.setattr(library_defaults.os, "environ", environment)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    library_defaults.bound_caches()
    assert environment == {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128", "LRU_CACHE_CAPACITY": "16"} | given


V2, V1 = "0::/outer/inner\n", "9:name=systemd:/\n4:cpu,cpuacct:/outer/inner\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        (V2, {"cpu.max": "max 100000", "outer/cpu.max": "250000 100000", "outer/inner/cpu.max": "max 100000"}, 3),
        (V2, {"outer/cpu.max": "400000 100000", "outer/inner/cpu.max": "50000 100000"}, 1),
        ("0::/\n", {"cpu.max": "200000 100000"}, 2),
        (V1, {"cpu,cpuacct/cpu.cfs_quota_us": "200000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 2),
        (V1, {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, None),
        (V2, {"outer/cpu.max": "max 100000"}, None),
        (None, {}, None),
    ],
)
def test_the_limit_of_a_container_is_that_of_its_narrowest_group(
    groups: str | None, files: dict[str, str], cores: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if groups is not None:
        files = {f"sys/fs/cgroup/{name}": text for name, text in files.items()} | {"proc/self/cgroup": groups}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n" if name != "proc/self/cgroup" else text)
    assert library_defaults.allowed_cores(tmp_path) == cores
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(library_defaults, "usable_cores", lambda: 64)
    for given in ({}, {"OMP_NUM_THREADS": "5"}, {"MKL_NUM_THREADS": "5"}):
        environment = dict(given)
        monkeypatch.setattr(library_defaults.os, "environ", environment)
        library_defaults.bound_threads(tmp_path)
        assert environment == (given or ({} if cores is None else {"OMP_NUM_THREADS": str(cores)}))


def test_a_container_that_may_use_all_cores_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(library_defaults, "allowed_cores", lambda root: 4)
    monkeypatch.setattr(library_defaults, "usable_cores", lambda: 4)
    monkeypatch.setattr(library_defaults.os, "environ", environment := {})
    library_defaults.bound_threads()
    assert environment == {}
