"""From predictions to everything that a record says about them: the one way in which anything is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.board import Board
from harness.components import Metric
from harness.evaluation import RESAMPLES
from harness.evaluation.bootstrap import Resampling, average_labels, choose_labels, draw_resamples
from harness.evaluation.calibration import (
    Calibration,
    decompose_brier,
    describe_reliability,
    fit_platt,
    fit_temperature,
    fit_test,
    follow,
)
from harness.evaluation.confusion import count_decisions
from harness.evaluation.curves import trace_curves
from harness.evaluation.intervals import explain_absence, explain_omission, find_interval, find_intervals
from harness.evaluation.localization import NO_MAPS, MapValues, describe_no_maps, measure_maps
from harness.evaluation.measure import Measured, expand_metrics, measure, pool_labels, weigh_labels
from harness.evaluation.panel import Panel
from harness.evaluation.parts import (
    BrierPart,
    CalibratedPart,
    CalibrationPart,
    ConfusionPart,
    GapPart,
    GroupPart,
    LabelCalibration,
    LabelValue,
    MetricPart,
    PooledPart,
    PredictivePart,
    ReadersPart,
    SubgroupPart,
)
from harness.evaluation.pooling import pool
from harness.evaluation.predictions import ONLY_RANKED, Predictions, make_scores
from harness.evaluation.predictive import describe_predictive, predict_values, require_prevalence
from harness.evaluation.reader_summary import stand_beside
from harness.evaluation.resamples import Resamples
from harness.evaluation.subgroups import Subgroups, measure_subgroups
from harness.evaluation.thresholds import describe_thresholds, fit_thresholds
from harness.metric_names import DEFAULT_POLICY, full_name, needed_policies
from harness.units import Pooling, Unit

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The rules by which predictions are evaluated."""

    metrics: tuple[Metric, ...]
    names: tuple[str, ...]
    """Metrics as a board names them, with the threshold policies that they ask for."""
    objective: str
    """The one of these names whose labels are resampled too; the first metric where it needs a validation that is not
    there."""
    subgroup_metrics: tuple[Metric, ...] = ()
    resamples: int = RESAMPLES
    seed: str = "0"
    """The seed of the resamples, together with the set of patients; a board's is its data's fingerprint."""
    prevalence: Mapping[str, float] = field(default_factory=dict)
    """Label -> the share of patients who have it where predictive values are asked for; sensitivity and specificity
    must be among the metrics."""
    unit: Unit = "image"
    """What is scored."""
    pool: Pooling = "mean"
    """How the scores of a study's or a patient's images become one."""
    make_panel: Callable[[Predictions], Panel] | None = None
    """What gives readers' decisions on the units of pooled predictions; None where there are no readers."""

    @classmethod
    def of_board(
        cls,
        board: Board,
        metrics: tuple[Metric, ...],
        subgroup_metrics: tuple[Metric, ...],
        fingerprint: str,
        make_panel: Callable[[Predictions], Panel] | None = None,
    ) -> Protocol:
        """The rules of a board, whose resamples are drawn from its data's fingerprint."""
        return cls(
            metrics=metrics,
            names=board.metrics,
            objective=board.objective,
            subgroup_metrics=subgroup_metrics,
            seed=fingerprint,
            prevalence=board.prevalence,
            unit=board.unit,
            pool=board.pool,
            make_panel=make_panel,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """What came out, as the parts of a record."""

    pooled: PooledPart | None
    metrics: dict[str, MetricPart]
    thresholds: dict[str, dict[str, float]]
    confusion: dict[str, dict[str, ConfusionPart]]
    predictive: dict[str, dict[str, PredictivePart]] | None
    calibration: CalibrationPart | None
    subgroups: dict[str, SubgroupPart] | None
    readers: ReadersPart | None
    labels_resampled: str
    """The metric whose single labels are among the resamples."""
    resamples: Resamples


def evaluate(
    test: Predictions, val: Predictions | None, protocol: Protocol, maps: MapValues | str = NO_MAPS
) -> Evaluation:
    """Evaluate the test split; thresholds and calibration come from validation, without which there are none of them.

    Both splits are pooled first, so that all numbers are over the protocol's unit. Metrics of heat maps are over images
    with boxes, whose values are in `maps`; or why there are no maps, in words.

    Raises `DataError` where both splits do not have the same labels, or nothing says which images belong to a unit,
    `PluginError` for a metric that breaks its contract, `UnknownNameError` for an unknown threshold policy or a label
    with a prevalence.
    """
    test = pool(test, protocol.unit, protocol.pool)
    val = None if val is None else pool(val, protocol.unit, protocol.pool)
    require_prevalence(protocol.prevalence, test.labels)
    thresholds = fit_thresholds(val, test, needed_policies(protocol.names))
    resampling = draw_resamples(test.patient, protocol.resamples, seed=protocol.seed)
    on_scores = tuple(metric for metric in protocol.metrics if metric.on != "maps")
    measured = measure(test, on_scores, thresholds, resampling)
    localized = localize(test.labels, protocol, maps, resampling)
    subgroups = find_subgroups(test, protocol, thresholds, resampling)
    wanted = full_name(protocol.objective, measured)
    objective = wanted if wanted in measured else next(iter(measured))
    micro = pool_labels(test, on_scores, thresholds, {name: one.used for name, one in measured.items()})
    panel = None if protocol.make_panel is None else protocol.make_panel(test)
    beside = stand_beside(test, panel, thresholds, resampling)
    return Evaluation(
        pooled=describe_pooling(test, protocol),
        metrics={name: describe_metric(test, one, micro[name]) for name, one in measured.items()}
        | {name: part for name, (part, _) in localized.items()},
        thresholds=describe_thresholds(test, thresholds),
        confusion=count_decisions(test, thresholds),
        predictive=describe_predictive(predict_values(measured, test.labels, protocol.prevalence), protocol.prevalence),
        calibration=None if val is None or test.is_rank_only or val.is_rank_only else calibrate(test, val),
        subgroups=describe_subgroups(test.labels, subgroups),
        readers=beside.part,
        labels_resampled=objective,
        resamples=Resamples(
            macro={name: one.macro_resamples for name, one in measured.items()}
            | {name: drawn for name, (_, drawn) in localized.items() if drawn is not None},
            per_label={label: measured[objective].resamples[:, number] for number, label in enumerate(test.labels)},
            curves={**trace_curves(test), **beside.curves},
            groups=_gather_draws(subgroups, "resampled"),
            permuted=_gather_draws(subgroups, "permuted"),
            readers=beside.differences,
        ),
    )


def localize(
    labels: Sequence[str], protocol: Protocol, maps: MapValues | str, resampling: Resampling
) -> dict[str, tuple[MetricPart, NDArray[np.float64] | None]]:
    """Each metric of heat maps with its macro in each resample (R,), None where there are no maps."""
    metrics = [metric for metric in protocol.metrics if metric.on == "maps"]
    if isinstance(maps, str):
        return {metric.name: (describe_no_maps(metric, labels, maps), None) for metric in metrics}
    return {metric.name: measure_maps(maps, metric, labels, resampling) for metric in metrics}


def describe_pooling(test: Predictions, protocol: Protocol) -> PooledPart | None:
    """Say what was scored in place of images; None where these were."""
    if protocol.unit == "image":
        return None
    return PooledPart(unit=protocol.unit, pool=protocol.pool, test=len(test.image))


def describe_metric(test: Predictions, measured: Measured, micro: float) -> MetricPart:
    """A metric with its intervals, of one seed or averaged over several; its micro is over the same labels."""
    values, used, metric = measured.values, measured.used, measured.metric
    positives, negatives = (test.targets == 1).sum(axis=0), (test.targets == 0).sum(axis=0)
    intervals = find_intervals(values, measured.resamples.T, [metric.interval] * len(values))
    interval = find_interval(measured.macro, measured.macro_resamples, metric.interval)
    labels = np.array(test.labels)
    averaged, left_out = labels[used].tolist(), labels[~used].tolist()
    unexplained = interval is None and averaged
    why = explain_omission(left_out, values[~used], test.targets[:, ~used], test.patient)
    why = ONLY_RANKED if test.is_rank_only and metric.on != "ranks" else why
    return MetricPart(
        macro=measured.macro,
        interval=interval,
        interval_method=metric.interval,
        no_interval=explain_absence(averaged, test.targets[:, used], test.patient, measured.macro_resamples)
        if unexplained
        else None,
        resampled_by="weights" if metric.weighted else "counts",
        micro=micro,
        weighted=weigh_labels(np.where(used, values, np.nan), positives),
        per_label={
            label: LabelValue(
                value=float(values[i]),
                interval=intervals[i],
                positives=int(positives[i]),
                negatives=int(negatives[i]),
            )
            for i, label in enumerate(test.labels)
        },
        labels_used=len(averaged),
        left_out=left_out,
        why_left_out=why,
        higher_is_better=metric.higher_is_better,
    )


# --- calibration -----------------------------------------------------------------------------------------------------


def calibrate(test: Predictions, val: Predictions) -> CalibrationPart:
    """The test split's calibration as it is, and after each method has been fitted on validation.

    Means are over the labels that have numbers in all three and that enough patients have, and lack.
    """
    val = val.arrange(test.labels, test.source)
    unchanged = Calibration(np.ones(len(test.labels)), np.zeros(len(test.labels)))
    own = fit_test(test.logits, test.targets)
    before = _describe_calibration(test, unchanged, own, test.scores)
    temperature = _apply_calibration(test, fit_temperature(val.logits, val.targets), own)
    platt = _apply_calibration(test, fit_platt(val.logits, val.targets), own)
    complete = np.array([label in before and label in temperature and label in platt for label in test.labels])
    used = np.array(test.labels)[choose_labels(complete, test.targets, test.patient)].tolist()
    return CalibrationPart(
        labels_used=len(used),
        left_out=[label for label in test.labels if label not in used],
        before=_average_calibration(before, used),
        temperature=_average_calibration(temperature, used),
        platt=_average_calibration(platt, used),
    )


def _apply_calibration(test: Predictions, fitted: Calibration, own: Calibration) -> dict[str, LabelCalibration]:
    return _describe_calibration(test, fitted, own, make_scores(fitted.apply(test.logits)))


def _describe_calibration(
    test: Predictions, fitted: Calibration, own: Calibration, scores: NDArray[np.float64]
) -> dict[str, LabelCalibration]:
    """Label -> numbers, of labels with known targets and scores that are numbers.

    `own` is the line that the test's own targets fit through its logits as they are.
    """
    per_label = {}
    left = follow(own, fitted)
    for number, label in enumerate(test.labels):
        score, target = scores[:, number], test.targets[:, number]
        if np.isnan(score).any() or np.isnan(target).all():
            continue
        brier = decompose_brier(score, target)
        per_label[label] = LabelCalibration(
            slope=float(fitted.slope[number]),
            intercept=float(fitted.intercept[number]),
            brier=BrierPart(score=brier.score, **vars(brier)),
            ece=describe_reliability(score, target).error,
            ece_mass=describe_reliability(score, target, spacing="mass").error,
            test_slope=float(left.slope[number]),
            test_intercept=float(left.intercept[number]),
        )
    return per_label


def _average_calibration(per_label: Mapping[str, LabelCalibration], used: Sequence[str]) -> CalibratedPart:
    parts = [per_label[label] for label in used]
    return CalibratedPart(
        brier=_mean([part.brier.score for part in parts]),
        ece=_mean([part.ece for part in parts]),
        ece_mass=_mean([part.ece_mass for part in parts]),
        per_label=dict(per_label),
    )


def _mean(values: Sequence[float | None]) -> float:
    return float(average_labels(np.array([values], dtype=np.float64))[0]) if values else float("nan")


# --- subgroups -------------------------------------------------------------------------------------------------------


def find_subgroups(
    test: Predictions, protocol: Protocol, thresholds: dict[str, NDArray[np.float64]], resampling: Resampling
) -> dict[str, Subgroups]:
    """Scores, and decisions at the validation threshold where there is one, by every column that is known.

    Metrics have the names that they have in a record.
    """
    metrics = [
        replace(metric, name=f"{metric.name}@{DEFAULT_POLICY}") if metric.on == "decisions" else metric
        for metric in protocol.subgroup_metrics
        if metric.on != "decisions" or DEFAULT_POLICY in thresholds
    ]
    if not test.columns or not metrics:
        return {}
    order = np.argsort(test.image)  # permutations take a patient's images in their order
    columns = {
        name: np.array([value or None for value in values[order].tolist()], dtype=object)
        for name, values in test.columns.items()
    }
    fitted = {policy: values for policy, values in thresholds.items() if policy == DEFAULT_POLICY}
    given = {name: scores[order] for name, _, scores in expand_metrics(test, protocol.subgroup_metrics, fitted)}
    return measure_subgroups(
        columns, metrics, given, test.targets[order], test.patient[order], resampling, seed=protocol.seed
    )


def describe_subgroups(labels: Sequence[str], columns: Mapping[str, Subgroups]) -> dict[str, SubgroupPart] | None:
    """Describe subgroups as a record has them, by column."""
    return {column: _describe_column(labels, subgroups) for column, subgroups in columns.items()} or None


def _describe_column(labels: Sequence[str], subgroups: Subgroups) -> SubgroupPart:
    groups = [
        GroupPart(
            name=group.name,
            images=group.images,
            patients=group.patients,
            positives=dict(zip(labels, map(int, group.positives), strict=True)),
            negatives=dict(zip(labels, map(int, group.negatives), strict=True)),
            macro=dict(group.macro),
            per_label={
                metric: dict(zip(labels, map(float, values), strict=True)) for metric, values in group.per_label.items()
            },
        )
        for group in subgroups.groups
    ]
    gaps = {metric: None if gap is None else GapPart(**vars(gap)) for metric, gap in subgroups.gaps.items()}
    return SubgroupPart(groups=groups, gaps=gaps, unknown=subgroups.unknown)


def _gather_draws(columns: Mapping[str, Subgroups], kind: str) -> dict[str, NDArray[np.float64]]:
    """`COLUMN/METRIC` -> macros by group (G, R or B)."""
    return {
        f"{column}/{metric}": getattr(macros, kind)
        for column, subgroups in columns.items()
        for metric, macros in subgroups.macros.items()
    }
