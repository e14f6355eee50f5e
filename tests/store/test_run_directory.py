"""Run directories survive kills, full disks and wrong folders."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import pet.errors
from pet.errors import PetError
from pet.progress import Reporter
from pet.seeds import derive_seed
from pet.store.directory import RunDirectory, hash_file, hash_inputs
from pet.store.files import write_atomically, writing
from pet.store.folders import reserve
from pet.store.manifest import read_config, read_stages
from pet.store.schema import anything

ROOT = Path(pet.errors.__file__).parent.parent
CONFIG = {"task": "news", "training": {"lr": 1e-05, "steps": 10}, "labels": ["no", "1", "ja"]}
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="file locks and signals of POSIX")


def open_run(path: Path, config: Mapping[str, Any] = CONFIG) -> RunDirectory:
    return RunDirectory(path, config, reporter=Reporter("quiet", io.StringIO()))


def builder(content: str = "x", calls: list[str] | None = None) -> Callable[[Path], dict[str, Any]]:
    def build(folder: Path) -> dict[str, Any]:
        if calls is not None:
            calls.append(content)
        (folder / "deep").mkdir()
        (folder / "deep" / "a.txt").write_text(content)
        (folder / "b.txt").write_text(content * 2)
        return {"content": content}

    return build


def forbidden(folder: Path) -> None:
    raise AssertionError("built again")


def contents(folder: Path) -> dict[str, bytes]:
    """Everything in a run except times, memory and process ids."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock", "manifest.json")
    }


def temporaries(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if ".tmp-" in path.name]


# ---- seeds and hashes


def test_derived_seeds_never_change():
    # sha256('[7, "member", 0, 2, 1]'), the first 63 bits: a change would break every resumed run
    assert derive_seed(7, "member", 0, 2, 1) == 7561581393749617026
    assert derive_seed(np.int64(7), "member", np.int32(0), 2, 1) == derive_seed(7, "member", 0, 2, 1)


def test_derived_seeds_are_distinct_and_fit_in_63_bits():
    names = [(), (1,), ("1",), ("a", "b"), ("ab",), ("a", "b", 0), (0, 1), (1, 0)]
    seeds = [derive_seed(run, *name) for run in (0, 1, -1) for name in names]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    with pytest.raises(TypeError):
        derive_seed(0, 0.5)  # type: ignore[arg-type]


def test_the_hash_of_inputs_depends_on_values_not_key_order():
    assert hash_inputs({"a": 1, "b": (1, 2)}) == hash_inputs({"b": [1, 2], "a": np.int64(1)})
    different = [{"a": 1}, {"a": 1.5}, {"a": "1"}, {"a": True}, {"a": None}, {"b": 1}, {"a": [1]}]
    assert len({hash_inputs(inputs) for inputs in different}) == len(different)
    with pytest.raises(ValueError):
        hash_inputs({"a": float("nan")})
    with pytest.raises(TypeError):
        hash_inputs({"a": object()})


