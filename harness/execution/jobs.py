"""The job book of a board: what was submitted to other machines, so that it can be found again, shown and cancelled.

Each job has a file in `runs/jobs`, which its submitter writes. While a job is at work on a shared folder it holds a
lease beside it, so that anybody can tell whether it lives.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import OrderRefusedError
from harness.files import write_atomically
from harness.lease_files import Held, read, read_clock, remove, take
from harness.leases import LEASE, Keeper
from harness.results.layout import jobs_path
from harness.results.store import hide_runs

CANCELLED = "cancelled"
"""How a job ended that was cancelled."""
SUFFIXES = (".json", ".lease", ".over")
"""Ends of the names of a job's files."""


@dataclass(frozen=True, kw_only=True)
class JobNote:
    """A job, as its submitter noted it."""

    name: str
    """What the harness calls it: it is in the job's claims and names its file."""
    work: str
    """What it does: `run`, `combo`, `rescore`, or `tune-` or `confirm-` and the name of a study."""
    executor: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """The executor's options, as they were given."""
    gpus: int = 0
    job: str | None = None
    """What the engine calls it."""
    log: str | None = None
    """The file that it writes to."""
    submitted: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    combos: Mapping[str, str] = field(default_factory=dict)
    """The keys of the combos that it may run, by their names."""
    ended: str | None = None
    """How it ended; None while its submitter has not seen its end."""


class JobBook:
    """The jobs of a board."""

    def __init__(self, board_folder: Path) -> None:
        self.board_folder, self.folder = board_folder, jobs_path(board_folder)

    def write(self, note: JobNote) -> JobNote:
        """Note a job. Raises `StorageError`."""
        hide_runs(self.board_folder)
        write_atomically(self.folder / f"{note.name}.json", json.dumps(asdict(note), indent=1) + "\n")
        return note

    def end(self, note: JobNote, how: str) -> None:
        """Note how a job ended."""
        self.write(replace(note, ended=how))

    def forget(self, note: JobNote) -> None:
        """Remove the note of a job that there never was."""
        (self.folder / f"{note.name}.json").unlink(missing_ok=True)

    def read(self) -> tuple[JobNote, ...]:
        """Read all notes, the first submitted first; what is no note is passed over."""
        notes = []
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, TypeError):
                notes.append(JobNote(**json.loads(path.read_bytes())))
        return tuple(sorted(notes, key=lambda note: (note.submitted, note.name)))

    def find_open(self) -> tuple[JobNote, ...]:
        """The jobs whose end was not seen."""
        return tuple(note for note in self.read() if note.ended is None)

    def find_lease(self, note: JobNote) -> Held | None:
        """The lease of a job that has begun to work on the shared folder; None where it has not, or is over."""
        now = time.time()
        with contextlib.suppress(OSError):
            now = read_clock(self.folder)
        return read(self._lease_path(note.name), now)

    def is_cancelled(self, name: str) -> bool:
        """Whether somebody has cancelled a job since it was noted."""
        with contextlib.suppress(OSError, ValueError):
            return bool(json.loads((self.folder / f"{name}.json").read_bytes())["ended"] == CANCELLED)
        return False

    def is_alive(self, note: JobNote) -> bool:
        """Whether a job is known to be at work."""
        lease = self.find_lease(note)
        return lease is not None and not lease.is_abandoned(LEASE)

    @contextlib.contextmanager
    def sign_in(self, name: str, **about: Any) -> Iterator[None]:
        """Hold a job's lease while it is at work, which this process is.

        Raises `OrderRefusedError` where the job was cancelled before it began.
        """
        if self.is_cancelled(name):
            raise OrderRefusedError("it was cancelled before it began")
        path = self._lease_path(name)
        lease = take(path, LEASE, about)
        if lease is None and (before := read(path, 0.0)) is not None:
            remove(path, before.token)  # an engine began the job again elsewhere
            lease = take(path, LEASE, about)
        with Keeper() as keeper:
            if lease is not None:
                keeper.keep(lease)
            yield
            with contextlib.suppress(OSError):
                (self.folder / f"{name}.over").touch()

    def is_over(self, note: JobNote) -> bool:
        """Whether a job has said that it has done all that it could, even if its engine does not know yet."""
        return (self.folder / f"{note.name}.over").exists()

    def list_files(self, note: JobNote) -> tuple[Path, ...]:
        """The files of a job: its note, its lease, and what it said in the end."""
        paths = (self.folder / f"{note.name}{suffix}" for suffix in SUFFIXES)
        return tuple(path for path in paths if path.exists())

    def _lease_path(self, name: str) -> Path:
        return self.folder / f"{name}.lease"
