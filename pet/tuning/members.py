"""Members that share a pretrained model: made ready to learn, saved in kilobytes, and put back onto it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pet.backbones.base import LanguageModel
from pet.backbones.kinds import language_model
from pet.errors import PetError
from pet.seeds import derive_seed
from pet.settings import to_flat, with_flat
from pet.tuning import bitfit, lora, p_tuning, prefix, prompt, soft
from pet.tuning.freeze import freeze
from pet.tuning.settings import LoraConfig
from pet.tuning.start import start_ids, start_vectors, uniform

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pet.cloze.pvp import PVP
    from pet.cloze.tokens import TokenTable
    from pet.task.task import Task
    from pet.tuning.settings import TuningSettings

LEARNED = "learned.safetensors"  # in the folder of a member
VECTORS = "vectors"  # the one array of the methods that learn vectors


@dataclass
class Backbone:
    """A pretrained model that members take turns on.

    Attributes
    ----------
    model : the model; what a member has put into it goes before the next one comes
    name, fingerprint : what it is, for people, and by hash
    """

    model: PreTrainedModel
    name: str
    fingerprint: str

    def __post_init__(self) -> None:
        self._biases = {name: value.detach().clone() for name, value in bitfit.biases(self.model).items()}

    def restore(self) -> None:
        """Make it again what it was, with nothing that learns."""
        lora.remove(self.model)
        soft.remove(self.model)
        self.model.requires_grad_(False)
        with torch.no_grad():
            for name, parameter in bitfit.biases(self.model).items():
                parameter.copy_(self._biases[name])


@dataclass(frozen=True)
class Learned:
    """What a member has learned.

    Attributes
    ----------
    arrays : name -> numbers
    backbone, fingerprint : the pretrained model that they belong to
    options : ``tuning``, and the settings of the method
    """

    arrays: Mapping[str, Tensor]
    backbone: str
    fingerprint: str
    options: Mapping[str, Any]


def encoder_options(tuning: TuningSettings) -> dict[str, Any]:
    """How patterns are bound for members of this tuning: options of `pet.cloze.encode.ClozeEncoder`."""
    before = tuning.config.length if tuning.method in ("prompt", "prefix") else 0
    return {"before": before, "soft": tuning.method == "p-tuning"}


def check_tuning(tuning: TuningSettings, task: Task, model: PreTrainedModel) -> None:
    """Refuse a tuning that cannot be, before anything is trained.

    Parameters
    ----------
    tuning, task : of the run
    model : shapes are enough, without weights

    Raises
    ------
    PetError
        When LoRA's library is not there, the model has nothing that could learn so, or a pattern has nothing for
        p-tuning to learn.
    """
    if tuning.method == "lora":
        lora.check_peft()
        lora.find_targets(model, tuning.config.targets)
    if tuning.method == "bitfit":
        bitfit.check_biases(model)
    if tuning.method == "prefix":
        prefix.check_model(model)
    if tuning.method in ("prompt", "p-tuning", "prefix"):
        soft.word_embedding(model, tuning.method)
    if tuning.method == "p-tuning" and not tuning.config.tune_backbone:
        hard = [pattern for pattern in task.patterns if not pattern.template.is_soft]
        if hard:
            raise PetError(
                f"{pattern.place or task.name}: pattern {pattern.template.source!r}: p-tuning learns what stands in "
                "{soft:...}, and it has none; write {soft:3} or {soft:some words} in it, or take --tuning prompt"
                for pattern in hard
            )


def start_member(
    backbone: Backbone,
    tuning: TuningSettings,
    pvp: PVP,
    tables: Sequence[TokenTable],
    seed: int,
    device: torch.device,
    before: Learned | None = None,
) -> LanguageModel:
    """Make a backbone ready to train a member: freeze it, and put in what learns.

    Parameters
    ----------
    backbone : what an earlier member has left in it goes
    tuning, pvp : how, and with which pattern, bound with `encoder_options`
    tables : texts of the run, for frequent words
    seed : of what is random
    device : where everything will be
    before : a member to go on from; None: from the beginning
    """
    model = backbone.model
    backbone.restore()
    model.to(device)  # before something is computed, so that it does not depend on where the last member was
    torch.manual_seed(derive_seed(seed, "tuning"))
    if tuning.method in ("bitfit", "lora"):
        _let_learn(model, tuning.method, tuning.configs["lora"])
        freeze(model, tuning.freeze_layers)
        if before is not None:
            _fill(model, before.arrays)
    elif pvp.encoder.learned:
        if before is not None:
            start = before.arrays[VECTORS].to(device, copy=True)  # it learns, and others may start from `before`, too
        else:
            start = _start_values(model, tuning, pvp, tables, seed)
        if tuning.method == "prompt":
            prompt.inject(model, start)
        elif tuning.method == "prefix":
            prefix.inject(model, start, tuning.config.hidden)
        else:
            p_tuning.inject(model, start, tuning.config.encoder)
    if tuning.trains_backbone:
        model.requires_grad_(True)
    return language_model(model)


def _let_learn(model: PreTrainedModel, method: str, config: LoraConfig) -> None:
    if method == "lora":
        lora.inject(model, config.rank, config.alpha, config.dropout, config.targets)
    else:
        bitfit.inject(model)


def _fill(model: PreTrainedModel, arrays: Mapping[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, values in arrays.items():
            parameters[name].copy_(values)


def _start_values(
    model: PreTrainedModel, tuning: TuningSettings, pvp: PVP, tables: Sequence[TokenTable], seed: int
) -> Tensor:
    """What learned vectors, or a prefix, start from."""
    generator = np.random.default_rng(derive_seed(seed, "tuning"))
    ids = start_ids(pvp, tuning.start, tables, generator)
    if tuning.method != "prefix":
        return start_vectors(model.get_input_embeddings().weight, ids, tuning.start.range, generator)
    start = prefix.keys_and_values(model, [token or 0 for token in ids])
    if tuning.start.init == "random":
        start = uniform(start.shape, tuning.start.range, generator).to(start.device)
    return start


def save_member(backbone: Backbone, tuning: TuningSettings, folder: Path) -> None:
    """Write what a member has learned, beside the pretrained weights, into a folder.

    Where the pretrained weights learn, too, they are left plain in `backbone`, for ``save_pretrained``.
    """
    model = backbone.model
    if tuning.method in ("bitfit", "lora"):
        arrays = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
    else:
        vectors = soft.learned_values(model)
        arrays = {} if vectors is None else {VECTORS: vectors}
    if tuning.trains_backbone:
        soft.remove(model)
    fingerprint = "" if tuning.trains_backbone else backbone.fingerprint
    options = {"tuning": tuning.method, **to_flat(tuning.configs["lora"])}
    write_learned(Learned(arrays, backbone.name, fingerprint, options), folder)


def write_learned(learned: Learned, folder: Path) -> None:
    """Write the file that `read_member` reads."""
    about = {"backbone": learned.backbone, "fingerprint": learned.fingerprint, "options": dict(learned.options)}
    # One key: the library writes several in an order of its own, and a run ends with the same bytes as before.
    metadata = {"pet": json.dumps(about)}
    save_file({name: value.cpu().contiguous() for name, value in learned.arrays.items()}, folder / LEARNED, metadata)


def read_member(folder: Path) -> Learned:
    """What a member has learned.

    Raises
    ------
    PetError
        When the file is not there, or not one of these.
    """
    path = folder / LEARNED
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["pet"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
        return Learned(arrays, about["backbone"], about["fingerprint"], about["options"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise PetError(f"{path} cannot be read as what a member has learned ({error}); train it again") from error


def attach(backbone: Backbone, learned: Learned, where: str | Path) -> LanguageModel:
    """Put a member onto its backbone, in place of the one before.

    Parameters
    ----------
    backbone, learned : that model, and what to put on
    where : what messages call the member

    Raises
    ------
    PetError
        When the member was trained on another model.
    """
    if learned.fingerprint and learned.fingerprint != backbone.fingerprint:
        raise PetError(
            f"{where}: this member is a few numbers that belong to the model {learned.backbone} (hash "
            f"{learned.fingerprint[:12]}), and {backbone.name} is another one (hash {backbone.fingerprint[:12]}); "
            "bring that model back, or train again"
        )
    backbone.restore()
    model, options = backbone.model, learned.options
    if options["tuning"] in ("bitfit", "lora"):
        _let_learn(model, options["tuning"], with_flat(LoraConfig(dropout=0.0), {**options, "lora_dropout": 0.0}))
        _fill(model, learned.arrays)
    elif VECTORS in learned.arrays:
        values = learned.arrays[VECTORS].to(model.get_input_embeddings().weight.device)
        if options["tuning"] == "prefix":
            prefix.inject(model, values, None)
        else:
            prompt.inject(model, values)
    model.requires_grad_(False)
    return language_model(model)
