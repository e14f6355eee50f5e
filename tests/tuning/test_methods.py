"""What tuning methods declare: names, settings, attaching, saving, restoring."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pet.backbones.load import load_tokenizer
from pet.backbones.trained import load_masked_lm
from pet.cloze.pvp import PVP, bind_pattern
from pet.errors import PetError
from pet.recipe import make_recipe
from pet.settings import to_flat
from pet.task.grammar import parse_template
from pet.task.pattern import Pattern
from pet.task.verbalizer import Verbalizer
from pet.tuning.members import (
    LEARNED,
    Backbone,
    Learned,
    attach,
    encoder_options,
    learned_in,
    read_member,
    save_member,
    start_member,
    write_learned,
)
from pet.tuning.methods import METHODS
from pet.tuning.settings import TuningSettings

CPU = torch.device("cpu")
LABELS = ["good", "bad"]
SMALL = {"prompt_length": 3, "prefix_length": 3, "prefix_hidden": 8, "lora_rank": 2}

every_method = pytest.mark.parametrize("name", METHODS)


def tuning_of(name: str, **changes: Any) -> TuningSettings:
    if name == "lora":
        pytest.importorskip("peft")
    return make_recipe("default", {"tuning": name, **SMALL, **changes}).tuning


def bound(folder: Path, tuning: TuningSettings) -> PVP:
    pattern = Pattern(parse_template("{soft:it was} {mask}: {text}", ["text"]), Verbalizer({w: (w,) for w in LABELS}))
    return bind_pattern(pattern, LABELS, load_tokenizer(str(folder)), 32, **encoder_options(tuning))


def started(folder: Path, tuning: TuningSettings, before: Learned | None = None) -> Backbone:
    backbone = Backbone(load_masked_lm(str(folder)), "tiny", "hash")
    start_member(backbone, tuning, bound(folder, tuning), [], 7, CPU, before)
    return backbone


def trained_names(backbone: Backbone) -> list[str]:
    return [name for name, value in backbone.model.named_parameters() if value.requires_grad]


def test_methods_and_settings_are_listed_without_torch():
    code = (
        "import sys; from pet.recipe import make_recipe; from pet.tuning.methods import METHODS; make_recipe();"
        "print([m for m in ('torch', 'numpy', 'transformers', 'peft') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@every_method
def test_a_method_is_listed_by_its_own_name_and_selected_by_it(name: str):
    assert METHODS[name].name == name
    tuning = tuning_of(name)
    assert isinstance(tuning.config, METHODS[name].config)
    assert name in make_recipe("default", {"tuning": name}).to_dict().values()


def test_flat_names_of_all_methods_differ():
    names = [flat for method in METHODS.values() for flat in to_flat(method.config())]
    assert len(names) == len(set(names))


@every_method
def test_only_methods_with_learned_vectors_change_how_patterns_are_bound(name: str):
    expected = {"prompt": {"before": 3, "soft": False}, "prefix": {"before": 3, "soft": False}}
    expected["p-tuning"] = {"before": 0, "soft": True}
    assert encoder_options(tuning_of(name)) == expected.get(name, {"before": 0, "soft": False})


def test_full_trains_everything_above_the_frozen_layers(tiny_model: Path):
    everything = {name for name, _ in load_masked_lm(str(tiny_model)).named_parameters()}
    assert set(trained_names(started(tiny_model, tuning_of("full")))) == everything
    frozen = everything - set(trained_names(started(tiny_model, tuning_of("full", freeze_layers=1))))
    assert frozen
    assert all("embeddings" in name or ".layer.0." in name or "decoder" in name for name in frozen)


@every_method
def test_restore_does_nothing_to_a_plain_model(tiny_model: Path, name: str):
    model = load_masked_lm(str(tiny_model))
    before = {key: value.clone() for key, value in model.named_parameters()}
    METHODS[name].restore(model)
    METHODS[name].restore(model)
    after = dict(model.named_parameters())
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_biases_are_restored_after_several_members(tiny_model: Path):
    backbone = started(tiny_model, tuning := tuning_of("bitfit"))
    before = {key: value.clone() for key, value in backbone.model.named_parameters()}
    for shift in (1.0, 2.0):
        start_member(backbone, tuning, bound(tiny_model, tuning), [], 7, CPU)
        with torch.no_grad():
            for value in backbone.model.parameters():
                value.add_(shift if value.requires_grad else 0)
    backbone.restore()
    assert all(torch.equal(value, before[key]) for key, value in backbone.model.named_parameters())


@every_method
def test_a_member_records_its_method_and_the_settings_of_the_method_only(tiny_model: Path, tmp_path: Path, name: str):
    save_member(started(tiny_model, tuning := tuning_of(name)), tuning, tmp_path)
    learned = learned_in(tmp_path)
    if name == "full":
        assert learned is None  # the member is the whole model, which is saved as one
    else:
        assert learned is not None
        assert dict(learned.options) == {"tuning": name, **to_flat(tuning.config)}


@pytest.mark.parametrize("name", ["lora", "bitfit", "prompt", "p-tuning", "prefix"])
def test_members_of_earlier_versions_still_load(tiny_model: Path, tmp_path: Path, name: str):
    """They recorded LoRA's settings, without its dropout, whatever the method was."""
    changes = {"lora_targets": "all"} if name == "lora" else {}
    backbone = started(tiny_model, tuning := tuning_of(name, **changes))
    save_member(backbone, tuning, tmp_path)
    now = read_member(tmp_path)
    old = {"tuning": name, "lora_rank": 2, "lora_alpha": 16.0, "lora_targets": changes.get("lora_targets", "attention")}
    (tmp_path / "old").mkdir()
    write_learned(Learned(now.arrays, "tiny", "hash", old), tmp_path / "old")
    found = attach(backbone, read_member(tmp_path / "old"), "here").model
    values = {key: value.clone() for key, value in found.named_parameters()}
    again = dict(attach(backbone, now, "here").model.named_parameters())
    assert values.keys() == again.keys()
    assert all(torch.equal(again[key], value) for key, value in values.items())


