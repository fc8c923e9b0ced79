"""What a leak is worth: rows of a board whose splits share patients, beside the same rows without the leak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.board import BOARD_FILE, read_board
from harness.errors import HarnessError
from harness.metric_names import title_metric
from harness.report.drawing import Scale, make_scale
from harness.report.summary import read_results
from harness.results.provenance import scrub_paths
from harness.scoring.pairing import MetricComparison, compare_rows
from harness.scoring.rows import MeasuredRow
from harness.text import agree

if TYPE_CHECKING:
    from harness.evaluation.comparison import Pair
    from harness.report.leaderboard import Leaderboard, RowSummary

WITH, WITHOUT = "with the leak", "without"


@dataclass(frozen=True, kw_only=True)
class Gain:
    """How much better a row is with the leak, above 0 where it is; None where it has no interval."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class LeakRow:
    """One row that both boards have measured."""

    title: str
    leaking: float
    """The objective with the leak, the mean over seeds."""
    reference: float
    gain: Gain
    over: str
    """What the interval is over: patients, or patients and seeds."""
    per_label: Mapping[str, Gain]


@dataclass(frozen=True, kw_only=True)
class LeakSummary:
    """A board with a leak beside its reference."""

    metric: str
    reference: str
    """The other board's title; empty where it could not be read."""
    rows: tuple[LeakRow, ...] = ()
    remarks: tuple[str, ...] = field(default=())
    """What could not be set beside each other, and why."""

    @property
    def scale(self) -> Scale | None:
        """One scale for all rows, with 0 in it."""
        gains = [row.gain for row in self.rows]
        return make_scale([0.0, *(end for gain in gains for end in (gain.value, *(gain.interval or ())))])

    @property
    def labels(self) -> list[str]:
        """The labels that some row has a gain in."""
        return list(dict.fromkeys(label for row in self.rows for label in row.per_label))

    @property
    def answer(self) -> str:
        """How many rows gain by the leak, in a sentence; empty without rows."""
        if not self.rows:
            return ""
        better = [row for row in self.rows if row.gain.interval is not None and row.gain.interval[0] > 0]
        metric, total = title_metric(self.metric), len(self.rows)
        if not better:
            return f"No row gains significantly in {metric} by the leak ({total} measured)."
        span = sorted(f"{row.gain.value:.3f}" for row in better)
        by = span[0] if span[0] == span[-1] else f"{span[0]} to {span[-1]}"
        which = (
            f"{better[0].title} gains"
            if total == 1
            else f"{len(better)} of {total} rows {agree(len(better), 'gains', 'gain')}"
        )
        return f"{which} {by} in {metric} by the leak, with 95 % intervals above 0."


def measure_leak(summary: Leaderboard) -> LeakSummary | None:
    """Compare each row with the same row of the board that board.toml calls its reference; None where it names none."""
    name = summary.board.reference
    if not name:
        return None
    other, obstacle = _read_reference(summary)
    if other is None:
        return LeakSummary(metric=summary.objective, reference="", remarks=(obstacle,))
    rows, remarks = [], []
    known = {row.name: row for row in other.rows if row.counted}
    for row in summary.rows:
        if not row.counted:
            continue
        if row.name not in known:
            remarks.append(f"The reference has no result of {row.title}, so what it gains is not known")
            continue
        try:
            rows.append(_compare(summary, row, other, known[row.name]))
        except HarnessError as error:
            remarks.append(f"The reference cannot stand beside {row.title}: {scrub_paths(str(error))}")
    return LeakSummary(metric=summary.objective, reference=other.board.title, rows=tuple(rows), remarks=tuple(remarks))


def _read_reference(summary: Leaderboard) -> tuple[Leaderboard | None, str]:
    """The board without the leak; or why there is none that measures the same, in a sentence."""
    name, folder = summary.board.reference, summary.board.folder / summary.board.reference
    if summary.board.options.get("image_level") != "leaking":
        return None, f'The reference "{name}" has no use here: only a board with image_level = "leaking" has one'
    if not (folder / BOARD_FILE).is_file():
        return None, f'The reference "{name}" is no board: it holds no {BOARD_FILE}'
    try:
        other = read_results(read_board(folder)).summary
    except HarnessError as error:
        return None, f'The reference "{name}" cannot be read: {scrub_paths(str(error))}'
    if other.board.options.get("image_level") != "reference":
        return None, (
            f'The board "{other.board.title}" is no reference: it needs image_level = "reference" under [dataset], and '
            "all else as it is here"
        )
    if summary.data and other.data and summary.data.draw != other.data.draw:
        return None, (
            f'The reference "{other.board.title}" has another test: its [dataset] must be as it is here but for '
            "image_level"
        )
    return other, ""


def _compare(summary: Leaderboard, row: RowSummary, other: Leaderboard, reference: RowSummary) -> LeakRow:
    both = {
        WITH: MeasuredRow(summary.board.folder, row.name, row.counted, ()),
        WITHOUT: MeasuredRow(other.board.folder, reference.name, reference.counted, ()),
    }
    (found,) = compare_rows(both, [summary.objective]).metrics
    (pair,) = found.pairs
    return LeakRow(
        title=row.title,
        leaking=found.systems[WITH].estimate,
        reference=found.systems[WITHOUT].estimate,
        gain=_turn(pair, found),
        over=pair.over,
        per_label={label: _turn(one, found) for label, (one,) in found.by_label.items()},
    )


def _turn(pair: Pair, found: MetricComparison) -> Gain:
    """A pair's difference, above 0 where the leak helps."""
    sign = (1 if pair.a == WITH else -1) * (1 if found.higher_is_better else -1)
    interval = pair.interval if pair.interval is None or sign > 0 else (-pair.interval[1], -pair.interval[0])
    return Gain(value=sign * pair.delta, interval=interval)
