"""Settings for tuning: the method, and what each method needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pet.settings import Settings, setting

TUNINGS = ("full", "lora", "bitfit", "prompt", "p-tuning", "prefix")
_RATE_FACTORS = {"full": 1, "lora": 10, "bitfit": 20, "prompt": 30, "p-tuning": 20, "prefix": 20}


@dataclass(frozen=True)
class LoraConfig(Settings):
    """Settings of LoRA."""

    title: ClassVar[str] = "Tuning: lora"

    rank: int = setting(8, "rank of the update of each matrix", low=1, name="lora_rank")
    alpha: float = setting(16.0, "the update is multiplied by lora_alpha / lora_rank", low=1e-6, name="lora_alpha")
    dropout: float = setting(0.1, "dropout on the input of the update", low=0, high=0.99, name="lora_dropout")
    targets: str = setting(
        "attention",
        "matrices to update: attention (queries and values), all, or the ends of their names, such as "
        "query,key,output.dense",
        name="lora_targets",
    )


@dataclass(frozen=True)
class PromptConfig(Settings):
    """Settings of prompt tuning."""

    title: ClassVar[str] = "Tuning: prompt"

    length: int = setting(20, "number of learned vectors in front of the text", low=1, name="prompt_length")


@dataclass(frozen=True)
class PTuningConfig(Settings):
    """Settings of p-tuning."""

    title: ClassVar[str] = "Tuning: p-tuning"

    encoder: str = setting(
        "lstm",
        "network that produces the vectors during training: lstm or mlp",
        choices=("lstm", "mlp"),
        name="prompt_encoder",
    )
    tune_backbone: bool = setting(False, "also train the whole model, which is then saved with each member")


@dataclass(frozen=True)
class PrefixConfig(Settings):
    """Settings of prefix tuning."""

    title: ClassVar[str] = "Tuning: prefix"

    length: int = setting(10, "number of learned keys and values in every layer", low=1, name="prefix_length")
    hidden: int = setting(
        512, "width of the network that produces keys and values during training", low=1, name="prefix_hidden"
    )


@dataclass(frozen=True)
class StartSettings(Settings):
    """What the vectors of prompt, p-tuning and prefix start from."""

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
        name="prompt_range",
    )

    def problems(self) -> list[str]:
        if (self.init == "words") != bool(self.words.strip()):
            return ["prompt_init=words and prompt_words require each other: give both or neither"]
        return []


def _configs() -> dict[str, Settings]:
    return {"lora": LoraConfig(), "prompt": PromptConfig(), "p-tuning": PTuningConfig(), "prefix": PrefixConfig()}


@dataclass(frozen=True)
class TuningSettings(Settings):
    """Which parameters of a member are trained.

    Attributes
    ----------
    method : a tuning method
    freeze_layers : layers that are not trained
    start : initial values of learned vectors
    configs : method -> its own settings
    """

    title: ClassVar[str] = "Tuning"

    method: str = setting(
        "full", f"which parameters of each member to train: {', '.join(TUNINGS)}", choices=TUNINGS, name="tuning"
    )
    freeze_layers: int = setting(
        0, "full, lora, bitfit: do not train the embeddings and this many first layers; 0 trains all", low=0
    )
    start: StartSettings = field(default_factory=StartSettings)
    configs: Mapping[str, Any] = field(default_factory=_configs)

    def problems(self) -> list[str]:
        if self.freeze_layers and self.method not in ("full", "lora", "bitfit"):
            return [f"freeze_layers only applies to --tuning full, lora and bitfit, not to {self.method}"]
        return []

    @property
    def config(self) -> Any:
        """The settings of the chosen method."""
        return self.configs[self.method]

    @property
    def trains_backbone(self) -> bool:
        """Whether members change the pretrained weights, so that each of them is a whole model."""
        return self.method == "full" or (self.method == "p-tuning" and bool(self.config.tune_backbone))

    @property
    def rate_factor(self) -> float:
        """Learning rate relative to that of training all weights."""
        return 1 if self.trains_backbone else _RATE_FACTORS[self.method]