def test_the_hash_of_a_file_is_its_sha256(tmp_path: Path):
    (tmp_path / "f").write_bytes(b"abc")
    assert hash_file(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# ---- stages


def test_a_stage_is_built_once(tmp_path: Path):
    calls: list[str] = []
    for _ in range(2):
        with open_run(tmp_path / "deep" / "run") as run:
            made = run.stage("g0/p1-r1", {"seed": 1}, builder("x", calls))
            assert run.info("g0/p1-r1", anything()) == {"content": "x"}
    assert calls == ["x"]
    assert made == tmp_path / "deep" / "run" / "g0" / "p1-r1"
    assert (made / "deep" / "a.txt").read_text() == "x"
    assert temporaries(tmp_path) == []


def test_the_manifest_lists_outputs_time_memory_and_versions(tmp_path: Path):
    with open_run(tmp_path) as run:
        run.stage("g0/p1-r1", {"seed": 1}, builder("x"))
        run.stage("last", {}, lambda folder: None)
    stages = read_stages(tmp_path)
    assert list(stages) == ["g0/p1-r1", "last"]
    stage = stages["g0/p1-r1"]
    assert stage["state"] == "done"
    assert stage["inputs"] == hash_inputs({"seed": 1})
    made = tmp_path / "g0" / "p1-r1"
    assert stage["outputs"] == {
        "g0/p1-r1/b.txt": [2, hash_file(made / "b.txt")],
        "g0/p1-r1/deep/a.txt": [1, hash_file(made / "deep" / "a.txt")],
    }
    assert 0 <= stage["seconds"] < 60
    assert stage["versions"]["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    if sys.platform != "win32":
        assert 1 << 20 < stage["peak_memory_bytes"] < 1 << 40


def test_a_config_round_trips(tmp_path: Path):
    config = {
        "text": "a: {b}\n- ü 😀",
        "no": "no",
        "date": "2024-01-01",
        "none": None,
        "small": 1e-12,
        "n": {"1": []},
    }
    with open_run(tmp_path, config):
        pass
    assert read_config(tmp_path) == config
    with open_run(tmp_path, config):
        pass
    with pytest.raises(ValueError):
        open_run(tmp_path, {"a": float("nan")})


def test_info_is_the_same_after_resuming(tmp_path: Path):
    returned = {"loss": float("nan"), "acc": np.float32(0.5), "pair": (1, 2), "text": "\ud800 ü"}
    with open_run(tmp_path) as run:
        run.stage("a", {}, lambda folder: returned)
        fresh = run.info("a", anything())
    with open_run(tmp_path) as run:
        run.stage("a", {}, forbidden)
        assert run.info("a", anything()) == fresh == {"loss": None, "acc": 0.5, "pair": [1, 2], "text": "\ud800 ü"}
        with pytest.raises(KeyError):
            run.info("b", anything())


def test_other_inputs_replace_the_whole_stage(tmp_path: Path):
    def second(folder: Path) -> None:
        (folder / "c.txt").write_text("new")

    with open_run(tmp_path) as run:
        run.stage("a", {"seed": 1}, builder())
        before = run.fingerprint("a")
        run.stage("a", {"seed": 2}, second)
        assert run.fingerprint("a") != before
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["c.txt"]
    assert temporaries(tmp_path) == []


@pytest.mark.parametrize("damage", ["missing", "shorter", "folder gone", "folder is a file"])
def test_damaged_outputs_are_rebuilt(tmp_path: Path, damage: str):
    with open_run(tmp_path) as run:
        made = run.stage("a", {}, builder("long"))
    file = made / "deep" / "a.txt"
    if damage == "missing":
        file.unlink()
    elif damage == "shorter":
        file.write_text("lon")
    else:
        made.rename(tmp_path / "elsewhere")
        if damage == "folder is a file":
            made.write_text("")
    with open_run(tmp_path) as run:
        run.stage("a", {}, builder("long"))
    assert file.read_text() == "long"


def test_outputs_can_be_placed_next_to_other_stages(tmp_path: Path):
    calls = []

    def labels(folder: Path) -> None:
        calls.append(1)
        (folder / "labels.parquet").write_text("p")
        (folder / "labels.jsonl").write_text("j")
        (folder / "scratch").write_text("not kept")

    for _ in range(2):
        with open_run(tmp_path) as run:
            run.stage("g0/p1-r1", {}, builder())
            place = run.stage("g0/labels", {}, labels, files=["labels.parquet", "labels.jsonl"])
            run.stage(
                "metrics",
                {},
                lambda f: (f / "metrics.json").write_text("{}") and None,
                files=["metrics.json"],
            )
    assert place == tmp_path / "g0"
    assert sorted(path.name for path in place.iterdir()) == ["labels.jsonl", "labels.parquet", "p1-r1"]
    assert (tmp_path / "metrics.json").read_text() == "{}"
    assert calls == [1]
    (place / "labels.jsonl").unlink()
    with open_run(tmp_path) as run:
        run.stage("g0/p1-r1", {}, forbidden)
        run.stage("g0/labels", {}, labels, files=["labels.parquet", "labels.jsonl"])
    assert calls == [1, 1]


def test_a_missing_output_is_an_error_of_the_builder(tmp_path: Path):
    with open_run(tmp_path) as run, pytest.raises(RuntimeError, match=r"labels\.parquet"):
        run.stage("g0/labels", {}, lambda folder: None, files=["labels.parquet"])
    assert contents(tmp_path).keys() == {"config.yaml"}


@pytest.mark.parametrize("name", ["", "/abs", "a//b", "../a", "a/..", ".", ".tmp-a", "a\\b"])
def test_invalid_stage_names_are_rejected(tmp_path: Path, name: str):
    with open_run(tmp_path) as run, pytest.raises(ValueError, match="name"):
        run.stage(name, {}, forbidden)


def test_a_run_directory_is_unusable_outside_its_block(tmp_path: Path):
    run = open_run(tmp_path)
    with pytest.raises(RuntimeError, match="with"):
        run.stage("a", {}, builder())


def test_leftovers_are_removed_without_following_links(tmp_path: Path):
    with open_run(tmp_path / "run"):
        pass
    precious = tmp_path / "run" / "precious"
    precious.mkdir()
    (precious / "file").write_text("1")
    (tmp_path / "run" / ".tmp-a").mkdir()
    (tmp_path / "run" / ".tmp-a" / ".tmp-half").write_text("1")
    (tmp_path / "run" / "student").mkdir()
    (tmp_path / "run" / "student" / ".tmp-1-README.md").write_text("1")
    (tmp_path / "run" / ".tmp-link").symlink_to(precious)
    (tmp_path / "run" / ".tmp-a" / "link").symlink_to(precious)
    with open_run(tmp_path / "run"):
        pass
    assert temporaries(tmp_path) == []
    assert (precious / "file").exists()


def test_the_store_does_not_import_torch():
    code = "import sys, pet.store.directory; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"


# ---- the wrong folder


def test_a_folder_with_another_run_is_rejected_with_the_differences(tmp_path: Path):
    with open_run(tmp_path) as run:
        run.stage("a", {}, builder())
    before = contents(tmp_path)
    other = {"task": "news", "training": {"lr": 2e-05, "steps": 10.0}, "labels": ["no", "ja"], "new": 1}
    with pytest.raises(PetError) as caught, open_run(tmp_path, other):
        pass
    message = str(caught.value)
    assert str(tmp_path) in message and "another run" in message
    for difference in [
        "training.lr: 1e-05 there, 2e-05 here",
        "training.steps: 10 there, 10.0 here",
        "labels: ",
    ]:
        assert difference in message
    assert "new: absent there, 1 here" in message
    assert "task" not in message.split("\n", 1)[1]
    assert contents(tmp_path) == before


def test_the_order_of_config_keys_does_not_matter(tmp_path: Path):
    with open_run(tmp_path):
        pass
    with open_run(tmp_path, dict(reversed(CONFIG.items()))):
        pass


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "", "!!python/object/apply:os.system [true]"])
def test_a_foreign_config_is_rejected(tmp_path: Path, text: str):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(PetError, match=r"config\.yaml"), open_run(tmp_path):
        pass
    assert os.listdir(tmp_path) == ["config.yaml"]


