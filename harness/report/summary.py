"""From records to the rows of a leaderboard: plain values, ready for a page or a terminal."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from harness.board import Board, Row
from harness.evaluation.names import DEFAULT, full_name
from harness.report.staleness import current_fingerprint, why_stale
from harness.results.provenance import scrub_paths
from harness.results.record import DatasetPart, EfficiencyPart, Record

if TYPE_CHECKING:
    from rich.table import Table

Status = Literal["done", "partial", "failed", "skipped", "stale", "missing"]


@dataclass(frozen=True)
class Spread:
    """A metric's macro over the seeds of a row."""

    mean: float
    deviation: float | None
    """Sample standard deviation (n - 1); None with one seed."""
    values: tuple[float, ...]
    seeds: tuple[int, ...]
    """Whose values they are, in the same order."""
    labels_used: int
    """Labels that the macro averages, the fewest over the seeds."""
    interval: tuple[float, float] | None = None
    """Against patients; None until it is measured."""


@dataclass(frozen=True)
class RowSummary:
    """One row of the leaderboard."""

    name: str
    model: str
    loss: str
    recipe: str
    params: Mapping[str, Mapping[str, Any]]
    status: Status
    reasons: tuple[str, ...]
    """Why it is not simply done, seed by seed."""
    rank: int | None
    """Among rows with a value of the objective; None for the others."""
    seeds: tuple[int, ...]
    """Whose records count."""
    metrics: Mapping[str, Spread]
    per_label: Mapping[str, Mapping[str, float]]
    """metric -> label -> mean over the seeds for which it is defined; an undefined label is absent."""
    efficiency: Mapping[str, float]
    """Means over seeds: the numbers of a record's `efficiency`, and `train_minutes`."""
    records: tuple[Record, ...] = field(repr=False, default=())
    """All of the row, in the order of the seeds, stale ones too."""


@dataclass(frozen=True)
class Leaderboard:
    """A board with its results."""

    board: Board
    objective: str
    """Its full name: `f1` in a board is `f1@val-f1`."""
    directions: Mapping[str, bool]
    """Metric -> whether higher is better: what the board asks for first, then by policy, oracle last."""
    rows: tuple[RowSummary, ...]
    """Ranked rows first, then the others in the board's order."""
    data: DatasetPart | None
    """What was measured on; None while nothing was."""
    counted: tuple[Record, ...] = field(repr=False, default=())
    """The records that the numbers come from."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all metrics, in the order in which they are shown."""
        return tuple(self.directions)

    @property
    def ranked(self) -> tuple[RowSummary, ...]:
        """The rows that have a rank, best first."""
        return tuple(row for row in self.rows if row.rank is not None)

    @property
    def machines(self) -> tuple[tuple[str, str], ...]:
        """Device and harness version of everything that was timed."""
        return tuple(sorted({(r.provenance.device, r.provenance.harness) for r in self.counted}))

    @property
    def timings_compare(self) -> bool:
        """Whether times may stand side by side: one device name and one version of the harness."""
        return len(self.machines) <= 1


@dataclass(frozen=True)
class Lead:
    """How far the first row is ahead of the second, in the objective."""

    first: RowSummary
    second: RowSummary
    difference: float
    """At least 0."""
    seed_error: float | None
    """Standard error of the difference from seeds alone: sqrt(s^2/k_1 + s^2/k_2), s^2 the variance over seeds pooled
    over the ranked rows, k the seeds of each. None where no row has two seeds."""


def summarize(board: Board, records: Sequence[Record]) -> Leaderboard:
    """Average a board's records over seeds and rank its rows by the objective.

    A record counts when it is done and belongs to what `board.toml` says now (dataset, options, row, seed) and to the
    data that most such records were made on. Others are stale: shown, not ranked.
    """
    known = {row.name: row for row in board.rows}
    fingerprint = current_fingerprint(board, [r for r in records if r.combo.row in known])
    by_row: dict[str, list[Record]] = {name: [] for name in known}
    for record in sorted(records, key=lambda r: (r.combo.row, r.combo.seed)):
        by_row.setdefault(record.combo.row, []).append(record)
    stale = {id(r): why_stale(board, r, fingerprint) for r in records}
    counted = tuple(r for found in by_row.values() for r in found if r.status == "done" and stale[id(r)] is None)
    directions = _directions(board, counted)
    objective = full_name(board.objective, directions)
    rows = [
        _summarize_row(
            board, known.get(name) or _row_of(found[0]), name, [(r, stale[id(r)]) for r in found], directions
        )
        for name, found in by_row.items()
    ]
    current = next((r for r in records if r.dataset.fingerprint == fingerprint and stale[id(r)] is None), None)
    return Leaderboard(
        board=board,
        objective=objective,
        directions=directions,
        rows=_rank(rows, objective, higher=directions.get(objective, True)),
        data=current.dataset if current else None,
        counted=counted,
    )


