"""Records in a board's folder."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from harness.board import BOARD_FILE, combo_name
from harness.errors import DataError, StorageError, UsageError
from harness.evaluation.resamples import MOST_BYTES, Resamples, load_curves, load_groups, load_readers, load_values
from harness.files import TEMPORARY, read_regular, sweep, write_atomically
from harness.results.artifacts import discard, find_place, read_small, settle, stage
from harness.results.layout import (
    ASIDE,
    RECORDS,
    RESAMPLES,
    RUN_FILES,
    RUNS,
    find_outside,
    is_outside_file,
    outside_file,
    record_path,
    resamples_path,
    run_path,
)
from harness.results.migration import parse_record
from harness.results.outside import view_all
from harness.results.record import DatasetPart, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST = 16 * 2**20
"""Bytes of a record at most; one of fifty labels and metrics has a tenth of that."""


@dataclass(frozen=True)
class Found:
    """What a board's `records/` holds."""

    records: tuple[Record, ...]
    """The records that could be read, in the order of row and seed."""
    problems: tuple[str, ...]
    """One line for each file that could not be read."""


def write_record(
    folder: Path, record: Record, resamples: Resamples | None = None, outside: Mapping[str, Resamples] | None = None
) -> Record:
    """Write a record to its place in a board's folder, whole or not at all, with its resamples beside it.

    `outside` has those of its outside tests by their keys; a test without new ones keeps what its part speaks of.
    Whatever was staged for it takes its place, and what belongs to outside tests that it has no part of goes. Gives the
    record as it was written: with the digests of the resamples.
    """
    own = {name: digest for name, digest in record.artifacts.items() if name != RESAMPLES}
    return _write(folder, record.model_copy(update={"artifacts": own}), resamples, outside or {})


def write_outside(folder: Path, record: Record, outside: Mapping[str, Resamples]) -> Record:
    """Write a record whose parts of outside tests are others, with the resamples of these; all else stays."""
    return _write(folder, record, None, outside)


def _write(folder: Path, record: Record, resamples: Resamples | None, outside: Mapping[str, Resamples]) -> Record:
    name, staged = record.combo.name, {}
    given = outside if resamples is None else {"": resamples, **outside}
    for test, drawn in given.items():
        staged[test] = stage(resamples_path(folder, name, test), drawn.as_bytes())
    written = note_resamples(record, staged)
    try:
        write_atomically(record_path(folder, name), written.model_dump_json(indent=1) + "\n")
    except StorageError:
        for test, digest in staged.items():
            discard(resamples_path(folder, name, test), digest)
        raise
    settle_artifacts(folder, written)
    return written


def note_resamples(record: Record, digests: Mapping[str, str]) -> Record:
    """The record with the digests of resamples, by the key of an outside test; an empty key is its own."""
    outside = {
        test: part.model_copy(update={"artifacts": part.artifacts | {RESAMPLES: digests[test]}})
        if test in digests
        else part
        for test, part in record.outside.items()
    }
    own = record.artifacts | ({RESAMPLES: digests[""]} if "" in digests else {})
    return record.model_copy(update={"artifacts": own, "outside": outside})


def settle_artifacts(folder: Path, record: Record) -> None:
    """Give everything its place that was staged for a record, which has its own, and remove what its outside tests
    have left that it has no part of.
    """
    name, run = record.combo.name, run_path(folder, record.key)
    settle(resamples_path(folder, name), record.artifacts.get(RESAMPLES))
    for file in RUN_FILES:
        if file in record.artifacts:
            settle(run / file, record.artifacts[file])
    for test, part in record.outside.items():
        settle(resamples_path(folder, name, test), part.artifacts.get(RESAMPLES))
        settle(run / outside_file(test), part.artifacts.get(outside_file(test)))
    kept = {resamples_path(folder, name, test) for test in record.outside}
    kept |= {run / outside_file(test) for test in record.outside}
    for path in (*find_outside(folder, name), *(one for one in run.glob("*.npz") if is_outside_file(one.name))):
        if find_place(path) not in kept:
            path.unlink(missing_ok=True)


def remove_record(folder: Path, record: Record) -> None:
    """Remove a record, then what lies beside it."""
    record_path(folder, record.combo.name).unlink(missing_ok=True)
    settle(resamples_path(folder, record.combo.name), None)
    for path in find_outside(folder, record.combo.name):
        path.unlink(missing_ok=True)


