"""How much of a board's numbers chance explains: intervals of rows, comparisons, rank groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.board import combo_name
from harness.evaluation.common_labels import resampled, resampled_by_label
from harness.evaluation.wording import explain_no_interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.evaluation.comparison import Pair, System
    from harness.evaluation.parts import MetricPart
    from harness.evaluation.resamples import Resamples
    from harness.report.leaderboard import RowSummary, Spread

    Array = NDArray[np.float64]

Labels = Mapping[str, Sequence[str]]


def gather(row: RowSummary, resamples: Mapping[str, Resamples]) -> tuple[Resamples, ...]:
    """What lies beside the records that count, a seed each; nothing where one of them lies alone."""
    by_seed = [resamples.get(combo_name(row.name, seed)) for seed in row.seeds]
    there = tuple(one for one in by_seed if one is not None)
    lengths = {len(values) for one in there for values in one.macro.values()}
    return there if len(there) == len(by_seed) and len(lengths) == 1 else ()


def make_system(row: RowSummary, metric: str, drawn: Sequence[Resamples], labels: Labels) -> System | None:
    """A row as it is compared in a metric; None where its seeds are not all resampled over the metric's labels."""
    import numpy as np

    from harness.evaluation.comparison import System

    spread, parts = row.metrics[metric], _parts(row, metric)
    by_seed = [
        values
        for part, one in zip(parts, drawn, strict=False)
        if (values := resampled(metric, part, one, _labels_of(part, spread, labels.get(metric, ())))) is not None
    ]
    whole = len(by_seed) == len(spread.values) == len(drawn)
    borrows = row.ensemble is not None
    return System(np.array(spread.values), np.array(by_seed), borrows) if whole else None


def _parts(row: RowSummary, metric: str) -> list[MetricPart]:
    return [record.metrics[metric] for record in row.counted if metric in record.metrics]


def _labels_of(part: MetricPart, spread: Spread, labels: Sequence[str]) -> Sequence[str]:
    """The metric's labels; for a row that does not share them, as a control may not, its own."""
    if spread.labels_used == len(labels):
        return labels
    return [label for label, one in part.per_label.items() if one.value is not None]


def add_intervals(row: RowSummary, drawn: Sequence[Resamples], objective: str, labels: Labels) -> RowSummary:
    """The row with an interval over patients for each metric, and for each label of the objective."""
    if not drawn:
        return row
    import numpy as np

    from harness.evaluation.bootstrap import average_seeds
    from harness.evaluation.intervals import find_intervals

    systems = {name: system for name in row.metrics if (system := make_system(row, name, drawn, labels)) is not None}
    single = _resampled_labels(row, drawn, objective)
    seeds = [*(system.resamples for system in systems.values()), *single.values()]
    values = [*(system.estimate for system in systems.values()), *(row.per_label[objective][label] for label in single)]
    methods = [_parts(row, name)[0].interval_method for name in (*systems, *(objective for _ in single))]
    resamples = np.array([average_seeds(drawn_by_seed) for drawn_by_seed in seeds])
    intervals = find_intervals(np.array(values, dtype=np.float64), resamples, methods) if seeds else []
    over_patients = dict(zip(systems, intervals, strict=False))
    errors = dict(zip(systems, map(_find_error, resamples), strict=False))
    metrics = {
        name: replace(spread, interval=over_patients[name], error=errors[name])
        if over_patients.get(name)
        else replace(spread, no_interval=_explain(row, name, drawn, resampled=name in systems))
        for name, spread in row.metrics.items()
    }
    label_intervals = {
        label: interval
        for label, interval in zip(single, intervals[len(systems) :], strict=True)
        if interval is not None
    }
    return replace(row, metrics=metrics, label_intervals=label_intervals)


def _find_error(resampled: Array) -> float:
    """The standard error of a value, from its resamples (R,); NaN where fewer than two are defined."""
    import numpy as np

    defined = resampled[~np.isnan(resampled)]
    return float(np.std(defined, ddof=1)) if len(defined) > 1 else math.nan


def _resampled_labels(row: RowSummary, drawn: Sequence[Resamples], objective: str) -> dict[str, Array]:
    """Label -> the objective in each seed and resample (k, R); none where other metrics' labels were resampled."""
    import numpy as np

    parts = _parts(row, objective)
    if len(parts) != len(drawn):
        return {}
    single = [resampled_by_label(objective, part, one) for part, one in zip(parts, drawn, strict=True)]
    labels = [label for label in row.per_label.get(objective, {}) if all(label in one for one in single)]
    return {label: np.array([one[label] for one in single]) for label in labels}


def _explain(row: RowSummary, metric: str, drawn: Sequence[Resamples], *, resampled: bool) -> str:
    """Why a metric of a row has no interval."""
    if resampled:
        return explain_no_interval(_parts(row, metric))
    if len(row.metrics[metric].values) < len(drawn) or any(metric not in one.macro for one in drawn):
        return "not every seed has a value that was resampled"
    return "the records' means are over other labels, and single labels are resampled for the objective alone"


