"""Starting members from trained prompts: `pet run --init-prompt` and `pet prompts`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import TASK, contents, pet, refused, run_options, write_inputs

from pet.members import pattern
from pet.prompts.library import Prompt, read_prompt, write_prompt
from pet.run.load_run import read_settings
from pet.tuning import prompt as prompt_tuning
from pet.tuning.members import read_member

pytestmark = pytest.mark.usefixtures("one_thread")
LENGTH = ["--set", "prompt_length=4"]
SMALL = ["--set", "max_length=64", *LENGTH, "--set", "query_steps=3", "--device", "cpu", "--precision", "fp32"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("prompts") / "in")


def options(inputs: Path, model: Path, folder: Path, *more: object) -> list[str]:
    given = [*run_options(inputs, model, parts=("train", "test")), "--tuning", "prompt", "--set", "query_steps=3"]
    return [*given, *map(str, more), "-o", str(folder)]


@pytest.fixture(scope="module")
def library(inputs: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with the two prompts of a run."""
    root = tmp_path_factory.mktemp("library")
    pet(*options(inputs, tiny_model, root / "run", *LENGTH))
    pet("prompts", "add", root / "run", "-l", root / "library")
    return root / "library"


def test_members_of_a_run_become_prompts(library: Path, tiny_model: Path):
    run = library.parent / "run"
    assert sorted(place.name for place in library.iterdir()) == ["topics-p1-r1", "topics-p2-r1"]
    prompt = read_prompt(library / "topics-p2-r1")
    np.testing.assert_array_equal(prompt.vectors, read_member(run / "g0" / "p2-r1").arrays["vectors"].numpy())
    assert prompt.about["tasks"][0]["patterns"][0]["template"] == "{text} It is {mask}."
    assert (prompt.backbone, prompt.about["steps"], prompt.about["examples"]) == (tiny_model.name, 3, 12)
    figures = json.loads((run / "metrics.json").read_text())["members"]["p2-r1"]
    assert prompt.about["metrics"]["accuracy"] == figures["accuracy"]
    text = (library / "topics-p2-r1" / "prompt.json").read_text() + str(prompt.about)
    assert str(tiny_model) not in text
    before = contents(library)
    pet("prompts", "add", run, "-l", library)  # adding again changes nothing
    assert contents(library) == before
    listed = json.loads(pet("prompts", "list", "-l", library, "--json").stdout)
    assert [entry["name"] for entry in listed] == ["topics-p1-r1", "topics-p2-r1"]
    assert "topics-p1-r1" in pet("prompts", "list", "-l", library).stdout


