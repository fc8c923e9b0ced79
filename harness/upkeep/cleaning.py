"""What a board's folder holds that nothing refers to any more."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.board import Board
from harness.execution.claims import Claims
from harness.execution.jobs import JobBook
from harness.execution.keys import CurrentKeys
from harness.files import TEMPORARY, find_left
from harness.lease_files import Held
from harness.leases import LEASE
from harness.results.artifacts import find_place, is_staged
from harness.results.layout import (
    CLAIMS,
    JOBS,
    RECORDS,
    RESUME,
    RUN_FILES,
    RUNS,
    find_outside,
    is_outside_file,
    outside_file,
    record_path,
    resamples_path,
    run_path,
)
from harness.results.record import Record
from harness.results.staleness import find_unasked
from harness.results.store import read_aside, read_records, write_outside


@dataclass(frozen=True)
class Waste:
    """A file or a folder that can go."""

    path: Path
    reason: str
    size: int
    """Size in bytes."""
    test: str = ""
    """The key of the outside test whose part of the record at `path` can go, with its files; the record stays."""


def find_waste(board: Board, current: CurrentKeys) -> tuple[Waste, ...]:
    """Stale records, what belongs to no record, and what killed processes left. Nothing that is being run, none of the
    trainings that a run would go on with, and nothing that was set aside.

    A file that cannot be read may be a record: while there is one, nothing is taken for belonging to no record.
    """
    folder, claims = board.folder, Claims(board.folder)
    found_claims = claims.read()
    held = [claim for claim in found_claims if not claim.is_abandoned(LEASE)]
    abandoned = [claim for claim in found_claims if claim not in held]
    found, aside = read_records(folder), read_aside(folder)
    records = found.records
    names = {claim.name for claim in held}
    stale = {id(r): why for r in records if (why := current.why_stale(board, r)) is not None}
    kept = {record.key for record in records if id(record) not in stale} | {record.key for record in aside.records}
    kept |= {str(claim.about.get("key")) for claim in held} | set(current.keys.values())
    waste = [
        *_stale_files(folder, ((r, stale[id(r)]) for r in records if id(r) in stale)),
        *_left(folder),
        *_finished(folder, kept - {str(claim.about.get("key")) for claim in held}, records),
        *((claims.folder / f"{claim.name}.json", "its owner lives no more") for claim in abandoned),
        *_ended_jobs(JobBook(folder)),
    ]
    if not found.problems + aside.problems:
        complete = current.fingerprint is not None and not current.unknown
        waste += [*_orphans(folder, records), *_run_folders(folder, kept, complete=complete)]
        waste += _staged(folder, records, held)
    fresh = [record for record in records if id(record) not in stale and record.combo.name not in names]
    return (*(Waste(path, reason, _size(path)) for path, reason in waste), *_unasked(board, fresh))


def find_unreadable(folder: Path) -> tuple[str, ...]:
    """One line for each file among a board's records, those set aside too, that cannot be read."""
    return read_records(folder).problems + read_aside(folder).problems


def remove(waste: Sequence[Waste], board: Board, current: CurrentKeys) -> tuple[Waste, ...]:
    """Remove what is waste still; gives it. A run may have made something of it since somebody was asked."""
    wanted = {(one.path, one.reason) for one in waste}
    still = tuple(one for one in find_waste(board, current) if (one.path, one.reason) in wanted)
    for one in still:
        if one.test:
            _remove_part(board.folder, one)
        elif one.path.is_dir() and not one.path.is_symlink():
            shutil.rmtree(one.path)
        else:
            one.path.unlink(missing_ok=True)
    return still


def _remove_part(folder: Path, one: Waste) -> None:
    """Write a record without its part of an outside test; its files go with it."""
    records = {record_path(folder, record.combo.name): record for record in read_records(folder).records}
    record = records.get(one.path)
    if record is not None:
        kept = {test: part for test, part in record.outside.items() if test != one.test}
        write_outside(folder, record.model_copy(update={"outside": kept}), {})


def _stale_files(folder: Path, stale: Iterable[tuple[Record, str]]) -> Iterator[tuple[Path, str]]:
    for record, reason in stale:
        yield record_path(folder, record.combo.name), f"out of date: {reason}"
        beside = resamples_path(folder, record.combo.name), *find_outside(folder, record.combo.name)
        yield from ((path, "belongs to a record that is out of date") for path in beside if path.exists())


