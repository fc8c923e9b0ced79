"""A folder that somebody else filled: a file that lies beside a board is never run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from harness import machine
from harness.execution.supervision import Death, Inbox, Worker

TOY = Path(__file__).parents[1] / "fixtures" / "toy.py"
TINY = ("--dataset", "toy", "--models", "toy-net", "--losses", "bce", "--recipes", "toy", "--seeds", "0")
TRAPS = ("queue.py", "pickle.py", "multiprocessing.py", "numpy.py", "torch.py", "harness/__init__.py")
BETRAY = "open({path!r}, 'a').write(__name__ + ' ')\n"

STARTER = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "import queue"], check=True)
"""
TARGETS = """
import multiprocessing, os, subprocess, sys

def tell_where(connection):
    import harness.results.provenance
    connection.send((harness.__file__, harness.results.provenance.__file__, sys.path))

def start_children(connection):
    subprocess.run([sys.executable, "-c", "import queue"], check=True)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(os.getpid)
"""


@pytest.fixture
def pit(tmp_path, monkeypatch) -> None:
    """A current folder of modules that, when they are imported, leave a file `sprung` beside it."""
    folder = tmp_path / "pit"
    for name in TRAPS:
        trap = folder / name
        trap.parent.mkdir(parents=True, exist_ok=True)
        trap.write_text(BETRAY.format(path=str(tmp_path / "sprung")))
    evil = folder / "evil-1.0.dist-info"
    evil.mkdir()
    (evil / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (evil / "entry_points.txt").write_text("[harness]\nevil = queue\n")
    monkeypatch.chdir(folder)


@pytest.fixture
def targets(tmp_path, monkeypatch) -> Iterator[Any]:
    library = tmp_path / "library"
    library.mkdir()
    (library / "pit_targets.py").write_text(TARGETS)
    monkeypatch.syspath_prepend(library)
    yield __import__("pit_targets")
    del sys.modules["pit_targets"]


def start(target) -> object:
    """What a worker says first, which is its end where it says nothing."""
    inbox: Inbox = SimpleQueue()
    worker = Worker(inbox, target)
    heard = inbox.get(timeout=60)[1]
    worker.join()
    return heard


@pytest.mark.slow
def test_a_run_with_workers_runs_no_file_of_the_current_folder(pit, tmp_path):
    variables = {"HARNESS_PLUGIN": str(TOY), "HARNESS_DEVICE": "cpu", "HARNESS_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            "from harness.cli.main import main; main()",
            "run",
            *TINY,
            "--board",
            "b",
            "--workers",
            "1",
        ],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert not (tmp_path / "sprung").exists()


def test_what_a_plugin_starts_runs_no_file_of_the_current_folder(harness, pit, tmp_path):
    plugin = tmp_path / "starter.py"
    plugin.write_text(STARTER)
    assert harness("plugins", "--plugin", str(plugin))[0] == 0
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("beginning", [[], [""]], ids=["as-installed", "as-in-a-notebook"])
def test_a_worker_runs_its_parents_harness_and_never_the_current_folders(
    pit, tmp_path, targets, monkeypatch, beginning
):
    monkeypatch.setattr(sys, "path", [*beginning, *sys.path])
    root = Path(machine.__file__).parent
    heard = start(targets.tell_where)
    assert heard == (
        str(root / "__init__.py"),
        str(root / "results" / "provenance.py"),
        [entry for entry in sys.path if entry],
    )
    assert not (tmp_path / "sprung").exists()


def test_what_a_worker_starts_runs_no_file_of_the_current_folder_either(pit, tmp_path, targets):
    assert start(targets.start_children) == Death("exit", "the worker process ended with exit code 0", 0)
    assert not (tmp_path / "sprung").exists()
