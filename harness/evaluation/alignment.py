"""Several predictions side by side: the same images in one order, and what must agree before they are compared."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import DataError
from harness.evaluation.predictions import Predictions, match_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray


def align(predictions: Sequence[Predictions]) -> list[Predictions]:
    """The same images, sorted, and labels in one order; for the seeds of one system.

    Raises `DataError` where labels or images differ.
    """
    first = predictions[0]
    for other in predictions[1:]:
        if np.array_equal(first.image, other.image):
            continue
        for a, b in ((first, other), (other, first)):
            alone = np.setdiff1d(a.image, b.image)
            if len(alone):
                raise DataError(
                    f"{a.source} has {len(alone):,} of its {len(a.image):,} images alone, first '{alone[0]}': "
                    f"{b.source} does not hold them; predict the same images with both"
                )
    return common(predictions)


def common(predictions: Sequence[Predictions]) -> list[Predictions]:
    """The images that all of them have, sorted, and labels in the order of the first.

    Raises `DataError` where labels differ or no image is in all.
    """
    first = predictions[0]
    arranged = [first, *(other.arrange(first.labels, first.source) for other in predictions[1:])]
    images = np.sort(functools.reduce(_intersect, [each.image for each in arranged]))
    if not len(images):
        counts = ", ".join(f"{each.source} ({len(each.image):,} images)" for each in arranged)
        raise DataError(f"no image is in all of {counts}; give predictions of the same split")
    return [
        each if np.array_equal(images, each.image) else each.select(_places(images, each.image)) for each in arranged
    ]


def _intersect(a: NDArray[np.str_], b: NDArray[np.str_]) -> NDArray[np.str_]:
    return a if np.array_equal(a, b) else np.intersect1d(a, b)  # many files of one run, in one order: no need to sort


def _places(wanted: NDArray[np.str_], image: NDArray[np.str_]) -> NDArray[np.intp]:
    """Where each of the wanted images stands."""
    order = np.argsort(image)
    return order[np.searchsorted(image, wanted, sorter=order)]


def share_patients(predictions: Sequence[Predictions]) -> list[Predictions]:
    """Aligned predictions that agree in their patients: all know them where one does."""
    known = next((each for each in predictions if each.patients_known), None)
    if known is None:
        return list(predictions)
    return [replace(each, patient=known.patient, patients_known=True) for each in predictions]


def require_same_targets(predictions: Sequence[Predictions]) -> None:
    """Refuse predictions with other labels, or with other targets or patients for an image that all have.

    Patients are compared where both files know them. Raises `DataError` with the counts and the first image.
    """
    first, *others = common(predictions)
    for other in others:
        same = (first.targets == other.targets) | (np.isnan(first.targets) & np.isnan(other.targets))
        wrong = np.argwhere(~same)
        if len(wrong):
            row, column = wrong[0]
            raise DataError(
                f"{first.source} and {other.source} differ in {len(wrong):,} targets of {len(first.image):,} images, "
                f"first image '{first.image[row]}', label '{first.labels[column]}' ({first.targets[row, column]:g}, "
                f"{other.targets[row, column]:g}); read both with the same targets"
            )
        differ = first.patient != other.patient
        if first.patients_known and other.patients_known and differ.any():
            row = int(differ.argmax())
            raise DataError(
                f"{first.source} and {other.source} differ in the patient of {differ.sum():,} of "
                f"{len(first.image):,} images, first '{first.image[row]}' ({first.patient[row]}, "
                f"{other.patient[row]}); mend or leave out the patients of one"
            )


def require_separate(val: Predictions, test: Predictions) -> None:
    """Refuse validation and test predictions with other labels, or with an image or a patient in both.

    Patients are compared where both files know them. Raises `DataError` with the count and the first.
    """
    match_labels(val.labels, test.labels, val.source, test.source)
    kinds = {"images": (val.image, test.image)}
    if val.patients_known and test.patients_known:
        kinds["patients"] = (val.patient, test.patient)
    for kind, (ours, theirs) in kinds.items():
        both = np.intersect1d(ours, theirs)
        if len(both):
            raise DataError(
                f"{val.source} (validation) and {test.source} (test) share {len(both):,} {kind}, first '{both[0]}': "
                "thresholds fitted there would flatter the test; separate the splits by patient"
            )