def find_lead(summary: Leaderboard) -> Lead | None:
    """How far the best row is ahead, and how much of that seeds alone explain; None with fewer than two ranked rows."""
    if len(summary.ranked) < 2:
        return None
    first, second = summary.ranked[:2]
    spreads = [row.metrics[summary.objective] for row in summary.ranked]
    freedom = sum(len(spread.values) - 1 for spread in spreads)
    error = None
    if freedom:
        pooled = sum((len(s.values) - 1) * (s.deviation or 0.0) ** 2 for s in spreads) / freedom
        error = math.sqrt(sum(pooled / len(spread.values) for spread in spreads[:2]))
    return Lead(first, second, abs(spreads[0].mean - spreads[1].mean), error)


# --- rows ------------------------------------------------------------------------------------------------------------


def _published(values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters without folders of the machine that the board was written on."""
    return {name: scrub_paths(value) if isinstance(value, str) else value for name, value in values.items()}


def _row_of(record: Record) -> Row:
    """The row of a record that the board does not name."""
    return Row(record.combo.model, record.combo.loss, record.combo.recipe, record.combo.params)


def _directions(board: Board, records: Iterable[Record]) -> dict[str, bool]:
    """Every measured metric with its direction, in the order in which they are shown."""
    found = {name: part.higher_is_better for record in records for name, part in record.metrics.items()}
    bases = [name.partition("@")[0] for name in board.metrics]

    def place(name: str) -> tuple[bool, int, bool, str]:
        base, _, policy = name.partition("@")
        return policy == "oracle", bases.index(base) if base in bases else len(bases), policy != DEFAULT, name

    return {name: found[name] for name in sorted(found, key=place)}


def _summarize_row(
    board: Board, row: Row, name: str, judged: Sequence[tuple[Record, str | None]], metrics: Iterable[str]
) -> RowSummary:
    """`judged`: the row's records, each with why it is stale."""
    current = [record for record, stale in judged if stale is None]
    done = [record for record in current if record.status == "done"]
    spreads = {metric: _spread(done, metric) for metric in metrics}
    return RowSummary(
        name=name,
        model=row.model,
        loss=row.loss,
        recipe=row.recipe,
        params={section: _published(values) for section, values in row.params.items()},
        status=_status(board, current, [record for record, _ in judged]),
        reasons=_reasons(board, row, judged),
        rank=None,
        seeds=tuple(record.combo.seed for record in done),
        metrics={metric: spread for metric, spread in spreads.items() if spread is not None},
        per_label={metric: _per_label(done, metric) for metric in spreads},
        efficiency=_efficiency(done),
        records=tuple(record for record, _ in judged),
    )


def _status(board: Board, current: Sequence[Record], all_records: Sequence[Record]) -> Status:
    found = [record.status for record in current]
    if "done" in found:
        return "done" if found.count("done") == len(board.seeds) else "partial"
    if found:
        return "failed" if "failed" in found else "skipped"
    return "stale" if all_records else "missing"


def _reasons(board: Board, row: Row, judged: Sequence[tuple[Record, str | None]]) -> tuple[str, ...]:
    """Why a row is not simply done; seeds with one reason share a line."""
    seeds: dict[str, list[int]] = {}
    for record, stale in judged:
        if stale is not None:
            seeds.setdefault(f"stale: {stale}", []).append(record.combo.seed)
        elif record.failure is not None:
            kind = f"failed ({record.failure.kind})" if record.status == "failed" else record.status
            text = f"{kind}: {record.failure.message} [{record.failure.where}]"
            seeds.setdefault(text, []).append(record.combo.seed)
    present = {record.combo.seed for record, _ in judged}
    if row in board.rows and (absent := [seed for seed in board.seeds if seed not in present]):
        seeds["not run yet"] = absent
    return tuple(f"seed {', '.join(map(str, found))}: {reason}" for reason, found in seeds.items())


def _spread(done: Sequence[Record], metric: str) -> Spread | None:
    parts = [(r.combo.seed, r.metrics[metric]) for r in done if metric in r.metrics]
    found = [(seed, part.macro, part.labels_used) for seed, part in parts if part.macro is not None]
    if not found:
        return None
    seeds, values, used = zip(*found, strict=True)
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), deviation, values, seeds, min(used))


