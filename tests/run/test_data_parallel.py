"""Members that several processes train together: the outcome is that of one process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_run import pet, run_options, write_inputs
from tiny_text import SENTENCES

import pet as package
from pet.errors import PetError
from pet.recipe import make_recipe
from pet.run.execution.data_parallel import check_share
from pet.run.pipeline import run
from pet.run.settings import RunSettings
from pet.training.group import Group

# With dropout, several processes would draw other masks than one.
WITHOUT_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
TOLERANCE = 5e-6  # of scores: gradients are summed in another order


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny BERT without dropout."""
    folder = tmp_path / "model"
    folder.mkdir()
    for file in tiny_model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | WITHOUT_DROPOUT))
    return folder


def together(options: list[str]) -> subprocess.CompletedProcess[str]:
    """The command in two processes that know of each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    return subprocess.run(
        [*command, "-m", "pet", *options],
        cwd=Path(package.__file__).parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )


@pytest.mark.usefixtures("one_thread")
def test_two_processes_train_the_same_members_as_one(model: Path, tmp_path: Path):
    options = [*map(str, run_options(write_inputs(tmp_path / "in"), model)), "--set", "learning_rate=0.01"]
    # With an even start, the gradients of some biases are zero but for rounding, whose sign AdamW would follow.
    options += ["--set", "accumulation=4", "--set", "labeled_batch=3", "--set", "adam_epsilon=1e-4"]
    pet(*options, "-o", tmp_path / "one")
    done = together([*options, "--json", "-o", str(tmp_path / "two")])
    assert done.returncode == 0, done.stderr
    one, two = tmp_path / "one" / "g0", tmp_path / "two" / "g0"
    assert json.loads(done.stdout)["data"]["train"] == 12  # one document, from one process
    assert done.stderr.count("train g0/p2-r1: 3 steps in") == 1
    for member in ("p1-r1", "p2-r1"):
        losses = [json.loads((root / member / "member.json").read_text())["losses"] for root in (one, two)]
        np.testing.assert_allclose(losses[1], losses[0], atol=TOLERANCE)
        scores = [np.load(root / member / "pool-logits.npy") for root in (one, two)]
        np.testing.assert_allclose(scores[1], scores[0], atol=TOLERANCE)
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == sorted(
        path.name for path in (tmp_path / "one").iterdir()
    )


@pytest.mark.slow
def test_two_processes_adapt_one_model(tmp_path: Path):
    (tmp_path / "text.txt").write_text(SENTENCES * 40)
    options = ["adapt", "--layers", "1", "--hidden", "32", "--vocab", "300", "--epochs", "1"]
    done = together([*options, "--text", str(tmp_path / "text.txt"), "-o", str(tmp_path / "model")])
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "model" / "training.json").read_text())["machine"].startswith("2 x ")
    assert (done.stdout + done.stderr).count("before training: loss") == 1


def test_accumulation_must_be_a_multiple_of_the_number_of_processes():
    check_share(make_recipe("default", {"accumulation": "4"}), Group(0, 2))
    cure = "--set accumulation=2 --set labeled_batch=4 --set unlabeled_batch=2"
    with pytest.raises(PetError, match=f"accumulation is 1.* multiple of 2 .*2 processes.*{cure}"):
        check_share(make_recipe("default", {"unlabeled_batch": "4"}), Group(0, 2))


def test_each_micro_batch_is_computed_by_one_process():
    groups = [Group(rank, 3) for rank in range(3)]
    assert [[group.rank for group in groups if group.owns(micro)] for micro in range(6)] == [[0], [1], [2]] * 2


def test_processes_launched_together_are_refused_by_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    settings = RunSettings(task={}, train=None, unlabeled="u", test=None, model="m", method="zero-shot")
    with pytest.raises(PetError, match="accelerate launch"):
        run(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()
