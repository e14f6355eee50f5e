"""A limit on the size of a model while it is built.

A few bytes of configuration can ask for ten million layers. The weights show how large the model can really be.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from pet.backbones.folder import Weights
from pet.errors import PetError

_SLACK = 10_000_000  # parameters not in the weights: new heads, position embeddings, a second tied embedding
_TENSORS = 5_000  # these take seconds to build, whatever the weights say
_UNKNOWN = 100_000  # tensors if the weights are unknown: mixtures of experts have that many


@contextmanager
def limited_size(name: str, weights: Weights | None) -> Iterator[None]:
    """Stop building a model that is much larger than its weights.

    A weight has at least half a byte, so numbers are limited to twice the number of bytes.

    Parameters
    ----------
    name : the model, for messages
    weights : size of the weights; None if unknown, as those of a hub model

    Raises
    ------
    PetError
        In the block, when the model is larger.
    """
    tensors = _TENSORS + 8 * weights.tensors if weights is not None and weights.tensors else _UNKNOWN
    numbers = None if weights is None else 2 * weights.bytes + _SLACK
    thread, seen, size = threading.get_ident(), set[tuple[int, str]](), 0

    def count(module: nn.Module, key: str, parameter: Tensor | None) -> None:
        nonlocal size
        if parameter is None or (id(module), key) in seen or threading.get_ident() != thread:
            return
        seen.add((id(module), key))
        size += parameter.numel()
        if len(seen) > tensors or (numbers is not None and size > numbers):
            raise PetError(
                f"model {name}: config.json describes a much larger model than the weights; the two do not belong "
                "together, or config.json is damaged: download it again"
            )

    handle = register_module_parameter_registration_hook(count)  # type: ignore[arg-type]
    try:
        yield
    finally:
        handle.remove()
