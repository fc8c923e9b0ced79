"""Boards that an engine runs in other processes: the same records, whoever is killed or leaves in the middle."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from harness.execution.claims import Claims
from harness.execution.jobs import JobBook
from harness.results.store import read_records
from tests.execution.test_killed import outcome

FIXTURES = Path(__file__).parents[1] / "fixtures"
PLUGINS = os.pathsep.join(str(FIXTURES / name) for name in ("toy.py", "faults.py", "afar.py"))
BOARD = ("--dataset", "toy", "--models", "toy-net,tiny-cnn", "--losses", "bce", "--recipes", "toy")
LONG = ("--set", "recipe.epochs=80")
PHANTOM = (
    "--dataset", "phantom", "--models", "tiny-cnn", "--losses", "bce", "--recipes", "demo", "--seeds", "0,1",
    "--set", "recipe.epochs=1", "--option", "train=200", "--option", "val=60", "--option", "test=100",
)  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def begin(start):
    """Start `harness run` with the executors of the fixtures."""

    def run(*arguments: str, **environment: str):
        return start("run", *arguments, HARNESS_PLUGIN=PLUGINS, **environment)

    return run


@pytest.fixture
def finish(begin):
    """Run `harness run` to its end; gives what it said on standard error."""

    def run(*arguments: str, code: int = 0) -> str:
        process = begin(*arguments)
        errors = str(process.communicate(timeout=400)[1])
        assert process.returncode == code, errors
        return errors

    return run


def find_pids(board: Path) -> list[int]:
    """The processes of jobs that hold a claim of the board."""
    return [held.about["process"] for held in Claims(board).read() if held.about.get("epoch")]


def count_runs(board: Path) -> dict[str, int]:
    """How often each combo was begun, by the logs of all jobs."""
    lines = [line for log in (board / "runs" / "jobs").rglob("log") for line in log.read_text().splitlines()]
    begun = [line.partition(":")[0] for line in lines if ": begins" in line]
    return {name: begun.count(name) for name in begun}


@pytest.mark.parametrize(
    "on",
    [
        ("afar", "--on-option", "shared=false", "--jobs", "2"),
        ("plain",),
        pytest.param(("afar", "--jobs", "2"), marks=pytest.mark.exhaustive),
        pytest.param(("plain", "--on-option", "shared=false"), marks=pytest.mark.exhaustive),
    ],
)
def test_records_are_those_of_a_run_here_to_the_last_bit(finish, tmp_path, on):
    finish(*BOARD, "--board", "here")
    said = finish(*BOARD, "--board", "there", "--on", *on)
    assert said.count("✓") == 2
    assert outcome(tmp_path / "there") == outcome(tmp_path / "here")
    assert Claims(tmp_path / "there").read() == ()
    assert {note.ended for note in JobBook(tmp_path / "there").read()} <= {"done", "not needed"}
    assert not list(tmp_path.rglob(".tmp-*"))


@pytest.mark.exhaustive
def test_what_an_engine_prints_is_kept_off_standard_output(begin):
    run = begin(*BOARD, "--board", "b", "--on", "plain", "--json")
    printed, errors = run.communicate(timeout=400)
    assert run.returncode == 0, errors
    assert len(json.loads(printed)["rows"]) == 2
    assert [errors.count(line) for line in ("opened\n", "a node was lost\n", "closed\n")] == [2, 1, 1]


@pytest.mark.exhaustive
@pytest.mark.parametrize("shared", ["true", "false"])
def test_rendered_images_come_to_the_same_elsewhere(finish, tmp_path, shared):
    finish(*PHANTOM, "--board", "here")
    finish(*PHANTOM, "--board", "there", "--on", "afar", "--on-option", f"shared={shared}")
    assert outcome(tmp_path / "there") == outcome(tmp_path / "here")


def test_a_job_that_is_killed_is_replaced_and_its_combo_goes_on_after_its_last_epoch(
    begin, finish, wait_until, tmp_path
):
    finish(*BOARD, *LONG, "--board", "here")
    run = begin(*BOARD, *LONG, "--board", "there", "--on", "afar", "--jobs", "1", "--retries", "1")
    wait_until(lambda: find_pids(tmp_path / "there"))
    os.kill(find_pids(tmp_path / "there")[0], signal.SIGKILL)
    _, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
    assert "was lost: LostError: no result; its log is" in errors
    assert "interrupted: the job that ran it was lost, cancelled or preempted; retry 1 of 1" in errors
    assert outcome(tmp_path / "there") == outcome(tmp_path / "here")


@pytest.mark.exhaustive
def test_without_retries_a_lost_job_is_a_failure_of_its_combo_that_says_why(begin, wait_until, tmp_path):
    run = begin(*BOARD, *LONG, "--board", "b", "--on", "afar", "--jobs", "1", "--on-option", "kind=out_of_memory")
    wait_until(lambda: find_pids(tmp_path / "b"))
    os.kill(find_pids(tmp_path / "b")[0], signal.SIGKILL)
    _, errors = run.communicate(timeout=300)
    assert run.returncode == 1, errors
    records = read_records(tmp_path / "b").records
    (failure,) = [record.failure for record in records if record.failure is not None]
    assert failure.kind == "out_of_memory"
    assert failure.message == "the job that ran it was ended for the memory that it took"
    assert failure.where.startswith("after epoch ")
    assert [record.status for record in records].count("done") == 1


@pytest.mark.parametrize("shared", ["true", pytest.param("false", marks=pytest.mark.exhaustive)])
def test_a_submitter_that_was_killed_comes_back_to_its_jobs(begin, finish, wait_until, tmp_path, shared):
    command = (*BOARD, *LONG, "--board", "b", "--on", "afar", "--jobs", "2", "--on-option", f"shared={shared}")
    run, board = begin(*command), tmp_path / "b"
    wait_until(lambda: len(count_runs(board)) == 2)
    run.kill()
    run.communicate()
    said = finish(*command)
    assert "found 2 jobs again on afar" in said
    assert list(count_runs(board).values()) == [1, 1]
    assert [record.status for record in read_records(board).records] == ["done", "done"]


def test_the_first_ctrl_c_leaves_the_jobs_and_the_second_cancels_them(begin, wait_until, tmp_path):
    command = ("--dataset", "toy", "--models", "sleep", "--losses", "bce", "--recipes", "toy", "--board", "b")
    run, board = begin(*command, "--on", "afar"), tmp_path / "b"
    wait_until(lambda: Claims(board).read())
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "leaving: 1 job on afar goes on; Ctrl-C again within 5 s cancels them" in errors
    assert "cancel with: harness run" in errors
    assert JobBook(board).is_alive(JobBook(board).find_open()[0])

    run = begin(*command, "--on", "afar")
    wait_until(lambda: run.stderr is not None and "found 1 job again" in run.stderr.readline())
    run.send_signal(signal.SIGINT)
    time.sleep(1.0)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    assert run.returncode == 130
    assert JobBook(board).find_open() == ()
    assert JobBook(board).read()[0].ended == "cancelled"
    wait_until(lambda: not find_living(board))


def find_living(board: Path) -> list[int]:
    pids = [int(path.read_text()) for path in (board / "runs" / "jobs").rglob("pid")]
    return [pid for pid in pids if Path(f"/proc/{pid}/cmdline").is_file() and Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_jobs_that_were_left_are_shown_and_cancelled_by_another_process(begin, finish, start, wait_until, tmp_path):
    command = ("--dataset", "toy", "--models", "sleep", "--losses", "bce", "--recipes", "toy", "--board", "b")
    run, board = begin(*command, "--on", "afar"), tmp_path / "b"
    wait_until(lambda: Claims(board).read())
    run.send_signal(signal.SIGTERM)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "leaving: 1 job on afar goes on" in errors
    assert "Ctrl-C again" not in errors
    shown = start("status", "b", "--json", HARNESS_PLUGIN=PLUGINS)
    (job,) = json.loads(shown.communicate(timeout=60)[0])["jobs"]
    assert (job["executor"], job["state"], job["open"]) == ("afar", "running", True)
    assert Path(job["log"]).is_file()
    cancel = begin("b", "--cancel")
    assert "cancelled 1 job" in cancel.communicate(timeout=60)[0]
    assert JobBook(board).find_open() == ()
    wait_until(lambda: not find_living(board))


@pytest.mark.exhaustive
def test_a_pool_that_breaks_down_is_opened_again(begin, wait_until, tmp_path):
    run = begin(*BOARD, *LONG, "--board", "b", "--on", "plain", "--jobs", "1", "--retries", "1")
    wait_until(lambda: find_pids(tmp_path / "b"))
    os.kill(find_pids(tmp_path / "b")[0], signal.SIGKILL)
    _, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
    assert "BrokenProcessPool" in errors
    assert [record.status for record in read_records(tmp_path / "b").records] == ["done", "done"]


@pytest.mark.exhaustive
def test_jobs_that_cannot_be_found_again_are_waited_for_while_they_live(begin, wait_until, tmp_path):
    run, board = begin(*BOARD, *LONG, "--board", "b", "--on", "plain", "--jobs", "1"), tmp_path / "b"
    wait_until(lambda: find_pids(board))
    (pid,) = find_pids(board)
    run.kill()
    run.wait()
    last = begin(*BOARD, *LONG, "--board", "b", "--on", "plain", "--jobs", "1")
    _, errors = last.communicate(timeout=300)
    assert last.returncode == 0, errors
    assert [record.status for record in read_records(board).records] == ["done", "done"]
    assert "found 1 job again on plain" in errors
    os.kill(pid, signal.SIGKILL)  # Python's pools leave it behind, idle


@pytest.mark.exhaustive
def test_outside_tests_and_forced_rows_are_as_in_a_run_here(finish, tmp_path):
    finish(*BOARD, "--board", "b")
    board = tmp_path / "b" / "board.toml"
    board.write_text(
        board.read_text() + '\n[[test]]\ndataset = "toy"\nname = "outside"\ncount = 32\nallow_leaks = true\n'
    )
    said = finish("b", "--on", "afar", "--only", "tiny-cnn*", "--force")
    assert "✓ tiny-cnn--bce--toy seed 0" in said
    assert "measured on outside" in said
    assert count_runs(tmp_path / "b") == {"tiny-cnn--bce--toy--s0": 1}
