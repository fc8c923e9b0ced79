"""Predictions made anywhere: an .npz or a CSV of scores, with targets in it, in a second file or in a dataset."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.components import Data
from harness.errors import DataError, UsageError
from harness.evaluation.predictions import Predictions, load_predictions, require_targets, require_unique
from harness.identifiers import hint_alike

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_NAMED = 3
"""Images that a message names at most."""


def read_predictions(path: Path, *, targets: Path | None = None, data: Data | None = None) -> Predictions:
    """Read predictions from an .npz, as a run leaves it or with `scores` (N, C) for `logits`, or from a CSV of scores.

    A CSV has the columns `image`, perhaps `patient`, and one for each label. Targets are those of the CSV `targets`
    (`image`, perhaps `patient`, one column for each label: 1, 0 or blank for unknown), else of the dataset `data`, else
    the .npz's own. Rows are matched by image and columns by label, in any order; the targets may be of more images.
    Where nothing says who the patients are, each image is one and the result is not `patients_known`.

    Raises `DataError` for a file that cannot mean one thing: not readable, a number missing or out of range, something
    twice, labels or patients that differ from those of the targets, images without targets. Raises `UsageError` where
    both `targets` and `data` are given.
    """
    if targets is not None and data is not None:
        raise UsageError("targets come from a file or from a dataset: give one of them")
    predictions = _suspect_logits(_read_file(path))
    _require_scores(predictions)
    if targets is not None:
        predictions = _join(predictions, _read_targets(targets))
    elif data is not None:
        predictions = _join(predictions, _describe(data))
    if np.isnan(predictions.targets).all():
        raise DataError(f"{path}: no target of its images is known; give a CSV of targets, or the dataset")
    return predictions


def _read_file(path: Path) -> Predictions:
    _require_regular(path)
    if path.suffix.lower() == ".npz":
        return load_predictions(path)
    table = _read_csv(path, "scores")
    patient = table.image if table.patient is None else table.patient
    unknown = np.full(table.values.shape, np.nan, dtype=np.float32)
    predictions = Predictions.from_scores(table.labels, table.image, patient, table.values, unknown)
    return replace(predictions, patients_known=table.patient is not None, source=table.source)


def _require_regular(path: Path) -> None:
    """Raise `DataError` for a pipe or a device, which may never end; what is not there is found by whoever opens it."""
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is no ordinary file; give a .csv or .npz")


def _require_scores(predictions: Predictions) -> None:
    """Refuse logits that are not finite, and given scores that are not in 0..1."""
    given = predictions.given_scores
    values = predictions.logits if given is None else given
    wrong = np.argwhere(~np.isfinite(values) if given is None else ~((values >= 0) & (values <= 1)))
    if len(wrong):
        row, column = wrong[0]
        rule = "a logit must be finite" if given is None else "a score must be in 0..1 (logits need an .npz)"
        raise DataError(
            f"{predictions.source}: image '{predictions.image[row]}', label '{predictions.labels[column]}': {rule}, "
            f"got {values[row, column]:g}; predict it again, or leave the image out"
        )


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


@dataclass(frozen=True, eq=False)
class Table:
    """A number for each of N images and C labels."""

    source: str
    labels: tuple[str, ...]
    image: NDArray[np.str_]
    patient: NDArray[np.str_] | None
    values: NDArray[np.float64]
    """(N, C), NaN where a cell is blank."""


def _read_targets(path: Path) -> Table:
    _require_regular(path)
    table = _read_csv(path, "targets")
    require_targets(table.values, table.labels, table.image, table.source)
    return table


def _describe(data: Data) -> Table:
    image, patient = (data.table[column].to_numpy(dtype=str) for column in ("image", "patient"))
    return Table("the dataset", data.labels, image, patient, data.targets.astype(np.float64))


def _join(predictions: Predictions, table: Table) -> Predictions:
    """Give each image its targets, and its patient where the table knows it."""
    predictions = predictions.arrange(table.labels, table.source)
    rows = _find_rows(predictions, table)
    targets = table.values[rows].astype(np.float32)
    notes = (*predictions.notes, *_note_contradictions(predictions, targets, table.source))
    predictions = replace(predictions, targets=targets, notes=notes)
    if table.patient is None:
        return predictions
    patient = table.patient[rows]
    differ = predictions.patient != patient
    if predictions.patients_known and differ.any():
        first = int(differ.argmax())
        raise DataError(
            f"{predictions.source}: {differ.sum():,} images have another patient than in {table.source}, first "
            f"'{predictions.image[first]}' ({predictions.patient[first]}, there {patient[first]})"
            f"{hint_alike(predictions.patient[differ], patient[differ])}; mend or leave out its patients"
        )
    return replace(predictions, patient=patient, patients_known=True)


def _note_contradictions(predictions: Predictions, targets: NDArray[np.float32], source: str) -> list[str]:
    """What to say where a file's own targets, known ones, are others than those that are used."""
    own = predictions.targets
    wrong = np.argwhere((own != targets) & ~np.isnan(own) & ~np.isnan(targets))
    if not len(wrong):
        return []
    row, column = wrong[0]
    note = (
        f"{predictions.source}: {len(wrong):,} of its own targets contradict those of {source}, which are used; first "
        f"image '{predictions.image[row]}', label '{predictions.labels[column]}' ({own[row, column]:g}, there "
        f"{targets[row, column]:g})"
    )
    return [note]


