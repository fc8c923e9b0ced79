"""Evaluations and comparisons as plain data, for --json."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from harness.units import CALLED

if TYPE_CHECKING:
    from harness.evaluation.parts import PredictivePart
    from harness.scoring.pairing import Comparison, MetricComparison
    from harness.scoring.systems import SystemEvaluation


def describe_evaluation(evaluation: SystemEvaluation) -> dict[str, Any]:
    """Describe everything about one system."""
    from harness.evaluation.areas import DELONG, METHOD

    return {
        "metrics": {
            name: {
                **metric.part.model_dump(),
                "seeds": metric.seeds,
                "spread": metric.spread,
                "interval_seeds": metric.interval_seeds,
            }
            for name, metric in evaluation.metrics.items()
        },
        "unit": evaluation.unit,
        CALLED[evaluation.unit][1]: evaluation.images,
        "patients": evaluation.patients,
        "patients_known": evaluation.patients_known,
        "thresholds": evaluation.thresholds,
        "predictive": _plain(evaluation.predictive),
        "subgroups": evaluation.subgroups and {name: part.model_dump() for name, part in evaluation.subgroups.items()},
        "calibration": [None if part is None else part.model_dump() for part in evaluation.calibration],
        "readers": None if evaluation.readers is None else evaluation.readers.model_dump(),
        "areas": None if evaluation.areas is None else {"method": METHOD, "delong": DELONG, "seeds": evaluation.areas},
    }


def _plain(predictive: dict[str, dict[str, PredictivePart]] | None) -> dict[str, Any] | None:
    if predictive is None:
        return None
    return {policy: {label: asdict(part) for label, part in parts.items()} for policy, parts in predictive.items()}


def _describe_pairs(compared: MetricComparison, comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Each pair with its labels, what a margin shows of it, and tests without resampling."""
    for number, pair in enumerate(compared.pairs):
        single = {label: asdict(pairs[number]) for label, pairs in compared.by_label.items()}
        described = {
            **asdict(pair),
            "metric": compared.metric,
            "per_label": {
                label: {name: value for name, value in one.items() if name not in ("a", "b")}
                for label, one in single.items()
            },
        }
        if compared.margins:
            judged = asdict(compared.margins[number])
            described["margin"] = {name: value for name, value in judged.items() if name not in ("a", "b")}
        if compared.metric == "auroc" and (pair.a, pair.b) in comparison.areas:
            described["areas"] = comparison.areas[pair.a, pair.b]
        yield described


def describe_comparison(comparison: Comparison) -> dict[str, Any]:
    """Describe systems side by side, and their pairs."""
    from harness.evaluation.comparison import find_system_intervals

    described: dict[str, dict[str, Any]] = {name: {} for name in comparison.metrics[0].systems}
    for metric in comparison.metrics:
        intervals = find_system_intervals(metric.systems, metric.interval_method)
        for name, system in metric.systems.items():
            over_patients, with_seeds = intervals[name]
            described[name][metric.metric] = {
                "macro": system.estimate,
                "seeds": system.values.tolist(),
                "interval": over_patients,
                "interval_method": metric.interval_method,
                "interval_seeds": with_seeds,
            }
    return {
        "pairs": [pair for metric in comparison.metrics for pair in _describe_pairs(metric, comparison)],
        "systems": described,
        "labels": {metric.metric: metric.labels for metric in comparison.metrics},
        "readers": {name: part.model_dump() for name, part in comparison.readers.items()},
        "margin": comparison.margin,
        "unit": comparison.unit,
        CALLED[comparison.unit][1]: comparison.images,
        "patients": comparison.patients,
        "patients_known": comparison.patients_known,
        "resamples": comparison.resamples,
    }
