"""A run under way: what all its stages share, opened once and only when needed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pet.backbones.base import LanguageModel
from pet.backbones.kinds import binding_options, language_model, open_model
from pet.backbones.load import load_tokenizer
from pet.backbones.masked import check_length
from pet.cloze.bind import bind_patterns, prime_patterns
from pet.cloze.encode import token_keys
from pet.cloze.pvp import PVP
from pet.cloze.tokens import TokenTable, tokenize_fields
from pet.data.checks import column_labels
from pet.progress import Reporter
from pet.recipe import Recipe
from pet.run.inputs import RunData
from pet.run.settings import RunSettings
from pet.store.directory import RunDirectory
from pet.student.classifier import TextInput
from pet.task.task import Task
from pet.training.device import make_accelerator
from pet.training.group import Group
from pet.tuning.members import Backbone, Learned, encoder_options

if TYPE_CHECKING:
    from accelerate import Accelerator
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from pet.run.execution.executor import Executor

_KEEP_IN_MEMORY = 50_000  # rows; the token ids of larger tables are memory-mapped


@dataclass
class RunContext:
    """Everything that the stages of one run read.

    Attributes
    ----------
    settings, task, recipe : what to do
    data : the texts
    directory : where finished stages are
    reporter : who is told
    initial : the vectors that members start from; None: what the recipe says
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
    initial: Learned | None = None
    executor: Executor | None = None
    group: Group | None = None
    token_tables: dict[str, TokenTable] = field(default_factory=dict)
    _folders: list[Any] = field(default_factory=list)
    _backbone: Backbone | None = None
    _untrained: LanguageModel | None = None

    @cached_property
    def accelerator(self) -> Accelerator:
        return make_accelerator(self.settings.device, self.settings.precision)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return load_tokenizer(self.settings.model)

    @cached_property
    def _unprimed(self) -> list[PVP]:
        return bind_patterns(self.task, self.tokenizer, self.recipe.encoding.max_length, **self.binding)

    @cached_property
    def pvps(self) -> list[PVP]:
        """The patterns as untrained models are asked them: with labeled examples before, where there is priming."""
        if not self.recipe.priming.count:
            return self._unprimed
        assert self.data.train is not None
        labels = column_labels(self.data.train)
        return prime_patterns(self._unprimed, self.tokens("train"), labels, self.recipe.priming, self.settings.seed)

    @cached_property
    def tuned_pvps(self) -> list[PVP]:
        """The patterns as members are trained with them: with learned vectors, where the tuning method has some."""
        options = encoder_options(self.recipe.tuning)
        return bind_patterns(self.task, self.tokenizer, self.recipe.encoding.max_length, **options, **self.binding)

    @property
    def binding(self) -> dict[str, Any]:
        """How patterns are bound for the run's kind of model."""
        return binding_options(self.settings.model, self.tokenizer, self.recipe.encoding.mean_of_tokens)

    @property
    def text_input(self) -> TextInput:
        return TextInput(self.task.fields, self.task.input)

    @property
    def config_hash(self) -> str:
        """All stages depend on the whole configuration, which one folder holds once."""
        from pet.store.files import hash_inputs

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
            plain = self._unprimed[0].encoder.plain
            keys = token_keys(pvp.encoder for pvp in self._unprimed)
            self.token_tables[part] = tokenize_fields(table, keys, plain, folder=folder)
        return self.token_tables[part]

    def pretrained(self) -> LanguageModel:
        """A fresh copy of the pretrained model."""
        lm = language_model(open_model(self.settings.model, allow_pickle=self.settings.allow_pickle))
        check_length(lm.model, self.recipe.encoding.max_length, self.settings.model)
        return lm

    def untrained(self) -> LanguageModel:
        """The pretrained model to score with, which is opened once for all patterns; see `forget`."""
        if not self.recipe.tuning.trains_backbone:
            backbone = self.backbone(None)
            backbone.restore()
            return language_model(backbone.model)
        if self._untrained is None:
            self._untrained = self.pretrained()
        return self._untrained

    def forget(self) -> None:
        """Let go of models that were kept for members to come."""
        self._backbone = self._untrained = None

    def model_of(self, folder: Path | None) -> LanguageModel:
        """A fresh copy of a member's own model, or for None of the pretrained one."""
        return self.pretrained() if folder is None else language_model(open_model(str(folder)))

    def backbone(self, folder: Path | None) -> Backbone:
        """What a member in a folder, or for None a new one, is put onto: one model for all, unless it is tuned, too."""
        if self._backbone is not None and not self.recipe.tuning.trains_backbone:
            return self._backbone
        lm = self.model_of(folder if self.recipe.tuning.trains_backbone else None)
        config = self.directory.config  # where a folder's path is absolute
        backbone = Backbone(lm.model, config["settings"]["model"], config["hashes"]["model"])
        self._backbone = None if self.recipe.tuning.trains_backbone else backbone
        return backbone

    def close(self) -> None:
        """Let go of workers and temporary files."""
        if self.executor is not None:
            self.executor.close()
        self.token_tables.clear()
        for folder in self._folders:
            folder.cleanup()
        self._folders.clear()
