"""From records to the rows of a leaderboard: plain values, ready for a page or a terminal."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from harness.board import Board, Row
from harness.evaluation.names import full_name
from harness.results.record import EfficiencyPart, Record

if TYPE_CHECKING:
    from rich.table import Table

Status = Literal["done", "partial", "failed", "skipped", "stale", "missing"]


@dataclass(frozen=True)
class Spread:
    """A number over the seeds of a row."""

    mean: float
    deviation: float | None
    """Sample standard deviation; None with one seed."""
    values: tuple[float, ...]
    """By seed, in the order of the seeds."""


@dataclass(frozen=True)
class RowSummary:
    """One row of the leaderboard."""

    name: str
    model: str
    loss: str
    recipe: str
    params: dict[str, dict[str, Any]]
    status: Status
    reasons: tuple[str, ...]
    """Why it is not done, seed by seed."""
    rank: int | None
    """Among rows with a value of the objective; None for the others."""
    seeds: tuple[int, ...]
    """Whose records count."""
    metrics: dict[str, Spread]
    per_label: dict[str, dict[str, float]]
    """metric -> label -> mean over the seeds for which it is defined."""
    efficiency: dict[str, float]
    """Means over seeds."""
    records: tuple[Record, ...] = field(repr=False, default=())


@dataclass(frozen=True)
class Leaderboard:
    """A board with its results."""

    board: Board
    objective: str
    """Its full name: `f1` in a board is `f1@val-f1`."""
    higher_is_better: bool
    rows: tuple[RowSummary, ...]
    """Ranked rows first, then the others in the board's order."""
    metrics: tuple[str, ...]
    labels: tuple[str, ...]
    devices: tuple[str, ...]
    versions: tuple[str, ...]
    """Of the harness."""


def summarize(board: Board, records: Sequence[Record]) -> Leaderboard:
    """Average a board's records over seeds and rank its rows by the objective.

    A record counts when it is done and belongs to what `board.toml` says now: dataset, options, row and seed; and to
    the data that most of those records were made on. Others are stale: shown, not ranked.
    """
    fingerprint = _current_fingerprint(board, records)
    ours = {row.name: row for row in board.rows}
    extra = {r.combo.row: _row_of(r) for r in records if r.combo.row not in ours}
    metrics = _metric_names(board, records)
    objective = full_name(board.objective, metrics)
    higher = next((r.metrics[objective].higher_is_better for r in records if objective in r.metrics), True)
    rows = [
        _summarize_row(
            board, name, row, [r for r in records if r.combo.row == name], fingerprint, metrics, known=name in ours
        )
        for name, row in (ours | extra).items()
    ]
    return Leaderboard(
        board=board,
        objective=objective,
        higher_is_better=higher,
        rows=tuple(_rank(rows, objective, higher=higher)),
        metrics=metrics,
        labels=tuple(dict.fromkeys(label for r in records for label in r.dataset.labels)),
        devices=tuple(sorted({r.provenance.device for r in records if r.status == "done"})),
        versions=tuple(sorted({r.provenance.harness for r in records})),
    )


def _current_fingerprint(board: Board, records: Iterable[Record]) -> str | None:
    """Of the data that most current records were made on; of equals the first by name."""
    found = [r.dataset.fingerprint for r in records if _belongs(board, r)]
    return max(sorted(set(found)), key=found.count) if found else None


def _belongs(board: Board, record: Record) -> bool:
    return (
        record.combo.dataset == board.dataset
        and record.combo.options == board.options
        and record.combo.seed in board.seeds
    )


def _row_of(record: Record) -> Row:
    """The row of a record that the board does not name."""
    return Row(record.combo.model, record.combo.loss, record.combo.recipe, record.combo.params)


def _metric_names(board: Board, records: Sequence[Record]) -> tuple[str, ...]:
    """Every measured metric, those that the board asks for first and in its order."""
    measured = list(dict.fromkeys(name for record in records for name in record.metrics))
    asked = [name for base in board.metrics for name in measured if name == base or name.startswith(f"{base}@")]
    return tuple(dict.fromkeys([*asked, *measured]))


def _summarize_row(
    board: Board,
    name: str,
    row: Row,
    records: list[Record],
    fingerprint: str | None,
    metrics: tuple[str, ...],
    *,
    known: bool,
) -> RowSummary:
    current = [r for r in records if known and _belongs(board, r) and r.dataset.fingerprint == fingerprint]
    done = [r for r in current if r.status == "done"]
    reasons = [f"seed {r.combo.seed}: {r.failure.kind}: {r.failure.message}" for r in current if r.failure]
    if len(current) < len(records):
        reasons.append(f"{len(records) - len(current)} records are of other data or choices than board.toml says now")
    present = {r.combo.seed for r in current}
    absent = [str(seed) for seed in board.seeds if seed not in present]
    if absent and known:
        reasons.append(f"not run yet: seed {', '.join(absent)}")
    return RowSummary(
        name=name,
        model=row.model,
        loss=row.loss,
        recipe=row.recipe,
        params=row.params,
        status=_status(len(done), len(board.seeds), current, records),
        reasons=tuple(reasons),
        rank=None,
        seeds=tuple(r.combo.seed for r in done),
        metrics={
            metric: spread
            for metric in metrics
            if (spread := _spread(r.metrics[metric].macro for r in done if metric in r.metrics))
        },
        per_label={metric: _per_label(done, metric) for metric in metrics},
        efficiency=_efficiency(done),
        records=tuple(records),
    )


