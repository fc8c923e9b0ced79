"""The sets of decoded images in the cache: what each takes, when it was last used, and whether it is being used.

Who uses a set shares a lock on a file in its folder for as long as its pixels are mapped; who removes it needs the lock
alone. Where the file system has no locks, a set that was opened within a day is taken to be in use.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import StorageError
from harness.locks import TAKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

USED = "used"
"""The file whose time is that of the last use, and whose lock users share."""
NAME = re.compile(r".+-\d+px-[0-9a-f]{16}")
"""How the folder of a set is called: dataset, size and key."""
RECENT = 24 * 3600.0
"""Seconds for which a set is taken to be in use where there are no locks."""
ATTEMPTS = 10
"""Times that the lock is tried while others remove the folder."""


@dataclass(frozen=True)
class CachedSet:
    """The decoded images of a dataset at one size."""

    path: Path
    size: int
    """Size in bytes."""
    unused: float
    """Seconds since it was last opened."""
    in_use: bool
    """Whether a running process uses it."""


def list_sets(cache: Path) -> tuple[CachedSet, ...]:
    """Find every set in a cache, the one that is unused for longest first; nothing else that lies there."""
    folders = [
        path for path in cache.glob("*") if NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]
    return tuple(sorted((_describe(folder) for folder in folders), key=lambda one: (-one.unused, one.path)))


def remove_set(one: CachedSet) -> bool:
    """Remove a set, unless a process has begun to use it; gives whether it is gone.

    Raises `StorageError` where it cannot be removed.
    """
    with _alone(one.path) as alone:
        if alone:
            try:
                shutil.rmtree(one.path)
            except FileNotFoundError:  # another process removes it, too
                pass
            except OSError as error:
                raise StorageError(f"cannot remove {one.path}: {error.strerror}; see to its permissions") from None
    return alone


@contextlib.contextmanager
def using(folder: Path) -> Iterator[list[int]]:
    """Mark a set as in use for the block, and beyond it where the handle is taken out of the list that it gives."""
    handle = _share(folder)
    handles = [] if handle is None else [handle]
    try:
        yield handles
    finally:
        for left in handles:
            os.close(left)


def use_as_long_as(images: NDArray, handles: list[int]) -> None:  # type: ignore[type-arg]
    """Leave a set marked as in use until the last view of its memory map is gone."""
    for handle in handles:
        weakref.finalize(images.base, os.close, handle)
    handles.clear()


def _share(folder: Path) -> int | None:
    """Open the file of a set's users and share its lock; None where the folder cannot be written or has no locks."""
    for _ in range(ATTEMPTS):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder / USED, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # being removed
            continue
        except OSError:
            return None
        try:
            os.utime(handle)
            fcntl.flock(handle, fcntl.LOCK_SH)
            if os.path.samestat(os.fstat(handle), os.stat(folder / USED)):  # noqa: PTH116 - beside fstat
                return handle
        except FileNotFoundError:
            pass
        except OSError:
            os.close(handle)
            return None
        os.close(handle)
    return None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Have a set for the block, where no process uses it."""
    try:
        handle = os.open(folder / USED, os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:
        yield True
        return
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror}; see to its permissions") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except OSError as error:
            alone = error.errno not in TAKEN and _find_unused(folder) > RECENT
        yield alone
    finally:
        os.close(handle)


def _describe(folder: Path) -> CachedSet:
    size, unused = 0, _find_unused(folder)
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            size += path.lstat().st_size
    in_use = False
    if (folder / USED).exists():
        with contextlib.suppress(StorageError), _alone(folder) as alone:
            in_use = not alone
    return CachedSet(folder, size, unused, in_use)


def _find_unused(folder: Path) -> float:
    """Seconds since a set was last opened, or written where it never was."""
    times = [0.0]
    for path in (folder / USED,) if (folder / USED).exists() else (folder, *folder.iterdir()):
        with contextlib.suppress(OSError):
            times.append(path.stat().st_mtime)
    return max(0.0, time.time() - max(times))
