"""The cache's folder of one dataset's decoded images: what lies there, and whether it is still what was decoded.

Each image has a digest, made while it is decoded, and the manifest holds one over all digests. Finished images are
checked against them when they are first opened after a boot, or when a file is another than the one that was checked
last. A small file is checked whole; a larger one by its first image, its last, and a random sample of as many others as
`SECONDS` allow.

A sample finds what has damaged much of a file: pages that a crash left zero, a copy that broke off. It misses damage to
a share `p` of the images with probability `(1 - p) ** n` where it looks at `n` of them, so one flipped bit in a large
file is found by luck alone, or by `harness data check`, which reads all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from harness.data.grey import FEW_LEVELS
from harness.errors import StorageError
from harness.files import storage_problem, write_atomically
from harness.locks import hold_lock
from harness.machine import count_processors, identify_boot
from harness.text import agree

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIXELS, DIGESTS, MANIFEST = "pixels.u8", "digests.npy", "manifest.json"
"""Finished images: their pixels, one after another, a digest of each, and what is said of them all."""
DONE = "done.npy"
"""Grey levels of each image of unfinished work; 0 for one that is not decoded yet."""
BITS = "bits.json"
"""Bits that unfinished work has found in 16-bit files."""
CHECKED = "checked.json"
"""The files that were found sound, and since which boot."""
SMALL = 64 * 2**20
"""Bytes of pixels up to which all are checked."""
SECONDS = 1.5
"""Seconds that the check of a sample takes."""
BATCH = 2**20
"""Bytes that a thread checks before it reports."""


def locked(folder: Path, remark: Callable[[str], None] | None = None) -> AbstractContextManager[None]:
    """Make a folder of the cache this process's; who has to wait remarks it.

    Raises `StorageError` where it cannot be written.
    """
    return hold_lock(folder / "lock", f"the decoded images in {folder}", remark, "choose another --cache-dir")


def digest_image(pixels: bytes) -> bytes:
    """Make the digest of an image's pixels, 16 bytes."""
    return hashlib.blake2b(pixels, digest_size=16).digest()


