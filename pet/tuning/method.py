"""What a tuning method declares, and what a new member starts from.

A method is one file: its settings, a few functions, and a `Method` record that names them. `pet.tuning.methods` lists
the records. This module and the files of the methods import torch only inside functions, so that the command line can
list methods and settings without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pet.errors import PetError
from pet.settings import Settings, setting
from pet.terminal import clean

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from pet.cloze.pvp import PVP
    from pet.cloze.tokens import TokenTable
    from pet.task.task import Task


@dataclass(frozen=True)
class StartSettings(Settings):
    """Initial values of the vectors of prompt, p-tuning and prefix."""

    title: ClassVar[str] = "Tuning: learned vectors"

    init: str = setting(
        "vocabulary",
        "initial values of learned vectors: vocabulary (frequent words of the texts), labels (the label words), words "
        "(those of `prompt_words`), or random",
        choices=("vocabulary", "labels", "words", "random"),
        name="prompt_init",
    )
    words: str = setting("", "words for prompt_init=words, repeated to fill all vectors", name="prompt_words")
    range: float = setting(
        0.5,
        "prompt_init=random draws uniformly between minus this number and this number",
        low=1e-9,
        high=1e6,
        name="prompt_range",
    )

    def problems(self) -> list[str]:
        """Return a problem if only one of two settings that require each other is given."""
        if (self.init == "words") != bool(self.words.strip()):
            return ["prompt_init=words and prompt_words require each other: give both or neither"]
        return []


@dataclass(frozen=True)
class NoSettings(Settings):
    """Settings of a method that has none."""


@dataclass(frozen=True)
class Start:
    """What a new member starts from.

    Attributes
    ----------
    settings : initial values of learned vectors
    pvp : the member's pattern, bound with the method's encoder options
    tables : texts in which frequent words are counted
    seed : random seed of the member
    before : arrays of a member to continue from; None: start fresh
    """

    settings: StartSettings
    pvp: PVP
    tables: Sequence[TokenTable]
    seed: int
    before: Mapping[str, Tensor] | None


C = TypeVar("C", bound=Settings)


def _no_options(config: Any) -> dict[str, Any]:
    return {}


def _no_check(config: Any, task: Task, model: PreTrainedModel) -> None:
    pass


def _never(config: Any) -> bool:
    return False


@dataclass(frozen=True)
class Method(Generic[C]):
    """A tuning method: which parameters are trained, how they get into a model, and how they are saved.

    A shared model is frozen before `start` and `attach`, and `restore` must leave it exactly as it was.

    Attributes
    ----------
    name : value of ``--tuning``
    rate_factor : learning rate relative to that of training all weights, unless it is set
    config : the class of the method's settings
    start : ``start(model, config, begin)`` adds trainable parameters to a frozen model
    attach : ``attach(model, config, arrays)`` puts a saved member into a model, ready to score
    save : ``save(model)`` returns the arrays that a trained member is saved as
    restore : ``restore(model)`` removes everything the method added; does nothing if there is nothing to remove
    encoder_options : ``encoder_options(config)`` returns how patterns are bound: ``before``, the number of learned
        vectors in front of the text, and ``soft``, whether ``{soft:...}`` is learned; left out: 0 and False
    check : ``check(config, task, model)`` raises PetError if the method cannot be used; `model` may have no weights
    trains_backbone : ``trains_backbone(config)`` returns True if pretrained weights are trained, so that each member is
        a whole model
    trains_layers : whether the method trains something in each layer, so that ``freeze_layers`` applies
    """

    name: str
    rate_factor: float
    config: type[C]
    start: Callable[[PreTrainedModel, C, Start], None]
    attach: Callable[[PreTrainedModel, C, Mapping[str, Tensor]], None]
    save: Callable[[PreTrainedModel], dict[str, Tensor]]
    restore: Callable[[PreTrainedModel], None]
    encoder_options: Callable[[C], dict[str, Any]] = _no_options
    check: Callable[[C, Task, PreTrainedModel], None] = _no_check
    trains_backbone: Callable[[C], bool] = _never
    trains_layers: bool = False


def trained_parameters(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return name -> values of the parameters that are being trained: what a member of some methods is saved as."""
    return {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}


def fill(model: PreTrainedModel, arrays: Mapping[str, Tensor]) -> None:
    """Set parameters by name; the opposite of `trained_parameters`."""
    import torch

    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, values in arrays.items():
            if name not in parameters or parameters[name].shape != values.shape:
                raise PetError(f"the learned array {clean(name)[:100]!r} does not fit the model")
            parameters[name].copy_(values)
