"""Metrics of heat maps in a row's details: each label beside maps that know nothing of the image."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.evaluation.parts import BaselineLabel, BaselinePart, Interval, MapsPart, MetricPart
from harness.results.record import Record


@dataclass(frozen=True)
class BesideBaseline:
    """A baseline's value and what the network has above it: means over seeds, and of the intervals' ends."""

    value: float | None
    delta: float | None
    interval: Interval | None


@dataclass(frozen=True)
class LocalizedLine:
    """A label, or the mean of the labels."""

    name: str
    images: int
    value: float | None
    threshold: float | None
    beside: tuple[BesideBaseline, ...]
    """In the order of the baselines."""


@dataclass(frozen=True, kw_only=True)
class Localized:
    """A metric of heat maps of one row, over the seeds that count."""

    about: tuple[str, ...]
    """How maps were made, in words: one line, unless seeds differ."""
    images: int
    patients: int
    fitted: bool
    """Whether it has a threshold."""
    baselines: Mapping[str, str]
    """Baseline -> what it is."""
    lines: tuple[LocalizedLine, ...]
    """The mean of the labels, then each label with boxes."""


def average_localized(records: Sequence[Record]) -> dict[str, Localized]:
    """Metric of heat maps -> its means over the records that hold it."""
    parts: dict[str, list[MetricPart]] = {}
    for record in records:
        for name, part in record.metrics.items():
            if part.maps is not None:
                parts.setdefault(name, []).append(part)
    return {name: _average(of_metric) for name, of_metric in parts.items()}


def _average(parts: Sequence[MetricPart]) -> Localized:
    maps = [part.maps for part in parts if part.maps is not None]
    first = maps[0]
    labels = [label for label, one in parts[0].per_label.items() if one.positives]
    return Localized(
        about=tuple(dict.fromkeys(one.about for one in maps)),
        images=first.images,
        patients=first.patients,
        fitted=any(one.thresholds for one in maps),
        baselines={name: one.about for name, one in first.baselines.items()},
        lines=(
            LocalizedLine(
                "mean of labels",
                first.images,
                _mean(part.macro for part in parts),
                None,
                tuple(_beside([one.baselines[name] for one in maps]) for name in first.baselines),
            ),
            *(_describe_label(label, parts, maps) for label in labels),
        ),
    )


def _describe_label(label: str, parts: Sequence[MetricPart], maps: Sequence[MapsPart]) -> LocalizedLine:
    return LocalizedLine(
        label,
        parts[0].per_label[label].positives,
        _mean(part.per_label[label].value for part in parts),
        _mean(one.thresholds.get(label) for one in maps),
        tuple(_beside([one.baselines[name].per_label[label] for one in maps]) for name in maps[0].baselines),
    )


def _beside(seeds: Sequence[BaselinePart] | Sequence[BaselineLabel]) -> BesideBaseline:
    intervals = [one.interval for one in seeds if one.interval is not None]
    whole = len(intervals) == len(seeds)
    return BesideBaseline(
        value=_mean(one.macro if isinstance(one, BaselinePart) else one.value for one in seeds),
        delta=_mean(one.delta for one in seeds),
        interval=(statistics.fmean(low for low, _ in intervals), statistics.fmean(high for _, high in intervals))
        if whole
        else None,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
