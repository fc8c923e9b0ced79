"""The columns of a board's metrics: the objective, its intervals and its drawing, the other metrics, and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from markupsafe import Markup

from harness.metric_names import full_name, title_metric
from harness.report.column import Cell, Column, InTerminal, OnPage, Value, make_small
from harness.report.drawing import NOTHING, draw_axis, draw_spread, make_scale
from harness.report.format import format_interval, format_number, format_pair, format_spread
from harness.report.leaderboard import Beside, Leaderboard, RowSummary, Spread


def list_asked(summary: Leaderboard) -> list[str]:
    """The metrics that the board asks for, by their full names."""
    return [full_name(name, summary.metrics) for name in summary.board.metrics]


def _order(summary: Leaderboard, metric: str) -> Literal["ascending", "descending"]:
    return "descending" if summary.directions.get(metric, True) else "ascending"


def _format_metric(name: str) -> Callable[[RowSummary, Leaderboard], str]:
    return lambda row, _: format_spread(row.metrics.get(name))


def describe_objective(summary: Leaderboard) -> Column:
    """What ranks the rows, with its intervals."""
    name = summary.objective

    def show(row: RowSummary, summary: Leaderboard) -> Cell:
        spread = row.metrics.get(name)
        shown = _show_objective(spread, len(summary.data.labels if summary.data else ()))
        published = Markup().join(
            make_small(f"published {one.value:.4f}", "small published") for one in _list_beside(row, summary)
        )
        return Cell(shown + published, kind="objective")

    def shorten(row: RowSummary, summary: Leaderboard) -> str:
        return f"{row.metrics[name].mean:.4f}" if name in row.metrics else ""

    has_intervals = any(row.metrics[name].interval for row in summary.rows if name in row.metrics)
    return Column(
        name=name,
        page=OnPage(heading=title_metric(name), cell=show, first=_order(summary, name)),
        terminal=InTerminal(
            heading=title_metric(name),
            text=lambda row, _: format_spread(row.metrics.get(name)),
            narrow=shorten if has_intervals else None,
        ),
    )


def _list_beside(row: RowSummary, summary: Leaderboard) -> list[Beside]:
    """The published numbers that can stand beside a row."""
    return [one for one in summary.beside.get(row.name, ()) if one.value is not None]


def shows_published(summary: Leaderboard) -> bool:
    """Whether a published number stands beside any row."""
    return any(_list_beside(row, summary) for row in summary.ranked)


def _show_objective(spread: Spread | None, labels: int) -> Markup:
    if spread is None:
        return NOTHING
    shown = Markup("{}").format(format_spread(spread))
    if spread.interval:
        shown += make_small(format_interval(spread))
    if spread.interval_seeds:
        shown += make_small(f"{format_pair(spread.interval_seeds)} with seeds")
    if spread.labels_used < labels:
        shown += make_small(f"{spread.labels_used} of {labels} labels")
    return shown


def draw_objective(summary: Leaderboard) -> Column:
    """The objective's interval and seeds as a drawing, on one scale for all rows."""
    name = summary.objective
    spreads = [row.metrics[name] for row in summary.ranked]
    published = [one for row in summary.ranked for one in _list_beside(row, summary)]
    scale = make_scale(
        [
            *(value for spread in spreads for value in (*spread.values, *(spread.interval or ()))),
            *(value for one in published for value in (one.value, *(one.interval or ())) if value is not None),
        ]
    )

    def show(row: RowSummary, summary: Leaderboard) -> Cell:
        spread = row.metrics.get(name)
        low = format_number(spread.interval[0], 4) if spread and spread.interval else ""
        beside = _list_beside(row, summary)
        tip = "\n".join(one.text for one in beside)
        return Cell(draw_spread(spread, scale, name, beside) if row.rank else "", low, "text", tip)

    heading, first = "interval and seeds", _order(summary, name)
    page = OnPage(heading=heading, cell=show, first=first, kind="text", above=draw_axis(scale))
    return Column(name=heading, page=page)


INTERVAL = Column(
    name="95 %",
    terminal=InTerminal(
        heading="95 %", text=lambda row, summary: format_interval(row.metrics.get(summary.objective)), shown="filled"
    ),
)


def _name_published(row: RowSummary, summary: Leaderboard) -> str:
    return " ".join(f"{one.value:.4f}" for one in _list_beside(row, summary))


PUBLISHED = Column(
    name="published",
    value=lambda row, summary: _name_published(row, summary) or None,
    terminal=InTerminal(heading="published", text=_name_published, shown="filled"),
)
"""What others published about a row, in the objective; never ranked."""


def describe_metric(summary: Leaderboard, name: str, *, leads: bool = False) -> Column:
    """A metric that does not rank; it `leads` where no row has a value of the objective."""
    kind, usual = "oracle" if name.endswith("@oracle") else "", name in list_asked(summary)

    def show(row: RowSummary, summary: Leaderboard) -> Cell:
        spread = row.metrics.get(name)
        tip = (
            f"{title_metric(name)}: 95 % over patients {format_interval(spread)}" if spread and spread.interval else ""
        )
        if tip and spread and spread.interval_seeds:
            tip += f", over patients and seeds {format_pair(spread.interval_seeds)}"
        return Cell(format_spread(spread, 3), kind=kind, tip=tip)

    return Column(
        name=name,
        page=OnPage(heading=title_metric(name), cell=show, first=_order(summary, name), kind=kind, usual=usual),
        terminal=InTerminal(
            heading=title_metric(name), text=lambda row, _: format_spread(row.metrics.get(name)), shown="late"
        ),
    )


def expand_metric(name: str) -> Iterator[Column]:
    """The columns of a metric in `board.csv`: its mean over seeds, what that varies by, and its intervals."""

    def column(suffix: str, read: Callable[[Spread], float | None]) -> Column:
        def value(row: RowSummary, _: Leaderboard) -> Value:
            return read(row.metrics[name]) if name in row.metrics else None

        return Column(name=name + suffix, value=value)

    yield column("", lambda spread: spread.mean)
    yield column("_deviation", lambda spread: spread.deviation)
    yield column("_low", lambda spread: spread.interval[0] if spread.interval else None)
    yield column("_high", lambda spread: spread.interval[1] if spread.interval else None)
    yield column("_seeds_low", lambda spread: spread.interval_seeds[0] if spread.interval_seeds else None)
    yield column("_seeds_high", lambda spread: spread.interval_seeds[1] if spread.interval_seeds else None)


def expand_labels(summary: Leaderboard, name: str, labels: Sequence[str]) -> Iterator[Column]:
    """The columns of a metric's labels in `board.csv`; the objective's with their intervals."""

    def bound(label: str, end: int) -> Callable[[RowSummary, Leaderboard], Value]:
        return lambda row, _: row.label_intervals[label][end] if label in row.label_intervals else None

    def value(label: str) -> Callable[[RowSummary, Leaderboard], Value]:
        return lambda row, _: row.per_label.get(name, {}).get(label)

    for label in labels:
        yield Column(name=f"{name}[{label}]", value=value(label))
        if name == summary.objective:
            yield Column(name=f"{name}[{label}]_low", value=bound(label, 0))
            yield Column(name=f"{name}[{label}]_high", value=bound(label, 1))
