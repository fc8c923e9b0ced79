"""The jobs of one piece of work on an engine: submitted, looked after, found again and cancelled.

A job is a future of the engine with its note in the board's job book. A crew does not know what its jobs do: a board's
run, a search and a rescore use it alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.components import Engine, Future, Needs
from harness.errors import HarnessError
from harness.execution.engines import Destination, describe_error, explain, find_future, forget, open_engine
from harness.execution.events import JobEnded, JobsSubmitted, Listener, Noted
from harness.execution.jobs import CANCELLED, JobBook, JobNote
from harness.execution.order import Order
from harness.results.record import FailureKind

LINGER = 10.0
"""Seconds for which the end of jobs is waited for that have nothing more to do."""
TICK = 0.2
PATIENCE = 300.0
"""Seconds for which an engine need not answer."""

Remote = Callable[[str], Mapping[str, Any]]
"""A function of `harness.execution.remote` and the like: it gets an order's text and gives plain data."""


@dataclass(eq=False)
class CrewJob:
    """A job that is not over, as far as is known."""

    note: JobNote
    future: Future | None
    """What the engine gives of it while it is open; None for one of an earlier process that the engine cannot give
    again, and that is at work."""


@dataclass(frozen=True)
class Ended:
    """A job that is over."""

    note: JobNote
    result: Mapping[str, Any]
    """What its function gave; nothing where the job was lost."""
    kind: FailureKind | None = None
    """What the engine says of a job that was lost; None where its function returned."""
    reason: str = ""
    """Why it was lost, refused or broken off, in words that may hold names of machines."""

    @property
    def outcome(self) -> str:
        """`done`, `interrupted`, `refused`, `crashed`, or `lost` where its function gave nothing."""
        return "lost" if self.kind is not None else str(self.result.get("outcome", "done"))


