"""Clusters on this machine, and command lines that submit to them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.execution.claims import Claims
from tests.cluster.slurm import Slurm, why_not

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A SLURM of this process."""
    if reason := why_not():
        pytest.skip(reason)
    cluster = Slurm(tmp_path_factory.mktemp("slurm") / "slurm")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def begin(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a command line in a folder, on CPUs, with toys."""
    variables = {
        "HARNESS_PLUGIN": os.pathsep.join(str(FIXTURES / name) for name in ("toy.py", "slow.py")),
        "HARNESS_CACHE_DIR": str(folder / "cache"),
        "HARNESS_DEVICE": "cpu",
        "HARNESS_TALLY": str(folder / "tally"),
        "HARNESS_PACE": "0.2",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }
    return subprocess.Popen(
        [sys.executable, "-c", "from harness.cli.main import main; main()", *arguments],
        cwd=folder,
        env=os.environ | variables | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def start(tmp_path):
    """Start command lines in the test's folder; whatever still runs is ended."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        started.append(begin(tmp_path, *arguments, **environment))
        return started[-1]

    yield start
    for process in started:
        with process:  # closes what it said
            process.kill()


@pytest.fixture
def finish(start):
    """Run a command line to its end; gives exit code, standard output and standard error."""

    def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
        process = start(*arguments, **environment)
        said, told = process.communicate(timeout=200)
        return process.returncode, said, told

    return run


def wait_until(holds: Callable[[], object], seconds: float = 90) -> None:
    """Wait for something that will be the case."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def find_begun(board: Path) -> dict[str, int]:
    """The jobs that have finished an epoch of the combo that they are at, with their processes."""
    held = [held.about for held in Claims(board).read() if held.about.get("epoch")]
    return {about["job"]: about["process"] for about in held}


def count_batches(folder: Path) -> int:
    """How many batches the slow network was trained on by command lines of a folder, and by their jobs."""
    return (folder / "tally").stat().st_size
