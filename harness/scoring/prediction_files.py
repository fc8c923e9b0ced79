"""Predictions made anywhere: an .npz or a CSV of scores, with targets in it, in a second file or in a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.components import Data
from harness.errors import DataError, UsageError
from harness.evaluation.pooling import pool
from harness.evaluation.predictions import ONLY_RANKED, Predictions, load_predictions, match_labels, require_targets
from harness.identifiers import hint_alike
from harness.scoring.sheets import Reading, Sheet, find_common, read_sheet
from harness.text import agree, count
from harness.units import Unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDING = 1e-6
"""How far beyond 0..1 a probability may be for having been rounded, as float32 is."""
DEFAULT = Reading()
MOST_NAMED = 3
"""Images that a message names at most."""


def read_predictions(
    path: Path,
    *,
    targets: Path | Table | None = None,
    data: Data | None = None,
    reading: Reading = DEFAULT,
    whole: bool = False,
) -> Predictions:
    """Read predictions from an .npz, as a run leaves it or with `scores` (N, C) for `logits`, or from a CSV of scores.

    A CSV has a column for the image, perhaps one for the patient, and one for each label (`Reading`, `read_sheet`).
    Targets are those of the CSV `targets` (likewise, with 1, 0 or blank for unknown), else of the dataset `data`, else
    the .npz's own. Rows are matched by image and columns by label, in any order; the targets may be of more images, and
    labels that one of both lacks are left out with a note, unless the `whole` of the dataset's is needed. Scores beyond
    0..1 only rank (`Predictions.is_rank_only`). Where nothing says who the patients are, each image is one and the
    result is not `patients_known`.

    Raises `DataError` for a file that cannot mean one thing: not readable, a number missing or not finite, something
    twice, no label in common, patients that differ from those of the targets, images without targets. Raises
    `UsageError` where both `targets` and `data` are given.
    """
    if targets is not None and data is not None:
        raise UsageError("targets come from a file or from a dataset: give one of them")
    _require_regular(path)
    stored = load_predictions(path) if path.suffix.lower() == ".npz" else read_sheet(path, "scores", reading)
    truth: Sheet | Table | None = None if data is None else _describe(data)
    if isinstance(targets, Table):
        truth = targets
    elif targets is not None:
        _require_regular(targets)
        truth = read_sheet(targets, "targets", reading)
    if isinstance(stored, Sheet) and truth is None:
        raise DataError(f"{path}: no target of its images is known; give a CSV of targets, or the dataset")
    predictions = _combine(stored, truth, reading, whole=whole)
    if np.isnan(predictions.targets).all():
        raise DataError(f"{path}: no target of its images is known; give a CSV of targets, or the dataset")
    return predictions


def _combine(stored: Predictions | Sheet, truth: Sheet | Table | None, reading: Reading, *, whole: bool) -> Predictions:
    """Give scores their targets, in the labels that both have."""
    source = stored.source if isinstance(stored, Predictions) else str(stored.path)
    ours = stored.labels if isinstance(stored, Predictions) else tuple(map(str, stored.cells.columns))
    if truth is None:
        theirs, other = ours, source
    elif isinstance(truth, Sheet):
        theirs, other = tuple(map(str, truth.cells.columns)), str(truth.path)
    else:
        theirs, other = truth.labels, truth.source
    common = find_common(ours, theirs, source, other, reading.labels)
    if whole and len(common.theirs) < len(theirs):
        match_labels(common.theirs, theirs, source, other)  # raises
    if isinstance(stored, Sheet):
        predictions = _fill(stored, common.ours)
    else:
        predictions = stored.take_labels([ours.index(label) for label in common.ours])
    unused = _note_unused(source, reading) if not isinstance(stored, Sheet) and not isinstance(truth, Sheet) else []
    predictions = replace(predictions, labels=common.theirs, notes=(*predictions.notes, *common.notes, *unused))
    predictions = _suspect_logits(judge_scores(predictions))
    if truth is None:
        return pool(predictions, reading.unit, reading.pool)
    table = _read_targets(truth, common.theirs) if isinstance(truth, Sheet) else truth.take(common.theirs)
    if reading.unit == "study" and predictions.study is None and table.study is None:
        column = reading.study and reading.study.partition(":")[0]
        what = f"neither it nor {table.source} has a column '{column}' that" if column else "nothing"
        raise DataError(
            f"{source}: {what} says which images belong to one study; name it by --study, as in 'Path:(.*study\\d+)'"
        )
    if _is_by_unit(predictions, table, reading.unit):
        return _join(pool(predictions, reading.unit, reading.pool), table)
    return pool(_join(predictions, table), reading.unit, reading.pool)


def _is_by_unit(predictions: Predictions, table: Table, unit: Unit) -> bool:
    """Whether targets are of studies or patients, named as the predictions': a row each, and none for an image."""
    known = set(table.image.tolist())
    units = predictions.study if unit == "study" else predictions.patient if predictions.patients_known else None
    if unit == "image" or units is None:
        return False
    return bool(known.intersection(units.tolist())) and not known.intersection(predictions.image.tolist())


