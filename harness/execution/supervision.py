"""Worker processes: started fresh, listened to, and gone for good when they have to be.

A worker runs one function of an importable module, `target(connection, *arguments)`, in a new Python process with a
session of its own: nothing is inherited but environment, `sys.path` and `sys.argv`, so that a parent that has touched
no GPU has workers that can. The harness is the parent's own, and no file is run because it lies in the current folder.
What the worker says arrives in the parent's `inbox` as pairs of the worker and

- whatever plain object it sent through its connection, in order;
- `Printed`, what it and its children wrote to standard output and standard error;
- `Death`, always, and last.

    inbox = SimpleQueue()
    worker = Worker(inbox, train, "chexnet", 0)     # train(connection, "chexnet", 0) in another process
    worker.send("go on")                            # connection.recv() there
    sender, message = inbox.get()

A Ctrl-C at the terminal does not reach workers: what it means is for the parent to say. When the parent dies, however
it dies, its workers and what they started are killed, but for daemons that have left the worker's session.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

from harness.machine import python_command, safe_environment
from harness.results.record import FailureKind

TAIL = 8192
"""Bytes of a worker's last output that are kept."""
PATIENCE = 256
"""Messages waiting in an inbox beyond which output is dropped: one who prints without end takes no memory."""
BOOT = "from harness.execution.supervision import _live; _live({connection}, {lifeline}, {modules!a})"

LINGER = 2.0
"""Seconds for which the last words of a dead worker are waited for, where a daemon that it left holds the line."""

DeathKind = Literal["exit", "signal", "killed", "stopped"] | FailureKind
FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
"""Signals that a process gets from somebody, not by what it does."""


@dataclass(frozen=True)
class Printed:
    """What a worker wrote to standard output or standard error."""

    text: str


@dataclass(frozen=True)
class Death:
    """Why a worker is no more."""

    kind: DeathKind
    """`exit`: it ended by itself; `signal`: it crashed; `killed`: by someone else; `stopped`: by the parent, which no
    longer needs it. A kind of failure: what it ran has failed so, and the parent killed it for that; or most likely the
    kernel did, for lack of memory (`out_of_memory`)."""
    reason: str
    code: int | None = None
    """The exit code where `kind` is `exit`; 0 means that the function returned."""


Inbox = SimpleQueue[tuple["Worker | None", object]]
"""None for the worker: the parent wakes itself."""


class Apprentice:
    """A process that waits to become a worker, and meanwhile imports modules that it will need."""

    def __init__(self, modules: Sequence[str] = ()) -> None:
        """Start it."""
        self.is_worker = False
        """Whether it has got its work: then it ends with the worker."""
        self.connection, theirs = Pipe()
        read, self.lifeline = os.pipe()
        code = BOOT.format(connection=theirs.fileno(), lifeline=read, modules=tuple(modules))
        with theirs, os.fdopen(read, "rb"):
            self.process = subprocess.Popen(  # noqa: S603 - this interpreter, the text above
                python_command(code),
                env=safe_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(), read),
                start_new_session=True,
            )

    def dismiss(self) -> None:
        """End it if there was no work for it."""
        if self.is_worker:
            return
        assert self.process.stdout is not None
        with self.connection, self.process.stdout:
            _kill_tree(self.process.pid)
            self.process.wait()
        os.close(self.lifeline)


