"""Turn a model into an engine: write its graph to a temporary file, quantize it if asked, and open it."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from torch import Tensor

from pet.errors import PetError
from pet.extras import install_command, is_installed
from pet.process import without_warnings
from pet.runtimes.engines import ONNX, Engine, open_engine
from pet.runtimes.graph import Graph, write_graph
from pet.runtimes.int8 import quantize_graph
from pet.store.temporary import Scratch

ROUNDS = 3


def build_engine(
    graph: Graph, runtime: str, precision: str, name: str, batches: Iterable[tuple[Tensor, ...]] | None = None
) -> Engine:
    """Return an engine that computes a graph.

    Parameters
    ----------
    graph : the graph; it is changed if it is quantized
    runtime : ``onnx`` or ``openvino``
    precision : ``fp32`` or ``bf16``
    name : name of the model in messages
    batches : inputs of the graph from typical texts, to compute in int8; ONNX Runtime measures scales as it runs

    Raises
    ------
    PetError
        If the runtime is missing or cannot run the model.
    """
    with Scratch() as folder:
        path = folder / "model.onnx"
        if batches is not None and runtime != ONNX:
            quantize_graph(graph, batches, name)
        write_graph(graph, path, name)
        if batches is not None and runtime == ONNX:
            path = quantize_file(path, folder / "model_quantized.onnx")
        return open_engine(runtime, path, precision, int8=batches is not None)


def quantize_file(path: Path, target: Path) -> Path:
    """Write an ONNX file with int8 weights, whose inputs ONNX Runtime quantizes as it runs; return `target`.

    Raises
    ------
    PetError
        If ONNX Runtime is not installed.
    """
    if not is_installed("onnxruntime"):
        raise PetError(f"int8 for ONNX requires the package onnxruntime; install it with: {install_command('onnx')}")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it advises to run a tool that changes nothing here
    try:
        with without_warnings():
            quantize_dynamic(str(path), str(target), per_channel=True, weight_type=QuantType.QInt8)
    finally:
        logging.root.setLevel(level)
    return target


def medians(
    work: Mapping[str, Callable[[], object]], clock: Callable[[], float] = time.process_time
) -> dict[str, float]:
    """Return the median seconds of each function: of three calls, by turns, after one more that warms up.

    CPU time is measured, so that other work on the machine decides nothing.
    """
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS + 1):
        for name, do in work.items():
            begun = clock()
            do()
            seconds[name].append(clock() - begun)
    return {name: statistics.median(found[1:]) for name, found in seconds.items()}


def fastest(candidates: Mapping[str, Callable[[], object]], clock: Callable[[], float] = time.process_time) -> str:
    """Return the name of the function with the smallest of `medians`."""
    seconds = medians(candidates, clock)
    return min(seconds, key=lambda name: seconds[name])
