"""Predictions of images pooled over what is scored: a study, as radiologists label it, or a patient.

Letters in shapes: N images, U units, C labels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import DataError
from harness.evaluation.predictions import Predictions
from harness.units import Pooling, Unit, count_units

if TYPE_CHECKING:
    from numpy.typing import NDArray


def pool(predictions: Predictions, unit: Unit, how: Pooling) -> Predictions:
    """Predictions of U studies or patients, sorted by name, each in place of its images; of images, as they are.

    Scores are the `mean` or the largest (`max`) of the images' scores; what is no probability is pooled as it is.
    A target is 1 where any image has 1, else unknown where any is unknown, else 0. A column keeps a value that all
    images of a unit share and is empty for others.

    Raises `DataError` where nothing says which images belong together, or a study has images of several patients.
    """
    if unit == "image":
        return predictions
    members = _find_members(predictions, unit)
    names, first, place = np.unique(members, return_index=True, return_inverse=True)  # (U,), (U,), (N,)
    patient = predictions.patient[first]
    _require_one_patient(predictions, members, patient[place])
    pooled = replace(
        predictions,
        image=names,
        patient=patient,
        unit=unit,
        study=names if unit == "study" else None,
        logits=_pool_values(predictions.logits, place, len(names), "max"),
        targets=_pool_targets(predictions.targets, place, len(names)),
        columns={name: _share_values(values, first, place) for name, values in predictions.columns.items()},
        notes=(*predictions.notes, *_note_contradictions(predictions, unit, place)),
    )
    if how == "max" and predictions.given_scores is None:
        return pooled  # the largest logit has the largest score, with all its digits
    given = predictions.scores if predictions.given_scores is None else predictions.given_scores
    scores = _pool_values(given, place, len(names), how).astype(np.float64)
    of_scores = Predictions.from_scores(pooled.labels, names, patient, scores, pooled.targets)
    return replace(pooled, logits=of_scores.logits, given_scores=scores)


def require_stored_units(predictions: Predictions, unit: Unit) -> None:
    """Raise `DataError` where the predictions that a board's run has stored do not say which images form a unit."""
    if _find_known_members(predictions, unit) is not None:
        return
    if unit == "patient":
        raise DataError("its dataset does not say which images belong to one patient, so patients cannot be scored")
    raise DataError(
        'its stored predictions do not say which images belong to one study; score patients (unit = "patient"), or let '
        "the dataset tell studies, as csv does by its option study, and run it again"
    )


def _find_members(predictions: Predictions, unit: Unit) -> NDArray[np.str_]:
    """The unit (N,) of each image."""
    members = _find_known_members(predictions, unit)
    if members is None:
        raise DataError(
            f"{predictions.source}: nothing says which images belong to one {unit}; name the {unit} by --{unit}"
        )
    return members


def _find_known_members(predictions: Predictions, unit: Unit) -> NDArray[np.str_] | None:
    """The unit (N,) of each image; None where nothing says so."""
    if unit == "image":
        return predictions.image
    if unit == "study":
        return predictions.study
    return predictions.patient if predictions.patients_known else None


def _require_one_patient(predictions: Predictions, members: NDArray[np.str_], patient: NDArray[np.str_]) -> None:
    wrong = predictions.patient != patient
    if predictions.patients_known and wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{predictions.source}: study '{members[row]}' has images of patients '{patient[row]}' and "
            f"'{predictions.patient[row]}'; let a study's name hold its patient, as in --study 'Path:(.*study\\d+)'"
        )


def _pool_values(
    values: NDArray[np.floating], place: NDArray[np.intp], units: int, how: Pooling
) -> NDArray[np.floating]:
    """(U, C) of (N, C)."""
    if how == "max":
        largest = np.full((units, values.shape[1]), -np.inf, dtype=values.dtype)
        np.maximum.at(largest, place, values)
        return largest
    total = np.zeros((units, values.shape[1]))
    np.add.at(total, place, values)
    return total / np.bincount(place, minlength=units)[:, None]


def _pool_targets(targets: NDArray[np.float32], place: NDArray[np.intp], units: int) -> NDArray[np.float32]:
    """(U, C): 1 where any is, else NaN where any is, else 0."""
    ranked = np.select([targets == 1, np.isnan(targets)], [2, 1], 0)
    highest = np.zeros((units, targets.shape[1]), dtype=np.intp)
    np.maximum.at(highest, place, ranked)
    return np.array([0, np.nan, 1], dtype=np.float32)[highest]


def _share_values(values: NDArray[np.str_], first: NDArray[np.intp], place: NDArray[np.intp]) -> NDArray[np.str_]:
    """(U,): the value that all images of a unit have, empty where they differ."""
    own = values[first]
    differ = np.zeros(len(first), dtype=bool)
    np.logical_or.at(differ, place, values != own[place])
    return np.where(differ, "", own)


def _note_contradictions(predictions: Predictions, unit: Unit, place: NDArray[np.intp]) -> list[str]:
    """What to say where images of one unit have different known targets."""
    shape = (int(place.max()) + 1, predictions.targets.shape[1]) if len(place) else (0, 0)
    seen = {value: np.zeros(shape, dtype=bool) for value in (0, 1)}
    for value, found in seen.items():
        np.logical_or.at(found, place, predictions.targets == value)
    units = int((seen[0] & seen[1]).any(axis=1).sum())
    if not units:
        return []
    who = f"{count_units(unit, units)} {'has' if units == 1 else 'have'}"
    return [f"{predictions.source}: {who} images with different targets; a finding in any image counts"]
