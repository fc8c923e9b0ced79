"""Whether a system serves every group of patients: by sex, age, view or any other column.

Letters in shapes: N images, C labels, G groups, R resamples, B permutations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.components import Data, Metric
from harness.evaluation.bootstrap import Resampling, average_labels, average_seeds, can_be_resampled, resample
from harness.evaluation.contract import compute_labels
from harness.evaluation.intervals import find_interval
from harness.evaluation.permutation import NO_GROUP, PERMUTATIONS, Question, measure_permuted, permute_groups

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

FEWEST = 10
"""Positives, and negatives, that a group needs for a label to be scored, of as many patients as resampling needs; with
fewer, chance alone makes gaps."""
AGES = (40, 60, 80)
"""Years at which a band of age begins. A convention: no standard says where; Seyyed-Kalantari et al. 2021 cut alike."""
BANDS = ("0-39", "40-59", "60-79", "80+")
MEASURED = ("auroc", "sensitivity")
"""Metrics by which subgroups are compared; the latter at the thresholds of validation."""
DIGITS = 4
"""Digits kept of resampled and permuted macros, which would otherwise be half of what lies beside a record."""
ROUNDING = 1.01 * 10**-DIGITS
"""The most by which two gaps may differ that are the same but for such rounding."""


@dataclass(frozen=True, eq=False, kw_only=True)
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
    """Metric -> (C,), NaN for a label with fewer than ten positives or ten negatives in the group, or in too few of its
    patients."""
    macro: Mapping[str, float]
    """Metric -> the mean over the labels that are scored, NaN where none is."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How much better a metric's macro is in the best group than in the worst one."""

    best: str
    worst: str
    value: float
    """The difference of the macros, at least 0, over the labels that are scored in every group which has any."""
    labels_used: int
    interval: tuple[float, float] | None
    """The interval of 95 %, patients resampled, between these two groups. Of several groups the extreme ones
    were picked, so that it does not test whether there is a gap: `p` does."""
    p: float | None
    """The chance of a gap as large between the best and the worst of groups of these sizes that were drawn at random;
    None where nothing was drawn."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Macros:
    """One metric of one seed in the groups that have any label scored, over the labels that all of those have."""

    groups: tuple[str, ...]
    """(G,) by name."""
    values: NDArray[np.float64]
    """(G,)"""
    resampled: NDArray[np.float64]
    """(G, R) macros in each resample of the patients, rounded; NaN where one of the labels has no value."""
    permuted: NDArray[np.float64]
    """(G, B) macros with the names of groups permuted over patients; permutation b is the same in every seed."""
    labels_used: int
    higher_is_better: bool


@dataclass(frozen=True, eq=False)
class Subgroups:
    """The groups of one column, of one seed or averaged over several."""

    groups: tuple[Group, ...]
    """The groups, ordered by name."""
    macros: Mapping[str, Macros]
    """Metric -> what its gap is made of; without metrics for which fewer than two groups share a scored label."""
    gaps: Mapping[str, Gap | None]
    """Metric -> gap; None where there are no macros."""
    unknown: int
    """Images without a value."""


def find_groups(data: Data) -> dict[str, NDArray[np.str_]]:
    """Column -> the group (N,) of each image, empty where unknown, for the columns that a dataset names; ages in bands.

    A column that is the same for all, or known of none, is left out.
    """
    groups = {}
    for name in data.subgroups:
        if name not in data.table:
            continue
        column = data.table[name]
        values = band_ages(column.to_numpy(dtype=np.float64)) if name == "age" else column.to_numpy(dtype=object)
        texts = np.array(["" if _is_unknown(value) else str(value) for value in values], dtype=str)
        if len(set(texts.tolist()) - {""}) > 1:
            groups[name] = texts
    return groups


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
    *,
    permutations: int = PERMUTATIONS,
    seed: str = "0",
) -> dict[str, Subgroups]:
    """Every metric in every group of every column.

    `columns` maps a name to a value per image (N,), None or NaN unknown; `given` a metric's name to what it judges,
    scores or decisions (at thresholds that validation fitted), (N, C); `targets` are (N, C), `patients` (N,).
    Permutations depend on the column, the order of a patient's images and the text `seed`. Raises what `resample`
    raises.
    """
    subgroups = {}
    for name, values in columns.items():
        groups, rows_of, unknown = _measure_groups(values, metrics, given, targets, patients)
        asked = {
            metric.name: one
            for metric in metrics
            if (one := _ask_groups(metric, given[metric.name], groups, targets)) is not None
        }
        blocks = permute_groups(_number_groups(rows_of, len(patients)), patients, permutations, seed)
        permuted = measure_permuted(asked, blocks, patients)
        macros = {
            metric: _measure_macros(one, groups, rows_of, patients, resampling, permuted[metric])
            for metric, one in asked.items()
        }
        gaps = {metric.name: find_gap([macros[metric.name]]) if metric.name in macros else None for metric in metrics}
        subgroups[name] = Subgroups(groups, macros, gaps, unknown)
    return subgroups


def _number_groups(rows_of: Mapping[str, NDArray[np.intp]], count: int) -> NDArray[np.uint16]:
    """The place of each image's group (N,)."""
    group = np.full(count, NO_GROUP, dtype=np.uint16)
    for place, rows in enumerate(rows_of.values()):
        group[rows] = place
    return group


