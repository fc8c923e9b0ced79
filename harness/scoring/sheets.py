"""Tables of scores or targets as others publish them: which column names the image, the patient, a label."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import DataError, suggest
from harness.evaluation.predictions import note_gaps, require_unique
from harness.identifiers import IdSource, find_usual, parse_id_source, simplify, use_slashes
from harness.tables import TextTable, read_table
from harness.text import agree, count
from harness.units import Pooling, Unit

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

ENDINGS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
PREFIX = re.compile(r"^(?:probability|probabilities|prob|predicted|prediction|pred|score|scores|p)[_ .]", re.IGNORECASE)
"""What may stand before a label in the name of a column of scores."""
CALIBRATED, DECISION = "calibrated", "decision"
"""What stands after a label in the names of columns that `harness predict` writes beside its probability."""
PROBLEM = "problem"
"""The column in which `harness predict` says why an image has no scores."""
LIKELY = 0.85
"""How much alike (by difflib) two names are of which one is probably misspelled; two findings are less alike."""
MOST_LISTED = 20
"""Labels that a note lists."""
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How tables are to be read where they do not say it themselves."""

    image_column: str | None = None
    """The column that names the image."""
    patient: str | None = None
    """The column that names the patient, or `COLUMN:REGEX`, whose first group does."""
    labels: tuple[str, ...] = ()
    """The labels that are wanted; without any, those that scores and targets both have."""
    study: str | None = None
    """The column that names the study, or `COLUMN:REGEX`, whose first group does; None for a column `study`."""
    unit: Unit = "image"
    """What is scored."""
    pool: Pooling = "mean"
    """How the scores of a unit's images become one."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Sheet:
    """A table whose columns of images and patients are known, and whose numbers are not read yet."""

    path: Path
    image: NDArray[np.str_]
    patient: NDArray[np.str_] | None
    study: NDArray[np.str_] | None
    cells: pd.DataFrame
    """Texts, a column for each possible label."""
    notes: tuple[str, ...]
    """What was found rather than named, in sentences."""

    def parse(self, labels: Sequence[str]) -> tuple[NDArray[np.float64], list[str]]:
        """Read the numbers (N, C) of some labels, exactly as written, NaN for a blank cell; and what to say of them.

        Raises `DataError` for a text, naming its place.
        """
        values, commas = np.empty((len(self.image), len(labels))), []
        for column, label in enumerate(labels):
            for row, text in enumerate(self.cells[label].tolist()):
                try:
                    values[row, column] = float(text or "nan")
                except ValueError:
                    values[row, column] = self._parse_comma(text, row, label)
                    commas.append(text)
        if not commas:
            return values, []
        read_as = f"first '{commas[0]}', read as {commas[0].replace(',', '.')}"
        have = agree(len(commas), "has", "have")
        return values, [f"{self.path}: {len(commas):,} of {values.size:,} numbers {have} a decimal comma, {read_as}"]

    def _parse_comma(self, text: str, row: int, label: str) -> float:
        if DECIMAL_COMMA.fullmatch(text):
            return float(text.replace(",", "."))
        raise DataError(
            f"{self.path}: image '{self.image[row]}', label '{label}': '{text}' is no number; if this "
            "column is no label, name those that are by --labels"
        )


def read_sheet(path: Path, what: str, reading: Reading) -> Sheet:
    """Read a table of scores or targets.

    Raises `DataError` where it is none, or does not say which image a row is of.
    """
    if not path.name.lower().endswith(ENDINGS):
        raise DataError(f"{path}: {what} come from a .csv" + (" or .npz" if what == "scores" else ""))
    if not path.exists():
        raise DataError(f"there are no {what} in {path}: no such file")
    table = read_table(path)
    header = [str(name) for name in table.columns.columns]
    require_unique(np.array([name for name in header if name]), "column", str(path))
    notes = list(table.notes)
    if not all(header):
        notes.append(f"{path}: a column without a name is left out")
    beside = {f"{label} {made}" for label in header for made in (CALIBRATED, DECISION)} & set(header)
    image = _find_image(header, reading, path)
    patient = IdSource(image) if _names_units(image, "patient", reading) else None
    patient = patient or _find_patient(header, reading.patient, image, path)
    if image != (reading.image_column or "image") and not _names_units(image, reading.unit, reading):
        there = "" if reading.image_column is None else f"there is no column '{reading.image_column}', "
        notes.append(f"{path}: {there}images are named by its column '{image}'")
    if patient is None and reading.patient is not None:
        notes.append(f"{path}: there is no column '{reading.patient.partition(':')[0]}' to take patients from")
    elif patient is not None and patient.column != "patient" and reading.patient is None:
        notes.append(f"{path}: patients are named by its column '{patient.column}'")
    study = _find_study(header, reading.study)
    if beside and PROBLEM in header:
        table, said = _leave_out_gaps(table, image, path)
        beside, notes = {*beside, PROBLEM}, [*notes, *said]
    cells = table.columns
    images = [use_slashes(text) for text in cells[image].tolist()]
    patients = None if patient is None else patient.find(cells[patient.column].tolist())
    studies = None if study is None else study.find([use_slashes(text) for text in cells[study.column].tolist()])
    _require_filled(images, "image", image, table.lines, path)
    if patients is not None and patient is not None:
        _require_filled(patients, "patient", patient.column, table.lines, path)
    if studies is not None and study is not None:
        _require_filled(studies, "study", study.column, table.lines, path)
    require_unique(np.array(images), "image", str(path))
    whole = {source.column for source in (patient, study) if source is not None and source.pattern is None}
    taken = {image, "", "patient", *whole, *beside}
    return Sheet(
        path=path,
        image=np.array(images),
        patient=None if patients is None else np.array(patients),
        study=None if studies is None else np.array(studies),
        cells=cells[[name for name in header if name not in taken]],
        notes=tuple(notes),
    )


def _leave_out_gaps(table: TextTable, image: str, path: Path) -> tuple[TextTable, tuple[str, ...]]:
    """A table of `harness predict` without the images that could not be predicted, and a note on them."""
    problems = table.columns[PROBLEM].tolist()
    gaps = [row for row, text in enumerate(problems) if text]
    kept = [row for row, text in enumerate(problems) if not text]
    if not gaps:
        return table, ()
    if not kept:
        raise DataError(f"{path}: none of its images could be predicted, first: {problems[0]}")
    names, lines = table.columns[image].iloc[gaps].tolist(), [table.lines[row] for row in kept]
    left = TextTable(table.columns.iloc[kept].reset_index(drop=True), lines)
    return left, note_gaps(path, names, [problems[row] for row in gaps])


def _names_units(column: str, unit: Unit, reading: Reading) -> bool:
    """Whether a column names studies or patients, which are scored."""
    if unit != reading.unit or unit == "image":
        return False
    return simplify(column).startswith(unit) or (unit == "patient" and bool(find_usual("patient", [column])))


def _require_filled(texts: Sequence[str], kind: str, column: str, lines: Sequence[int], path: Path) -> None:
    """Refuse rows without an image or a patient."""
    rows = [row for row, text in enumerate(texts) if not text]
    if rows:
        option = "--image-column" if kind == "image" else f"--{kind}"
        raise DataError(
            f"{path}: {count(len(rows), 'row')} {agree(len(rows), 'has', 'have')} no {kind} in the column "
            f"'{column}', first line {lines[rows[0]]}; fill it "
            f"in, or name another by {option}"
        )


def _find_image(header: Sequence[str], reading: Reading, path: Path) -> str:
    """Find the column that names the image: the one that is asked for, `image`, or the only one called as usual.

    Where patients are scored and nothing names images, a row is of a patient.
    """
    asked = reading.image_column
    if asked in header:
        return str(asked)
    if "image" in header:
        return "image"
    usual = find_usual("image", header)
    usual = [name for name in usual if name != "study"] or usual
    if not usual and reading.unit == "patient":
        usual = ["patient"] if "patient" in header else find_usual("patient", header)
    if len(usual) == 1:
        return usual[0]
    several = f"several columns that may name the image ({', '.join(usual)})"
    missing = f"no column that names the image, such as 'image' (it has {', '.join(header)})"
    raise DataError(f"{path} has {several if usual else missing}; name it by --image-column")


def _find_patient(header: Sequence[str], asked: str | None, image: str, path: Path) -> IdSource | None:
    """Find what names the patient: what is asked for, `patient`, or the only column called as usual."""
    if asked is not None and (asked in header or asked.partition(":")[0] in header):
        return parse_id_source(asked, header, "--patient")
    if "patient" in header:
        return IdSource("patient")
    usual = [name for name in find_usual("patient", header) if name != image]
    if len(usual) > 1:
        raise DataError(
            f"{path} has several columns that may name the patient ({', '.join(usual)}); name it by --patient"
        )
    return IdSource(usual[0]) if usual else None


def _find_study(header: Sequence[str], asked: str | None) -> IdSource | None:
    """Find what names the study: what is asked for where it is there, else a column `study`."""
    if asked is not None and (asked in header or asked.partition(":")[0] in header):
        return parse_id_source(asked, header, "--study")
    return IdSource("study") if "study" in header else None


# --- labels that two sources have ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CommonLabels:
    """The labels of scores that targets have too."""

    ours: tuple[str, ...]
    """What the scores call them, in the targets' order."""
    theirs: tuple[str, ...]
    """What the targets call them."""
    notes: tuple[str, ...]
    """What is left out, and what is called otherwise, in sentences."""


