"""What became of boards, as text for a terminal, Markdown for a pull request, and plain data for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from harness.metric_names import title_metric
from harness.report.difference import CHANGE_KINDS, BoardDifference, MetricChange, RowChange
from harness.report.format import format_interval, format_spread
from harness.report.markup import escape_markdown

if TYPE_CHECKING:
    from rich.console import RenderableType


def as_plain(difference: BoardDifference) -> dict[str, Any]:
    """Return what became of boards as plain data for JSON."""
    return {
        "board": difference.name,
        "objective": difference.objective,
        "notes": list(difference.notes),
        "rows": [
            {
                "row": change.row,
                "kind": change.kind,
                "note": change.note,
                "speed": change.speed,
                "values": {name: asdict(spread) for name, spread in change.values.items()},
                "metrics": {one.metric: {**vars(one), "delta": one.delta} for one in change.metrics},
            }
            for change in difference.rows
        ],
    }


def count_kinds(difference: BoardDifference) -> str:
    """`1 new, 2 changed beyond noise, 9 unchanged`."""
    counts = {text: len(difference.of(kind)) for kind, text in CHANGE_KINDS.items()}
    return ", ".join(f"{count} {text}" for text, count in counts.items() if count) or "no results"


def as_text(difference: BoardDifference) -> list[RenderableType]:
    """Return text for a terminal: how many rows of each kind, the rows, the notes."""
    from rich.table import Table

    from harness.cli.output import line

    parts: list[RenderableType] = [line(f"{difference.name}: {count_kinds(difference)}", style="bold")]
    for kind, text in CHANGE_KINDS.items():
        changes = difference.of(kind)
        if changes and kind != "same":
            table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
            for change in changes:
                for number, (name, value) in enumerate(_lines(change, difference.objective) or [("", "")]):
                    note = change.note if number == 0 else ""
                    table.add_row(line(f"  {change.row if number == 0 else ''}"), line(name), line(value), line(note))
            parts += [line(text), table]
    return [*parts, *(line(note) for note in difference.notes)]


def as_markdown(difference: BoardDifference) -> str:
    """Return Markdown for the description of a pull request, or a comment on it."""
    lines = [f"### {escape_markdown(difference.name)}", "", f"{count_kinds(difference)}.", ""]
    shown = [change for change in difference.rows if change.kind != "same"]
    if shown:
        lines += ["| row | | metric | value or change | note |", "|---|---|---|---|---|"]
    for change in shown:
        values = _lines(change, difference.objective) or [("", "")]
        cells = [
            escape_markdown(change.row),
            CHANGE_KINDS[change.kind],
            "<br>".join(escape_markdown(name) for name, _ in values),
            "<br>".join(escape_markdown(value) for _, value in values),
            escape_markdown(change.note),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- {escape_markdown(note)}" for note in difference.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _lines(change: RowChange, objective: str) -> list[tuple[str, str]]:
    """The objective and whatever changed beyond noise: metric, and its change in words; then the speed.

    A row that one state alone has is told with its values: the mean, its deviation over seeds and its interval.
    """
    if change.values:
        return [
            (title_metric(name), " ".join(filter(None, (format_spread(spread), format_interval(spread)))))
            for name, spread in change.values.items()
            if not name.endswith("@oracle")
        ]
    told = [one for one in change.metrics if one.metric == objective or one.verdict in ("better", "worse")]
    lines = [(title_metric(one.metric), _tell(one)) for one in told]
    if change.speed is not None:
        lines.append(("train images/s", f"{change.speed - 1:+.0%}"))
    return lines


def _tell(one: MetricChange) -> str:
    text = f"{one.before:.4f} -> {one.after:.4f}"
    if one.verdict == "same":
        return text
    text += f", {one.delta:+.4f}"
    if one.interval is not None:
        text += f" [{one.interval[0]:.4f}, {one.interval[1]:.4f}]"
    if one.p_holm is not None:
        text += ", p < 0.001" if one.p_holm < 0.001 else f", p = {one.p_holm:.3f}"
    return f"{text}, {one.verdict}" if one.verdict in ("better", "worse") else text
