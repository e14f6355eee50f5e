"""Device and precision."""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from pet.errors import PetError
from pet.process import use_one_thread_if_forked

_CPU_TOKENS = 1536
_MIXED = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Accelerator:
    """Where to compute, and in which precision.

    Unlike the class of the same name in the accelerate library, it is a plain value: making one changes nothing in the
    process, and any number of them can be used at the same time.

    Attributes
    ----------
    device : the device
    precision : ``fp32``, ``bf16`` or ``fp16``: dtype of matrix products. Weights, optimizer state and losses are fp32.

    Examples
    --------
    >>> accelerator = Accelerator(torch.device("cpu"), "bf16")
    >>> with accelerator.autocast():
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.bfloat16
    """

    device: torch.device
    precision: str = "fp32"

    def autocast(self) -> AbstractContextManager[object]:
        """Compute in this precision inside the block."""
        dtype = _MIXED[self.precision]
        return nullcontext() if dtype is None else torch.autocast(self.device.type, dtype)

    def loss_scaler(self) -> torch.amp.GradScaler:
        """Return a loss scaler, which keeps small gradients from vanishing in fp16. Otherwise it does nothing."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")


def make_accelerator(device: str = "auto", precision: str = "auto") -> Accelerator:
    """Choose a device and a precision.

    Parameters
    ----------
    device : ``auto`` (a GPU if available), ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ...
    precision : ``fp32``, ``bf16``, ``fp16``, or ``auto``: bf16 on a GPU or CPU with native bf16
        arithmetic, else fp32. Weights, optimizer state and losses are always fp32.

    Raises
    ------
    PetError
        If the device does not exist or does not support the precision.

    Examples
    --------
    >>> make_accelerator("cpu", "fp32")
    Accelerator(device=device(type='cpu'), precision='fp32')
    """
    use_one_thread_if_forked()
    kind = device.partition(":")[0]
    if device != "auto":
        _check_device(device, kind)
    has_gpu = torch.cuda.is_available() and kind in ("auto", "cuda")
    if precision == "auto":
        native = torch.cuda.is_bf16_supported(including_emulation=False) if has_gpu else _cpu_has_bf16()
        precision = "bf16" if native and kind in ("auto", "cpu", "cuda") else "fp32"
    if precision not in _MIXED:
        raise PetError(f"unknown precision {precision!r}; choose auto, {', '.join(_MIXED)}")
    if precision == "fp16" and not has_gpu:
        raise PetError("precision fp16 requires a CUDA GPU; use fp32 or bf16")
    return Accelerator(_best_device() if device == "auto" else torch.device(device), precision)


def _best_device() -> torch.device:
    """Return the fastest device of this machine."""
    if torch.backends.mps.is_available():
        return torch.device("mps")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        return torch.device("xpu")
    return torch.device("cpu")


def free_memory(device: torch.device) -> None:
    """Return unused memory to the device."""
    gc.collect()
    if device.type != "cpu":
        torch.get_device_module(device.type).empty_cache()


def batch_tokens(max_tokens: int, device: torch.device) -> int:
    """Return the token budget of inference batches. On a CPU, the hidden states of a batch should fit its caches."""
    return min(max_tokens, _CPU_TOKENS) if device.type == "cpu" else max_tokens


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies matrices faster in bf16 than in fp32 (AVX512-BF16 or AMX)."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


def _check_device(device: str, kind: str) -> None:
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PetError(f"device {device} is not usable on this machine ({reason[:200]}); try --device cpu") from error
    if kind not in ("cpu", "cuda", "mps", "xpu"):
        raise PetError(f"device {device} is not supported; use auto, cpu, cuda, cuda:N, mps or xpu")