@pytest.mark.parametrize("name", ["thesis.tex", ".tmp-precious", ".git"])
def test_a_folder_with_foreign_files_is_rejected(tmp_path: Path, name: str):
    (tmp_path / name).write_text("precious")
    with pytest.raises(PetError, match="choose an empty or new folder") as caught, open_run(tmp_path):
        pass
    assert name in str(caught.value)
    assert os.listdir(tmp_path) == [name]


def test_an_empty_folder_is_accepted(tmp_path: Path):
    with open_run(tmp_path) as run:
        run.stage("a", {}, builder())
    assert (tmp_path / "a").is_dir()


def test_a_folder_with_a_config_only_is_accepted(tmp_path: Path):
    (tmp_path / ".lock").write_text("1 elsewhere\n")
    (tmp_path / ".tmp-123-config.yaml").write_text("ta")
    with open_run(tmp_path):
        pass
    assert sorted(os.listdir(tmp_path)) == [".lock", "config.yaml"]


def test_a_file_in_place_of_the_folder_is_rejected(tmp_path: Path):
    (tmp_path / "file").write_text("precious")
    for path in (tmp_path / "file", tmp_path / "file" / "run", tmp_path / "file" / "a" / "b"):
        with pytest.raises(PetError, match="file"), open_run(path):
            pass
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 99, "stages": {}}'])
def test_a_broken_manifest_is_reported(tmp_path: Path, text: str):
    with open_run(tmp_path):
        pass
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(PetError, match=r"manifest\.json.*delete it"), open_run(tmp_path):
        pass


