"""Import torch and the models of transformers without parts that this package does not use.

``transformers.modeling_utils`` imports torch's compiler, distributed tensors (and with them sympy), accelerate and
scipy's optimizers, which take longer than the rest of it. torch itself imports Python code for tensors without memory.
In the ``pet`` command, which owns its process, they are left out until something asks for them. Programs that import
this package are unaffected.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any, TypeVar

_COMPILER = "torch._dynamo"
_EMPTY_TENSORS = "torch._meta_registrations"  # torch imports it at its end, only for what it registers
# Functions of the compiler that models and optimizers call even if nothing is compiled.
_DECORATORS = {"allow_in_graph", "assume_constant_result", "disable", "forbid_in_graph", "graph_break"}
_SMALL_PART = "torch._dynamo._trace_wrapped_higher_order_op"  # the only part that transformers uses
# What transformers asks before it imports a library for features that are not used here.
_QUESTIONS = ("is_accelerate_available", "is_scipy_available", "is_torch_distributed_available")
_SHARED_OUT = "torch.distributed.tensor"  # tensors of several processes
_ALLOWED: list[bool] = []

T = TypeVar("T")


def allow() -> None:
    """Leave parts out in this process, unless it is one of a group. Call it before torch is imported."""
    if "WORLD_SIZE" in os.environ:
        return
    _ALLOWED.append(True)
    if "torch" not in sys.modules:
        sys.modules[_EMPTY_TENSORS] = _EmptyTensors(_EMPTY_TENSORS)


def import_models() -> None:
    """Import ``transformers.modeling_utils``, if that is allowed, and it and the compiler are not imported yet."""
    import transformers

    wanted = "transformers.modeling_utils"
    if not _ALLOWED or transformers.__version__ < "5" or {_COMPILER, wanted} & set(sys.modules):
        return
    _replace_compiler()
    _list_models_once(transformers)
    with _answering_no(transformers):
        for module in (wanted, "transformers.masking_utils", "transformers.generation.utils"):
            importlib.import_module(module)


def build(make: Callable[[], T]) -> T:
    """Return ``make()``, a model that is built without memory before its weights are loaded.

    If torch's code for that was left out, and the model needs more of it than layers and ranges, it is imported.
    """
    if not isinstance(sys.modules.get(_EMPTY_TENSORS), _EmptyTensors):
        return make()
    try:
        with _without_memory():
            return make()
    except NotImplementedError:
        _import_empty_tensors()
    return make()


@contextmanager
def without_distributed_tensors() -> Iterator[None]:
    """Inside the block, distributed tensors cannot be imported, if that is allowed and they are not imported yet.

    To save a model, huggingface_hub asks of each tensor whether it is one, and sympy comes with the answer. It handles
    versions of torch without them.
    """
    if not _ALLOWED or _SHARED_OUT in sys.modules:
        yield
        return
    sys.modules[_SHARED_OUT] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_SHARED_OUT]


def _without_memory() -> Any:
    """Return a context in which tensors without memory are not filled at random, and ranges are taken from the CPU."""
    import torch
    from torch.overrides import TorchFunctionMode

    random = {torch.Tensor.normal_, torch.Tensor.uniform_}

    class Simply(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            how = dict(kwargs or {})
            if function in random and args[0].is_meta:
                return args[0]
            if function is torch.arange and torch.device(how.get("device") or "cpu").type == "meta":
                return torch.empty_like(torch.arange(*args, **how | {"device": "cpu"}), device="meta")
            return function(*args, **how)

    return Simply()


class _EmptyTensors(ModuleType):
    """Stands in for torch's code for tensors without memory until something uses it. Then it is imported."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_import_empty_tensors(), name)


def _import_empty_tensors() -> ModuleType:
    if isinstance(sys.modules.get(_EMPTY_TENSORS), _EmptyTensors):
        del sys.modules[_EMPTY_TENSORS]
    return importlib.import_module(_EMPTY_TENSORS)


def _list_models_once(transformers: ModuleType) -> None:
    """Import ``transformers.models`` with the list that ``transformers`` has made by reading all files of models."""
    modules, prefix = getattr(transformers, "_import_structure", None), "models."
    if "transformers.models" in sys.modules or not isinstance(modules, dict):
        return
    listed = {name[len(prefix) :]: set(values) for name, values in modules.items() if name.startswith(prefix)}
    place = vars(importlib.import_module("transformers.utils.import_utils"))
    before = place["define_import_structure"]
    place["define_import_structure"] = lambda *_: {frozenset(): listed}
    try:
        importlib.import_module("transformers.models")
    finally:
        place["define_import_structure"] = before


class _Compiler(ModuleType):
    """Stands in for torch's compiler until something other than its decorators is used. Then it is imported."""

    def __getattr__(self, name: str) -> Any:
        if name in _DECORATORS:
            return _unchanged
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        return getattr(_import_compiler(), name)


def _unchanged(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    """A decorator, with or without arguments, that changes nothing."""
    return _unchanged if function is None else function


def _replace_compiler() -> None:
    import torch

    stand_in = _Compiler(_COMPILER)
    sys.modules[_COMPILER] = vars(torch)["_dynamo"] = stand_in
    stand_in.__path__ = [os.path.join(os.path.dirname(torch.__file__), "_dynamo")]
    with suppress(ImportError):  # other versions have no such part
        importlib.import_module(_SMALL_PART)
    del stand_in.__path__


def _import_compiler() -> ModuleType:
    import torch

    _import_empty_tensors()
    if isinstance(sys.modules.get(_COMPILER), _Compiler):
        del sys.modules[_COMPILER], vars(torch)["_dynamo"]
    return importlib.import_module(_COMPILER)


@contextmanager
def _answering_no(transformers: ModuleType) -> Iterator[None]:
    """Answer `_QUESTIONS` with no."""
    places = [vars(importlib.import_module(f"transformers.{name}")) for name in ("utils", "utils.import_utils")]
    before = [(place, name, place[name]) for place in places for name in _QUESTIONS if name in place]
    for place, name, _ in before:
        place[name] = lambda: False
    try:
        yield
    finally:
        for place, name, value in before:
            place[name] = value
