"""Decode every image once, by all cores, into a uint8 memory map in the cache."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.components import Data
from harness.data.cache import PIXELS, Account, Manifest, examine, identify, locked
from harness.data.decoding import Failure, decode_chunks
from harness.data.loading import Source
from harness.errors import DataError
from harness.files import sweep

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 2
"""Version of the preparation, raised when the same file gives other pixels, or the cache has another form."""
SAVE_EVERY = 5.0
"""Seconds of work at most that an interruption loses."""
ATTEMPTS = 2
"""Times that a file is tried which could not be read."""

Progress = Callable[[int, int], None]
"""A function that is told how many images of how many are done."""
Remark = Callable[[str], None]
"""A function that is told what a person should know."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """The images in use, decoded: those that are there and can be read."""

    data: Data
    images: NDArray[np.uint8]
    """(N, S, S) uint8 memory map in the order of `data`; pages are read when they are touched."""
    missing: tuple[str, ...]
    """Images without a file, left out by `allow_missing`."""
    unreadable: Mapping[str, str]
    """Images whose file could not be decoded, and why: left out."""
    digest: str
    """sha256 over all pixels, made while decoding."""


def prepare(
    source: Source,
    data: Data,
    load_size: int,
    cache: Path,
    progress: Progress | None = None,
    remark: Remark | None = None,
    *,
    decode_now: bool = True,
    check_all: bool = False,
) -> Prepared:
    """Decode images to `load_size` x `load_size` grey pixels, squashing those that are not square, or open the cache.

    Interrupted work continues where it stopped; two processes take turns. What the cache holds is checked, by a sample
    (see `harness.data.cache`) or whole with `check_all`; damaged images are decoded again, which is remarked. Without
    `decode_now`, nothing is decoded, checked or written: the data is told, and `images` is empty.

    Raises `DataError` for missing files unless `source.allow_missing`, for files that could not be read this time, and
    where no image is left; `StorageError` for a cache that cannot be read or written.
    """
    present, stamps = _present(source, data)
    missing = tuple(data.table["image"][~present].astype(str))
    data = data.select(present)
    folder = cache / f"{source.dataset.name}-{load_size}px-{_key(source, data, stamps, load_size)}"
    if decode_now:
        finished = _obtain(source, data, folder, load_size, progress, remark, check_all=check_all)
    else:
        finished = Manifest.read(folder) or Manifest(0, {}, "")
    unreadable = finished.unreadable
    data = data.select(~data.table["image"].astype(str).isin(list(unreadable)).to_numpy(dtype=bool))
    if not len(data.table):
        raise DataError(
            f"no image of dataset '{source.dataset.name}' could be read; first: {_first(unreadable.items())}"
        )
    if not decode_now:
        images = np.empty((0, load_size, load_size), dtype=np.uint8)
        return Prepared(data, images, missing, unreadable, finished.digest)
    shape = (len(data.table), load_size, load_size)
    # copy-on-write, so that torch takes it for writable; nothing writes
    images = np.memmap(folder / PIXELS, dtype=np.uint8, mode="c", shape=shape)
    return Prepared(data, images, missing, unreadable, finished.digest)


# --- which images, and under which key -------------------------------------------------------------------------------


def _present(source: Source, data: Data) -> tuple[NDArray[np.bool_], list[tuple[int, int]]]:
    """Which images have a file, (N,), and the size and time of each that has; arrays are always there."""
    if not isinstance(data.images, Sequence):
        return np.ones(len(data.images), dtype=bool), [_stamp(path.stat()) for path in data.sources]
    stats = [_stat(source, path) for path in data.images]
    present = np.array([stat is not None for stat in stats], dtype=bool)
    absent = int((~present).sum())
    if absent and (not source.allow_missing or absent == len(stats)):
        first = _first(Path(data.images[int(i)]).name for i in np.flatnonzero(~present))
        way_out = (
            "check the folder"
            if absent == len(stats)
            else "complete the folder, or set allow_missing = true under [dataset] (--option allow_missing=true)"
        )
        raise DataError(
            f"{absent:,} of {len(stats):,} images of '{source.dataset.name}' are missing in {source.root}, "
            f"first {first}; {way_out}"
        )
    return present, [_stamp(stat) for stat in stats if stat is not None]


def _stat(source: Source, path: Path) -> os.stat_result | None:
    """The file's stat; none where there is no file. Raises `DataError` where that cannot be told."""
    try:
        return os.stat(path)  # noqa: PTH116 - Path.stat costs half as much again, 112,120 times
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(
            f"cannot tell whether image {path} of '{source.dataset.name}' is there: {error.strerror}; see to its "
            "disk or its permissions and run the same command again"
        ) from None


