"""A planned board carried out: from its definition to its records, whoever asked for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.board import Board
from harness.definition import Definition
from harness.execution import local
from harness.execution.events import Listener
from harness.execution.planning import Planned
from harness.execution.rescore import MakeMaps, rescore
from harness.registry import Registry
from harness.results.record import Record
from harness.results.store import set_aside
from harness.results.whereabouts import note_data

if TYPE_CHECKING:
    from harness.evaluation.localization import MapValues
    from harness.execution.combo import Job
    from harness.execution.workers import WorkerOptions


@dataclass(frozen=True)
class BoardRun:
    """What became of a plan."""

    records: tuple[Record, ...]
    """A record for each combo that was to be run, in the order of the plan."""
    left: tuple[str, ...]
    """A line for each record that could not be evaluated again as its board asks; it stays as it was."""


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
    data_root: Path,
    told: Told,
    options: WorkerOptions | None = None,
    *,
    retries: int = 0,
) -> BoardRun:
    """Bring the board's folder up to date, evaluate again what is to be, and run what has a reason.

    Worker processes do it, or this process without `options`. Raises what `local.run` and `Definition.write` raise.
    """
    board = definition.board
    definition.write()
    note_data_root(board, registry, data_root)
    for line in set_aside(board.folder):
        told.warn(line)
    again = {item.job.combo.name: item.job for item in planned if item.lacks is not None}
    pretraining = {name: job.pretraining for name, job in again.items()}
    makers = list_makers(again, registry)
    left = rescore(board, registry, told.mention, again, pretraining, makers).left if again else ()
    for line in left:
        told.warn(line)
    return BoardRun(local.run(planned, told.listener, options, retries=retries), left)


def list_makers(jobs: Mapping[str, Job], registry: Registry) -> dict[str, MakeMaps]:
    """Record -> what makes its heat maps by its stored weights, where the board has a metric of them."""
    return {name: partial(_make_maps, job, registry) for name, job in jobs.items() if job.boxes is not None}


def _make_maps(job: Job, registry: Registry, record: Record) -> MapValues | str:
    """A finished record's heat maps, by its weights; torch is imported by the first of them."""
    from harness.execution.stored_maps import make_from_weights

    return make_from_weights(job, registry, record)


def note_data_root(board: Board, registry: Registry, data_root: Path) -> None:
    """Note where the data of a board were found, for its next run; nothing where its images are drawn."""
    if not registry.dataset(board.dataset).drawn:
        note_data(board.folder, data_root)