def find_gap(seeds: Sequence[Macros]) -> Gap:
    """The gap of the mean over seeds.

    Its p-value is that of a permutation test (Fisher 1935; Phipson and Smyth 2010, Permutation p-values should never be
    zero): (1 + permutations with a gap as large) / (B + 1), where each gap is, as the observed one is, that of the best
    group over the worst. So it holds for the largest of many differences. Permutations count in which every group has a
    value for all of the labels, as the observed groups have: among these the observed one is as likely as any other.
    """
    first = seeds[0]
    values, resampled, permuted = (
        average_seeds(np.stack([getattr(seed, name) for seed in seeds])) for name in ("values", "resampled", "permuted")
    )
    sign = 1 if first.higher_is_better else -1
    places = sorted(range(len(first.groups)), key=lambda place: (sign * values[place], first.groups[place]))
    worst, best = places[0], places[-1]
    value = float(sign * (values[best] - values[worst]))
    spread = permuted.max(axis=0) - permuted.min(axis=0)  # (B,)
    spread = spread[~np.isnan(spread)]
    return Gap(
        best=first.groups[best],
        worst=first.groups[worst],
        value=value,
        labels_used=first.labels_used,
        interval=find_interval(value, sign * (resampled[best] - resampled[worst])),
        p=float((1 + (spread >= value - ROUNDING).sum()) / (1 + len(spread))) if len(spread) else None,
    )


def average_subgroups(seeds: Sequence[Subgroups]) -> Subgroups:
    """One column over the seeds of a system, which share their images: means, and gaps of the means."""
    first = seeds[0]
    groups = [_average_group([seed.groups[place] for seed in seeds]) for place in range(len(first.groups))]
    macros = {name: [seed.macros[name] for seed in seeds if name in seed.macros] for name in first.gaps}
    shared = {name: of_seeds for name, of_seeds in macros.items() if len(of_seeds) == len(seeds) and _agree(of_seeds)}
    gaps = {name: find_gap(shared[name]) if name in shared else None for name in first.gaps}
    return Subgroups(tuple(groups), {}, gaps, first.unknown)


def _agree(seeds: Sequence[Macros]) -> bool:
    return len({(seed.groups, seed.labels_used) for seed in seeds}) == 1


def _average_group(seeds: Sequence[Group]) -> Group:
    labels = {name: average_seeds(np.stack([seed.per_label[name] for seed in seeds])) for name in seeds[0].per_label}
    return replace(seeds[0], per_label=labels, macro={name: _macro(values) for name, values in labels.items()})


