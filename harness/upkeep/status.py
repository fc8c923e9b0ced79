"""How far a board is: from its records and claims, while others may be running it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.board import Board, Combo
from harness.execution.claims import Claims
from harness.execution.forecast import Forecast
from harness.execution.jobs import JobBook, JobNote
from harness.execution.keys import CurrentKeys
from harness.lease_files import Held
from harness.leases import LEASE
from harness.results.ensembles import EnsemblePlan, plan_ensembles
from harness.results.layout import RESUME, run_path
from harness.results.record import Record
from harness.results.shadow import gather_pretraining, mark_shadow
from harness.results.staleness import AGAIN, is_leftover, tell_leftovers, why_evaluate_again, why_unmeasured
from harness.results.store import read_records

ComboState = Literal["done", "submitted", "failed", "skipped", "stale", "unevaluated", "leftover", "running", "waiting"]


@dataclass(frozen=True)
class ComboStatus:
    """One combo."""

    name: str
    state: ComboState
    detail: str = ""
    """Why it failed or is stale, where it runs, whether its training goes on from a checkpoint."""
    failure: str | None = None
    """The kind of its failure."""
    running: Mapping[str, Any] | None = None
    """`host`, `process`, `device`, `epoch`, `epochs`, `seconds` since it began, `renewed` seconds ago."""


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """A job on other machines, as the board's job book and the job's lease tell."""

    name: str
    """What its executor calls it, or else the harness."""
    executor: str
    state: str
    """`submitted`, `running`, `not heard of`, or how it ended."""
    open: bool
    """Whether its submitter has not seen its end."""
    submitted: str
    host: str | None = None
    """Where it runs, where that is known."""
    combo: str | None = None
    log: str | None = None


@dataclass(frozen=True, kw_only=True)
class BoardStatus:
    """A whole board."""

    combos: tuple[ComboStatus, ...]
    """The combos that the board asks for, then its ensembles."""
    others: tuple[ComboStatus, ...]
    """Records beyond them: submitted predictions, and what the board does not ask for any more."""
    seconds_left: float | None
    """Seconds of work that is left, as far as measured combos tell; None while none was measured."""
    problems: tuple[str, ...]
    leftovers: tuple[str, ...] = ()
    """A line for each row and seed that was taken out of board.toml, and whose records are among the others."""
    jobs: tuple[JobStatus, ...] = ()
    """What was submitted to other machines, the first submitted first."""

    def count(self, state: ComboState) -> int:
        """Combos and other records in a state."""
        return sum(combo.state == state for combo in (*self.combos, *self.others))

    @property
    def failures(self) -> Mapping[str, int]:
        """Number of failed combos by kind of failure."""
        return Counter(combo.failure for combo in self.combos if combo.state == "failed" and combo.failure)

    def as_plain(self) -> dict[str, Any]:
        """As JSON has it."""
        states: Sequence[ComboState] = (
            "done", "submitted", "skipped", "stale", "unevaluated", "leftover", "running", "waiting",
        )  # fmt: skip
        return {
            **{state: self.count(state) for state in states},
            "failed": dict(self.failures),
            "seconds_left": self.seconds_left,
            "combos": [vars(combo) for combo in self.combos],
            "others": [vars(combo) for combo in self.others],
            "problems": list(self.problems),
            "leftovers": list(self.leftovers),
            "jobs": [vars(job) for job in self.jobs],
        }


def find_status(board: Board, current: CurrentKeys) -> BoardStatus:
    """Look at the board's folder as it is in this moment."""
    stored = read_records(board.folder)
    records = {(record.combo.row, record.combo.seed): record for record in stored.records}
    held = {claim.name: claim for claim in Claims(board.folder).read() if not claim.is_abandoned(LEASE)}
    forecast = Forecast(stored.records)
    combos = board.combos()
    described = tuple(
        _describe(board, combo, records.get((combo.row.name, combo.seed)), held.get(combo.name), current)
        for combo in combos
    )
    plans = plan_ensembles(board, stored.records)
    ensembles = tuple(
        _describe_ensemble(board, one, records.get((one.ensemble.name, one.seed)), current) for one in plans
    )
    asked = {*((combo.row.name, combo.seed) for combo in combos), *((one.ensemble.name, one.seed) for one in plans)}
    others = tuple(_describe_other(board, r, current) for place, r in records.items() if place not in asked)
    left = [
        _seconds_left(combo, status, forecast)
        for combo, status in zip(combos, described, strict=True)
        if status.state not in ("done", "skipped", "unevaluated")
    ]
    known_seconds = [seconds for seconds in left if seconds is not None]
    several = max(1, sum(status.state == "running" for status in described))
    total = (
        sum(known_seconds) / len(known_seconds) * len(left) / several if known_seconds else (0.0 if not left else None)
    )
    leftovers = tell_leftovers(board, stored.records)
    jobs = list_jobs(JobBook(board.folder))
    return BoardStatus(
        combos=(*described, *ensembles),
        others=others,
        seconds_left=total,
        problems=stored.problems,
        leftovers=leftovers,
        jobs=jobs,
    )


