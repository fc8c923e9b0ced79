"""What is no finding: a best row that is no better than chance, and labels with too few patients to rank rows by."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

from harness.evaluation.parts import LabelValue
from harness.evaluation.subgroups import FEWEST
from harness.metric_names import split_name
from harness.report.leaderboard import Leaderboard, RowSummary

CHANCE: Mapping[str, tuple[Callable[[float], float], str]] = {
    "auroc": (lambda share: 0.5, "what chance gets"),
    "auprc": (lambda share: share, "what chance gets: the mean prevalence of its labels"),
    "f1": (lambda share: 2 * share / (1 + share), "what finding every label in every {unit} gets"),
    "brier": (lambda share: share * (1 - share), "what saying of every {unit} how frequent a label is gets"),
}
"""Metric -> its value where scores know nothing of the image, from a label's share of positives; and what that is.

`{unit}` stands for what is scored.
"""


def count_labels(row: RowSummary) -> dict[str, LabelValue]:
    """Label -> its positives and negatives in the test split, as the first metric that knows the label has them."""
    counts: dict[str, LabelValue] = {}
    for part in row.counted[0].metrics.values() if row.counted else ():
        counts = {**part.per_label, **counts}
    return counts


def count_test(summary: Leaderboard) -> tuple[int, dict[str, int]]:
    """How many images of the test split, or studies or patients, rows are scored over; and the positives by label."""
    for row in summary.rows:
        if row.counted and (pooled := row.counted[0].pooled) is not None:
            return pooled.test, {label: one.positives for label, one in count_labels(row).items()}
    test = summary.data.splits["test"] if summary.data else None
    return (0, {}) if test is None else (test.images, dict(test.positives))


def find_rare_labels(summary: Leaderboard) -> tuple[str, ...]:
    """List the labels of which the test split has fewer than `FEWEST` positives or negatives.

    The value of such a label says little of a row, and nothing of which row is the best.
    """
    counts = count_labels(summary.ranked[0]) if summary.ranked else {}  # all rows have the same units
    return tuple(label for label, one in counts.items() if min(one.positives, one.negatives) < FEWEST)


def judge_against_chance(summary: Leaderboard) -> str:
    """Why the first row is no better than chance in the objective, in words; empty where it is, or none can tell."""
    best = summary.ranked[0]
    spread, counts = best.metrics[summary.objective], count_labels(best)
    value_of, what = CHANCE.get(split_name(summary.objective)[0], (None, ""))
    shares = [
        one.positives / (one.positives + one.negatives)
        for label in summary.labels.get(summary.objective, ())
        if (one := counts.get(label)) is not None and one.positives + one.negatives
    ]
    if value_of is None or not shares:
        return ""
    chance = statistics.fmean(value_of(share) for share in shares)
    told = f"{chance:.3g}, {what.format(unit=summary.board.unit)}"
    interval, over = (
        spread.interval_seeds or spread.interval,
        "patients and seeds" if spread.interval_seeds else "patients",
    )
    better = 1 if summary.directions[summary.objective] else -1
    if better * (spread.mean - chance) <= 0:
        return f"its value is not better than {told}"
    if interval is None:
        return ""
    nearest = interval[0] if better > 0 else interval[1]
    return f"its 95 % interval over {over} holds {told}" if better * (nearest - chance) <= 0 else ""
