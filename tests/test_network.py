"""The hub without a network."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import datasets
import pytest
from huggingface_hub import constants

import pet.network
from pet.backbones.load import load_config, load_tokenizer
from pet.data.read import read_table
from pet.errors import PetError
from pet.network import cut_off, only_downloaded


def resolver(known: bool) -> Callable[..., Any]:
    def resolve(host: str, *_: Any) -> list[Any]:
        assert host == "huggingface.co"
        if not known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return []

    return resolve


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", resolver(False))
    monkeypatch.setattr(pet.network, "getproxies", dict)


def test_the_hub_cannot_be_reached_if_its_name_is_unknown(monkeypatch: pytest.MonkeyPatch, no_network: None) -> None:
    assert cut_off()
    monkeypatch.setattr(socket, "getaddrinfo", resolver(True))
    assert not cut_off()


def test_a_proxy_may_reach_the_hub(monkeypatch: pytest.MonkeyPatch, no_network: None) -> None:
    monkeypatch.setattr(pet.network, "getproxies", lambda: {"https": "http://proxy:3128"})
    assert not cut_off()


def test_a_user_who_turned_the_hub_off_is_not_asked_for(monkeypatch: pytest.MonkeyPatch, no_network: None) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert not cut_off()


def test_the_libraries_are_offline_only_inside_the_block() -> None:
    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    with pytest.raises(ValueError, match="stop"), only_downloaded():
        assert constants.HF_HUB_OFFLINE and datasets.config.HF_HUB_OFFLINE
        raise ValueError("stop")
    assert before == (constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE)


@pytest.mark.parametrize("load", [load_config, load_tokenizer])
def test_a_model_that_was_not_downloaded_gets_one_message_at_once(load: Callable[[str], Any], no_network: None) -> None:
    with pytest.raises(PetError, match=r"^model somebody/nothing: .*no such folder.*huggingface\.co cannot be reached"):
        load("somebody/nothing")


def test_a_data_set_that_was_not_downloaded_gets_one_message_at_once(no_network: None) -> None:
    with pytest.raises(
        PetError, match=r"^train: hub:somebody/nothing: .*huggingface\.co cannot be reached.*name the file"
    ):
        read_table("hub:somebody/nothing", ["text"], name="train")
