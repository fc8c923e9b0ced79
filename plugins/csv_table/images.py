"""What a table says of each image beside its labels: patient, split, age, sex, view and further groups."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import DataError

from .columns import find_column, find_patients, find_studies, reserve_study
from .splits import read_splits
from .table import Table

if TYPE_CHECKING:
    import pandas as pd

AGE = re.compile(r"0*(\d+(?:\.\d*)?)\s*(y|m|w|d|years?)?", re.IGNORECASE)
YEARS = {"m": 12.0, "w": 52.18, "d": 365.25}
"""How many of a unit make a year."""


@dataclass(frozen=True, eq=False)
class Images:
    """What is known of the images."""

    table: pd.DataFrame
    """A row for each row of the file: `image`, `patient`, and where known `study`, `split`, `age`, `sex`, `view` and
    further groups."""
    columns: dict[str, str]
    """What a column of the file says -> its name; `patient` and `study` only where their whole cells do."""
    patients_known: bool
    """Whether the patient is another than the image."""


def describe_images(
    table: Table, asked: Mapping[str, str], study: str | None, groups: Sequence[str], others: set[str]
) -> Images:
    """Find out what the table says of each image; `asked` names a column for each kind, empty for none.

    Columns of `others`, such as labels that are named, describe no image unless they are asked for. Raises `DataError`
    for a column that is not there, and for an image without a path or a patient.
    """
    import pandas as pd

    reserved = others | {name for kind, name in asked.items() if name != kind} | set(groups)
    columns: dict[str, str] = {}
    reserved |= reserve_study(table, study)
    # the patient may be named by the image's own column
    image = columns["image"] = find_column(table, "image", asked["image"], reserved - {asked["patient"]}) or ""
    patient, patients = find_patients(table, asked["patient"], image, reserved)
    if patient:
        columns["patient"] = patient
    studies = find_studies(table, study, image, patients)
    if studies is not None and studies[0]:
        columns["study"] = studies[0]
    for kind in ("split", "age", "sex", "view"):
        name = find_column(table, kind, asked[kind], reserved | {image, patient})
        if name:
            columns[kind] = name
    absent = [name for name in groups if name not in table.header]
    if absent:
        raise DataError(
            f"{table.path} has no column '{absent[0]}' to make subgroups by ({table.list_columns()}); name one that "
            "is there by --option subgroups=NAME,NAME"
        )
    columns |= {name: name for name in groups}
    paths = table.cells[image].str.replace("\\", "/")  # as Windows writes paths
    if (paths == "").any():
        row = int((paths == "").to_numpy().argmax())
        raise DataError(f"{table.locate(row, image)}: blank, but every image needs a path")
    known = {kind: table.cells[name].where(table.cells[name] != "") for kind, name in columns.items()}
    known |= {"image": paths, "patient": pd.Series(patients, index=paths.index)}
    if studies is not None:
        known["study"] = pd.Series(studies[1], index=paths.index)
    if "split" in columns:
        known["split"] = read_splits(table, columns["split"])
    if "age" in columns:
        known["age"] = parse_ages(table, columns["age"])
    if "sex" in columns:
        known["sex"] = parse_sexes(table, columns["sex"])
    order = ("image", "split", "patient", "study", "age", "sex", "view", *groups)
    is_known = patient != image
    if not is_known:
        known["patient"] = paths
    return Images(pd.DataFrame({kind: known[kind] for kind in order if kind in known}), columns, is_known)


def parse_ages(table: Table, column: str) -> pd.Series:
    """Parse ages in years: `58`, `058Y`, `6 months` as `006M`; what is none is unknown, and said."""
    cells = table.cells[column]
    matches = {text: AGE.fullmatch(text) for text in cells.unique()}
    ages = {
        text: float(match[1]) / YEARS.get((match[2] or "y")[0].lower(), 1.0) for text, match in matches.items() if match
    }
    return _known(table, column, cells.map(lambda text: ages.get(text, float("nan"))).astype(float), "an age")


def parse_sexes(table: Table, column: str) -> pd.Series:
    """Parse M or F from a word that begins so; what is none is unknown, and said."""
    letters = table.cells[column].str[:1].str.upper()
    return _known(table, column, letters.where(letters.isin(("M", "F"))), "a sex (M or F)")


def _known(table: Table, column: str, values: pd.Series, what: str) -> pd.Series:
    """Return the values, saying how many texts are none."""
    cells = table.cells[column]
    wrong = values.isna() & (cells != "")
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        first = f"'{cells.iloc[row]}' in {table.unit} {table.lines[row]}"
        table.said.append(f"column '{column}': {int(wrong.sum()):,} cells are not {what}, first {first}")
    return values
