"""Several systems side by side: files of predictions on the same images, or rows of boards by their records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise

import numpy as np

from harness.components import Interval, Metric
from harness.errors import DataError, UsageError
from harness.evaluation import alignment
from harness.evaluation.areas import Areas, compare_areas_by_label
from harness.evaluation.bootstrap import Resampling, draw_resamples
from harness.evaluation.comparison import SIGNIFICANT, Pair, System, compare_pairs
from harness.evaluation.evaluate import measure
from harness.evaluation.names import split_name
from harness.evaluation.predictions import Predictions
from harness.evaluation.rows import MeasuredRow, make_system, read_row_resamples, require_same_data, resolve_recorded
from harness.evaluation.systems import NO_PATIENTS
from harness.evaluation.thresholds import fit_thresholds

WITHOUT_VALIDATION = ("0.5", "oracle")
ONE_SEED = "every system has one seed: p is against patients alone, and training again may turn a difference round"


@dataclass(frozen=True, eq=False)
class MetricComparison:
    """All systems, and all pairs of them, by one metric."""

    metric: str
    higher_is_better: bool
    systems: Mapping[str, System]
    pairs: Sequence[Pair]
    interval_method: Interval = "percentile"
    """How each system's interval is made."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Systems by every metric, on the images that all have."""

    metrics: Sequence[MetricComparison]
    images: int
    patients: int
    patients_known: bool = True
    areas: Mapping[tuple[str, str], Areas] = field(default_factory=dict)
    """Tests of pairs with one seed each by label, without resampling, where AUROC was asked for."""
    notes: Sequence[str] = ()

    @property
    def resamples(self) -> int:
        """How many there are."""
        return int(next(iter(self.metrics[0].systems.values())).resamples.shape[1])

    def sentences(self) -> list[str]:
        """Each pair in words."""
        return [_tell(metric, pair) for metric in self.metrics for pair in metric.pairs]


def _tell(compared: MetricComparison, pair: Pair) -> str:
    metric, a, b = compared.metric, pair.a, pair.b
    if pair.p_holm is None:
        return f"{metric}: {a} and {b} cannot be told apart, too few patients have each class"
    chance = f"p = {pair.p_holm:.3f}" if pair.p_holm >= 0.001 else "p < 0.001"
    if len(compared.pairs) > 1:
        chance += f" (adjusted for {len(compared.pairs)} pairs)"
    low, high = pair.interval or (math.nan, math.nan)
    if pair.p_holm >= SIGNIFICANT:
        return f"{metric}: {a} and {b} are not shown to differ: {pair.delta:+.4f} [{low:.4f}, {high:.4f}], {chance}"
    if pair.delta < 0:
        low, high = -high, -low
    better, worse = (a, b) if (pair.delta > 0) == compared.higher_is_better else (b, a)
    return f"{metric}: {better} is better than {worse} by {abs(pair.delta):.4f} [{low:.4f}, {high:.4f}], {chance}"


# --- rows, by their records ------------------------------------------------------------------------------------------


def compare_rows(rows: Mapping[str, MeasuredRow], names: Sequence[str]) -> Comparison:
    """Compare rows of one dataset by what lies beside their records.

    Raises `UsageError` where they were measured on different data, `UnknownNameError` for a metric that they lack,
    `DataError` where resamples are missing.
    """
    require_same_data(rows)
    metrics = resolve_recorded(names, rows)
    resamples = {name: read_row_resamples(name, row) for name, row in rows.items()}
    test = next(iter(rows.values())).dataset.splits["test"]
    compared = [
        _compare(
            metric,
            higher,
            {name: make_system(name, row, resamples[name], metric) for name, row in rows.items()},
            next(iter(rows.values())).records[0].metrics[metric].interval_method,
        )
        for metric, higher in metrics.items()
    ]
    return Comparison(compared, test.images, test.patients, notes=_note_seeds(compared))


# --- predictions -----------------------------------------------------------------------------------------------------


