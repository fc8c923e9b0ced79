"""Several predictions side by side: the same images in one order, and what must agree before they are compared."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import DataError, UsageError
from harness.evaluation.predictions import Predictions, match_labels
from harness.identifiers import find_alike, hint_alike, list_pairs, strip
from harness.text import count

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
                    f"{b.source} does not hold them{hint_alike(alone, b.image)}; predict the same images with both"
                )
    return common(predictions)


def common(predictions: Sequence[Predictions]) -> list[Predictions]:
    """The images that all of them have, sorted, and labels in the order of the first.

    Raises `DataError` where labels differ or no image is in all.
    """
    first = predictions[0]
    try:
        arranged = [first, *(other.arrange(first.labels, first.source) for other in predictions[1:])]
    except DataError as error:
        raise DataError(f"{error}, or name labels that all have by --labels") from None
    images = np.sort(functools.reduce(_intersect, [each.image for each in arranged]))
    if not len(images):
        counts = ", ".join(f"{each.source} ({count(len(each.image), 'image')})" for each in arranged)
        hint = hint_alike(first.image, np.concatenate([each.image for each in arranged[1:]]))
        raise DataError(f"no image is in all of {counts}{hint}; give predictions of the same split")
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
    with_patients = next((each for each in predictions if each.patients_known), None)
    if with_patients is None:
        return list(predictions)
    return [replace(each, patient=with_patients.patient, patients_known=True) for each in predictions]


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
                f"{first.source} and {other.source} differ in {count(len(wrong), 'target')} of "
                f"{count(len(first.image), 'image')}, "
                f"first image '{first.image[row]}', label '{first.labels[column]}' ({first.targets[row, column]:g}, "
                f"{other.targets[row, column]:g}); read both with the same targets"
            )
        differ = first.patient != other.patient
        if first.patients_known and other.patients_known and differ.any():
            row = int(differ.argmax())
            raise DataError(
                f"{first.source} and {other.source} differ in the patient of {differ.sum():,} of "
                f"{len(first.image):,} images, first '{first.image[row]}' ({first.patient[row]}, "
                f"{other.patient[row]}){hint_alike(first.patient[differ], other.patient[differ])}; correct or leave "
                "out the patients of one"
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


# --- what cannot be refused, and has to be said ----------------------------------------------------------------------


def note_overlap(val: Predictions, test: Predictions) -> list[str]:
    """What may be in both splits although no id is: ids that differ in their spelling alone, patients who are unnamed.

    Where one file names no patients, the other's tell whether images are called by them (`00000170_000.png` of `170`).
    """
    notes = _note_alike(val, test, "images", val.image, test.image)
    if val.patients_known and test.patients_known:
        return [*notes, *_note_alike(val, test, "patients", val.patient, test.patient)]
    silent = " and ".join(each.source for each in (val, test) if not each.patients_known)
    with_patients = next((each for each in (val, test) if each.patients_known), None)
    if with_patients is None or not _is_named_by_patient(with_patients):
        note = (
            f"{silent}: no patients are named, so that only images could be compared: whether {val.source} "
            f"(validation) and {test.source} (test) share patients is not known"
        )
        return [*notes, note]
    both = sorted(set(map(_name_patient, val.image)) & set(map(_name_patient, test.image)))
    if not both:
        return notes
    note = (
        f"{silent}: no patients are named, but images are called by them, and {val.source} (validation) and "
        f"{test.source} (test) then share {count(len(both), 'patient')}, first '{both[0]}': thresholds fitted "
        f"there would "
        "flatter the test; separate the splits by patient"
    )
    return [*notes, note]


def note_spellings(predictions: Sequence[Predictions]) -> list[str]:
    """What to say where images that one file has and the first has not may be the same, written differently."""
    first, *others = predictions
    pairs = [(other, find_alike(first.image, other.image)) for other in others]
    return [
        f"{first.source} and {other.source}: {count(len(alike), 'image')} may be the same, written differently: "
        f"{list_pairs(alike)}; they are not compared"
        for other, alike in pairs
        if alike
    ]


def _note_alike(
    val: Predictions, test: Predictions, kind: str, ours: NDArray[np.str_], theirs: NDArray[np.str_]
) -> list[str]:
    alike = find_alike(ours, theirs)
    if not alike:
        return []
    note = (
        f"{val.source} (validation) and {test.source} (test) may share {len(alike):,} {kind}, written differently: "
        f"{list_pairs(alike)}; if they are the same, thresholds fitted there would flatter the test"
    )
    return [note]


def _is_named_by_patient(predictions: Predictions) -> bool:
    pairs = zip(predictions.image.tolist(), predictions.patient.tolist(), strict=True)
    return all(image != patient and _name_patient(image) == strip(patient) for image, patient in pairs)


def _name_patient(image: str) -> str:
    """Return the patient that an image's name begins with: what stands before the first `_`, `-` or `/`."""
    return strip(re.split(r"[_/-]", image, maxsplit=1)[0])