def _note_unused(source: str, reading: Reading) -> list[str]:
    """What to say of options that name columns, where no table is read."""
    given = {"--image-column": reading.image_column, "--patient": reading.patient, "--study": reading.study}
    return [f"{source} has no columns to name: {name} has no effect on it" for name, value in given.items() if value]


def _fill(sheet: Sheet, labels: tuple[str, ...]) -> Predictions:
    """Make predictions of a table of scores."""
    values, notes = sheet.parse(labels)
    patient = sheet.image if sheet.patient is None else sheet.patient
    unknown = np.full(values.shape, np.nan, dtype=np.float32)
    predictions = Predictions.from_scores(labels, sheet.image, patient, values, unknown)
    known, said = sheet.patient is not None, (*sheet.notes, *notes)
    return replace(predictions, patients_known=known, study=sheet.study, source=str(sheet.path), notes=said)


def _require_regular(path: Path) -> None:
    """Raise `DataError` for a pipe or a device, which may never end; what is not there is found by whoever opens it."""
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is no ordinary file; give a .csv or .npz")


def judge_scores(predictions: Predictions) -> Predictions:
    """Refuse logits and scores that are not finite; clip scores that rounding took beyond 0..1; others only rank."""
    given = predictions.given_scores
    values = predictions.logits if given is None else given
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"{predictions.source}: image '{predictions.image[row]}', label '{predictions.labels[column]}': a "
            f"{'logit' if given is None else 'score'} must be finite, got {values[row, column]:g}; predict it again, "
            "or leave the image out"
        )
    outside = np.argwhere((values < 0) | (values > 1))
    if given is None or predictions.is_rank_only or not len(outside):
        return predictions
    far = np.argwhere((values < -ROUNDING) | (values > 1 + ROUNDING))
    row, column = (far if len(far) else outside)[0]
    first = f"first image '{predictions.image[row]}', label '{predictions.labels[column]}' ({values[row, column]:.9g})"
    if len(far):
        note = (
            f"{predictions.source}: {len(far):,} of {values.size:,} scores {agree(len(far), 'is', 'are')} not in "
            f"0..1, {first}: {ONLY_RANKED}; if "
            "they are logits, store them in an .npz under the name 'logits'"
        )
        return replace(predictions, is_rank_only=True, notes=(*predictions.notes, note))
    note = (
        f"{predictions.source}: {len(outside):,} of {values.size:,} scores {agree(len(outside), 'is', 'are')} "
        f"beyond 0..1 by rounding, at most "
        f"{ROUNDING:g}, {first}; they are taken as 0 and 1"
    )
    return replace(predictions, given_scores=np.clip(values, 0, 1), notes=(*predictions.notes, note))


def _suspect_logits(predictions: Predictions) -> Predictions:
    """The same, with a note where logits look like scores: of a rare finding, logits are far below 0."""
    values = predictions.logits
    if predictions.given_scores is not None or not values.size or not ((values >= 0) & (values <= 1)).all():
        return predictions
    note = (
        f"{predictions.source}: all of its logits are in 0..1, as scores are; if they are scores, store them under the "
        "name 'scores': read as logits they become scores of 0.5 to 0.73, and thresholds and calibration are of those"
    )
    return replace(predictions, notes=(*predictions.notes, note))


# --- targets ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """A number for each of N images and C labels."""

    source: str
    labels: tuple[str, ...]
    image: NDArray[np.str_]
    patient: NDArray[np.str_] | None
    values: NDArray[np.float64]
    """(N, C), NaN where a cell is blank."""
    study: NDArray[np.str_] | None = None
    is_part: bool = False
    """Whether images that it lacks are left out, instead of being an error."""
    notes: tuple[str, ...] = ()

    def take(self, labels: Sequence[str]) -> Table:
        """Take some of the labels, in that order."""
        columns = [self.labels.index(label) for label in labels]
        return replace(self, labels=tuple(labels), values=self.values[:, columns])


