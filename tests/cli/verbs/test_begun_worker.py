"""The worker process that a command starts ahead of its order does the work, or ends with the command."""

from __future__ import annotations

import os

import psutil
import pytest

from harness.execution.supervision import Apprentice
from harness.results.store import read_records


@pytest.fixture
def begun(monkeypatch) -> list[Apprentice]:
    """Processes that were started ahead of their order."""
    monkeypatch.setenv("HARNESS_WORKERS", "1")
    monkeypatch.setattr("harness.machine.count_processors", lambda: 2)
    found: list[Apprentice] = []
    start = Apprentice.__init__

    def note(self, modules=()):
        start(self, modules)
        if modules:
            found.append(self)

    monkeypatch.setattr(Apprentice, "__init__", note)
    return found


def board_of(*more: str) -> tuple[str, ...]:
    return ("--dataset", "toy", "--models", "toy-net", "--losses", "bce", "--recipes", "toy", *more)


def test_it_runs_the_board_s_combos(harness, begun, tmp_path):
    code, _, err = harness("run", *board_of("--board", "b", "--seeds", "0"))
    assert code == 0, err
    (apprentice,) = begun
    assert apprentice.is_worker
    assert read_records(tmp_path / "b").records[0].status == "done"
    assert apprentice.process.pid != os.getpid()
    assert not psutil.pid_exists(apprentice.process.pid)


@pytest.mark.parametrize("verb", ["run", "tune"])
def test_it_ends_with_a_command_that_is_refused(harness, begun, verb):
    assert harness(verb, *board_of("--board", "b", "--set", "recipe.lr=0"))[0] == 2
    (apprentice,) = begun
    assert not apprentice.is_worker
    assert not psutil.pid_exists(apprentice.process.pid)


def test_there_is_none_where_it_would_share_its_processor(harness, begun, monkeypatch):
    monkeypatch.setattr("harness.machine.count_processors", lambda: 1)
    assert harness("run", *board_of("--board", "b", "--set", "recipe.lr=0"))[0] == 2
    assert begun == []
