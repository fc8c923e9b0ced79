"""Rows of boards as the command line names them, `BOARD::ROW`, with the results that they have."""

from __future__ import annotations

import functools
import importlib.resources
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.board import find_board, read_board
from harness.components import IMAGE_LEVEL
from harness.errors import DataError, UnknownNameError, UsageError
from harness.evaluation.pooling import pool, require_stored_units
from harness.evaluation.predictions import Predictions
from harness.evaluation.resamples import Resamples
from harness.metric_names import full_name
from harness.results.artifacts import read_artifact
from harness.results.ensembles import SHARED_SEEDS, find_outdated
from harness.results.layout import RECORDS, predictions_file, run_path
from harness.results.outside import find_test, view_measured
from harness.results.record import DatasetPart, Record
from harness.results.repetition import tell_again
from harness.results.shadow import gather_pretraining, mark_shadow
from harness.results.staleness import current_fingerprint, why_stale
from harness.results.store import read_records, read_resamples
from harness.scoring.prediction_files import read_predictions
from harness.scoring.sheets import Reading
from harness.units import Pooling, Unit

SEPARATOR = "::"


@dataclass(frozen=True, eq=False)
class MeasuredRow:
    """A row with its records that are done and current, at least one."""

    folder: Path
    name: str
    records: tuple[Record, ...]
    absent: tuple[int, ...]
    """Seeds of the board without one."""
    test: str = ""
    """The key of the outside test that its records are seen from; empty for the board's own test."""

    @property
    def dataset(self) -> DatasetPart:
        """What it was measured on; the same for all of its records."""
        return self.records[0].dataset

    @property
    def is_ensemble(self) -> bool:
        """Whether it is made of other rows' predictions."""
        return self.records[0].ensemble is not None

    @property
    def command(self) -> str:
        """The command that measures the row again."""
        return tell_again(str(self.folder), self.name, self.records)


def find_row(text: str, test: str = "") -> MeasuredRow:
    """What `BOARD::ROW` means; with the key or the name of an outside `test`, the row as that test sees it.

    Raises `HarnessError` for no board, an unknown row or outside test, a row that has no current results or a record
    that is damaged.
    """
    place, _, name = text.rpartition(SEPARATOR)
    location = find_board(place)
    folder = (
        location
        if isinstance(location, Path)
        else Path(str(importlib.resources.files("harness.leaderboards") / location))
    )
    board = read_board(folder)
    results = read_records(folder)
    external = {record.combo.row for record in results.records if record.external is not None}
    row_names = board.row_names | external
    if name not in row_names:
        raise UnknownNameError(f"row of {place}", name, row_names)
    for problem in results.problems:
        if problem.startswith(f"{RECORDS}/{name}--s"):
            raise DataError(f"{place}: {problem}; fix or remove it")
    fingerprint = current_fingerprint(board, [r for r in results.records if r.combo.row in row_names])
    done = [r for r in results.records if r.combo.row == name and r.status == "done"]
    outdated = find_outdated(board, results.records)
    current = tuple(r for r in done if why_stale(board, r, fingerprint) is None and r.combo.name not in outdated)
    if not current:
        raise UsageError(f"{text} has no current result; make one: harness run {shlex.quote(place)}")
    key = find_test(board, test).key if test else ""
    if key:
        current = tuple(view for record in current if (view := view_measured(record, key)) is not None)
        if not current:
            way_out = f"harness run {shlex.quote(place)} measures it without training"
            raise UsageError(f"{text} has no result on the outside test '{test}'; {way_out}")
    wanted = () if name in external else board.seeds
    absent = tuple(seed for seed in wanted if seed not in {record.combo.seed for record in current})
    return MeasuredRow(folder, name, current, absent, key)


def require_same_data(rows: Mapping[str, MeasuredRow]) -> list[str]:
    """Refuse rows of other test images, and say where the two halves of `image_level` were trained on other images.

    Raises `UsageError` for rows of other data.
    """
    (first, one), *others = rows.items()
    for name, other in others:
        if other.dataset.draw != one.dataset.draw:
            raise UsageError(
                f"{first} is measured on {_describe_data(one)}, {name} on {_describe_data(other)}: rows are compared "
                "only within one dataset, split and label file, or on one test by the two halves of image_level"
            )
    if len({row.dataset.fingerprint for row in rows.values()}) == 1:
        return []
    return [
        "the rows have the same test images and were trained on different ones: "
        + "; ".join(f"{name}: {row.dataset.notes.get(IMAGE_LEVEL, '')}" for name, row in rows.items())
    ]


