"""A run under way: what all its stages share, opened once and only when needed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import transformers

from pet.backbones.load import load_masked_lm, load_tokenizer
from pet.backbones.masked import MaskedLM, check_length
from pet.classifier import TextInput
from pet.cloze.pvp import PVP, bind_pattern
from pet.cloze.tokens import TokenTable, token_keys, tokenize_fields
from pet.errors import PetError
from pet.run.directory import RunDirectory
from pet.run.inputs import RunData
from pet.run.progress import Reporter
from pet.run.settings import RunSettings
from pet.task import Task
from pet.training.device import make_accelerator
from pet.training.group import Group
from pet.training.recipe import Recipe
from pet.tuning.members import Backbone, encoder_options

if TYPE_CHECKING:
    from accelerate import Accelerator
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pet.run.executor import Executor

_KEEP_IN_MEMORY = 50_000  # rows; the token ids of larger tables are memory-mapped


@dataclass
class Job:
    """Everything that the stages of one run read.

    Attributes
    ----------
    settings, task, recipe : what to do
    data : the texts
    directory : where finished stages are
    reporter : who is told
    executor : who makes the members; None: this process
    group : those that train a member together with this process, while they do
    token_tables : of ``train``, ``pool`` and ``test``, as far as they are made
    """

    settings: RunSettings
    task: Task
    recipe: Recipe
    data: RunData
    directory: RunDirectory
    reporter: Reporter
    executor: Executor | None = None
    group: Group | None = None
    token_tables: dict[str, TokenTable] = field(default_factory=dict)
    _folders: list[Any] = field(default_factory=list)
    _backbone: Backbone | None = None

    @cached_property
    def accelerator(self) -> Accelerator:
        return make_accelerator(self.settings.device, self.settings.precision)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return load_tokenizer(self.settings.model)

    @cached_property
    def pvps(self) -> list[PVP]:
        return bind_patterns(self.task, self.tokenizer, self.recipe.max_length)

    @cached_property
    def tuned_pvps(self) -> list[PVP]:
        """The patterns as members are trained with them: with learned vectors, where `recipe.tuning` has some."""
        options = encoder_options(self.recipe)
        return bind_patterns(self.task, self.tokenizer, self.recipe.max_length, **options)

    @property
    def text_input(self) -> TextInput:
        return TextInput(self.task.fields, self.task.input)

    @property
    def config_hash(self) -> str:
        """All stages depend on the whole configuration, which one folder holds once."""
        from pet.run.directory import hash_inputs

        return hash_inputs(self.directory.config)

    def tokens(self, part: str) -> TokenTable:
        """Token table of ``train``, ``pool`` or ``test``, made at its first use."""
        if part not in self.token_tables:
            table: Dataset | None = getattr(self.data, part)
            assert table is not None
            folder = None
            if len(table) > _KEEP_IN_MEMORY:
                self._folders.append(tempfile.TemporaryDirectory(prefix="pet-tokens-"))
                folder = Path(self._folders[-1].name)
            plain = self.pvps[0].encoder.plain
            keys = token_keys([pvp.encoder.template for pvp in self.pvps], plain)
            self.token_tables[part] = tokenize_fields(table, keys, plain, folder=folder)
        return self.token_tables[part]

    def pretrained(self) -> MaskedLM:
        """A fresh copy of the pretrained model."""
        lm = MaskedLM(load_masked_lm(self.settings.model, allow_pickle=self.settings.allow_pickle))
        check_length(lm.model, self.recipe.max_length, self.settings.model)
        return lm

    def model_of(self, folder: Path | None) -> MaskedLM:
        """A fresh copy of a member's own model, or for None of the pretrained one."""
        return self.pretrained() if folder is None else MaskedLM(load_masked_lm(str(folder)))

    def backbone(self, folder: Path | None) -> Backbone:
        """What a member in a folder, or for None a new one, is put onto: one model for all, unless it is tuned, too."""
        if self._backbone is not None and not self.recipe.tunes_backbone:
            return self._backbone
        lm = self.model_of(folder if self.recipe.tunes_backbone else None)
        config = self.directory.config  # where a folder's path is absolute
        backbone = Backbone(lm.model, config["settings"]["model"], config["hashes"]["model"])
        self._backbone = None if self.recipe.tunes_backbone else backbone
        return backbone

    def close(self) -> None:
        """Let go of workers and temporary files."""
        if self.executor is not None:
            self.executor.close()
        self.token_tables.clear()
        for folder in self._folders:
            folder.cleanup()
        self._folders.clear()


def bind_patterns(
    task: Task, tokenizer: PreTrainedTokenizerBase, max_length: int, *, before: int = 0, soft: bool = False
) -> list[PVP]:
    """All patterns of a task with a tokenizer; every pattern's mistakes are reported at once.

    `before` and `soft` are those of `pet.cloze.encode.ClozeEncoder`.
    """
    if tokenizer.mask_token_id is None:  # else every word would be reported first
        raise PetError(
            f"model {tokenizer.name_or_path}: its tokenizer has no mask token, and a pattern needs one; use a masked "
            "language model (BERT, RoBERTa, DeBERTa, ModernBERT, ...)"
        )
    pvps: list[PVP] = []
    problems: list[str] = []
    for number, pattern in enumerate(task.patterns, 1):
        try:
            pvps.append(bind_pattern(pattern, task.labels, tokenizer, max_length, before=before, soft=soft))
        except PetError as error:
            where = pattern.place or f"{task.name}: pattern {number}"
            # Words carry the line where they stand, which several patterns may share.
            file = f"{where.rpartition(':')[0]}:"
            problems += [p if pattern.place and p.startswith(file) else f"{where}: {p}" for p in error.problems]
    if problems:
        raise PetError(dict.fromkeys(problems))
    return pvps


def outline(name: str) -> PreTrainedModel:
    """The encoder of a model, from its configuration alone: shapes and no weights.

    It has no head: a student need not be a masked language model.
    """
    import torch

    from pet.backbones.load import load_problem, resolve_model

    try:
        config = transformers.AutoConfig.from_pretrained(resolve_model(name))
        with torch.device("meta"):
            model: PreTrainedModel = transformers.AutoModel.from_config(config)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise load_problem(name, "configuration", error) from error
    return model


def count_parameters(name: str) -> int:
    """Number of weights of a model's encoder, from its configuration alone."""
    return sum(p.numel() for p in outline(name).parameters())
