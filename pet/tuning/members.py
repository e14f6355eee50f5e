"""Members that share a pretrained model: started, saved in kilobytes, and attached again.

What depends on the tuning method is in the method's own file; see `pet.tuning.methods`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pet.backbones.base import LanguageModel
from pet.backbones.kinds import language_model
from pet.errors import PetError
from pet.process import seeded
from pet.seeds import derive_seed
from pet.settings import parse_flat, to_flat, with_flat
from pet.store.json_reader import parse_json
from pet.store.schema import anything, mapping_of, record, text
from pet.tuning.freeze import freeze
from pet.tuning.method import Start
from pet.tuning.methods import METHODS
from pet.tuning.settings import TuningSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pet.cloze.pvp import PVP
    from pet.cloze.tokens import TokenTable
    from pet.task.task import Task

LEARNED = "learned.safetensors"  # in the folder of a member
_ABOUT = record({"backbone": text(), "fingerprint": text(200), "options": mapping_of(anything(), text(100))})


@dataclass
class Backbone:
    """A pretrained model that members take turns on.

    Attributes
    ----------
    model : the model, with at most one member attached
    name, fingerprint : its name for people, and its hash
    """

    model: PreTrainedModel
    name: str
    fingerprint: str

    def restore(self) -> None:
        """Remove the attached member and freeze all weights."""
        for method in METHODS.values():
            method.restore(self.model)
        self.model.requires_grad_(False)


@dataclass(frozen=True)
class Learned:
    """What a member has learned.

    Attributes
    ----------
    arrays : name -> numbers
    backbone, fingerprint : the pretrained model they belong to
    options : ``tuning``, the method, and its settings by flat name
    """

    arrays: Mapping[str, Tensor]
    backbone: str
    fingerprint: str
    options: Mapping[str, Any]


def encoder_options(tuning: TuningSettings) -> dict[str, Any]:
    """Return the keyword arguments for `pet.cloze.bind.bind_patterns` that depend on the tuning method.

    Examples
    --------
    >>> encoder_options(TuningSettings(method="prompt"))
    {'before': 20, 'soft': False}
    """
    return {"before": 0, "soft": False} | METHODS[tuning.method].encoder_options(tuning.config)


def check_tuning(tuning: TuningSettings, task: Task, model: PreTrainedModel) -> None:
    """Check that a tuning method can be used, before anything is trained.

    Parameters
    ----------
    tuning : method and its settings
    task : its patterns are checked
    model : may have no weights, only shapes

    Raises
    ------
    PetError
        If a library is missing, the model has nothing to train, or a pattern has nothing to learn.
    """
    METHODS[tuning.method].check(tuning.config, task, model)


def start_member(
    backbone: Backbone,
    tuning: TuningSettings,
    pvp: PVP,
    tables: Sequence[TokenTable],
    seed: int,
    device: torch.device,
    before: Learned | None = None,
) -> LanguageModel:
    """Prepare a backbone for training a member: freeze it, and add the parameters to train.

    Parameters
    ----------
    backbone : an attached member is removed
    tuning : method and its settings
    pvp : the member's pattern, bound with `encoder_options`
    tables : texts of the run, for frequent words
    seed : random seed
    device : device for training
    before : member to continue from; None: start fresh
    """
    model, method = backbone.model, METHODS[tuning.method]
    backbone.restore()
    model.to(device)  # before anything is computed, so that results do not depend on where the last member was
    arrays = None if before is None else before.arrays
    with seeded(derive_seed(seed, "tuning"), device):
        method.start(model, tuning.config, Start(tuning.start, pvp, tables, seed, arrays))
    if tuning.trains_backbone:
        model.requires_grad_(True)
    freeze(model, tuning.freeze_layers)
    return language_model(model)


def save_member(backbone: Backbone, tuning: TuningSettings, folder: Path) -> None:
    """Write what a member has learned into a folder, without the pretrained weights.

    If the pretrained weights are trained, too, they are left plain in `backbone`, for ``save_pretrained``. Nothing is
    written if the member is the whole model.
    """
    method = METHODS[tuning.method]
    arrays = method.save(backbone.model)
    if tuning.trains_backbone:
        method.restore(backbone.model)
        if not arrays:
            return
    fingerprint = "" if tuning.trains_backbone else backbone.fingerprint
    options = {"tuning": tuning.method, **to_flat(tuning.config)}
    write_learned(Learned(arrays, backbone.name, fingerprint, options), folder)


def write_learned(learned: Learned, folder: Path) -> None:
    """Write the file that `read_member` reads."""
    about = {"backbone": learned.backbone, "fingerprint": learned.fingerprint, "options": dict(learned.options)}
    # A single key: the library writes several in no fixed order, and a repeated run must give the same bytes.
    metadata = {"pet": json.dumps(about)}
    save_file({name: value.cpu().contiguous() for name, value in learned.arrays.items()}, folder / LEARNED, metadata)


def learned_in(folder: Path) -> Learned | None:
    """Read what the member in a folder has learned; None if it is a whole model."""
    return read_member(folder) if (folder / LEARNED).is_file() else None


def read_member(folder: Path) -> Learned:
    """Read what a member has learned.

    Raises
    ------
    PetError
        If the file does not exist or is damaged.
    """
    path = folder / LEARNED
    try:
        with safe_open(path, framework="pt") as file:
            about = parse_json(file.metadata()["pet"], str(path), "train it again", _ABOUT)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
        learned = Learned(arrays, about["backbone"], about["fingerprint"], about["options"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise PetError(f"{path}: cannot read the member ({error}); train it again") from error
    for name, array in arrays.items():
        if not torch.isfinite(array).all():
            raise PetError(f"{path}: {name} is not finite (NaN or infinite numbers); train it again")
    return learned


def attach(backbone: Backbone, learned: Learned, where: str | Path) -> LanguageModel:
    """Attach a member to its backbone, in place of the one before.

    Parameters
    ----------
    backbone : the model
    learned : the member
    where : the member, for messages

    Raises
    ------
    PetError
        If the member was trained on another model, or with a tuning method that does not exist.
    """
    if learned.fingerprint and learned.fingerprint != backbone.fingerprint:
        raise PetError(
            f"{where}: this member belongs to the model {learned.backbone} (hash {learned.fingerprint[:12]}), but "
            f"{backbone.name} is another model (hash {backbone.fingerprint[:12]}); restore that model, or train again"
        )
    method = METHODS.get(str(learned.options.get("tuning")))
    if method is None:
        raise PetError(
            f"{where}: unknown tuning method {learned.options.get('tuning')!r}; methods are {', '.join(METHODS)}. "
            "Train again, or use the version of pet that trained it"
        )
    backbone.restore()
    config = method.config()
    try:
        known = {name: value for name, value in learned.options.items() if name in to_flat(config)}
        method.attach(backbone.model, with_flat(config, parse_flat(config, known)), learned.arrays)
    except PetError as error:
        raise PetError([f"{where}: {problem}; train this member again" for problem in error.problems]) from error
    backbone.model.requires_grad_(False)
    return language_model(backbone.model)