def find_common(
    ours: Sequence[str], theirs: Sequence[str], source: str, other: str, wanted: Collection[str] = ()
) -> CommonLabels:
    """Find the labels that scores (`ours`) and targets both have, of those that are wanted.

    Names are the same without case, signs and a word such as `prob_` before them, if only one name on each side is so.
    Raises `DataError` where none is common, where a wanted one is missing, and for a label that is probably a
    misspelling of a missing one.
    """
    found = pair_names(ours, theirs)
    for label in wanted:
        if label not in found:
            where = other if label in ours else source
            raise DataError(f"--labels: {where} has no label '{label}'{suggest(label, found)}")
    extra = [name for name in ours if name not in found.values()]
    missing = [name for name in theirs if name not in found]
    for name in [] if wanted else extra:
        near = difflib.get_close_matches(name, missing if found else theirs, n=1, cutoff=LIKELY)
        if near or not found:
            known = suggest(name, near or theirs)
            raise DataError(f"{source}: label '{name}' is not in {other}{known}; rename it, or name labels by --labels")
    if not found:
        raise DataError(f"{source} has no column with scores of a label of {other} ({', '.join(theirs)}); name them so")
    kept = {name: our for name, our in found.items() if not wanted or name in wanted}
    renamed = [(name, our) for name, our in kept.items() if our != name]
    notes = [f"{source}: what {other} calls '{name}' is called '{our}' there, and so on" for name, our in renamed[:1]]
    if not wanted:
        notes += [f"{source}: left out is what {other} has no targets for: {_list(extra)}"] if extra else []
        notes += [f"{other}: left out is what {source} has no scores for: {_list(missing)}"] if missing else []
    return CommonLabels(tuple(kept.values()), tuple(kept), tuple(notes))


def pair_names(ours: Sequence[str], theirs: Sequence[str]) -> dict[str, str]:
    """Pair each of their names with ours: the same name, else the only one that is left and alike."""
    same = {name for name in theirs if name in ours}
    plain: dict[str, tuple[list[str], list[str]]] = {}
    for side, names in enumerate((ours, theirs)):
        for name in names:
            if name not in same and _bare(name):
                plain.setdefault(_bare(name), ([], []))[side].append(name)
    alike = {their[0]: our[0] for our, their in plain.values() if len(our) == len(their) == 1}
    return {name: name if name in same else alike[name] for name in theirs if name in same or name in alike}


def _bare(name: str) -> str:
    return simplify(PREFIX.sub("", name.strip()))


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_LISTED:,} more" if len(names) > MOST_LISTED else ""
    return f"{', '.join(names[:MOST_LISTED])}{more} (--labels names what is wanted)"
