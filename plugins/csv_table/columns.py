"""Which column says what of an image: by the name that is given, or by what it is usually called."""

from __future__ import annotations

import re
from collections.abc import Collection

from harness import DataError, find_usual, parse_id_source, suggest

from .table import Table, propose

WORD = re.compile(r"(?:^|[/_. -])((?:patient|subject|person|participant|sub|pat|pt)[-_]?)\d+", re.IGNORECASE)
"""What stands before a patient's number in a path, as its first group."""
SHAPES = (r"(?:^|/)(p\d{8})/", r"(?:^|/)(\d+)_\d+\.")
"""Patterns of a patient in paths without such a word: MIMIC's folders, NIH's names of files."""


def find_column(table: Table, kind: str, asked: str, reserved: Collection[str]) -> str | None:
    """Find the column of a kind: the one that is asked for, or the only one called as usual that is not `reserved`.

    An empty name asks for none. Raises `DataError` where it is not there, or several may be meant.
    """
    if asked in table.header or not asked:
        return asked or None
    if asked != kind:
        raise DataError(
            f"{table.path} has no column '{asked}'{suggest(asked, table.header)}; name it by --option {kind}=COLUMN"
        )
    usual = [name for name in find_usual(kind, table.header) if name not in reserved]
    if len(usual) == 1:
        table.said.append(f"the {kind} is read from the column '{usual[0]}'")
        return usual[0]
    if usual:
        none = "" if kind in ("image", "patient") else f", or none of them by --option {kind}="
        raise DataError(
            f"{table.path} has several columns that may name the {kind} ({', '.join(usual)}); name one, as in "
            f"{propose(kind, usual[0])}{none}"
        )
    if kind == "image":
        raise DataError(
            f"{table.path} has no column 'image' ({table.list_columns()}); name the column of the images' paths by "
            "--option image=COLUMN"
        )
    return None


# --- patients --------------------------------------------------------------------------------------------------------


def find_patients(table: Table, asked: str, image: str, reserved: Collection[str]) -> tuple[str, list[str]]:
    """Find the column that patients stand in, empty where a part of its cells names them; and each row's patient.

    Raises `DataError` where nothing names the patients, proposing what fits the images' paths.
    """
    named = asked in table.header or asked.partition(":")[0] in table.header
    column = asked if named else find_column(table, "patient", asked, {*reserved, image})
    if not column:
        raise DataError(
            f"{table.path} has no column '{asked or 'patient'}' that names the patient ({table.list_columns()}); "
            f"{_propose_patients(table, image)}"
        )
    source = parse_id_source(column, table.header, "patient")
    patients = source.find(table.cells[source.column].tolist())
    if "" in patients:
        row = patients.index("")
        what = "blank" if source.pattern is None else f"'{source.pattern.pattern}' finds no patient in it"
        cell = table.cells[source.column].iloc[row]
        shown = f" ('{cell}')" if cell else ""
        raise DataError(f"{table.locate(row, source.column)}: {what}{shown}, but every image needs a patient")
    return (source.column if source.pattern is None else ""), patients


def _propose_patients(table: Table, image: str) -> str:
    """Return the options that would say who the patients are, for a message."""
    paths = table.cells[image].tolist()
    alone = f"{propose('patient', image)} if every image is of another patient (intervals are then over images)"
    found = _find_pattern(paths)
    if found is None:
        return f"name it by --option patient=COLUMN, or give {alone}"
    pattern, patients = found
    return (
        f"the images' paths seem to name patients: give {propose('patient', f'{image}:{pattern}')}, which finds "
        f"{len(set(patients)):,} patients of {len(paths):,} images, the first '{patients[0]}'; or name a column by "
        f"--option patient=COLUMN"
    )


def _find_pattern(paths: list[str]) -> tuple[str, list[str]] | None:
    """Find a pattern whose first group is in every path and tells some of them apart; with what it finds."""
    word = WORD.search(paths[0])
    for pattern in [*([rf"({word[1]}\d+)"] if word else []), *SHAPES]:
        found = [match[1] if (match := re.search(pattern, path)) else "" for path in paths]
        if all(found) and len(set(found)) > 1:
            return pattern, found
    return None


# --- studies ---------------------------------------------------------------------------------------------------------


def reserve_study(table: Table, asked: str | None) -> set[str]:
    """Find the column that names studies and no images: the one that is asked for, or `study` beside one of images."""
    if asked is not None:
        return {asked}
    return {"study"} if any(name != "study" for name in find_usual("image", table.header)) else set()


def find_studies(table: Table, asked: str | None, image: str, patients: list[str]) -> tuple[str, list[str]] | None:
    r"""Find the column that studies stand in, empty where a part of its cells names them; and each row's study.

    None where nothing is asked for and no column `study` is there, beside that of the images. Raises `DataError` for an
    image without a study, and for a study of several patients.
    """
    column = "study" if asked is None and image != "study" and "study" in table.header else asked
    if not column:
        return None
    source = parse_id_source(column, table.header, "study")
    studies = source.find([text.replace("\\", "/") for text in table.cells[source.column].tolist()])
    if "" in studies:
        row = studies.index("")
        what = "blank" if source.pattern is None else f"'{source.pattern.pattern}' finds no study in it"
        way_out = "; or ask for no studies by --option study=" if asked is None else ""
        raise DataError(f"{table.locate(row, source.column)}: {what}, but every image needs a study{way_out}")
    whose: dict[str, str] = {}
    for row, (study, patient) in enumerate(zip(studies, patients, strict=True)):
        if whose.setdefault(study, patient) != patient:
            raise DataError(
                f"{table.locate(row, source.column)}: the study '{study}' is one of the patients '{whose[study]}' and "
                f"'{patient}'; let its name hold the patient, as in {propose('study', f'{image}:(.*)/')}"
            )
    return (source.column if source.pattern is None else ""), studies
