"""How much of a board's numbers chance explains: intervals of rows, comparisons, rank groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.evaluation.comparison import Pair
    from harness.evaluation.resamples import Resamples
    from harness.report.summary import RowSummary


def gather(row: RowSummary, resamples: Mapping[str, Resamples]) -> tuple[Resamples, ...]:
    """What lies beside the records that count, a seed each; nothing where one of them lies alone."""
    found = [resamples.get(f"{row.name}--s{seed}") for seed in row.seeds]
    there = tuple(one for one in found if one is not None)
    lengths = {len(values) for one in there for values in one.macro.values()}
    return there if len(there) == len(found) and len(lengths) == 1 else ()


def add_intervals(row: RowSummary, drawn: Sequence[Resamples], objective: str) -> RowSummary:
    """The row with an interval for each metric, and for each label of the objective, of the mean over its seeds."""
    if not drawn:
        return row
    import numpy as np

    from harness.evaluation.bootstrap import average_seeds, find_intervals

    resampled = {
        name: [one.macro[name] for one in drawn]
        for name, spread in row.metrics.items()
        if len(spread.values) == len(drawn) and all(name in one.macro for one in drawn)
    }
    labels = {
        label: [one.per_label[label] for one in drawn]
        for label in row.per_label.get(objective, {})
        if all(label in one.per_label for one in drawn)
    }
    values = [average_seeds(np.array(seeds)) for seeds in (*resampled.values(), *labels.values())]
    intervals = find_intervals(np.array(values)) if values else []
    metrics = {
        name: replace(row.metrics[name], interval=interval)
        for name, interval in zip(resampled, intervals, strict=False)
    }
    known = {
        label: interval
        for label, interval in zip(labels, intervals[len(resampled) :], strict=True)
        if interval is not None
    }
    return replace(row, metrics={**row.metrics, **metrics}, label_intervals=known)


def find_obstacle(ranked: Sequence[RowSummary], drawn: Mapping[str, Sequence[Resamples]], objective: str) -> str:
    """Why the ranked rows cannot be compared, in words; empty where they can."""
    held = {row.name: [one.macro[objective] for one in drawn[row.name] if objective in one.macro] for row in ranked}
    without = [row.name for row in ranked if len(held[row.name]) != len(row.metrics[objective].values)]
    if without and len(without) == len(ranked):
        return "no row has resamples beside all of its records"
    if without:
        return f"{len(without)} of {len(ranked)} rows lack resamples beside a record: {', '.join(without[:5])}" + (
            ", and others" if len(without) > 5 else ""
        )
    if len({len(values) for found in held.values() for values in found}) > 1:
        return "rows were not resampled equally often"
    return ""


def compare(
    ranked: Sequence[RowSummary], drawn: Mapping[str, Sequence[Resamples]], objective: str, *, higher: bool
) -> tuple[tuple[Pair, ...], dict[str, int]]:
    """All pairs of ranked rows, the better one first, and the group of each row; they have no obstacle."""
    import numpy as np

    from harness.evaluation.comparison import System, compare_pairs, rank_groups

    systems = {
        row.name: System(
            np.array(row.metrics[objective].values), np.array([one.macro[objective] for one in drawn[row.name]])
        )
        for row in ranked
    }
    pairs = compare_pairs(systems)
    return tuple(pairs), rank_groups(systems, higher, pairs)


def find_leaders(
    ranked: Sequence[RowSummary], drawn: Mapping[str, Sequence[Resamples]], objective: str, *, higher: bool
) -> dict[str, frozenset[str]]:
    """Label -> the best row in the objective and all that are not shown to differ from it.

    Adjusted for the comparisons of the label with its best. A row that lacks a label in a seed is not compared in it.
    """
    import numpy as np

    from harness.evaluation.comparison import SIGNIFICANT, System, compare_pairs

    values = {row.name: _seeds_by_label(row, objective) for row in ranked}
    leaders = {}
    for label in dict.fromkeys(label for found in values.values() for label in found):
        systems = {
            name: System(np.array(found[label]), np.array([one.per_label[label] for one in drawn[name]]))
            for name, found in values.items()
            if len(found.get(label, ())) == len(drawn[name]) and all(label in one.per_label for one in drawn[name])
        }
        if len(systems) < 2:
            continue
        best = (max if higher else min)(systems, key=lambda name: systems[name].estimate)
        pairs = compare_pairs(systems, [(best, other) for other in systems if other != best])
        alike = {pair.b for pair in pairs if pair.p_holm is None or pair.p_holm >= SIGNIFICANT}
        leaders[label] = frozenset({best, *alike})
    return leaders


def _seeds_by_label(row: RowSummary, objective: str) -> dict[str, list[float]]:
    """Label -> its value in each seed that counts."""
    found: dict[str, list[float]] = {}
    for record in row.counted:
        if objective in record.metrics:
            for label, part in record.metrics[objective].per_label.items():
                if part.value is not None:
                    found.setdefault(label, []).append(part.value)
    return found
