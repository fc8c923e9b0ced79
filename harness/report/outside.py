"""Rows on other datasets than the board's own: each outside test as a leaderboard, and the drop to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from harness.board import OutsideTest
from harness.components import LEAK
from harness.evaluation.common_labels import average, covers, find_common, resampled
from harness.report.leaderboard import Leaderboard, RowSummary
from harness.report.summary import summarize
from harness.results.outside import title_test, view_board, view_measured
from harness.results.record import OutsideLabel, OutsidePart, Record
from harness.results.staleness import why_uncounted
from harness.results.store import AllResamples

if TYPE_CHECKING:
    from harness.evaluation.parts import MetricPart
    from harness.evaluation.resamples import Resamples
    from harness.evaluation.transfer import Drop, Side

State = Literal["done", "partial", "failed", "skipped", "stale", "missing"]
NOT_MEASURED = "not measured yet: harness run measures it without training"
NOT_TRAINED = "the row has no result on the board's own test yet"
SUBMITTED = "the row was submitted as predictions, so there is no network here to test"


@dataclass(frozen=True, kw_only=True)
class OutsideCell:
    """One row on one outside test."""

    row: RowSummary
    """The row on the board's own test."""
    seen: RowSummary
    """The row as the outside test ranks it; without metrics where nothing was measured."""
    state: State
    reasons: tuple[str, ...]
    """Why it is not simply done, in words."""
    drops: Mapping[str, Drop] = field(default_factory=dict)
    """Metric -> how much worse it is outside, by means over the labels that both tests average."""

    @property
    def shown_state(self) -> str:
        """Its state where people read it."""
        return "not measured" if self.state == "missing" else self.state

    @property
    def mark(self) -> str:
        """Why its drop says nothing, in a few words: its network has seen images of a test; empty where it has not."""
        if self.row.is_shadowed:
            return "its network has seen images of the own test, or may have"
        return "its network has seen images of this test, or may have" if self.seen.is_shadowed else ""

    @property
    def records(self) -> tuple[tuple[Record, Record], ...]:
        """Each seed that both tests have: its record, and the same seen from the outside test."""
        inside = {record.combo.seed: record for record in self.row.counted}
        return tuple((inside[one.combo.seed], one) for one in self.seen.counted if one.combo.seed in inside)


@dataclass(frozen=True, kw_only=True)
class OutsideSummary:
    """One outside test with what every row is worth on it."""

    test: OutsideTest
    title: str
    """What readers know it as."""
    seen: Leaderboard
    """The board as if this were its own test."""
    cells: Mapping[str, OutsideCell]
    """Row -> cell, in the order of the board's own ranking, controls left out."""
    labels: Mapping[str, tuple[str, ...]]
    """Metric -> the labels that drops are over: those that both tests average in all rows."""
    matched: Mapping[str, OutsideLabel]
    """Each label of the board's dataset, and what stands for it."""
    unused: tuple[str, ...]
    """The other dataset's labels that stand for none."""
    own_leak: str
    """Why the board's own test is too easy, so that no drop from it is judged; empty elsewhere."""
    notes: tuple[str, ...]

    @property
    def key(self) -> str:
        """What files and addresses call it."""
        return self.test.key

    @property
    def leak(self) -> str:
        """Why nothing is ranked on it, where it shares patients or images with training; empty elsewhere."""
        return self.seen.leak

    @property
    def measured(self) -> list[OutsideCell]:
        """The cells with a value of the objective."""
        return [cell for cell in self.cells.values() if self.seen.objective in cell.seen.metrics]

    @property
    def dropped(self) -> list[str]:
        """The board's labels that nothing stands for."""
        return [label for label, one in self.matched.items() if not one.others]

    @property
    def merged(self) -> dict[str, list[str]]:
        """The board's labels that several labels stand for."""
        return {label: one.others for label, one in self.matched.items() if len(one.others) > 1}


def summarize_outside(summary: Leaderboard) -> tuple[OutsideSummary, ...]:
    """What the rows of a board are worth on each of its outside tests, in the order of board.toml."""
    own = AllResamples(summary.board.folder, summary.counted)
    return tuple(_summarize_test(summary, test, own) for test in summary.board.tests)


def _summarize_test(summary: Leaderboard, test: OutsideTest, own: Mapping[str, Resamples]) -> OutsideSummary:
    parts = [part for record in summary.counted if (part := record.outside.get(test.key)) is not None]
    views = [view for record in summary.counted if (view := view_measured(record, test.key)) is not None]
    board, drawn = view_board(summary.board, test), AllResamples(summary.board.folder, views, test.key)
    titles = {row.name: row.title for row in summary.rows}
    seen = summarize(board, views, drawn)
    seen = replace(seen, rows=tuple(replace(row, title=titles.get(row.name, row.title)) for row in seen.rows))
    found = {row.name: row for row in seen.rows}
    cells = {
        row.name: _make_cell(summary, seen, row, found.get(row.name, _without_results(row)), test)
        for row in list_rows(summary)
    }
    labels = _share_labels(cells.values(), seen)
    described = next((part for part in (*_with_data(parts), *parts) if part.labels), None)
    return OutsideSummary(
        test=test,
        title=title_test(summary.board, test),
        seen=seen,
        cells={
            name: replace(cell, drops=_measure_drops(cell, labels, seen.directions, (own, drawn)))
            for name, cell in cells.items()
        },
        labels=labels,
        matched=described.labels if described else {},
        unused=tuple(described.unused) if described else (),
        own_leak=summary.leak,
        notes=tuple(_list_notes(parts)),
    )


