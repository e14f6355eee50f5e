"""Members made by several processes: the same bytes as in one, and nothing lost with a worker that is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file, save_file
from small_run import TASK, contents, pet, refused, run_options, write_inputs
from transformers import AutoTokenizer

import pet as package
from pet.errors import PetError
from pet.members.spec import pattern_spec
from pet.recipe import Recipe
from pet.run.execution.executor import InProcess
from pet.run.execution.options import Execution
from pet.run.execution.start import make_executor
from pet.run.execution.work import TRIES, MemberWork, Step, WorkQueue
from pet.run.execution.workers import Workers
from pet.run.stages import Member

posix = pytest.mark.skipif(os.name == "nt", reason="has no SIGKILL")
ONE_THREAD = ("--worker-cpus", "1")  # with more threads, sums may differ in their last bits
LORA = ("--tuning", "lora", "--set", "freeze_layers=1")
PRIMED = ("--method", "zero-shot", "--set", "priming=3", "--max-length", "90")
IPET = ("--method", "ipet", "--set", "generations=2", "--set", "first_set=4", "--set", "accept=always")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("workers") / "in")


def same(found: Path, expected: Path) -> None:
    here, there = contents(found), contents(expected)
    assert sorted(here) == sorted(there)
    assert [name for name in there if here[name] != there[name]] == []
    assert "metrics.json" in there and "g0/p2-r1/pool-logits.npy" in there


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``kill_at(words)``: the first worker that says this is killed; gives the list of those that were."""

    def arm(words: str) -> list[int]:
        tell, killed = Workers._tell, []

        def tell_and_kill(self: Workers, context: Any, worker: Any, line: str) -> None:
            tell(self, context, worker, line)
            if line.startswith(words) and not killed:
                killed.append(worker.process.pid)
                worker.process.send_signal(signal.SIGKILL)

        monkeypatch.setattr(Workers, "_tell", tell_and_kill)
        return killed

    return arm


@posix
@pytest.mark.usefixtures("one_thread")
def test_a_killed_worker_is_replaced_and_the_files_stay_the_same(
    inputs: Path, tiny_model: Path, tmp_path: Path, kill_at: Any
):
    options = run_options(inputs, tiny_model)
    pet(*options, "-o", tmp_path / "one")
    killed = kill_at("train g0/p2-r1")
    said = pet(*options, "--workers", "2", *ONE_THREAD, "-o", tmp_path / "two").stderr
    assert killed and not any(psutil.pid_exists(pid) for pid in killed)
    assert "warning: g0/p2-r1: lost its worker (killed by SIGKILL)" in said
    assert said.count("g0/p1-r1: 3 steps in") == 1  # the other member was not disturbed
    same(tmp_path / "two", tmp_path / "one")


