"""Processes that train together: how they find each other, and what is said if they cannot."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import pet as package
from pet.errors import PetError
from pet.training.group import in_a_group, join_group

VARIABLES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# A member of a group that prints where it listens.
MEMBER = """
import json, os, psutil
from pet.training.group import join_group
before = dict(os.environ)
group = join_group()
listens = [c.laddr for c in psutil.Process().net_connections("inet") if c.status == "LISTEN"]
group.share({})
print(json.dumps({"rank": group.rank, "listens": listens, "unchanged": before == dict(os.environ)}))
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "left",
    [{}, {"LOCAL_RANK": "0"}, {"RANK": "3", "LOCAL_RANK": "3"}, {"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": ""}],
    ids=str,
)
def test_variables_of_other_programs_do_not_make_a_group(monkeypatch: pytest.MonkeyPatch, left: dict[str, str]):
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    assert not in_a_group()


@pytest.mark.parametrize(
    ("left", "named"),
    [
        ({"WORLD_SIZE": "2"}, "RANK and MASTER_ADDR and MASTER_PORT"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "MASTER_ADDR and MASTER_PORT"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'"),
    ],
)
def test_an_incomplete_group_is_named_with_the_cure(monkeypatch: pytest.MonkeyPatch, left: dict[str, str], named: str):
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PetError, match=f"{named}.*unset.*WORLD_SIZE"):
        in_a_group()


def test_a_group_that_does_not_appear_is_an_error(monkeypatch: pytest.MonkeyPatch):
    from pet.training import group

    monkeypatch.setattr(group, "_START", group.timedelta(seconds=1))
    for name, value in {**_address(), "WORLD_SIZE": "2", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PetError, match=r"cannot reach the other 1 processes.*torchrun.*unset"):
        join_group()


@pytest.mark.skipif(os.name == "nt", reason="interfaces have other names")
def test_processes_on_one_machine_talk_through_its_loopback_interface():
    pytest.importorskip("psutil")
    address = _address()
    environments = [
        {**os.environ, **address, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank}
        for rank in "01"
    ]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", MEMBER],
            env=environment,
            cwd=Path(package.__file__).parents[1],
            stdout=subprocess.PIPE,
            text=True,
        )
        for environment in environments
    ]
    told = [json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in started]
    store = int(address["MASTER_PORT"])  # torch opens it on all interfaces; the documentation says so
    for one in told:
        assert one["unchanged"]
        hosts = {host for host, port in one["listens"] if port != store}
        assert hosts <= {"127.0.0.1", "::1"}, one
    assert any(port != store for one in told for _, port in one["listens"])


def _address() -> dict[str, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