# --- finished work ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Manifest:
    """What is said of finished work."""

    size: int
    """Bytes of pixels."""
    unreadable: Mapping[str, str]
    """Images whose file could not be decoded, and why."""
    digest: str
    """sha256 over the digests of all images."""
    bits: int | None = None
    """Bits of the values in 16-bit files; None where there are none."""
    few_levels: Mapping[str, int] = field(default_factory=dict)
    """Images of few grey levels, and how many each had before it was resized."""

    def write(self, folder: Path) -> None:
        """Write the manifest, sealed by a digest of its own."""
        seal = hashlib.sha256(json.dumps(vars(self)).encode()).hexdigest()
        write_atomically(folder / MANIFEST, json.dumps({**vars(self), "seal": seal}, indent=1))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read the manifest; none where it is damaged."""
        try:
            plain = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            seal = plain.pop("seal")
            finished = cls(**plain)
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return finished if seal == hashlib.sha256(json.dumps(plain).encode()).hexdigest() else None


@dataclass(frozen=True)
class Examined:
    """What was found in a folder: nothing finished, finished work that is sound, or damage."""

    finished: Manifest | None = None
    damage: str | None = None
    files: Mapping[str, Any] | None = None
    """The identity of the damaged files."""


def examine(folder: Path, load_size: int, *, check_all: bool = False) -> Examined:
    """Look whether finished images are there and, unless that was done since the last boot, whether they are sound.

    `check_all` reads every image in any case. Raises `StorageError` where the cache cannot be read.
    """
    files = identify(folder)
    try:
        if not (folder / MANIFEST).exists():
            return Examined()
        finished = Manifest.read(folder)
        if finished is None:
            return Examined(damage="its manifest is not what was written", files=files)
        if check_all or _recall(folder) != files:
            damage = _find_damage(folder, finished, load_size, check_all=check_all)
            if damage is not None:
                return Examined(damage=damage, files=files)
            remember(folder, files)
    except OSError as error:
        raise StorageError(
            f"cannot read the cache {folder}: {error.strerror}; try again, remove it, or choose another --cache-dir"
        ) from None
    return Examined(finished)


def _find_damage(folder: Path, finished: Manifest, load_size: int, *, check_all: bool) -> str | None:
    """What is wrong with finished images, as far as all of them or a sample show it."""
    try:
        digests = np.load(folder / DIGESTS, allow_pickle=False)
        size = (folder / PIXELS).stat().st_size
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is gone"
    except (ValueError, EOFError):
        return f"{DIGESTS} cannot be read"
    count = finished.size // load_size**2
    if digests.shape != (count, 16) or hashlib.sha256(digests.tobytes()).hexdigest() != finished.digest:
        return f"{DIGESTS} is not what was written"
    if size != finished.size:
        return f"{PIXELS} has {size:,} bytes instead of {finished.size:,}"
    if check_all or size <= SMALL:
        wrong, checked = _find_wrong(folder, digests, load_size, np.arange(count))
    else:
        wrong, checked = _check_sample(folder, digests, load_size)
    return (
        f"{len(wrong):,} of the {checked:,} images looked at {agree(len(wrong), 'is', 'are')} not what was decoded"
        if wrong
        else None
    )


def _check_sample(folder: Path, digests: NDArray[np.uint8], load_size: int) -> tuple[list[int], int]:
    """The wrong ones of the first image, the last and as many others as there is time for; how many were looked at."""
    until, last = time.monotonic() + SECONDS, len(digests) - 1
    wrong, checked = _find_wrong(folder, digests, load_size, np.unique([0, last]))
    others = np.random.default_rng().permutation(np.arange(1, last))
    more_wrong, more_checked = _find_wrong(folder, digests, load_size, others, until)
    return wrong + more_wrong, checked + more_checked


def _find_wrong(
    folder: Path, digests: NDArray[np.uint8], load_size: int, indices: NDArray[np.int64], until: float = math.inf
) -> tuple[list[int], int]:
    """Which images are not those of their digests, and how many were looked at until then.

    Read, not mapped: what a disk cannot read is then an error, where a memory map would kill the process.
    """
    image = load_size**2

    def look(batch: NDArray[np.int64]) -> tuple[list[int], int]:
        wrong: list[int] = []
        for seen, index in enumerate(batch.tolist()):
            if time.monotonic() > until:
                return wrong, seen
            if digest_image(os.pread(handle, image, index * image)) != digests[index].tobytes():
                wrong.append(index)
        return wrong, len(batch)

    step = max(1, BATCH // image)
    with (folder / PIXELS).open("rb") as file, ThreadPoolExecutor(count_processors()) as pool:
        handle = file.fileno()
        batches = list(pool.map(look, [indices[start : start + step] for start in range(0, len(indices), step)]))
    return [index for wrong, _ in batches for index in wrong], sum(seen for _, seen in batches)


def identify(folder: Path) -> dict[str, Any]:
    """What tells the files of finished work from others in their place, and this boot from others."""
    identity: dict[str, Any] = {"boot": identify_boot()}
    for name in (PIXELS, DIGESTS, MANIFEST):
        with contextlib.suppress(OSError):
            stat = (folder / name).stat()
            identity[name] = [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    return identity


def _recall(folder: Path) -> Any:
    """The files that were found sound."""
    try:
        return json.loads((folder / CHECKED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def remember(folder: Path, files: Mapping[str, Any]) -> None:
    """Remember files as sound; where nothing can be written, they are checked again next time."""
    with contextlib.suppress(StorageError):
        write_atomically(folder / CHECKED, json.dumps(files))


# --- work under way --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Account:
    """Pixels that are being decoded into a folder, and which of them are there."""

    folder: Path
    pixels: np.memmap[Any, Any]
    """(N, S, S) uint8, on the disk."""
    levels: NDArray[np.uint16]
    """(N,), grey levels of each image; 0 for one that is not decoded yet."""
    digests: NDArray[np.uint8]
    """(N, 16)."""

    @classmethod
    def open(cls, folder: Path, count: int, load_size: int) -> Self:
        """Go on with an interrupted run's account, less what has been damaged since, or begin again."""
        (folder / MANIFEST).unlink(missing_ok=True)
        arrays = _load_account(folder, count, load_size)
        if arrays is None:
            _make_room(folder, count * load_size**2)
            arrays = np.zeros(count, dtype=np.uint16), np.zeros((count, 16), dtype=np.uint8)
        pixels = np.memmap(folder / PIXELS, dtype=np.uint8, mode="r+", shape=(count, load_size, load_size))
        return cls(folder, pixels, *arrays)

    @property
    def done(self) -> NDArray[np.bool_]:
        """Which images are decoded, (N,)."""
        return self.levels > 0

    @property
    def bits(self) -> int | None:
        """Bits that were found in 16-bit files, by this run or by one that was interrupted."""
        return _read_bits(self.folder)

    def keep_bits(self, bits: int) -> None:
        """Keep what was found for all 16-bit files, before the first of them is decoded by it."""
        write_atomically(self.folder / BITS, json.dumps(bits))

    def enter(self, index: int, image: NDArray[np.uint8], levels: int) -> None:
        """Take a decoded image (S, S) and the number of its grey levels."""
        self.pixels[index] = image
        self.digests[index] = np.frombuffer(digest_image(image.tobytes()), dtype=np.uint8)
        self.levels[index] = levels

    def save(self) -> None:
        """Save pixels first, then what says that they are there."""
        self.pixels.flush()
        write_atomically(self.folder / DIGESTS, lambda path: np.save(path, self.digests))
        write_atomically(self.folder / DONE, lambda path: np.save(path, self.levels))

    def finish(self, names: Sequence[str], unreadable: Mapping[str, str], bits: int | None) -> Manifest:
        """Leave the pixels of all images that could be decoded, and the manifest, in which images have their names."""
        self.save()
        kept = np.flatnonzero(self.done)
        if len(kept) < len(self.done):
            self._compact(kept)
        digests = self.digests[kept]
        few = {names[index]: int(self.levels[index]) for index in kept.tolist() if self.levels[index] < FEW_LEVELS}
        digest = hashlib.sha256(digests.tobytes()).hexdigest()
        finished = Manifest(len(kept) * self.pixels[0].nbytes, unreadable, digest, bits, few)
        finished.write(self.folder)
        for name in (DONE, BITS):
            (self.folder / name).unlink(missing_ok=True)
        remember(self.folder, identify(self.folder))
        return finished

    def _compact(self, kept: NDArray[np.int64]) -> None:
        """Close the gaps that unreadable images leave, so that the files hold the images in use and no others."""
        (self.folder / DONE).unlink(missing_ok=True)  # half-compacted pixels must not pass for an account's
        for place, index in enumerate(kept):
            self.pixels[place] = self.pixels[index]
        self.pixels.flush()
        os.truncate(self.folder / PIXELS, len(kept) * self.pixels[0].nbytes)
        write_atomically(self.folder / DIGESTS, lambda path: np.save(path, self.digests[kept]))