def list_rows(summary: Leaderboard) -> list[RowSummary]:
    """The rows that outside tests are about, in the order of the board's own ranking: what was taken out of board.toml
    and controls are left out.
    """
    known = summary.board.row_names
    return [row for row in summary.rows if row.control is None and (row.counted or row.name in known)]


def _without_results(row: RowSummary) -> RowSummary:
    """A submitted row, as a test that lacks it shows it."""
    return replace(row, rank=None, group=None, seeds=(), metrics={}, per_label={}, label_intervals={}, counted=())


def _with_data(parts: Sequence[OutsidePart]) -> list[OutsidePart]:
    return [part for part in parts if part.data is not None]


def _list_notes(parts: Sequence[OutsidePart]) -> Iterator[str]:
    """What every part says, each once; that an overlap was accepted comes from elsewhere."""
    told = dict.fromkeys(note for part in parts for note in part.notes)
    for part in _with_data(parts):
        told |= dict.fromkeys(
            note if name in note else f"{name}: {note}"
            for name, note in (part.data.notes if part.data else {}).items()
            if name != LEAK and note not in told
        )
    yield from told


# --- cells -----------------------------------------------------------------------------------------------------------


def _make_cell(
    summary: Leaderboard, seen: Leaderboard, row: RowSummary, found: RowSummary, test: OutsideTest
) -> OutsideCell:
    """A row on an outside test, without its drops."""
    seeds: dict[str, list[int]] = {}
    states: list[State] = []
    for record in row.counted:
        state, reason = _judge(summary, seen, record, test)
        states.append(state)
        if reason:
            seeds.setdefault(reason, []).append(record.combo.seed)
    if not row.counted:
        return OutsideCell(row=row, seen=found, state="missing", reasons=(NOT_TRAINED,))
    whole = len(row.counted)
    return OutsideCell(
        row=row,
        seen=found,
        state=_join_states(states),
        reasons=tuple(
            reason if len(of) == whole else f"seed {', '.join(map(str, of))}: {reason}" for reason, of in seeds.items()
        ),
    )


def _judge(summary: Leaderboard, seen: Leaderboard, record: Record, test: OutsideTest) -> tuple[State, str]:
    """What became of one record on an outside test, and why it has no value there; empty where it has one."""
    part = record.outside.get(test.key)
    if part is None:
        return "missing", SUBMITTED if record.external is not None else NOT_MEASURED
    if part.status != "done":
        failure = part.failure
        told = f": {failure.message} [{failure.where}]" if failure else ""
        return part.status, f"{part.status}{f' ({failure.kind})' if failure else ''}{told}"
    view = view_measured(record, test.key)
    if view is None:
        return "missing", NOT_MEASURED
    stale = why_uncounted(seen.board, view, seen.data.fingerprint if seen.data else None)
    return ("done", "") if stale is None else ("stale", f"out of date: {stale}")


def _join_states(states: Sequence[State]) -> State:
    """A row's state from those of its seeds."""
    if "done" in states:
        return "done" if set(states) == {"done"} else "partial"
    return next(state for state in ("failed", "skipped", "stale", "missing") if state in states)


# --- drops -----------------------------------------------------------------------------------------------------------


def _share_labels(cells: Iterable[OutsideCell], seen: Leaderboard) -> dict[str, tuple[str, ...]]:
    """Metric -> the labels that it averages on both tests, in every row that has it on both and is judged."""
    parts: dict[str, list[MetricPart]] = {metric: [] for metric in seen.metrics}
    having = [cell for cell in cells if cell.records]
    judged = [cell for cell in having if not cell.mark] or having  # a row that is not judged takes no label from others
    for pair in (pair for cell in judged for pair in cell.records):
        for metric in seen.metrics:
            both = [record.metrics[metric] for record in pair if metric in record.metrics]
            if len(both) == 2 and all(part.macro is not None for part in both):
                parts[metric] += both
    return {metric: labels for metric, labels in find_common(parts).items() if labels}


def _measure_drops(
    cell: OutsideCell,
    labels: Mapping[str, Sequence[str]],
    directions: Mapping[str, bool],
    drawn: tuple[Mapping[str, Resamples], Mapping[str, Resamples]],
) -> dict[str, Drop]:
    """Metric -> a row's drop over the metric's labels, by the seeds that have it on both tests.

    `drawn` has what lies beside the records of the board's own test, and of the outside one.
    """
    from harness.evaluation.transfer import measure_drop

    beside = [tuple(kept.get(one.combo.name) for one, kept in zip(pair, drawn, strict=True)) for pair in cell.records]
    drops = {}
    for metric, shared in labels.items():
        having = [
            tuple(zip(pair, lying, strict=True))
            for pair, lying in zip(cell.records, beside, strict=True)
            if all(metric in one.metrics and covers(one.metrics[metric], shared) for one in pair)
        ]
        if having:
            inside, outside = (_make_side(side, metric, shared) for side in zip(*having, strict=True))
            drops[metric] = measure_drop(inside, outside, higher_is_better=directions[metric])
    return drops


def _make_side(seeds: Sequence[tuple[Record, Resamples | None]], metric: str, labels: Sequence[str]) -> Side:
    """A row on one test: a metric's mean over these labels in each seed, with its resamples where all have some."""
    import numpy as np

    from harness.evaluation.transfer import Side

    parts = [(record.metrics[metric], beside) for record, beside in seeds]
    values = [value for part, _ in parts if (value := average(part, labels)) is not None]
    rows = [None if beside is None else resampled(metric, part, beside, labels) for part, beside in parts]
    whole = [row for row in rows if row is not None]
    same = len(whole) == len(rows) and len({len(row) for row in whole}) == 1
    return Side(np.array(values), np.array(whole) if same else None)