# --- groups as they are ----------------------------------------------------------------------------------------------


def _measure_groups(
    values: ArrayLike,
    metrics: Sequence[Metric],
    given: Mapping[str, NDArray[np.float64]],
    targets: NDArray[np.floating],
    patients: NDArray[np.str_],
) -> tuple[tuple[Group, ...], dict[str, NDArray[np.intp]], int]:
    """The groups of a column by name, the images of each, and how many images are in none."""
    import pandas as pd

    column = pd.Series(values, dtype=object)
    grouped = column.notna().to_numpy()
    names = column[grouped].astype(str).to_numpy(dtype=str)
    inside = {str(name): np.flatnonzero(grouped)[names == name] for name in np.unique(names)}
    groups = tuple(_measure_group(name, rows, metrics, given, targets, patients) for name, rows in inside.items())
    return groups, inside, int((~grouped).sum())


def _measure_group(
    name: str,
    rows: NDArray[np.intp],
    metrics: Sequence[Metric],
    given: Mapping[str, NDArray[np.float64]],
    targets: NDArray[np.floating],
    patients: NDArray[np.str_],
) -> Group:
    positives, negatives = ((targets[rows] == kind).sum(axis=0) for kind in (1, 0))  # (C,) each
    enough = (positives >= FEWEST) & (negatives >= FEWEST) & can_be_resampled(targets[rows], patients[rows])
    scored = np.where(enough, targets[rows], np.nan)
    values = {
        metric.name: compute_labels(metric, given[metric.name][rows], scored, patients[rows]) for metric in metrics
    }
    return Group(
        name=name,
        images=len(rows),
        patients=len(np.unique(patients[rows])),
        positives=positives,
        negatives=negatives,
        per_label=values,
        macro={metric: _macro(by_label) for metric, by_label in values.items()},
    )


def find_shared(values: Mapping[str, NDArray[np.float64]]) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """The groups that have any label scored, of values (C,) by group, and the labels (C,) that all of those have."""
    names = tuple(name for name, by_label in values.items() if not np.isnan(by_label).all())
    shared = np.asarray(~np.isnan([values[name] for name in names]).any(axis=0)) if names else np.zeros(0, np.bool_)
    return names, shared


def _ask_groups(
    metric: Metric, given: NDArray[np.float64], groups: Sequence[Group], targets: NDArray[np.floating]
) -> Question | None:
    """What groups can be compared in; None where fewer than two have a label in common that is scored."""
    names, shared = find_shared({group.name: group.per_label[metric.name] for group in groups})
    if len(names) < 2 or not shared.any():
        return None
    places = [place for place, group in enumerate(groups) if group.name in names]
    return Question(metric, given[:, shared], targets[:, shared].astype(np.float64), places)


def _measure_macros(
    question: Question,
    groups: Sequence[Group],
    rows_of: Mapping[str, NDArray[np.intp]],
    patients: NDArray[np.str_],
    resampling: Resampling,
    permuted: NDArray[np.float64],
) -> Macros:
    metric, names = question.metric, [groups[place].name for place in question.groups]
    inside = [
        (question.given[rows_of[name]], question.targets[rows_of[name]], patients[rows_of[name]]) for name in names
    ]
    all_labels = np.ones(question.targets.shape[1], dtype=np.bool_)
    drawn = [average_labels(resample(metric, *of_group, resampling), all_labels) for of_group in inside]
    return Macros(
        groups=tuple(names),
        values=np.array([_macro(compute_labels(metric, *of_group)) for of_group in inside]),
        resampled=np.stack(drawn).round(DIGITS),
        permuted=permuted.round(DIGITS),
        labels_used=len(all_labels),
        higher_is_better=metric.higher_is_better,
    )


def _macro(values: NDArray[np.float64]) -> float:
    return float(average_labels(values[None])[0])
