"""Several systems beside one panel of readers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from harness.evaluation.reader_summary import describe_readers
from harness.evaluation.readers import measure_readers
from harness.evaluation.significance import adjust_holm
from harness.evaluation.thresholds import fit_thresholds
from harness.metric_names import DEFAULT_POLICY

if TYPE_CHECKING:
    from harness.evaluation.bootstrap import Resampling
    from harness.evaluation.panel import Panel
    from harness.evaluation.parts import ReadersPart
    from harness.evaluation.predictions import Predictions

POLICIES = (DEFAULT_POLICY, "0.5")


def compare_systems(
    systems: Mapping[str, Sequence[Predictions]],
    validation: Mapping[str, Sequence[Predictions | None]],
    panel: Panel,
    resampling: Resampling,
) -> dict[str, ReadersPart]:
    """Hold each system, the aligned predictions of its seeds, against a panel of readers of the same units.

    `validation` has that of each seed. P-values against the average reader are adjusted for all systems (Holm 1979).
    """
    parts = {}
    for name, seeds in systems.items():
        vals = validation.get(name, [None] * len(seeds))
        measured = [
            measure_readers(seed, panel, fit_thresholds(val, seed, POLICIES), resampling)
            for seed, val in zip(seeds, vals, strict=True)
        ]
        parts[name] = describe_readers(measured, panel, seeds[0].patient, resampling)
    return adjust_averages(parts)


def adjust_averages(parts: Mapping[str, ReadersPart]) -> dict[str, ReadersPart]:
    """Adjust each system's p-value against the average reader for all systems, measure by measure (Holm 1979)."""
    averages = {name: dict(part.average) for name, part in parts.items()}
    for measure in dict.fromkeys(measure for average in averages.values() for measure in average):
        own = [name for name, average in averages.items() if measure in average]
        p = [averages[name][measure].p for name in own]
        adjusted = adjust_holm(np.array([math.nan if one is None else one for one in p]))
        for name, one in zip(own, adjusted.tolist(), strict=True):
            averages[name][measure] = replace(averages[name][measure], p_holm=None if math.isnan(one) else one)
    return {name: part.model_copy(update={"average": averages[name]}) for name, part in parts.items()}
