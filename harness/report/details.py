"""What stands in a row's details beyond its metrics: over the seeds that count, from their records."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.evaluation.bootstrap import average_labels
from harness.evaluation.common_labels import averaged_labels
from harness.evaluation.parts import (
    CalibratedPart,
    CalibrationPart,
    GapPart,
    GroupPart,
    MetricPart,
    PredictivePart,
    SubgroupPart,
)
from harness.evaluation.resamples import Resamples
from harness.evaluation.subgroups import Gap, Macros, find_gap, find_shared
from harness.report.confusion import Confusion, average_confusion
from harness.report.localization import Localized, average_localized
from harness.results.record import ExecutionPart, Record, SubmissionPart

NOTHING: Mapping[int, Resamples | None] = {}
MEASURES = ("ece", "ece_mass", "brier")
CALIBRATIONS = ("before", "temperature", "platt")
"""Scores as they are, and after each calibration, as the parts of a record call them."""


Origin = tuple[str, str]
"""The command that made records, and what it ran with."""


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


@dataclass(frozen=True, kw_only=True)
class ColumnSummary:
    """One column by which patients are grouped."""

    name: str
    metrics: tuple[str, ...]
    groups: tuple[GroupSummary, ...]
    gaps: Mapping[str, Mapping[int, GapPart]]
    """Metric -> seed -> how much better the best group is than the worst."""
    overall: Mapping[str, Gap]
    """Metric -> the gap of the means over seeds; absent where a record lies without its draws."""
    unknown: int
    """Images without a value."""


@dataclass(frozen=True)
class Predicted:
    """Predictive values of a label, means over the seeds, with the means of their intervals' ends."""

    prevalence: float
    ppv: float | None
    ppv_interval: tuple[float, float] | None
    npv: float | None
    npv_interval: tuple[float, float] | None


@dataclass(frozen=True)
class OtherMeans:
    """Means over the seeds beside that of the labels."""

    micro: float | None
    weighted: float | None
    labels: tuple[str, ...]
    """The labels that both means are over; empty where the seeds differ in them, so that neither has a mean."""


@dataclass(frozen=True, kw_only=True)
class RowDetails:
    """Details of a row, from the records that count."""

    calibration: Mapping[str, Mapping[str, float]]
    """Scores as they are or how they were fitted -> `MEASURES` -> mean over labels and seeds."""
    uncalibrated: tuple[str, ...]
    """Labels that are in none of these means: a method could not be fitted, or scores or targets are unknown."""
    labels: Mapping[str, tuple[float | None, ...]]
    """Label -> ECE as it is, with a temperature, with Platt scaling; slopes of both, intercept of the latter."""
    fits: Mapping[str, tuple[float | None, ...]]
    """Label -> slope and intercept on the test as it is, with a temperature, with Platt scaling; empty where no record
    has them."""
    means: Mapping[str, OtherMeans]
    """Metric -> micro and prevalence-weighted mean; empty where no record has them."""
    confusion: Confusion
    """Right and wrong decisions; empty where no record has them."""
    predictive: Mapping[str, Mapping[str, Predicted]]
    """Policy -> label -> predictive values at a given prevalence."""
    localized: Mapping[str, Localized]
    """Metric of heat maps -> what it is beside maps that know nothing of the image."""
    columns: tuple[ColumnSummary, ...]
    execution: Mapping[str, tuple[int, ...]]
    """How training was executed, in words -> the seeds of which it is true."""


def gather_details(records: Sequence[Record], draws: Mapping[int, Resamples | None] = NOTHING) -> RowDetails:
    """Details of a row from those of its records that count, in the order of their seeds.

    `draws` has, by seed, what lies beside a record about groups of patients.
    """
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
        fits=_fit_labels(calibrated),
        means=_average_means(records),
        confusion=average_confusion(records),
        predictive=_average_predictive([record.predictive for record in records if record.predictive]),
        localized=average_localized(records),
        columns=tuple(_summarize_columns({r.combo.seed: r.subgroups for r in records if r.subgroups}, draws)),
        execution=execution,
    )


