"""Two states of a board side by side: rows that are new, gone, and changed by more than chance explains."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from harness.board import Board
from harness.evaluation.common_labels import average, find_common, is_over, resampled, tell_labels
from harness.evaluation.significance import FEWEST_SEEDS, SIGNIFICANT
from harness.evaluation.wording import MORE_SEEDS
from harness.report.leaderboard import RowSummary, Spread
from harness.report.significance import gather
from harness.report.summary import BoardResults
from harness.units import tell_units

if TYPE_CHECKING:
    from harness.evaluation.comparison import Pair, System
    from harness.evaluation.parts import MetricPart
    from harness.evaluation.resamples import Resamples

Verdict = Literal["better", "worse", "noise", "same", "unknown"]
ChangeKind = Literal["new", "gone", "changed", "noise", "unknown", "same"]

CHANGE_KINDS: Mapping[ChangeKind, str] = {
    "new": "new",
    "gone": "gone",
    "changed": "changed beyond noise",
    "noise": "changed within noise",
    "unknown": "changed, and nothing tells whether beyond noise",
    "same": "unchanged",
}
"""What may have become of a row, in the order in which it is told."""


@dataclass(frozen=True, kw_only=True)
class MetricChange:
    """A metric of a row: the mean over its seeds, before and after, over the labels that all records of both have."""

    metric: str
    before: float
    after: float
    interval: tuple[float, float] | None
    """Interval of 95 % of the difference, after minus before, over patients and seeds; patients without `p_holm`."""
    p_holm: float | None
    """Two-sided p-value over patients and seeds, adjusted for all rows that both have; None with fewer than three
    seeds."""
    verdict: Verdict

    @property
    def delta(self) -> float:
        """After minus before."""
        return self.after - self.before


@dataclass(frozen=True, kw_only=True)
class RowChange:
    """What became of a row."""

    row: str
    kind: ChangeKind
    note: str = ""
    """Why it has no result, or cannot be judged; or what else is different."""
    metrics: tuple[MetricChange, ...] = ()
    """Changes of its metrics, the objective first; empty where one state has no result."""
    speed: float | None = None
    """Training images a second, after divided by before; None where devices differ or nothing was timed."""
    values: Mapping[str, Spread] = field(default_factory=dict)
    """Metrics of a row that one state alone has, the objective first; empty for a row that both have."""


@dataclass(frozen=True)
class BoardDifference:
    """What became of a board."""

    name: str
    objective: str
    rows: tuple[RowChange, ...]
    """The rows, by kind, then by the later ranking."""
    notes: tuple[str, ...]
    """What differs in the definitions and circumstances, and what is different in rows whose numbers are not."""

    def of(self, kind: ChangeKind) -> tuple[RowChange, ...]:
        """The rows of one kind."""
        return tuple(row for row in self.rows if row.kind == kind)


def compare_states(before: BoardResults, after: BoardResults) -> BoardDifference:
    """Compare each row that both states have, on the same resampled patients and against the spread of seeds."""
    earlier, later = ({row.name: row for row in state.summary.rows} for state in (before, after))
    objective = after.summary.objective
    shared = [name for name in later if name in earlier and earlier[name].metrics and later[name].metrics]
    judged = _judge(shared, before, after)
    changes = [
        _describe(name, earlier.get(name), later.get(name), judged.get(name, Judged()), objective)
        for name in dict.fromkeys([*later, *earlier])
    ]
    order = list(CHANGE_KINDS)
    ordered = sorted((change for change in changes if change is not None), key=lambda change: order.index(change.kind))
    return BoardDifference(
        name=after.summary.board.folder.resolve().name,
        objective=objective,
        rows=tuple(ordered),
        notes=(
            *_note(before, after),
            *(f"{row.row}: {row.note}" for row in ordered if row.kind == "same" and row.note),
        ),
    )


# --- rows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """What the numbers of a row that both states have came to."""

    metrics: tuple[MetricChange, ...] = ()
    obstacle: str = ""
    """Why the row cannot be judged."""
    labels: tuple[str, ...] = ()
    """The labels that its metrics are over, in words, where some records have more."""


@dataclass(frozen=True)
class BoardState:
    """A row in one of both states."""

    parts: Mapping[str, Sequence[MetricPart]]
    """Metric -> what each record that counts and has a value says of it."""
    drawn: Sequence[Resamples]
    """What lies beside these records; empty where one lies alone."""
    is_ensemble: bool = False
    """Whether it is made of other rows' predictions."""

    def average(self, metric: str, labels: Sequence[str]) -> tuple[float, ...]:
        """The mean over these labels in each seed."""
        averages = (average(part, labels) for part in self.parts[metric])
        return tuple(value for value in averages if value is not None)

    def system(self, metric: str, labels: Sequence[str]) -> System | None:
        """The row as compared over these labels; None where not all its seeds were resampled over them."""
        import numpy as np

        from harness.evaluation.comparison import System

        parts = self.parts[metric]
        resamples = [resampled(metric, part, one, labels) for part, one in zip(parts, self.drawn, strict=False)]
        present = [one for one in resamples if one is not None]
        if not len(present) == len(parts) == len(self.drawn):
            return None
        return System(np.array(self.average(metric, labels)), np.array(present), self.is_ensemble)


