"""Readers' decisions from tables: a file for each reader, with a row for each image, study or patient."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import DataError, UsageError
from harness.evaluation.panel import Panel, find_majority
from harness.evaluation.predictions import Predictions
from harness.identifiers import hint_alike
from harness.panels import PanelFiles, make_files, require_files
from harness.scoring.prediction_files import DEFAULT, Table
from harness.scoring.sheets import LIKELY, Reading, Sheet, pair_names, read_sheet
from harness.text import agree
from harness.units import CALLED, Unit, count_units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.board import Board

PART_OF_TRUTH = (
    "each reader has a say in the majority that they are held against, so readers look better than they are; --truth "
    "leave-one-out holds them against the others alone"
)
MOST_NAMED = 5
"""Labels or rows that a note names."""


@dataclass(frozen=True, eq=False)
class ReaderFiles:
    """The files of M readers, by name."""

    sheets: Mapping[str, Sheet]
    files: PanelFiles

    def find_majority(self, reading: Reading) -> Table:
        """What most readers say of whatever any of them decided on, as targets; ties are unknown.

        Raises `DataError` for a file that holds no decisions, or where readers have no label in common.
        """
        labels = self._unite_labels()
        labels = tuple(label for label in labels if label in reading.labels) if reading.labels else labels
        image = np.unique(np.concatenate([sheet.image for sheet in self.sheets.values()]))
        decisions = np.stack([_arrange(name, sheet, labels, image)[0] for name, sheet in self.sheets.items()])
        majority = find_majority(decisions)
        decided = ~np.isnan(decisions)
        ties = int((np.isnan(majority) & decided.any(axis=0)).sum())
        told = f"the majority of {len(self.sheets)} readers"
        all_decisions = int(decided.any(axis=0).sum())
        notes = (
            (f"{told}: {ties:,} of {all_decisions:,} decisions {agree(ties, 'is', 'are')} tied and left out",)
            if ties
            else ()
        )
        known = {
            kind: _gather(image, [(sheet.image, getattr(sheet, kind)) for sheet in self.sheets.values()])
            for kind in ("patient", "study")
        }
        return Table(
            source=told,
            labels=labels,
            image=image,
            values=majority.astype(np.float64),
            notes=notes,
            is_part=True,
            **known,
        )

    def _unite_labels(self) -> tuple[str, ...]:
        """The labels of all readers, as the first who has one writes it."""
        labels: list[str] = []
        for sheet in self.sheets.values():
            columns = [str(name) for name in sheet.cells.columns]
            known = set(pair_names(columns, labels).values())
            labels += [name for name in columns if name not in known]
        return tuple(labels)

    def require_read(self, names: NDArray[np.str_], unit: Unit) -> None:
        """Raise `DataError` for a reader of none of these images, studies or patients."""
        for name, sheet in self.sheets.items():
            if not np.isin(sheet.image, names).any():
                raise DataError(
                    f"{sheet.path}: reader '{name}' read none of the test's {count_units(unit, len(names))}, which "
                    f"are named like '{names[0]}'; first row there '{sheet.image[0]}'"
                    f"{hint_alike(sheet.image.tolist(), names.tolist())}"
                )

    def make_panel(self, test: Predictions) -> Panel:
        """The decisions on the units of these predictions, whose labels and order they take.

        Rows of other units are left out with a note, as are labels that a reader does not have. Raises `DataError` for
        a reader who decided on none of them.
        """
        notes, decisions = ([PART_OF_TRUTH] if self.files.truth == "majority" else []), []
        for name, sheet in self.sheets.items():
            made, told = _arrange(name, sheet, test.labels, test.image)
            if np.isnan(made).all():
                unit = CALLED[test.unit][0]
                raise DataError(
                    f"{sheet.path}: reader '{name}' decided on nothing that {test.source} scores; give a row for each "
                    f"{unit}, such as '{test.image[0]}'; first row there '{sheet.image[0]}'"
                    f"{hint_alike(sheet.image.tolist(), test.image.tolist())}"
                )
            decisions.append(made)
            notes += [*sheet.notes, *told, *_note_part(name, sheet, made, test)]
        return Panel(
            names=tuple(self.sheets),
            labels=test.labels,
            decisions=np.stack(decisions),
            truth=self.files.truth,
            digests=self.files.digests,
            notes=tuple(notes),
        )


def read_readers(files: PanelFiles, reading: Reading = DEFAULT) -> ReaderFiles:
    """Read the files of readers.

    Raises `UsageError` for one that is not there, `DataError` for one that is no table of decisions.
    """
    require_files(files)
    reading = reading if files.column is None else replace(reading, image_column=files.column)
    return ReaderFiles({name: read_sheet(path, "decisions", reading) for name, path in files.files.items()}, files)


def read_board_readers(board: Board) -> ReaderFiles | None:
    """Read the readers of a board; None where it has none.

    Raises `UsageError` or `DataError` for what cannot be read.
    """
    return None if board.panel is None else read_readers(board.panel, Reading(unit=board.unit))


def parse_readers(assignments: Sequence[str]) -> dict[str, Path]:
    """`["NAME=FILE", ...]` as files by reader.

    Raises `UsageError` for another form, or a name given twice.
    """
    pairs: list[tuple[str, Path]] = []
    for assignment in assignments:
        name, equals, path = (part.strip() for part in assignment.partition("="))
        if not equals or not name or not path:
            raise UsageError(f"--reader {assignment}: write --reader NAME=FILE, as in --reader 'Dr. A=a.csv'")
        pairs.append((name, Path(path)))
    return make_files(pairs, "--reader")


def _arrange(
    name: str, sheet: Sheet, labels: tuple[str, ...], image: NDArray[np.str_]
) -> tuple[NDArray[np.float32], list[str]]:
    """Decisions (N, C) on these units and labels, NaN where there is none, and what has to be said about them."""
    found = pair_names([str(column) for column in sheet.cells.columns], labels)
    if not found:
        raise DataError(
            f"{sheet.path}: reader '{name}' has no column of any label ({_name_some(labels)}); name its columns so"
        )
    values, notes = sheet.parse(tuple(found.values()))
    wrong = np.argwhere(~(np.isnan(values) | (values == 0) | (values == 1)))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"{sheet.path}: a reader's decision is 1, 0 or blank, found {values[row, column]:g} for "
            f"'{sheet.image[row]}', label '{list(found)[column]}'; write scores as decisions"
        )
    places = {one: row for row, one in enumerate(image.tolist())}
    rows = np.array([places.get(one, -1) for one in sheet.image.tolist()])
    decisions = np.full((len(image), len(labels)), np.nan, dtype=np.float32)
    columns = np.array([labels.index(label) for label in found])
    decisions[np.ix_(rows[rows >= 0], columns)] = values[rows >= 0]
    missing = [label for label in labels if label not in found]
    unused = [str(column) for column in sheet.cells.columns if str(column) not in found.values()]
    plain = {label.casefold(): label for label in missing}
    for column in unused:
        near = difflib.get_close_matches(column.casefold(), plain, n=1, cutoff=LIKELY)
        if near:
            raise DataError(
                f"{sheet.path}: reader '{name}' has a column '{column}', which is no label: did you mean "
                f"'{plain[near[0]]}'? "
                "Rename it, or take it out"
            )
    notes = [*notes, *([f"{sheet.path}: left out is what is no label here: {_name_some(unused)}"] if unused else [])]
    if missing:
        notes = [*notes, f"{sheet.path}: reader '{name}' has no column of {_name_some(missing)}"]
    return decisions, notes


def _name_some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


def _note_part(name: str, sheet: Sheet, decisions: NDArray[np.float32], test: Predictions) -> list[str]:
    """What to say where a reader read a part, or more than was scored."""
    read = int((~np.isnan(decisions)).any(axis=1).sum())
    known = int(np.isin(sheet.image, test.image).sum())
    notes = []
    ends = [value for value in (0, 1) if (decisions[~np.isnan(decisions)] == value).all()]
    if ends:
        notes.append(f"{sheet.path}: reader '{name}' decided {ends[0]} on everything")
    if read < len(test.image):
        notes.append(f"{sheet.path}: reader '{name}' decided on {read:,} of {count_units(test.unit, len(test.image))}")
    if known < len(sheet.image):
        others = len(sheet.image) - known
        notes.append(
            f"{sheet.path}: {others:,} of its {len(sheet.image):,} rows {agree(others, 'is', 'are')} of nothing "
            f"that was scored"
        )
    return notes


def _gather(
    image: NDArray[np.str_], parts: Sequence[tuple[NDArray[np.str_], NDArray[np.str_] | None]]
) -> NDArray[np.str_] | None:
    """What files say of each image, such as its patient, where they say it of all; the first of them counts."""
    known: dict[str, str] = {}
    for names, values in parts:
        if values is not None:
            known = dict(zip(names.tolist(), values.tolist(), strict=True)) | known
    return np.array([known[name] for name in image.tolist()]) if known.keys() >= set(image.tolist()) else None
