"""Options of every function that computes with a saved model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pet.errors import PetError
from pet.teachers.access import Access


@dataclass(frozen=True)
class ComputeOptions:
    """Where and how to compute.

    Parameters
    ----------
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``; see `pet.training.device.make_accelerator`.
    precision : str, optional
        ``auto``, ``fp32``, ``bf16`` or ``fp16``. Default: for an ensemble that of its run; for a saved classifier
        fp32, as in a pipeline of transformers; for training ``auto``.
    allow_pickle : bool
        Also open pickled weights, which can run code. The config.yaml of a run cannot allow this.
    quantize : bool
        Compute linear layers in int8, on a CPU. The first 256 texts are also scored without it and compared.
    runtime : str, optional
        What runs the encoder: ``torch``, ``onnx`` (ONNX Runtime), ``openvino``, or ``auto``: the fastest that is
        installed, by a short trial. Default: torch; for a folder of `pet export` auto.
    max_tokens : int
        Tokens of a batch of a saved classifier, padding included.
    access : pet.teachers.access.Access
        Servers that texts may be sent to, for runs whose members ask them. Default: none; these members then abstain,
        except on texts whose answers are on disk.

    Examples
    --------
    >>> ComputeOptions(device="cpu", quantize=True).precision is None
    True
    """

    device: str = "auto"
    precision: str | None = None
    allow_pickle: bool = False
    quantize: bool = False
    runtime: str | None = None
    max_tokens: int = 8192
    access: Access = field(default_factory=Access)

    @property
    def opening(self) -> dict[str, Any]:
        """Keyword arguments for `pet.inference.ensemble.open_ensemble`."""
        return {name: getattr(self, name) for name in ("allow_pickle", "device", "precision", "access")}


def check_confidence(least: float) -> None:
    """Refuse a confidence that is not a probability."""
    if not 0 <= least <= 1:
        raise PetError(f"--min-confidence is {least}; it must be from 0 to 1")
