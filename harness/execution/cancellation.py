"""Jobs elsewhere ended by somebody who has not submitted them, or has left them there."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from harness.components import Engine
from harness.execution.engines import Destination, describe_error, divert_output, find_future, make_needs, open_engine
from harness.execution.jobs import CANCELLED, JobBook, JobNote
from harness.registry import Registry


@dataclass(frozen=True)
class Cancelled:
    """What became of a board's jobs."""

    jobs: int
    """How many were cancelled."""
    lost: tuple[str, ...]
    """A line for each job that could not be found again."""


@divert_output()
def cancel(folder: Path, registry: Registry, executor: str | None = None) -> Cancelled:
    """Cancel the jobs of a board whose end was not seen, on one executor or on all; an executor that is not there, or
    cannot be opened, is told of.
    """
    book, jobs, lost = JobBook(folder), 0, []
    engines: dict[str, Engine] = {}
    try:
        for note in book.find_open():
            if executor not in (None, note.executor):
                continue
            future = None
            try:
                future = find_future(_open(folder, registry, note, engines), note.job)
            except Exception as error:  # noqa: BLE001 - an engine raises what it likes
                lost.append(f"{note.executor} was not asked about {note.job or note.name}: {describe_error(error)}")
                continue
            if future is None and book.is_alive(note):
                lost.append(
                    f"{note.name} is at work, and {note.executor} cannot find it again: end it by its own means"
                )
                continue
            book.end(note, CANCELLED)  # first: a submitter that looks on then knows why its job ends
            if future is not None:
                with contextlib.suppress(Exception):  # one that is over may refuse
                    jobs += not future.done()
                    future.cancel()
    finally:
        for engine in engines.values():
            with contextlib.suppress(Exception):
                engine.close()
    return Cancelled(jobs, tuple(lost))


def _open(folder: Path, registry: Registry, note: JobNote, engines: dict[str, Engine]) -> Engine:
    """The engine that has a job, opened once for each set of options."""
    known = f"{note.executor} {sorted(note.options.items())}"
    if known not in engines:
        to = Destination(executor=registry.executor(note.executor), options=note.options)
        needs = make_needs(folder, note.executor, workers=1, gpus=note.gpus, seconds=None)
        engines[known] = open_engine(to, needs)
    return engines[known]
