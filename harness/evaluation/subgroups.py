"""Whether a system serves every group of patients: by sex, age, view or any other column.

Letters in shapes: N images, C labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.components import Data, Metric
from harness.evaluation.bootstrap import Resampling, average_labels, find_interval, resample
from harness.evaluation.contract import compute_labels

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

FEWEST = 10
"""Positives, and negatives, that a group needs for a label to be scored; with fewer, chance alone makes gaps."""
AGES = (40, 60, 80)
"""Years at which a band of age begins. A convention: no standard says where; Seyyed-Kalantari et al. 2021 cut alike."""
BANDS = ("0-39", "40-59", "60-79", "80+")


@dataclass(frozen=True, eq=False)
class Group:
    """Images of one value of a column."""

    name: str
    images: int
    patients: int
    positives: NDArray[np.intp]
    """(C,)"""
    negatives: NDArray[np.intp]
    """(C,)"""
    per_label: Mapping[str, NDArray[np.float64]]
    """Metric -> (C,), NaN for a label with fewer than ten positives or ten negatives in the group."""
    macro: Mapping[str, float]
    """Metric -> the mean over the labels that are scored, NaN where none is."""


@dataclass(frozen=True)
class Gap:
    """How much better a metric's macro is in the best group than in the worst one."""

    best: str
    worst: str
    value: float
    """At least 0. Over the labels that are scored in every group which has any."""
    labels_used: int
    interval: tuple[float, float] | None
    """Of 95 %, patients resampled, between these two groups. Of several groups the extreme ones were picked: some gap
    is found where there is none."""


@dataclass(frozen=True, eq=False)
class Subgroups:
    """One column."""

    groups: tuple[Group, ...]
    """By name."""
    gaps: Mapping[str, Gap | None]
    """Metric -> gap; None where fewer than two groups have a label in common that is scored."""
    unknown: int
    """Images without a value."""


def find_groups(data: Data) -> dict[str, NDArray[np.str_]]:
    """Column -> the group (N,) of each image, empty where unknown, for the columns that a dataset names; ages in bands.

    A column that is the same for all, or known of none, is left out.
    """
    found = {}
    for name in data.subgroups:
        if name not in data.table:
            continue
        column = data.table[name]
        values = band_ages(column.to_numpy(dtype=np.float64)) if name == "age" else column.to_numpy(dtype=object)
        texts = np.array(["" if _is_unknown(value) else str(value) for value in values], dtype=str)
        if len(set(texts.tolist()) - {""}) > 1:
            found[name] = texts
    return found


def _is_unknown(value: object) -> bool:
    return value is None or value == "" or value != value  # noqa: PLR0124 - NaN is the only thing that differs from itself


def band_ages(ages: ArrayLike) -> NDArray[np.object_]:
    """The band (N,) of each age in years (N,): `0-39`, `40-59`, `60-79` or `80+`; None where it is NaN."""
    years = np.asarray(ages, dtype=np.float64)
    bands = np.array(BANDS, dtype=object)[np.digitize(years, AGES)]
    bands[np.isnan(years)] = None
    return bands


def measure_subgroups(
    columns: Mapping[str, ArrayLike],
    metrics: Sequence[Metric],
    given: Mapping[str, NDArray[np.float64]],
    targets: NDArray[np.floating],
    patients: NDArray[np.str_],
    resampling: Resampling,
) -> dict[str, Subgroups]:
    """Every metric in every group of every column.

    `columns` maps a name to a value per image (N,), None or NaN unknown; `given` a metric's name to what it judges,
    scores or decisions (at thresholds that validation fitted), (N, C); `targets` are (N, C), `patients` (N,). Raises
    what `resample` raises.
    """
    return {
        name: _measure_column(values, metrics, given, targets, patients, resampling) for name, values in columns.items()
    }


def _measure_column(
    values: ArrayLike,
    metrics: Sequence[Metric],
    given: Mapping[str, NDArray[np.float64]],
    targets: NDArray[np.floating],
    patients: NDArray[np.str_],
    resampling: Resampling,
) -> Subgroups:
    import pandas as pd

    column = pd.Series(values, dtype=object)
    known = column.notna().to_numpy()
    names = column[known].astype(str).to_numpy(dtype=str)
    inside = {str(name): np.flatnonzero(known)[names == name] for name in np.unique(names)}
    scored = {name: _keep_scored(targets, rows) for name, rows in inside.items()}
    groups = tuple(
        _measure_group(name, rows, metrics, given, targets, scored[name], patients) for name, rows in inside.items()
    )
    gaps = {
        metric.name: _find_gap(metric, given[metric.name], groups, scored, patients, resampling) for metric in metrics
    }
    return Subgroups(groups, gaps, int((~known).sum()))


def _keep_scored(targets: NDArray[np.floating], rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Targets (N, C) that are unknown outside a group, and for labels that have too few of a class in it."""
    kept = np.full(targets.shape, np.nan)
    part = targets[rows]
    enough = ((part == 1).sum(axis=0) >= FEWEST) & ((part == 0).sum(axis=0) >= FEWEST)
    kept[rows] = np.where(enough, part, np.nan)
    return kept


def _measure_group(
    name: str,
    rows: NDArray[np.intp],
    metrics: Sequence[Metric],
    given: Mapping[str, NDArray[np.float64]],
    targets: NDArray[np.floating],
    scored: NDArray[np.float64],
    patients: NDArray[np.str_],
) -> Group:
    values = {
        metric.name: compute_labels(metric, given[metric.name][rows], scored[rows], patients[rows])
        for metric in metrics
    }
    return Group(
        name=name,
        images=len(rows),
        patients=len(np.unique(patients[rows])),
        positives=(targets[rows] == 1).sum(axis=0),
        negatives=(targets[rows] == 0).sum(axis=0),
        per_label=values,
        macro={metric: _macro(found) for metric, found in values.items()},
    )


def _find_gap(
    metric: Metric,
    given: NDArray[np.float64],
    groups: Sequence[Group],
    scored: Mapping[str, NDArray[np.float64]],
    patients: NDArray[np.str_],
    resampling: Resampling,
) -> Gap | None:
    values = {group.name: group.per_label[metric.name] for group in groups}
    values = {name: found for name, found in values.items() if not np.isnan(found).all()}
    if len(values) < 2:
        return None
    shared = ~np.isnan(list(values.values())).any(axis=0)
    if not shared.any():
        return None
    sign = 1 if metric.higher_is_better else -1
    ordered = sorted(values, key=lambda name: (sign * _macro(values[name][shared]), name))
    worst, best = ordered[0], ordered[-1]
    in_best, in_worst = (
        resample(metric, given[:, shared], scored[name][:, shared], patients, resampling) for name in (best, worst)
    )
    missing = np.isnan(in_best) | np.isnan(in_worst)
    in_best[missing] = in_worst[missing] = np.nan
    differences = average_labels(in_best) - average_labels(in_worst)
    return Gap(
        best=best,
        worst=worst,
        value=sign * (_macro(values[best][shared]) - _macro(values[worst][shared])),
        labels_used=int(shared.sum()),
        interval=find_interval(sign * differences),
    )


def _macro(values: NDArray[np.float64]) -> float:
    return float(average_labels(values[None])[0])