def _find_rows(predictions: Predictions, table: Table) -> NDArray[np.intp]:
    """The row (N,) of each image in a table that may hold more."""
    places = {name: row for row, name in enumerate(table.image.tolist())}
    rows = [places.get(name, -1) for name in predictions.image.tolist()]
    absent = [str(name) for name, row in zip(predictions.image, rows, strict=True) if row < 0]
    if absent:
        raise DataError(
            f"{predictions.source}: {len(absent):,} of {len(rows):,} images are not in {table.source}, first "
            f"{', '.join(absent[:MOST_NAMED])}{hint_alike(absent, table.image)}; images there are named like "
            f"'{table.image[0]}'"
        )
    return np.array(rows, dtype=np.intp)


# --- CSV -------------------------------------------------------------------------------------------------------------


def _read_csv(path: Path, what: str) -> Table:
    """Read a CSV of numbers: `image`, perhaps `patient`, and one column for each label."""
    if path.suffix.lower() != ".csv":
        raise DataError(f"{path}: {what} come from a .csv" + (" or .npz" if what == "scores" else ""))
    header, *rows = _read_rows(path, what)
    require_unique(np.array(header), "column", str(path))
    if "image" not in header:
        raise DataError(
            f"{path} has no column 'image' (it has {', '.join(header)}); it needs image, patient, LABEL, ..."
        )
    columns = [place for place, name in enumerate(header) if name not in ("image", "patient")]
    labels = tuple(header[column] for column in columns)
    if not labels or not all(labels):
        raise DataError(f"{path}: a column without a label's name, or none at all; it needs image, patient, LABEL, ...")
    names = {
        column: np.array([row[header.index(column)] for row in rows])
        for column in ("image", "patient")
        if column in header
    }
    for column, cells in names.items():
        if (cells == "").any():
            raise DataError(f"{path}: {(cells == '').sum():,} rows have no {column}; fill the column '{column}' in")
    require_unique(names["image"], "image", str(path))
    values = _parse_cells([[row[column] for column in columns] for row in rows], labels, names["image"], path)
    return Table(str(path), labels, names["image"], names.get("patient"), values)


def _read_rows(path: Path, what: str) -> list[list[str]]:
    """A header and at least one row of as many cells, without surrounding blanks."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file, strict=True) if any(row)]
    except FileNotFoundError:
        raise DataError(f"there are no {what} in {path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no table of comma-separated values: {error}") from None
    if len(rows) < 2:
        raise DataError(f"{path} is empty: it needs a header and a row an image")
    for row in rows:
        if len(row) != len(rows[0]):
            raise DataError(f"{path}: image '{row[0]}' has {len(row)} cells under {len(rows[0])} columns")
    return rows


def _parse_cells(
    cells: Sequence[Sequence[str]], labels: Sequence[str], image: NDArray[np.str_], path: Path
) -> NDArray[np.float64]:
    """Numbers (N, C), exactly as written; NaN for a blank cell. Refuses text, naming its place."""
    values = np.empty((len(image), len(labels)))
    for row, texts in enumerate(cells):
        for column, text in enumerate(texts):
            try:
                values[row, column] = float(text or "nan")
            except ValueError:
                raise DataError(
                    f"{path}: image '{image[row]}', label '{labels[column]}': '{text}' is no number"
                ) from None
    return values