def test_reading_a_folder_without_a_run_is_an_error(tmp_path: Path):
    with pytest.raises(PetError, match=r"config\.yaml"):
        read_config(tmp_path)
    assert read_stages(tmp_path) == {}


# ---- disks


class RustError(Exception):
    """safetensors wraps the error of a full disk in its own."""


def full_in_build(folder: Path) -> None:
    (folder / "half").write_text("half")
    raise OSError(errno.ENOSPC, "No space left on device", str(folder / "half"))


def full_in_rust(folder: Path) -> None:
    raise RustError("Error while serializing: I/O error: No space left on device (os error 28)")


def full_and_wrapped(folder: Path) -> None:
    try:
        full_in_build(folder)
    except OSError as error:
        raise RuntimeError("could not write the dataset") from error


def full_for_real(folder: Path) -> None:
    with open("/dev/full", "w") as stream:
        stream.write("x")


@pytest.mark.parametrize("build", [full_in_build, full_in_rust, full_and_wrapped, full_for_real])
def test_a_full_disk_while_building_is_one_message(tmp_path: Path, build: Callable[[Path], None]):
    if build is full_for_real and not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open_run(tmp_path) as run:
        run.stage("a", {}, builder())
        before = contents(tmp_path)
        with pytest.raises(PetError, match="disk is full") as caught:
            run.stage("g0/b", {}, build)
        assert "g0/b" in str(caught.value) and len(caught.value.problems) == 1
        assert contents(tmp_path) == before and temporaries(tmp_path) == []
        run.stage("g0/b", {}, builder())  # space was freed
    with open_run(tmp_path) as run:
        run.stage("a", {}, forbidden)
        run.stage("g0/b", {}, forbidden)


@pytest.mark.parametrize("call", ["fsync", "replace", "mkdir"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("which", range(12))
def test_a_disk_error_at_any_call_leaves_the_rest_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, which: int
):
    """The n-th fsync, rename or mkdir of a replaced stage fails: one message, the rest intact."""
    with open_run(tmp_path) as run:
        run.stage("a", {}, builder())
        run.stage("g0/b", {"seed": 1}, builder("old"))
        real, left = getattr(os, call), [which]

        def failing(*args: Any, **kwargs: Any) -> Any:
            if call == "mkdir" and os.path.isdir(args[0]):
                return real(*args, **kwargs)  # filelock makes the folder of its lock, and ignores that it is there
            left[0] -= 1
            if left[0] == -1:
                raise OSError(code, os.strerror(code), str(tmp_path))
            return real(*args, **kwargs)

        monkeypatch.setattr(os, call, failing)
        try:
            run.stage("g0/b", {"seed": 2}, builder("new"))
            failed = False
        except PetError as error:
            failed = True
            assert len(error.problems) == 1
            assert "g0/b" in str(error) or "manifest.json" in str(error)
        monkeypatch.undo()
        assert failed == (left[0] <= -1)
        assert temporaries(tmp_path) == []
    with open_run(tmp_path) as run:
        run.stage("a", {}, forbidden)
        run.stage("g0/b", {"seed": 2}, builder("new") if failed else forbidden)
    assert (tmp_path / "g0" / "b" / "b.txt").read_text() == "newnew"


def test_the_simulated_disk_errors_are_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls: list[str] = []

    def count(name: str) -> None:
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, **kwargs: (calls.append(name), real(*args, **kwargs))[1])

    for name in ("fsync", "replace", "mkdir"):
        count(name)
    with open_run(tmp_path) as run:
        run.stage("g0/b", {}, builder())
    assert calls.count("fsync") >= 8 and calls.count("replace") >= 3 and calls.count("mkdir") >= 2


