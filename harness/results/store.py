"""Records in a board's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from harness.files import write_atomically
from harness.results.record import Record

FOLDER = "records"
RUNS = "runs"


@dataclass(frozen=True)
class Found:
    """What a board's `records/` holds."""

    records: tuple[Record, ...]
    """In the order of row and seed."""
    problems: tuple[str, ...]
    """One line for each file that could not be read."""


def write_record(folder: Path, record: Record) -> Path:
    """Write a record to its place in a board's folder, whole or not at all."""
    path = folder / FOLDER / f"{record.combo.row}--s{record.combo.seed}.json"
    write_atomically(path, record.model_dump_json(indent=1) + "\n")
    return path


def read_records(folder: Path) -> Found:
    """Read every record of a board; a file that is none is named, not raised, and left where it is."""
    records, problems = [], []
    for path in sorted((folder / FOLDER).glob("*.json")):
        try:
            record = Record.model_validate_json(path.read_bytes())
        except (ValidationError, OSError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
            problems.append(f"{FOLDER}/{path.name} is no record: {reason}")
            continue
        if path.stem == f"{record.combo.row}--s{record.combo.seed}":
            records.append(record)
        else:
            problems.append(f"{FOLDER}/{path.name} holds the record of {record.combo.row}, seed {record.combo.seed}")
    records.sort(key=lambda record: (record.combo.row, record.combo.seed))
    return Found(tuple(records), tuple(problems))


def run_folder(folder: Path, key: str) -> Path:
    """Where a combo's predictions and weights lie, which are not committed; made with a .gitignore that says so."""
    runs = folder / RUNS
    if not (runs / ".gitignore").exists():
        write_atomically(runs / ".gitignore", "*\n")
    path = runs / key
    path.mkdir(exist_ok=True)
    return path