def compare_predictions(
    systems: Mapping[str, Sequence[Predictions]],
    metrics: Sequence[Metric],
    names: Sequence[str],
    resamples: int,
    *,
    common: bool,
) -> Comparison:
    """Compare systems, each the predictions of its seeds, on the same images; `common` takes those that all have.

    Raises `UsageError` where images differ, or for a metric that needs a validation; `DataError` where labels, targets
    or patients differ.
    """
    asked = require_no_validation(metrics, names)
    seeds = _align(systems, common=common)
    first = next(iter(seeds.values()))[0]
    resampling = draw_resamples(first.patient, resamples, seed="0")
    measured = {name: [_measure(seed, metrics, names, resampling) for seed in found] for name, found in seeds.items()}
    methods = {metric.name: metric.interval for metric in metrics}
    compared = [
        _compare(
            metric,
            higher,
            {
                name: _make_system(name, metric, [values[metric] for values in found])
                for name, found in measured.items()
            },
            methods[split_name(metric)[0]],
        )
        for metric, higher in asked.items()
    ]
    return Comparison(
        metrics=compared,
        images=len(first.image),
        patients=len(resampling.patients),
        patients_known=first.patients_known,
        areas=_compare_areas(seeds) if "auroc" in asked else {},
        notes=[*([] if first.patients_known else [NO_PATIENTS]), *_note_seeds(compared)],
    )


def require_no_validation(metrics: Sequence[Metric], names: Sequence[str]) -> dict[str, bool]:
    """Each name with whether higher is better. Raises `UsageError` for one whose thresholds come from validation."""
    by_name = {metric.name: metric for metric in metrics}
    for name in names:
        base, policy = split_name(name)
        if by_name[base].on == "decisions" and policy not in WITHOUT_VALIDATION:
            raise UsageError(
                f"metric '{name}' needs thresholds from validation, which files of predictions lack: give {base}@0.5, "
                f"or {base}@oracle (fitted on the test itself, optimistic)"
            )
    return {name: by_name[split_name(name)[0]].higher_is_better for name in names}


def _align(systems: Mapping[str, Sequence[Predictions]], *, common: bool) -> dict[str, list[Predictions]]:
    """The same images in one order, with the same targets and patients."""
    flat = [seed for seeds in systems.values() for seed in seeds]
    if not common:
        for (one, (a, *_)), (other, (b, *_)) in pairwise(systems.items()):
            shared = len(np.intersect1d(a.image, b.image))
            if not len(a.image) == len(b.image) == shared:
                raise UsageError(
                    f"{one} has {len(a.image):,} images and {other} {len(b.image):,}, {shared:,} of them in both: "
                    "predict the same images, or compare on those that all have with --common"
                )
    aligned = alignment.common(flat)
    alignment.require_same_targets(aligned)
    rest = iter(alignment.share_patients(aligned))
    return {name: [next(rest) for _ in seeds] for name, seeds in systems.items()}


def _measure(
    seed: Predictions, metrics: Sequence[Metric], names: Sequence[str], resampling: Resampling
) -> dict[str, tuple[float, np.ndarray]]:
    """Full name -> macro, and that of each resample (R,)."""
    policies = dict.fromkeys(policy for _, policy in map(split_name, names) if policy is not None)
    measured = measure(seed, metrics, fit_thresholds(None, seed, tuple(policies)), resampling)
    return {name: (found.macro, found.macro_resamples) for name, found in measured.items()}


def _make_system(name: str, metric: str, seeds: Sequence[tuple[float, np.ndarray]]) -> System:
    values = [value for value, _ in seeds]
    if any(map(math.isnan, values)):
        raise DataError(f"{name}: {metric} is undefined, no label has both positives and negatives; leave it out")
    return System(np.array(values), np.stack([drawn for _, drawn in seeds]))


def _compare_areas(systems: Mapping[str, Sequence[Predictions]]) -> dict[tuple[str, str], Areas]:
    single = {name: seeds[0] for name, seeds in systems.items() if len(seeds) == 1}
    return {(a, b): compare_areas_by_label(single[a], single[b]) for a, b in combinations(single, 2)}


# --- both ------------------------------------------------------------------------------------------------------------


def _compare(metric: str, higher: bool, systems: Mapping[str, System], method: Interval) -> MetricComparison:
    return MetricComparison(metric, higher, systems, compare_pairs(systems), method)


def _note_seeds(compared: Sequence[MetricComparison]) -> list[str]:
    single = all(len(system.values) == 1 for system in compared[0].systems.values())
    return [ONE_SEED] if single else []
