"""The executor that CONTRIBUTING.md shows, of a cluster that the harness does not know, does what is said there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from harness.results.store import read_records
from tests.conftest import TOY
from tests.execution.conftest import start as start  # noqa: PLC0414 - a fixture

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.service, pytest.mark.timeout(400)]

SECTION = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text().partition("## An executor in one file")[2]
SHOWN = "tcp://10.0.0.1:8786"
SMALL = (
    "run", "--dataset", "toy", "--models", "toy-net,tiny-cnn", "--losses", "bce", "--recipes", "toy", "--seeds", "0",
)  # fmt: skip


@pytest.fixture(scope="module")
def scheduler():
    """A Dask cluster of two workers."""
    from dask.distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=None) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def plugin(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", SECTION, flags=re.DOTALL)
    assert len(code.splitlines()) <= 40
    (tmp_path / "dask_executor.py").write_text(code)
    return "dask_executor.py"


@pytest.mark.exhaustive
def test_the_executor_of_the_document_passes_the_check(plugin, scheduler, start):
    command = shlex.split(next(line for line in SECTION.splitlines() if line.startswith("harness check")))
    checked = start(*(word.replace(SHOWN, scheduler) for word in command[1:]), "--device", "cpu")
    said, errors = checked.communicate(timeout=380)
    assert checked.returncode == 0, said + errors


def test_it_runs_a_board(plugin, scheduler, start, tmp_path):
    where = ("--on", "dask", "--on-option", f"address={scheduler}", "--plugin", plugin, "--plugin", str(TOY))
    run = start(*SMALL, "--board", "board", *where)
    _, said = run.communicate(timeout=200)
    assert run.returncode == 0, said
    assert "submitted 2 jobs to dask" in said
    assert [record.status for record in read_records(tmp_path / "board").records] == ["done", "done"]