def test_members_start_from_the_named_prompt(
    library: Path, inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    started: list[np.ndarray] = []
    inject = prompt_tuning.inject

    def noting(model: Any, start: Any) -> None:
        started.append(start.detach().cpu().numpy().copy())
        inject(model, start)

    monkeypatch.setattr(prompt_tuning, "inject", noting)
    named = ["--init-prompt", "topics-p2-r1", "--prompt-library", library]
    pet(*options(inputs, tiny_model, tmp_path / "run", *named, "--set", "steps=0"))
    expected = read_prompt(library / "topics-p2-r1").vectors
    assert started
    for start in started:
        np.testing.assert_array_equal(start, expected)
    # The prompt determines the number of vectors, and there were no updates: both members equal the prompt.
    for member in ("p1-r1", "p2-r1"):
        found = read_member(tmp_path / "run" / "g0" / member).arrays["vectors"].numpy()
        np.testing.assert_array_equal(found, expected)
    config = (tmp_path / "run" / "config.yaml").read_text()
    assert read_prompt(library / "topics-p2-r1").digest in config
    assert "prompt_length: 4" in config


def test_a_prompt_can_be_given_as_a_folder(library: Path, inputs: Path, tiny_model: Path, tmp_path: Path):
    for name, given in (("a", [library / "topics-p1-r1"]), ("b", ["topics-p1-r1", "--prompt-library", library])):
        pet(*options(inputs, tiny_model, tmp_path / name, "--init-prompt", *given))
    for file in ("g0/p1-r1/learned.safetensors", "g0/p2-r1/test-logits.npy"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    plain = read_member(library.parent / "run" / "g0" / "p1-r1").arrays["vectors"].numpy()
    assert not np.array_equal(read_member(tmp_path / "a" / "g0" / "p1-r1").arrays["vectors"].numpy(), plain)


@pytest.mark.parametrize("by", ["zero-shot", "neurons"])
def test_an_interrupted_run_ends_with_the_same_bytes(
    library: Path, inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
):
    more = ["--init-prompt", "mean:2", "--prompt-library", library, *LENGTH, "--set", f"prompt_similarity={by}"]
    pet(*options(inputs, tiny_model, tmp_path / "whole", *more))
    save, saved = pattern.save_member, []

    def stop_at_the_second(*arguments: Any) -> None:
        saved.append(arguments)
        if len(saved) == 2:
            raise KeyboardInterrupt
        save(*arguments)

    monkeypatch.setattr(pattern, "save_member", stop_at_the_second)
    pet(*options(inputs, tiny_model, tmp_path / "stopped", *more), expect=130)
    monkeypatch.undo()
    assert (tmp_path / "stopped" / "init-prompt").is_dir()
    pet(*options(inputs, tiny_model, tmp_path / "stopped", *more))
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    choice = json.loads((tmp_path / "whole" / "init-prompt" / "choice.json").read_text())
    weights = choice["weights"]
    assert choice["by"] == by
    assert sum(weights.values()) == pytest.approx(1)
    mean = sum(w * read_prompt(library / name).vectors.astype(np.float64) for name, w in weights.items())
    found = read_member(tmp_path / "whole" / "init-prompt").arrays["vectors"].numpy()
    np.testing.assert_allclose(found, mean, atol=1e-6)


def test_the_most_similar_prompt_is_ranked_first(library: Path, inputs: Path, tiny_model: Path, tmp_path: Path):
    shutil.copytree(library, tmp_path / "library")
    mine = read_prompt(library / "topics-p1-r1")
    write_prompt(tmp_path / "library", Prompt("longer", np.ones((5, 32), "f4"), "m", mine.fingerprint, mine.about))
    more = ["--init-prompt", "similar", "--prompt-library", tmp_path / "library", *LENGTH]
    said = pet(*options(inputs, tiny_model, tmp_path / "run", *more, "--set", "prompt_similarity=cosine")).stderr
    assert "prompts of other models" in said
    choice = json.loads((tmp_path / "run" / "init-prompt" / "choice.json").read_text())
    cosines = {entry["name"]: entry["cosine"] for entry in choice["ranking"]}
    (best,) = choice["weights"]
    assert cosines[best] == max(cosines.values())
    assert len(set(cosines.values())) == 2
    found = read_member(tmp_path / "run" / "init-prompt").arrays["vectors"].numpy()
    np.testing.assert_array_equal(found, read_prompt(library / best).vectors)


def test_a_changed_library_is_a_different_run(library: Path, inputs: Path, tiny_model: Path, tmp_path: Path):
    shutil.copytree(library, tmp_path / "library")
    more = ["--init-prompt", "similar", "--prompt-library", tmp_path / "library", *LENGTH]
    pet(*options(inputs, tiny_model, tmp_path / "run", *more))
    shutil.rmtree(tmp_path / "library" / "topics-p2-r1")
    said = refused(*options(inputs, tiny_model, tmp_path / "run", *more))
    assert "hashes.prompts.topics-p2-r1" in said


def test_a_prompt_of_another_model_is_rejected_or_projected(
    library: Path, inputs: Path, tiny_model: Path, family_model: Any, tmp_path: Path
):
    other = family_model("roberta")
    for text in ("topics-p1-r1", "similar"):
        more = ["--init-prompt", text, "--prompt-library", library, *LENGTH]
        said = refused(*options(inputs, other, tmp_path / "run", *more))
        assert f"model {tiny_model.name} (hash " in said
        assert "--project-prompt" in said
    assert not (tmp_path / "run").exists()
    more = ["--init-prompt", "topics-p1-r1", "--prompt-library", library, "--project-prompt", tiny_model]
    pet(*options(inputs, other, tmp_path / "run", *more))
    choice = json.loads((tmp_path / "run" / "init-prompt" / "choice.json").read_text())
    assert choice["projection"]["words"] > 100
    started = read_member(tmp_path / "run" / "init-prompt")
    assert started.fingerprint == read_member(tmp_path / "run" / "g0" / "p1-r1").fingerprint
    assert not np.array_equal(started.arrays["vectors"].numpy(), read_prompt(library / "topics-p1-r1").vectors)


def test_mistakes_are_reported_before_anything_is_written(
    library: Path, inputs: Path, tiny_model: Path, tmp_path: Path
):
    def said(*more: object) -> str:
        return refused(*options(inputs, tiny_model, tmp_path / "run", *more, "--prompt-library", library))

    assert "neither in the library nor a folder" in said("--init-prompt", "nothing")
    assert "not a trained prompt" in said("--init-prompt", inputs)
    assert "2 prompts fit" in said("--init-prompt", "mean:3", *LENGTH)
    assert "20 vectors" in said("--init-prompt", "similar")
    message = said("--init-prompt", "topics-p1-r1", "--set", "prompt_length=7")
    assert "topics-p1-r1" in message and "prompt_length" in message
    assert "--init-prompt" in said()
    zero = ["--init-prompt", "topics-p1-r1", "--method", "zero-shot"]
    assert "--method zero-shot" in said(*zero)
    more = ["--set", "tuning=prefix", "--init-prompt", "topics-p1-r1", "--prompt-library", library]
    assert "--tuning prompt" in refused(*run_options(inputs, tiny_model), *more, "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_only_runs_with_tuned_prompts_can_be_added(inputs: Path, tiny_model: Path, tmp_path: Path):
    pet(*run_options(inputs, tiny_model, parts=("train",)), "--tuning", "bitfit", "-o", tmp_path / "run")
    assert "--tuning bitfit" in refused("prompts", "add", tmp_path / "run", "-l", tmp_path / "library")
    assert "config.yaml" in refused("prompts", "add", inputs, "-l", tmp_path / "library")
    assert not (tmp_path / "library").exists()


@pytest.mark.parametrize("chosen", ["topics-p1-r1", "similar"])
def test_members_that_started_from_another_prompt_of_the_same_name_are_trained_anew(
    chosen: str, library: Path, inputs: Path, tiny_model: Path, tmp_path: Path
):
    shutil.copytree(library, tmp_path / "library")
    start = ["--init-prompt", chosen, "--prompt-library", tmp_path / "library", *LENGTH]
    pet(*options(inputs, tiny_model, tmp_path / "old", *start))
    said = pet(*options(inputs, tiny_model, tmp_path / "same", *start, "--from", tmp_path / "old")).stderr
    assert "keeps the models of p1-r1, p2-r1" in said
    for name in ("topics-p1-r1", "topics-p2-r1"):
        prompt = read_prompt(tmp_path / "library" / name)
        shutil.rmtree(tmp_path / "library" / name)
        write_prompt(tmp_path / "library", replace(prompt, vectors=prompt.vectors + 1))
    said = pet(*options(inputs, tiny_model, tmp_path / "new", *start, "--from", tmp_path / "old")).stderr
    assert "trains p1-r1, p2-r1: the initial prompt changed" in said


def test_ipet_generations_start_from_the_prompt(library: Path, inputs: Path, tiny_model: Path, tmp_path: Path):
    more = ["--method", "ipet", "--set", "generations=2", "--set", "growth=1.5", "--set", "steps=0"]
    more += ["--set", "accept=always"]
    start = ["--tuning", "prompt", "--init-prompt", "topics-p1-r1", "--prompt-library", str(library)]
    pet(*run_options(inputs, tiny_model), *more, *start, "-o", tmp_path / "run")
    expected = read_prompt(library / "topics-p1-r1").vectors
    for generation in ("g0", "g1"):
        found = read_member(tmp_path / "run" / generation / "p2-r1").arrays["vectors"].numpy()
        np.testing.assert_array_equal(found, expected)


def test_rank_orders_prompts_by_every_measure(
    library: Path, inputs: Path, tiny_model: Path, family_model: Any, tmp_path: Path
):
    shutil.copytree(library, tmp_path / "library")
    mine = read_prompt(library / "topics-p1-r1")
    write_prompt(tmp_path / "library", Prompt("foreign", mine.vectors, "far", "0123", mine.about))
    task, data = inputs / "task.yaml", ["--train", inputs / "train.jsonl", "--test", inputs / "test.jsonl"]
    where = ["-l", tmp_path / "library", "-m", tiny_model, *SMALL]
    result = pet("prompts", "rank", task, *data, *where, "--json")
    found = json.loads(result.stdout)["prompts"]
    assert sorted(entry["name"] for entry in found) == ["topics-p1-r1", "topics-p2-r1"]
    assert "prompts of other models: 1" in result.stderr
    assert all(-1 <= entry[name] <= 1 for entry in found for name in ("cosine", "pairs", "neurons", "accuracy"))
    assert pet("prompts", "rank", task, *data, *where, "--json").stdout == result.stdout
    by = json.loads(pet("prompts", "rank", task, *data, *where, "--by", "pairs", "--json").stdout)["prompts"]
    assert by[0]["pairs"] > by[1]["pairs"]
    table = pet("prompts", "rank", task, *data[2:], *where, "-q").stdout
    assert table.splitlines()[0].split() == ["prompt", "accuracy", "loss", "cosine", "pairs", "neurons"]
    assert "with --train" in refused("prompts", "rank", task, *data[2:], *where, "--by", "cosine")
    assert "--train, --test or both" in refused("prompts", "rank", task, *where)
    elsewhere = ["-l", library, "-m", family_model("roberta"), *SMALL]
    assert "none of its 2 prompts" in refused("prompts", "rank", task, *data, *elsewhere)


@pytest.mark.parametrize("name", ["t5", "gpt2", "xlnet"])
def test_prompts_of_models_without_a_mask_are_ranked(inputs: Path, family_model: Any, tmp_path: Path, name: str):
    """Their prompts are ranked by every measure except neurons, which requires a mask."""
    folder, library, task = tmp_path / "in", tmp_path / "library", tmp_path / "in" / "task.yaml"
    shutil.copytree(inputs, folder)
    task.write_text(TASK.replace("{mask}: {text}", "{text} Topic: {mask}"), encoding="utf-8")
    pet(*options(folder, family_model(name), tmp_path / "run", *LENGTH))
    pet("prompts", "add", tmp_path / "run", "-l", library)
    rank = ["prompts", "rank", task, "--train", inputs / "train.jsonl", "-l", library, "-m", family_model(name), *SMALL]
    for by, key in (("zero-shot", "accuracy"), ("cosine", "cosine")):
        found = json.loads(pet(*rank, "--by", by, "--json").stdout)["prompts"]
        assert sorted(entry["name"] for entry in found) == ["topics-p1-r1", "topics-p2-r1"]
        assert found[0][key] >= found[1][key]
        assert all(entry["cosine"] is not None and entry["neurons"] is None for entry in found)
    said = f"does not support models of type {name}"
    assert said in refused(*rank, "--by", "neurons")
    start = ["--init-prompt", "similar", "--prompt-library", library, *LENGTH, "--set"]
    more = [*start, "prompt_similarity=neurons"]
    assert said in refused(*options(folder, family_model(name), tmp_path / "started", *more))
    assert not (tmp_path / "started").exists()
    more = [*start, "prompt_similarity=cosine", "--set", "steps=0"]
    pet(*options(folder, family_model(name), tmp_path / "started", *more))
    (best,) = json.loads((tmp_path / "started" / "init-prompt" / "choice.json").read_text())["weights"]
    for member in ("p1-r1", "p2-r1"):
        learned = read_member(tmp_path / "started" / "g0" / member).arrays["vectors"].numpy()
        np.testing.assert_array_equal(learned, read_prompt(library / best).vectors)


def test_the_command_runs_as_a_process(library: Path, tmp_path: Path):
    command = [sys.executable, "-m", "pet", "prompts", "list", "-l"]
    done = subprocess.run([*command, library, "--json"], capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)) == 2
    failed = subprocess.run([*command, tmp_path / "none"], capture_output=True, text=True)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.startswith("error: ")
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("command", ["add", "list", "rank", "train", "pretrain", "unify", "project"])
def test_help_ends_with_an_example(command: str):
    said = pet("prompts", command, "--help").stdout
    assert said.splitlines()[-1].strip().startswith(f"pet prompts {command} ")


def test_train_learns_from_several_tasks(inputs: Path, tiny_model: Path, tmp_path: Path):
    (tmp_path / "other.yaml").write_text((inputs / "task.yaml").read_text().replace("topics", "other"))
    tasks = [f"{inputs / 'task.yaml'}={inputs / 'train.jsonl'}", f"{tmp_path / 'other.yaml'}={inputs / 'test.jsonl'}"]
    where = ["-l", tmp_path / "library", "-m", tiny_model, *SMALL, "--set", "steps=4"]
    said = pet("prompts", "train", *tasks, *where, "--json").stdout
    (made,) = json.loads(said)
    assert (made["name"], made["kind"], made["shape"][0]) == ("topics-other", "mixture", 4)
    start = ["--init-prompt", "topics-other", "--prompt-library", tmp_path / "library"]
    pet(*options(inputs, tiny_model, tmp_path / "run", *start))
    assert "already exists" in refused("prompts", "train", *tasks, *where)
    assert "TASK=FILE" in refused("prompts", "train", "topics", *where)
    assert "a name may contain" in refused("prompts", "train", *tasks, *where, "--name", "a/b")
    assert "twice" in refused("prompts", "train", tasks[0], tasks[0], *where)


def test_each_task_of_a_mixture_can_have_its_own_columns(inputs: Path, tiny_model: Path, tmp_path: Path):
    other = (inputs / "task.yaml").read_text().replace("topics", "other").replace("text", "body")
    (tmp_path / "other.yaml").write_text(other)
    rows = [json.loads(line) for line in (inputs / "test.jsonl").read_text().splitlines()]
    (tmp_path / "other.jsonl").write_text("".join(json.dumps({**row, "b": row["text"]}) + "\n" for row in rows))
    tasks = [f"{inputs / 'task.yaml'}={inputs / 'train.jsonl'}", f"{tmp_path}/other.yaml={tmp_path}/other.jsonl"]
    where = ["-l", tmp_path / "library", "-m", tiny_model, *SMALL, "--set", "steps=1"]
    pet("prompts", "train", *tasks, *where, "--column", "body=b")
    assert "none of the tasks has such a field" in refused("prompts", "train", *tasks, *where, "--column", "title=b")


def test_a_folder_named_similar_does_not_shadow_the_option(
    library: Path, inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    chosen = ["--init-prompt", "similar", "--prompt-library", library, *LENGTH]
    for _ in range(2):  # the second run resumes the first
        pet(*options(inputs, tiny_model, Path("similar"), *chosen))
    assert read_settings(tmp_path / "similar").init_prompt == "similar"