def _status(done: int, wanted: int, current: list[Record], records: list[Record]) -> Status:
    if done:
        return "done" if done >= wanted else "partial"
    if current:
        return "failed" if any(r.status == "failed" for r in current) else "skipped"
    return "stale" if records else "missing"


def _spread(values: Iterable[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None, tuple(known))


def _per_label(done: Sequence[Record], metric: str) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for record in done:
        for label, part in record.metrics[metric].per_label.items() if metric in record.metrics else ():
            if part.value is not None:
                found.setdefault(label, []).append(part.value)
    return {label: statistics.fmean(values) for label, values in found.items()}


def _efficiency(done: Sequence[Record]) -> dict[str, float]:
    """Mean cost of a seed: images a second, minutes, parameters, peak bytes."""
    values: dict[str, list[float]] = {}
    for record in done:
        parts = record.efficiency
        numbers = {name: getattr(parts, name) for name in EfficiencyPart.model_fields if name != "seconds"}
        numbers["train_minutes"] = parts.seconds["train"] / 60 if "train" in parts.seconds else None
        for name, number in numbers.items():
            if number is not None:
                values.setdefault(name, []).append(float(number))
    return {name: statistics.fmean(numbers) for name, numbers in values.items()}


def _rank(rows: Iterable[RowSummary], objective: str, *, higher: bool) -> list[RowSummary]:
    """Rows with a value of the objective first, best first; equal values share a rank. Oracle metrics never rank."""
    rows = list(rows)
    if objective.endswith("@oracle"):
        return rows
    sign = -1 if higher else 1
    valued = sorted(
        (row for row in rows if objective in row.metrics),
        key=lambda row: (sign * row.metrics[objective].mean, row.name),
    )
    ranked: list[RowSummary] = []
    for place, row in enumerate(valued, start=1):
        before = ranked[-1] if ranked else None
        tied = before is not None and before.metrics[objective].mean == row.metrics[objective].mean
        ranked.append(replace(row, rank=before.rank if tied and before is not None else place))
    return [*ranked, *(row for row in rows if objective not in row.metrics)]


# --- for the terminal ------------------------------------------------------------------------------------------------


def as_plain(summary: Leaderboard) -> dict[str, Any]:
    """As plain data for JSON."""
    rows = [{name: value for name, value in vars(row).items() if name != "records"} for row in summary.rows]
    for row in rows:
        row["metrics"] = {name: asdict(spread) for name, spread in row["metrics"].items()}
    return {"title": summary.board.title, "objective": summary.objective, "rows": rows}


def table(summary: Leaderboard, width: int) -> Table:
    """The ranking as a table for a terminal of that width: metrics that do not fit are left to the page."""
    from rich.table import Table

    asked = [full_name(name, summary.metrics) for name in summary.board.metrics]
    shown = [name for name in dict.fromkeys([summary.objective, *asked]) if name in summary.metrics]
    columns: dict[str, list[str]] = {
        name: [format_spread(row.metrics.get(name)) for row in summary.rows] for name in shown
    }
    cost: dict[str, list[str]] = {
        "img/s": [format_number(row.efficiency.get("train_images_per_second"), 0) for row in summary.rows],
        "minutes": [format_number(row.efficiency.get("train_minutes"), 1) for row in summary.rows],
    }
    columns = dict(list(columns.items())[:1]) | cost | columns
    fixed: dict[str, list[str]] = {
        "#": [str(row.rank or "") for row in summary.rows],
        "row": [row.name for row in summary.rows],
        "seeds": [f"{len(row.seeds)}/{len(summary.board.seeds)}" for row in summary.rows],
        "status": [row.status for row in summary.rows],
    }
    left = width - sum(_width(name, values) for name, values in fixed.items())
    chosen: dict[str, list[str]] = {}
    for name, values in columns.items():
        left -= _width(name, values)
        if left >= 0 or not chosen:
            chosen[name] = values
    order = [
        "#",
        "row",
        *(name for name in shown if name in chosen),
        "seeds",
        *(name for name in cost if name in chosen),
        "status",
    ]
    made = Table(box=None, pad_edge=False, header_style="bold", title=summary.board.title, title_justify="left")
    for name in order:
        made.add_column(name, no_wrap=True, justify="left" if name in ("row", "status") else "right")
    everything = fixed | chosen
    for index in range(len(summary.rows)):
        made.add_row(*(everything[name][index] for name in order))
    return made


def _width(heading: str, values: Sequence[str]) -> int:
    """Characters that a column takes, with the gap before it."""
    return max(len(text) for text in (heading, *values)) + 2


def format_spread(spread: Spread | None) -> str:
    """`0.8123 ±0.0045`, the latter over seeds; empty where there is none."""
    if spread is None:
        return ""
    return f"{spread.mean:.4f}" + (f" ±{spread.deviation:.4f}" if spread.deviation is not None else "")


def format_number(value: float | None, digits: int) -> str:
    """A number with thousands separated; empty where there is none."""
    return "" if value is None or math.isnan(value) else f"{value:,.{digits}f}"
