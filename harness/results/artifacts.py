"""Files that a record speaks of by their digests: its resamples, predictions and weights.

They are replaced together with the record, although a file system renames one file at a time. New content is staged
beside the old, under a name with its digest; then the record is renamed to its place; then what was staged is.
Wherever a process is killed, the digests of the record that lies there lead to files that are what it says.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from harness.files import Content, file_digest, read_regular, write_beside

STAGED = re.compile(r"\.[0-9a-f]{16}(?=\.[a-z]+$)")
"""What the name of a staged file has more than that of the file whose place it is to take."""

Artifact = TypeVar("Artifact")


def stage(path: Path, content: Content) -> str:
    """Write what is to take the place of a file, beside it; gives its sha256. Raises `StorageError`."""
    with write_beside(path, content) as temporary:
        digest = file_digest(temporary)
        temporary.replace(_staged_path(path, digest))
    return digest


def settle(path: Path, digest: str | None) -> None:
    """Give the file of that digest its place, and remove what else was staged for it; None: no file belongs there."""
    if digest is None:
        path.unlink(missing_ok=True)
    else:
        with contextlib.suppress(FileNotFoundError):  # it has its place
            _staged_path(path, digest).replace(path)
    for other in _find_staged(path):
        other.unlink(missing_ok=True)


def discard(path: Path, digest: str) -> None:
    """Remove what was staged for a record that could not be written."""
    _staged_path(path, digest).unlink(missing_ok=True)


def read_artifact(path: Path, digest: str | None, load: Callable[[Path], Artifact]) -> Artifact | None:
    """Load the file of that digest, in its place or still staged for it; None where there is none."""
    if digest is None:
        return None
    for place in (path, _staged_path(path, digest), path):  # again: it may be renamed in this moment
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISREG(place.stat().st_mode) and file_digest(place) == digest:
                return load(place)
    return None


def read_small(path: Path, digest: str | None, most: int) -> bytes | None:
    """Read the file of that digest, of at most so many bytes, as `read_artifact` does; None where there is none."""
    if digest is None:
        return None
    for place in (path, _staged_path(path, digest), path):
        with contextlib.suppress(OSError):
            content = read_regular(place, most)
            if hashlib.sha256(content).hexdigest() == digest:
                return content
    return None


def has_artifact(path: Path, digest: str | None) -> bool:
    """Whether the file of that digest is there."""
    return read_artifact(path, digest, lambda place: True) is not None


def is_staged(path: Path) -> bool:
    """Whether a file has the name of one that was staged."""
    return STAGED.search(path.name) is not None


def find_place(path: Path) -> Path:
    """Find the place that a staged file is to take."""
    return path.with_name(STAGED.sub("", path.name))


def _staged_path(path: Path, digest: str) -> Path:
    return path.with_name(f"{path.stem}.{digest[:16]}{path.suffix}")


def _find_staged(path: Path) -> Iterator[Path]:
    candidates = path.parent.glob(f"{glob.escape(path.stem)}.*{path.suffix}")
    return (other for other in candidates if is_staged(other) and find_place(other) == path)
