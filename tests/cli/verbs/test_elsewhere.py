"""`--on` and what belongs to it, as far as nothing has to be run elsewhere."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.board import Board, Row, board_text, row_text, save_board
from harness.execution.jobs import JobBook, JobNote

FIXTURES = Path(__file__).parents[2] / "fixtures"
NEW = ("run", "--dataset", "toy", "--models", "toy-net", "--losses", "bce", "--recipes", "toy", "--board", "b")


@pytest.fixture(name="harness")
def _with_executors(harness, monkeypatch):
    plugins = os.pathsep.join(str(FIXTURES / name) for name in ("toy.py", "afar.py"))
    monkeypatch.setenv("HARNESS_PLUGIN", plugins)
    return harness


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--on", "afr"), "unknown executor 'afr': did you mean 'afar'?"),
        (("--on", "afar", "--on-option", "knd=1"), "unknown parameter of executor 'afar' 'knd': did you mean 'kind'?"),
        (("--on", "afar", "--on-option", "shared=maybe"), "shared must be true or false"),
        (("--on", "plain", "--on-option", "workers=many"), "executor 'plain': workers must be a whole number"),
        (("--on", "lacking"), "--on lacking needs the package no_such_package_at_all, which is not installed here"),
        (("--on", "afar", "--device", "cuda:1"), "--device cuda:1 names devices of this machine; with --on, give auto"),
        (("--jobs", "2"), "--on-option and --jobs are about other machines; name them with --on"),
        (("--on", "afar", "--workers", "2"), "--workers is about this machine; with --on, --jobs says how many"),
        (("--on-option", "kind=timeout"), "--on-option and --jobs are about other machines; name them with --on"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_said_in_one_sentence(harness, arguments, said):
    code, _, errors = harness(*NEW, *arguments)
    assert code == 2
    assert said in errors
    assert len(errors.strip().splitlines()) == 1


def test_a_dry_run_submits_nothing(harness, tmp_path):
    code, printed, _ = harness(*NEW, "--on", "afar", "--dry-run")
    assert code == 0
    assert "1 of 1 combination would be run" in printed
    assert not (tmp_path / "b").exists()


@pytest.fixture
def book(tmp_path) -> JobBook:
    """The job book of a board that nothing was run of."""
    row = Row(model="toy-net", loss="bce", recipe="toy")
    board = Board(folder=tmp_path / "b", title="t", objective="auroc", metrics=("auroc",), dataset="toy", rows=(row,))
    save_board(board.folder, board_text(board, [row_text([row.model], [row.loss], [row.recipe], {})]))
    return JobBook(board.folder)


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize("verb", ["run", "tune", "rescore"])
def test_a_board_without_jobs_says_that_there_are_none_to_cancel(harness, verb):
    code, printed, _ = harness(verb, "b", "--cancel")
    assert (code, printed.strip()) == (0, "b has no jobs on other machines: there is nothing to cancel")


@pytest.mark.parametrize("verb", [("run", "demo"), NEW, ("tune", "demo"), ("rescore", "demo-board")])
def test_to_cancel_the_jobs_of_a_board_that_is_not_there_is_refused(harness, tmp_path, verb):
    code, printed, errors = harness(*verb, "--on", "local", "--cancel")
    assert (code, printed) == (2, "")
    assert " is no board: it holds no board.toml" in errors
    assert list(tmp_path.iterdir()) == []


def test_jobs_of_another_executor_are_named_where_those_of_one_are_to_be_cancelled(harness, book):
    for number in range(2):
        book.write(JobNote(name=f"run-{number}", work="run", executor="plain", job=str(number)))
    code, printed, _ = harness("run", "b", "--on", "afar", "--cancel")
    assert (code, printed.strip()) == (0, "b has no jobs on afar, but 2 on plain: nothing was cancelled")
    assert len(book.find_open()) == 2
    code, _, errors = harness("run", "b", "--on", "afr", "--cancel")
    assert (code, "unknown executor 'afr': did you mean 'afar'?" in errors) == (2, True)


def test_jobs_that_were_over_already_are_not_said_to_be_cancelled(harness, book):
    job = book.folder / "afar" / "17"
    job.mkdir(parents=True)
    (job / "pid").write_text("999999999")
    book.write(JobNote(name="run-1", work="run", executor="afar", job="17"))
    code, printed, _ = harness("run", "b", "--cancel")
    assert (code, printed.strip()) == (0, "nothing was cancelled: 1 job was over already")


def test_a_job_whose_executor_is_gone_is_told_of_and_not_said_to_be_cancelled(harness, book):
    book.write(JobNote(name="run-1", work="run", executor="gone", job="17"))
    code, printed, _ = harness("run", "b", "--cancel")
    first, last = printed.strip().splitlines()
    assert code == 0
    assert first.startswith("gone was not asked about 17: UnknownNameError: unknown executor 'gone'")
    assert last == "nothing was cancelled"
    assert len(book.find_open()) == 1


def test_executors_are_listed_and_shown_with_their_options(harness):
    _, printed, _ = harness("plugins")
    assert "processes that outlive their submitter" in printed
    code, printed, _ = harness("plugins", "show", "plain", "--json")
    (shown,) = json.loads(printed)["components"]
    assert code == 0
    assert (shown["kind"], list(shown["parameters"])) == ("executor", ["workers", "shared"])
    assert shown["parameters"]["workers"]["default"] == 2


def test_jobs_are_shown_and_those_that_are_over_can_be_cleaned_away(harness, tmp_path):
    assert harness(*NEW)[0] == 0
    book = JobBook(tmp_path / "b")
    waiting = book.write(JobNote(name="run-1", work="run", executor="afar", job="17", log="/logs/17"))
    lost = book.write(JobNote(name="run-2", work="run", executor="plain", job="18"))
    book.end(lost, "lost (timeout)")
    (book.folder / "afar").mkdir()
    (book.folder / "plain").mkdir()
    _, printed, _ = harness("status", "b")
    assert "job 17 of afar: submitted; its log is /logs/17" in printed
    assert "job 18 of plain: lost (timeout)" in printed
    _, printed, _ = harness("clean", "b", "--yes")
    assert "of a job that is over" in printed
    assert "logs of jobs that are over" in printed
    assert book.read() == (waiting,)
    assert (book.folder / "afar").is_dir()
    assert not (book.folder / "plain").exists()


def test_a_job_tells_by_its_lease_whether_it_lives(tmp_path):
    book = JobBook(tmp_path)
    note = book.write(JobNote(name="run-1", work="run", executor="afar"))
    assert not book.is_alive(note)
    with book.sign_in("run-1", device="cpu"):
        assert book.is_alive(note)
        held = book.find_lease(note)
        assert held is not None
        assert held.about["device"] == "cpu"
    assert book.find_lease(note) is None
