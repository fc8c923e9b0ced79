"""Processes take turns by locks, or by leases where there are no locks, and say what they wait for."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.errors import StorageError
from harness.locks import hold_lock

HOLD = """
import fcntl, sys
from pathlib import Path
from harness.locks import hold_lock
def refuse(handle, operation):
    raise OSError(int(sys.argv[2]), "")
if int(sys.argv[2]):
    fcntl.flock = refuse
with hold_lock(Path(sys.argv[1]), "x"):
    print("held", flush=True)
    input()
"""


@pytest.fixture(params=[0, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
def answer(request, monkeypatch) -> int:
    """What the file system answers to a wish for a lock; 0: it has locks."""

    def refuse(handle: int, operation: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    if request.param:
        monkeypatch.setattr(fcntl, "flock", refuse)
    number: int = request.param
    return number


@pytest.fixture
def other(tmp_path, answer):
    """Another process that has the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock"), str(answer)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_one_at_a_time_is_at_work(tmp_path, answer):
    at_work, most = 0, 0

    def work() -> None:
        nonlocal at_work, most
        with hold_lock(tmp_path / "folder" / "lock", "x"):
            at_work += 1
            most = max(most, at_work)
            time.sleep(0.01)
            at_work -= 1

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["lock"]


def test_who_waits_says_for_what_and_for_whom_and_goes_on_when_the_other_ends(tmp_path, other):
    remarks: list[str] = []

    def remark(text: str) -> None:
        remarks.append(text)
        other.communicate("\n")

    with hold_lock(tmp_path / "lock", "the images in x", remark):
        pass
    assert remarks == [
        f"waiting for the images in x: process {other.pid} on {socket.gethostname()} is at work there",
    ]


def test_what_a_dead_process_had_is_free(tmp_path, other):
    other.kill()
    other.communicate()
    remarks: list[str] = []
    with hold_lock(tmp_path / "lock", "x", remarks.append):
        pass
    assert remarks == []


def test_it_is_said_within_two_seconds(tmp_path, other, monkeypatch):
    now, waits = 0.0, []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        waits.append(seconds)

    def remark(text: str) -> None:
        other.communicate("\n")

    monkeypatch.setattr("harness.locks.time.monotonic", lambda: now)
    monkeypatch.setattr("harness.locks.time.sleep", sleep)
    with hold_lock(tmp_path / "lock", "x", remark):
        pass
    assert now < 2


def test_a_holder_that_nobody_knows_is_another_process(tmp_path):
    (tmp_path / "lock").touch()
    remarks: list[str] = []
    with (tmp_path / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def remark(text: str) -> None:
            remarks.append(text)
            fcntl.flock(file, fcntl.LOCK_UN)

        with hold_lock(tmp_path / "lock", "x", remark):
            pass
    assert remarks == ["waiting for x: another process is at work there"]


def test_a_lease_that_was_lost_is_found_out(tmp_path, monkeypatch):
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(StorageError, match=r"another process has taken over the images: .* run it again"),
        hold_lock(tmp_path / "lock", "the images"),
    ):
        (tmp_path / "lock.lease").write_text("another's\n{}\n")
    assert (tmp_path / "lock.lease").exists()


def test_a_folder_that_cannot_be_written_is_named_with_the_way_out(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError, match=r"cannot write .*file/lock: .*; choose another --cache-dir"),
        hold_lock(tmp_path / "file" / "lock", "x", way_out="choose another --cache-dir"),
    ):
        pass


def test_what_is_wrong_in_the_block_is_what_is_raised(tmp_path, answer):
    with pytest.raises(OSError, match="mine"), hold_lock(tmp_path / "lock", "x"):
        raise OSError("mine")
    with hold_lock(Path(tmp_path / "lock"), "x"):
        pass
