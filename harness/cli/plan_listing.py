"""What a run would do, and the hours that it would take, as text or as one document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from harness.cli.output import say
from harness.execution.hours import Hours, estimate_hours, list_measured
from harness.parameters import tell_params
from harness.text import count

if TYPE_CHECKING:
    from harness.execution.ensemble_plan import WantedEnsemble
    from harness.execution.hours import RecordedSpeed
    from harness.execution.outside_plan import Wanted
    from harness.execution.planning import Planned


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """All that a run would do."""

    planned: Sequence[Planned]
    outside: Sequence[Wanted]
    ensembles: Sequence[WantedEnsemble]
    at_once: int
    """How many combos run at once, each on a device of its own."""


def print_plan(plan: RunPlan, speeds: Sequence[RecordedSpeed], *, as_json: bool) -> None:
    """Print what would be run, and why, what would be measured on outside tests, which ensembles would be made, and the
    hours of what would be run, by the board's own records and these speeds.
    """
    from harness.cli import tables

    rows, tests, ensembles = _list_rows(plan.planned), _list_tests(plan.outside), _list_ensembles(plan.ensembles)
    own = list_measured(item.before for item in plan.planned if item.before is not None)
    hours = estimate_hours(plan.planned, [*own, *speeds])
    if as_json:
        told: dict[str, Any] = asdict(hours) | {"total": hours.total, "longest": hours.longest}
        told["wall"] = {"at_once": plan.at_once, "hours": hours.wait(plan.at_once)}
        tables.print_json({"combos": rows, "outside": tests, "ensembles": ensembles, "hours": told})
        return
    for row, item in zip(rows, plan.planned, strict=True):
        does = "run " if row["run"] else "evaluate" if row["evaluate"] else "keep"
        params = ", ".join(tell_params(item.job.combo.row.params))
        say(f"{does}  {row['combo']}{f' ({params})' if params else ''}  {row['reason'] or 'current'}")
    say(f"{sum(bool(row['run']) for row in rows)} of {count(len(rows), 'combination')} would be run")
    for test in tests:
        if test["measure"]:
            say(f"measure  {test['combo']} on {test['title']}  {test['reason']}")
    if tests:
        wanted = sum(bool(test["measure"]) for test in tests)
        say(f"{wanted} of {count(len(tests), 'outside measurement')} would be made, without training")
    for one in ensembles:
        does = "make" if one["make"] else "evaluate" if one["evaluate"] else "leave" if one["reason"] else "keep"
        say(f"{does}  {one['combo']} ({one['title']})  {one['reason'] or 'current'}")
    if ensembles:
        wanted = sum(bool(one["make"]) for one in ensembles)
        say(f"{wanted} of {count(len(ensembles), 'ensemble')} would be made, without training")
    if hours.rows:
        _print_hours(hours, plan.at_once)


def _list_rows(planned: Sequence[Planned]) -> list[dict[str, Any]]:
    return [
        {
            "combo": one.job.combo.name,
            "key": one.job.key,
            "run": one.reason is not None,
            "evaluate": one.lacks is not None,
            "reason": one.reason or one.lacks,
        }
        for one in planned
    ]


def _list_tests(outside: Sequence[Wanted]) -> list[dict[str, Any]]:
    return [
        {
            "combo": one.planned.job.combo.name,
            "test": one.plan.test.key,
            "title": one.plan.title,
            "measure": one.reason is not None,
            "reason": one.reason,
        }
        for one in outside
    ]


def _list_ensembles(ensembles: Sequence[WantedEnsemble]) -> list[dict[str, Any]]:
    return [
        {
            "combo": one.plan.name,
            "title": one.plan.ensemble.title or one.plan.ensemble.name,
            "make": one.reason is not None,
            "evaluate": one.lacks is not None,
            "reason": one.reason or one.lacks or one.obstacle,
        }
        for one in ensembles
    ]


def _print_hours(hours: Hours, at_once: int) -> None:
    if not hours.device:
        say("Hours cannot be told, as no speed is recorded:")
    else:
        say(
            f"Hours on {hours.device}, by {'; '.join(hours.sources) or 'speeds of other networks, which do not count'}:"
        )
        for name, value in [*hours.rows.items(), ("in all", hours.total)]:
            say(f"  {name}  {_write(value)}")
        if hours.longest is not None:
            say(f"  the longest combination, {hours.longest}  {_write(hours.combos[hours.longest])}")
            say(f"  wall time with {at_once} at once  {_write(hours.wait(at_once))}")
    for note in hours.notes:
        say(f"  {note}")


def _write(hours: float | None) -> str:
    return "not known" if hours is None else f"{hours:.2f}"
