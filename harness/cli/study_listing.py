"""A study's space and its outcome for a terminal."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.table import Table

from harness.board import BOARD_FILE
from harness.cli.output import open_output, say
from harness.tuning.estimate import TrialTime
from harness.tuning.outcome import StudyOutcome
from harness.tuning.space import name_value
from harness.tuning.study import Plan, is_default


def print_space(plan: Plan, time: str) -> None:
    """Print what is searched, one row for each dimension, and what is known of the time that a trial takes."""
    table = Table(box=None, pad_edge=False, header_style="bold", title=plan.name, title_justify="left")
    for column in ("parameter", "values", "default", "from"):
        table.add_column(column, overflow="fold")
    for name, dimension in plan.dimensions.items():
        table.add_row(name, dimension.describe(), name_value(plan.defaults[name]), dimension.origin)
    open_output().print(table)
    if plan.outside:
        say(plan.explain_outside())
    say(time)


def explain_time(plan: Plan, known: TrialTime | None, fitting: int | None, on: str) -> str:
    """Say how long a trial takes, and how many the budget allows, if there is one."""
    if known is None:
        return (
            f"how long a trial of {plan.epochs} epochs takes on {on} is not known before one has been run there; "
            "--trials 1 runs one"
        )
    budget = "" if fitting is None else f": about {fitting} in the budget"
    return f"a trial of {plan.epochs} epochs takes about {known.seconds:.0f} s {known.basis}{budget}"


def print_outcome(outcome: StudyOutcome, page: Path, *, added: bool, wanted: bool) -> None:
    """Print what the study cost and found, and the row that it ends in.

    `added` says whether that row was written to `board.toml`, `wanted` whether it was to be.
    """
    counts = ", ".join(f"{count} {state}" for state, count in outcome.counts.items())
    say(f"{outcome.plan.name}: {outcome.cost()} ({counts})")
    if is_default(outcome.best):
        say("the default configuration is the best: there is no row to add")
    else:
        if outcome.confirmation is not None:
            say(outcome.confirmation.sentence(outcome.plan.objective))
        else:
            say("the best of many is flattered by chance; --confirm 3 trains it and the default again")
        for text in ("", *outcome.row_text().split("\n")):
            say(text)
        if wanted:
            folder = outcome.plan.board.folder
            place = f"{'written to' if added else 'is there already in'} {folder / BOARD_FILE}"
            say(f"{place}; measure it: harness run {shlex.quote(str(folder))}")
    say(f"report: {page}")
