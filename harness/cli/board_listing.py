"""A summarized board as text: for a terminal, and as plain data."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from harness.evaluation.wording import MORE_SEEDS
from harness.metric_names import full_name
from harness.report.format import (
    EXTERNAL,
    format_interval,
    format_number,
    format_spread,
    tell_all_absences,
    tell_all_labels,
)

if TYPE_CHECKING:
    from rich.table import Table

    from harness.report.leaderboard import Leaderboard, RowSummary, Spread


def as_plain(summary: Leaderboard) -> dict[str, Any]:
    """Return the ranking as plain data for JSON, without the records behind it."""
    rows = [
        {name: value for name, value in vars(row).items() if name not in ("records", "counted")} for row in summary.rows
    ]
    for row in rows:
        row["metrics"] = {name: asdict(spread) for name, spread in row["metrics"].items()}
    return {
        "title": summary.board.title,
        "objective": summary.objective,
        "higher_is_better": dict(summary.directions),
        "positives": dict(summary.data.splits["test"].positives) if summary.data else {},
        "timings_compare": summary.timings_compare,
        "obstacle": summary.obstacle,
        "pairs": [asdict(pair) for pair in summary.pairs],
        "labels": {metric: list(labels) for metric, labels in summary.labels.items()},
        "rows": rows,
    }


def table(summary: Leaderboard, width: int) -> Table:
    """The ranking for a terminal of that width in characters: what does not fit is left to the page.

    Below it stand the reasons why rows are not done. Times are left out where they cannot be compared.
    """
    from rich.markup import escape
    from rich.table import Table

    asked = [full_name(name, summary.metrics) for name in summary.board.metrics]
    metrics = [name for name in dict.fromkeys([summary.objective, *asked]) if name in summary.metrics]
    columns: dict[str, list[str]] = {
        "#": [str(row.rank or "") for row in summary.rows],
        "group": [str(row.group or "") for row in summary.rows],
        "row": [row.name for row in summary.rows],
        **{name: [format_spread(row.metrics.get(name)) for row in summary.rows] for name in metrics[:1]},
        "95 %": [format_interval(row.metrics.get(summary.objective)) for row in summary.rows],
        **{name: [format_spread(row.metrics.get(name)) for row in summary.rows] for name in metrics[1:]},
        "seeds": [_format_seeds(row, summary) for row in summary.rows],
        "images/s": [format_number(row.efficiency.get("train_images_per_second"), 0) for row in summary.rows],
        "minutes": [format_number(row.efficiency.get("train_minutes"), 1) for row in summary.rows],
        "status": [_format_status(row) for row in summary.rows],
    }
    widths = {name: max(len(text) for text in (name, *texts)) + 2 for name, texts in columns.items()}
    shown = {"#", "row", *metrics[:1], "seeds", "status"}
    shown |= {name for name in ("group", "95 %") if any(columns[name])}
    wanted = ["images/s", "minutes", *metrics[1:]] if summary.timings_compare else metrics[1:]
    if sum(widths[name] for name in shown) > width + 2 and any(columns["95 %"]):
        columns[summary.objective] = [_format_mean(row.metrics.get(summary.objective)) for row in summary.rows]
    for name in wanted:
        if sum(widths[other] for other in shown) + widths[name] <= width + 2:  # no gap after the last
            shown.add(name)
    made = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), title=escape(summary.board.title), title_justify="left"
    )
    for name in (name for name in columns if name in shown):
        made.add_column(escape(name), justify="left" if name in ("row", "status") else "right", overflow="fold")
    for texts in zip(*(columns[name] for name in columns if name in shown), strict=True):
        made.add_row(*map(escape, texts))
    made.caption_justify, made.caption_style = "left", ""
    made.caption = escape("\n".join(_remarks(summary))) or None
    return made


def _remarks(summary: Leaderboard) -> list[str]:
    """What the table cannot show: why rows are not done, and why there are no times."""
    remarks = [f"{row.name}: {reason}" for row in summary.rows for reason in row.reasons]
    if summary.grouped:
        remarks.append("rows of one group do not differ significantly from its best; 95 % intervals are over patients")
    elif summary.compared:
        remarks.append(f"rows stand in no groups: {MORE_SEEDS}; 95 % intervals are over patients")
    if summary.obstacle:
        remarks.append(f"rows are not compared: {summary.obstacle}")
    remarks += [*tell_all_labels(summary), *tell_all_absences(summary)]
    if not summary.timings_compare:
        machines = "; ".join(f"{device}, harness {version}" for device, version in summary.machines)
        remarks.append(f"times are not compared, they come from {machines}")
    return remarks


def _format_seeds(row: RowSummary, summary: Leaderboard) -> str:
    return f"{len(row.seeds)}" if row.external is not None else f"{len(row.seeds)}/{len(summary.board.seeds)}"


def _format_status(row: RowSummary) -> str:
    if row.external is not None:
        return f"{row.status}, {EXTERNAL}"
    return f"control, {row.status}" if row.control else row.status


def _format_mean(spread: Spread | None) -> str:
    return "" if spread is None else f"{spread.mean:.4f}"
