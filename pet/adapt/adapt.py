"""`pet adapt`: from text to a model folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pet.adapt import card, samples
from pet.adapt.objective import make_masker
from pet.adapt.prepare import HELD_OUT, TRAIN, prepare, save_start
from pet.adapt.settings import OutputSettings, StartSettings, TextSettings, TrainingSettings
from pet.adapt.start import from_checkpoint
from pet.adapt.training import CHECKPOINT, Machine, Training
from pet.progress import Reporter
from pet.store.directory import RunDirectory
from pet.store.files import plain, remove_quietly
from pet.store.manifest import MANIFEST
from pet.store.outputs import remove_leftovers, restore_folder, writing_folder
from pet.training.device import make_accelerator
from pet.training.group import in_a_group, join_group

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PREPARED = "prepared"
NEW_HEAD_SHARE = 0.03  # at first a random head would only disturb a trained encoder
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def adapt(
    text: TextSettings,
    start: StartSettings,
    settings: TrainingSettings,
    output: OutputSettings,
    reporter: Reporter | None = None,
    stop: Callable[[], bool] = lambda: False,
    command: str = "",
) -> dict[str, Any]:
    """Pretrain a masked LM and write it as a `transformers` folder with a model card.

    After an interruption, the same call continues where it was. What it needs for that is in ``OUTPUT.work``, which is
    removed at the end.

    Parameters
    ----------
    text, start, settings, output : what to train on, what to start from, how to train, where to write
    reporter : default: a quiet one
    stop : called after each update; if it returns True, a checkpoint is written and training ends early
    command : shown in the model card

    Returns
    -------
    dict
        The content of ``training.json``, and ``main_process``. ``finished`` is False if `stop` ended training early.

    Raises
    ------
    PetError
        For every problem that the caller can solve.
    """
    group = join_group() if in_a_group() else None
    leads = group is None or group.is_main
    reporter = reporter if reporter is not None and leads else Reporter("quiet")
    machine = Machine(make_accelerator("auto", _precision(settings)), reporter, group)
    if leads:
        record = _lead(text, start, settings, output, machine, stop, command)
    else:
        record = _follow(start, settings, output, machine, stop)
    if group is not None:
        group.close()
    return {**record, "main_process": leads}


def _lead(
    text: TextSettings,
    start: StartSettings,
    settings: TrainingSettings,
    output: OutputSettings,
    machine: Machine,
    stop: Callable[[], bool],
    command: str,
) -> dict[str, Any]:
    """Prepare, train and write; in the main process."""
    asked = {"text": asdict(text), "start": asdict(start), "settings": asdict(settings)}
    facts: dict[str, Any] = {}
    with ExitStack() as stack:
        try:
            output.check()
            run = stack.enter_context(RunDirectory(output.work, asked, reporter=machine.reporter))
            try:
                run.stage(PREPARED, {}, lambda folder: prepare(folder, text, start, settings.seed, machine.reporter))
            finally:
                if not (output.work / MANIFEST).exists():  # nothing was prepared, now or before
                    remove_quietly(output.work)
            restore_folder(output.work / CHECKPOINT)
            facts = run.info(PREPARED)
        finally:
            if machine.group is not None:
                machine.group.send(facts)
        result, model, tokenizer, held_out = _train(output.work, facts, start, settings, machine, stop)
        record = {
            "base": start.model and _name(start.model),
            **facts,
            **result,
            "machine": _machine(machine),
            "settings": _public(asked),
            "save_dtype": output.save_dtype,
        }
        if result["finished"]:
            record["samples"] = samples.fill(model, tokenizer, output.prompts, held_out)
            _write(output, model, tokenizer, record, command)
    if result["finished"]:
        remove_quietly(output.work)
    return record


def _follow(
    start: StartSettings,
    settings: TrainingSettings,
    output: OutputSettings,
    machine: Machine,
    stop: Callable[[], bool],
) -> dict[str, Any]:
    """Train what the main process has prepared; in another process."""
    facts = {} if machine.group is None else machine.group.receive()
    if not facts:  # the main process failed, and reports why
        return {"finished": True}
    return _train(output.work, facts, start, settings, machine, stop)[0]


def _train(
    work: Path,
    facts: dict[str, Any],
    start: StartSettings,
    settings: TrainingSettings,
    machine: Machine,
    stop: Callable[[], bool],
) -> tuple[dict[str, Any], PreTrainedModel, PreTrainedTokenizerBase, Any]:
    """Train what has been prepared; return the result, the model, its tokenizer and the held-out sequences."""
    folder = work / PREPARED
    model, tokenizer, _ = from_checkpoint(str(folder))
    blocks, held_out = np.load(folder / TRAIN, mmap_mode="r"), np.load(folder / HELD_OUT)
    machine.reporter.info(
        f"{facts['parameters']:,} parameters, {blocks.shape[0]:,} sequences of {blocks.shape[1]} tokens "
        f"on {machine.accelerator.device}"
    )
    if settings.head_share is None and facts["new_head"] and start.model is not None:
        settings = replace(settings, head_share=NEW_HEAD_SHARE)
    masker = make_masker(tokenizer, model, settings)
    result = Training(model, blocks, held_out, masker, settings, work, machine).run(stop)
    return result, model, tokenizer, held_out


def _write(
    output: OutputSettings,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    record: dict[str, Any],
    command: str,
) -> None:
    out = output.path
    remove_leftovers(out)  # the lock on the working folder is held
    with writing_folder(out, replace=output.overwrite) as folder:
        save_start(model.to(_DTYPES[output.save_dtype]).cpu(), tokenizer, folder)
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        (folder / "training.json").write_text(text, encoding="utf-8")
        (folder / "README.md").write_text(card.model_card(out.name, record, command), encoding="utf-8")


def _precision(settings: TrainingSettings) -> str:
    if settings.precision != "auto":
        return settings.precision
    return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "fp32"


def _machine(machine: Machine) -> str:
    """Describe the hardware, for the model card."""
    on_gpu = machine.accelerator.device.type == "cuda"
    kind = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    return kind if machine.processes == 1 else f"{machine.processes} x {kind}"


def _name(place: str) -> str:
    """Return a hub name as it is, and the last part of a local path: the rest says something about a machine."""
    return Path(place).resolve().name if Path(place).exists() else place


def _public(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the settings as they may be published with a model: without folders."""
    text, start = dict(asked["text"]), dict(asked["start"])
    for field in ("sources", "exclude"):
        text[field] = [_name(place) for place in text[field]]
    text["repeat"] = [f"{_name(source)}={n}" for source, _, n in (item.rpartition("=") for item in text["repeat"])]
    start["model"] = start["model"] and _name(start["model"])
    public: dict[str, Any] = plain({"text": text, "start": start, "settings": asked["settings"]})
    return public
