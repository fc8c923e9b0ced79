"""What a dataset holds, from its label files alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.components import SPLITS, Data

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

GROUPS = {"train": ("train",), "val": ("val",), "train+val": ("train", "val"), "test": ("test",), "all": SPLITS}
"""Which splits are counted together."""


@dataclass(frozen=True)
class LabelCounts:
    """How often a label is 1, 0 and unknown."""

    positives: int
    negatives: int
    unknown: int

    @property
    def prevalence(self) -> float:
        """Share of positives among the known; NaN where none is."""
        known = self.positives + self.negatives
        return self.positives / known if known else float("nan")


@dataclass(frozen=True)
class Ages:
    """Years."""

    lowest: float
    median: float
    highest: float
    unknown: int


@dataclass(frozen=True)
class Counts:
    """One group of splits."""

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
    """Boxes by label."""
    notes: dict[str, str]


def describe(data: Data) -> Statistics:
    """Count images, patients, positives, views, sexes and ages of each split; reads no image."""
    split = data.table["split"].to_numpy()
    groups = {name: _count(data, np.isin(split, splits)) for name, splits in GROUPS.items()}
    boxes = {} if data.boxes is None else _tally(data.boxes["label"])
    return Statistics(groups, boxes, dict(data.notes))


def _count(data: Data, rows: NDArray[np.bool_]) -> Counts:
    table, targets = data.table[rows], data.targets[rows]
    positives, negatives = (targets == 1).sum(axis=0), (targets == 0).sum(axis=0)
    labels = {
        label: LabelCounts(int(positives[i]), int(negatives[i]), int(len(table) - positives[i] - negatives[i]))
        for i, label in enumerate(data.labels)
    }
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
    known = column.dropna()
    if known.empty:
        return None
    return Ages(float(known.min()), float(known.median()), float(known.max()), int(column.isna().sum()))


def as_plain(statistics: Statistics) -> dict[str, Any]:
    """As plain data for JSON, prevalence included."""
    plain = asdict(statistics)
    for name, counts in statistics.groups.items():
        for label, found in counts.labels.items():
            plain["groups"][name]["labels"][label]["prevalence"] = found.prevalence
    return plain


def print_statistics(name: str, statistics: Statistics) -> None:
    """As two tables: positives by label and split, and who the patients are."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    groups = statistics.groups
    table = Table(box=None, pad_edge=False, header_style="bold", title=name, title_justify="left")
    table.add_column("")
    for group in groups:
        table.add_column(group, justify="right")
    table.add_column("prevalence", justify="right")
    table.add_row("images", *(f"{counts.images:,}" for counts in groups.values()), "")
    table.add_row("patients", *(f"{counts.patients:,}" for counts in groups.values()), "")
    for label, found in groups["all"].labels.items():
        positives = (counts.labels[label] for counts in groups.values())
        table.add_row(label, *(_positives(counts) for counts in positives), f"{found.prevalence:.2%}")
    table.add_row("no finding", *(f"{counts.without_finding:,}" for counts in groups.values()), "")
    for kind in ("views", "sexes"):
        for value in getattr(groups["all"], kind):
            table.add_row(
                f"{kind[:-1] if kind == 'views' else 'sex'} {value}",
                *(f"{getattr(c, kind).get(value, 0):,}" for c in groups.values()),
                "",
            )
    table.add_row("images a patient", *(f"{counts.images_per_patient:.2f}" for counts in groups.values()), "")
    table.add_row("most of one patient", *(f"{counts.most_images_of_a_patient:,}" for counts in groups.values()), "")
    if groups["all"].ages is not None:
        table.add_row("median age", *("" if c.ages is None else f"{c.ages.median:.0f}" for c in groups.values()), "")
    console.print(table)
    for note, text in statistics.notes.items():
        console.print(f"{note.replace('_', ' ')}: {text}", highlight=False, markup=False)
    if statistics.boxes:
        console.print(
            "boxes: " + ", ".join(f"{label} {count}" for label, count in statistics.boxes.items()), highlight=False
        )


def _positives(counts: LabelCounts) -> str:
    return f"{counts.positives:,}" + (f" ({counts.unknown:,} unknown)" if counts.unknown else "")
