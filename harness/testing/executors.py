"""Checks of an executor: its engine keeps what `concurrent.futures` promises, and runs a board."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.board import Board, Row, board_text, row_text, save_board
from harness.components import Engine, Executor, Future
from harness.errors import UsageError
from harness.execution.engines import (
    ENGINE_KINDS,
    Destination,
    divert_output,
    find_destination,
    find_future,
    forget,
    make_needs,
    open_engine,
)
from harness.registry import load_registry
from harness.testing.contract import ContractError, NotApplicable, Subject

if TYPE_CHECKING:
    from harness.results.record import Record

PATIENCE = 600.0
"""Seconds that a job may wait and work."""
ASLEEP = 8.0
"""Seconds of a function that is to be cancelled."""
CLOSE = 0.02
"""What metrics of one combo may differ by between machines."""
SEEDS = (0, 1)


def add(a: int, b: int) -> int:
    """A function that runs elsewhere."""
    return a + b


def fail(message: str) -> None:
    """A function that raises where it runs."""
    raise ValueError(message)


def sleep(seconds: float) -> str:
    """A function that takes its time."""
    time.sleep(seconds)
    return "woke up"


def check_opens_and_closes(subject: Subject) -> None:
    """Opens with its options, says how much it can run at once, and closes."""
    with _open(subject) as engine:
        capacity = getattr(engine, "capacity", "nothing")
        if capacity is not None and (type(capacity) is not int or capacity < 1):
            raise ContractError(
                f"capacity is {capacity!r}",
                "give the engine a `capacity`: a number above 0, or None where none is known",
            )


def check_gives_what_a_function_returns(subject: Subject) -> None:
    """Runs functions elsewhere and gives what they return, for several at once."""
    with _open(subject) as engine:
        with getattr(engine, "batch", contextlib.nullcontext)():
            futures = [engine.submit(add, number, 40) for number in (1, 2)]
        given = [_take(engine, _wait(future)) for future in futures]
    if given != [41, 42]:
        raise ContractError(
            f"1 + 40 and 2 + 40 came back as {given}", "give the value of the function that was submitted"
        )


def check_gives_what_a_function_raises(subject: Subject) -> None:
    """Raises from `result` what a function raised, and `explain` tells its kind."""
    with _open(subject) as engine:
        future = _wait(engine.submit(fail, "as it should"))
        try:
            given = _take(engine, future)
        except Exception as error:  # noqa: BLE001 - an engine may wrap it in its own
            kind = engine.explain(error) if hasattr(engine, "explain") else None
            if kind is not None and kind not in ENGINE_KINDS:
                known = ", ".join(ENGINE_KINDS)
                raise ContractError(f"explain gave {kind!r}", f"give one of {known}, or None") from None
            return
    raise ContractError(f"a function raised ValueError, and result() gave {given!r}", "raise what the function raised")


def check_cancels(subject: Subject) -> None:
    """Ends a function that runs, or says that it cannot."""
    with _open(subject) as engine:
        future = engine.submit(sleep, ASLEEP)
        ended = future.cancel()
        _wait(future)
        if not ended:
            raise NotApplicable("it cannot end what runs, and cancel() says so")
        try:
            given = _take(engine, future)
        except (Exception, asyncio.CancelledError):  # noqa: BLE001 - an engine may have its own
            return
    raise ContractError(f"a cancelled function gave {given!r}", "raise concurrent.futures.CancelledError from result()")


def check_finds_again(subject: Subject) -> None:
    """Gives again what another engine with the same options has submitted, where it has `find`."""
    with _folder() as folder, _engine(subject, folder) as engine:
        if not hasattr(engine, "find"):
            raise NotApplicable("it has no find(job): what was submitted ends with its submitter")
        job = getattr(engine.submit(add, 1, 1), "job", None)
        if not isinstance(job, str):
            raise ContractError(
                f"its futures have job = {job!r}", "give futures a text `job`, by which find(job) knows"
            )
        with _engine(subject, folder) as other:
            again = find_future(other, job)
            given = None if again is None else _take(other, _wait(again))
    if given != 2:
        raise ContractError(f"find({job!r}) gave {given!r}", "give the future again, also in another process")


def check_runs_a_board(subject: Subject) -> None:
    """Runs a board of two combinations, whose records are those of a run on this machine."""
    with _folder() as place:
        with _engine(subject, place):
            pass  # what cannot be opened here is not at fault
        here, elsewhere = place / "here", place / "elsewhere"
        expected, found = _run(subject, here, None), _run(subject, elsewhere, _find(subject))
    for ours, theirs in zip(expected, found, strict=True):
        name = ours.combo.name
        if theirs.status != ours.status:
            told = theirs.failure.message if theirs.failure else ""
            raise ContractError(f"{name} is {theirs.status} there and {ours.status} here: {told}", "see its log")
        a, b = (record.metrics["auroc"].macro or 0.0 for record in (ours, theirs))
        if ours.key != theirs.key or abs(a - b) > CLOSE:
            raise ContractError(f"{name} has an AUROC of {b:.4f} there and {a:.4f} here", "install the same versions")


def _find(subject: Subject) -> Destination:
    assert isinstance(subject.component, Executor)
    return find_destination(subject.component, subject.options)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder in the current one, which the executor's machines may share."""
    with tempfile.TemporaryDirectory(prefix="harness-check-", dir=Path.cwd()) as place:
        yield Path(place)


