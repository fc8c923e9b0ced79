"""Records in a board's folder."""

from __future__ import annotations

import contextlib
import gc
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from harness.errors import DataError, StorageError, UsageError
from harness.evaluation.resamples import Resamples, load_curves, load_groups, load_values
from harness.files import TEMPORARY, file_digest, sweep, write_atomically, write_together
from harness.results.migration import parse_record
from harness.results.record import DatasetPart, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FOLDER = "records"
ASIDE = "aside"
"""The folder in it for files that are no records of the board."""
RESAMPLES_FILE = "resamples.npz"
"""Under which name a record's `artifacts` hold the digest of the file beside it."""
RUNS = "runs"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Found:
    """What a board's `records/` holds."""

    records: tuple[Record, ...]
    """The records that could be read, in the order of row and seed."""
    problems: tuple[str, ...]
    """One line for each file that could not be read."""


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Suspend the search for garbage: of the million objects that are made, all stay."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def write_record(folder: Path, record: Record, resamples: Resamples | None = None) -> Record:
    """Write a record to its place in a board's folder, whole or not at all, with its resamples beside it.

    Gives the record as it was written: with the digest of the resamples.
    """
    path, beside = record_path(folder, record), resamples_path(folder, record)
    artifacts = {name: digest for name, digest in record.artifacts.items() if name != RESAMPLES_FILE}
    contents: dict[Path, bytes | str] = {}
    if resamples is not None:
        content = contents[beside] = resamples.as_bytes()
        artifacts[RESAMPLES_FILE] = hashlib.sha256(content).hexdigest()
    written = record.model_copy(update={"artifacts": artifacts})
    contents[path] = written.model_dump_json(indent=1) + "\n"
    write_together(contents)  # the record last: a kill between the two leaves a combo that is run, or resumed, again
    if resamples is None:
        beside.unlink(missing_ok=True)
    return written


def record_path(folder: Path, record: Record) -> Path:
    """Where a record lies."""
    return folder / FOLDER / f"{record.combo.row}--s{record.combo.seed}.json"


def resamples_path(folder: Path, record: Record) -> Path:
    """Where a record's resamples lie; not by with_suffix, which would cut a name after its last dot."""
    return folder / FOLDER / f"{record.combo.row}--s{record.combo.seed}.npz"


def read_resamples(folder: Path, record: Record) -> Resamples | None:
    """What lies beside a record, without curves; None where there is nothing, or not what the record says."""
    beside = _find_beside(folder, record)
    return None if beside is None else load_values(beside)


def read_curves(folder: Path, record: Record) -> Mapping[str, NDArray[np.float64]]:
    """The curves that lie beside a record; none where there is nothing, or not what the record says."""
    beside = _find_beside(folder, record)
    try:
        return {} if beside is None else load_curves(beside)
    except DataError:
        return {}


def read_groups(folder: Path, record: Record) -> Resamples | None:
    """What lies beside a record about groups of patients; None where there is nothing, or not what the record says."""
    beside = _find_beside(folder, record)
    try:
        return None if beside is None else load_groups(beside)
    except DataError:
        return None


def _find_beside(folder: Path, record: Record) -> Path | None:
    beside = resamples_path(folder, record)
    if (
        RESAMPLES_FILE not in record.artifacts
        or not beside.is_file()
        or file_digest(beside) != record.artifacts[RESAMPLES_FILE]
    ):
        return None
    return beside


def read_records(folder: Path) -> Found:
    """Read every record of a board; a file that is none is named, not raised, and left where it is.

    Records of an earlier schema are migrated. Raises `DataError` for one of a newer schema.
    """
    records, problems = [], []
    datasets: dict[str, DatasetPart] = {}  # one is enough of what all records repeat
    for path in _record_files(folder):
        found = _read(path)
        if isinstance(found, Record):
            same = datasets.setdefault(found.dataset.fingerprint, found.dataset)
            records.append(found.model_copy(update={"dataset": same}) if same == found.dataset else found)
        else:
            problems.append(f"{FOLDER}/{path.name} {found}")
    records.sort(key=lambda record: (record.combo.row, record.combo.seed))
    return Found(tuple(records), tuple(problems))


