"""What stands in a row's details beyond its metrics: over the seeds that count, from their records."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.results.record import (
    CalibratedPart,
    CalibrationPart,
    ExecutionPart,
    GapPart,
    GroupPart,
    Record,
    SubgroupPart,
)

MEASURES = ("ece", "ece_mass", "brier")


Origin = tuple[str, str]
"""By which command, and with what."""


@dataclass(frozen=True)
class GroupSummary:
    """Test images of one value of a column."""

    name: str
    images: int
    patients: int
    labels_used: int
    """Labels with enough positives and negatives in the group."""
    macro: Mapping[str, float]
    """Metric -> mean over the seeds; absent where no label is scored."""


@dataclass(frozen=True)
class ColumnSummary:
    """One column by which patients are grouped."""

    name: str
    metrics: tuple[str, ...]
    groups: tuple[GroupSummary, ...]
    gaps: Mapping[str, Mapping[int, GapPart]]
    """Metric -> seed -> how much better the best group is than the worst. Not averaged: seeds may differ in which."""
    unknown: int
    """Images without a value."""


@dataclass(frozen=True)
class RowDetails:
    """Of the records that count."""

    calibration: Mapping[str, Mapping[str, float]]
    """Scores as they are or how they were fitted -> `MEASURES` -> mean over labels and seeds."""
    uncalibrated: tuple[str, ...]
    """Labels that are in none of these means: a method could not be fitted, or scores or targets are unknown."""
    labels: Mapping[str, tuple[float | None, ...]]
    """Label -> ECE as it is, with a temperature, with Platt scaling; slopes of both, intercept of the latter."""
    columns: tuple[ColumnSummary, ...]
    execution: Mapping[str, tuple[int, ...]]
    """How training was executed, in words -> the seeds of which it is true."""


def gather_details(records: Sequence[Record]) -> RowDetails:
    """Details of a row from those of its records that count, in the order of their seeds."""
    execution: dict[str, tuple[int, ...]] = {}
    for record in records:
        if record.training is not None:
            text = "; ".join([describe_execution(record.training.execution), *record.training.execution.notes])
            execution[text] = (*execution.get(text, ()), record.combo.seed)
    calibrated = [record.calibration for record in records if record.calibration is not None]
    return RowDetails(
        calibration=_average_calibration(calibrated),
        uncalibrated=tuple(dict.fromkeys(label for part in calibrated for label in part.left_out)),
        labels=_calibrate_labels(calibrated),
        columns=tuple(_summarize_columns({r.combo.seed: r.subgroups for r in records if r.subgroups})),
        execution=execution,
    )


def gather_origins(records: Iterable[Record]) -> dict[Origin, dict[int, str]]:
    """Origin -> seed -> key, for all records of a row: seeds of one run share a line."""
    found: dict[Origin, dict[int, str]] = {}
    for record in records:
        made = record.provenance
        harness = f"harness {made.harness}" + (f" at {made.commit}" if made.commit else "")
        threads = [f"{made.threads} threads"] if made.threads else []
        text = ", ".join([harness, f"torch {made.packages.get('torch', 'unknown')}", *threads])
        found.setdefault((made.command, text), {})[record.combo.seed] = record.key
    return found


def describe_execution(made: ExecutionPart) -> str:
    """How steps were executed, in words; what is the rule is left out."""
    steps = "steps captured as CUDA graphs" if made.step == "graph" else "eager steps"
    placement = "images resident" if made.placement == "resident" else f"images {made.placement}"
    parts = [made.precision, steps, *(["compiled"] if made.compiled else []), placement]
    return ", ".join([*parts, *([f"{made.micro_batch} images at a time"] if made.micro_batch else [])])


def _average_calibration(found: Sequence[CalibrationPart]) -> dict[str, dict[str, float]]:
    parts: dict[str, list[CalibratedPart]] = {
        "as they are": [one.before for one in found],
        "with a temperature a label": [one.temperature for one in found],
        "with Platt scaling": [one.platt for one in found],
    }
    averaged = {
        name: {measure: _mean(getattr(part, measure) for part in of_seeds) for measure in MEASURES}
        for name, of_seeds in parts.items()
    }
    known = {name: {m: v for m, v in values.items() if v is not None} for name, values in averaged.items()}
    return {name: values for name, values in known.items() if values}


def _calibrate_labels(found: Sequence[CalibrationPart]) -> dict[str, tuple[float | None, ...]]:
    labels = dict.fromkeys(label for one in found for label in one.before.per_label)
    kinds = [[one.before for one in found], [one.temperature for one in found], [one.platt for one in found]]
    return {
        label: (
            *(_mean(part.ece for part in parts) for parts in (before, temperature, platt)),
            *(_mean(part.slope for part in parts) for parts in (temperature, platt)),
            _mean(part.intercept for part in platt),
        )
        for label in labels
        for before, temperature, platt in [
            [[part.per_label[label] for part in parts if label in part.per_label] for parts in kinds]
        ]
    }


def _summarize_columns(found: Mapping[int, Mapping[str, SubgroupPart]]) -> Iterable[ColumnSummary]:
    """`found`: seed -> column -> groups. The seeds share their images, so that sizes are those of the first."""
    for name, first in next(iter(found.values()), {}).items():
        parts = {seed: columns[name] for seed, columns in found.items() if name in columns}
        yield ColumnSummary(
            name=name,
            metrics=tuple(first.gaps),
            groups=tuple(_summarize_group(group, list(parts.values())) for group in first.groups),
            gaps={
                metric: {seed: gap for seed, part in parts.items() if (gap := part.gaps.get(metric)) is not None}
                for metric in first.gaps
            },
            unknown=first.unknown,
        )


def _summarize_group(group: GroupPart, columns: Iterable[SubgroupPart]) -> GroupSummary:
    same = [other for column in columns for other in column.groups if other.name == group.name]
    means = {metric: _mean(other.macro.get(metric) for other in same) for metric in group.macro}
    scored = [sum(value is not None for value in values.values()) for values in group.per_label.values()]
    return GroupSummary(
        name=group.name,
        images=group.images,
        patients=group.patients,
        labels_used=max(scored, default=0),
        macro={metric: mean for metric, mean in means.items() if mean is not None},
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
