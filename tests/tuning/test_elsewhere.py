"""Studies whose trials an engine runs in other processes: exactly their trials, whoever is killed or leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from harness.execution.jobs import JobBook
from harness.tuning.slots import count_trials
from tests.conftest import TOY
from tests.tuning.test_survival import await_trials, opened, require_exact, start

ON = ("--on", "afar", "--jobs", "2", "--device", "cpu")
FIXED = ("--search", "recipe.lr=1e-3,1e-2,1e-1", "--pruner", "none", "--sampler", "random", "--trials", "6")

slow = pytest.mark.slow


def list_values(folder: Path) -> dict[float, float | None]:
    """Learning rate -> what its trial came to; a rate that was tried twice came to the same twice."""
    found: dict[float, float | None] = {}
    with opened(folder) as study:
        for trial in count_trials(study).finished:
            rate = trial.user_attrs["values"]["recipe.lr"]
            assert found.setdefault(rate, trial.value) == trial.value
    return found


def list_ends(folder: Path) -> list[str | None]:
    return [note.ended for note in JobBook(folder / "b").read()]


@slow
def test_trials_elsewhere_come_to_the_values_of_trials_here_to_the_last_bit(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, more in ((here, ("--workers", "0")), (there, ON)):
        folder.mkdir()
        assert start(folder, *FIXED, *more).wait() == 0, (folder / "log").read_text()
        require_exact(folder, 6)
    shared = list_values(here).keys() & list_values(there).keys()
    assert 1e-2 in shared, "the default is always tried"
    assert {rate: list_values(here)[rate] for rate in shared} == {rate: list_values(there)[rate] for rate in shared}
    said = (there / "log").read_text()
    assert "submitted 2 jobs to afar" in said
    assert "6 of 6" in said
    assert list_ends(there) == ["done", "done"]


@slow
def test_a_killed_job_costs_a_study_elsewhere_nothing(tmp_path):
    process = start(tmp_path, "--trials", "10", *ON)
    await_trials(tmp_path, 2)
    job = next((tmp_path / "b" / "runs" / "jobs" / "afar").glob("*/pid"))
    os.killpg(int(job.read_text()), signal.SIGKILL)
    assert process.wait() == 0, (tmp_path / "log").read_text()
    require_exact(tmp_path, 10)
    assert "lost (interrupted)" in list_ends(tmp_path)


@slow
@pytest.mark.exhaustive
def test_a_submitter_that_was_killed_comes_back_to_its_workers(tmp_path):
    process = start(tmp_path, "--trials", "10", *ON)
    await_trials(tmp_path, 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert start(tmp_path, "--trials", "10", *ON).wait() == 0, (tmp_path / "log").read_text()
    require_exact(tmp_path, 10)
    assert "found 2 jobs again on afar" in (tmp_path / "log").read_text()
    assert len(list_ends(tmp_path)) == 2


@pytest.mark.exhaustive
@slow
def test_ctrl_c_leaves_the_workers_of_a_study_at_work_and_cancel_ends_them(tmp_path):
    process = start(tmp_path, "--trials", "500", *ON)
    await_trials(tmp_path, 2)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    said = (tmp_path / "log").read_text()
    assert "left; 2 jobs go on without this process. Come back with: harness tune" in said
    assert start(tmp_path, "--trials", "500", *ON, "--cancel").wait() == 0
    assert "cancelled 2 jobs; what is finished is kept" in (tmp_path / "log").read_text()
    assert list_ends(tmp_path) == ["cancelled", "cancelled"]
    with opened(tmp_path) as study:
        finished = len(count_trials(study).finished)
    time.sleep(1.0)
    assert start(tmp_path, "--trials", str(finished + 1), "--workers", "0").wait() == 0
    require_exact(tmp_path, finished + 1)


@pytest.mark.exhaustive
@slow
def test_the_best_is_confirmed_elsewhere_and_once(tmp_path):
    arguments = ("--trials", "2", *ON, "--confirm", "2", "--json")
    for _ in range(2):  # the second time nothing is left to do
        assert start(tmp_path, *arguments, recipe="slow").wait() == 0, (tmp_path / "log").read_text()
    text = (tmp_path / "log").read_text()
    found = json.loads(text[text.rindex("\n{\n") :])
    assert len(found["confirmation"]["best"]) == 2
    assert sum(note.work.startswith("confirm-") for note in JobBook(tmp_path / "b").read()) == 1


@slow
@pytest.mark.exhaustive
def test_a_budget_that_is_spent_ends_the_workers_of_a_study(tmp_path):
    assert start(tmp_path, "--trials", "500", *ON, "--budget", "20s").wait() in (0, 1)
    with opened(tmp_path) as study:
        tally = count_trials(study)
    assert not tally.running
    assert len(tally.finished) < 500


@pytest.mark.exhaustive
@pytest.mark.service
def test_workers_that_share_no_folder_share_a_real_database(tmp_path, postgres):
    process = start(tmp_path, "--trials", "8", *ON, "--on-option", "shared=false", "--storage", postgres)
    assert process.wait() == 0, (tmp_path / "log").read_text()
    require_exact(tmp_path, 8, postgres)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--on-option", "shared=false"), "do not reach a study in the board's folder; keep it on a server"),
        (("--storage", "sqlite:///s.db"), "cannot share an SQLite file, whose locks do not hold on network disks"),
        (("--device", "cuda:1"), "--device cuda:1 names devices of this machine"),
    ],
)
def test_what_workers_elsewhere_cannot_do_is_refused_before_anything_is_submitted(harness, tmp_path, more, said):
    plugins = ("--plugin", str(Path(__file__).parents[1] / "fixtures" / "afar.py"))
    toy = ("--dataset", "toy", "--models", "toy-net", "--losses", "bce", "--recipes", "toy", "--board", "b")
    code, _, errors = harness("tune", *toy, *plugins, "--plugin", os.environ["HARNESS_PLUGIN"], "--on", "afar", *more)
    assert (code, said in " ".join(errors.split())) == (2, True), errors
    assert not (tmp_path / "b").exists()


@pytest.fixture
def plan_elsewhere(harness, monkeypatch):
    """Plan a search elsewhere, with a budget; gives what is printed. Nothing is trained for that."""

    def fail(*arguments):
        raise AssertionError("a trial was measured on the submitting machine")

    monkeypatch.setattr("harness.tuning.estimate.measure_trial", fail)

    def plan(*more: str) -> str:
        code, printed, errors = harness(*SEARCH, *AFAR, "--on", "afar", "--budget", "10m", "--dry-run", *more)
        assert code == 0, errors
        return " ".join(printed.split()) if "--json" not in more else str(printed)

    return plan


SEARCH = ("tune", "--dataset", "toy", "--models", "toy-net", "--losses", "bce", "--recipes", "toy", "--board", "b")
AFAR = ("--plugin", str(TOY), "--plugin", str(TOY.with_name("afar.py")))


def test_a_dry_run_elsewhere_measures_nothing_here(plan_elsewhere, tmp_path):
    said = plan_elsewhere()
    assert "how long a trial of 3 epochs takes on afar is not known before one has been run there" in said
    assert "in the budget" not in said
    told = json.loads(plan_elsewhere("--json"))
    assert (told["trial_seconds"], told["trials_in_budget"]) == (None, None)
    assert not (tmp_path / "b").exists()


def test_a_dry_run_elsewhere_knows_a_study_by_its_finished_trials(harness, plan_elsewhere):
    assert harness(*SEARCH, *AFAR, "--trials", "1", "--workers", "0")[0] == 0
    said = plan_elsewhere("--jobs", "2")
    assert re.search(r"a trial of 3 epochs takes about \d+ s like the longest that the study has finished", said)
    assert re.search(r"about \d+ in the budget", said)


def test_a_dry_run_elsewhere_knows_a_board_by_its_records_of_the_same_kind_of_device(harness, plan_elsewhere):
    assert harness("run", *SEARCH[1:], *AFAR, "--seeds", "0", "--device", "cpu")[0] == 0
    said = plan_elsewhere("--device", "cpu")
    assert re.search(r"a trial of 3 epochs takes about \d+ s by the speed in the board's records \(.+\)", said)
    assert "is not known before" in plan_elsewhere("--device", "auto"), "no speed of a GPU is recorded"


def test_options_of_executors_without_an_executor_are_refused(harness):
    toy = ("--dataset", "toy", "--models", "toy-net", "--losses", "bce", "--recipes", "toy", "--board", "b")
    code, _, errors = harness("tune", *toy, "--jobs", "3")
    assert (code, "--on-option and --jobs are about other machines" in errors) == (2, True)
