"""Models and data sets of the hub where there is no network: only those that were downloaded before.

The hub's client asks for half a minute for each file before it says that the hub cannot be reached.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants

from pet.process import BORROWED


def hub_host() -> str:
    """Return the host of the hub."""
    return urlsplit(constants.ENDPOINT).hostname or constants.ENDPOINT


def cut_off() -> bool:
    """Return True if the hub's address is unknown here, as it is without a network. A proxy may know it."""
    if constants.HF_HUB_OFFLINE or getproxies():
        return False
    try:
        socket.getaddrinfo(hub_host(), None)
    except OSError:
        return True
    return False


@contextmanager
def cached_if_cut_off(name_is_of_hub: bool = True) -> Iterator[bool]:
    """Find only downloaded files inside the block if the hub cannot be reached; the value is True in this case."""
    alone = name_is_of_hub and cut_off()
    with only_downloaded() if alone else nullcontext():
        yield alone


@contextmanager
def only_downloaded() -> Iterator[None]:
    """Find only files that were downloaded before, inside the block."""
    import datasets.config

    with BORROWED:
        places: tuple[Any, ...] = (constants, datasets.config)
        before = [place.HF_HUB_OFFLINE for place in places]
        try:
            for place in places:
                place.HF_HUB_OFFLINE = True
            yield
        finally:
            for place, value in zip(places, before, strict=True):
                place.HF_HUB_OFFLINE = value
