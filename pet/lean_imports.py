"""Import the models of transformers without parts that this package does not use.

``transformers.modeling_utils`` imports torch's compiler, distributed tensors (and with them sympy), accelerate and
scipy's optimizers, which take longer than the rest of it. In the ``pet`` command, which owns its process, they are left
out until something asks for them. Programs that import this package are unaffected.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo"
# Functions of the compiler that models and optimizers call even if nothing is compiled.
_DECORATORS = {"allow_in_graph", "assume_constant_result", "disable", "forbid_in_graph", "graph_break"}
_SMALL_PART = "torch._dynamo._trace_wrapped_higher_order_op"  # the only part that transformers uses
# What transformers asks before it imports a library for features that are not used here.
_QUESTIONS = ("is_accelerate_available", "is_scipy_available", "is_torch_distributed_available")
_ALLOWED: list[bool] = []


def allow() -> None:
    """Let `import_models` work in this process, unless it is one of a group."""
    if "WORLD_SIZE" not in os.environ:
        _ALLOWED.append(True)


def import_models() -> None:
    """Import ``transformers.modeling_utils``, if that is allowed, and it and the compiler are not imported yet."""
    import transformers

    wanted = "transformers.modeling_utils"
    if not _ALLOWED or transformers.__version__ < "5" or {_COMPILER, wanted} & set(sys.modules):
        return
    _replace_compiler()
    with _answering_no(transformers):
        for module in (wanted, "transformers.masking_utils", "transformers.generation.utils"):
            importlib.import_module(module)


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
