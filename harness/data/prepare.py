"""Decode every image once, by all cores, into a uint8 memory map in the cache."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock

from harness.components import Data
from harness.data.loading import Source
from harness.errors import DataError, StorageError
from harness.files import storage_problem, sweep, write_atomically
from harness.machine import count_processors

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1
"""Version of the preparation, raised when the same file gives other pixels."""
CHUNK = 8
"""Images that a thread decodes before it reports."""
SAVE_EVERY = 5.0
"""Seconds of work at most that an interruption loses."""

Progress = Callable[[int, int], None]
"""A function that is told how many images of how many are done."""


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
    *,
    decode_now: bool = True,
) -> Prepared:
    """Decode images to `load_size` x `load_size` grey pixels, squashing those that are not square, or open the cache.

    Interrupted work continues where it stopped; two processes take turns. Without `decode_now`, images that are not in
    the cache stay undecoded: the data is told, `images` is empty, and nothing is written.

    Raises `DataError` for missing files unless `source.allow_missing`, and where no image is left; `StorageError` for a
    cache that cannot be written.
    """
    present, stamps = _present(source, data)
    missing = tuple(data.table["image"][~present].astype(str))
    data = data.select(present)
    folder = cache / f"{source.dataset.name}-{load_size}px-{_key(source, data, stamps, load_size)}"
    manifest = _finished(folder)
    if manifest is None and not decode_now:
        return Prepared(data, np.empty((0, load_size, load_size), dtype=np.uint8), missing, {}, "")
    if manifest is None:
        with _locked(folder):
            sweep([folder])
            manifest = _finished(folder) or _decode_all(data, load_size, folder, progress)
    unreadable: dict[str, str] = manifest["unreadable"]
    data = data.select(~data.table["image"].astype(str).isin(list(unreadable)).to_numpy(dtype=bool))
    if not len(data.table):
        raise DataError(
            f"no image of dataset '{source.dataset.name}' could be read; first: {_first(unreadable.items())}"
        )
    shape = (len(data.table), load_size, load_size)
    # copy-on-write, so that torch takes it for writable; nothing writes
    images = np.memmap(folder / PIXELS, dtype=np.uint8, mode="c", shape=shape)
    return Prepared(data, images, missing, unreadable, manifest["digest"])


# --- which images, and under which key -------------------------------------------------------------------------------


def _present(source: Source, data: Data) -> tuple[NDArray[np.bool_], list[tuple[int, int]]]:
    """Which images have a file, (N,), and the size and time of each that has; arrays are always there."""
    if not isinstance(data.images, Sequence):
        return np.ones(len(data.images), dtype=bool), [_stamp(path.stat()) for path in data.sources]
    stats = [_stat(path) for path in data.images]
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


def _stat(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - Path.stat costs half as much again, 112,120 times
    except OSError:
        return None


def _stamp(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_size, stat.st_mtime_ns


def _key(source: Source, data: Data, stamps: list[tuple[int, int]], load_size: int) -> str:
    """What the pixels depend on. Files speak for themselves; an array also depends on the dataset's options."""
    identity = {
        "prepare": VERSION,
        "dataset": [source.dataset.name, source.dataset.version, source.code],
        "options": {} if isinstance(data.images, Sequence) else source.options,
        "load_size": load_size,
        "stamps": stamps,
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode())
    digest.update("\n".join(data.table["image"].astype(str)).encode())
    return digest.hexdigest()[:16]


