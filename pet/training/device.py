"""Device and precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pet.errors import PetError

if TYPE_CHECKING:
    from accelerate import Accelerator

_CPU_TOKENS = 1024
_MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def make_accelerator(device: str = "auto", precision: str = "auto") -> Accelerator:
    """Set the device and precision of this process.

    Parameters
    ----------
    device : ``auto`` (a GPU if available), ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ...
    precision : ``fp32``, ``bf16``, ``fp16``, or ``auto``: bf16 on a GPU or CPU with native bf16
        arithmetic, else fp32. Weights, optimizer state and losses are always fp32.

    Raises
    ------
    PetError
        If the device does not exist or does not support the precision.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    kind = device.partition(":")[0]
    if device != "auto":
        _check_device(device, kind)
    has_gpu = torch.cuda.is_available() and kind in ("auto", "cuda")
    if precision == "auto":
        native = torch.cuda.is_bf16_supported() if has_gpu else _cpu_has_bf16()
        precision = "bf16" if native and kind in ("auto", "cpu", "cuda") else "fp32"
    if precision not in _MIXED:
        raise PetError(f"unknown precision {precision!r}; choose auto, {', '.join(_MIXED)}")
    if precision == "fp16" and not has_gpu:
        raise PetError("precision fp16 requires a CUDA GPU; use fp32 or bf16")
    AcceleratorState._reset_state(reset_partial_state=True)  # a process may do several runs in sequence
    if kind == "cuda" and ":" in device:
        torch.cuda.set_device(device)
    return Accelerator(cpu=kind == "cpu", mixed_precision=_MIXED[precision])


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
