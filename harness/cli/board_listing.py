"""A summarized board as text: for a terminal, and as plain data."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from harness.evaluation.wording import MORE_SEEDS
from harness.parameters import tell_params
from harness.report.chance import count_test
from harness.report.column import InTerminal
from harness.report.columns import list_terminal_columns
from harness.report.ensembles import describe_plainly
from harness.report.format import tell_all_absences, tell_all_labels, tell_part, tell_scored
from harness.report.shadow import tell_shadows
from harness.report.trained import describe_shared
from harness.results.shadow import mark_shadow

if TYPE_CHECKING:
    from rich.table import Table

    from harness.report.leaderboard import Leaderboard
    from harness.report.paper import PaperTable


def as_plain(summary: Leaderboard) -> dict[str, Any]:
    """Return the ranking as plain data for JSON, without the records behind it."""
    rows = [
        {name: value for name, value in vars(row).items() if name not in ("records", "counted", "ensemble")}
        for row in summary.rows
    ]
    for row, one in zip(rows, summary.rows, strict=True):
        if one.ensemble is not None:
            row["ensemble"] = describe_plainly(one)
        row["embeddings"] = describe_shared(one, summary)
        row["metrics"] = {name: asdict(spread) for name, spread in row["metrics"].items()}
        row["submission"] = row["submission"] and row["submission"].model_dump()
        row["shadow"] = mark_shadow(row["pretraining"])
        row["pretraining"] = [part.model_dump() for part in row["pretraining"]]
        row["published"] = [asdict(one) for one in summary.beside.get(row["name"], ())]
    units, positives = count_test(summary)
    return {
        "title": summary.board.title,
        "objective": summary.objective,
        "higher_is_better": dict(summary.directions),
        "test_images": summary.data.splits["test"].images if summary.data else None,
        "test_images_left_out": summary.data.splits["test"].left_out if summary.data else None,
        "unit": summary.board.unit,
        "pool": summary.board.pool,
        "test_units": units,
        "positives": positives,
        "timings_compare": summary.timings_compare,
        "obstacle": summary.obstacle,
        "leak": summary.leak,
        "pairs": [asdict(pair) for pair in summary.pairs],
        "labels": {metric: list(labels) for metric, labels in summary.labels.items()},
        "rows": rows,
    }


def table(summary: Leaderboard, width: int) -> Table:
    """The ranking for a terminal of that width in characters: what does not fit is left to the page.

    Below it stand the reasons why rows are not done. Times are left out where they cannot be compared.
    """
    from rich.table import Table
    from rich.text import Text

    from harness.cli.output import line

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=summary.board.title, title_justify="left")
    shown = _choose_columns(summary, width)
    for column, _ in shown:
        made.add_column(column.heading, justify="left" if column.is_text else "right", overflow="fold")
    for texts in zip(*(texts for _, texts in shown), strict=True):
        made.add_row(*texts)
    made.caption_justify, made.caption_style = "left", ""
    made.caption = Text("\n").join(map(line, _remarks(summary))) or None
    return made


def arrange(paper: PaperTable) -> Table:
    """A table of chosen columns for a terminal, with its caption below."""
    from rich.table import Table

    from harness.cli.output import line

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading, numeric in zip(paper.headings, paper.numeric, strict=True):
        made.add_column(line(heading), justify="right" if numeric else "left", overflow="fold")
    for row in paper.rows:
        made.add_row(*(line(cell.text, style="bold" if cell.is_best else "") for cell in row))
    made.caption_justify, made.caption_style = "left", ""
    made.caption = line(" ".join(paper.caption))
    return made


def _choose_columns(summary: Leaderboard, width: int) -> list[tuple[InTerminal, list[str]]]:
    """The columns that fit, each with what it says of the rows."""
    columns = list_terminal_columns(summary)
    texts = {column: [column.text(row, summary) for row in summary.rows] for column in columns}
    widths = {column: max(len(text) for text in (column.heading, *texts[column])) + 2 for column in columns}
    shown = {c for c in columns if c.shown == "always" or (c.shown == "filled" and any(texts[c]))}
    if sum(widths[column] for column in shown) > width + 2:
        texts |= {c: [c.narrow(row, summary) for row in summary.rows] for c in columns if c.narrow is not None}
    for turn in ("early", "late"):
        for column in columns:
            taken = sum(widths[other] for other in shown)
            if column.shown == turn and taken + widths[column] <= width + 2:  # no gap after the last
                shown.add(column)
    return [(column, texts[column]) for column in columns if column in shown]


def _remarks(summary: Leaderboard) -> list[str]:
    """What the table cannot show: why rows are not done, and why there are no times."""
    part, scored = tell_part(summary), tell_scored(summary)
    remarks = [f"not ranked, as the splits leak: {summary.leak}"] if summary.leak else []
    remarks += tell_shadows(summary)
    remarks += [*([part] if part else []), *([f"scored over {scored}"] if scored else [])]
    remarks += [f"{row.name}: {', '.join(tell_params(row.params))}" for row in summary.rows if row.params]
    remarks += [f"{row.name}: {reason}" for row in summary.rows for reason in row.reasons]
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
