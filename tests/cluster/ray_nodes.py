"""A real Ray cluster of two nodes on this machine, by loopback addresses, with folders of their own."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

HOSTS = ("127.0.0.2", "127.0.0.3")
LIMITS = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False, "resources": {"slot": 4}}
FAST = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 1000, "health_check_failure_threshold": 3}
"""How soon the head takes a node for lost; its own limits are about 20 seconds."""


class Nodes:
    """A head and a second node, each with room for one worker."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.folder = folder
        self.cluster = Cluster(initialize_head=True, head_node_args=self._describe(0) | {"_system_config": FAST})
        self.address: str = self.cluster.address
        self.second = self._add()

    def own(self, number: int) -> Path:
        """The folder that only one node knows: its data root and its cache are there."""
        return self.folder / f"node{number}"

    def lose_second(self) -> None:
        """Kill the second node's own process and its workers at once, as a machine ends that is switched off."""
        raylet = psutil.Process(self._find_raylet().pid)
        for process in (raylet, *raylet.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def restore(self) -> None:
        """Have two nodes again."""
        if self._find_raylet().poll() is not None:
            self.cluster.remove_node(self.second, allow_graceful=False)
            self.second = self._add()

    def _find_raylet(self) -> Any:
        return self.second.all_processes["raylet"][0].process

    def _add(self) -> Any:
        return self.cluster.add_node(**self._describe(1))

    def _describe(self, number: int) -> dict[str, Any]:
        own = self.own(number)
        variables = {"HARNESS_DATA_ROOT": str(own / "data"), "HARNESS_CACHE_DIR": str(own / "cache")}
        return LIMITS | {"node_ip_address": HOSTS[number], "env_vars": variables}


@pytest.fixture(scope="session")
def _two_nodes(tmp_path_factory) -> Iterator[Nodes]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Nodes(tmp_path_factory.mktemp("nodes"))
    yield made
    made.cluster.shutdown()


@pytest.fixture
def nodes(_two_nodes):
    """Two nodes, both alive."""
    _two_nodes.restore()
    return _two_nodes


def wait_for(what, seconds: float = 60.0) -> Any:
    """Wait until `what()` is true; gives it."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"waited for {seconds} s"
        time.sleep(0.05)
    return found
