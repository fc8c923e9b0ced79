"""What a dataset holds, from its label files alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.components import SPLITS, Data

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

SPLIT_GROUPS = {"train": ("train",), "val": ("val",), "train+val": ("train", "val"), "test": ("test",), "all": SPLITS}
"""Which splits are counted together."""


@dataclass(frozen=True)
class LabelCounts:
    """How often a label is 1, 0 and unknown, and in training in between."""

    positives: int
    negatives: int
    unknown: int
    soft: int = 0

    @property
    def prevalence(self) -> float:
        """Share of positives among the known; NaN where none is."""
        labeled = self.positives + self.negatives
        return self.positives / labeled if labeled else float("nan")


@dataclass(frozen=True)
class Ages:
    """Ages in years."""

    lowest: float
    median: float
    highest: float
    unknown: int


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Counts of one group of splits."""

    images: int
    patients: int
    labels: dict[str, LabelCounts]
    without_finding: int
    """Images whose every label is known to be 0."""
    images_per_patient: float
    most_images_of_a_patient: int
    views: dict[str, int]
    sexes: dict[str, int]
    ages: Ages | None


@dataclass(frozen=True)
class Statistics:
    """A dataset in numbers."""

    groups: dict[str, Counts]
    boxes: dict[str, int]
    """Number of boxes by label."""
    notes: dict[str, str]


def describe(data: Data) -> Statistics:
    """Count images, patients, positives, views, sexes and ages of each split; reads no image."""
    split = data.table["split"].to_numpy()
    groups = {name: _count(data, np.isin(split, splits)) for name, splits in SPLIT_GROUPS.items()}
    boxes = {} if data.boxes is None else _tally(data.boxes["label"])
    return Statistics(groups, boxes, dict(data.notes))


def _count(data: Data, rows: NDArray[np.bool_]) -> Counts:
    table, targets = data.table[rows], data.targets[rows]
    counted = ((targets == 1), (targets == 0), np.isnan(targets), (targets > 0) & (targets < 1))
    per_label = np.stack([one.sum(axis=0) for one in counted], axis=1)  # (C, 4)
    labels = {label: LabelCounts(*counts) for label, counts in zip(data.labels, per_label.tolist(), strict=True)}
    of_patients = table["patient"].value_counts()
    return Counts(
        images=len(table),
        patients=len(of_patients),
        labels=labels,
        without_finding=int((targets == 0).all(axis=1).sum()),
        images_per_patient=float(of_patients.mean()) if len(of_patients) else float("nan"),
        most_images_of_a_patient=int(of_patients.max()) if len(of_patients) else 0,
        views=_tally(table["view"]) if "view" in table else {},
        sexes=_tally(table["sex"]) if "sex" in table else {},
        ages=_ages(table["age"]) if "age" in table else None,
    )


def _tally(column: pd.Series) -> dict[str, int]:
    counts = column.dropna().astype(str).value_counts()
    return {name: int(counts[name]) for name in sorted(counts.index)}


def _ages(column: pd.Series) -> Ages | None:
    ages = column.dropna()
    if ages.empty:
        return None
    return Ages(float(ages.min()), float(ages.median()), float(ages.max()), int(column.isna().sum()))


def as_plain(statistics: Statistics) -> dict[str, Any]:
    """Return the statistics as plain data for JSON, prevalence included."""
    plain = asdict(statistics)
    for name, counts in statistics.groups.items():
        for label, of_label in counts.labels.items():
            plain["groups"][name]["labels"][label]["prevalence"] = of_label.prevalence
    return plain
