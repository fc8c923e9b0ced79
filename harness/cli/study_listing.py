"""A study's space and its outcome for a terminal."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.table import Table

from harness.board import BOARD_FILE
from harness.cli.output import open_output, say
from harness.tuning.outcome import StudyOutcome
from harness.tuning.space import name_value
from harness.tuning.study import Plan, is_default


def print_space(plan: Plan, trial_seconds: float, fitting: int | None) -> None:
    """Print what is searched, one row for each dimension, and how many trials the budget allows, if there is one."""
    table = Table(box=None, pad_edge=False, header_style="bold", title=plan.name, title_justify="left")
    for column in ("parameter", "values", "default", "from"):
        table.add_column(column, overflow="fold")
    for name, dimension in plan.dimensions.items():
        table.add_row(name, dimension.describe(), name_value(plan.defaults[name]), dimension.origin)
    open_output().print(table)
    if plan.outside:
        say(plan.explain_outside())
    say(
        f"a trial of {plan.epochs} epochs takes about {trial_seconds:.0f} s here, unless it is pruned"
        + ("" if fitting is None else f": about {fitting} in the budget")
    )


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