def gather_origins(records: Iterable[Record]) -> dict[Origin, dict[int, str]]:
    """Origin -> seed -> key, for all records of a row: seeds of one run share a line."""
    origins: dict[Origin, dict[int, str]] = {}
    for record in records:
        made = record.provenance
        harness = f"harness {made.harness}" + (f" at {made.commit}" if made.commit else "")
        threads = [f"{made.threads} threads"] if made.threads else []
        text = ", ".join([harness, f"torch {made.packages.get('torch', 'unknown')}", *threads])
        origins.setdefault((made.command, text), {})[record.combo.seed] = record.key
    return origins


def describe_submission(known: SubmissionPart | None) -> dict[str, str]:
    """What is known of submitted predictions beside their text, by what it is called."""
    if known is None:
        return {}
    size = f"{known.image_size} x {known.image_size} px" if known.image_size else None
    left_out = ", ".join(known.subgroups_left_out)
    described = {
        "Published at": known.source,
        "License": known.license,
        "Trained on": known.trained_on,
        "Image size": size,
        "Subgroups left out": left_out and f"{left_out}, which its submitter could not tell for each prediction",
    }
    return {name: value for name, value in described.items() if value}


def describe_execution(made: ExecutionPart) -> str:
    """How steps were executed, in words; what is the rule is left out."""
    steps = "steps captured as CUDA graphs" if made.step == "graph" else "eager steps"
    placement = "images resident" if made.placement == "resident" else f"images {made.placement}"
    parts = [made.precision, steps, *(["compiled"] if made.compiled else []), placement]
    return ", ".join([*parts, *([f"{made.micro_batch} images at a time"] if made.micro_batch else [])])


def _average_calibration(calibrated: Sequence[CalibrationPart]) -> dict[str, dict[str, float]]:
    parts: dict[str, list[CalibratedPart]] = {
        "as they are": [one.before for one in calibrated],
        "with a temperature a label": [one.temperature for one in calibrated],
        "with Platt scaling": [one.platt for one in calibrated],
    }
    averaged = {
        name: {measure: _mean(getattr(part, measure) for part in of_seeds) for measure in MEASURES}
        for name, of_seeds in parts.items()
    }
    defined = {name: {m: v for m, v in values.items() if v is not None} for name, values in averaged.items()}
    return {name: values for name, values in defined.items() if values}


def _calibrate_labels(calibrated: Sequence[CalibrationPart]) -> dict[str, tuple[float | None, ...]]:
    labels = dict.fromkeys(label for one in calibrated for label in one.before.per_label)
    kinds = [
        [one.before for one in calibrated],
        [one.temperature for one in calibrated],
        [one.platt for one in calibrated],
    ]
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


def _fit_labels(calibrated: Sequence[CalibrationPart]) -> dict[str, tuple[float | None, ...]]:
    fits = {
        label: tuple(
            _mean(getattr(part.per_label[label], name) for part in parts if label in part.per_label)
            for parts in ([getattr(one, kind) for one in calibrated] for kind in CALIBRATIONS)
            for name in ("test_slope", "test_intercept")
        )
        for label in dict.fromkeys(label for one in calibrated for label in one.before.per_label)
    }
    return {label: values for label, values in fits.items() if any(value is not None for value in values)}


def _average_means(records: Sequence[Record]) -> dict[str, OtherMeans]:
    parts: dict[str, list[MetricPart]] = {}
    for record in records:
        for name, part in record.metrics.items():
            if part.micro is not None or part.weighted is not None:
                parts.setdefault(name, []).append(part)
    return {name: _average_other(of_metric) for name, of_metric in parts.items()}