def test_a_folder_without_permission_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: Any, *args: Any, **kwargs: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(PetError, match="Permission denied"), open_run(tmp_path / "run"):
        pass
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PetError, match="permission"), open_run(tmp_path):
        pass
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write to a read-only folder")
def test_a_read_only_folder_is_rejected(tmp_path: Path):
    tmp_path.chmod(0o555)
    try:
        for path in (tmp_path, tmp_path / "run"):
            with pytest.raises(PetError, match="permission"), open_run(path):
                pass
    finally:
        tmp_path.chmod(0o755)


def test_other_errors_pass_through_and_leave_no_partial_stage(tmp_path: Path):
    def interrupted(folder: Path) -> None:
        (folder / "half").write_text("1")
        raise KeyboardInterrupt

    def not_ours(folder: Path) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file", "model.safetensors")

    with open_run(tmp_path) as run:
        with pytest.raises(KeyboardInterrupt):
            run.stage("a", {}, interrupted)
        with pytest.raises(FileNotFoundError):
            run.stage("a", {}, not_ours)
        with pytest.raises(TypeError, match="JSON"):
            run.stage("a", {}, lambda folder: {"model": object()})
        with pytest.raises(PetError, match="mine"):
            run.stage("a", {}, lambda folder: (_ for _ in ()).throw(PetError("mine")))
    assert contents(tmp_path).keys() == {"config.yaml"}
    assert temporaries(tmp_path) == []


# ---- single files


def test_a_file_is_written_atomically(tmp_path: Path):
    target = tmp_path / "out.jsonl"
    write_atomically(target, "one\n")
    with pytest.raises(ZeroDivisionError), writing(target) as place:
        place.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "one\n"
    with pytest.raises(PetError, match="disk is full"), writing(target) as place:
        place.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert target.read_text() == "one\n" and os.listdir(tmp_path) == ["out.jsonl"]


def test_a_file_that_cannot_be_written_is_reported(tmp_path: Path):
    with pytest.raises(PetError, match="is a folder"):
        write_atomically(tmp_path, "")
    with pytest.raises(PetError, match="create it first"):
        write_atomically(tmp_path / "absent" / "out", "")