def mark_rows(rows: Mapping[str, MeasuredRow]) -> list[str]:
    """Say of which rows the networks had seen test images before, or may have."""
    parts = {
        name: [part for record in row.records for part in gather_pretraining(record)] for name, row in rows.items()
    }
    return [f"{name}: {mark}" for name, found in parts.items() if (mark := mark_shadow(found))]


def tell_members(rows: Mapping[str, MeasuredRow]) -> list[str]:
    """Say which ensembles are compared with their own members, and what that means for the comparison."""
    members = {
        name: {part.row for record in row.records if record.ensemble for part in record.ensemble.members}
        for name, row in rows.items()
    }
    return [
        f"{name} is an ensemble with {other} among its members; {SHARED_SEEDS}"
        for name in rows
        for other, row in rows.items()
        if other != name and row.folder == rows[name].folder and row.name in members[name]
    ]


def _describe_data(row: MeasuredRow) -> str:
    options = ", ".join(f"{name}={value}" for name, value in row.records[0].combo.options.items())
    details = [part for part in (options, f"fingerprint {row.dataset.fingerprint[:8]}") if part]
    return f"{row.dataset.name} ({', '.join(details)})"


def find_scored(rows: Mapping[str, MeasuredRow]) -> tuple[Unit, Pooling | None]:
    """What the records of all rows are scored over; for images, nothing is pooled.

    Raises `UsageError` where that is not the same.
    """
    (first, one), *_ = rows.items()
    for name, row in rows.items():
        for record in row.records:
            if record.scored != one.records[0].scored:
                raise UsageError(
                    f"{first} is scored over {one.records[0].scored}, {name} over {record.scored}: say by --unit what "
                    "is compared, and their stored predictions are pooled alike"
                )
    pooled = one.records[0].pooled
    return ("image", None) if pooled is None else (pooled.unit, pooled.pool)


def are_scored(rows: Mapping[str, MeasuredRow], unit: Unit, how: Pooling) -> bool:
    """Whether all records of the rows are scored over that, so that they can be compared by them."""
    return all((record.unit, record.pool) == (unit, how) for row in rows.values() for record in row.records)


def have_validation(rows: Mapping[str, MeasuredRow]) -> bool:
    """Whether all rows came with predictions of validation."""
    return not any(record.is_without_validation for row in rows.values() for record in row.records)


def read_row_resamples(name: str, row: MeasuredRow) -> list[Resamples]:
    """Read what lies beside a row's records. Raises `DataError` where there is nothing, or not what the record says."""
    row_resamples = []
    for record in row.records:
        resamples = read_resamples(row.folder, record, row.test)
        if resamples is None:
            raise DataError(
                f"{name}, seed {record.combo.seed}: the resamples of its record are not beside it; make them: "
                f"harness rescore {shlex.quote(str(row.folder))}, or {row.command}"
            )
        row_resamples.append(resamples)
    return row_resamples


def resolve_recorded(names: Sequence[str], rows: Mapping[str, MeasuredRow]) -> dict[str, bool]:
    """Full names of metrics that all records hold, with whether higher is better; `f1` means `f1@val-f1`.

    Raises `UnknownNameError` for any other.
    """
    records = [record for row in rows.values() for record in row.records]
    directions = {name: part.higher_is_better for name, part in records[0].metrics.items()}
    shared_metrics = {name for name in directions if all(name in record.metrics for record in records)}
    resolved = dict.fromkeys(full_name(name, shared_metrics) for name in names)
    for name in resolved:
        if name not in shared_metrics:
            raise UnknownNameError("metric of these records", name, shared_metrics)
    return {name: directions[name] for name in resolved}


def read_row_predictions(
    name: str, row: MeasuredRow, wish: Reading, split: Literal["test", "val"] = "test"
) -> list[Predictions]:
    """Read the predictions of a row's seeds: the labels that are wanted, pooled as is wished.

    Raises `DataError` where these are lost, not what the record says, or do not say which images form a unit.
    """
    file, read = predictions_file(split), functools.partial(read_predictions, reading=Reading(labels=wish.labels))
    predictions = []
    for record in row.records:
        path = run_path(row.folder, record.key) / file
        stored = read_artifact(path, record.artifacts.get(file), read)
        if stored is None:
            raise DataError(
                f"{name}, seed {record.combo.seed}: its predictions are not in {path} (they are not committed with a "
                f"board); make them: {row.command}"
            )
        try:
            require_stored_units(stored, wish.unit)
        except DataError as error:
            raise DataError(f"{name}, seed {record.combo.seed}: {error}") from None
        predictions.append(pool(stored, wish.unit, wish.pool))
    return predictions