def _average_other(parts: Sequence[MetricPart]) -> OtherMeans:
    labels, *others = ({*averaged_labels(part)} for part in parts)
    if any(other != labels for other in others):
        return OtherMeans(None, None, ())
    return OtherMeans(
        _mean(part.micro for part in parts), _mean(part.weighted for part in parts), tuple(averaged_labels(parts[0]))
    )


def _average_predictive(
    predictive: Sequence[Mapping[str, Mapping[str, PredictivePart]]],
) -> dict[str, dict[str, Predicted]]:
    averaged: dict[str, dict[str, Predicted]] = {}
    for policy, labels in predictive[0].items() if predictive else ():
        for label in labels:
            parts = [one[policy][label] for one in predictive if label in one.get(policy, {})]
            averaged.setdefault(policy, {})[label] = Predicted(
                prevalence=parts[0].prevalence,
                ppv=_mean(part.ppv for part in parts),
                ppv_interval=_average_interval([part.ppv_interval for part in parts]),
                npv=_mean(part.npv for part in parts),
                npv_interval=_average_interval([part.npv_interval for part in parts]),
            )
    return averaged


def _average_interval(intervals: Sequence[tuple[float, float] | None]) -> tuple[float, float] | None:
    defined = [interval for interval in intervals if interval is not None]
    if not defined or len(defined) < len(intervals):
        return None
    low, high = (statistics.fmean(ends) for ends in zip(*defined, strict=True))
    return low, high


def _summarize_columns(
    subgroups: Mapping[int, Mapping[str, SubgroupPart]], draws: Mapping[int, Resamples | None]
) -> Iterable[ColumnSummary]:
    """`subgroups`: seed -> column -> groups. The seeds share their images, so that sizes are those of the first."""
    for name, first in next(iter(subgroups.values()), {}).items():
        parts = {seed: columns[name] for seed, columns in subgroups.items() if name in columns}
        yield ColumnSummary(
            name=name,
            metrics=tuple(first.gaps),
            groups=tuple(_summarize_group(group, list(parts.values())) for group in first.groups),
            gaps={
                metric: {seed: gap for seed, part in parts.items() if (gap := part.gaps.get(metric)) is not None}
                for metric in first.gaps
            },
            overall={
                metric: overall
                for metric in first.gaps
                if (overall := _compare_groups(metric, name, parts, draws)) is not None
            },
            unknown=first.unknown,
        )


def _compare_groups(
    metric: str, column: str, parts: Mapping[int, SubgroupPart], draws: Mapping[int, Resamples | None]
) -> Gap | None:
    """The gap over the seeds; None where they do not have the same groups, labels and draws."""
    seeds = [_find_macros(metric, column, part, draws.get(seed)) for seed, part in parts.items()]
    macros = [seed for seed in seeds if seed is not None]
    alike = {(seed.groups, seed.labels_used, seed.resampled.shape, seed.permuted.shape) for seed in macros}
    return find_gap(macros) if len(macros) == len(seeds) and len(alike) == 1 else None


def _find_macros(metric: str, column: str, part: SubgroupPart, drawn: Resamples | None) -> Macros | None:
    gap, key = part.gaps.get(metric), f"{column}/{metric}"
    if gap is None or drawn is None or key not in drawn.groups or key not in drawn.permuted:
        return None
    by_group = {group.name: np.array([*group.per_label[metric].values()], dtype=np.float64) for group in part.groups}
    groups, shared = find_shared(by_group)
    values = {name: float(average_labels(by_group[name][None, shared])[0]) for name in groups}
    if len(drawn.groups[key]) != len(groups) or len(drawn.permuted[key]) != len(groups):
        return None
    return Macros(
        groups=groups,
        values=np.array([values[name] for name in groups]),
        resampled=drawn.groups[key],
        permuted=drawn.permuted[key],
        labels_used=int(shared.sum()),
        higher_is_better=values[gap.best] >= values[gap.worst],
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
    defined = [value for value in values if value is not None]
    return statistics.fmean(defined) if defined else None
