"""Runs as a user starts them: in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def start(tmp_path):
    """Start a command line in the test's folder, on a CPU, with toys and faults; whatever still runs is ended."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        variables = {
            "HARNESS_PLUGIN": os.pathsep.join(str(FIXTURES / name) for name in ("toy.py", "faults.py")),
            "HARNESS_CACHE_DIR": str(tmp_path / "cache"),
            "HARNESS_DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        process = subprocess.Popen(
            [sys.executable, "-c", "from harness.cli.main import main; main()", *arguments],
            cwd=tmp_path,
            env=os.environ | variables | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        with process:  # closes what it said
            process.kill()


def wait_until(holds: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something that will be the case."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


@pytest.fixture(name="wait_until")
def _wait_until():
    return wait_until
