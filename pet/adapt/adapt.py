"""`pet adapt`: from text to a model folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pet.adapt import card, samples
from pet.adapt.objective import make_masker
from pet.adapt.prepare import FACTS, HELD_OUT, TRAIN, prepare, save_start
from pet.adapt.settings import AdaptSettings, OutputSettings, TrainingSettings
from pet.adapt.start import from_checkpoint
from pet.adapt.training import CHECKPOINT, Machine, Training
from pet.progress import Reporter
from pet.store.directory import RunDirectory
from pet.store.folders import remove_quietly
from pet.store.manifest import MANIFEST
from pet.store.outputs import restore_folder, writing_folder
from pet.training.device import make_accelerator
from pet.training.group import in_a_group, join_group

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PREPARED = "prepared"
NEW_HEAD_SHARE = 0.03  # at first a random head would only disturb a trained encoder
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def adapt(
    settings: AdaptSettings,
    reporter: Reporter | None = None,
    stop: Callable[[], bool] = lambda: False,
    command: str = "",
) -> dict[str, Any]:
    """Pretrain a masked LM and write it as a `transformers` folder with a model card.

    After an interruption, the same call continues where it was. What it needs for that is in ``OUTPUT.work``, which is
    removed at the end.

    Parameters
    ----------
    settings : what to train on, what to start from, how to train, where to write
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
    machine = Machine(make_accelerator("auto", _precision(settings.training)), reporter, group)
    record = (_lead if leads else _follow)(settings, machine, stop, command)
    if group is not None:
        group.close()
    return {**record, "main_process": leads}


def _lead(settings: AdaptSettings, machine: Machine, stop: Callable[[], bool], command: str) -> dict[str, Any]:
    """Prepare, train and write; in the main process."""
    output, reporter = settings.output, machine.reporter
    facts: dict[str, Any] = {}
    with ExitStack() as stack:
        try:
            output.check()
            run = stack.enter_context(RunDirectory(output.work, settings.resolved(), reporter=reporter))
            try:
                run.stage(PREPARED, {}, lambda folder: prepare(folder, settings, reporter))
            finally:
                if not (output.work / MANIFEST).exists():  # nothing was prepared, now or before
                    remove_quietly(output.work)
            restore_folder(output.work / CHECKPOINT)
            facts = run.info(PREPARED, FACTS)
        finally:
            if machine.group is not None:
                machine.group.send(facts)
        result, model, tokenizer, held_out = _train(facts, settings, machine, stop)
        public = settings.public()
        record = {"base": public["start"]["model"], **facts, **result, "machine": _hardware(machine)}
        record |= {"settings": public, "save_dtype": output.save_dtype}
        if result["finished"]:
            record["samples"] = samples.fill(model, tokenizer, output.prompts, held_out)
            _write(output, model, tokenizer, record, command)
    if result["finished"]:
        remove_quietly(output.work)
    return record


def _follow(settings: AdaptSettings, machine: Machine, stop: Callable[[], bool], _command: str) -> dict[str, Any]:
    """Train what the main process has prepared; in another process."""
    facts = {} if machine.group is None else machine.group.receive()
    if not facts:  # the main process failed, and reports why
        return {"finished": True}
    return _train(facts, settings, machine, stop)[0]


def _train(
    facts: dict[str, Any], settings: AdaptSettings, machine: Machine, stop: Callable[[], bool]
) -> tuple[dict[str, Any], PreTrainedModel, PreTrainedTokenizerBase, Any]:
    """Train what has been prepared; return the result, the model, its tokenizer and the held-out sequences."""
    folder, training = settings.output.work / PREPARED, settings.training
    model, tokenizer, _ = from_checkpoint(str(folder))
    blocks, held_out = np.load(folder / TRAIN, mmap_mode="r"), np.load(folder / HELD_OUT)
    machine.reporter.info(
        f"{facts['parameters']:,} parameters, {blocks.shape[0]:,} sequences of {blocks.shape[1]} tokens "
        f"on {machine.accelerator.device}"
    )
    if training.head_share is None and facts["new_head"] and settings.start.model is not None:
        training = replace(training, head_share=NEW_HEAD_SHARE)
    masker = make_masker(tokenizer, model, training)
    result = Training(model, blocks, held_out, masker, training, settings.output.work, machine).run(stop)
    return result, model, tokenizer, held_out


def _write(
    output: OutputSettings,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    record: dict[str, Any],
    command: str,
) -> None:
    with writing_folder(output.path, replace=output.overwrite) as folder:
        save_start(model.to(_DTYPES[output.save_dtype]).cpu(), tokenizer, folder)
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        (folder / "training.json").write_text(text, encoding="utf-8")
        (folder / "README.md").write_text(card.model_card(output.path.name, record, command), encoding="utf-8")


def _precision(settings: TrainingSettings) -> str:
    if settings.precision != "auto":
        return settings.precision
    native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if native else "fp32"


def _hardware(machine: Machine) -> str:
    on_gpu = machine.accelerator.device.type == "cuda"
    kind = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    return kind if machine.processes == 1 else f"{machine.processes} x {kind}"
