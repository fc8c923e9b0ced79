"""Metrics of heat maps: values by image and label in, a record's parts and resamples out.

A network's map is held against boxes beside two maps that know nothing of the image, its `BASELINES`. Letters in
shapes: P pairs of an image and a label with boxes there, T thresholds, C labels, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.components import Metric
from harness.errors import DataError
from harness.evaluation.bootstrap import FEWEST_CARRIERS, FEWEST_PATIENTS, Resampling, average_labels
from harness.evaluation.intervals import find_interval, find_intervals
from harness.evaluation.measure import weigh_labels
from harness.evaluation.parts import BaselineLabel, BaselinePart, LabelValue, MapsPart, MetricPart
from harness.text import count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

NETWORK = "network"
BASELINES = ("center", "usual place")
"""Maps that know nothing of the image: highest at its center, and where boxes of the label usually are."""
NO_MAPS = "no heat maps go with these predictions"
"""Why predictions alone have no metrics of heat maps."""
NO_NETWORK = "the control trains no network, so there are no heat maps"
CENTER = "This map is highest at the image's center and falls to 0 in its corners."


@dataclass(frozen=True, eq=False, kw_only=True)
class SplitValues:
    """What maps came to on one split."""

    image: NDArray[np.str_]
    """(P,)"""
    patient: NDArray[np.str_]
    """(P,)"""
    label: NDArray[np.str_]
    """(P,)"""
    values: Mapping[str, Mapping[str, Array]]
    """The network and each baseline -> metric -> (P, T); T is 1 for a metric without thresholds."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MapValues:
    """What a network's heat maps came to: all that metrics of maps need, so that no weights and no image do."""

    about: str
    """How the maps were made, in words."""
    usual: str
    """Which boxes the usual place was made of, in words."""
    test: SplitValues
    val: SplitValues | None = None
    """None where validation has no boxes, or no metric has a threshold."""

    def metrics(self) -> set[str]:
        """The metrics that it holds."""
        return set(self.test.values[NETWORK])

    def write(self, path: Path) -> None:
        """Write it straight to its place, as an .npz without pickled objects."""
        arrays: dict[str, Any] = {"about": np.array(self.about), "usual": np.array(self.usual)}
        for name, split in (("val", self.val), ("test", self.test)):
            if split is not None:
                arrays |= {f"{name}/{key}": getattr(split, key) for key in ("image", "patient", "label")}
                arrays |= {
                    f"{name}/value/{system}/{metric}": values.astype(np.float32)
                    for system, metrics in split.values.items()
                    for metric, values in metrics.items()
                }
        np.savez_compressed(path, **arrays)


def load_map_values(path: Path) -> MapValues:
    """Read what `MapValues.write` wrote. Raises `DataError` for a file that is damaged or something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file}
        return MapValues(
            about=str(arrays["about"]),
            usual=str(arrays["usual"]),
            test=_read_split(arrays, "test"),
            val=_read_split(arrays, "val") if "val/image" in arrays else None,
        )
    except FileNotFoundError:
        raise
    except Exception as error:  # noqa: BLE001 - NumPy and zipfile raise many kinds for a damaged file
        raise DataError(f"{path} holds no values of heat maps ({type(error).__name__}: {error})") from None


def _read_split(arrays: Mapping[str, NDArray[Any]], name: str) -> SplitValues:
    values: dict[str, dict[str, Array]] = {}
    for key, array in arrays.items():
        if key.startswith(f"{name}/value/"):
            system, metric = key.removeprefix(f"{name}/value/").split("/")
            values.setdefault(system, {})[metric] = array.astype(np.float64)
    image, patient, label = (arrays[f"{name}/{key}"].astype(str) for key in ("image", "patient", "label"))
    return SplitValues(image=image, patient=patient, label=label, values=values)


# --- one metric ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Measured:
    """One metric of the network's maps, or of a baseline's."""

    values: Array
    """(C,) NaN for a label without boxes, or without a threshold."""
    resamples: Array
    """(R, C)"""
    pooled: Array
    """(P,) each pair's value at its label's threshold."""
    thresholds: dict[str, float]
    """Label -> share of a map's maximum; empty for a metric without thresholds."""


