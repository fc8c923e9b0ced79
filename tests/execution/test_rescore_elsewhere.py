"""Records that jobs elsewhere make again: the same as here, whoever is killed."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from harness.execution.jobs import JobBook

FIXTURES = Path(__file__).parents[1] / "fixtures"
PLUGINS = os.pathsep.join(str(FIXTURES / name) for name in ("toy.py", "afar.py"))
ON = ("--on", "afar", "--jobs", "2")


@pytest.fixture
def boards(toy_board, tmp_path) -> tuple[Path, Path]:
    """Two copies of a board that gains a metric."""
    folders = tmp_path / "here", tmp_path / "there"
    for folder in folders:
        shutil.copytree(toy_board, folder)
        path = folder / "board.toml"
        path.write_text(path.read_text().replace('"brier"', '"brier", "ece"'))
    return folders


def read_files(board: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((board / "records").iterdir())}


@pytest.mark.slow
def test_records_that_are_made_again_elsewhere_are_those_made_again_here(boards, start):
    here, there = boards
    for folder, more in ((here, ()), (there, ON)):
        process = start("rescore", str(folder), *more, HARNESS_PLUGIN=PLUGINS)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    assert all(b'"ece"' in content for name, content in read_files(there).items() if name.endswith(".json"))
    assert read_files(there) == read_files(here)
    assert "submitted 2 jobs to afar" in errors
    assert [note.ended for note in JobBook(there).read()] == ["done", "done"]


@pytest.mark.slow
def test_the_share_of_a_killed_job_is_made_again_by_another(boards, start, wait_until):
    here, there = boards
    assert start("rescore", str(here), HARNESS_PLUGIN=PLUGINS).wait() == 0
    process = start("rescore", str(there), *ON, HARNESS_PLUGIN=PLUGINS)
    wait_until(lambda: list((there / "runs" / "jobs" / "afar").glob("*/pid")))
    pid = next((there / "runs" / "jobs" / "afar").glob("*/pid"))
    wait_until(pid.read_text)
    os.kill(int(pid.read_text()), signal.SIGKILL)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert read_files(there) == read_files(here)
    assert sorted({str(note.ended) for note in JobBook(there).read()}) == ["done", "lost (interrupted)"]


@pytest.mark.slow
def test_ctrl_c_ends_the_jobs_of_a_rescore(boards, start, wait_until):
    process = start("rescore", str(boards[1]), *ON, HARNESS_PLUGIN=PLUGINS)
    wait_until(lambda: len(JobBook(boards[1]).read()) == 2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted, and its jobs are cancelled; records are whole" in errors
    assert JobBook(boards[1]).find_open() == ()


def test_without_a_shared_folder_a_rescore_is_refused_in_one_sentence(boards, harness):
    plugins = (word for name in PLUGINS.split(os.pathsep) for word in ("--plugin", name))
    code, _, errors = harness("rescore", "there", "--on", "afar", "--on-option", "shared=false", *plugins)
    said = "rescore reads stored predictions in the board's folder, which machines without a shared folder do not have"
    assert (code, said in " ".join(errors.split())) == (2, True), errors
    assert not (boards[1] / "runs" / "jobs").exists()