def test_writing_follows_links_and_writes_to_devices_directly(tmp_path: Path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with writing(tmp_path / "link") as place:
        place.write_text("new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"
    if os.path.exists("/dev/null"):
        (tmp_path / "null").symlink_to("/dev/null")
        with writing(tmp_path / "null") as place:
            place.write_text("gone")
        assert not os.path.isfile("/dev/null")


def test_space_is_allocated_for_a_memory_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "logits.npy"
    np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(1 << 16, 4))
    before = path.read_bytes()
    reserve(path)
    assert path.read_bytes() == before
    if sys.platform == "linux":
        assert path.stat().st_blocks * 512 >= 1 << 20

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with open_run(tmp_path / "run") as run, pytest.raises(PetError, match="disk is full"):
        run.stage("a", {}, lambda folder: reserve(path))
    (tmp_path / "empty").touch()
    reserve(tmp_path / "empty")


def test_a_missing_input_is_not_reported_as_the_output(tmp_path: Path):
    with pytest.raises(FileNotFoundError), writing(tmp_path / "out") as place:
        place.write_text((tmp_path / "absent").read_text())
    assert os.listdir(tmp_path) == []


# ---- processes

WORKER = textwrap.dedent(
    """
    import io, random, sys, time
    from pathlib import Path
    from pet.store.directory import RunDirectory
    from pet.progress import Reporter
    from pet.seeds import derive_seed

    def run(folder, pause, version=1, after=lambda: None, generations=2, size=3):
        with RunDirectory(folder, {"task": "t"}, reporter=Reporter("quiet", io.StringIO())) as run:
            after()
            for generation in range(generations):
                members = []
                for member in range(size):
                    name = f"g{generation}/p{member}-r0"

                    def build(place, seed=derive_seed(5, name, version)):
                        draw = random.Random(seed)
                        (place / "model").mkdir()
                        for file in ("model/weights", "config", "logits"):
                            with open(place / file, "wb", buffering=0) as stream:
                                for _ in range(4):
                                    stream.write(draw.randbytes(1000 + draw.randrange(50)))
                                    time.sleep(pause)
                        return {"seed": seed}

                    run.stage(name, {"version": version}, build)
                    members.append(run.fingerprint(name))

                def merge(place):
                    for file in ("labels.parquet", "labels.jsonl"):
                        with open(place / file, "w") as stream:
                            stream.write("".join(members))
                            stream.flush()
                            time.sleep(pause)
                            stream.write(file)

                run.stage(f"g{generation}/labels", {"members": members}, merge,
                          files=["labels.parquet", "labels.jsonl"])
    """
)


def start(script: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, args)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def finish(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    return out


LOOP = WORKER + "run(Path(sys.argv[1]), float(sys.argv[2]), after=lambda: print('begun', flush=True))\n"


@needs_fork
def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(tmp_path: Path):
    finish(start(LOOP, tmp_path / "whole", 0))
    expected = contents(tmp_path / "whole")
    assert len(expected) == 1 + 2 * (3 * 3 + 2)
    draw, kills, runs = random.Random(20), 0, 0
    while kills < 25:
        runs += 1
        folder = tmp_path / f"killed{runs}"
        latest = 0.05  # grows, so that the test also ends on a busy machine
        while True:
            process = start(LOOP, folder, 0.002)
            first_line(process)
            time.sleep(draw.uniform(0, latest))
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL
            kills += 1
            latest *= 1.25
            check_finished_stages(folder, expected)
        assert contents(folder) == expected
        assert temporaries(folder) == []
        outputs = {name: stage["outputs"] for name, stage in read_stages(folder).items()}
        assert outputs == {name: stage["outputs"] for name, stage in read_stages(tmp_path / "whole").items()}


def check_finished_stages(folder: Path, expected: dict[str, bytes]) -> None:
    """Whatever has its final name is complete at any moment."""
    for file, content in contents(folder).items():
        if not file.startswith(".tmp-"):
            assert content == expected[file], file
    for member in folder.glob("g*/p*"):
        files = {path.relative_to(folder).as_posix() for path in member.rglob("*") if path.is_file()}
        assert files == {name for name in expected if name.startswith(f"{member.relative_to(folder).as_posix()}/")}
    for stage in read_stages(folder).values():
        assert all(len(expected[file]) == size for file, (size, _) in stage["outputs"].items())


EVERY_MOMENT = WORKER + textwrap.dedent(
    """
    import os, signal, shutil

    os.fsync = lambda descriptor: None  # kernel buffers survive a kill; syncing would only take time
    EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}

    def child(work, kill_at=None):
        pid = os.fork()
        if pid == 0:
            left = [kill_at]

            def hook(event, args):
                if kill_at is not None and event in EVENTS:
                    left[0] -= 1
                    if left[0] < 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(hook)
            try:
                work()
            except BaseException as error:
                print(repr(error), flush=True)
                os._exit(1)
            os._exit(0)
        return os.waitpid(pid, 0)[1]

    def contents(folder):
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*")
                if p.is_file() and p.name not in (".lock", "manifest.json")}

    def small(folder, version):
        return lambda: run(folder, 0, version, generations=1, size=1)

    # Before the kill, being built when it comes, and built after it.
    before, killed, after = {"fresh": (0, 1, 1), "replace": (1, 2, 2), "go back": (1, 2, 1)}[sys.argv[2]]
    base = Path(sys.argv[1])
    folder = base / "killed"
    if before:
        assert child(small(base / "old", before)) == 0
    assert child(small(base / "whole", after)) == 0
    expected = contents(base / "whole")
    kill_at = 0
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        if before:
            shutil.copytree(base / "old", folder)
        status = child(small(folder, killed), kill_at)
        if status == 0:
            break
        assert os.WIFSIGNALED(status), kill_at
        assert child(small(folder, after)) == 0, kill_at
        assert contents(folder) == expected, kill_at
        kill_at += 1
    print(kill_at)
    """
)


@needs_fork
@pytest.mark.parametrize("mode", ["fresh", "replace", "go back"])
def test_a_run_killed_before_any_file_operation_ends_with_the_same_bytes(tmp_path: Path, mode: str):
    moments = int(finish(start(EVERY_MOMENT, tmp_path, mode)))
    assert moments > 50


HOLD = WORKER + textwrap.dedent(
    """
    import os
    def hold():
        if len(sys.argv) > 2:  # a worker, such as a data loader's, that outlives its parent
            if os.fork() == 0:
                print(os.getpid(), flush=True)
                time.sleep(60)
                os._exit(0)
        else:
            print("held", flush=True)
        time.sleep(60)
    run(Path(sys.argv[1]), 0, after=hold)
    """
)


@needs_fork
def test_a_second_process_is_rejected_until_the_first_one_ends(tmp_path: Path):
    holder = start(HOLD, tmp_path)
    assert first_line(holder) == "held\n"
    try:
        before = contents(tmp_path)
        with (
            pytest.raises(PetError, match=f"in use by process {holder.pid}"),
            open_run(tmp_path, {"task": "t"}),
        ):
            pass
        assert contents(tmp_path) == before
    finally:
        holder.kill()
        holder.communicate(timeout=60)
    with open_run(tmp_path, {"task": "t"}):
        assert (tmp_path / ".lock").read_text().split()[0] == str(os.getpid())


@needs_fork
def test_a_worker_that_outlives_its_parent_does_not_hold_the_lock(tmp_path: Path):
    holder = start(HOLD, tmp_path, "with a child")
    worker = int(first_line(holder))
    try:
        holder.kill()
        holder.wait(timeout=60)
        os.kill(worker, 0)  # it is alive
        with open_run(tmp_path, {"task": "t"}):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)
        holder.communicate(timeout=60)


@needs_fork
def test_a_process_cannot_open_a_run_twice(tmp_path: Path):
    with open_run(tmp_path):
        with pytest.raises(PetError, match="in use"), open_run(tmp_path):
            pass
        # a rejected attempt does not release the lock
        with pytest.raises(PetError, match="in use"), open_run(tmp_path):
            pass
    with open_run(tmp_path):
        pass


@needs_fork
def test_the_lock_is_released_after_an_error(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), open_run(tmp_path):
        raise ZeroDivisionError
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(PetError), open_run(tmp_path):
        pass
    (tmp_path / "manifest.json").unlink()
    with open_run(tmp_path):
        pass


@needs_fork
def test_a_file_system_without_locks_gives_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import fcntl

    def unsupported(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    told = io.StringIO()
    with RunDirectory(tmp_path, CONFIG, reporter=Reporter("quiet", told)) as run:
        run.stage("a", {}, builder())
    assert "no locks" in told.getvalue() and str(tmp_path) in told.getvalue()
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == CONFIG
    assert "a" in json.loads((tmp_path / "manifest.json").read_text())["stages"]
