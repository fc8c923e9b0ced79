"""Boards on a real SLURM end as on one machine, whatever befalls their jobs."""

from __future__ import annotations

import signal

import psutil
import pytest

from harness.execution.jobs import JobBook
from harness.results.store import read_records
from tests.cluster.conftest import begin, count_batches, find_epoch, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.service, pytest.mark.timeout(300)]

ON = ("--on", "slurm", "--device", "cpu", "--on-option", "poll=1", "--on-option", "memory=1G")
PHANTOM = ("--option", "train=48", "--option", "val=60", "--option", "test=120")
DEMO = ("run", "demo", "--seeds", "0", "--only", "tiny-cnn--*", *PHANTOM, "--set", "recipe.epochs=2")
SLOW = (
    "run", "--dataset", "toy", "--models", "slow-net", "--losses", "bce,focal", "--recipes", "toy", "--seeds", "0",
    "--set", "recipe.epochs=12", "--board",
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


def assert_ran_once(folder, cuts=0):
    """Every epoch was trained once, but for those in which a job was cut off."""
    assert EPOCHS * BATCHES <= count_batches(folder) <= (EPOCHS + cuts) * BATCHES


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The slow board, run on this machine without SLURM."""
    folder = tmp_path_factory.mktemp("straight")
    with begin(folder, *SLOW, "board") as run:
        _, told = run.communicate(timeout=200)
    assert run.returncode == 0, told
    return list_outcomes(folder / "board")


def test_the_demo_has_the_records_of_a_local_run(bare_slurm, finish, tmp_path):
    code, _, told = finish(*DEMO, *ON, "--jobs", "2", "--board", "there", **bare_slurm.environment)
    assert code == 0, told
    assert "submitted 2 jobs to slurm" in told
    assert finish(*DEMO, "--board", "here")[0] == 0
    assert list_outcomes(tmp_path / "there") == list_outcomes(tmp_path / "here")
    assert {note.ended for note in JobBook(tmp_path / "there").read()} <= {"done", "not needed"}


def test_a_job_that_is_cancelled_in_the_middle_is_made_up_for(slurm, start, straight, tmp_path):
    board = tmp_path / "board"
    run = start(*SLOW, "board", *ON, "--jobs", "2", **slurm.environment)
    wait_until(lambda: find_epoch(board) >= 2)
    first = JobBook(board).read()[0].job
    slurm.ask("scancel", first)
    _, told = run.communicate(timeout=200)
    assert run.returncode == 0, told
    assert f"job {first} on slurm was" in told
    assert list_outcomes(board) == straight
    assert_ran_once(tmp_path, cuts=1)


@pytest.mark.parametrize("victim", ["main", "worker"])
def test_a_killed_worker_is_made_up_for(slurm, start, straight, tmp_path, victim):
    board = tmp_path / "board"
    run = start(*SLOW, "board", *ON, "--jobs", "2", "--retries", "1", **slurm.environment)
    wait_until(lambda: find_epoch(board) >= 2)
    jobs = [process for process in psutil.process_iter() if is_job_of(process, board)]
    assert jobs
    (jobs[0] if victim == "main" else find_worker(jobs[0])).send_signal(signal.SIGKILL)
    _, told = run.communicate(timeout=250)
    assert run.returncode == 0, told
    assert list_outcomes(board) == straight
    assert_ran_once(tmp_path, cuts=1)


def is_job_of(process, board):
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return "submitit.core._submit" in words and str(board) in words[-1] and "srun" not in words[0]


def find_worker(process):
    return next(child for child in process.children() if "supervision" in " ".join(child.cmdline()))


def test_a_submitter_that_is_killed_comes_back_to_its_jobs(slurm, start, finish, straight, tmp_path):
    board = tmp_path / "board"
    first = start(*SLOW, "board", *ON, "--jobs", "2", **slurm.environment)
    wait_until(lambda: find_epoch(board) >= 2)
    first.kill()
    first.wait()
    code, _, told = finish(*SLOW, "board", *ON, "--jobs", "2", **slurm.environment)
    assert code == 0, told
    assert "found 2 jobs again on slurm" in told
    assert "submitted" not in told
    assert list_outcomes(board) == straight
    assert_ran_once(tmp_path)


def test_jobs_go_on_without_their_submitter_and_are_cancelled_by_name(slurm, start, finish, tmp_path):
    board = tmp_path / "board"
    endless = (*SLOW, "board", "--set", "recipe.epochs=1000", *ON)
    first = start(*endless, "--jobs", "2", **slurm.environment)
    wait_until(lambda: find_epoch(board) >= 2)
    first.send_signal(signal.SIGINT)
    _, told = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "2 jobs on slurm go on" in told
    code, said, told = finish(*endless, "--cancel", **slurm.environment)
    assert code == 0, told
    assert "cancelled 2 jobs" in said + told
    wait_until(lambda: not slurm.ask("squeue", "--noheader"))


@pytest.mark.parametrize("way", ["its time limit", "a requeue", "a preemption"])
def test_a_job_goes_on_after(slurm, start, straight, tmp_path, way):
    board = tmp_path / "board"
    limit = ("time=1", 'sbatch={signal="USR2@50"}') if way == "its time limit" else ("time=5",)
    options = [word for one in limit for word in ("--on-option", one)]
    run = start(*SLOW, "board", *ON, *options, "--jobs", "1", **slurm.environment)
    wait_until(lambda: find_epoch(board) >= 2)
    (note,) = JobBook(board).read()
    if way == "a requeue":
        slurm.ask("scontrol", "requeue", note.job)
    elif way == "a preemption":
        slurm.ask("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 2")
    _, told = run.communicate(timeout=250)
    assert run.returncode == 0, told
    assert "Restarts=0" not in slurm.ask("scontrol", "show", "job", note.job)
    assert len(JobBook(board).read()) == 1
    assert list_outcomes(board) == straight
    assert_ran_once(tmp_path, cuts=3)