class Worker:
    """A process that runs one function until it returns or is killed."""

    def __init__(
        self, inbox: Inbox, target: Callable[..., None], *arguments: Any, apprentice: Apprentice | None = None
    ) -> None:
        """Start it, or give an apprentice its work. `target` and `arguments` must be picklable: a function of a
        module, plain data.
        """
        self.inbox = inbox
        self.tail = b""
        """The last that it wrote."""
        self._verdict: Death | None = None
        self._ended = False
        self._kills = _count_memory_kills()
        if apprentice is None or apprentice.is_worker:
            apprentice = Apprentice()
        apprentice.is_worker = True
        self._connection, self._lifeline, self._process = apprentice.connection, apprentice.lifeline, apprentice.process
        self._threads = [threading.Thread(target=task, daemon=True) for task in (self._read, self._drain)]
        self.send(sys.argv)
        self.send((target, arguments))
        for thread in self._threads:
            thread.start()
        self._waiter = threading.Thread(target=self._wait, daemon=True)
        self._waiter.start()

    @property
    def pid(self) -> int:
        """The process id, which is also that of its process group."""
        return self._process.pid

    def send(self, message: object) -> None:
        """Give it a message. To a dead worker nothing is said: its `Death` is under way."""
        with contextlib.suppress(OSError):
            self._connection.send(message)

    def kill(self, death: Death) -> None:
        """End it and everything that it started, at once. `death` is what the inbox will say, the first time counts."""
        self._verdict = self._verdict or death
        _kill_tree(self.pid)

    def join(self) -> None:
        """Wait until it is dead and everything that it said is in the inbox."""
        self._waiter.join()

    def memory(self) -> int:
        """Bytes that it and its children hold and share with nobody; 0 for a dead one."""
        import psutil

        total = 0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            for member in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    memory = member.memory_info()
                    total += memory.rss - getattr(memory, "shared", 0)
        return total

    # --- threads -----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Pass its messages on until nobody is left who could send one."""
        with self._connection, contextlib.suppress(EOFError, OSError):
            while True:
                try:
                    message = self._connection.recv()
                except (EOFError, OSError):
                    raise
                except Exception as error:  # noqa: BLE001 - what cannot be read can be wrong in any way
                    self.kill(Death("signal", f"the worker process sent what cannot be read ({type(error).__name__})"))
                    return
                if not self._ended:
                    self.inbox.put((self, message))

    def _drain(self) -> None:
        """Take what it prints, so that it never waits for a reader."""
        assert self._process.stdout is not None
        with self._process.stdout as output:
            while chunk := os.read(output.fileno(), 65536):
                self.tail = (self.tail + chunk)[-TAIL:]
                if self.inbox.qsize() < PATIENCE and not self._ended:
                    self.inbox.put((self, Printed(chunk.decode(errors="replace"))))

    def _wait(self) -> None:
        """Wait for its end, end what it left behind, then say so."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)  # not reaped: until then nobody else has its id
        _kill_tree(self.pid)
        code = self._process.wait()
        for thread in self._threads:
            thread.join(LINGER)
        self._ended = True
        os.close(self._lifeline)
        self.inbox.put((self, self._verdict or self._explain(code)))

    def _explain(self, code: int) -> Death:
        if code >= 0:
            words = self.tail.decode(errors="replace").strip().splitlines()
            last = f": {words[-1]}" if code and words else ""
            return Death("exit", f"the worker process ended with exit code {code}{last}", code)
        name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
        if -code == signal.SIGKILL and _count_memory_kills() > self._kills:
            return Death("out_of_memory", "the kernel killed the worker process: the host's memory ran out")
        if -code in FROM_OUTSIDE:
            return Death("killed", f"the worker process was killed from outside ({name})")
        return Death("signal", f"the worker process crashed ({name})")


def _kill_tree(pid: int) -> None:
    """Kill a process group, and descendants that have left it."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def _count_memory_kills() -> int:
    """How many processes the kernel has killed for lack of memory: on this machine, and in this control group."""
    count = 0
    for path in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        with contextlib.suppress(OSError, ValueError):
            lines = [line.split() for line in Path(path).read_text().splitlines()]
            count += sum(int(line[1]) for line in lines if line[0] == "oom_kill")
    return count


# --- in the worker ---------------------------------------------------------------------------------------------------


def _live(connection: int, lifeline: int, modules: Sequence[str]) -> None:
    """The life of a worker process."""
    os.set_inheritable(connection, False)
    os.set_inheritable(lifeline, False)
    _have_killed_at_its_end(lifeline)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error: no letter ends a training
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()
    os.register_at_fork(after_in_child=lambda: _fall_silent(connection))
    with Connection(connection) as parent, contextlib.suppress(EOFError, BrokenPipeError):
        _import(modules)
        sys.argv[:] = parent.recv()
        target, arguments = parent.recv()
        target(parent, *arguments)


def _import(modules: Sequence[str]) -> None:
    """Import what is needed later: it stays, so that looking for garbage in it would take time for nothing."""
    gc.disable()
    for module in modules:
        with contextlib.suppress(Exception):  # whoever needs it will hear why
            importlib.import_module(module)
    gc.freeze()
    gc.enable()


def _fall_silent(connection: int) -> None:
    """A copy of the worker, forked by whatever runs in it, has nothing to say: one voice has to be understood."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, connection, inheritable=False)
    os.close(nothing)


def _have_killed_at_its_end(lifeline: int) -> None:
    """Have the kernel kill the process group when the parent's end is closed: no thread runs in a stuck interpreter."""
    with contextlib.suppress(AttributeError, OSError):  # Linux alone can
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _die_with_parent(lifeline: int) -> None:
    """The parent holds the other end and never writes: what can be read is its end."""
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)