def read_resamples(folder: Path, record: Record, test: str = "") -> Resamples | None:
    """What lies beside a record, without curves; None where there is nothing, or not what the record says.

    With the key of an outside `test`, the record is the one seen from it (`view_outside`); so for all that reads here.
    Raises `DataError` for what the record speaks of and is no resamples.
    """
    content = read_beside(folder, record, test)
    try:
        return None if content is None else load_values(content)
    except DataError as error:
        raise DataError(f"{resamples_path(folder, record.combo.name, test)} {error}") from None


def read_curves(folder: Path, record: Record, test: str = "") -> Mapping[str, NDArray[np.float64]]:
    """The curves that lie beside a record; none where there is nothing, or not what the record says."""
    content = read_beside(folder, record, test)
    try:
        return {} if content is None else load_curves(content)
    except DataError:
        return {}


def read_groups(folder: Path, record: Record) -> Resamples | None:
    """What lies beside a record about groups of patients; None where there is nothing, or not what the record says."""
    content = read_beside(folder, record)
    try:
        return None if content is None else load_groups(content)
    except DataError:
        return None


def read_reader_differences(folder: Path, record: Record) -> Mapping[str, NDArray[np.float64]]:
    """A network's resampled differences from readers, which lie beside a record; none where there are none."""
    content = read_beside(folder, record)
    try:
        return {} if content is None else load_readers(content)
    except DataError:
        return {}


def read_beside(folder: Path, record: Record, test: str = "") -> bytes | None:
    """The bytes that lie beside a record; None where there are none, or not what the record says."""
    return read_small(resamples_path(folder, record.combo.name, test), record.artifacts.get(RESAMPLES), MOST_BYTES)


def read_records(folder: Path) -> Found:
    """Read every record of a board; a file that is none is named, not raised, and left where it is.

    Records of an earlier schema are migrated. Raises `DataError` for one of a newer schema.
    """
    records, problems = [], []
    datasets: dict[str, DatasetPart] = {}  # one is enough of what all records repeat
    for path, outcome in _read_all(folder).items():
        if isinstance(outcome, Record):
            same = datasets.setdefault(outcome.dataset.fingerprint, outcome.dataset)
            records.append(outcome.model_copy(update={"dataset": same}) if same == outcome.dataset else outcome)
        else:
            problems.append(f"{RECORDS}/{path.name} {outcome}")
    records.sort(key=lambda record: (record.combo.row, record.combo.seed))
    return Found(tuple(records), tuple(problems))


def _read_all(folder: Path) -> dict[Path, Record | str]:
    """Each file of the records with its record, or with what is wrong with it.

    One fingerprint is one list of labels: that of most records.
    """
    outcomes = {path: _read(path) for path in _record_files(folder)}
    labels: dict[str, Counter[tuple[str, ...]]] = {}
    for one in outcomes.values():
        if isinstance(one, Record):
            labels.setdefault(one.dataset.fingerprint, Counter())[tuple(one.dataset.labels)] += 1
    usual = {fingerprint: counts.most_common(1)[0][0] for fingerprint, counts in labels.items()}
    return {
        path: "contradicts the others: it has other labels and the fingerprint of their data"
        if isinstance(one, Record) and tuple(one.dataset.labels) != usual[one.dataset.fingerprint]
        else one
        for path, one in outcomes.items()
    }


def read_record(folder: Path, row: str, seed: int) -> Record | None:
    """One combo's record; None where there is none, or a file that is none. Raises `DataError` for a newer schema."""
    outcome = _read(record_path(folder, combo_name(row, seed)))
    return outcome if isinstance(outcome, Record) else None


def set_aside(folder: Path) -> tuple[str, ...]:
    """Move files that are no records of the board out of the way of those that will be written, to `records/aside/`.

    The resamples beside such a file go with it. Gives one line for each. Nothing is deleted, and nothing there
    replaced. A record of a newer schema is one all the same: for it `DataError` is raised.
    """
    lines = []
    for path, outcome in _read_all(folder).items():
        if isinstance(outcome, Record):
            continue
        try:
            place = _find_free_place(path)
            path.rename(place)
            beside = resamples_path(folder, path.stem)
            for one in (beside, *find_outside(folder, path.stem)):
                if os.path.lexists(one):
                    one.rename(place.with_name(place.stem + one.name.removeprefix(path.stem)))
        except FileNotFoundError:
            continue  # another process was quicker
        except OSError as error:
            raise StorageError(f"cannot move {path}: {error.strerror}; choose a folder that can be written") from None
        lines.append(f"{RECORDS}/{path.name} {outcome}; it is set aside as {place.relative_to(folder)}")
    return tuple(lines)


