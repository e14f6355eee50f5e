"""Commands in new processes: what is left out of torch and transformers must not be missing.

The other tests share one process, in which something has imported almost everything.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import SOFT_TASK, run_options, write_inputs

from pet.extras import is_installed
from pet.tuning.methods import METHODS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a process cannot be copied here")

# Import what every run imports, then run each command in a copy of this process, and print its exit status.
PROGRAM = """
import json, os, sys
from pet import lean_imports
from pet.cli.main import main

lean_imports.allow()
import torch

torch.set_num_threads(1)
lean_imports.import_models()
import datasets, pet.run.pipeline, sklearn.feature_extraction.text, sklearn.linear_model
for command in json.load(sys.stdin):
    sys.stdout.flush()
    child = os.fork()
    if not child:
        os.dup2(2, 1)
        sys.argv = ["pet", *command]
        sys.exit(main())
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def run_each_alone(commands: dict[str, list[str]]) -> None:
    """Assert that each command succeeds in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=json.dumps(list(commands.values())), capture_output=True, text=True
    )
    assert dict(zip(commands, done.stdout.split(), strict=True)) == dict.fromkeys(commands, "0"), done.stderr


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_inputs(tmp_path_factory.mktemp("alone") / "in")
    (folder / "task.yaml").write_text(SOFT_TASK, encoding="utf-8")
    return folder


def test_every_tuning_trains_in_a_new_process(inputs: Path, tiny_model: Path) -> None:
    usable = [name for name in METHODS if name != "lora" or is_installed("peft")]
    start = [*run_options(inputs, tiny_model, parts=["train", "unlabeled"]), "-q", "--patterns", "1", "--no-estimate"]
    run_each_alone({name: [*start, "--tuning", name, "-o", str(inputs / name)] for name in usable})


def test_members_and_engines_of_other_libraries_work_in_new_processes(
    inputs: Path, tiny_model: Path, request: pytest.FixtureRequest
) -> None:
    run, exported, pool = str(inputs / "all"), str(inputs / "onnx"), ["--input", str(inputs / "pool.jsonl")]
    members = [f"--member={kind}" for kind in ("embeddings", "tfidf", "head")]
    if is_installed("gliclass"):
        members.append(f"--teacher=gliclass:{request.getfixturevalue('tiny_gliclass')}")
    commands = {"members": [*run_options(inputs, tiny_model), "-q", *members, "-o", run]}
    commands["label"] = ["label", run, *pool, "-q", "-o", str(inputs / "labels.parquet")]
    for name, library in (("onnx", "onnxruntime"), ("openvino", "openvino")):
        if is_installed(library):
            commands[name] = ["predict", run, *pool, "-q", "--runtime", name, "-o", str(inputs / f"{name}.csv")]
    if is_installed("onnx") and is_installed("onnxruntime"):
        commands["export"] = ["export", run, "--onnx", "-q", "-o", exported]
        commands["exported"] = ["predict", exported, *pool, "-q", "-o", str(inputs / "exported.csv")]
    run_each_alone(commands)
