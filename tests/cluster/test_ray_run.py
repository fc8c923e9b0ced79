"""Boards that run on two Ray nodes end as on this machine, bit for bit, whatever dies meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from harness.plugins.ray_executor import open_ray

from harness.execution.claims import Claims
from harness.execution.engines import make_needs
from harness.execution.jobs import JobBook
from harness.execution.order import Order
from harness.execution.remote import run_share
from tests.cluster.ray_nodes import _two_nodes as _two_nodes  # noqa: PLC0414 - a fixture
from tests.cluster.ray_nodes import nodes as nodes  # noqa: PLC0414 - a fixture
from tests.cluster.ray_nodes import wait_for
from tests.conftest import TOY
from tests.execution.conftest import start as start  # noqa: PLC0414 - a fixture
from tests.execution.test_killed import outcome
from tests.tuning.test_survival import await_trials, require_exact
from tests.tuning.test_survival import start as start_search

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.service, pytest.mark.timeout(300)]

LONG = (
    "run", "--dataset", "toy", "--models", "toy-net,tiny-cnn", "--losses", "bce", "--recipes", "toy",
    "--seeds", "0", "--set", "recipe.epochs=100",
)  # fmt: skip


def on_ray(nodes, *options: str) -> list[str]:
    return ["--on", "ray", *(f"--on-option={option}" for option in (f"address={nodes.address}", *options))]


def finish(process):
    """Wait for a command that is to succeed; gives what it said meanwhile."""
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The long board as this machine makes it."""
    folder = tmp_path_factory.mktemp("straight")
    code = "from harness.cli.main import main; main()"
    variables = {"HARNESS_PLUGIN": str(TOY), "HARNESS_CACHE_DIR": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *LONG, "--board", "board", "--device", "cpu"]
    subprocess.run(command, cwd=folder, env=os.environ | variables, check=True, capture_output=True, timeout=240)
    return outcome(folder / "board")


def test_a_worker_a_node_and_the_submitter_die_and_nothing_is_lost(nodes, start, straight, tmp_path):
    board = tmp_path / "board"
    first = start(*LONG, "--board", "board", *on_ray(nodes))
    held = wait_for(lambda: [held for held in Claims(board).read() if held.about.get("epoch")], 120)
    first.kill()
    os.kill(held[0].about["process"], signal.SIGKILL)
    nodes.lose_second()
    again = start(*LONG, "--board", "board", *on_ray(nodes), "--json")
    nodes.restore()
    printed, said = again.communicate(timeout=240)
    assert again.returncode == 0, said
    assert "found" in said
    assert len(json.loads(printed)["rows"]) == 2, "what Ray says of the lost node is not among it"
    assert outcome(board) == straight
    assert len(JobBook(board).read()) == 2, "the jobs were found again, not submitted again"
    assert Claims(board).read() == ()


@pytest.mark.exhaustive
def test_without_a_shared_folder_results_wait_for_a_submitter_that_was_killed(nodes, start, straight, tmp_path):
    board, plugin = tmp_path / "board", tmp_path / "toy.py"
    shutil.copy(TOY, plugin)
    command = (*LONG, "--board", "board", *on_ray(nodes, "shared=false"), "--jobs", "2")
    first = start(*command, HARNESS_PLUGIN=str(plugin))
    notes = wait_for(lambda: len(notes := [note for note in JobBook(board).read() if note.job]) == 2 and notes, 120)
    first.kill()
    plugin.unlink()
    engine = open_ray(make_needs(board, "ray", workers=2, gpus=0, seconds=None), address=nodes.address)
    jobs = [engine.find(note.job) for note in notes]
    wait_for(lambda: all(job.done() for job in jobs), 200)
    engine.close()
    del jobs[:], engine
    assert not list((board / "records").glob("*.json")), "no node sees the board's folder"
    assert all((nodes.own(number) / "cache").is_dir() for number in (0, 1)), "each has a cache of its own"
    shutil.copy(TOY, plugin)
    finish(start(*command, HARNESS_PLUGIN=str(plugin)))
    assert outcome(board) == straight
    assert [note.ended for note in JobBook(board).read()] == ["done"] * 2


def test_what_would_give_another_result_there_is_refused_by_name(nodes, tmp_path):
    order = Order(task={}, board=str(tmp_path), token=None, data_root=str(tmp_path), cache=None)
    orders = {
        "harness 0": replace(order, versions={**order.versions, "harness": "0.0.1"}),
        "plugin ghost_nets is not installed": replace(order, installed={"ghost_nets": "0"}),
        "is not the board's folder": replace(order, token="0"),
    }
    engine = open_ray(make_needs(tmp_path, "ray", workers=2, gpus=0, seconds=None), address=nodes.address)
    jobs = [engine.submit(run_share, order.write("a-job")) for order in orders.values()]
    for job, named in zip(jobs, orders, strict=True):
        told = json.loads(json.dumps(job.result(timeout=120)))
        assert told["outcome"] == "refused"
        assert named in told["message"]
    engine.close()


@pytest.mark.exhaustive
def test_a_search_has_its_total_of_trials_although_a_worker_is_killed(nodes, tmp_path):
    search = start_search(tmp_path, "--trials", "6", "--jobs", "2", *on_ray(nodes))
    await_trials(tmp_path, 1)
    leases = (tmp_path / "b" / "runs" / "jobs").glob("*.lease")
    os.kill(json.loads(next(leases).read_text().partition("\n")[2])["process"], signal.SIGKILL)
    assert search.wait(250) == 0, (tmp_path / "log").read_text()
    require_exact(tmp_path, 6)
