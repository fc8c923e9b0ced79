"""A full disk or a read-only folder ends a run with one line; nothing is damaged, and it goes on later."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.board import read_board
from harness.errors import StorageError
from harness.files import write_atomically
from harness.results.store import read_records

NEW = ("run", "--dataset", "toy", "--losses", "bce", "--recipes", "toy", "--seeds", "0,1,2", "--models", "toy-net")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 4 MB, where one may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system may not be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def errors_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("error:")]


def fill(folder: Path, leave: int) -> Path:
    """Take the disk's space but for some bytes."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        free = os.statvfs(folder)
        file.write(b"x" * (free.f_bavail * free.f_bsize - leave))
    return ballast


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "leave"),
    [
        *(("1", 0), ("0", 40960)),
        *(pytest.param(*case, marks=pytest.mark.exhaustive) for case in (("0", 12288), ("1", 81920), ("0", 300000))),
    ],
)
def test_a_full_disk_ends_the_run_and_it_goes_on_when_there_is_space(start, small_disk, workers, leave):
    command = (*NEW, "--board", str(small_disk / "b"), "--json")
    ballast = fill(small_disk, leave)
    run = start(*command, HARNESS_WORKERS=workers)
    output, errors = run.communicate(timeout=100)
    assert (run.returncode, output) == (2, ""), errors
    assert len(errors_of(errors)) == 1, errors
    assert "No space left on device" in errors_of(errors)[0]
    assert "Traceback" not in errors
    assert read_records(small_disk / "b").problems == ()
    assert not list(small_disk.rglob(".tmp-*"))
    ballast.unlink()
    again = start(*command, HARNESS_WORKERS=workers)
    output, errors = again.communicate(timeout=100)
    assert again.returncode == 0, errors
    assert {record.status for record in read_records(small_disk / "b").records} == {"done"}
    assert len(read_board(small_disk / "b").combos()) == 3


@pytest.mark.slow
def test_a_full_disk_under_the_cache_is_named(start, small_disk):
    fill(small_disk, 4096)
    run = start(*NEW, "--board", "b", "--cache-dir", str(small_disk / "cache"))
    _, errors = run.communicate(timeout=100)
    assert run.returncode == 2
    assert len(errors_of(errors)) == 1, errors
    assert "choose another --cache-dir" in errors


@pytest.mark.slow
@pytest.mark.parametrize("workers", [pytest.param("0", marks=pytest.mark.exhaustive), "1"])
def test_a_read_only_folder_ends_the_run(start, small_disk, workers):
    command = (*NEW, "--board", str(small_disk / "b"))
    first = start(*command, "--seeds", "0", HARNESS_WORKERS=workers)
    first.communicate(timeout=100)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    kept = {path: path.read_bytes() for path in small_disk.rglob("*") if path.is_file()}
    run = start("run", str(small_disk / "b"), "--force", HARNESS_WORKERS=workers)
    _, errors = run.communicate(timeout=100)
    assert run.returncode == 2, errors
    assert len(errors_of(errors)) == 1, errors
    assert "Read-only file system" in errors_of(errors)[0]
    assert {path: path.read_bytes() for path in small_disk.rglob("*") if path.is_file()} == kept
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    again = start("run", str(small_disk / "b"), "--force", HARNESS_WORKERS=workers)
    _, errors = again.communicate(timeout=100)
    assert again.returncode == 0, errors


def test_an_error_of_a_library_about_the_disk_is_one_of_the_disk(tmp_path):
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    with pytest.raises(StorageError, match="No space left on device; make room"):
        write_atomically(tmp_path / "x", fail)
    assert list(tmp_path.iterdir()) == []