# --- files that are the same -----------------------------------------------------------------------------------------


HALF = 2.0**-10
"""Between two neighbors of half precision, relative to the smaller; no coarser writing is looked for."""
HEAD = 16
"""Images that tell most files apart, before all are compared."""


@dataclass(frozen=True, eq=False)
class _Content:
    """A file's predictions, with what is compared of them computed once."""

    predictions: Predictions
    """The predictions, whose images and labels are in an order that is the same for all files."""

    @classmethod
    def read(cls, predictions: Predictions, labels: tuple[str, ...]) -> _Content:
        arranged = predictions.arrange(labels, predictions.source)
        image = arranged.image
        return cls(arranged if (image[:-1] <= image[1:]).all() else arranged.select(np.argsort(image)))

    @cached_property
    def head(self) -> list[NDArray[np.float64]]:
        return _scores_and_logits(self.predictions.select(np.arange(min(HEAD, len(self.predictions.image)))))

    @cached_property
    def whole(self) -> list[NDArray[np.float64]]:
        return _scores_and_logits(self.predictions)

    @cached_property
    def within(self) -> list[float]:
        """How far scores and logits may be off for having been written with few digits."""
        return [_rounding(values) for values in self.whole]

    def is_copy(self, other: _Content) -> bool:
        heads = zip(self.head, other.head, strict=True)
        if not any((np.abs(a - b) <= HALF * np.maximum(1, np.abs(a))).all() for a, b in heads):
            return False
        wholes = zip(self.whole, other.whole, self.within, other.within, strict=True)
        return np.array_equal(self.predictions.image, other.predictions.image) and any(
            bool((np.abs(a - b) <= max(ours, theirs)).all()) for a, b, ours, theirs in wholes
        )


def _scores_and_logits(predictions: Predictions) -> list[NDArray[np.float64]]:
    """Both (N, C): a copy may have been rounded as either."""
    if predictions.is_rank_only:
        return [predictions.ranks, predictions.ranks]  # they may be the logits of another file
    return [predictions.scores, predictions.logits.astype(np.float64)]


def require_distinct(predictions: Sequence[Predictions]) -> None:
    """Refuse two files with the same predictions, whatever their names, formats and the order of their images.

    A copy whose scores or logits were rounded, to three decimals or more or to half precision, is the same. Raises
    `UsageError`.
    """
    alike: dict[tuple[tuple[str, ...], int], list[Predictions]] = {}
    for each in predictions:
        alike.setdefault((tuple(sorted(each.labels)), len(each.image)), []).append(each)
    for (labels, _), possible_copies in alike.items():
        contents = [_Content.read(each, labels) for each in possible_copies] if len(possible_copies) > 1 else []
        for a, b in combinations(contents, 2):
            if a.is_copy(b):
                names = f"{a.predictions.source} and {b.predictions.source}"
                raise UsageError(
                    f"{names} hold the same predictions: a copy is no seed or system of its own, and its spread would "
                    "be 0; leave one of them out"
                )


def _rounding(values: NDArray[np.float64]) -> float:
    """Tell how far these values may be off for having been written with few digits."""
    exact = 1e-9 + 2.0**-23 * np.abs(values)  # float32 holds a rounded value no better
    for decimals in range(3, 7):
        if (np.abs(values - np.round(values, decimals)) <= exact).all():
            return 0.501 * 10.0**-decimals
    half = np.array_equal(values, values.astype(np.float16).astype(np.float64))
    return HALF / 2 * float(np.abs(values).max()) if half else 1e-6
