"""Where and how precisely to compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pet.errors import PetError

if TYPE_CHECKING:
    from accelerate import Accelerator

_PROCESSOR_TOKENS = 1024
_MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def make_accelerator(device: str = "auto", precision: str = "auto") -> Accelerator:
    """The device and the precision of this process.

    Parameters
    ----------
    device : ``auto`` (an accelerator where there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ...
    precision : ``fp32``, ``bf16``, ``fp16``, or ``auto``: bf16 on a GPU or a processor that multiplies
        in it, else fp32. Weights, optimizer and losses stay in fp32 in any case.

    Raises
    ------
    PetError
        If there is no such device or it cannot compute so.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    kind = device.partition(":")[0]
    if device != "auto":
        _check_device(device, kind)
    has_gpu = torch.cuda.is_available() and kind in ("auto", "cuda")
    if precision == "auto":
        native = torch.cuda.is_bf16_supported() if has_gpu else _processor_has_bf16()
        precision = "bf16" if native and kind in ("auto", "cpu", "cuda") else "fp32"
    if precision not in _MIXED:
        raise PetError(f"precision {precision!r} is not known; there are auto, {', '.join(_MIXED)}")
    if precision == "fp16" and not has_gpu:
        raise PetError("precision fp16 needs a CUDA GPU; use fp32 or bf16")
    AcceleratorState._reset_state(reset_partial_state=True)  # one process may run several jobs in turn
    if kind == "cuda" and ":" in device:
        torch.cuda.set_device(device)
    return Accelerator(cpu=kind == "cpu", mixed_precision=_MIXED[precision])


def batch_tokens(max_tokens: int, device: torch.device) -> int:
    """Tokens in a batch that is only read: on a processor, no more than its caches hold the hidden states of."""
    return min(max_tokens, _PROCESSOR_TOKENS) if device.type == "cpu" else max_tokens


def _processor_has_bf16() -> bool:
    """Whether matrix products in bf16 are faster than in fp32 here: AVX512-BF16 or AMX."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


def _check_device(device: str, kind: str) -> None:
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PetError(f"device {device}: not usable here ({reason[:200]}); try --device cpu") from error
    if kind not in ("cpu", "cuda", "mps", "xpu"):
        raise PetError(f"device {device}: use auto, cpu, cuda, cuda:N, mps or xpu")
