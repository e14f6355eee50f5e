"""An untrusted run folder: whatever its small files contain, opening it gives a result or one message."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from small_run import pet, refused, run_options, write_inputs

from pet.errors import PetError
from pet.inference.ensemble import open_ensemble
from pet.recipe import Recipe
from pet.run.load_run import read_settings
from pet.run.settings import RunSettings
from pet.run.unused import unused_settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fuzz"))
from fuzz_inputs import mutate


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("received") / "in")


@pytest.fixture(scope="module")
def original(inputs: Path, tiny_model: Path) -> Path:
    folder = inputs.parent / "run"
    pet(*run_options(inputs, tiny_model, parts=["train"]), "--tuning", "prompt", "-q", "-o", folder)
    return folder


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


def _change_json(path: Path, change: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(change(value) or value), encoding="utf-8")


def _change_config(run: Path, **settings: Any) -> None:
    path = run / "config.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["settings"] |= settings
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def _pickled(model: Path, folder: Path) -> Path:
    shutil.copytree(model, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def test_a_config_cannot_allow_pickles(run: Path, inputs: Path, tiny_model: Path, tmp_path: Path) -> None:
    _change_config(run, allow_pickle=True, model=str(_pickled(tiny_model, tmp_path / "pickled")))
    assert read_settings(run).allow_pickle is False
    label = ("label", run, "--input", inputs / "pool.jsonl", "-o", tmp_path / "labels.jsonl", "--device", "cpu", "-q")
    assert "--allow-pickle" in refused(*label)
    assert "--allow-pickle" in refused("run", run / "config.yaml", "-o", tmp_path / "again", "-q")


@pytest.mark.parametrize("setting", [{"draw": "first"}, {"estimate": "no"}])
def test_a_setting_of_the_wrong_kind_in_a_config_is_one_message(run: Path, setting: dict[str, Any]) -> None:
    _change_config(run, **setting)
    with pytest.raises(PetError, match=f"settings.{next(iter(setting))}") as caught:
        read_settings(run)
    assert str(run / "config.yaml") in str(caught.value)


def _ensemble_info(manifest: Any) -> Any:
    return manifest["stages"]["g0/ensemble"]["info"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda manifest: manifest.pop("stages") and None, "stages"),
        (lambda manifest: manifest | {"stages": []}, "stages"),
        (lambda manifest: manifest["stages"].update({"../../outside": manifest["stages"]["g0/ensemble"]}), "outside"),
        (lambda manifest: _ensemble_info(manifest).update(bias=[0.5]), "bias"),
        (lambda manifest: _ensemble_info(manifest).update(weights=["much", 1]), "weights"),
        (lambda manifest: _ensemble_info(manifest).update(scales=["meters", "logits"]), "scales"),
        (lambda manifest: _ensemble_info(manifest).update(merge="product"), "merge"),
        (lambda manifest: _ensemble_info(manifest).update(members=["../../x", "y"]), "member"),
        (lambda manifest: manifest["stages"].pop("g0/ensemble") and None, "merged"),
        (lambda manifest: manifest["stages"]["g0/ensemble"].update(outputs=3), "outputs"),
        (lambda manifest: manifest["stages"]["g0/ensemble"].update(state=[1]), "state"),
    ],
)
def test_a_changed_manifest_is_one_message(run: Path, change: Callable[[Any], Any], named: str) -> None:
    _change_json(run / "manifest.json", change)
    with pytest.raises(PetError, match=named) as caught:
        open_ensemble(run, device="cpu")
    assert str(run) in str(caught.value)


@pytest.mark.parametrize("shape", [(2, 3), (20,), (0, 32), (20, 32, 1)])
def test_vectors_that_do_not_fit_the_model_are_one_message(run: Path, shape: tuple[int, ...]) -> None:
    from safetensors import safe_open

    (folder, *_) = [path.parent for path in sorted(run.glob("g0/*/learned.safetensors"))]
    path = folder / "learned.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file({"vectors": torch.zeros(shape)}, path, metadata)
    with pytest.raises(PetError, match=str(folder.name)):
        opened = open_ensemble(run, device="cpu")
        opened.scorers[0].load()


@pytest.mark.parametrize("name", ["config.yaml", "manifest.json", "g0/p1-r1/member.json"])
def test_changes_that_know_the_grammar_have_a_result_or_one_message(run: Path, name: str) -> None:
    draw, sound = random.Random(name), (run / name).read_bytes()
    for _ in range(40):
        (run / name).write_bytes(mutate(sound, [sound], draw))
        try:
            open_ensemble(run, device="cpu")
        except PetError as error:
            assert all("\n" not in problem for problem in error.problems)


# ---- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ["--set", "ratio=xyz"],
        ["--set", "ratio=1,2,3"],
        ["--workers", "9999999999"],
        ["--seeds", "9999999999"],
        ["--seed", "9" * 30],
        ["--pool-size", "9" * 30],
        ["--set", "repetitions=100000"],
        ["--set", "min_epochs=inf"],
        ["--set", "temperature=1e308"],
        ["--set", "accumulation=9999999999"],
        ["--tuning", "prompt", "--set", "prompt_length=9999999999"],
        ["--member", "../../x=head"],
    ],
)
def test_a_setting_of_nonsense_size_is_one_message(options: list[str], inputs: Path, tmp_path: Path) -> None:
    command = ["run", inputs / "task.yaml", "--train", inputs / "train.jsonl", "-m", "mini-en", "-q"]
    message = refused(*command, *options, "-o", tmp_path / "run")
    assert options[-1].partition("=")[0].removeprefix("--")[:10] in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "method", "named"),
    [
        ({"growth": "3"}, "pet", "--method ipet"),
        ({"lora_rank": "4"}, "pet", "--tuning lora"),
        ({"unlabeled_batch": "2"}, "pet", "--unlabeled"),
        ({"steps": "2"}, "supervised", "--method pet, ipet and pcp"),
        ({"supervised_steps": "2"}, "pet", "--method supervised"),
        ({"prompt_similarity": "cosine"}, "pet", "--init-prompt"),
    ],
)
def test_a_setting_without_an_effect_is_named(settings: dict[str, str], method: str, named: str) -> None:
    given = RunSettings({}, train="a.csv", unlabeled=None, test=None, model="m", method=method, settings=settings)
    (message,) = unused_settings(given, Recipe().with_settings(**settings), [])
    assert next(iter(settings)) in message and named in message


def test_settings_of_the_auxiliary_loss_have_no_effect_without_it() -> None:
    settings = {"alpha": "0.01"}
    given = RunSettings({}, train="a", unlabeled="b", test=None, model="m", settings=settings)
    (message,) = unused_settings(given, Recipe().with_settings(**settings), [])
    assert "alpha" in message and "unlabeled_batch" in message
    settings["unlabeled_batch"] = "4"
    given = RunSettings({}, train="a", unlabeled="b", test=None, model="m", settings=settings)
    assert unused_settings(given, Recipe().with_settings(**settings), []) == []


def test_settings_with_an_effect_are_not_named() -> None:
    settings = {"steps": "2", "student_steps": "3", "merge": "uniform", "max_length": "64", "lora_rank": "4"}
    given = RunSettings({}, train="a", unlabeled="b", test=None, model="m", settings={**settings, "tuning": "lora"})
    assert unused_settings(given, Recipe().with_settings(**given.settings), []) == []


def test_baselines_without_test_texts_are_neither_run_nor_silent() -> None:
    given = RunSettings(task={}, train="a.csv", unlabeled=None, test=None, model="m", baselines=True)
    (message,) = unused_settings(given, Recipe(), [])
    assert "--baselines" in message and "--test" in message
    assert not given.compares and unused_settings(replace(given, test="b.csv"), Recipe(), []) == []
