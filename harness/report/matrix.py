"""Rows against labels: how each value compares with its label's others."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping

from markupsafe import Markup

from harness.report.chance import find_rare_labels
from harness.report.leaderboard import Leaderboard, RowSummary

SHADES = 3
"""Steps of color on either side of a label's mean."""

Intervals = Mapping[str, tuple[float, float]]


def shade_labels(summary: Leaderboard, metric: str) -> dict[str, dict[str, int]]:
    """Row -> label -> shade from -SHADES (worst) to SHADES (best).

    A shade is the distance from the label's mean over rows, on one scale for all labels of a metric, so that a
    difference of no account stays pale and easy labels do not outshine hard ones. Labels with too few patients have
    none.
    """
    sign = 1 if summary.directions[metric] else -1
    values, rare = {row.name: row.per_label.get(metric, {}) for row in summary.ranked}, find_rare_labels(summary)
    means = {
        label: sum(column) / len(column)
        for label in (summary.data.labels if summary.data else ())
        if label not in rare and (column := [row[label] for row in values.values() if label in row])
    }
    apart = {
        name: {label: sign * (row[label] - mean) for label, mean in means.items() if label in row}
        for name, row in values.items()
    }
    largest = max((abs(d) for row in apart.values() for d in row.values()), default=0.0) or 1.0
    return {name: {label: round(SHADES * d / largest) for label, d in row.items()} for name, row in apart.items()}


def find_intervals(summary: Leaderboard, row: RowSummary, metric: str) -> Intervals:
    """Label -> interval: of the objective from resamples, of other metrics the mean of the seeds' own intervals.

    Resamples of single labels are kept for the objective alone. The mean of the seeds' intervals is at least about as
    wide as the interval of their mean.
    """
    if metric == summary.objective and row.label_intervals:
        return row.label_intervals
    parts = [record.metrics[metric].per_label for record in row.counted if metric in record.metrics]
    by_label = {}
    for label in row.per_label.get(metric, {}):
        of_seeds = [part[label].interval for part in parts if label in part and part[label].value is not None]
        intervals = [interval for interval in of_seeds if interval is not None]
        if intervals and len(intervals) == len(of_seeds):
            low, high = (statistics.fmean(ends) for ends in zip(*intervals, strict=True))
            by_label[label] = (low, high)
    return by_label


def draw_cells(summary: Leaderboard, metric: str) -> Iterator[tuple[RowSummary, Markup]]:
    """Each ranked row with its cells, a label each: value, shade, mark and interval; an undefined value is empty.

    Of numbers and own class names alone, so that nothing has to be escaped: a template would take five times as long.
    """
    shades, marks = shade_labels(summary, metric), mark_best(summary, metric)
    for row in summary.ranked:
        values, intervals = row.per_label.get(metric, {}), find_intervals(summary, row, metric)
        cells = []
        for label in summary.data.labels if summary.data else ():
            if label not in values:
                cells.append("<td></td>")
                continue
            shade, mark = shades[row.name].get(label, 0), marks.get(label, {}).get(row.name)
            kind = "e" if shade == 0 else f"{'b' if shade > 0 else 'w'}{abs(shade)}"
            low_high = (
                f' data-interval="{intervals[label][0]:.3f} {intervals[label][1]:.3f}"' if label in intervals else ""
            )
            cells.append(f'<td class="{kind}{f" {mark}" if mark else ""}"{low_high}>{values[label]:.3f}</td>')
        yield row, Markup("\n".join(cells))  # noqa: S704 - see above


def mark_best(summary: Leaderboard, metric: str) -> dict[str, dict[str, str]]:
    """Label -> row -> `best`, or of the objective `tied` where it does not differ significantly from the best.

    Labels with too few patients have none.
    """
    choose, rare = max if summary.directions[metric] else min, find_rare_labels(summary)
    marks: dict[str, dict[str, str]] = {}
    for label in summary.data.labels if summary.data else ():
        values = {row.name: row.per_label[metric][label] for row in summary.ranked if label in row.per_label[metric]}
        if len(values) < 2 or label in rare:
            continue
        best = choose(values.values())
        tied = summary.leaders.get(label, frozenset()) if metric == summary.objective else frozenset()
        marks[label] = dict.fromkeys(sorted(tied), "tied")
        marks[label] |= {name: "best" for name, value in values.items() if value == best}
    return marks
