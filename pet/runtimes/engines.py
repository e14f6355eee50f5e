"""Engines that run an ONNX graph: ONNX Runtime and OpenVINO."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pet.errors import PetError
from pet.extras import install_command, is_installed
from pet.shortage import shortage
from pet.training.device import make_accelerator

Array = NDArray[Any]
Run = Callable[[dict[str, Array]], list[Array]]
ONNX, OPENVINO, TORCH, AUTO = "onnx", "openvino", "torch", "auto"
RUNTIMES = (AUTO, TORCH, ONNX, OPENVINO)
_MODULES = {ONNX: "onnxruntime", OPENVINO: "openvino"}
_TYPES = {"fp32": "f32", "bf16": "bf16"}


@dataclass(frozen=True)
class Engine:
    """A graph that is ready to run.

    Attributes
    ----------
    runtime : ``onnx`` or ``openvino``
    precision : ``fp32``, ``bf16`` or ``int8``
    run : computes the outputs of named inputs
    place : the file, for messages
    inputs : names of the inputs
    """

    runtime: str
    precision: str
    run: Run = field(repr=False)
    inputs: tuple[str, ...] = ()
    place: str = ""

    def __call__(self, values: Mapping[str, Array]) -> Array:
        """Return the first output, float32; inputs that the graph does not have are ignored."""
        return self.outputs(values)[0]

    def outputs(self, values: Mapping[str, Array]) -> list[Array]:
        """Return all outputs.

        Raises
        ------
        PetError
            If the graph cannot compute these inputs, because its file does not belong to the tokenizer beside it.
        """
        missing = [name for name in self.inputs if name not in values]
        if missing:
            raise PetError(f"{self.place}: has an input {missing[0]!r}, which is unknown; export the model again")
        try:
            return self.run({name: np.ascontiguousarray(values[name]) for name in self.inputs})
        except Exception as error:  # both libraries have errors of their own
            if isinstance(error, MemoryError) or shortage(error) is not None:
                raise
            reason = " ".join(str(error).split())[:300]
            raise PetError(f"{self.place}: {describe(self.runtime)} cannot compute it ({reason})") from error

    def __str__(self) -> str:
        return f"{describe(self.runtime)}, {self.precision}"


def installed_runtimes() -> list[str]:
    """Return the runtimes other than torch that can be used here, the usually fastest one first."""
    return [name for name in (OPENVINO, ONNX) if is_installed(_MODULES[name])]


def describe(runtime: str) -> str:
    """Return the name and version of a runtime, such as ``openvino 2026.4.1``."""
    return f"{runtime} {metadata.version(_MODULES.get(runtime, runtime))}"


def check_runtime(runtime: str) -> None:
    """Check that a runtime is installed; PetError with the command that installs it."""
    module = _MODULES.get(runtime)
    if module is not None and not is_installed(module):
        raise PetError(
            f"--runtime {runtime} requires the package {module}; install it with: {install_command(runtime)}"
        )


def runtime_of_export(folder: Path, runtime: str | None, device: str, instead: str) -> str:
    """Return what runs a folder of `pet export`, which has no weights for torch.

    Parameters
    ----------
    folder : for messages
    runtime : ``onnx``, ``openvino``, or None or ``auto``: the usually fastest one that is installed
    device : ``auto`` or ``cpu``
    instead : what torch can open, for the message

    Raises
    ------
    PetError
        If that is not possible.
    """
    if runtime == TORCH:
        raise PetError(f"{folder}: has no weights for torch; use --runtime onnx or openvino, or {instead}")
    if device not in (AUTO, "cpu"):
        raise PetError(f"{folder}: runs on a CPU; leave out --device {device}, or {instead}")
    names = installed_runtimes() if runtime in (None, AUTO) else [str(runtime)]
    if not names:
        raise PetError(
            f"{folder}: ONNX files require ONNX Runtime or OpenVINO; install one with: {install_command('onnx')}"
        )
    check_runtime(names[0])
    return names[0]


def open_engine(runtime: str, path: Path, precision: str = "fp32", *, int8: bool = False) -> Engine:
    """Open an ONNX file.

    Parameters
    ----------
    runtime : ``onnx`` or ``openvino``
    path : the file
    precision : ``fp32``, or ``bf16`` with OpenVINO; ``auto``: the fastest of these on this CPU
    int8 : the graph is quantized; this only affects what is reported

    Raises
    ------
    PetError
        If the runtime is not installed, cannot read the file, or cannot compute in this precision.
    """
    check_runtime(runtime)
    if precision == AUTO:
        precision = "fp32" if runtime == ONNX else make_accelerator("cpu", AUTO).precision
    if precision not in _TYPES or (precision == "bf16" and runtime == ONNX):
        raise PetError(f"--runtime {runtime} cannot compute in {precision}; use --precision fp32, or another runtime")
    threads = torch.get_num_threads()
    try:
        run, inputs = (_openvino if runtime == OPENVINO else _onnx)(path, precision, threads)
    except Exception as error:  # both libraries have errors of their own for each kind of damage
        if isinstance(error, (PetError, MemoryError)):
            raise
        reason = " ".join(str(error).split())[:300]
        raise PetError(f"{path}: {describe(runtime)} cannot open it ({reason}); export the model again") from error
    return Engine(runtime, "int8" if int8 else precision, run, inputs, str(path))


def _onnx(path: Path, precision: str, threads: int) -> tuple[Run, tuple[str, ...]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda values: session.run(None, values), tuple(put.name for put in session.get_inputs())


def _openvino(path: Path, precision: str, threads: int) -> tuple[Run, tuple[str, ...]]:
    import openvino

    options = {
        "INFERENCE_PRECISION_HINT": _TYPES[precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(str(path)), "CPU", options)
    request, outputs = compiled.create_infer_request(), compiled.outputs

    def run(values: dict[str, Array]) -> list[Array]:
        found = request.infer(values, share_inputs=True)
        return [np.array(found[output], dtype=np.float32) for output in outputs]

    return run, tuple(put.get_any_name() for put in compiled.inputs)