@pytest.mark.usefixtures("one_thread")
def test_two_workers_write_the_same_files_as_one_process_for_prompts_and_generations(
    inputs: Path, tiny_model: Path, tmp_path: Path
):
    prompts = [*run_options(inputs, tiny_model, parts=("train", "test")), "--tuning", "prompt"]
    pet(*prompts, "--set", "prompt_length=4", "-o", tmp_path / "first")
    pet("prompts", "add", tmp_path / "first", "-l", tmp_path / "library")
    start = ["--init-prompt", tmp_path / "library" / "topics-p1-r1"]
    options = [*run_options(inputs, tiny_model), *IPET, "--tuning", "prompt", *start, "--baselines"]
    pet(*options, "-o", tmp_path / "one")
    pet(*options, "--workers", "2", *ONE_THREAD, "-o", tmp_path / "two")
    assert (tmp_path / "two" / "g1" / "p2-r1").is_dir()
    assert "baselines/zero-shot/g0/p2-r1/test-logits.npy" in contents(tmp_path / "two")
    same(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("more", [IPET, LORA, PRIMED, (*IPET, "--set", "restart=false")], ids=" ".join)
def test_two_workers_write_the_same_files_as_one_process(
    inputs: Path, tiny_model: Path, tmp_path: Path, more: tuple[str, ...]
):
    if "lora" in more:
        pytest.importorskip("peft")
    options = [*run_options(inputs, tiny_model), *more]
    pet(*options, "-o", tmp_path / "one")
    pet(*options, "--workers", "2", *ONE_THREAD, "-o", tmp_path / "two")
    same(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["t5", "gpt2", "xlnet"])
def test_two_workers_write_the_same_files_as_one_process_for_other_models(
    inputs: Path, family_model: Any, tmp_path: Path, name: str
):
    (inputs / "behind.yaml").write_text(TASK.replace("{mask}: {text}", "{text} Topic: {mask}"), encoding="utf-8")
    command, _, *options = run_options(inputs, family_model(name))
    pet(command, inputs / "behind.yaml", *options, "-o", tmp_path / "one")
    two = ["--executor", "local", "--workers", "2", *ONE_THREAD]
    pet(command, inputs / "behind.yaml", *options, *two, "-o", tmp_path / "two")
    same(tmp_path / "two", tmp_path / "one")


@posix
def test_an_error_in_a_worker_is_reported_once(inputs: Path, tiny_model: Path, tmp_path: Path):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    vocabulary = AutoTokenizer.from_pretrained(model).get_vocab()
    for word, bias in (("world", 3e38), ("sports", -3e38)):  # their difference is infinite
        weights["cls.predictions.bias"][vocabulary[word]] = bias
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    message = refused(*run_options(inputs, model), "--workers", "2", "-o", tmp_path / "run")
    assert message.count("error:") == 1 and "diverged" in message
    assert [path.name for path in (tmp_path / "run").glob(".tmp-*")] == []
    assert all("pet.run.execution.worker" not in " ".join(child.cmdline()) for child in psutil.Process().children())


@posix
@pytest.mark.slow
def test_workers_end_when_the_main_process_is_killed(inputs: Path, tiny_model: Path, tmp_path: Path):
    options = [*map(str, run_options(inputs, tiny_model)), "--set", "steps=200", "--workers", "2"]
    command = [sys.executable, "-m", "pet", *options, "-o", str(tmp_path / "run")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path(package.__file__).parents[1]) as leader:
        errors: Any = leader.stderr
        while "worker" not in errors.readline():
            pass
        workers = psutil.Process(leader.pid).children()
        leader.send_signal(signal.SIGKILL)
        leader.communicate()
    assert len(workers) == 2
    gone, alive = psutil.wait_procs(workers, timeout=20)
    assert len(gone) == 2 and not alive
    pet(*run_options(inputs, tiny_model), "--set", "steps=200", "-o", tmp_path / "run")  # resumes it
    assert [path.name for path in (tmp_path / "run").glob(".tmp-*")] == []


def member(pattern: int, repetition: int = 0, generation: int = 0, prefix: str = "") -> Member:
    return Member(pattern_spec("pattern", pattern, repetition), generation, prefix)


class FakeContext:
    """As much of a run context as a work queue reads."""

    def __init__(self, tmp_path: Path):
        self.said: list[str] = []
        self.parts = ["pool"]
        self.config_hash = "c"
        self.recipe = Recipe().with_settings(merge="weighted")
        self.directory = self.reporter = self
        self.path = tmp_path
        self.kept: list[str] = []
        self.warn = self.said.append

    def has(self, name: str, *_: Any) -> bool:
        return name in self.kept or name in self.parts

    def fingerprint(self, name: str) -> str:
        return f"of {name}"

    def keep(self, name: str, *_: Any) -> None:
        self.kept.append(name)


def test_a_stage_that_loses_three_workers_ends_the_run(tmp_path: Path):
    work_queue = WorkQueue(FakeContext(tmp_path), [MemberWork(member(0))])  # type: ignore[arg-type]
    for _ in range(TRIES - 1):
        work_queue.lost(work_queue.next() or [], "killed by SIGKILL")
    with pytest.raises(PetError, match=r"g0/p1-r1: lost 3 workers.*killed by SIGKILL.*memory"):
        work_queue.lost(work_queue.next() or [], "killed by SIGKILL")


def test_a_member_is_scored_as_soon_as_it_is_trained(tmp_path: Path):
    context = FakeContext(tmp_path)
    work_queue = WorkQueue(context, [MemberWork(member(p)) for p in range(2)])  # type: ignore[arg-type]
    steps = work_queue.next() or []
    (tmp_path / ".tmp-g0--p1-r1@lost").mkdir()
    (tmp_path / ".tmp-g0--p1-r1--scores@other").mkdir()
    work_queue.keep(steps, {"folder": "x", "made": {}})
    assert [path.name for path in tmp_path.iterdir()] == [".tmp-g0--p1-r1--scores@other"]
    following = work_queue.next() or []
    assert [step.name for step in following] == ["g0/p1-r1/scores"]
    assert following[0].inputs(context)["member"] == "of g0/p1-r1"  # type: ignore[arg-type]
    assert [step.name for step in work_queue.next() or []] == ["g0/p2-r1", "g0/p2-r1/scores"]
    assert work_queue.next() is None


def test_a_step_can_be_sent_to_another_process():
    step = Step(
        "score", MemberWork(member(2, 3, generation=1, prefix="b/"), start="g0/p3-r4", upstream="u", parts=("test",))
    )
    assert Step.from_dict(step.to_dict()) == step


def test_one_worker_runs_in_this_process_and_several_in_their_own():
    assert isinstance(make_executor(Execution(workers=1), "cpu"), InProcess)
    assert isinstance(make_executor(Execution(), "cpu"), InProcess)
    assert isinstance(make_executor(Execution(workers=2), "cpu"), Workers)
    with pytest.raises(PetError, match=r"--device cuda:1.*--workers 2"):
        make_executor(Execution(workers=2), "cuda:1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], "--workers is 0"),
        (["--worker-gpus", "1"], "--worker-gpus requires --executor ray"),
        (["--ray-address", "a:1"], "--ray-address requires --executor ray"),
        (["--executor", "ray", "--worker-gpus", "-1"], "--worker-gpus is -1.0: it must be at least 0"),
    ],
)
def test_invalid_executor_options_are_named(
    tmp_path: Path, inputs: Path, tiny_model: Path, options: list[str], message: str
):
    assert message in refused(*run_options(inputs, tiny_model), *options, "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_gpus_are_named_as_in_cuda_visible_devices(monkeypatch: pytest.MonkeyPatch):
    import torch

    from pet.run.execution.workers import gpus_for

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus_for("auto") == ["0", "1"] and gpus_for("cpu") == [] and gpus_for("cuda:1") == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-abc")
    assert gpus_for("cuda") == ["3", "GPU-abc"]


def test_workers_take_gpus_in_turn():
    from pet.run.execution.workers import gpu_of

    assert [gpu_of(number, ["3", "GPU-abc"]) for number in range(5)] == ["3", "GPU-abc", "3", "GPU-abc", "3"]
    assert [gpu_of(number, ["0"]) for number in range(3)] == ["0", "0", "0"]
    assert gpu_of(1, []) is None
