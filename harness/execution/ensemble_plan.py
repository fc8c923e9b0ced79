"""Which ensembles of a board are to be made or evaluated again, and why."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.board import Board
from harness.results.ensembles import EnsemblePlan, plan_ensembles, tell_absent, why_part_remade
from harness.results.record import Record
from harness.results.staleness import why_evaluate_again
from harness.results.store import read_records

if TYPE_CHECKING:
    from harness.execution.planning import Planned


@dataclass(frozen=True, kw_only=True)
class WantedEnsemble:
    """An ensemble of one seed, as a run would leave it."""

    plan: EnsemblePlan
    reason: str | None
    """Why it is to be made; None where it is not."""
    lacks: str | None = None
    """Why one that is made is to be evaluated again."""
    obstacle: str | None = None
    """Why a run cannot make it."""


def list_wanted(board: Board, planned: Sequence[Planned]) -> tuple[WantedEnsemble, ...]:
    """Say of each ensemble and seed what a run of that plan would do for it. Needs no predictions."""
    if not board.ensembles:
        return ()
    records = read_records(board.folder).records
    made = {record.combo.name: record for record in records if record.ensemble is not None}
    systems = {row.name for row in board.systems}
    todo = {(item.job.combo.row.name, item.job.combo.seed) for item in planned if item.reason is not None}
    return tuple(
        _describe(board, one, made.get(one.name), {row for row, seed in todo if seed == one.seed and row in systems})
        for one in plan_ensembles(board, records)
    )


def _describe(board: Board, plan: EnsemblePlan, record: Record | None, todo: Collection[str]) -> WantedEnsemble:
    """`todo` are the rows that are trained with its seed first."""
    trained = sorted(row for row in todo if plan.ensemble.takes(row))
    absent = sorted(plan.absent.difference(trained))
    if trained and not absent and len({one.combo.row for one in plan.candidates}.union(trained)) > 1:
        return WantedEnsemble(plan=plan, reason=f"after the training of {', '.join(trained)}")
    if trained and absent:
        return WantedEnsemble(plan=plan, reason=None, obstacle=tell_absent(absent))
    if plan.lacking:
        return WantedEnsemble(plan=plan, reason=None, obstacle=plan.lacking)
    reason = why_made(board, plan, record)
    lacks = why_evaluate_again(board, record) if reason is None and record is not None else None
    return WantedEnsemble(plan=plan, reason=reason, lacks=lacks)


def why_made(board: Board, plan: EnsemblePlan, record: Record | None) -> str | None:
    """Why an ensemble whose members are there is to be made, where it is."""
    if record is None:
        return "no record"
    if record.key != plan.key:
        return "its members have changed"
    return why_part_remade(board, plan, record)
