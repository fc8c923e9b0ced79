"""Scores as files that `harness score` and `harness submit` read: a CSV, or an .npz with logits."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.components import Data
from harness.errors import DataError, UsageError
from harness.evaluation.predictions import GAP, GAP_REASON, Predictions
from harness.evaluation.subgroups import find_groups
from harness.files import write_atomically
from harness.scoring.sheets import CALIBRATED, DECISION, PROBLEM
from harness.serving.scores import ImageScores, join_scores

ENDINGS = (".csv", ".npz")


def require_ending(path: Path) -> None:
    """Raise `UsageError` for a file that is neither .csv nor .npz."""
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"--out {path}: scores are written to a .csv or an .npz file")


def write_scores(
    path: Path, parts: Iterable[ImageScores], labels: tuple[str, ...], data: Data | None, *, averaged: bool
) -> None:
    """Write scores as they come to a .csv or an .npz, whole or not at all.

    The images of `data` bring their patients along, to an .npz their targets too. An .npz of several seeds whose
    probabilities are `averaged` has scores in place of logits. Raises `StorageError` where it cannot be written.
    """
    if path.suffix.lower() == ".csv":
        write_atomically(path, lambda place: _write_csv(place, parts, labels, data))
    else:
        write_atomically(path, lambda place: _write_npz(place, parts, labels, data, averaged=averaged))


def _write_csv(place: Path, parts: Iterable[ImageScores], labels: tuple[str, ...], data: Data | None) -> None:
    """One row for each image: the probability of each label under its name, and beside it what was made of it."""
    patients = None if data is None or not data.patients_known else iter(data.table["patient"].astype(str))
    named = ["image"] if patients is None else ["image", "patient"]
    beside = [f"{label} {what}" for what in (CALIBRATED, DECISION) for label in labels]
    with place.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*named, *labels, *beside, PROBLEM])
        for part in parts:
            for number, image in enumerate(part.image):
                cells = [
                    *map(_format, part.probability[number]),
                    *(_format(value, 6) for value in part.calibrated[number]),
                    *(_format(value, 1) for value in part.decisions[number]),
                ]
                whose = [] if patients is None else [next(patients)]
                writer.writerow([image, *whose, *cells, part.gaps.get(image, "")])


def _format(value: float, digits: int | None = None) -> str:
    """A number with all its digits, or with a few; empty where there is none."""
    if np.isnan(value):
        return ""
    return repr(float(value)) if digits is None else f"{value:.{digits}g}"


def _write_npz(
    place: Path, parts: Iterable[ImageScores], labels: tuple[str, ...], data: Data | None, *, averaged: bool
) -> None:
    whole = join_scores(list(_require_some(parts)))
    there = np.flatnonzero([name not in whole.gaps for name in whole.image])
    image = np.array(whole.image, dtype=str)
    targets = np.full(whole.logits.shape, np.nan, dtype=np.float32) if data is None else data.targets
    predictions = Predictions(
        labels=labels,
        image=image,
        patient=image if data is None else data.table["patient"].to_numpy(dtype=str),
        logits=whole.logits,
        given_scores=whole.probability if averaged else None,
        targets=targets,
        patients_known=data is not None and data.patients_known,
        study=None if data is None else data.studies,
        columns={} if data is None else find_groups(data),
    )
    more: dict[str, Any] = {
        CALIBRATED: whole.calibrated[there],
        DECISION: whole.decisions[there],
        GAP: np.array(list(whole.gaps), dtype=str),
        GAP_REASON: np.array(list(whole.gaps.values()), dtype=str),
    }
    with place.open("wb") as file:
        np.savez_compressed(file, **predictions.select(there).arrays(), **more)


def _require_some(parts: Iterable[ImageScores]) -> Iterator[ImageScores]:
    """The parts, if there is one. Raises `DataError` where there is none."""
    empty = True
    for part in parts:
        empty = False
        yield part
    if empty:
        raise DataError("there is no image to predict")


def keep_labels(data: Data, labels: tuple[str, ...]) -> Data:
    """The data with targets for these labels in their order, unknown for those that the dataset does not have."""
    targets = np.full((len(data.table), len(labels)), np.nan, dtype=np.float32)
    for column, label in enumerate(labels):
        if label in data.labels:
            targets[:, column] = data.targets[:, data.labels.index(label)]
    return replace(data, labels=labels, targets=targets)