def _describe(
    name: str, before: RowSummary | None, after: RowSummary | None, judged: Judged, objective: str
) -> RowChange | None:
    """None for a row without a result in either state."""
    if before is None or not before.metrics:
        if after is None or not after.metrics:
            return None
        note = f"before: {_why(before)}" if before else ""
        return RowChange(row=name, kind="new", note=note, values=_order(after.metrics, objective))
    if after is None or not after.metrics:
        note = _why(after) if after else "not on the board any more"
        return RowChange(row=name, kind="gone", note=note, values=_order(before.metrics, objective))
    obstacle = judged.obstacle
    metrics = tuple(sorted(judged.metrics, key=lambda change: change.metric != objective))
    verdicts = {change.verdict for change in metrics}
    kind: ChangeKind = (
        "same" if verdicts == {"same"} else "unknown" if obstacle or verdicts <= {"same", "unknown"} else "noise"
    )
    if verdicts & {"better", "worse"}:
        kind = "changed"
    notes = [*([obstacle] if obstacle and kind != "same" else []), *judged.labels]
    if kind == "unknown" and not obstacle and min(len(before.seeds), len(after.seeds)) < FEWEST_SEEDS:
        notes.append(MORE_SEEDS)
    if before.seeds != after.seeds:
        notes.append(f"seeds {_join(before.seeds)} became {_join(after.seeds)}")
    speed = _speed(before, after)
    return RowChange(row=name, kind=kind, note="; ".join(notes), metrics=metrics, speed=speed)


def _order(metrics: Mapping[str, Spread], objective: str) -> dict[str, Spread]:
    """A row's metrics, the objective first."""
    return {name: metrics[name] for name in sorted(metrics, key=lambda name: name != objective)}


def _why(row: RowSummary) -> str:
    return "; ".join(row.reasons) or row.status


def _judge(names: Sequence[str], before: BoardResults, after: BoardResults) -> dict[str, Judged]:
    """Each shared row's metrics, tested where both states were measured on the same data and lie with resamples."""
    earlier, later = ({row.name: row for row in state.summary.rows} for state in (before, after))
    rows = {name: (earlier[name], later[name]) for name in names}
    states = {
        name: tuple(
            BoardState(_parts(row), gather(row, of.resamples), row.ensemble is not None)
            for row, of in zip(both, (before, after), strict=True)
        )
        for name, both in rows.items()
    }
    labels = {name: _share_labels(both) for name, both in states.items()}
    counts = Counter(count for both in states.values() if (count := _resamples(*(one.drawn for one in both))))
    usual = counts.most_common(1)[0][0] if counts else 0
    obstacles = {name: _find_obstacle(*rows[name], states[name], labels[name], usual) for name in names}
    judged: dict[str, list[MetricChange]] = {name: [] for name in names}
    for metric in dict.fromkeys([after.summary.objective, *after.summary.metrics]):
        shared = {name: by_metric[metric] for name, by_metric in labels.items() if metric in by_metric}
        pairs = _test(metric, {name: averaged for name, averaged in shared.items() if not obstacles[name]}, states)
        higher = after.summary.directions.get(metric, True)
        for name, averaged in shared.items():
            was, now = (statistics.fmean(one.average(metric, averaged)) for one in states[name])
            judged[name].append(_conclude(metric, was, now, pairs.get(name), higher=higher))
    told = {name: _tell_labels(labels[name], states[name], rows[name]) for name in names}
    return {name: Judged(tuple(judged[name]), obstacles[name], told[name]) for name in names}


def _parts(row: RowSummary) -> dict[str, list[MetricPart]]:
    parts: dict[str, list[MetricPart]] = {}
    for record in row.counted:
        for metric, part in record.metrics.items():
            if part.macro is not None:
                parts.setdefault(metric, []).append(part)
    return parts


def _share_labels(states: Sequence[BoardState]) -> dict[str, tuple[str, ...]]:
    """Metric -> the labels that every record of both states has; without metrics that share none."""
    before, after = (one.parts for one in states)
    common = find_common({metric: [*before[metric], *after[metric]] for metric in before if metric in after})
    return {metric: labels for metric, labels in common.items() if labels}


