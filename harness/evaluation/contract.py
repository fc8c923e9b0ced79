"""What a plugin's metric is given, and what it must give back."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.components import Metric
from harness.errors import PluginError

if TYPE_CHECKING:
    from numpy.typing import NDArray

OFFERED_TO_METRICS = ("patients",)
"""What a metric gets when it names it as a keyword-only argument: the patient of each image, (N,)."""


def defined_labels(scores: NDArray[np.float64], targets: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Labels (C,) with a known positive, a known negative, and no known target whose score is not a number.

    `scores` or decisions and `targets` are (N, C), an unknown target NaN.
    """
    missing = (np.isnan(scores) & ~np.isnan(targets)).any(axis=0)  # (C,)
    return np.asarray((targets == 1).any(axis=0) & (targets == 0).any(axis=0) & ~missing)


def wants_patients(metric: Metric) -> bool:
    """Whether a metric names `patients`; raises `PluginError` where it names what it cannot have."""
    wanted = {p.name for p in inspect.signature(metric.compute).parameters.values() if p.kind is p.KEYWORD_ONLY}
    unknown = wanted - set(OFFERED_TO_METRICS)
    if unknown:
        raise PluginError(
            f"metric '{metric.name}' asks for {', '.join(sorted(unknown))}; it can have {', '.join(OFFERED_TO_METRICS)}"
        )
    return bool(wanted)


def compute(
    metric: Metric,
    scores: NDArray[np.float64],
    targets: NDArray[np.float64],
    patients: NDArray[np.str_],
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Values (C,) of scores and known targets (N, C), patients (N,) and weights (N,).

    Raises `PluginError` for a metric that raises or returns another shape.
    """
    extra: dict[str, Any] = {"patients": patients} if wants_patients(metric) else {}
    return checked(metric, (scores.shape[1],), lambda: metric.compute(scores, targets, weights, **extra))


def compute_labels(
    metric: Metric, scores: NDArray[np.float64], targets: NDArray[np.floating], patients: NDArray[np.str_]
) -> NDArray[np.float64]:
    """Values (C,) of scores or decisions and targets (N, C), unknown targets (NaN) left out; NaN where undefined."""
    wide = targets.astype(np.float64)
    known, defined = ~np.isnan(wide), defined_labels(scores, wide)
    values = np.full(wide.shape[1], np.nan)
    if known[:, defined].all():
        if defined.any():
            values[defined] = compute(metric, scores[:, defined], wide[:, defined], patients)
        return values
    for label in np.flatnonzero(defined):
        rows = known[:, label]
        values[label] = compute(metric, scores[rows, label, None], wide[rows, label, None], patients[rows])[0]
    return values


def checked(metric: Metric, shape: tuple[int, ...], call: Callable[[], Any]) -> NDArray[np.float64]:
    """What a metric's function returns, as float64. Raises `PluginError` where it raises or has another shape."""
    try:
        values = np.asarray(call(), dtype=np.float64)
    except Exception as error:
        raise PluginError(f"metric '{metric.name}' raised {type(error).__name__}: {error}") from error
    if values.shape != shape:
        meaning = "one value for each label"
        if len(shape) != 1:
            meaning = f"a row for each weighting, {meaning}"
        raise PluginError(f"metric '{metric.name}' must return {shape}, {meaning}, got {values.shape}")
    return values


def compute_on_maps(metric: Metric, maps: NDArray[np.float64], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """A metric of maps (n, F, F) and of which pixels lie in boxes: (n, T) float64, within the range that it declares.

    Raises `PluginError` for a metric that raises, or gives another shape or something beyond its range.
    """
    try:
        values = np.asarray(metric.compute(maps, inside), dtype=np.float64)
    except Exception as error:
        raise PluginError(f"metric '{metric.name}' raised {type(error).__name__}: {error}") from error
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or len(values) != len(maps) or not values.shape[1]:
        raise PluginError(
            f"metric '{metric.name}' must return a value for each of the {len(maps)} maps, or a row of them, got "
            f"{values.shape}"
        )
    low, high = metric.range
    if not ((values >= low - 1e-9) & (values <= high + 1e-9)).all():
        raise PluginError(f"metric '{metric.name}' must give a map a value in its range {low:g}..{high:g}, never NaN")
    return values
