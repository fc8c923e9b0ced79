"""The outside tests as a board's page shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report import paper
from harness.report.drawing import Scale, make_scale
from harness.report.headline import conclude, judge
from harness.report.leaderboard import Leaderboard, RowSummary
from harness.report.outside import OutsideCell, OutsideSummary, list_rows
from harness.report.outside_table import make_matrix
from harness.report.outside_wording import (
    name_change,
    tell_carried,
    tell_cell,
    tell_drops,
    tell_labels_used,
    tell_missing,
    tell_order,
    tell_shared,
    tell_size,
    tell_splits,
    tell_targets,
)
from harness.report.transfer import CarriedTable, gather_carried

MOST_ROWS = 100
"""Rows that stand in the tables of outside tests, the best first; all are in `board-outside.csv`."""


@dataclass(frozen=True, kw_only=True)
class OutsideView:
    """One outside test on the page."""

    summary: OutsideSummary
    anchor: str
    drops: str
    """How much worse rows are on it, in a sentence."""
    answer: str
    """Which row is the best on it."""
    basis: str
    """What that rests on."""
    facts: Mapping[str, str]
    remarks: tuple[str, ...]
    tips: Mapping[str, str]
    """Row -> what its cell rests on."""
    ordered: tuple[OutsideCell, ...]
    """The cells with a value, in the order of the test's own ranking."""
    missing: Mapping[str, str]
    """Why values are missing -> the rows that lack them for it."""
    carried: CarriedTable
    promise: str
    """What became of thresholds that promise a sensitivity."""
    labels: tuple[str, ...]
    """Labels that some row has a value of there."""


@dataclass(frozen=True, kw_only=True)
class OutsidePage:
    """All outside tests of a board on its page."""

    tests: tuple[OutsideView, ...]
    rows: tuple[RowSummary, ...]
    """Rows of the matrix, in the order of the board's own ranking."""
    left_out: int
    """How many more there are."""
    change: str
    """`drop`, or `rise` where less is better."""
    order: str
    """Whether rows stand in another order there, in words."""
    scale: Scale | None
    """One scale for all drops, with 0 in it."""
    paper: Mapping[str, str]
    """The matrix as text for a paper, by the name of its form."""


def describe_outside(summary: Leaderboard, tests: Sequence[OutsideSummary], called: str) -> OutsidePage | None:
    """What the page shows of a board's outside tests; None where it has none. `called` is the board's name."""
    if not tests:
        return None
    drops = [
        cell.drops[summary.objective] for test in tests for cell in test.measured if summary.objective in cell.drops
    ]
    rows, matrix = list_rows(summary), make_matrix(summary, tests, called)
    return OutsidePage(
        tests=tuple(_describe(test) for test in tests),
        rows=tuple(rows[:MOST_ROWS]),
        left_out=len(rows[MOST_ROWS:]),
        change=name_change(summary),
        order=tell_order(summary, tests),
        scale=make_scale([0.0, *(end for drop in drops for end in (drop.value, *(drop.interval or ())))]),
        paper={"Markdown": paper.as_markdown(matrix), "LaTeX": paper.as_latex(matrix)} if matrix else {},
    )


def _describe(test: OutsideSummary) -> OutsideView:
    carried = gather_carried(test)
    places = {row.name: place for place, row in enumerate(test.seen.rows)}
    rows = [cell.seen for cell in test.measured]
    known = {label for row in rows for label in row.per_label.get(test.seen.objective, {})}
    data = test.seen.data
    facts = {
        "Dataset": f"{test.test.dataset}{f': {data.about}' if data else ''}",
        "Tested on": ": ".join(filter(None, (tell_splits(test), tell_size(test)))),
        "Labels": "; ".join(tell_labels_used(test)) if test.matched else "",
        "Targets": tell_targets(test),
        "Notes": "; ".join(test.notes),
    }
    return OutsideView(
        summary=test,
        anchor="outside-" + re.sub(r"[^A-Za-z0-9._-]", "_", test.key),
        drops=tell_drops(test),
        answer=judge(test.seen),
        basis=conclude(test.seen) if len(test.seen.ranked) > 1 else "",
        facts={name: text for name, text in facts.items() if text},
        remarks=tuple(tell_shared(test)),
        tips={name: tell_cell(test, test.cells[name]) for name in [*test.cells][:MOST_ROWS]},
        ordered=tuple(sorted(test.measured, key=lambda cell: places[cell.row.name])[:MOST_ROWS]),
        missing=tell_missing(test),
        carried=carried,
        promise=tell_carried(test, carried),
        labels=tuple(label for label in (data.labels if data else ()) if label in known),
    )