def _tell_labels(
    shared: Mapping[str, Sequence[str]], states: Sequence[BoardState], rows: Sequence[RowSummary]
) -> tuple[str, ...]:
    """Over which labels a row's metrics are, in words, where these are not those of all of its records."""
    fewer = {
        metric: labels
        for metric, labels in shared.items()
        if not all(is_over(part, labels) for one in states for part in one.parts[metric])
    }
    every = dict.fromkeys(label for row in rows for record in row.counted for label in record.dataset.labels)
    return tuple(tell_labels(fewer, every))


def _find_obstacle(
    before: RowSummary, after: RowSummary, states: Sequence[BoardState], labels: Mapping[str, Sequence[str]], usual: int
) -> str:
    prints = [{r.dataset.fingerprint for r in row.records if r.combo.seed in row.seeds} for row in (before, after)]
    if prints[0] != prints[1]:
        return "measured on other images, labels or splits"
    scored = [{r.scored for r in row.counted} for row in (before, after)]
    if scored[0] != scored[1]:
        return "scored over other units"
    if not labels:
        return "no metric has a label in both states"
    drawn = [one.drawn for one in states]
    if not all(drawn):
        return "a record lies without its resamples"
    return "" if _resamples(*drawn) == usual else "not resampled as often as other rows"


def _resamples(*drawn: Sequence[Resamples]) -> int | None:
    """How often both states were resampled; None where they differ, or one has none."""
    counts = {len(values) for seeds in drawn for one in seeds for values in one.macro.values()}
    return counts.pop() if len(counts) == 1 and all(drawn) else None


def _test(
    metric: str, labels: Mapping[str, Sequence[str]], states: Mapping[str, Sequence[BoardState]]
) -> dict[str, Pair]:
    """Row -> later against earlier over its labels; rows that were not resampled over them are left out."""
    from harness.evaluation.comparison import compare_pairs

    systems: dict[str, System] = {}
    chosen = []
    for name, shared in labels.items():
        before, after = (one.system(metric, shared) for one in states[name])
        if before is not None and after is not None:
            systems |= {f"before {name}": before, f"after {name}": after}
            chosen.append((f"after {name}", f"before {name}"))
    pairs = compare_pairs(systems, chosen)
    return {pair.a.removeprefix("after "): pair for pair in pairs}


def _conclude(metric: str, before: float, after: float, pair: Pair | None, *, higher: bool) -> MetricChange:
    p = pair.p_holm if pair and pair.p is not None else None
    if before == after:
        verdict: Verdict = "same"
    elif p is None:
        verdict = "unknown"
    elif p >= SIGNIFICANT:
        verdict = "noise"
    else:
        verdict = "better" if (after > before) == higher else "worse"
    return MetricChange(
        metric=metric, before=before, after=after, interval=pair.interval if pair else None, p_holm=p, verdict=verdict
    )


def _speed(before: RowSummary, after: RowSummary) -> float | None:
    devices = {r.provenance.device for row in (before, after) for r in row.records if r.combo.seed in row.seeds}
    earlier, later = (row.efficiency.get("train_images_per_second") for row in (before, after))
    return later / earlier if len(devices) == 1 and earlier and later else None


# --- boards ----------------------------------------------------------------------------------------------------------


def _note(before: BoardResults, after: BoardResults) -> list[str]:
    """Note in what the two states differ beyond their rows' numbers."""
    boards = before.summary.board, after.summary.board
    notes = [
        f"{what}: {earlier} became {later}"
        for what, earlier, later in (
            ("objective", before.summary.objective, after.summary.objective),
            ("dataset", *map(_describe_dataset, boards)),
            ("scored over", *(tell_units(board.unit, board.pool) for board in boards)),
            ("seeds", *(_join(board.seeds) for board in boards)),
            ("metrics", *(", ".join(board.metrics) for board in boards)),
            ("device and harness", *(_describe_machines(state) for state in (before, after))),
        )
        if earlier != later
    ]
    data = before.summary.data, after.summary.data
    if data[0] and data[1] and data[0].fingerprint != data[1].fingerprint:
        notes.append("the two states were measured on different images, labels or splits")
    return notes


def _describe_dataset(board: Board) -> str:
    return " ".join([board.dataset, *(f"{name}={value}" for name, value in sorted(board.options.items()))])


def _describe_machines(state: BoardResults) -> str:
    return "; ".join(f"{device}, harness {version}" for device, version in state.summary.machines) or "nothing"


def _join(seeds: Sequence[int]) -> str:
    return " ".join(map(str, seeds)) or "none"
