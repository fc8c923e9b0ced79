"""One row of a board, as text for a terminal and as plain data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import UnknownNameError
from harness.evaluation.wording import tell_absences
from harness.metric_names import title_metric
from harness.report.chance import count_test
from harness.report.details import MEASURES, RowDetails, describe_submission, gather_details, gather_origins
from harness.report.ensembles import list_members, mark_ensemble, tell_command, tell_making
from harness.report.format import EXTERNAL, format_interval, format_number, format_pair, format_spread
from harness.report.leaderboard import Leaderboard, RowSummary
from harness.report.shadow import tell_pretraining
from harness.report.trained import tell_training
from harness.results.layout import WEIGHTS, run_path
from harness.results.store import read_groups

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from harness.evaluation.subgroups import Gap

LABELLED = 3
"""Metrics that the table of labels shows: the objective, and those that the board names first."""


def find_summary(summary: Leaderboard, name: str) -> RowSummary:
    """The row of that name. Raises `UnknownNameError`."""
    rows = {row.name: row for row in summary.rows}
    if name not in rows:
        raise UnknownNameError(f"row of {summary.board.folder}", name, rows)
    return rows[name]


def as_plain_row(summary: Leaderboard, row: RowSummary) -> dict[str, Any]:
    """Return the row as plain data, its records whole."""
    from harness.cli.board_listing import as_plain

    described = next(one for one in as_plain(summary)["rows"] if one["name"] == row.name)
    records = [json.loads(record.model_dump_json()) for record in row.records]
    return {"board": str(summary.board.folder), "objective": summary.objective, **described, "records": records}


def as_text(summary: Leaderboard, row: RowSummary) -> list[RenderableType]:
    """What the page shows of a row: its metrics, its labels, calibration, subgroups, cost, and how it was made."""
    from harness.cli.output import line

    folder = summary.board.folder
    details = gather_details(row.counted, {record.combo.seed: read_groups(folder, record) for record in row.counted})
    parts: list[RenderableType] = [line(row.name, style="bold"), *map(line, _introduce(summary, row))]
    if row.metrics:
        absent = tell_absences({metric: spread.no_interval for metric, spread in row.metrics.items()})
        parts += [line(), _metrics(summary, row), *map(line, absent), line(), _labels(summary, row)]
    if details.calibration:
        parts += [line(), _calibration(details)]
        if details.uncalibrated:
            parts.append(line(f"calibration is without {', '.join(details.uncalibrated)}"))
    if details.columns:
        parts += [line(), _subgroups(details, summary)]
    cost = [
        f"{name.replace('_', ' ')}: {format_number(value, 0 if value >= 100 else 2)}"
        for name, value in row.efficiency.items()
    ]
    if cost:
        parts += [line(), line("; ".join(cost))]
    made = [
        *(f"seed {_join(seeds)}: {text}" for text, seeds in details.execution.items()),
        *(f"seed {_join(keys)}: {command}, {what}" for (command, what), keys in gather_origins(row.records).items()),
    ]
    made += [
        f"weights, seed {record.combo.seed}: {weights}"
        for record in row.counted
        if WEIGHTS in record.artifacts and (weights := run_path(folder, record.key) / WEIGHTS).is_file()
    ]
    if row.name in summary.board.row_names:
        data = any(record.provenance.data_root for record in summary.counted)
        command = tell_command(str(summary.board.folder), row, data=data)
        made.append(f"to {'make' if row.ensemble is not None else 'measure'} it again: {command}")
    return [*parts, line(), *map(line, made)]


def _introduce(summary: Leaderboard, row: RowSummary) -> list[str]:
    place = "control" if row.control else f"rank {row.rank}" if row.rank else "not ranked"
    group = f", group {row.group}" if row.group else ""
    params = [f"{section}.{name} = {value}" for section, values in row.params.items() for name, value in values.items()]
    seeds = f"seeds {_join(row.seeds)} of {_join(summary.board.seeds)}" if row.seeds else "no seed has a result"
    return [
        *(text for text in (row.own_title, row.about) if text),
        f"{row.model}, {EXTERNAL}: {row.external}"
        if row.external is not None
        else mark_ensemble(row)
        if row.ensemble is not None
        else f"{row.model}, {row.loss}, {row.recipe}{''.join(f', {text}' for text in params)}",
        f"{row.status}, {place}{group}, {seeds}",
        *(f"{name}: {value}" for name, value in describe_submission(row.submission).items()),
        *tell_making(row),
        *(f"member: {one.row}{f', {one.weights}' if one.weights else ''}" for one in list_members(row, summary)),
        *tell_training(row, summary),
        *tell_pretraining(row),
        *row.reasons,
        *(one.text for one in summary.beside.get(row.name, ())),
    ]


def _metrics(summary: Leaderboard, row: RowSummary) -> Table:
    names = [name for name in dict.fromkeys([summary.objective, *summary.metrics]) if name in row.metrics]
    table = make_table(
        "metric",
        "mean of labels ± over seeds",
        "95 % over patients",
        "over patients and seeds",
        "labels",
        *(f"seed {s}" for s in row.seeds),
    )
    for name in names:
        spread = row.metrics[name]
        by_seed = dict(zip(spread.seeds, spread.values, strict=True))
        seeds = (format_number(by_seed.get(seed), 4) for seed in row.seeds)
        table.add_row(
            title_metric(name),
            format_spread(spread),
            format_interval(spread, 4),
            format_pair(spread.interval_seeds, 4),
            str(spread.labels_used),
            *seeds,
        )
    return table


def _labels(summary: Leaderboard, row: RowSummary) -> Table:
    names = [name for name in dict.fromkeys([summary.objective, *summary.metrics]) if name in row.metrics][:LABELLED]
    _, positives = count_test(summary)
    table = make_table(
        "label", "positives", *map(title_metric, names), *(f"threshold, seed {seed}" for seed in row.seeds)
    )
    thresholds = {r.combo.seed: r.thresholds.get("val-f1", {}) for r in row.records if r.combo.seed in row.seeds}
    for label in summary.data.labels if summary.data else ():
        values = []
        for name in names:
            value = format_number(row.per_label.get(name, {}).get(label), 4)
            interval = row.label_intervals.get(label) if name == summary.objective and value else None
            values.append(" ".join(filter(None, [value, format_pair(interval)])))
        fitted = (format_number(thresholds[seed].get(label), 3) for seed in row.seeds)
        table.add_row(label, f"{positives.get(label, 0):,}", *values, *fitted)
    return table


def _calibration(details: RowDetails) -> Table:
    table = make_table("calibration", "ECE, equal width", "ECE, equal mass", "Brier")
    for name, values in details.calibration.items():
        table.add_row(name, *(format_number(values.get(measure), 4) for measure in MEASURES))
    return table


def _subgroups(details: RowDetails, summary: Leaderboard) -> Table:
    metrics = details.columns[0].metrics
    counted = [] if summary.board.unit == "patient" else [summary.units]
    table = make_table("subgroup", *counted, "patients", *map(title_metric, metrics))
    for column in details.columns:
        for group in column.groups:
            values = (format_number(group.macro.get(metric), 3) for metric in metrics)
            table.add_row(
                f"{column.name} {group.name}", *(f"{group.images:,}" for _ in counted), f"{group.patients:,}", *values
            )
        if column.overall:
            gaps = (_format_gap(column.overall.get(metric)) for metric in metrics)
            table.add_row(f"{column.name}, largest gap", *("" for _ in counted), "", *gaps)
    return table


def _format_gap(gap: Gap | None) -> str:
    if gap is None:
        return ""
    chance = "" if gap.p is None else f", p {gap.p:.3f}"
    return f"{format_number(gap.value, 3)} {format_pair(gap.interval)}{chance}"


def make_table(*columns: str) -> Table:
    """An empty table whose first column is text."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    return table


def _join(seeds: Iterable[int] | Sequence[int]) -> str:
    return " ".join(map(str, seeds))