def test_an_unknown_method_in_a_file_is_refused(tiny_model: Path, tmp_path: Path):
    save_file({}, tmp_path / LEARNED, {"pet": '{"backbone": "tiny", "fingerprint": "", "options": {"tuning": "ia3"}}'})
    backbone = Backbone(load_masked_lm(str(tiny_model)), "tiny", "hash")
    with pytest.raises(PetError, match=r"m1: .*'ia3'.*lora"):
        attach(backbone, read_member(tmp_path), "m1")


def test_a_member_with_numbers_that_are_none_is_named(tiny_model: Path, tmp_path: Path):
    save_member(started(tiny_model, tuning := tuning_of("prompt")), tuning, tmp_path)
    learned = read_member(tmp_path)
    name, values = next(iter(learned.arrays.items()))
    write_learned(replace(learned, arrays={name: values.index_fill(0, torch.tensor([1]), float("nan"))}), tmp_path)
    with pytest.raises(PetError) as caught:
        read_member(tmp_path)
    assert str(tmp_path / LEARNED) in str(caught.value) and name in str(caught.value)


def test_a_member_that_others_start_from_is_not_changed_by_training(tiny_model: Path, tmp_path: Path):
    save_member(started(tiny_model, tuning := tuning_of("prompt")), tuning, tmp_path)
    before = read_member(tmp_path)
    kept = {key: value.numpy().copy() for key, value in before.arrays.items()}
    backbone = started(tiny_model, tuning, before)
    with torch.no_grad():
        for value in backbone.model.parameters():
            value.add_(1.0 if value.requires_grad else 0)
    for key, value in kept.items():
        np.testing.assert_array_equal(before.arrays[key].numpy(), value)