def list_jobs(book: JobBook) -> tuple[JobStatus, ...]:
    """Tell the state of each job that was submitted; no executor is asked."""
    return tuple(_describe_job(book, note) for note in book.read())


def _describe_job(book: JobBook, note: JobNote) -> JobStatus:
    lease = None if note.ended is not None else book.find_lease(note)
    state = note.ended or ("done" if book.is_over(note) else "submitted")
    if lease is not None:
        state = "not heard of" if lease.is_abandoned(LEASE) else "running"
    return JobStatus(
        name=note.job or note.name,
        executor=note.executor,
        state=state,
        open=note.ended is None and not book.is_over(note),
        submitted=note.submitted,
        host=None if lease is None else lease.about.get("host"),
        combo=next(iter(note.combos)) if len(note.combos) == 1 else None,
        log=note.log,
    )


def _describe(
    board: Board, combo: Combo, record: Record | None, claim: Held | None, current: CurrentKeys
) -> ComboStatus:
    if claim is not None:
        about = claim.about
        running = {name: about.get(name) for name in ("host", "process", "device", "epoch", "epochs")}
        started = about.get("started")
        running["seconds"] = time.time() - started if isinstance(started, int | float) else None
        running["renewed"] = claim.age
        where = f"process {about.get('process')} on {about.get('host')}, {about.get('device')}"
        detail = f"{where}, epoch {about.get('epoch')} of {about.get('epochs')}"
        return ComboStatus(combo.name, "running", detail, running=running)
    if record is None:
        key = current.keys.get(combo.name)
        begun = key is not None and (run_path(board.folder, key) / RESUME).is_file()
        return ComboStatus(combo.name, "waiting", "goes on after its last epoch" if begun else "")
    stale = current.why_stale(board, record)
    if stale is not None:
        return ComboStatus(combo.name, "stale", stale)
    if record.failure is None:
        lacks = why_evaluate_again(board, record)
        if lacks is not None:
            return ComboStatus(combo.name, "unevaluated", f"{lacks}; {AGAIN}")
        unmeasured = why_unmeasured(board, record)
        if unmeasured is not None:
            return ComboStatus(combo.name, "unevaluated", unmeasured)
        return ComboStatus(combo.name, "done", mark_shadow(gather_pretraining(record)))
    return ComboStatus(combo.name, record.status, record.failure.message, record.failure.kind)


def _describe_ensemble(board: Board, plan: EnsemblePlan, record: Record | None, current: CurrentKeys) -> ComboStatus:
    """An ensemble of one seed, which a run makes when its members have results."""
    if record is not None:
        stale = current.why_stale(board, record)
        lacks = why_evaluate_again(board, record)
        if stale is not None:
            return ComboStatus(plan.name, "stale", stale)
        if lacks is not None:
            return ComboStatus(plan.name, "unevaluated", f"{lacks}; {AGAIN}")
        return ComboStatus(plan.name, "done", mark_shadow(gather_pretraining(record)))
    if plan.lacking:
        return ComboStatus(plan.name, "skipped", plan.lacking)
    return ComboStatus(plan.name, "waiting", "harness run makes it, without training")


def _describe_other(board: Board, record: Record, current: CurrentKeys) -> ComboStatus:
    """A record of which no combo of the board is the origin."""
    name, stale = record.combo.name, current.why_stale(board, record)
    if is_leftover(board, record):
        return ComboStatus(name, "leftover", stale or "")
    if stale is not None:
        return ComboStatus(name, "stale", stale)
    lacks = why_evaluate_again(board, record)
    if lacks is not None:
        return ComboStatus(name, "unevaluated", f"{lacks}; {AGAIN}")
    mark = mark_shadow(gather_pretraining(record))
    return ComboStatus(name, "submitted", ", ".join(filter(None, ("external, not trained here", mark))))


def _seconds_left(combo: Combo, status: ComboStatus, forecast: Forecast) -> float | None:
    """Seconds of a combo as of its row's others, or as of its model's; less what of it is done."""
    whole = forecast.row(combo.row.name) or forecast.model(combo.row.model)
    if whole is None or status.running is None:
        return whole
    epoch, epochs = status.running["epoch"], status.running["epochs"]
    done = epoch / epochs if isinstance(epoch, int) and isinstance(epochs, int) and epochs else 0.0
    return whole * (1 - min(done, 1.0))