def _read_targets(sheet: Sheet, labels: tuple[str, ...]) -> Table:
    values, notes = sheet.parse(labels)
    require_targets(values, labels, sheet.image, str(sheet.path))
    return Table(
        source=str(sheet.path),
        labels=labels,
        image=sheet.image,
        patient=sheet.patient,
        values=values,
        study=sheet.study,
        notes=(*sheet.notes, *notes),
    )


def _describe(data: Data) -> Table:
    image, patient = (data.table[column].to_numpy(dtype=str) for column in ("image", "patient"))
    values = data.targets.astype(np.float64)
    return Table(
        source="the dataset", labels=data.labels, image=image, patient=patient, values=values, study=data.studies
    )


def _join(predictions: Predictions, table: Table) -> Predictions:
    """Give each image its targets, and its patient where the table knows it."""
    predictions = _take_known(predictions, table) if table.is_part else predictions
    rows = _find_rows(predictions, table)
    targets = table.values[rows].astype(np.float32)
    notes = (*predictions.notes, *table.notes, *_note_contradictions(predictions, targets, table.source))
    study = predictions.study if table.study is None else table.study[rows]
    predictions = replace(predictions, targets=targets, study=study, notes=notes)
    if table.patient is None:
        return predictions
    patient = table.patient[rows]
    differ = predictions.patient != patient
    if predictions.patients_known and differ.any():
        first = int(differ.argmax())
        raise DataError(
            f"{predictions.source}: {count(int(differ.sum()), 'image')} "
            f"{agree(int(differ.sum()), 'has', 'have')} another patient than in "
            f"{table.source}, first "
            f"'{predictions.image[first]}' ({predictions.patient[first]}, there {patient[first]})"
            f"{hint_alike(predictions.patient[differ], patient[differ])}; fix or leave out its patients"
        )
    return replace(predictions, patient=patient, patients_known=True)


def _take_known(predictions: Predictions, table: Table) -> Predictions:
    """Take the images that a table of a part knows, with a note on how many are left out."""
    known = np.isin(predictions.image, table.image)
    if known.all() or not known.any():
        return predictions
    note = (
        f"{predictions.source}: {(~known).sum():,} of {len(known):,} images "
        f"{agree(int((~known).sum()), 'is', 'are')} left out: {table.source} is not known"
    )
    return replace(predictions.select(np.flatnonzero(known)), notes=(*predictions.notes, note))


def _note_contradictions(predictions: Predictions, targets: NDArray[np.float32], source: str) -> list[str]:
    """What to say where a file's own targets, known ones, are others than those that are used."""
    own = predictions.targets
    wrong = np.argwhere((own != targets) & ~np.isnan(own) & ~np.isnan(targets))
    if not len(wrong):
        return []
    row, column = wrong[0]
    note = (
        f"{predictions.source}: {len(wrong):,} of its own targets "
        f"{agree(len(wrong), 'contradicts', 'contradict')} those of {source}, which are used; first "
        f"image '{predictions.image[row]}', label '{predictions.labels[column]}' ({own[row, column]:g}, there "
        f"{targets[row, column]:g})"
    )
    return [note]


def _hint_folders(images: Sequence[str], table: Table) -> str:
    """The end of a message about images that targets lack; empty where the targets are not of their folders."""
    if not {image.rpartition("/")[0] for image in images}.issubset(table.image.tolist()):
        return ""
    return ": targets are of folders of images, so score studies with --unit study --study 'COLUMN:(.*)/'"


def _find_rows(predictions: Predictions, table: Table) -> NDArray[np.intp]:
    """The row (N,) of each image in a table that may hold more."""
    places = {name: row for row, name in enumerate(table.image.tolist())}
    rows = [places.get(name, -1) for name in predictions.image.tolist()]
    absent = [str(name) for name, row in zip(predictions.image, rows, strict=True) if row < 0]
    if absent:
        raise DataError(
            f"{predictions.source}: {len(absent):,} of {len(rows):,} images {agree(len(absent), 'is', 'are')} "
            f"not in {table.source}, first "
            f"{', '.join(absent[:MOST_NAMED])}{hint_alike(absent, table.image)}; images there are named like "
            f"'{table.image[0]}'{_hint_folders(absent, table)}"
        )
    return np.array(rows, dtype=np.intp)