def _load_account(folder: Path, count: int, load_size: int) -> tuple[NDArray[np.uint16], NDArray[np.uint8]] | None:
    """An interrupted run's account; images whose pixels are not those of their digest count as not done."""
    try:
        levels, digests = (np.load(folder / name, allow_pickle=False) for name in (DONE, DIGESTS))
        if levels.shape != (count,) or digests.shape != (count, 16):
            return None
        if (folder / PIXELS).stat().st_size != count * load_size**2:
            return None
        _read_bits(folder)
        wrong, _ = _find_wrong(folder, digests, load_size, np.flatnonzero(levels))
    except (OSError, ValueError, EOFError):
        return None
    levels[wrong] = 0
    return levels, digests


def _read_bits(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / BITS).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def _make_room(folder: Path, size: int) -> None:
    """Put an empty pixel file in place of whatever lies there, which others may be reading still."""
    for name in (DONE, BITS, DIGESTS, CHECKED, PIXELS):
        (folder / name).unlink(missing_ok=True)
    try:
        with (folder / PIXELS).open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # a memory map of a full disk would kill the process
            file.truncate(size)
    except OSError as error:
        reason = storage_problem(error) or error.strerror
        (folder / PIXELS).unlink(missing_ok=True)
        raise StorageError(
            f"cannot write {folder / PIXELS} ({size:,} bytes): {reason}; choose another --cache-dir"
        ) from None