def measure_maps(
    maps: MapValues, metric: Metric, labels: Sequence[str], resampling: Resampling
) -> tuple[MetricPart, Array]:
    """A metric of heat maps as a record has it, and its macro in each resample (R,).

    Patients are resampled as for every other metric. The macro is over the labels of which three patients have boxes,
    or over all with boxes where there is none of these. Raises `DataError` for a patient who was not resampled.
    """
    column = _find_columns(maps.test, labels)
    located = resampling.locate(maps.test.patient)
    systems = {name: _measure(maps, name, metric, labels, located, resampling) for name in (NETWORK, *BASELINES)}
    own = systems[NETWORK]
    enough = _has_enough(column, located, len(labels), len(resampling.patients))
    defined = ~np.isnan(own.values)
    used = defined & enough if (defined & enough).any() else defined
    macro, drawn = _average(own.values, used), average_labels(own.resamples, used)
    images = np.bincount(column, minlength=len(labels))
    intervals = find_intervals(own.values, own.resamples.T, [metric.interval] * len(labels))
    left_out = [label for label, taken in zip(labels, used, strict=True) if not taken]
    interval = find_interval(macro, drawn, metric.interval)
    part = MetricPart(
        macro=macro,
        interval=interval,
        interval_method=metric.interval,
        no_interval=None if interval or np.isnan(macro) else _explain_absence(resampling),
        resampled_by="weights",
        micro=float(own.pooled[used[column]].mean()) if used.any() else None,
        weighted=weigh_labels(np.where(used, own.values, np.nan), images),
        per_label={
            label: LabelValue(value=float(own.values[i]), interval=intervals[i], positives=int(images[i]), negatives=0)
            for i, label in enumerate(labels)
        },
        labels_used=int(used.sum()),
        left_out=left_out,
        why_left_out=_explain_omission(maps, labels, defined, used, images) if left_out else None,
        higher_is_better=metric.higher_is_better,
        maps=MapsPart(
            about=maps.about,
            images=len(np.unique(maps.test.image)),
            patients=len(np.unique(maps.test.patient)),
            thresholds=own.thresholds,
            baselines={
                name: _compare(own, systems[name], about, labels, used)
                for name, about in zip(BASELINES, (CENTER, maps.usual), strict=True)
            },
        ),
    )
    return part, drawn


def describe_no_maps(metric: Metric, labels: Sequence[str], why: str) -> MetricPart:
    """A metric of heat maps where there are none; `why` in words."""
    return MetricPart(
        macro=None,
        interval_method=metric.interval,
        resampled_by="weights",
        per_label={label: LabelValue(value=None, positives=0, negatives=0) for label in labels},
        labels_used=0,
        left_out=list(labels),
        why_left_out=why,
        higher_is_better=metric.higher_is_better,
    )


def _find_columns(split: SplitValues, labels: Sequence[str]) -> NDArray[np.intp]:
    """The label of each pair as a column (P,)."""
    places = {label: place for place, label in enumerate(labels)}
    return np.array([places[label] for label in split.label.tolist()], dtype=np.intp)