def read_record(folder: Path, row: str, seed: int) -> Record | None:
    """One combo's record; None where there is none, or a file that is none. Raises `DataError` for a newer schema."""
    found = _read(folder / FOLDER / f"{row}--s{seed}.json")
    return found if isinstance(found, Record) else None


def set_aside(folder: Path) -> tuple[str, ...]:
    """Move files that are no records of the board out of the way of those that will be written, to `records/aside/`.

    Gives one line for each. Nothing is deleted, and nothing there replaced. A record of a newer schema is one all the
    same: for it `DataError` is raised.
    """
    lines = []
    for path in _record_files(folder):
        found = _read(path)
        if isinstance(found, Record):
            continue
        aside = path.parent / ASIDE
        try:
            aside.mkdir(exist_ok=True)
            place, number = aside / path.name, 1
            while place.exists():
                place, number = aside / f"{path.stem}.{number}{path.suffix}", number + 1
            path.rename(place)
        except FileNotFoundError:
            continue  # another process was quicker
        except OSError as error:
            raise StorageError(f"cannot move {path}: {error.strerror}; choose a folder that can be written") from None
        lines.append(f"{FOLDER}/{path.name} {found}; it is set aside as {place.relative_to(folder)}")
    return tuple(lines)


def _record_files(folder: Path) -> list[Path]:
    found = (folder / FOLDER).glob("*.json")
    return sorted(path for path in found if not path.name.startswith((TEMPORARY, ".")))


def _read(path: Path) -> Record | str:
    """A record, or what is wrong with the file. Raises `DataError` for a record of a newer schema."""
    try:
        record = parse_record(path.read_bytes())
    except DataError as error:
        raise DataError(f"{path} {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        return f"is no record: {': '.join(filter(None, ('.'.join(map(str, first['loc'])), first['msg'])))}"
    except OSError as error:
        return f"is no record: {error.strerror}"
    if path.stem == f"{record.combo.row}--s{record.combo.seed}":
        return record
    return f"holds the record of {record.combo.row}, seed {record.combo.seed}"


class AllResamples(Mapping[str, Resamples]):
    """What lies beside records, by `ROW--sSEED`, without curves; read when it is asked for, and not kept.

    A file that is damaged or another's is as if it were not there.
    """

    def __init__(self, folder: Path, records: Iterable[Record]) -> None:
        self._folder = folder
        self._records = {f"{r.combo.row}--s{r.combo.seed}": r for r in records if RESAMPLES_FILE in r.artifacts}

    def __getitem__(self, name: str) -> Resamples:
        found = None
        with contextlib.suppress(DataError):
            found = read_resamples(self._folder, self._records[name])
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


def copy_records(folder: Path, out: Path) -> None:
    """Copy a board's records with what lies beside them into another folder, each file whole or not at all.

    Raises `UsageError` where that is the board's own folder, or cannot be written.
    """
    if out.resolve() == folder.resolve():
        raise UsageError(f"{out} is the board's own folder: its page is made there without being asked for")
    for path in sorted((folder / FOLDER).glob("[!.]*")):
        if path.suffix in (".json", ".npz"):
            write_atomically(out / FOLDER / path.name, path.read_bytes())


def predictions_file(split: str) -> str:
    """The name of a split's predictions in a combo's run folder."""
    return f"predictions-{split}.npz"


def run_folder(folder: Path, key: str) -> Path:
    """Where a combo's predictions and weights lie, which are not committed; made with a .gitignore that says so."""
    runs = folder / RUNS
    if not (runs / ".gitignore").exists():
        write_atomically(runs / ".gitignore", "*\n")
    path = runs / key
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; make room or choose another folder") from None
    return path


def sweep_board(folder: Path) -> None:
    """Remove what killed processes were about to rename in a board's folder."""
    runs = folder / RUNS
    sweep([folder, folder / FOLDER, runs, *(path for path in runs.glob("*") if path.is_dir())])