def _per_label(done: Iterable[Record], metric: str) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for record in done:
        for label, part in record.metrics[metric].per_label.items() if metric in record.metrics else ():
            if part.value is not None:
                found.setdefault(label, []).append(part.value)
    return {label: statistics.fmean(values) for label, values in found.items()}


def _efficiency(done: Iterable[Record]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for record in done:
        cost = record.efficiency
        numbers = {name: getattr(cost, name) for name in EfficiencyPart.model_fields if name != "seconds"}
        numbers["train_minutes"] = cost.seconds["train"] / 60 if "train" in cost.seconds else None
        for name, number in numbers.items():
            if number is not None:
                values.setdefault(name, []).append(float(number))
    return {name: statistics.fmean(numbers) for name, numbers in values.items()}


def _rank(rows: Sequence[RowSummary], objective: str, *, higher: bool) -> tuple[RowSummary, ...]:
    """Rows with a value of the objective first, best first; equal means share a rank and stand by name."""
    sign = -1 if higher else 1
    means = {row.name: sign * row.metrics[objective].mean for row in rows if objective in row.metrics}
    ranked = sorted((row for row in rows if row.name in means), key=lambda row: (means[row.name], row.name))
    places = [1 + sum(other < means[row.name] for other in means.values()) for row in ranked]
    first = (replace(row, rank=place) for row, place in zip(ranked, places, strict=True))
    return (*first, *(row for row in rows if row.name not in means))


# --- for a terminal --------------------------------------------------------------------------------------------------


def as_plain(summary: Leaderboard) -> dict[str, Any]:
    """As plain data for JSON: the ranking without the records behind it."""
    rows = [{name: value for name, value in vars(row).items() if name != "records"} for row in summary.rows]
    for row in rows:
        row["metrics"] = {name: asdict(spread) for name, spread in row["metrics"].items()}
    return {
        "title": summary.board.title,
        "objective": summary.objective,
        "higher_is_better": dict(summary.directions),
        "positives": dict(summary.data.splits["test"].positives) if summary.data else {},
        "timings_compare": summary.timings_compare,
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
        "row": [row.name for row in summary.rows],
        **{name: [format_spread(row.metrics.get(name)) for row in summary.rows] for name in metrics},
        "seeds": [f"{len(row.seeds)}/{len(summary.board.seeds)}" for row in summary.rows],
        "images/s": [format_number(row.efficiency.get("train_images_per_second"), 0) for row in summary.rows],
        "minutes": [format_number(row.efficiency.get("train_minutes"), 1) for row in summary.rows],
        "status": [row.status for row in summary.rows],
    }
    widths = {name: max(len(text) for text in (name, *texts)) + 2 for name, texts in columns.items()}
    shown = {"#", "row", *metrics[:1], "seeds", "status"}
    wanted = ["images/s", "minutes", *metrics[1:]] if summary.timings_compare else metrics[1:]
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
    if not summary.timings_compare:
        machines = "; ".join(f"{device}, harness {version}" for device, version in summary.machines)
        remarks.append(f"times are not compared, they come from {machines}")
    return remarks


def format_spread(spread: Spread | None, digits: int = 4) -> str:
    """`0.8123 ±0.0045`, the latter over seeds; empty where there is none."""
    if spread is None:
        return ""
    deviation = "" if spread.deviation is None else f" ±{spread.deviation:.{digits}f}"
    return f"{spread.mean:.{digits}f}{deviation}"


def format_number(value: float | None, digits: int) -> str:
    """A number with thousands separated; empty where there is none."""
    return "" if value is None or math.isnan(value) else f"{value:,.{digits}f}"