def _stamp(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_size, stat.st_mtime_ns


def _key(source: Source, data: Data, stamps: list[tuple[int, int]], load_size: int) -> str:
    """What the pixels depend on. Files speak for themselves; an array also depends on the dataset's options.

    The code of an external dataset matters where it makes an array or decodes its files itself.

    A file is known by its place, its size and its time: two folders never share pixels, and a dataset that is moved is
    decoded once more, which costs time and no more. Contents would know a moved dataset again, but reading all of them
    at every start takes minutes, and a sample would take two folders for one that differ in a few files. The price is
    that files which are replaced where they lie, by others of equal sizes and times, pass for the old ones; touching
    one of them has all decoded again.
    """
    files = isinstance(data.images, Sequence)
    identity = {
        "prepare": VERSION,
        "dataset": [source.dataset.name, source.dataset.version, "" if files and data.decode is None else source.code],
        "options": {} if files else source.options,
        "load_size": load_size,
        "stamps": stamps,
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode())
    digest.update("\n".join(data.table["image"].astype(str)).encode())
    digest.update("\n".join(_places(data.images if isinstance(data.images, Sequence) else data.sources)).encode())
    return digest.hexdigest()[:16]


def _places(paths: Iterable[Path]) -> Iterator[str]:
    """Where files lie: their folders, links resolved (quicker than resolving each file), and their names."""
    folders: dict[str, str] = {}
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        yield f"{folders[folder]}/{name}"


# --- decoding --------------------------------------------------------------------------------------------------------


def _obtain(
    source: Source,
    data: Data,
    folder: Path,
    load_size: int,
    progress: Progress | None,
    remark: Remark | None,
    *,
    check_all: bool,
) -> Manifest:
    """The manifest of a folder's finished work, decoded where there is none or where it is damaged."""
    state = examine(folder, load_size, check_all=check_all)
    if state.finished is not None:
        return state.finished
    with locked(folder, remark):
        sweep([folder])
        if state.damage is None or state.files != identify(folder):  # another process may have been at work
            state = examine(folder, load_size)
        if state.damage is not None and remark is not None:
            remark(
                f"the decoded images in {folder} are damaged: {state.damage}; they are removed, and decoded again from "
                "the dataset's files"
            )
        return state.finished or _decode_all(source, data, Account.open(folder, len(data.table), load_size), progress)


def _decode_all(source: Source, data: Data, account: Account, progress: Progress | None) -> Manifest:
    """Decode what is not done yet, keeping account of it beside the pixels.

    A file that could not be read is tried again when all others are done. Raises `DataError` where it cannot be read
    still: the next time goes on from here.
    """
    unreadable: dict[int, str] = {}
    unread: dict[int, str] = {}
    for _ in range(ATTEMPTS):
        left = np.flatnonzero(~account.done)
        unread = _decode_into(account, data, left[~np.isin(left, list(unreadable))], unreadable, progress)
        if not unread:
            break
    names = data.table["image"].astype(str)
    if unread:
        account.save()
        first, reason = min(unread.items())
        raise DataError(
            f"{len(unread):,} of {len(names):,} images of '{source.dataset.name}' could not be read, first "
            f"{names.iloc[first]}: {reason}; see to that and run the same command again, which decodes these alone (or "
            "remove the files and set allow_missing = true under [dataset])"
        )
    return account.finish({names.iloc[index]: reason for index, reason in sorted(unreadable.items())})


def _decode_into(
    account: Account, data: Data, indices: NDArray[np.intp], unreadable: dict[int, str], progress: Progress | None
) -> dict[int, str]:
    """Decode some images, noting which are unreadable; gives those whose files could not be read, and why."""
    unread: dict[int, str] = {}
    saved = time.monotonic()
    for finished in decode_chunks(data, account.pixels.shape[1], indices):
        for index, image in finished:
            if isinstance(image, Failure):
                (unreadable if image.lasting else unread)[index] = image.reason
            else:
                account.enter(index, image)
        if progress is not None:
            progress(int(account.done.sum()) + len(unreadable), len(data.table))
        if time.monotonic() - saved > SAVE_EVERY:
            account.save()
            saved = time.monotonic()
    return unread


def _first(names: Iterable[object], count: int = 3) -> str:
    return ", ".join(str(name) for name in itertools.islice(names, count))
