"""Boards and searches on a real SLURM end as on one machine, whatever befalls their jobs.

They are one file, so that one process runs them all and starts one SLURM.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from harness.plugins.slurm_executor import open_engine
from harness.plugins.slurm_executor.jobs import SlurmError

from harness import Needs
from harness.board import read_board
from harness.execution.jobs import JobBook
from harness.execution.rescore import rescore
from harness.registry import load_registry
from harness.results.store import read_records
from tests.cluster.conftest import begin, count_batches, find_begun, wait_until
from tests.conftest import TOY
from tests.tuning.test_survival import await_trials, require_exact
from tests.tuning.test_survival import start as start_search

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.service, pytest.mark.timeout(300)]

DOCUMENT = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text()
SECTION = DOCUMENT.partition("\n## SLURM\n")[2].partition("\n## ")[0]
LINES = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)[0].splitlines()
LIGHTER = shlex.split(
    "--seeds 0 --only tiny-cnn--* --option train=48 --option val=60 --option test=120 --set recipe.epochs=1"
)
ON = ("--on", "slurm", "--device", "cpu", "--on-option", "poll=1", "--on-option", "memory=1G")
SLOW = (
    "run", "--dataset", "toy", "--models", "slow-net", "--losses", "bce,focal", "--recipes", "toy", "--seeds", "0",
    "--set", "recipe.epochs=12", "--board", "board",
)  # fmt: skip
BATCHES, EPOCHS = 3, 24
"""Of an epoch, and of both combos of that board."""


def list_outcomes(board):
    """All that is to be the same, to the last digit."""
    found = {}
    for record in read_records(board).records:
        assert record.training is not None, record.failure
        training = record.training.model_dump(exclude={"history": {"__all__": {"seconds"}}})
        found[record.combo.name] = record.status, record.metrics, record.thresholds, record.artifacts, training
        assert (board / "records" / f"{record.combo.name}.npz").is_file()
    return found


def assert_ran_once(folder, cuts):
    """Every epoch was trained once, but for those in which a job was cut off."""
    assert EPOCHS * BATCHES <= count_batches(folder) <= (EPOCHS + cuts) * BATCHES


def find_worker(job):
    """The worker of a job's process."""
    return next(child for child in psutil.Process(job).children() if "supervision" in " ".join(child.cmdline()))


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The slow board, run on this machine without SLURM."""
    folder = tmp_path_factory.mktemp("straight")
    with begin(folder, *SLOW, HARNESS_PACE="0") as run:
        _, told = run.communicate(timeout=200)
    assert run.returncode == 0, told
    return list_outcomes(folder / "board")


# --- the engine ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["environment", "without_accounts"])
def engine(request, slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", getattr(slurm, request.param)["SLURM_CONF"])
    return open_engine(Needs(name="harness-test", folder=tmp_path, workers=2, gpus=0), poll=0.5)


def read_end(engine, future):
    with pytest.raises(SlurmError) as caught:
        future.result(timeout=60)
    return engine.explain(caught.value), str(caught.value)


def test_jobs_of_an_array_give_their_results_and_are_found_again(engine):
    with engine.batch():
        futures = [engine.submit(math.sqrt, float(number)) for number in (4, 9, -1)]
    assert [future.result(timeout=60) for future in futures[:2]] == [2.0, 3.0]
    kind, message = read_end(engine, futures[2])
    assert kind == "crashed"
    assert message.endswith("ValueError: math domain error")
    assert engine.find(futures[1].job).result(timeout=60) == 3.0
    assert engine.find("999") is None


def test_a_cancelled_job_is_an_interruption_and_one_that_waits_is_not_over(engine):
    futures = [engine.submit(time.sleep, 100) for _ in range(3)]  # for two processors
    wait_until(lambda: [future.state for future in futures[:2]] == ["RUNNING", "RUNNING"])
    assert futures[2].state == "PENDING"
    assert not any(future.done() for future in futures)
    assert futures[2].cancel()
    assert all(engine.find(future.job).cancel() for future in futures[:2])
    kinds, messages = zip(*(read_end(engine, future) for future in futures), strict=True)
    assert set(kinds) == {"interrupted"}
    assert "ended as CANCELLED" in messages[0]


# --- boards ----------------------------------------------------------------------------------------------------------


def test_the_lines_of_the_document_run_a_board_with_the_records_of_a_local_run(slurm, finish, tmp_path):
    assert len(LINES) <= 10
    said = {}
    for line in LINES:
        words = shlex.split(line, comments=True)
        if words[0] != "harness":
            continue  # an environment of its own, which stands here already
        words += LIGHTER if words[1] == "run" else []
        words += ["--on-option", "poll=1"] if "--on" in words else []
        code, printed, told = finish(*words[1:], **slurm.without_accounts)
        assert code == 0, printed + told
        said[line] = printed + told
    (shown,) = [text for line, text in said.items() if "plugins show" in line]
    table = "".join(re.findall(r"^\| (`.*?`) \|", SECTION, re.MULTILINE))
    options = set(re.findall(r"^    (\w+) = ", shown, re.MULTILINE)) - {"shared"}
    assert set(re.findall(r"`(\w+)`", table)) == options, "the document has each option"
    assert any("submitted 2 jobs to slurm" in text for text in said.values())
    assert {note.ended for note in JobBook(tmp_path / "demo-board").read()} <= {"done", "not needed"}
    assert finish("run", "demo", *LIGHTER, "--board", "here")[0] == 0
    there = list_outcomes(tmp_path / "demo-board")
    assert len(there) == 2
    assert there == list_outcomes(tmp_path / "here")


def test_the_submitter_a_job_and_a_worker_die_and_nothing_is_lost_or_run_twice(slurm, start, straight, tmp_path):
    board, book = tmp_path / "board", JobBook(tmp_path / "board")
    command = (*SLOW, *ON, "--jobs", "2", "--retries", "2")
    first = start(*command, **slurm.environment, HARNESS_PACE="0.5")
    wait_until(lambda: len(find_begun(board)) == 2)
    first.kill()
    first.wait()
    cancelled, other = book.read()
    find_worker(find_begun(board)[other.name]).kill()  # its job goes on with another worker
    slurm.ask("scancel", cancelled.job)
    run = start(*command, **slurm.environment, HARNESS_PACE="0.5")
    wait_until(lambda: any(note not in (cancelled.name, other.name) for note in find_begun(board)))
    (third,) = find_begun(board).keys() - {cancelled.name, other.name}
    os.kill(find_begun(board)[third], signal.SIGKILL)
    _, told = run.communicate(timeout=250)
    assert run.returncode == 0, told
    assert "found 2 jobs again on slurm" in told
    assert f"job {cancelled.job} on slurm was" in told
    assert list_outcomes(board) == straight
    assert_ran_once(tmp_path, cuts=3)


def has_trained(folder, batches):
    return count_batches(folder) > batches


def has_restarted(slurm, job, times):
    return f"Restarts={times}" in slurm.ask("scontrol", "show", "job", job)


@pytest.mark.exhaustive
def test_a_job_goes_on_after_a_warning_a_requeue_and_a_preemption(slurm, start, straight, tmp_path):
    board = tmp_path / "board"
    run = start(*SLOW, *ON, "--on-option", "time=10", "--jobs", "1", **slurm.environment)
    wait_until(lambda: find_begun(board))
    (note,) = JobBook(board).read()
    ways = (
        ("scancel", "--signal=USR2", note.job),  # what SLURM sends before the time limit
        ("scontrol", "requeue", note.job),
        ("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"),
    )
    for times, way in enumerate(ways, 1):
        wait_until(partial(has_trained, tmp_path, count_batches(tmp_path) + BATCHES))
        slurm.ask(*way)
        wait_until(partial(has_restarted, slurm, note.job, times))
    _, told = run.communicate(timeout=250)
    assert run.returncode == 0, told
    assert len(JobBook(board).read()) == 1
    assert list_outcomes(board) == straight
    assert_ran_once(tmp_path, cuts=3)


@pytest.mark.exhaustive
def test_jobs_go_on_without_their_submitter_and_are_cancelled_by_name(slurm, start, finish, tmp_path):
    endless = (*SLOW, "--only", "*bce*", "--set", "recipe.epochs=1000", *ON)
    first = start(*endless, **slurm.environment)
    wait_until(lambda: find_begun(tmp_path / "board"))
    first.send_signal(signal.SIGINT)
    _, told = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "1 job on slurm goes on" in told
    code, said, told = finish(*endless, "--cancel", **slurm.environment)
    assert code == 0, told
    assert "cancelled 1 job" in said + told
    wait_until(lambda: not slurm.ask("squeue", "--noheader"))


# --- records made again -----------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_a_rescore_by_jobs_makes_the_records_that_one_here_makes(slurm, finish, toy_board, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for board in (here, there):
        shutil.copytree(toy_board, board)
        definition = board / "board.toml"
        definition.write_text(definition.read_text().replace('"brier"', '"brier", "ece"'))
    assert rescore(read_board(here), load_registry([TOY]), lambda name: None).left == ()
    code, printed, told = finish("rescore", "there", *ON, "--jobs", "2", **slurm.environment)
    assert code == 0, printed + told
    assert "submitted 2 jobs to slurm" in told
    assert [note.ended for note in JobBook(there).read()] == ["done", "done"]
    assert all(record.metrics["ece"].macro is not None for record in read_records(there).records)
    made = [{file.name: file.read_bytes() for file in (board / "records").iterdir()} for board in (here, there)]
    assert made[1] == made[0]


# --- searches --------------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_a_search_has_its_total_of_trials_although_a_job_is_cancelled(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    search = start_search(tmp_path, "--trials", "8", "--on", "slurm", "--on-option", "poll=1", "--jobs", "2")
    await_trials(tmp_path, 2)
    slurm.ask("scancel", JobBook(tmp_path / "b").read()[0].job)
    assert search.wait(250) == 0, (tmp_path / "log").read_text()
    require_exact(tmp_path, 8)
