"""What a row carries to another dataset: its calibration and its thresholds, both fitted on its own validation."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.board import RATES
from harness.metric_names import DEFAULT_POLICY, WITHOUT_VALIDATION, split_name
from harness.report.confusion import Decided, average_confusion
from harness.report.details import CALIBRATIONS
from harness.report.outside import OutsideCell, OutsideSummary
from harness.results.record import Record

TARGET_POLICY = "val-sens0.9"
"""Thresholds that promise something: what is left of the promise is easily told."""
HEADINGS = {
    "before": "ECE as it is",
    "temperature": "ECE with a temperature",
    "platt": "ECE with Platt scaling",
}


@dataclass(frozen=True, kw_only=True)
class Carried:
    """A number of one row on its own test and outside, over the same labels and seeds."""

    inside: float
    outside: float
    change: tuple[float, float] | None = None
    """The interval of 95 % of the outside value minus the inside one; None where the records do not tell."""


@dataclass(frozen=True, kw_only=True)
class CarriedTable:
    """Calibration and decisions of all rows on one outside test."""

    headings: Mapping[str, str]
    """Name of a number -> what readers know it as."""
    rows: Mapping[str, Mapping[str, Carried]]
    """Row -> name of a number -> the number; absent where it is not known."""
    labels: Mapping[str, tuple[str, ...]]
    """Name of a number -> the labels that it is a mean over."""


def gather_carried(test: OutsideSummary) -> CarriedTable:
    """Calibration errors, sensitivity, specificity and F1 of every row that the test has a value of."""
    cells = {cell.row.name: cell for cell in test.measured if cell.records}
    labels = _share_calibrated(cells.values())
    for policy in _list_policies(test):
        others = {
            name: shared
            for name, shared in test.labels.items()
            if split_name(name)[1] == policy and split_name(name)[0] in _asked(test)
        }
        labels |= {**_share_decided(cells.values(), policy), **others}
    rows = {
        name: {number: one for number in labels if (one := _carry(test, cell, number, labels[number])) is not None}
        for name, cell in cells.items()
    }
    known = [number for number in labels if any(number in of_row for of_row in rows.values())]
    return CarriedTable(
        headings={number: HEADINGS.get(number, number) for number in known},
        rows=rows,
        labels={number: labels[number] for number in known},
    )


def _asked(test: OutsideSummary) -> set[str]:
    """The metrics that the board names, without their policies."""
    return {split_name(name)[0] for name in test.seen.board.metrics}


def _list_policies(test: OutsideSummary) -> list[str]:
    """The usual policy, those of validation that the board's metrics name, and the one that promises a sensitivity."""
    named = (split_name(name)[1] for name in test.seen.board.metrics)
    fitted = [policy for policy in named if policy is not None and policy not in WITHOUT_VALIDATION]
    return list(dict.fromkeys([DEFAULT_POLICY, *fitted, TARGET_POLICY]))


def _share_calibrated(cells: Iterable[OutsideCell]) -> dict[str, tuple[str, ...]]:
    """Each calibration -> the labels that all of them average in every record, inside and outside."""
    parts = [one.calibration for cell in cells for pair in cell.records for one in pair]
    if not parts or any(part is None for part in parts):
        return {}
    known = [part for part in parts if part is not None]
    shared = tuple(
        label
        for label in known[0].before.per_label
        if all(label in part.before.per_label and label not in part.left_out for part in known)
    )
    return dict.fromkeys(CALIBRATIONS, shared) if shared else {}


def _share_decided(cells: Iterable[OutsideCell], policy: str) -> dict[str, tuple[str, ...]]:
    """Sensitivity and specificity -> the labels that every record has decisions on, positives and negatives of."""
    counts = [average_confusion([one]).get(policy, {}) for cell in cells for pair in cell.records for one in pair]
    known = [
        {label for label, one in of_record.items() if None not in (one.sensitivity, one.false_alarms)}
        for of_record in counts
    ]
    labels = tuple(label for label in (counts[0] if counts else ()) if all(label in one for one in known))
    return {f"{rate}@{policy}": labels for rate in RATES if labels}


def _carry(test: OutsideSummary, cell: OutsideCell, number: str, labels: Sequence[str]) -> Carried | None:
    """One number of a row; with an interval where it is a metric of the board over these labels."""
    metric = "ece" if number == "before" else number
    if metric in cell.drops and set(test.labels[metric]) == set(labels):
        drop = cell.drops[metric]
        higher = test.seen.directions[metric]
        change = (-drop.interval[1], -drop.interval[0]) if drop.interval and higher else drop.interval
        return Carried(inside=drop.inside, outside=drop.outside, change=change)
    if number not in CALIBRATIONS and split_name(number)[0] not in RATES:
        return None
    inside, outside = (_average(side, number, labels) for side in zip(*cell.records, strict=True))
    return None if inside is None or outside is None else Carried(inside=inside, outside=outside)


def _average(records: Sequence[Record], number: str, labels: Sequence[str]) -> float | None:
    """A number's mean over labels and seeds; None where one of them has none."""
    values: list[float | None]
    if number in CALIBRATIONS:
        parts = [getattr(record.calibration, number).per_label for record in records if record.calibration is not None]
        values = [part[label].ece if label in part else None for part in parts for label in labels]
    else:
        rate, policy = split_name(number)
        counts = average_confusion(records)[policy or ""]
        values = [_rate(counts[label], rate) for label in labels]
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) > 0 else None


def _rate(decided: Decided, rate: str) -> float | None:
    if rate == RATES[0]:
        return decided.sensitivity
    return None if decided.false_alarms is None else 1 - decided.false_alarms
