"""A worker process is listened to, killed with all that it started, and its end has a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from queue import SimpleQueue

import psutil
import pytest

from harness.execution.supervision import TAIL, Apprentice, Death, Inbox, Printed, Worker

TARGETS = """
import ctypes, os, signal, subprocess, sys, time

def echo(connection, greeting):
    connection.send((greeting, "torch" in sys.modules, sys.argv))
    while (message := connection.recv()) != "end":
        connection.send(message)

def raise_error(connection):
    raise ValueError("no such thing")

def abort(connection):
    connection.send("before")
    os.abort()

def shout(connection, size):
    print("x" * size, flush=True)
    subprocess.run(["sh", "-c", "echo also this >&2"])
    connection.send("done")

def fork_and_end(connection, code):
    child = os.fork()
    if child == 0:
        time.sleep(600)
    detached = subprocess.Popen(["sleep", "600"], start_new_session=True)
    connection.send((child, detached.pid))
    if code is not None:
        connection.recv()
        os._exit(code)
    time.sleep(600)

def fork_and_stick(connection, _):
    child = os.fork()
    if child == 0:
        time.sleep(600)
    connection.send((child, None))
    ctypes.PyDLL(None).sleep(600)  # with the interpreter's lock: no other thread can run

def fork_a_copy(connection):
    pid = os.fork()
    connection.send("one voice")
    if pid:
        os.waitpid(pid, 0)
    else:
        connection.recv()

def tell_imported(connection, *names):
    connection.send([name in sys.modules for name in names])

def take(connection, size):
    held = bytearray(os.urandom(1)) * size
    connection.send("taken")
    time.sleep(600)
"""


@pytest.fixture
def targets(tmp_path, monkeypatch):
    """A module that workers find, since they get the parent's sys.path."""
    (tmp_path / "worker_targets.py").write_text(TARGETS)
    monkeypatch.syspath_prepend(tmp_path)
    import worker_targets  # type: ignore[import-not-found]

    yield worker_targets
    del sys.modules["worker_targets"]


@pytest.fixture
def inbox() -> Inbox:
    return SimpleQueue()


def gone(pid: int) -> bool:
    """Whether a process ends within some seconds."""
    for _ in range(500):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


def everything(inbox: Inbox) -> list[object]:
    """All messages up to the worker's end."""
    found: list[object] = []
    while not found or not isinstance(found[-1], Death):
        found.append(inbox.get(timeout=60)[1])
    return found


def test_messages_go_both_ways_and_the_end_comes_last(inbox, targets):
    worker = Worker(inbox, targets.echo, "hello")
    assert inbox.get(timeout=60) == (worker, ("hello", False, sys.argv))
    worker.send({"a": [1, None]})
    worker.send("end")
    assert everything(inbox) == [{"a": [1, None]}, Death("exit", "the worker process ended with exit code 0", 0)]
    worker.send("too late")


def test_an_apprentice_becomes_one_worker_with_its_modules_imported(inbox, targets):
    apprentice = Apprentice(["no.such.module", "this"])
    worker = Worker(inbox, targets.tell_imported, "this", "antigravity", apprentice=apprentice)
    assert worker.pid == apprentice.process.pid
    said = everything(inbox)
    assert [True, False] in said
    assert any(isinstance(message, Printed) and "Zen of Python" in message.text for message in said)
    assert said[-1] == Death("exit", "the worker process ended with exit code 0", 0)
    apprentice.dismiss()  # nothing is left to end
    other = Worker(inbox, targets.tell_imported, "this", apprentice=apprentice)
    assert other.pid != apprentice.process.pid
    assert everything(inbox)[0] == [False]


def test_an_apprentice_without_work_is_ended():
    apprentice = Apprentice()
    apprentice.dismiss()
    assert not psutil.pid_exists(apprentice.process.pid)


def test_an_exception_ends_the_worker_and_is_told_in_one_line(inbox, targets):
    Worker(inbox, targets.raise_error)
    death = everything(inbox)[-1]
    assert death == Death("exit", "the worker process ended with exit code 1: ValueError: no such thing", 1)


def test_a_crash_is_told_by_its_signal_after_what_was_said_before(inbox, targets):
    Worker(inbox, targets.abort)
    said = [message for message in everything(inbox) if not isinstance(message, Printed)]
    assert said == ["before", Death("signal", "the worker process crashed (SIGABRT)")]


def test_a_kill_from_outside_is_told_as_one(inbox, targets):
    worker = Worker(inbox, targets.echo, "hello")
    inbox.get(timeout=60)
    os.kill(worker.pid, signal.SIGKILL)
    assert everything(inbox) == [Death("killed", "the worker process was killed from outside (SIGKILL)")]


def test_a_killed_worker_dies_for_the_given_reason_with_all_that_it_started(inbox, targets):
    worker = Worker(inbox, targets.fork_and_end, None)
    child, detached = inbox.get(timeout=60)[1]
    worker.kill(Death("timeout", "more than 1 s"))
    worker.kill(Death("stopped", "the second reason does not count"))
    assert everything(inbox) == [Death("timeout", "more than 1 s")]
    assert gone(worker.pid)
    assert gone(child)
    assert gone(detached)


def test_what_a_worker_forked_does_not_outlive_it(inbox, targets):
    worker = Worker(inbox, targets.fork_and_end, 3)
    child, daemon = inbox.get(timeout=60)[1]
    worker.send("go")
    assert everything(inbox) == [Death("exit", "the worker process ended with exit code 3", 3)]
    assert gone(child)
    psutil.Process(daemon).kill()  # has left the session, and holds the worker's output: nobody waits for it


def test_a_forked_copy_of_a_worker_is_not_heard(inbox, targets):
    Worker(inbox, targets.fork_a_copy)
    assert everything(inbox) == ["one voice", Death("exit", "the worker process ended with exit code 0", 0)]


def test_a_megabyte_of_output_blocks_nobody_and_arrives(inbox, targets, capfd):
    worker = Worker(inbox, targets.shout, 2**20)
    messages = everything(inbox)
    text = "".join(message.text for message in messages if isinstance(message, Printed))
    assert "done" in messages
    assert text == "x" * 2**20 + "\nalso this\n"
    assert len(worker.tail) == TAIL
    assert capfd.readouterr() == ("", "")


def test_output_that_nobody_takes_is_dropped_before_it_fills_the_memory(inbox, targets):
    Worker(inbox, targets.shout, 2**26).join()
    assert inbox.qsize() < 300


def test_the_memory_of_a_worker_is_what_it_holds_itself(inbox, targets):
    worker = Worker(inbox, targets.take, 200 * 2**20)
    inbox.get(timeout=60)
    assert 200 < worker.memory() / 2**20 < 300
    worker.kill(Death("out_of_memory", "too much"))
    worker.join()
    assert worker.memory() == 0


@pytest.mark.parametrize("target", ["fork_and_end", "fork_and_stick"])
def test_a_parents_death_is_the_workers_and_its_childrens(targets, tmp_path, target):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from queue import SimpleQueue\n"
        "import worker_targets\n"
        "from harness.execution.supervision import Worker\n"
        "inbox = SimpleQueue()\n"
        f"worker = Worker(inbox, worker_targets.{target}, None)\n"
        "print(worker.pid, inbox.get()[1][0], flush=True)\n"
        "inbox.get()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker, child = map(int, parent.stdout.readline().split())
    parent.kill()
    parent.communicate()
    assert gone(worker)
    assert gone(child)
