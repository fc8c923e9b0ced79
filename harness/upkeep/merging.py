"""Records of several machines or pull requests in one board; contradictions are shown, never settled silently."""

from __future__ import annotations

import fnmatch
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness.board import Board
from harness.errors import UsageError
from harness.files import file_digest, write_atomically
from harness.results.record import Record
from harness.results.staleness import why_stale
from harness.results.store import (
    RESAMPLES_FILE,
    RUNS,
    WEIGHTS,
    predictions_file,
    read_records,
    record_path,
    resamples_path,
    run_folder,
)

ARTIFACTS = (predictions_file("val"), predictions_file("test"), WEIGHTS)


@dataclass(frozen=True)
class Conflict:
    """Two records of one combo that say different things."""

    name: str
    source: str
    reason: str
    ours: float | None
    """The objective in this board's record."""
    theirs: float | None


@dataclass(frozen=True)
class Merged:
    """What became of the records of other folders; each list has `ROW--sSEED`."""

    taken: tuple[str, ...]
    replaced: tuple[str, ...]
    same: tuple[str, ...]
    left: tuple[str, ...]
    """One line for each that was not taken, and why."""
    conflicts: tuple[Conflict, ...]


def merge(board: Board, sources: Sequence[Path], replace: str | None = None) -> Merged:
    """Take into a board what other folders of it have and it lacks: records, resamples, predictions and weights.

    A record replaces one that failed, or one that does not belong to the board any more, when it does itself. Same key
    and same numbers are the same. Anything else of one name is a conflict: this board's stays, unless `replace`, a glob
    over names, says otherwise. Raises `UsageError` for a folder without records.
    """
    taken: list[str] = []
    replaced: list[str] = []
    same: list[str] = []
    left: list[str] = []
    conflicts: list[Conflict] = []
    for folder in sources:
        found = read_records(folder)
        if not found.records and not found.problems:
            raise UsageError(f"{folder} holds no records; give the folder of a board")
        left += [f"{folder}/{problem}" for problem in found.problems]
        for theirs in found.records:
            name = f"{theirs.combo.row}--s{theirs.combo.seed}"
            ours = next((r for r in read_records(board.folder).records if _combo(r) == _combo(theirs)), None)
            verdict = _judge(board, ours, theirs)
            if ours is not None and verdict == "same":
                same.append(name)
            elif verdict.startswith("stale: "):
                left.append(f"{folder}: {name} is left: {verdict.removeprefix('stale: ')}")
            elif ours is None or verdict == "better" or (replace is not None and fnmatch.fnmatchcase(name, replace)):
                _copy(board.folder, folder, theirs)
                (taken if ours is None else replaced).append(name)
            elif verdict == "worse":
                left.append(f"{folder}: {name} is left: it {theirs.status}, this board's is {ours.status}")
            else:
                objective = board.objective
                conflicts.append(
                    Conflict(name, str(folder), verdict, _value(ours, objective), _value(theirs, objective))
                )
    return Merged(tuple(taken), tuple(replaced), tuple(same), tuple(left), tuple(conflicts))


def _combo(record: Record) -> tuple[str, int]:
    return record.combo.row, record.combo.seed


def _judge(board: Board, ours: Record | None, theirs: Record) -> str:
    """`same`, `better`, `worse`, `stale: ` and why, or what the conflict is."""
    stale = why_stale(board, theirs, theirs.dataset.fingerprint)
    if stale is not None:
        return f"stale: {stale}"
    if ours is None:
        return "better"
    if ours.status != "done" or theirs.status != "done":
        if theirs.status == "done":
            return "better"
        return "worse" if ours.status == "done" else "same"
    if why_stale(board, ours, ours.dataset.fingerprint) is not None:
        return "better"
    if ours.key != theirs.key:
        return "other choices, data or versions (another key)"
    return "same" if ours.metrics == theirs.metrics else "the same key and different numbers"


def _value(record: Record, objective: str) -> float | None:
    part = record.metrics.get(objective) or record.metrics.get(f"{objective}@val-f1")
    return None if part is None else part.macro


def _copy(target: Path, source: Path, record: Record) -> None:
    """Artifacts and resamples first, then the record that speaks of them; each whole, and what its digest says."""
    for name in ARTIFACTS:
        path = source / RUNS / record.key / name
        if path.is_file() and file_digest(path) == record.artifacts.get(name):
            write_atomically(run_folder(target, record.key) / name, partial(shutil.copyfile, path))
    beside = resamples_path(source, record)
    if beside.is_file() and file_digest(beside) == record.artifacts.get(RESAMPLES_FILE):
        write_atomically(resamples_path(target, record), partial(shutil.copyfile, beside))
    else:
        resamples_path(target, record).unlink(missing_ok=True)
    write_atomically(record_path(target, record), record_path(source, record).read_bytes())


def as_plain(merged: Merged) -> dict[str, Any]:
    """Return what became of the records as plain data for JSON."""
    plain = {name: list(value) for name, value in vars(merged).items()}
    return plain | {"conflicts": [vars(conflict) for conflict in merged.conflicts]}
