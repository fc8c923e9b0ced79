"""A board's page: one HTML file from records and board.toml alone; the same input gives the same bytes."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from harness.board import Board
from harness.evaluation.names import POLICIES, split_name
from harness.files import write_atomically
from harness.report.drawing import history_chart, spread_bar
from harness.report.published import read_published
from harness.report.summary import Leaderboard, RowSummary, format_number, format_spread, summarize
from harness.results.record import Record
from harness.results.store import read_records

FILE = "index.html"


def render(board: Board) -> Path:
    """Write a board's `index.html` beside its `board.toml`. Reads records and published rows, nothing else."""
    found = read_records(board.folder)
    summary = summarize(board, found.records)
    path = board.folder / FILE
    write_atomically(path, render_text(summary, found.problems, read_published(board.folder)))
    return path


def render_text(summary: Leaderboard, problems: Sequence[str] = (), published: Sequence[Any] = ()) -> str:
    """The page as text."""
    style, script = _part("style.css"), _part("page.js")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_part),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "spread": format_spread,
        "number": format_number,
        "plain_date": lambda text: text[:10],
        "params": _describe_params,
        "megabytes": lambda value: format_number(None if value is None else value / 2**20, 0),
        "millions": lambda value: format_number(None if value is None else value / 1e6, 2),
        "command": _describe_command,
    }
    return environment.get_template("page.html.j2").render(
        summary=summary,
        board=summary.board,
        answer=_answer(summary),
        problems=problems,
        published=published,
        reference=_reference(summary),
        policies=POLICIES,
        metrics=[name for name in summary.metrics if name != summary.objective],
        columns=_extra_columns(summary),
        label_metrics=[name for name in summary.metrics if not name.endswith("@oracle")],
        oracle=[name for name in summary.metrics if split_name(name)[1] == "oracle"],
        cells=_label_cells(summary),
        spread_bar=lambda row: spread_bar(row, summary),
        history_chart=history_chart,
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        policy=_content_security_policy(style, script),
    )


def _part(name: str) -> str:
    return (importlib.resources.files("harness.templates") / name).read_text(encoding="utf-8")


def _content_security_policy(style: str, script: str) -> str:
    """Nothing may be loaded or run but the page's own style and script."""

    def hashed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    allowed = f"style-src {hashed(style)}; script-src {hashed(script)}; img-src data:"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _reference(summary: Leaderboard) -> Record | None:
    """The record that tells what was measured: the first done one of the best row."""
    records = [record for row in summary.rows if row.rank for record in row.records if record.status == "done"]
    return records[0] if records else None


def _answer(summary: Leaderboard) -> str:
    """One sentence: which row leads, and whether by more than its seeds differ."""
    ranked = [row for row in summary.rows if row.rank is not None]
    if not ranked:
        return ""
    best = ranked[0]
    seeds = f"{len(best.seeds)} seed{'s' if len(best.seeds) != 1 else ''}"
    lead = (
        f"{_shown(best)} leads with {summary.objective} {format_spread(best.metrics[summary.objective])} over {seeds}"
    )
    if len(ranked) == 1:
        return lead + "; it is the only row measured yet."
    second = ranked[1]
    first_spread, second_spread = best.metrics[summary.objective], second.metrics[summary.objective]
    gap = abs(first_spread.mean - second_spread.mean)
    deviations = [spread.deviation for spread in (first_spread, second_spread) if spread.deviation is not None]
    if not deviations:
        verdict = "one seed each cannot tell whether that is noise"
    elif gap <= max(deviations):
        verdict = "which is no more than its seeds differ"
    else:
        verdict = f"{gap / max(*deviations, 1e-9):.1f} times the larger spread over seeds"
    return f"{lead}, {gap:.4f} ahead of {_shown(second)}: {verdict}."


def _shown(row: RowSummary) -> str:
    return f"{row.model} with {row.loss} ({row.recipe})"


def _describe_params(params: dict[str, dict[str, Any]]) -> str:
    return ", ".join(
        f"{section}.{name} = {json.dumps(value)}"
        for section, values in params.items()
        for name, value in values.items()
    )


def _describe_command(row: RowSummary, board: Board) -> str:
    """What reproduces a row from the board's folder."""
    return f"harness run {board.folder.name} --only '{row.name}' --force"


COLUMNS = {
    "train_images_per_second": ("train img/s", 0, 1.0),
    "inference_images_per_second": ("test img/s", 0, 1.0),
    "train_minutes": ("train min", 1, 1.0),
    "parameters": ("M params", 2, 1e-6),
    "peak_device_bytes": ("peak MiB", 0, 1 / 2**20),
}


def _extra_columns(summary: Leaderboard) -> dict[str, tuple[str, int, float]]:
    """What it cost, as far as any row says so."""
    return {name: column for name, column in COLUMNS.items() if any(name in row.efficiency for row in summary.rows)}


def _label_cells(summary: Leaderboard) -> dict[str, dict[str, dict[str, Any]]]:
    """metric -> row -> label -> shown value and shade: 0 for the worst of its column, 6 for the best."""
    higher = {
        name: part.higher_is_better for row in summary.rows for r in row.records for name, part in r.metrics.items()
    }
    cells: dict[str, dict[str, dict[str, Any]]] = {}
    for metric in summary.metrics:
        cells[metric] = {row.name: {} for row in summary.rows}
        for label in summary.labels:
            column = {
                row.name: row.per_label[metric][label] for row in summary.rows if label in row.per_label.get(metric, {})
            }
            if not column:
                continue
            low, high = min(column.values()), max(column.values())
            for name, value in column.items():
                share = (value - low) / (high - low) if high > low else 0.5
                share = share if higher.get(metric, True) else 1 - share
                cells[metric][name][label] = {"value": value, "shade": round(6 * share), "best": share == 1}
    return cells
