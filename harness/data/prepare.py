"""Decode every image once, by all cores, into a uint8 memory map in the cache."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.components import Data
from harness.data.cache import DIGESTS, PIXELS, Account, Manifest, examine, identify, locked
from harness.data.cached_sets import use_as_long_as, using
from harness.data.decoding import Progress, decode_all
from harness.data.grey import UNKNOWN, GreyScale
from harness.data.loading import Source
from harness.errors import DataError, UsageError
from harness.files import sweep
from harness.text import agree

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 3
"""Version of the preparation, raised when the same file gives other pixels, or the cache has another form."""
ALLOW = "set allow_missing = true under [dataset] (--option allow_missing=true)"
"""How images are left out that have no file, or whose file does not decode."""

Remark = Callable[[str], None]
"""A function that is told what a person should know."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """The images in use, decoded: those that are there and can be read."""

    data: Data
    images: NDArray[np.uint8]
    """(N, S, S) uint8 memory map in the order of `data`; pages are read when they are touched."""
    missing: tuple[str, ...] = ()
    """Images without a file, left out by `allow_missing`."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Images whose file could not be decoded, and why: left out by `allow_missing`."""
    digest: str = ""
    """sha256 over all pixels, made while decoding."""
    digests: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 16), dtype=np.uint8))
    """(N, 16) of each image's pixels; empty where nothing was decoded."""
    scale: GreyScale = UNKNOWN
    """How the values of files became bytes; no bits where no file has more than 8."""
    few_levels: Mapping[str, int] = field(default_factory=dict)
    """Images of few grey levels, and how many each had before it was resized."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Split -> how many of its images are missing or cannot be decoded; splits that are whole are absent."""
    folder: Path | None = None
    """Where the decoded images lie in the cache, which is there as long as `images` is; None where they do not."""


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

    Raises `DataError` for missing files and for files that do not decode unless `source.allow_missing`, for more of the
    latter than `source.unreadable_limit`, for files that could not be read this time, and where no image is left;
    `UsageError` for options of pixels where the dataset makes its own; `StorageError` for a cache that cannot be read
    or written.
    """
    _require_own_pixels(source, data)
    present, stamps = _present(source, data)
    missing, whole = tuple(data.table["image"][~present].astype(str)), data
    data = whole.select(present)
    folder = cache / f"{source.dataset.name}-{load_size}px-{_key(source, data, stamps, load_size)}"
    if not decode_now:
        finished = Manifest.read(folder) or Manifest(0, {}, "")
        empty = np.empty((0, load_size, load_size), dtype=np.uint8)
        return _describe(source, whole, missing, _select_readable(source, data, finished), empty, finished)
    with using(folder) as handles:
        finished = _obtain(source, data, folder, load_size, progress, remark, check_all=check_all)
        kept = _select_readable(source, data, finished)
        # copy-on-write, so that torch takes it for writable; nothing writes
        shape = (len(kept.table), load_size, load_size)
        images = np.memmap(folder / PIXELS, dtype=np.uint8, mode="c", shape=shape)
        use_as_long_as(images, handles)
        digests = np.load(folder / DIGESTS, allow_pickle=False)
    return replace(_describe(source, whole, missing, kept, images, finished), digests=digests, folder=folder)


def _select_readable(source: Source, data: Data, finished: Manifest) -> Data:
    """The images that were decoded. Raises `DataError` where others may not be left out."""
    _require_readable(source, len(data.table), finished.unreadable)
    return data.select(~data.table["image"].astype(str).isin(list(finished.unreadable)).to_numpy(dtype=bool))


def _describe(
    source: Source,
    whole: Data,
    missing: tuple[str, ...],
    kept: Data,
    images: NDArray[np.uint8],
    finished: Manifest,
) -> Prepared:
    """What is in use of the whole data, and what is not."""
    return Prepared(
        data=kept,
        images=images,
        missing=missing,
        unreadable=finished.unreadable,
        digest=finished.digest,
        scale=GreyScale(finished.bits, source.stretch),
        few_levels=finished.few_levels,
        left_out=_count_left_out(whole, kept),
    )


def describe_left_out(prepared: Prepared) -> str | None:
    """Say how many images are left out, why, and which are the first; None where all are used."""
    parts = []
    if prepared.missing:
        count = len(prepared.missing)
        parts.append(f"{count:,} without a file (first {prepared.missing[0]})")
    if prepared.unreadable:
        image, reason = next(iter(prepared.unreadable.items()))
        parts.append(f"{len(prepared.unreadable):,} that cannot be decoded (first {image}: {reason})")
    left_out = len(prepared.missing) + len(prepared.unreadable)
    total = left_out + len(prepared.data.table)
    return (
        f"{left_out:,} of {total:,} images {agree(left_out, 'is', 'are')} left out: {', and '.join(parts)}"
        if parts
        else None
    )


def _require_own_pixels(source: Source, data: Data) -> None:
    """Refuse options of pixels for a dataset whose pixels the harness does not read from image files itself."""
    if source.pixel_options and (not data.encoded or data.decode is not None):
        raise UsageError(
            f"{' and '.join(source.pixel_options)}: dataset '{source.dataset.name}' makes its grey values itself; "
            "leave the option out"
        )


def _require_readable(source: Source, total: int, unreadable: Mapping[str, str]) -> None:
    """Refuse files that do not decode, unless they may be left out and are few enough for that."""
    count, limit = len(unreadable), source.unreadable_limit
    if not count or (source.allow_missing and count < total and count <= limit * total):
        return
    if count == total:
        way_out = "check the files"
    elif source.allow_missing:
        way_out = (
            f"this is a share of {count / total:.3g}, above unreadable_limit = {limit:g}: replace the files, or raise "
            "the limit under [dataset] (--option unreadable_limit=SHARE)"
        )
    else:
        way_out = f"replace the files, or {ALLOW}, which leaves them out"
    first = "; ".join(f"{image}: {reason}" for image, reason in itertools.islice(unreadable.items(), 3))
    raise DataError(
        f"{count:,} of {total:,} images of '{source.dataset.name}' in {source.root} cannot be decoded, first {first}; "
        f"{way_out}"
    )


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
        way_out = "check the folder" if absent == len(stats) else f"complete the folder, or {ALLOW}"
        raise DataError(
            f"{absent:,} of {len(stats):,} images of '{source.dataset.name}' {agree(absent, 'is', 'are')} "
            f"missing in {source.root}, "
            f"first {first}; {way_out}"
        )
    return present, [_stamp(stat) for stat in stats if stat is not None]


def _count_left_out(whole: Data, used: Data) -> dict[str, int]:
    """Split -> how many of its images are not in use; splits that are whole are absent."""
    before, after = (Counter(data.table["split"].astype(str)) for data in (whole, used))
    return dict(before - after)


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
        "pixels": source.pixel_options,
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
        return state.finished or decode_all(source, data, Account.open(folder, len(data.table), load_size), progress)


def _first(names: Iterable[object], count: int = 3) -> str:
    return ", ".join(str(name) for name in itertools.islice(names, count))