def _find_free_place(path: Path) -> Path:
    """A name in `records/aside/` that neither a record nor its resamples have."""
    aside = path.parent / ASIDE
    aside.mkdir(exist_ok=True)
    names = (path.stem if number == 0 else f"{path.stem}.{number}" for number in itertools.count())
    free = next(
        name for name in names if not any(os.path.lexists(aside / f"{name}{end}") for end in (path.suffix, ".npz"))
    )
    return aside / f"{free}{path.suffix}"


def read_aside(folder: Path) -> Found:
    """Read what was set aside: records under another's name, and one line for each file that cannot be read."""
    records, problems = [], []
    for path in sorted((folder / RECORDS / ASIDE).glob("*.json")):
        try:
            records.append(parse_record(read_regular(path, LARGEST)))
        except (DataError, ValidationError, ValueError, OSError):
            problems.append(f"{path.relative_to(folder)} is no record that can be read")
    return Found(tuple(records), tuple(problems))


def _record_files(folder: Path) -> list[Path]:
    paths = (folder / RECORDS).glob("*.json")
    return sorted(path for path in paths if not path.name.startswith((TEMPORARY, ".")))


def _read(path: Path) -> Record | str:
    """A record, or what is wrong with the file. Raises `DataError` for a record of a newer schema."""
    try:
        record = parse_record(read_regular(path, LARGEST))
    except DataError as error:
        raise DataError(f"{path} {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        return f"is no record: {': '.join(filter(None, ('.'.join(map(str, first['loc'])), first['msg'])))}"
    except ValueError as error:
        return f"is no record: {error}"
    except OSError as error:
        return f"is no record: {error.strerror}"
    if path.stem == record.combo.name:
        return record
    return f"holds the record of {record.combo.row}, seed {record.combo.seed}"


class AllResamples(Mapping[str, Resamples]):
    """What lies beside records, by `ROW--sSEED`, without curves; read when it is asked for, and not kept.

    A file that is damaged or another's is as if it were not there. With the key of an outside `test`, records are those
    seen from it.
    """

    def __init__(self, folder: Path, records: Iterable[Record], test: str = "") -> None:
        self._folder, self._test = folder, test
        self._records = {r.combo.name: r for r in records if RESAMPLES in r.artifacts}

    def __getitem__(self, name: str) -> Resamples:
        resamples = None
        with contextlib.suppress(DataError):
            resamples = read_resamples(self._folder, self._records[name], self._test)
        if resamples is None:
            raise KeyError(name)
        return resamples

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


def copy_records(folder: Path, records: Iterable[Record], out: Path) -> None:
    """Copy records that were read from a board, with the resamples that fit them, into a folder that is no board.

    What else lies beside them stays where it is, such as a link out of the board. Each file is written whole or not at
    all. Raises `UsageError` where that folder belongs to a board, and `StorageError` where it cannot be written.
    """
    if out.resolve() == folder.resolve():
        raise UsageError(f"{out} is the board's own folder: its page is made there without being asked for")
    require_no_board(out)
    for record in records:
        name = record.combo.name
        for test, seen in view_all(record).items():
            resamples = read_beside(folder, seen, test)
            if resamples is not None:
                write_atomically(resamples_path(out, name, test), resamples)
        write_atomically(record_path(out, name), read_regular(record_path(folder, name), LARGEST))


def require_no_board(out: Path) -> None:
    """Raise `UsageError` where what is published to a folder would change a board: it is one, or lies in one."""
    place = out.resolve()
    if (place / BOARD_FILE).exists():
        raise UsageError(f"{out} is a board: its page and records would be overwritten; give another folder with --out")
    for folder in (place, *place.parents):
        if folder.name in (RECORDS, RUNS) and (folder.parent / BOARD_FILE).exists():
            raise UsageError(f"{out} lies among the {folder.name} of a board; give another folder with --out")


def run_folder(folder: Path, key: str) -> Path:
    """Where a combo's predictions and weights lie, which are not committed; made with a .gitignore that says so."""
    path = run_path(folder, key)
    hide_runs(folder)
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; make room or choose another folder") from None
    return path


def hide_runs(folder: Path) -> None:
    """Make the folder for what is not committed, with a .gitignore that says so."""
    if not (folder / RUNS / ".gitignore").exists():
        write_atomically(folder / RUNS / ".gitignore", "*\n")


def sweep_board(folder: Path) -> None:
    """Remove what killed processes were about to rename in a board's folder."""
    runs = folder / RUNS
    sweep([folder, folder / RECORDS, runs, *(path for path in runs.glob("*") if path.is_dir())])