def _left(folder: Path) -> Iterator[tuple[Path, str]]:
    runs = folder / RUNS
    for place in (folder, folder / RECORDS, runs, *(path for path in sorted(runs.glob("*")) if path.is_dir())):
        yield from ((path, "left by a process that was killed") for path in find_left([place]))


def _orphans(folder: Path, records: Iterable[Record]) -> Iterator[tuple[Path, str]]:
    outside = {record.combo.name: record.outside.keys() for record in records}
    for path in sorted((folder / RECORDS).glob("*.npz")):
        hidden = path.name.startswith(TEMPORARY) or is_staged(path)
        combo, at, test = path.stem.partition("@")
        if hidden:
            continue
        if not record_path(folder, combo).exists() or (at and test not in outside.get(combo, ())):
            yield path, "belongs to no record"
    for record in records:
        for path in sorted(run_path(folder, record.key).glob("*.npz")):
            kept = {outside_file(test) for test in record.outside}
            if is_outside_file(path.name) and not is_staged(path) and path.name not in kept:
                yield path, "belongs to no record"


def _unasked(board: Board, records: Iterable[Record]) -> Iterator[Waste]:
    """Parts of outside tests that board.toml does not name any more, with their files."""
    folder = board.folder
    for record in records:
        for test in find_unasked(board, record):
            places = resamples_path(folder, record.combo.name, test), run_path(folder, record.key) / outside_file(test)
            size = sum(_size(place) for place in places)
            reason = f"has a part of the outside test {test}, which board.toml does not name"
            yield Waste(record_path(folder, record.combo.name), reason, size, test)


def _staged(folder: Path, records: Iterable[Record], held: Iterable[Held]) -> Iterator[tuple[Path, str]]:
    """What was staged by a process that was killed before it wrote the record; not what is being run now."""
    names, keys = {claim.name for claim in held}, {str(claim.about.get("key")) for claim in held}
    used = {digest[:16] for record in records for digest in record.artifacts.values()}
    used |= {
        digest[:16] for record in records for part in record.outside.values() for digest in part.artifacts.values()
    }
    places = [*(folder / RECORDS).glob("*"), *(folder / RUNS).glob("*/*")]
    for path in sorted(path for path in places if is_staged(path) and not path.name.startswith(TEMPORARY)):
        running = path.parent.name in keys or find_place(path).stem.partition("@")[0] in names
        if not running and path.suffixes[-2].removeprefix(".") not in used:
            yield path, "left by a process that was killed"


def _finished(folder: Path, kept: set[str], records: Iterable[Record]) -> Iterator[tuple[Path, str]]:
    for record in records:
        path = run_path(folder, record.key) / RESUME
        if record.status == "done" and record.key in kept and path.is_file():
            yield path, "of a training that is finished"


def _ended_jobs(book: JobBook) -> Iterator[tuple[Path, str]]:
    """Notes of jobs elsewhere that are over, and the logs of executors that have no other jobs here."""
    ended = {note.name for note in book.read() if note.ended is not None and not book.is_alive(note)}
    notes = [note for note in book.read() if note.name in ended]
    for note in notes:
        yield from ((path, "of a job that is over") for path in book.list_files(note))
    busy = {note.executor for note in book.find_open()}
    for executor in sorted({note.executor for note in notes} - busy):
        if (book.folder / executor).is_dir():
            yield book.folder / executor, "logs of jobs that are over"


def _run_folders(folder: Path, kept: set[str], *, complete: bool) -> Iterator[tuple[Path, str]]:
    for path in sorted((folder / RUNS).glob("*")):
        if not path.is_dir() or path.name in (CLAIMS, JOBS) or path.name in kept or path.name.startswith("."):
            continue
        begun = (path / RESUME).exists()
        if begun and not complete:
            continue  # a run might go on with it: its key cannot be told here
        names = {find_place(one).name for one in path.iterdir()}
        # an observer's is its own affair
        if {name for name in names if not is_outside_file(name)} <= {RESUME, *RUN_FILES}:
            yield path, "an interrupted training that the board does not ask for" if begun else "belongs to no record"


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            return sum(one.lstat().st_size for one in path.rglob("*") if one.is_file())
        return path.lstat().st_size
    return 0
