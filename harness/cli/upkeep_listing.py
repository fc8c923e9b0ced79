"""A board's state for a terminal."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table

from harness.cli.output import line
from harness.text import describe_seconds
from harness.upkeep.status import BoardStatus, JobStatus

SAID = {"stale": "out of date", "unevaluated": "to be evaluated again", "leftover": "not in board.toml any more"}
"""States that are called otherwise where people read them."""
QUIET = ("done", "cancelled", "not needed")
"""Ends of jobs that nobody needs to hear of."""
STYLES = {"done": "green", "failed": "red", "running": "cyan", "stale": "yellow", "unevaluated": "yellow"}


def status_table(state: BoardStatus) -> Group:
    """Counts, then a line for each that is not simply done, what was taken out of the board, and what is left."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("combination", "state", ""):
        table.add_column(column, overflow="fold")
    for combo in (*state.combos, *state.others):
        if combo.state != "leftover" and (combo.state != "done" or combo.detail):
            shown = f"failed ({combo.failure})" if combo.state == "failed" else SAID.get(combo.state, combo.state)
            table.add_row(line(combo.name), line(shown, style=STYLES.get(combo.state, "")), line(combo.detail))
    counts = [f"{state.count('done')} of {len(state.combos)} done"]
    counts += [f"{count} failed ({kind})" for kind, count in sorted(state.failures.items())]
    counts += [
        f"{state.count(name)} {SAID.get(name, name)}"
        for name in ("submitted", "skipped", "stale", "unevaluated", "leftover", "running", "waiting")
        if state.count(name)
    ]
    jobs = [line(text) for text in map(_describe_job, state.jobs) if text]
    left = [line(f"about {describe_seconds(state.seconds_left)} left")] if state.seconds_left else []
    leftovers = [line(f"board.toml {text}") for text in state.leftovers]
    return Group(line(", ".join(counts)), *([table] if table.row_count else []), *leftovers, *jobs, *left)


def _describe_job(job: JobStatus) -> str:
    """A line about a job that is not over, or that has come to nothing."""
    if not job.open and job.state in QUIET:
        return ""
    where = "".join((f" on {job.host}" if job.host else "", f", for {job.combo}" if job.combo else ""))
    return f"job {job.name} of {job.executor}: {job.state}{where}{f'; its log is {job.log}' if job.log else ''}"