def _measure(
    maps: MapValues,
    system: str,
    metric: Metric,
    labels: Sequence[str],
    located: NDArray[np.intp],
    resampling: Resampling,
) -> _Measured:
    curves = maps.test.values[system][metric.name]  # (P, T)
    column = _find_columns(maps.test, labels)
    choice = _choose_thresholds(maps.val, system, metric, labels) if curves.shape[1] > 1 else np.zeros(len(labels))
    known = ~np.isnan(choice[column])  # (P,)
    pooled = np.full(len(column), np.nan)
    pooled[known] = curves[known, choice[column[known]].astype(np.intp)]
    values = np.full(len(labels), np.nan)
    resamples = np.full((len(resampling.weights), len(labels)), np.nan)
    enough = _has_enough(column, located, len(labels), len(resampling.patients))
    for label in np.unique(column[known]).tolist():
        pairs = np.flatnonzero(column == label)
        values[label] = pooled[pairs].mean()
        if enough[label]:
            weights = resampling.weights[:, located[pairs]].astype(np.float64)  # (R, pairs)
            resamples[:, label] = weights @ pooled[pairs] / weights.sum(axis=1)
    steps = curves.shape[1] + 1
    thresholds = {
        label: float(chosen + 1) / steps
        for label, chosen in zip(labels, choice, strict=True)
        if steps > 2 and not np.isnan(chosen)
    }
    return _Measured(values, resamples, pooled, thresholds)


def _choose_thresholds(val: SplitValues | None, system: str, metric: Metric, labels: Sequence[str]) -> Array:
    """The threshold (C,) by which each label's validation boxes are met best, as its number; NaN without such boxes."""
    choice = np.full(len(labels), np.nan)
    if val is None:
        return choice
    column, curves = _find_columns(val, labels), val.values[system][metric.name]
    for label in np.unique(column).tolist():
        mean = curves[column == label].mean(axis=0)
        choice[label] = np.argmax(mean if metric.higher_is_better else -mean)
    return choice


def _has_enough(column: NDArray[np.intp], located: NDArray[np.intp], labels: int, patients: int) -> NDArray[np.bool_]:
    """Labels (C,) of which enough patients have boxes to be resampled; none where there are too few patients."""
    carriers = [len(np.unique(located[column == label])) for label in range(labels)]
    return (np.array(carriers) >= FEWEST_CARRIERS) & (patients >= FEWEST_PATIENTS)


def _compare(
    own: _Measured, other: _Measured, about: str, labels: Sequence[str], used: NDArray[np.bool_]
) -> BaselinePart:
    """A baseline beside the network: their difference in the same resamples."""
    delta, drawn = own.values - other.values, own.resamples - other.resamples
    intervals = find_intervals(delta, drawn.T, ["percentile"] * len(labels))
    macro = _average(delta, used)
    return BaselinePart(
        about=about,
        macro=_average(other.values, used),
        delta=macro,
        interval=find_interval(macro, average_labels(drawn, used)),
        per_label={
            label: BaselineLabel(value=float(other.values[i]), delta=float(delta[i]), interval=intervals[i])
            for i, label in enumerate(labels)
        },
    )


def _average(values: Array, used: NDArray[np.bool_]) -> float:
    return float(average_labels(values[None], used)[0])


def _explain_absence(resampling: Resampling) -> str:
    if len(resampling.patients) < FEWEST_PATIENTS:
        return f"an interval needs {FEWEST_PATIENTS} patients, and there are {len(resampling.patients)}"
    return (
        f"an interval needs {FEWEST_CARRIERS} patients with boxes of each label, and values that are not all the same"
    )


def _explain_omission(
    maps: MapValues,
    labels: Sequence[str],
    defined: NDArray[np.bool_],
    used: NDArray[np.bool_],
    images: NDArray[np.intp],
) -> str:
    """Why labels are not in the mean, in words."""
    without = [label for label, number in zip(labels, images, strict=True) if not number]
    undecided = [label for i, label in enumerate(labels) if images[i] and not defined[i]]
    few = [label for i, label in enumerate(labels) if defined[i] and not used[i]]
    reasons = [f"without boxes in the test split: {', '.join(without)}"] if without else []
    if undecided and maps.val is None:
        reasons.append("validation has no boxes to choose a threshold by: only metrics without one are given")
    elif undecided:
        reasons.append(f"without boxes in validation to choose a threshold by: {', '.join(undecided)}")
    reasons += [f"fewer than {count(FEWEST_CARRIERS, 'patient')} with boxes: {', '.join(few)}"] if few else []
    return "; ".join(reasons)
