"""Change state that all code in a process shares, and restore it afterward.

Random generators, warning filters, and the settings of libraries belong to the program that uses this package. Code
that has to change them does so in a block of this module, which restores them and lets one thread in at a time.
"""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from pet.lean_imports import import_models

import_models()


class Lock:
    """A reentrant lock that is free in copies, in unpickled objects, and in forked processes.

    Examples
    --------
    >>> import pickle
    >>> with Lock() as lock:
    ...     copy = pickle.loads(pickle.dumps(lock))
    >>> isinstance(copy, Lock)
    True
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locks.add(self)

    def __enter__(self) -> Lock:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[Any, ...]:
        return (Lock, ())

    def free(self) -> None:
        """Forget who holds the lock: in a forked process, that thread does not exist."""
        self._lock = threading.RLock()


_locks: weakref.WeakSet[Lock] = weakref.WeakSet()
_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True
    for lock in list(_locks):
        lock.free()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

BORROWED = Lock()  # held by the thread that has changed something
_CPU = torch.device("cpu")


def use_one_thread_if_forked() -> None:
    """Compute with one thread in a process that was forked, as the workers of many web servers are.

    OpenMP does not survive a fork: torch would wait forever for threads that only the parent has.
    """
    if _forked and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


@contextmanager
def seeded(seed: int, device: torch.device = _CPU) -> Iterator[None]:
    """Seed torch's generators inside the block, and restore their states afterward.

    Dropout draws from these generators, so other threads wait at the start of such a block until it is free.

    Parameters
    ----------
    seed : the seed
    device : device whose generator is seeded, in addition to that of the CPU

    Examples
    --------
    >>> before = torch.get_rng_state()
    >>> with seeded(1):
    ...     drawn = torch.rand(3)
    >>> bool((torch.get_rng_state() == before).all())
    True
    """
    with BORROWED:
        generators = _generators(device)
        states = [generator.get_state() for generator in generators]
        try:
            reseed(seed, device)
            yield
        finally:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)


def reseed(seed: int, device: torch.device = _CPU) -> None:
    """Seed the generators again, inside a block of `seeded`."""
    for generator in _generators(device):
        generator.manual_seed(seed)


def _generators(device: torch.device) -> list[torch.Generator]:
    """Return the generators of the CPU and of a device."""
    generators = [torch.default_generator]
    if device.type in ("cuda", "xpu"):
        module = torch.get_device_module(device.type)
        module.init()
        index = module.current_device() if device.index is None else device.index
        generators.append(module.default_generators[index])
    elif device.type == "mps":
        generators.append(torch.mps._get_default_mps_generator())
    return generators


@contextmanager
def without_messages() -> Iterator[None]:
    """Disable the warnings and progress bars of transformers inside the block; callers check what matters."""
    logging = transformers.utils.logging
    with without_progress_bars():
        level = logging.get_verbosity()
        logging.set_verbosity_error()
        try:
            yield
        finally:
            logging.set_verbosity(level)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silence Python's warnings inside the block; callers check what matters."""
    with BORROWED, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Silence warnings and progress bars of transformers and its hub client inside the block."""
    logging = transformers.utils.logging
    with without_warnings():
        shown, hub_shown = logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            if shown:
                logging.enable_progress_bar()
            (enable_progress_bars if hub_shown else disable_progress_bars)()


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables inside the block, for libraries that read them when they are called."""
    with BORROWED:
        before = {name: os.environ.get(name) for name in values}
        os.environ.update(values)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