@contextlib.contextmanager
def _engine(subject: Subject, folder: Path) -> Iterator[Engine]:
    """The subject's engine, opened for the length of the block."""
    gpus = int(subject.device != "cpu")
    needs = make_needs(folder, subject.component.name, workers=2, gpus=gpus, seconds=PATIENCE)
    with divert_output():
        try:
            engine = open_engine(_find(subject), needs)
        except UsageError as error:
            raise NotApplicable(str(error)) from None
        try:
            yield engine
        finally:
            engine.close()


@contextlib.contextmanager
def _open(subject: Subject) -> Iterator[Engine]:
    """The subject's engine in a folder of its own."""
    with _folder() as folder, _engine(subject, folder) as engine:
        yield engine


def _wait(future: Future) -> Future:
    end = time.monotonic() + PATIENCE
    while not future.done():
        if time.monotonic() > end:
            raise ContractError(f"a function is not done after {PATIENCE:g} s", "see the scheduler's queue")
        time.sleep(0.1)
    return future


def _take(engine: Engine, future: Future) -> object:
    """What a function gave, which the engine need not keep; raises what it raised."""
    try:
        return future.result()
    finally:
        forget(engine, getattr(future, "job", None))


def _run(subject: Subject, folder: Path, to: Destination | None) -> tuple[Record, ...]:
    """Run a board of two small combos here, or by an executor."""
    from harness.execution import local, planning
    from harness.execution.elsewhere import run_by
    from harness.execution.planning import Settings
    from harness.execution.submitter import Elsewhere
    from harness.execution.workers import WorkerOptions

    registry, params = load_registry(subject.files), {"recipe": {"epochs": 1}}
    row = Row(model="tiny-cnn", loss="bce", recipe="demo", params=params)
    board = Board(
        folder=folder, title="check", objective="auroc", seeds=SEEDS, metrics=("auroc",), dataset="phantom", rows=(row,)
    )
    save_board(folder, board_text(board, [row_text([row.model], [row.loss], [row.recipe], params)]))
    device = subject.device
    settings = Settings(data_root=subject.data_root, cache=folder.parent / "cache", device=device, dry=to is not None)
    planned = planning.plan(board, registry, settings, lambda event: None)
    if to is None:
        return local.run(planned, lambda event: None, WorkerOptions(settings=settings, devices=(device,)))
    made = run_by(
        Elsewhere(
            to=to, settings=settings, registry=registry, plugins=subject.files,
            device="cpu" if device == "cpu" else "cuda", jobs=2, cache=settings.cache,
        )
    )  # fmt: skip
    return local.run(planned, lambda event: None, made)


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_opens_and_closes,
    check_gives_what_a_function_returns,
    check_gives_what_a_function_raises,
    check_cancels,
    check_finds_again,
    check_runs_a_board,
)
