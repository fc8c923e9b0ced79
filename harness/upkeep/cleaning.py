"""What a board's folder holds that nothing refers to any more."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.board import Board
from harness.execution.claims import FOLDER as CLAIMS
from harness.execution.claims import LEASE, Claims
from harness.execution.planning import CurrentKeys
from harness.files import TEMPORARY, find_left
from harness.results.record import Record
from harness.results.store import FOLDER, RUNS, read_records, record_path, resamples_path
from harness.training.checkpoint import NAME as RESUME


@dataclass(frozen=True)
class Waste:
    """A file or a folder that can go."""

    path: Path
    reason: str
    size: int
    """Size in bytes."""


def find_waste(board: Board, current: CurrentKeys) -> tuple[Waste, ...]:
    """Stale records, what belongs to no record, and what killed processes left. Nothing that is being run, none of the
    trainings that a run would go on with, and nothing that was set aside.
    """
    claims = Claims(board.folder)
    found_claims = claims.read()
    held = [claim for claim in found_claims if not claim.is_abandoned(LEASE)]
    abandoned = [claim for claim in found_claims if claim not in held]
    records = read_records(board.folder).records
    stale = {id(r): why for r in records if (why := current.why_stale(board, r)) is not None}
    kept = {record.key for record in records if id(record) not in stale}
    kept |= {str(claim.about.get("key")) for claim in held} | set(current.keys.values())
    found = [
        *_stale_files(board.folder, ((r, stale[id(r)]) for r in records if id(r) in stale)),
        *_orphans(board.folder),
        *_finished(board.folder, kept - {str(claim.about.get("key")) for claim in held}, records),
        *_run_folders(board.folder, kept, complete=current.fingerprint is not None and not current.unknown),
        *((claims.folder / f"{claim.name}.json", "its owner lives no more") for claim in abandoned),
    ]
    return tuple(Waste(path, reason, _size(path)) for path, reason in found)


def remove(waste: Sequence[Waste], board: Board, current: CurrentKeys) -> tuple[Waste, ...]:
    """Remove what is waste still; gives it. A run may have made something of it since somebody was asked."""
    wanted = {(one.path, one.reason) for one in waste}
    still = tuple(one for one in find_waste(board, current) if (one.path, one.reason) in wanted)
    for one in still:
        if one.path.is_dir() and not one.path.is_symlink():
            shutil.rmtree(one.path)
        else:
            one.path.unlink(missing_ok=True)
    return still


def _stale_files(folder: Path, stale: Iterable[tuple[Record, str]]) -> Iterator[tuple[Path, str]]:
    for record, reason in stale:
        yield record_path(folder, record), f"stale: {reason}"
        if (beside := resamples_path(folder, record)).exists():
            yield beside, "of a stale record"


def _orphans(folder: Path) -> Iterator[tuple[Path, str]]:
    records = folder / FOLDER
    for path in sorted(records.glob("*.npz")):
        if not path.name.startswith(TEMPORARY) and not path.with_name(f"{path.stem}.json").exists():
            yield path, "belongs to no record"
    runs = folder / RUNS
    for place in (folder, records, runs, *(path for path in sorted(runs.glob("*")) if path.is_dir())):
        yield from ((path, "left by a process that was killed") for path in find_left([place]))


def _finished(folder: Path, kept: set[str], records: Iterable[Record]) -> Iterator[tuple[Path, str]]:
    for record in records:
        path = folder / RUNS / record.key / RESUME
        if record.status == "done" and record.key in kept and path.is_file():
            yield path, "of a training that is finished"


def _run_folders(folder: Path, kept: set[str], *, complete: bool) -> Iterator[tuple[Path, str]]:
    for path in sorted((folder / RUNS).glob("*")):
        if not path.is_dir() or path.name == CLAIMS or path.name in kept or path.name.startswith("."):
            continue
        begun = (path / RESUME).exists()
        if begun and not complete:
            continue  # a run might go on with it: its key cannot be told here
        if {one.name for one in path.iterdir()} <= KNOWN:  # an observer's folder is its own affair
            yield path, "an interrupted training that the board does not ask for" if begun else "belongs to no record"


KNOWN = {RESUME, "predictions-val.npz", "predictions-test.npz", "weights.safetensors"}
"""Files of a run folder."""


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            return sum(one.lstat().st_size for one in path.rglob("*") if one.is_file())
        return path.lstat().st_size
    return 0
