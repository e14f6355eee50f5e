"""A cluster that the package starts can be reached from this machine only."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pet as package

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytest.importorskip("psutil")

# Starts a cluster and a worker, prints where every process of it listens, and what has changed afterward.
PROGRAM = """
import json, os, sys
import psutil, ray
from pet.progress import Reporter
from pet.run.execution.cluster import Cluster
before, out = dict(os.environ), sys.stdout
cluster = Cluster()
cluster.connect(Reporter("plain"))
ray.get(ray.remote(num_cpus=1)(lambda: os.getpid()).remote())
print("said by a library")
me = psutil.Process()
listens, usage = [], os.environ["RAY_USAGE_STATS_ENABLED"]
for process in [me, *me.children(recursive=True)]:
    try:
        listens += [(process.name(), c.laddr.ip) for c in process.net_connections("inet") if c.status == "LISTEN"]
    except psutil.Error:
        pass
cluster.close()
changed = sorted({*before.items()} ^ {*os.environ.items()})
print(json.dumps([listens, usage, changed, out is sys.stdout]))
"""


@pytest.mark.timeout(600)
def test_a_new_cluster_listens_on_the_loopback_interface_only():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        cwd=Path(package.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    listens, usage, changed, output_kept = json.loads(done.stdout)  # nothing else is on standard output
    assert {name for name, _ in listens} >= {"gcs_server", "raylet"}
    addresses = {ipaddress.ip_address(ip.removeprefix("::ffff:")) for _, ip in listens}
    assert all(address.is_loopback for address in addresses), listens
    assert usage == "0" and output_kept
    assert changed == []
    assert "open on all network interfaces" not in done.stderr
