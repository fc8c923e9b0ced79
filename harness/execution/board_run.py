"""A planned board carried out: from its definition to its records, whoever asked for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.board import Board
from harness.definition import Definition
from harness.errors import HarnessError, StorageError
from harness.execution import local
from harness.execution.ensembles import make_ensembles
from harness.execution.events import Listener
from harness.execution.interruption import Interrupted
from harness.execution.planning import Planned, Settings
from harness.execution.rescore import MakeMaps, rescore
from harness.registry import Registry
from harness.results.record import Record
from harness.results.staleness import why_part_changed, why_unmeasured
from harness.results.store import read_records, set_aside
from harness.results.whereabouts import note_data

if TYPE_CHECKING:
    from harness.evaluation.localization import MapValues
    from harness.execution.job import Job
    from harness.execution.local import MakeRunner
    from harness.execution.outside_plan import Wanted
    from harness.execution.workers import WorkerOptions


@dataclass(frozen=True)
class BoardRun:
    """What became of a plan."""

    records: tuple[Record, ...]
    """A record for each combo that was to be run, in the order of the plan."""
    left: tuple[str, ...]
    """A line for each record that could not be evaluated again as its board asks, or not measured on an outside test,
    and for each ensemble that could not be made; it stays as it was, or says why."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """Who hears what while a board is run."""

    listener: Listener
    """Hears each event of training."""
    mention: Callable[[str], None]
    """Hears the name of each record that is evaluated again, before its turn."""
    warn: Callable[[str], None]
    """Hears what a person should know."""


def carry_out(
    definition: Definition,
    registry: Registry,
    planned: Sequence[Planned],
    settings: Settings,
    told: Told,
    options: WorkerOptions | MakeRunner | None = None,
    *,
    outside: Sequence[Wanted] = (),
    retries: int = 0,
) -> BoardRun:
    """Bring the board's folder up to date, evaluate again what is to be, run what has a reason, measure what is
    finished on outside tests, and make ensembles.

    Worker processes do it, what `options` makes for other machines, or this process without `options`; outside tests
    are measured by this one, which for those and for heat maps needs the images, also where the plan was made without
    them (`Settings.dry`). Raises what `local.run` and `Definition.write` raise.
    """
    board = definition.board
    definition.write()
    note_data_root(board, registry, settings.data_root)
    for line in set_aside(board.folder):
        told.warn(line)
    again = {item.job.combo.name: item.job for item in planned if item.lacks is not None}
    if settings.dry and any(job.boxes is not None for job in again.values()):
        there = plan_with_images(board, registry, settings, told)
        again = {name: there[name].job for name in again}
    pretraining = {name: job.pretraining for name, job in again.items()}
    makers = list_makers(again, registry)
    left = rescore(board, registry, told.mention, again, pretraining, makers).left if again else ()
    for line in left:
        told.warn(line)
    records = local.run(planned, told.listener, options, retries=retries)
    unmeasured = measure_outside(board, registry, settings, outside, told)
    unmade = make_ensembles(board, registry, told.mention, told.warn)
    return BoardRun(records, (*left, *unmeasured, *unmade))


def measure_outside(
    board: Board, registry: Registry, settings: Settings, wanted: Sequence[Wanted], told: Told
) -> tuple[str, ...]:
    """Measure what is wanted on outside tests, in this process; gives a line for each that has no number.

    Raises `Interrupted` after Ctrl-C, with what is left, and `StorageError` where nothing can be written.
    """
    if not any(one.reason for one in wanted):
        return ()
    from harness.execution.outside import OutsideTests

    if settings.dry:
        try:
            there = plan_with_images(board, registry, settings, told)
        except StorageError:
            raise
        except HarnessError as error:
            told.warn(line := f"the outside tests were not measured: {error}")
            return (line,)
        wanted = [replace(one, planned=there[one.planned.job.combo.name]) for one in wanted]
    tests = OutsideTests(board, registry, settings, told.listener, told.warn)
    try:
        return tests.measure(wanted)
    except KeyboardInterrupt:
        raise Interrupted(tests.unfinished()) from None


def plan_with_images(board: Board, registry: Registry, settings: Settings, told: Told) -> dict[str, Planned]:
    """Plan again, with images, what was planned without them. Raises `HarnessError` where they cannot be had."""
    from harness.execution.planning import plan

    planned = plan(board, registry, replace(settings, dry=False), told.listener)
    return {item.job.combo.name: item for item in planned}


def lacks_outside(board: Board) -> bool:
    """Whether finished records of a board lack an outside test, or numbers of one that its predictions do not give."""
    return any(
        why_unmeasured(board, record) is not None or any(why_part_changed(board, record, test) for test in board.tests)
        for record in read_records(board.folder).records
        if record.is_trained
    )


def measure_finished(board: Board, registry: Registry, settings: Settings, told: Told) -> tuple[str, ...]:
    """Measure records that are finished and current on the outside tests that they lack, and run nothing.

    Gives a line for each that has no number, or a single one where the board cannot be planned here.
    """
    from harness.execution.outside_plan import plan_outside
    from harness.execution.planning import plan

    try:
        planned = [item for item in plan(board, registry, settings, told.listener) if item.reason is None]
        wanted = plan_outside(board, registry, settings, planned, told.listener)
    except StorageError:
        raise
    except HarnessError as error:
        told.warn(line := f"the outside tests were not measured: {error}")
        return (line,)
    return measure_outside(board, registry, settings, wanted, told)


def list_makers(jobs: Mapping[str, Job], registry: Registry) -> dict[str, MakeMaps]:
    """Record -> what makes its heat maps by its stored weights, where the board has a metric of them."""
    return {name: partial(_make_maps, job, registry) for name, job in jobs.items() if job.boxes is not None}


def _make_maps(job: Job, registry: Registry, record: Record) -> MapValues | str:
    """A finished record's heat maps, by its weights; torch is imported by the first of them."""
    from harness.execution.stored_maps import make_from_weights

    return make_from_weights(job, registry, record)


def note_data_root(board: Board, registry: Registry, data_root: Path) -> None:
    """Note where the data of a board were found, for its next run; nothing where none are, or all images are drawn."""
    datasets = (board.dataset, *(test.dataset for test in board.tests))
    if data_root.is_dir() and not all(registry.dataset(name).drawn for name in datasets):
        note_data(board.folder, data_root)
