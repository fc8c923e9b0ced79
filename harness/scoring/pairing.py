"""Several systems side by side: files of predictions on the same images, or rows of boards by their records."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise

import numpy as np

from harness.components import IntervalMethod, Metric
from harness.errors import DataError, UsageError
from harness.evaluation.areas import Areas, compare_areas_by_label
from harness.evaluation.bootstrap import Resampling, average_labels, choose_labels, draw_resamples
from harness.evaluation.common_labels import (
    average,
    covers,
    find_common,
    resampled,
    resampled_by_label,
    tell_labels,
)
from harness.evaluation.comparison import Margin, Pair, System, compare_pairs, judge_margin
from harness.evaluation.intervals import explain_absence
from harness.evaluation.measure import Measured, measure
from harness.evaluation.parts import ReadersPart
from harness.evaluation.predictions import Predictions
from harness.evaluation.resamples import Resamples
from harness.evaluation.significance import FEWEST_SEEDS, adjust_holm
from harness.evaluation.thresholds import fit_thresholds
from harness.evaluation.wording import explain_no_interval, tell_absences, tell_detectable, tell_margin, tell_pair
from harness.metric_names import WITHOUT_VALIDATION, full_name, split_name, title_metric
from harness.scoring import alignment
from harness.scoring.beside_readers import compare_systems
from harness.scoring.reader_files import ReaderFiles
from harness.scoring.rows import (
    MeasuredRow,
    mark_rows,
    read_row_resamples,
    require_same_data,
    resolve_recorded,
    tell_members,
)
from harness.scoring.systems import tell_unknown_patients
from harness.text import count
from harness.units import Unit


@dataclass(frozen=True, eq=False, kw_only=True)
class MetricComparison:
    """All systems, and all pairs of them, by one metric."""

    metric: str
    higher_is_better: bool
    labels: tuple[str, ...]
    """The labels that the means are over: those that are defined in every seed of every system."""
    systems: Mapping[str, System]
    pairs: Sequence[Pair]
    interval_method: IntervalMethod = "percentile"
    """How each system's interval is made."""
    by_label: Mapping[str, Sequence[Pair]] = field(default_factory=dict)
    """Label -> the pairs in it, adjusted for all pairs and labels; none where single labels are not resampled."""
    margins: Sequence[Margin] = ()
    """Each pair against the margin, where one was given."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """Systems by every metric, on the images that all have."""

    metrics: Sequence[MetricComparison]
    images: int
    patients: int
    patients_known: bool = True
    unit: Unit = "image"
    areas: Mapping[tuple[str, str], Areas] = field(default_factory=dict)
    """Tests of pairs with one seed each by label, without resampling, where AUROC was asked for."""
    readers: Mapping[str, ReadersPart] = field(default_factory=dict)
    """Each system beside readers, where there are some."""
    notes: Sequence[str] = ()
    margin: float | None = None

    @property
    def resamples(self) -> int:
        """How many resamples there are."""
        return int(next(iter(self.metrics[0].systems.values())).resamples.shape[1])

    def sentences(self) -> list[str]:
        """Each pair in words, what a margin shows of it, and what could have been seen."""
        return [text for metric in self.metrics for text in _tell(metric, self.margin)]


def _tell(compared: MetricComparison, margin: float | None) -> list[str]:
    metric, higher, many = compared.metric, compared.higher_is_better, len(compared.pairs)
    told = [tell_pair(metric, pair, many, higher_is_better=higher) for pair in compared.pairs]
    for pair, one in zip(compared.pairs, compared.margins, strict=False):
        told += tell_margin(metric, pair, one, margin or math.nan, many)
    seeds = {name: len(system.values) for name, system in compared.systems.items()}
    seen = tell_detectable(compared.pairs, seeds)
    return [*told, *([f"{title_metric(metric)}: {seen[0].lower()}{seen[1:]}"] if seen else [])]


# --- rows, by their records ------------------------------------------------------------------------------------------


def compare_rows(rows: Mapping[str, MeasuredRow], names: Sequence[str], margin: float | None = None) -> Comparison:
    """Compare rows of one dataset by what lies beside their records, over the labels that all of them have.

    Raises `UsageError` where they were measured on different data or have no metric over one set of labels,
    `UnknownNameError` for a metric that they lack, `DataError` where resamples are missing.
    """
    said = [*require_same_data(rows), *mark_rows(rows), *tell_members(rows)]
    metrics = resolve_recorded(names, rows)
    drawn = {name: read_row_resamples(name, row) for name, row in rows.items()}
    record = next(iter(rows.values())).records[0]
    first = record.dataset
    common = find_common({m: [r.metrics[m] for row in rows.values() for r in row.records] for m in metrics})
    compared, notes, absent = [], said, {}
    for metric, higher in metrics.items():
        systems, why = _make_row_systems(rows, drawn, metric, common[metric])
        if why:
            notes.append(f"{title_metric(metric)} is not compared: {why}")
            continue
        single = _make_label_systems(rows, drawn, metric, common[metric])
        method = next(iter(rows.values())).records[0].metrics[metric].interval_method
        compared.append(_compare(metric, higher, method, common[metric], systems, single, margin))
        if _lacks_interval(compared[-1]):
            absent[metric] = explain_no_interval(r.metrics[metric] for row in rows.values() for r in row.records)
    if not compared:
        raise UsageError("; ".join(notes))
    test = first.splits["test"]
    told = [*notes, *_note(compared, first.labels, absent)]
    return Comparison(
        metrics=compared,
        images=test.images if record.pooled is None else record.pooled.test,
        patients=test.patients,
        unit=record.unit,
        notes=told,
        margin=margin,
    )


def _make_row_systems(
    rows: Mapping[str, MeasuredRow], drawn: Mapping[str, Sequence[Resamples]], metric: str, labels: Sequence[str]
) -> tuple[dict[str, System], str]:
    """The rows over these labels; or why that cannot be."""
    if not labels:
        return {}, "no label is defined in every seed of every row"
    systems = {}
    for name, row in rows.items():
        parts = [record.metrics[metric] for record in row.records]
        values = [average(part, labels) for part in parts]
        seed_resamples = [resampled(metric, part, one, labels) for part, one in zip(parts, drawn[name], strict=True)]
        recorded_resamples = [one for one in seed_resamples if one is not None]
        if any(metric not in one.macro for one in drawn[name]):
            raise DataError(f"{name} has no {metric} in every seed; leave it out, or measure it again: {row.command}")
        if len(recorded_resamples) < len(seed_resamples):
            without = [label for label in row.dataset.labels if label not in labels and covers(parts[0], [label])]
            return {}, (
                f"{name} has labels that another row lacks ({', '.join(without[:5]) or 'in some seeds'}), and records "
                f"keep resamples of single labels of the board's objective alone; compare the predictions themselves"
            )
        systems[name] = System(np.array(values, dtype=np.float64), np.stack(recorded_resamples), row.is_ensemble)
    return systems, ""


def _make_label_systems(
    rows: Mapping[str, MeasuredRow], drawn: Mapping[str, Sequence[Resamples]], metric: str, labels: Sequence[str]
) -> dict[str, dict[str, System]]:
    """Label -> each row in it; none of a metric whose single labels are not resampled."""
    systems_by_label: dict[str, dict[str, System]] = {label: {} for label in labels}
    for name, row in rows.items():
        parts = [record.metrics[metric] for record in row.records]
        single = [resampled_by_label(metric, part, one) for part, one in zip(parts, drawn[name], strict=True)]
        if not all(set(labels) <= one.keys() for one in single):
            return {}
        for label in labels:
            values = np.array([part.per_label[label].value for part in parts], dtype=np.float64)
            systems_by_label[label][name] = System(values, np.stack([one[label] for one in single]), row.is_ensemble)
    return systems_by_label


# --- predictions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ComparisonOptions:
    """How predictions are compared."""

    metrics: Sequence[Metric]
    names: Sequence[str]
    """Names of metrics as they were asked for; `f1` means `f1@val-f1` where there is a validation."""
    resamples: int
    seed: str = "0"
    """The seed of the resamples."""
    common: bool = False
    """Whether to take the images that all have where they do not have the same."""
    margin: float | None = None
    readers: ReaderFiles | None = None
    """Whom each system is held against, too."""
    ensembles: Collection[str] = ()
    """The systems that are ensembles: they lend their spread over seeds to no other."""


def compare_predictions(
    systems: Mapping[str, Sequence[Predictions]],
    wish: ComparisonOptions,
    validation: Mapping[str, Sequence[Predictions | None]] | None = None,
) -> Comparison:
    """Compare systems, each the predictions of its seeds, on the same images and over the labels that all define.

    `validation` has that of each seed of each system. Raises `UsageError` where images differ, for a metric that needs
    a validation, or where no label is defined in all; `DataError` where labels, targets or patients differ.
    """
    asked = resolve_measured(wish.metrics, wish.names, validated=validation is not None)
    seeds = _align(systems, common=wish.common)
    first = next(iter(seeds.values()))[0]
    resampling = draw_resamples(first.patient, wish.resamples, seed=wish.seed)
    measured = {
        name: [
            _measure(seed, val, wish.metrics, asked, resampling)
            for seed, val in zip(aligned, (validation or {}).get(name, [None] * len(aligned)), strict=True)
        ]
        for name, aligned in seeds.items()
    }
    compared, notes, absent = [], [] if first.patients_known else [tell_unknown_patients(first.unit)], {}
    for metric, higher in asked.items():
        defined = _find_defined(metric, measured)
        if not defined.any():
            notes.append(f"{title_metric(metric)} is not compared: no label is defined in every seed of every system")
            continue
        used = choose_labels(defined, first.targets, resampling.locate(first.patient))
        by_system = {name: [values[metric] for values in of_seeds] for name, of_seeds in measured.items()}
        compared.append(_compare_measured(metric, higher, by_system, first.labels, used, wish))
        if _lacks_interval(compared[-1]):
            absent[metric] = _explain_absence(compared[-1], first, used)
    if not compared:
        raise DataError("; ".join(notes))
    panel = None if wish.readers is None else wish.readers.make_panel(first)
    return Comparison(
        metrics=compared,
        images=len(first.image),
        patients=len(resampling.patients),
        patients_known=first.patients_known,
        unit=first.unit,
        areas=_compare_areas(seeds) if "auroc" in asked else {},
        readers={} if panel is None else compare_systems(seeds, validation or {}, panel, resampling),
        notes=[*notes, *_note(compared, first.labels, absent), *(panel.notes if panel else ())],
        margin=wish.margin,
    )


def _compare_measured(
    metric: str,
    higher: bool,
    by_system: Mapping[str, Sequence[Measured]],
    labels: Sequence[str],
    used: np.ndarray,
    wish: ComparisonOptions,
) -> MetricComparison:
    """Compare systems, each one metric of its seeds, over the labels (C,) that are `used`, and in each of them."""
    taken = tuple(label for label, is_used in zip(labels, used, strict=True) if is_used)

    def make_systems(over: np.ndarray) -> dict[str, System]:
        return {name: _make_system(seeds, over, borrows=name in wish.ensembles) for name, seeds in by_system.items()}

    whole, single = make_systems(used), {label: make_systems(np.array(labels) == label) for label in taken}
    method = next(iter(by_system.values()))[0].metric.interval
    return _compare(metric, higher, method, taken, whole, single, wish.margin)


def _explain_absence(compared: MetricComparison, first: Predictions, used: np.ndarray) -> str:
    """Why a metric has no interval, by the system with the most resamples that are undefined."""
    drawn = max((system.resamples for system in compared.systems.values()), key=lambda one: np.isnan(one).mean())
    return explain_absence(compared.labels, first.targets[:, used], first.patient, drawn)


def resolve_measured(metrics: Sequence[Metric], names: Sequence[str], *, validated: bool) -> dict[str, bool]:
    """Full name of each metric with whether higher is better.

    Raises `UsageError` for one whose thresholds come from a validation that is not given.
    """
    by_name = {metric.name: metric for metric in metrics}
    directions = {}
    for name in names:
        base, policy = split_name(name)
        if by_name[base].on == "decisions":
            if not validated and policy not in WITHOUT_VALIDATION:
                raise UsageError(
                    f"metric '{name}' needs thresholds from validation: give --val, or {base}@0.5, or {base}@oracle "
                    "(fitted on the test itself, optimistic)"
                )
            name = full_name(name, [f"{base}@val-f1"]) if policy is None else name  # noqa: PLW2901 - the same, in full
        directions[name] = by_name[base].higher_is_better
    return directions


def _align(systems: Mapping[str, Sequence[Predictions]], *, common: bool) -> dict[str, list[Predictions]]:
    """The same images in one order, with the same targets and patients."""
    flat = [seed for seeds in systems.values() for seed in seeds]
    if not common:
        for (one, (a, *_)), (other, (b, *_)) in pairwise(systems.items()):
            shared = len(np.intersect1d(a.image, b.image))
            if not len(a.image) == len(b.image) == shared:
                raise UsageError(
                    f"{one} has {count(len(a.image), 'image')} and {other} {len(b.image):,}, {shared:,} of them "
                    f"in both: "
                    "predict the same images, or compare on those that all have with --common"
                )
    aligned = alignment.common(flat)
    alignment.require_same_targets(aligned)
    rest = iter(alignment.share_patients(aligned))
    return {name: [next(rest) for _ in seeds] for name, seeds in systems.items()}


def _measure(
    seed: Predictions,
    val: Predictions | None,
    metrics: Sequence[Metric],
    names: Mapping[str, bool],
    resampling: Resampling,
) -> dict[str, Measured]:
    """Full name -> the metric of every label, and in each resample."""
    policies = dict.fromkeys(policy for _, policy in map(split_name, names) if policy is not None)
    return measure(seed, metrics, fit_thresholds(val, seed, tuple(policies)), resampling)


def _find_defined(metric: str, measured: Mapping[str, Sequence[Mapping[str, Measured]]]) -> np.ndarray:
    """Whether each label (C,) is defined in every seed of every system, at every threshold policy that is asked for."""
    base = split_name(metric)[0]
    values = [
        one.values
        for seeds in measured.values()
        for seed_metrics in seeds
        for name, one in seed_metrics.items()
        if split_name(name)[0] == base
    ]
    return np.asarray(~np.isnan(values).any(axis=0))


def _make_system(seeds: Sequence[Measured], labels: np.ndarray, *, borrows: bool) -> System:
    """A system over some labels (C,)."""
    return System(
        np.array([average_labels(seed.values[None], labels)[0] for seed in seeds]),
        np.stack([average_labels(seed.resamples, labels) for seed in seeds]),
        borrows,
    )


def _compare_areas(systems: Mapping[str, Sequence[Predictions]]) -> dict[tuple[str, str], Areas]:
    single = {name: seeds[0] for name, seeds in systems.items() if len(seeds) == 1}
    return {(a, b): compare_areas_by_label(single[a], single[b]) for a, b in combinations(single, 2)}


# --- both ------------------------------------------------------------------------------------------------------------


def _compare(
    metric: str,
    higher: bool,
    method: IntervalMethod,
    labels: tuple[str, ...],
    systems: Mapping[str, System],
    single: Mapping[str, Mapping[str, System]],
    margin: float | None,
) -> MetricComparison:
    pairs = compare_pairs(systems)
    margins = [] if margin is None else judge_margin(pairs, margin, higher_is_better=higher)
    return MetricComparison(
        metric=metric,
        higher_is_better=higher,
        labels=labels,
        systems=systems,
        pairs=pairs,
        interval_method=method,
        by_label=_compare_labels(single),
        margins=margins,
    )


def _compare_labels(single: Mapping[str, Mapping[str, System]]) -> dict[str, list[Pair]]:
    """Label -> its pairs, adjusted for all pairs of all labels."""
    if not single:
        return {}
    systems = len(next(iter(single.values())))
    tests = len(single) * systems * (systems - 1) // 2
    pairs_by_label = {label: compare_pairs(those, tests=tests) for label, those in single.items()}
    every = [pair for pairs in pairs_by_label.values() for pair in pairs]
    p = np.array([pair.p_patients if pair.p is None else pair.p for pair in every], dtype=np.float64)
    adjusted = (None if math.isnan(one) else one for one in adjust_holm(p).tolist())
    return {label: [replace(pair, p_holm=next(adjusted)) for pair in pairs] for label, pairs in pairs_by_label.items()}


def _lacks_interval(compared: MetricComparison) -> bool:
    return any(pair.interval is None for pair in compared.pairs)


def _note(compared: Sequence[MetricComparison], labels: Sequence[str], absent: Mapping[str, str]) -> list[str]:
    """What has to be said of all metrics together; `absent` has those without an interval, and why."""
    over = tell_labels({one.metric: one.labels for one in compared}, labels)
    return [*over, *tell_absences({one.metric: absent.get(one.metric, "") for one in compared}), *_note_seeds(compared)]


def _note_seeds(compared: Sequence[MetricComparison]) -> list[str]:
    few = [name for name, system in compared[0].systems.items() if not system.judged]
    if not few:
        return []
    counts = ", ".join(f"{name} has {len(compared[0].systems[name].values)}" for name in few)
    what = "what differs there are trained networks, and training again may turn it round"
    return [f"a verdict about methods needs {FEWEST_SEEDS} seeds of each system, and {counts}: {what}"]
