"""What travels where no folder is shared: a board's files with an order, and what a combo left with its result."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.board import BOARD_FILE, Board
from harness.errors import DataError, UsageError
from harness.evaluation.resamples import load_resamples
from harness.execution.job import Job, Result
from harness.panels import READERS_FILE
from harness.results.artifacts import stage
from harness.results.layout import RESAMPLES, record_path, resamples_path, run_path
from harness.results.migration import parse_record
from harness.results.record import Record
from harness.results.store import run_folder

RECORD, FILES = "record", "files"
"""Under which names a result holds the record's text, and the bytes of its files by their names."""


def pack_board(board: Board) -> dict[str, str]:
    """The files that say what a board is, by their place in its folder; the content is base64.

    Raises `UsageError` for decisions of readers that lie elsewhere.
    """
    paths = [board.folder / BOARD_FILE]
    if board.panel is not None:
        paths += [board.folder / READERS_FILE, *board.panel.files.values()]
    packed = {}
    for path in paths:
        try:
            place = path.resolve().relative_to(board.folder.resolve())
        except ValueError:
            raise UsageError(
                f"{path} lies outside of the board's folder, and would not be there on machines that do not share it; "
                "move it into the folder"
            ) from None
        packed[place.as_posix()] = base64.b64encode(path.read_bytes()).decode()
    return packed


def unpack_board(packed: Mapping[str, str], folder: Path) -> None:
    """Make a board's folder of what was packed."""
    for place, content in packed.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(base64.b64decode(content))


def pack_result(folder: Path, record: Record) -> dict[str, Any]:
    """A record that lies in a board's folder, and the files that it speaks of, as plain data."""
    run = run_path(folder, record.key)
    files = {
        name: (resamples_path(folder, record.combo.name) if name == RESAMPLES else run / name).read_bytes()
        for name in record.artifacts
    }
    return {RECORD: record_path(folder, record.combo.name).read_bytes().decode(), FILES: files}


def unpack_result(packed: Mapping[str, Any], job: Job) -> Result:
    """The result of a combo, its files staged in the board's folder until the record is written.

    Raises `DataError` where it is the result of something else, or was damaged on its way.
    """
    try:
        record = parse_record(packed[RECORD].encode())
        files: Mapping[str, bytes] = packed[FILES]
        found = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"what came back is no result of a combination: {type(error).__name__}") from None
    if (record.key, record.combo.name) != (job.key, job.combo.name):
        raise DataError(f"what came back is the result of {record.combo.name}, and of another key")
    if found != dict(record.artifacts):
        raise DataError("the files that came back are not those that the record speaks of")
    job.guard()
    place = run_folder(job.board_folder, job.key) if files else job.board_folder
    for name, content in files.items():
        if name != RESAMPLES:
            stage(place / name, content)
    return Result(record, load_resamples(files[RESAMPLES]) if RESAMPLES in files else None)
