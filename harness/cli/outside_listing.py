"""A board's outside tests as text for a terminal, and as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from harness.metric_names import title_metric
from harness.report.format import format_interval, format_pair, format_spread
from harness.report.outside_table import make_matrix
from harness.report.outside_wording import name_change, tell_drops, tell_missing, tell_order
from harness.report.transfer import gather_carried

if TYPE_CHECKING:
    from rich.console import RenderableType

    from harness.report.leaderboard import Leaderboard, RowSummary
    from harness.report.outside import OutsideCell, OutsideSummary


def as_text(summary: Leaderboard, tests: Sequence[OutsideSummary]) -> list[RenderableType]:
    """The matrix of rows and test sets, and what has to be said about it; nothing without outside tests."""
    from harness.cli.board_listing import arrange
    from harness.cli.output import line

    if not tests:
        return []
    matrix, change = make_matrix(summary, tests, summary.board.folder.name), name_change(summary)
    said = (
        f"{title_metric(summary.objective)} with 95 % intervals over patients; each {change} is over the labels of "
        "both tests, with its 95 % interval; above 0 the row is worse outside"
    )
    missing = [f"{names} on {test.title}: {why}" for test in tests for why, names in tell_missing(test).items()]
    marked = [
        f"{cell.row.title} on {test.title}: the {change} is not judged, as {cell.mark}"
        for test in tests
        for cell in test.measured
        if cell.mark and not test.leak
    ]
    told = [*map(tell_drops, tests), tell_order(summary, tests), *marked, *missing]
    return [
        line(),
        line("Outside tests", style="italic"),
        *([arrange(replace(matrix, caption=(said,)))] if matrix else []),
        *map(line, filter(None, told)),
    ]


def as_text_of_row(row: RowSummary, tests: Sequence[OutsideSummary]) -> list[RenderableType]:
    """What one row is worth on each outside test; nothing without outside tests."""
    from harness.cli.output import line
    from harness.cli.row_listing import make_table

    cells = [(test, test.cells[row.name]) for test in tests if row.name in test.cells]
    if not cells:
        return []
    change = name_change(cells[0][0].seen)
    table = make_table(
        "outside test", "rank", title_metric(cells[0][0].seen.objective), "95 % over patients", "own test, same labels",
        change, f"95 % of the {change}", "labels",
    )  # fmt: skip
    for test, cell in cells:
        table.add_row(*_list_texts(test, cell))
    reasons = [f"{test.title}: {reason}" for test, cell in cells for reason in cell.reasons]
    reasons += [f"{test.title}: the {change} is not judged, as {cell.mark}" for test, cell in cells if cell.mark]
    return [line(), table, *map(line, reasons)]


def _list_texts(test: OutsideSummary, cell: OutsideCell) -> list[str]:
    spread, drop = cell.seen.metrics.get(test.seen.objective), cell.drops.get(test.seen.objective)
    return [
        test.title,
        str(cell.seen.rank or ""),
        format_spread(spread) or cell.shown_state,
        format_interval(spread),
        f"{drop.inside:.4f}" if drop else "",
        f"{drop.value:.4f}" if drop else "",
        f"{format_pair(drop.interval, 4)} over {drop.over}" if drop and drop.interval else "",
        f"{spread.labels_used} of {len(test.matched)}" if spread else "",
    ]


def as_plain(tests: Sequence[OutsideSummary]) -> dict[str, list[dict[str, Any]]]:
    """Return the outside tests as plain data for JSON, under `outside`; nothing without any."""
    return {"outside": [_describe(test) for test in tests]} if tests else {}


def _describe(test: OutsideSummary) -> dict[str, Any]:
    data, carried = test.seen.data, gather_carried(test)
    return {
        "test": test.key,
        "title": test.title,
        "dataset": test.test.dataset,
        "options": dict(test.test.options),
        "splits": list(test.test.splits),
        "images": data.splits["test"].images if data else None,
        "patients": data.splits["test"].patients if data else None,
        "leak": test.leak,
        "objective": test.seen.objective,
        "labels": {label: one.model_dump() for label, one in test.matched.items()},
        "unused": list(test.unused),
        "notes": list(test.notes),
        "metric_labels": {metric: list(labels) for metric, labels in test.seen.labels.items()},
        "drop_labels": {metric: list(labels) for metric, labels in test.labels.items()},
        "obstacle": test.seen.obstacle,
        "pairs": [asdict(pair) for pair in test.seen.pairs],
        "rows": [
            {
                "name": cell.row.name,
                "title": cell.row.title,
                "status": cell.state,
                "reasons": list(cell.reasons),
                "remark": cell.mark,
                "rank": cell.seen.rank,
                "group": cell.seen.group,
                "seeds": list(cell.seen.seeds),
                "metrics": {name: asdict(spread) for name, spread in cell.seen.metrics.items()},
                "per_label": {name: dict(values) for name, values in cell.seen.per_label.items()},
                "drops": {name: asdict(drop) for name, drop in cell.drops.items()},
                "carried": {name: asdict(one) for name, one in carried.rows.get(cell.row.name, {}).items()},
            }
            for cell in test.cells.values()
        ],
    }