# --- decoding --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Make a folder of the cache this process's. Raises `StorageError` where it cannot be written."""
    lock = FileLock(folder / "lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise StorageError(f"cannot write the cache {folder}: {error.strerror}; choose another --cache-dir") from None
    try:
        yield
    finally:
        lock.release()


PIXELS, DONE, DIGESTS, MANIFEST = "pixels.u8", "done.npy", "digests.npy", "manifest.json"


def _finished(folder: Path) -> dict[str, Any] | None:
    """The manifest of finished work; a pixel file of another length than it says is work to be done again."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return manifest if (folder / PIXELS).stat().st_size == manifest["bytes"] else None
    except (OSError, ValueError, KeyError):
        return None


def _decode_all(data: Data, load_size: int, folder: Path, progress: Progress | None) -> dict[str, Any]:
    """Decode what is not done yet, keeping account of it beside the pixels, and write the manifest."""
    count = len(data.table)
    done, digests = _resume(folder, count, load_size)
    pixels = np.memmap(folder / PIXELS, dtype=np.uint8, mode="r+", shape=(count, load_size, load_size))
    unreadable: dict[int, str] = {}
    saved = time.monotonic()
    for finished in _decode_chunks(data, load_size, np.flatnonzero(~done)):
        for index, image in finished:
            if isinstance(image, str):
                unreadable[index] = image
                continue
            pixels[index] = image
            digests[index] = np.frombuffer(hashlib.blake2b(image.tobytes(), digest_size=16).digest(), dtype=np.uint8)
            done[index] = True
        if progress is not None:
            progress(int(done.sum()) + len(unreadable), count)
        if time.monotonic() - saved > SAVE_EVERY:
            _account(folder, pixels, done, digests)
            saved = time.monotonic()
    _account(folder, pixels, done, digests)
    _compact(folder, pixels, done)
    manifest = {
        "bytes": int(done.sum()) * load_size * load_size,
        "unreadable": {str(data.table["image"].iloc[index]): reason for index, reason in sorted(unreadable.items())},
        "digest": hashlib.sha256(digests[done].tobytes()).hexdigest(),
    }
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1))
    for name in (DONE, DIGESTS):
        (folder / name).unlink(missing_ok=True)
    return manifest


def _resume(folder: Path, count: int, load_size: int) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """The account of an interrupted run, or a new one beside an empty pixel file."""
    size = count * load_size * load_size
    try:
        done, digests = (np.load(folder / name, allow_pickle=False) for name in (DONE, DIGESTS))
        if done.shape == (count,) and digests.shape == (count, 16) and (folder / PIXELS).stat().st_size == size:
            return done, digests
    except (OSError, ValueError):
        pass
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
    return np.zeros(count, dtype=bool), np.zeros((count, 16), dtype=np.uint8)


def _account(folder: Path, pixels: np.memmap[Any, Any], done: NDArray[np.bool_], digests: NDArray[np.uint8]) -> None:
    """Pixels first, then what says that they are there."""
    pixels.flush()
    write_atomically(folder / DIGESTS, lambda path: np.save(path, digests))
    write_atomically(folder / DONE, lambda path: np.save(path, done))


def _compact(folder: Path, pixels: np.memmap[Any, Any], done: NDArray[np.bool_]) -> None:
    """Close the gaps that unreadable images leave, so that the file holds the images in use and no others."""
    if done.all():
        return
    (folder / DONE).unlink(missing_ok=True)  # half-compacted pixels must not pass for an account's
    kept = np.flatnonzero(done)
    for place, index in enumerate(kept):
        pixels[place] = pixels[index]
    pixels.flush()
    os.truncate(folder / PIXELS, len(kept) * pixels[0].nbytes)


Decoded = list[tuple[int, "NDArray[np.uint8] | str"]]


def _decode_chunks(data: Data, load_size: int, indices: NDArray[np.intp]) -> Iterator[Decoded]:
    """Decode by threads (Pillow and NumPy let go of the interpreter's lock), few chunks ahead of what is taken."""
    chunks = iter([indices[start : start + CHUNK] for start in range(0, len(indices), CHUNK)])
    workers = count_processors()
    with ThreadPoolExecutor(workers) as pool:

        def submit(count: int) -> set[Future[Decoded]]:
            return {pool.submit(_decode_chunk, data, load_size, chunk) for chunk in itertools.islice(chunks, count)}

        waiting = submit(4 * workers)
        try:
            while waiting:
                ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                waiting |= submit(len(ended))
                yield from (future.result() for future in ended)
        finally:
            pool.shutdown(cancel_futures=True)


def _decode_chunk(data: Data, load_size: int, chunk: NDArray[np.intp]) -> Decoded:
    decoded: Decoded = []
    for index in map(int, chunk):
        try:
            decoded.append((index, _read(data, index, load_size)))
        except Exception as error:  # noqa: BLE001 - whatever a damaged file makes a decoder raise, the others go on
            decoded.append((index, f"{type(error).__name__}: {error}"))
    return decoded


def _read(data: Data, index: int, load_size: int) -> NDArray[np.uint8]:
    """Image `index` as (load_size, load_size) uint8."""
    image = data.images[index]
    pixels = (data.decode or decode)(Path(image)) if isinstance(image, str | os.PathLike) else image
    if pixels.dtype != np.uint8 or pixels.ndim != 2:
        raise DataError(f"an image must be (H, W) uint8, got {pixels.shape} {pixels.dtype}")
    return resize(pixels, load_size)


def decode(path: Path) -> NDArray[np.uint8]:
    """Read an image file as grey (H, W) uint8: 16-bit values are divided by 257, colors and palettes become luma
    (ITU-R 601-2), transparency is ignored.
    """
    from PIL import Image

    with Image.open(path) as image:
        if image.mode.startswith("I"):  # 16-bit grey
            return np.round(np.asarray(image, dtype=np.float64) / 257).clip(0, 255).astype(np.uint8)
        if image.mode == "F":
            raise DataError("floating-point images have no known range; convert them to 8 or 16 bits")
        return np.asarray(image.convert("L"))


def resize(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Squash an image (H, W) to (size, size) by an antialiased bilinear filter (Pillow's, as torchvision's Resize)."""
    from PIL import Image

    if pixels.shape == (size, size):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))


def _first(names: Iterable[object], count: int = 3) -> str:
    return ", ".join(str(name) for name in itertools.islice(names, count))
