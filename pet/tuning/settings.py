"""Settings for tuning: the method, and the settings of each method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pet.settings import Settings, setting
from pet.tuning.method import StartSettings
from pet.tuning.methods import METHODS

_LAYERED = [name for name, method in METHODS.items() if method.trains_layers]


@dataclass(frozen=True)
class TuningSettings(Settings):
    """Which parameters of each member are trained.

    Attributes
    ----------
    method : one of `pet.tuning.methods.METHODS`
    freeze_layers : number of first layers that are not trained
    start : initial values of learned vectors
    configs : method -> its own settings

    Examples
    --------
    >>> TuningSettings(method="lora").config.rank
    8
    """

    title: ClassVar[str] = "Tuning"

    method: str = setting(
        "full",
        f"which parameters of each member to train: {', '.join(METHODS)}",
        choices=tuple(METHODS),
        name="tuning",
    )
    freeze_layers: int = setting(
        0,
        f"{', '.join(_LAYERED)}: do not train the embeddings and this many first layers; 0 trains all",
        low=0,
        high=10**4,
    )
    start: StartSettings = field(default_factory=StartSettings)
    configs: Mapping[str, Any] = field(
        default_factory=lambda: {name: method.config() for name, method in METHODS.items()}
    )

    def problems(self) -> list[str]:
        """Return a problem if layers are frozen for a method that trains nothing in them."""
        if self.freeze_layers and self.method in METHODS and self.method not in _LAYERED:
            return [f"freeze_layers only applies to --tuning {', '.join(_LAYERED)}, not to {self.method}"]
        return []

    @property
    def config(self) -> Any:
        """The settings of the chosen method."""
        return self.configs[self.method]

    @property
    def trains_backbone(self) -> bool:
        """Whether members change the pretrained weights, so that each of them is a whole model."""
        return METHODS[self.method].trains_backbone(self.config)

    @property
    def rate_factor(self) -> float:
        """Learning rate relative to that of training all weights.

        Few parameters must move far to have the effect that many have together, soft prompts farthest. The factor of
        prompts was measured (benchmarks/results/transfer.md); those of the other methods have the order of magnitude
        that their papers report, and `benchmarks/tuning.py` compares them. Behind a network each step moves all
        vectors at once.
        """
        return 1 if self.trains_backbone else METHODS[self.method].rate_factor