def add_seed_intervals(rows: Sequence[RowSummary]) -> dict[str, RowSummary]:
    """The rows by name, their metrics with an interval over patients and seeds beside that over patients."""
    import numpy as np

    from harness.evaluation.comparison import add_seeds

    metrics = {row.name: dict(row.metrics) for row in rows}
    for metric in dict.fromkeys(metric for row in rows for metric in row.metrics):
        having = [row for row in rows if metric in row.metrics]
        spreads = [row.metrics[metric] for row in having]
        values, over_patients = [np.array(one.values) for one in spreads], [one.interval for one in spreads]
        borrows = [row.ensemble is not None for row in having]
        with_seeds = add_seeds(values, over_patients, _parts(having[0], metric)[0].interval_method, borrows)
        for row, spread, interval in zip(having, spreads, with_seeds, strict=True):
            metrics[row.name][metric] = replace(spread, interval_seeds=interval)
    return {row.name: replace(row, metrics=metrics[row.name]) for row in rows}


def judge_seeds_alone(spreads: Sequence[Spread], borrows: Sequence[bool]) -> float | None:
    """P-value of the first of these rows against the second, over seeds; None with fewer than three of either.

    `borrows` says which of them are ensembles.
    """
    import numpy as np

    from harness.evaluation.comparison import estimate_seed_variances
    from harness.evaluation.significance import combine, two_sided

    variance, freedom = estimate_seed_variances([np.array(spread.values) for spread in spreads], borrows)
    parts = [(variance[[row]], freedom[[row]]) for row in (0, 1)]
    p = two_sided(np.array([spreads[0].mean - spreads[1].mean]), *combine(np.zeros(1), *parts)).item()
    return None if math.isnan(p) else p


def compare(
    ranked: Sequence[RowSummary],
    drawn: Mapping[str, Sequence[Resamples]],
    objective: str,
    labels: Labels,
    *,
    higher: bool,
) -> tuple[tuple[Pair, ...], dict[str, int], str]:
    """All pairs of ranked rows, the better one first, and the group of each row; or neither, and why, in words."""
    from harness.evaluation.comparison import compare_pairs, rank_groups

    by_row = {row.name: make_system(row, objective, drawn[row.name], labels) for row in ranked}
    if obstacle := _find_obstacle(by_row):
        return (), {}, obstacle
    systems = {name: system for name, system in by_row.items() if system is not None}
    pairs = compare_pairs(systems)
    without = sum(pair.p_holm is None for pair in pairs)
    if without:
        why = explain_no_interval(part for row in ranked for part in _parts(row, objective))
        return (), {}, f"{without} of {len(pairs)} differences have no interval: {why}"
    return tuple(pairs), rank_groups(systems, higher, pairs), ""


def _find_obstacle(systems: Mapping[str, System | None]) -> str:
    """Why not every system can be compared, in words; empty where all can be."""
    without = [name for name, system in systems.items() if system is None]
    if without and len(without) == len(systems):
        return "no row has resamples beside all of its records"
    if without:
        return f"{len(without)} of {len(systems)} rows lack resamples beside a record: {', '.join(without[:5])}" + (
            ", and others" if len(without) > 5 else ""
        )
    if len({system.resamples.shape[1] for system in systems.values() if system is not None}) > 1:
        return "rows were not resampled equally often"
    return ""


def find_leaders(
    ranked: Sequence[RowSummary], drawn: Mapping[str, Sequence[Resamples]], objective: str, *, higher: bool
) -> dict[str, frozenset[str]]:
    """Label -> the best row in the objective and all that do not differ significantly from it.

    The best was picked by what the data show, so that its comparisons are adjusted for all pairs of the label. A row
    that lacks a label in a seed is not compared in it, nor one with fewer than three seeds. A label of which a
    difference has no interval is absent.
    """
    import numpy as np

    from harness.evaluation.comparison import System, compare_pairs
    from harness.evaluation.significance import FEWEST_SEEDS

    values = {row.name: _seeds_by_label(row, objective) for row in ranked}
    ensembles = {row.name for row in ranked if row.ensemble is not None}
    single = {row.name: _resampled_labels(row, drawn[row.name], objective) for row in ranked}
    leaders = {}
    for label in dict.fromkeys(label for by_label in values.values() for label in by_label):
        systems = {
            name: System(np.array(by_label[label]), single[name][label], name in ensembles)
            for name, by_label in values.items()
            if label in single[name] and len(single[name][label]) >= FEWEST_SEEDS
        }
        if len(systems) < 2:
            continue
        best = (max if higher else min)(systems, key=lambda name: systems[name].estimate)
        chosen = [(best, other) for other in systems if other != best]
        pairs = compare_pairs(systems, chosen, tests=len(systems) * (len(systems) - 1) // 2)
        if all(pair.p_holm is not None for pair in pairs):
            leaders[label] = frozenset({best, *(pair.b for pair in pairs if not pair.differs)})
    return leaders


def _seeds_by_label(row: RowSummary, objective: str) -> dict[str, list[float]]:
    """Label -> its value in each seed that counts."""
    by_label: dict[str, list[float]] = {}
    for record in row.counted:
        if objective in record.metrics:
            for label, part in record.metrics[objective].per_label.items():
                if part.value is not None:
                    by_label.setdefault(label, []).append(part.value)
    return by_label
