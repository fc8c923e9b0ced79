"""The outside tests as tables: `board-outside.csv`, and the matrix of rows and test sets as a paper prints it.

`board-outside.csv` has a line for each row, outside test and metric, whose value there stands beside that on the own
test. `labels` are those of the value; `inside`, `outside` and `drop` are over those that both tests average
(`drop_labels`), and the drop is above 0 where the row is worse outside, also where less is better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.metric_names import title_metric
from harness.report.column import Value
from harness.report.format import format_interval, format_pair, format_spread
from harness.report.frame import print_rows, shorten
from harness.report.leaderboard import Leaderboard, RowSummary
from harness.report.outside import OutsideCell, OutsideSummary, list_rows
from harness.report.outside_wording import name_change, tell_labels_used, tell_size
from harness.report.paper import DIGITS, NO_VALUE, PaperCell, PaperTable

OUTSIDE_FILE = "board-outside.csv"


def as_csv(tests: Sequence[OutsideSummary]) -> str:
    """The outside tests as CSV (RFC 4180, but with plain line ends)."""
    return print_rows(list(as_rows(tests)))


def as_rows(tests: Sequence[OutsideSummary]) -> Iterator[dict[str, Value]]:
    """The table, a dictionary a line; a row without a value there has one line, which says why."""
    for test in tests:
        for cell in test.cells.values():
            metrics = [name for name in test.seen.metrics if name in cell.seen.metrics] or [test.seen.objective]
            for metric in metrics:
                yield {name: shorten(value) for name, value in _describe(test, cell, metric).items()}


def _describe(test: OutsideSummary, cell: OutsideCell, metric: str) -> dict[str, Value]:
    spread, drop = cell.seen.metrics.get(metric), cell.drops.get(metric)
    low, high = (spread.interval if spread else None) or (None, None)
    seeds_low, seeds_high = (spread.interval_seeds if spread else None) or (None, None)
    drop_low, drop_high = (drop.interval if drop else None) or (None, None)
    ranks = metric == test.seen.objective
    return {
        "row": cell.row.name,
        "title": cell.row.title,
        "test": test.key,
        "test_title": test.title,
        "dataset": test.test.dataset,
        "splits": " ".join(test.test.splits),
        "status": cell.state,
        "rank": cell.seen.rank if ranks else None,
        "group": cell.seen.group if ranks else None,
        "seeds": len(spread.seeds) if spread else 0,
        "metric": metric,
        "value": spread.mean if spread else None,
        "deviation": spread.deviation if spread else None,
        "low": low,
        "high": high,
        "seeds_low": seeds_low,
        "seeds_high": seeds_high,
        "labels": spread.labels_used if spread else None,
        "inside": drop.inside if drop else None,
        "outside": drop.outside if drop else None,
        "drop": drop.value if drop else None,
        "drop_low": drop_low,
        "drop_high": drop_high,
        "drop_over": drop.over if drop and drop.interval else None,
        "drop_labels": len(test.labels[metric]) if drop else None,
        "reason": "; ".join(cell.reasons) or None,
        "remark": cell.mark or None,
    }


# --- for a paper -----------------------------------------------------------------------------------------------------


def make_matrix(summary: Leaderboard, tests: Sequence[OutsideSummary], called: str) -> PaperTable | None:
    """Rows and test sets, the board's own first, in the objective; None where nothing was measured outside."""
    rows = [row for row in list_rows(summary) if summary.objective in row.metrics]
    if not rows or not any(test.measured for test in tests):
        return None
    headings = ["row", "own test"]
    for test in tests:
        headings += [test.title, f"{name_change(summary)} to {test.title}"]
    return PaperTable(
        name=f"{called}-outside",
        headings=tuple(headings),
        rows=tuple(tuple(_list_cells(summary, tests, row)) for row in rows),
        numeric=(False, *(True for _ in headings[1:])),
        caption=tuple(_caption(summary, tests)),
    )


def _list_cells(summary: Leaderboard, tests: Sequence[OutsideSummary], row: RowSummary) -> Iterator[PaperCell]:
    yield PaperCell(row.title)
    yield _show(row, summary)
    for test in tests:
        cell = test.cells[row.name]
        measured = test.seen.objective in cell.seen.metrics
        yield _show(cell.seen, test.seen) if measured else PaperCell(cell.shown_state)
        drop = cell.drops.get(test.seen.objective)
        text = f"{drop.value:.{DIGITS}f} {format_pair(drop.interval)}".strip() if drop else NO_VALUE
        yield PaperCell(text)


def _show(row: RowSummary, seen: Leaderboard) -> PaperCell:
    """A value with its interval, bold where the row is in the first group of the test."""
    spread = row.metrics.get(seen.objective)
    text = " ".join(filter(None, (format_spread(spread, DIGITS), format_interval(spread)))) or NO_VALUE
    return PaperCell(text, is_best=row.group == 1 and seen.grouped)


def _caption(summary: Leaderboard, tests: Sequence[OutsideSummary]) -> Iterator[str]:
    change, called = name_change(summary), title_metric(summary.objective)
    counts = sorted({len(row.seeds) for row in summary.ranked}) or [0]
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    own = summary.data.name if summary.data else summary.board.dataset
    spread = "mean over labels" + (f" ± standard deviation over {seeds} seeds" if counts != [1] else "; one seed")
    yield f"{summary.board.title}: {called} on the own test ({own}) and on other datasets, without training again."
    yield f"{spread[0].upper()}{spread[1:]}; 95 % intervals of values are over patients."
    yield (
        f"{change.capitalize()}: how much worse a row is there than on the own test, over the same labels, with its "
        "95 % interval over the patients of both and, where a row has three seeds, over seeds."
    )
    for test in tests:
        used = "; ".join(tell_labels_used(test)) if test.matched else ""
        size = tell_size(test)
        told = "; ".join(filter(None, (size, used)))
        yield f"{test.title}: {told or 'not measured yet'}."
        if test.leak:
            yield f"Not ranked on {test.title}, as it leaks: {test.leak}."
            continue
        for cell in (cell for cell in test.measured if cell.mark):
            yield f"{cell.row.title} on {test.title}: the {change} is not judged, as {cell.mark}."
    if any(test.seen.grouped for test in tests) or summary.grouped:
        yield (
            "Bold: on each test set, the best row and those that are statistically tied with it (Holm-adjusted within "
            "the set, over patients and seeds)."
        )