class Crew:
    """The jobs of one piece of work."""

    def __init__(
        self, folder: Path, work: str, to: Destination, needs: Needs, function: Remote, listener: Listener
    ) -> None:
        """Open the engine. Raises `HarnessError` where it cannot be."""
        self.book, self.work, self.to, self.needs = JobBook(folder), work, to, needs
        self.function, self.listener = function, listener
        self.jobs: list[CrewJob] = []
        self._told = False
        """Whether its jobs were told of."""
        self._silent: float | None = None
        """Since when the engine has raised what it was asked."""
        self._engines: list[tuple[Mapping[str, Any], Engine]] = []
        self.engine = self._open(to.options)

    @property
    def can_come_back(self) -> bool:
        """Whether jobs go on without this process, and can be found again."""
        return callable(getattr(self.engine, "find", None))

    @property
    def capacity(self) -> int | None:
        """How many jobs can run at once; None where only the scheduler knows."""
        return getattr(self.engine, "capacity", None)

    def come_back(self, is_ours: Callable[[JobNote], bool]) -> None:
        """Take up the jobs of an earlier process, of those that are ours; those that are over without anybody having
        seen it are noted so.
        """
        for note in self.book.find_open():
            if (note.work, note.executor) != (self.work, self.to.executor.name) or not is_ours(note):
                continue
            future = self._find(note)
            if future is not None or self.book.is_alive(note):
                self.jobs.append(CrewJob(note, future))
            else:
                self.book.end(note, "ended unseen")
        if self.jobs:
            self._tell_of(self.jobs, again=True)

    def submit(self, orders: Sequence[Order]) -> tuple[CrewJob, ...]:
        """Submit a job for each order. Raises `HarnessError` where the engine does not take them; jobs that it had
        taken before are kept.
        """
        notes = [self.book.write(self._make_note(order)) for order in orders]  # a job without a note could not be found
        texts = [order.write(note.name) for order, note in zip(orders, notes, strict=True)]
        together = len(orders) if hasattr(self.engine, "batch") else 1  # a batch is taken as a whole, or not at all
        made: list[CrewJob] = []
        try:
            while len(made) < len(orders):
                futures = self._submit(texts[len(made) : len(made) + together])
                taken = [self._note_taken(note, one) for note, one in zip(notes[len(made) :], futures, strict=False)]
                self.jobs += taken
                made += taken
        except HarnessError:
            for note in notes[len(made) :]:
                self.book.forget(note)
            if made:
                self._tell_of(made)
            raise
        self._tell_of(made)
        return tuple(made)

    def drop(self, job: CrewJob) -> None:
        """End a job whose result is not needed."""
        if job.future is not None:
            with contextlib.suppress(Exception):  # one that is over may refuse
                job.future.cancel()
        self.book.end(job.note, "not needed")
        self.jobs.remove(job)

    def leave(self, job: CrewJob) -> None:
        """Leave a job to another process."""
        self.jobs.remove(job)

    def look(self) -> Iterator[Ended]:
        """Give the jobs that have ended since the last look; they are noted so.

        Raises `KeyboardInterrupt` where somebody has cancelled one of them meanwhile: this work is to end.
        """
        for job in tuple(self.jobs):
            ended = self._look_at(job)
            if ended is not None:
                self.jobs.remove(job)
                if ended.outcome != "done" and self.book.is_cancelled(job.note.name):
                    raise KeyboardInterrupt
                if ended.outcome == "done":
                    yield ended  # first: what cannot be written now is found again
                    self._end(job.note, "done")
                    continue
                self._end(job.note, ended.outcome if ended.kind is None else f"lost ({ended.kind})")
                self.listener(JobEnded(self.to.executor.name, ended.note, ended.outcome, ended.reason))
                yield ended

    def cancel(self) -> int:
        """End all jobs, queued or at work; gives how many."""
        count = 0
        for job in self.jobs:
            if job.future is not None:
                with contextlib.suppress(Exception):  # one that is over may refuse
                    job.future.cancel()
                self.book.end(job.note, CANCELLED)
                count += 1
        self.jobs = []
        return count

    def dismiss(self, is_spent: Callable[[JobNote], bool]) -> None:
        """End the jobs that have not begun, since nothing is left for them, and wait a moment for the others' end.

        Those that are of use to another command are left.
        """
        self.jobs = [job for job in self.jobs if is_spent(job.note)]
        for job in tuple(self.jobs):
            begun = self.book.find_lease(job.note) is not None or self.book.is_over(job.note)
            if job.future is not None and not begun and not self._is_done(job.future):
                self.drop(job)
        end = time.monotonic() + LINGER
        while self.jobs and time.monotonic() < end:
            for _ in self.look():
                pass
            for job in tuple(self.jobs):
                if self.book.is_over(job.note):  # the engine may take its time to see it
                    self.book.end(job.note, "done")
                    self.jobs.remove(job)
            time.sleep(TICK)

    def close(self) -> None:
        """Let go of the engine. What can be found again goes on."""
        for _, engine in self._engines:
            with contextlib.suppress(Exception):
                engine.close()
        self._engines = []

    def _make_note(self, order: Order) -> JobNote:
        """The note of a job that is to be submitted."""
        return JobNote(
            name=f"{self.work}-{secrets.token_hex(4)}",
            work=self.work,
            executor=self.to.executor.name,
            options=dict(self.to.options),
            gpus=self.needs.gpus,
            combos={combo: wanted["key"] for combo, wanted in order.task.get("combos", {}).items()},
        )

    def _note_taken(self, note: JobNote, future: Future) -> CrewJob:
        """The job that an engine has made of a note."""
        return CrewJob(self.book.write(replace(note, job=_text(future, "job"), log=_text(future, "log"))), future)

    def _end(self, note: JobNote, how: str) -> None:
        """Note the end of a job that was seen: its engine need not keep it any longer."""
        self.book.end(note, how)
        forget(self._open(note.options), note.job)

    def _tell_of(self, jobs: Sequence[CrewJob], *, again: bool = False) -> None:
        notes, first, self._told = tuple(job.note for job in jobs), not self._told, True
        self.listener(JobsSubmitted(self.to.executor.name, notes, again=again, first=first, lasting=self.can_come_back))

    def _look_at(self, job: CrewJob) -> Ended | None:
        if job.future is None:
            if self.book.is_alive(job.note):
                return None
            over = self.book.is_over(job.note)
            return Ended(job.note, {}) if over else Ended(job.note, {}, "interrupted", "it is not heard of")
        if not self._is_done(job.future):
            return None
        try:
            result = job.future.result()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - an engine raises what it likes
            return Ended(job.note, {}, explain(self.engine, error), describe_error(error))
        if not isinstance(result, Mapping):
            return Ended(job.note, {}, "crashed", f"it gave {type(result).__name__} instead of its result")
        return Ended(job.note, result, None, str(result.get("message", "")))

    def _find(self, note: JobNote) -> Future | None:
        """The future of an earlier process; None where it is gone, or its engine is."""
        try:
            return find_future(self._open(note.options), note.job)
        except Exception as error:  # noqa: BLE001 - an engine raises what it likes
            self.listener(Noted(f"job {note.job or note.name} of {note.executor}: {describe_error(error)}"))
            return None

    def _is_done(self, future: Future) -> bool:
        """Whether a future is over. Raises `HarnessError` where the engine has not answered for a long time."""
        try:
            done = future.done()
        except Exception as error:
            now = time.monotonic()
            self._silent = self._silent or now
            if now - self._silent < PATIENCE:
                return False
            raise HarnessError(
                f"{self.to.executor.name} does not answer: {describe_error(error)}; what was submitted may go on, and "
                "the same command comes back to it"
            ) from error
        self._silent = None
        return done

    def _submit(self, texts: Sequence[str]) -> list[Future]:
        """Submit them together; an engine that has broken down is opened again, once."""
        try:
            return self._try(texts)
        except Exception:  # noqa: BLE001 - an engine raises what it likes
            self._reopen()
        try:
            return self._try(texts)
        except HarnessError:
            raise
        except Exception as error:
            raise HarnessError(
                f"{self.to.executor.name} does not take what is submitted: {describe_error(error)}"
            ) from error

    def _reopen(self) -> None:
        """Open the engine again. Jobs that it had taken are found again where it can, since a closed engine's futures
        may not answer.
        """
        self.close()
        self.engine = self._open(self.to.options)
        if self.can_come_back:
            for job in self.jobs:
                job.future = self._find(job.note) or job.future

    def _try(self, texts: Sequence[str]) -> list[Future]:
        batch = getattr(self.engine, "batch", contextlib.nullcontext)
        with batch():
            return [self.engine.submit(self.function, text) for text in texts]

    def _open(self, options: Mapping[str, Any]) -> Engine:
        """The engine with these options, opened once."""
        for known, engine in self._engines:
            if known == options:
                return engine
        engine = open_engine(replace(self.to, options=options), self.needs)
        self._engines.append((options, engine))
        return engine


def _text(future: Future, name: str) -> str | None:
    value = getattr(future, name, None)
    return None if value is None else str(value)
