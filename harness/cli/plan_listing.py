"""What a run would do, and the hours that it would take, as text or as one document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from harness.cli.output import say
from harness.execution.hours import Hours, estimate_hours, list_measured
from harness.text import count

if TYPE_CHECKING:
    from harness.execution.hours import RecordedSpeed
    from harness.execution.outside_plan import Wanted
    from harness.execution.planning import Planned


def print_plan(
    planned: Sequence[Planned], outside: Sequence[Wanted], speeds: Sequence[RecordedSpeed], *, as_json: bool
) -> None:
    """Print what would be run, and why, what would be measured on outside tests, and the hours of what would be run, by
    the board's own records and these speeds.
    """
    from harness.cli import tables

    rows = [
        {
            "combo": p.job.combo.name,
            "key": p.job.key,
            "run": p.reason is not None,
            "evaluate": p.lacks is not None,
            "reason": p.reason or p.lacks,
        }
        for p in planned
    ]
    tests = [
        {
            "combo": one.planned.job.combo.name,
            "test": one.plan.test.key,
            "title": one.plan.title,
            "measure": one.reason is not None,
            "reason": one.reason,
        }
        for one in outside
    ]
    own = list_measured(item.before for item in planned if item.before is not None)
    hours = estimate_hours(planned, [*own, *speeds])
    if as_json:
        told: dict[str, Any] = asdict(hours)
        tables.print_json({"combos": rows, "outside": tests, "hours": told | {"total": hours.total}})
        return
    for row in rows:
        does = "run " if row["run"] else "evaluate" if row["evaluate"] else "keep"
        say(f"{does}  {row['combo']}  {row['reason'] or 'current'}")
    say(f"{sum(bool(row['run']) for row in rows)} of {count(len(rows), 'combination')} would be run")
    for test in tests:
        if test["measure"]:
            say(f"measure  {test['combo']} on {test['title']}  {test['reason']}")
    if tests:
        wanted = sum(bool(test["measure"]) for test in tests)
        say(f"{wanted} of {count(len(tests), 'outside measurement')} would be made, without training")
    if hours.rows:
        _print_hours(hours)


def _print_hours(hours: Hours) -> None:
    if not hours.device:
        say("Hours cannot be told, as no speed is recorded:")
    else:
        say(
            f"Hours on {hours.device}, by {'; '.join(hours.sources) or 'speeds of other networks, which do not count'}:"
        )
        for name, value in [*hours.rows.items(), ("in all", hours.total)]:
            say(f"  {name}  {'not known' if value is None else f'{value:.2f}'}")
    for note in hours.notes:
        say(f"  {note}")
