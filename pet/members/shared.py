"""What the members of an ensemble share: the task, the settings, the tokenizer, the device, and models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from pet.cloze.bind import bind_patterns, prime_patterns
from pet.cloze.pvp import PVP
from pet.data.checks import column_labels
from pet.ensemble.scale import Scale
from pet.members.models import Models
from pet.members.texts import Texts, TokenPlan
from pet.recipe import Recipe
from pet.student.classifier import TextInput
from pet.task.task import Task
from pet.teachers.access import Access
from pet.training.device import Accelerator, make_accelerator
from pet.training.group import Group
from pet.tuning.members import Learned, encoder_options

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase


Array = NDArray[Any]


@dataclass
class Shared:
    """What the members of an ensemble share. Expensive parts are opened on first use.

    Attributes
    ----------
    task, recipe : the task and the settings
    models : opens the pretrained language model and trained members
    device, precision : see `pet.training.device.make_accelerator`
    seed : random seed of the run
    head_model : pretrained model of classifiers
    initial : initial prompt vectors of members; default: set by the recipe
    primers : labeled texts to prepend, if the recipe has priming
    group : processes that train each member together with this one
    access : whom teachers may ask
    """

    task: Task
    recipe: Recipe
    models: Models
    device: str = "auto"
    precision: str = "auto"
    seed: int = 0
    head_model: str = ""
    initial: Learned | None = None
    primers: Dataset | None = None
    group: Group | None = None
    access: Access = field(default_factory=Access)

    @cached_property
    def accelerator(self) -> Accelerator:
        """Device and precision."""
        return make_accelerator(self.device, self.precision)

    def use(self, device: str, precision: str) -> None:
        """Compute on this device with this precision from now on."""
        self.device, self.precision = device, precision
        self.accelerator = make_accelerator(device, precision)

    def bind(self) -> None:
        """Bind the patterns for untrained models now, so that mistakes in their verbalizers are found."""
        vars(self).setdefault("pvps", self.pvps)

    def bind_tuned(self) -> None:
        """Bind the patterns for trained members now."""
        vars(self).setdefault("tuned_pvps", self.tuned_pvps)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "accelerator"}

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of the pretrained model."""
        return self.models.info.tokenizer

    @cached_property
    def binding(self) -> Mapping[str, Any]:
        """Keyword arguments for `bind_patterns` that depend on the model."""
        encoding = self.recipe.encoding
        return {
            "blank": self.models.info.blank,
            "mean_of_tokens": encoding.mean_of_tokens,
            "multi_token": encoding.multi_token,
        }

    @cached_property
    def _unprimed(self) -> list[PVP]:
        return bind_patterns(self.task, self.tokenizer, self.recipe.encoding.max_length, **self.binding)

    @cached_property
    def plan(self) -> TokenPlan:
        """How the patterns tokenize texts."""
        return TokenPlan(self._unprimed)

    @cached_property
    def pvps(self) -> list[PVP]:
        """The patterns for untrained models, which prepend labeled examples if the recipe has priming."""
        if self.primers is None:
            return self._unprimed
        tokens = self.plan.tokenize(self.primers)
        return prime_patterns(self._unprimed, tokens, column_labels(self.primers), self.recipe.priming, self.seed)

    @cached_property
    def tuned_pvps(self) -> list[PVP]:
        """The patterns for trained members, with positions for the vectors that some tuning methods learn."""
        options = encoder_options(self.recipe.tuning)
        return bind_patterns(self.task, self.tokenizer, self.recipe.encoding.max_length, **options, **self.binding)

    def vectors(self, texts: Texts, model: str = "", on_rows: Callable[[int], object] = lambda rows: None) -> Array:
        """Return the vector of each text: float32 array of shape (rows, D). Every table is embedded once per encoder.

        Parameters
        ----------
        texts : the table
        model : the encoder; default: the pretrained model
        on_rows : called with the number of rows finished since the last call
        """
        if model in texts.vectors:
            on_rows(len(texts))
            return texts.vectors[model]
        texts.vectors[model] = self.embed(texts, model, texts.new_array, on_rows)
        return texts.vectors[model]

    def embed(
        self, texts: Texts, model: str, new_array: Callable[[int], Array], on_rows: Callable[[int], object]
    ) -> Array:
        """Compute the vector of each text, and write them into ``new_array(D)``; see `vectors`."""
        encoder = self.models.encoder(model, self.text_input)
        out = new_array(encoder.size)
        encoder.embed(texts.table, self.accelerator, max_tokens=self.recipe.inference.tokens, out=out, on_rows=on_rows)
        return out

    @property
    def label_scale(self) -> Scale:
        """Scale of scores that stand for probabilities: logits if each label has a probability of its own."""
        return Scale.LOGITS if self.task.multi_label else Scale.LOG_PROBABILITIES

    @property
    def text_input(self) -> TextInput:
        """How classifiers compose their input from the fields."""
        return TextInput(self.task.fields, self.task.input)
