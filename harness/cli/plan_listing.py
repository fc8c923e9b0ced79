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
    from harness.execution.planning import Planned


def print_plan(planned: Sequence[Planned], speeds: Sequence[RecordedSpeed], *, as_json: bool) -> None:
    """Print what would be run, and why, and its hours by the board's own records and these speeds."""
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
    own = list_measured(item.before for item in planned if item.before is not None)
    hours = estimate_hours(planned, [*own, *speeds])
    if as_json:
        told: dict[str, Any] = asdict(hours)
        tables.print_json({"combos": rows, "hours": told | {"total": hours.total}})
        return
    for row in rows:
        does = "run " if row["run"] else "evaluate" if row["evaluate"] else "keep"
        say(f"{does}  {row['combo']}  {row['reason'] or 'current'}")
    say(f"{sum(bool(row['run']) for row in rows)} of {count(len(rows), 'combination')} would be run")
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
