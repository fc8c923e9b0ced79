"""All images of a dataset to grey pixels of one size, by threads; what a failure says of a file."""

from __future__ import annotations

import errno
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.components import Data
from harness.data import dicom, grey
from harness.data.cache import Account, Manifest
from harness.data.grey import GreyScale, UnknownBitsError, count_levels, describe_scale, find_bits
from harness.data.loading import Source
from harness.errors import DataError
from harness.machine import count_processors

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 8
"""Images that a thread decodes before it reports."""
SAVE_EVERY = 5.0
"""Seconds of work at most that an interruption loses."""
ATTEMPTS = 2
"""Times that a file is tried which could not be read."""
PROVOKED = {None, errno.EINVAL, errno.EOVERFLOW}
"""Numbers of the errors that a decoder has from a damaged file: none of the system's, or seeking a place nowhere."""

Progress = Callable[[int, int], None]
"""A function that is told how many images of how many are done."""


@dataclass(frozen=True)
class Failure:
    """Why an image is not decoded."""

    reason: str
    lasting: bool
    """Whether its file is there, could be read, and does not decode."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded image."""

    pixels: NDArray[np.uint8]
    """(S, S)."""
    levels: int
    """Grey levels that it had before it was resized."""


@dataclass(frozen=True)
class Deep:
    """A 16-bit image, which waits until the bits of its dataset are known."""

    largest: int
    """Its largest value."""


Decoded = list[tuple[int, Picture | Deep | Failure]]


# --- all images of a dataset ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Undecoded:
    """What was found of images that are not decoded, by their place in the dataset."""

    unreadable: dict[int, str] = field(default_factory=dict)
    """Why files do not decode."""
    unread: dict[int, str] = field(default_factory=dict)
    """Why files could not be read this time."""
    deep: dict[int, int] = field(default_factory=dict)
    """The largest value of each 16-bit file that waits until the bits of the dataset are known."""


def decode_all(source: Source, data: Data, account: Account, progress: Progress | None) -> Manifest:
    """Decode what is not done yet, keeping account of it beside the pixels.

    16-bit files are only looked at while their bits are not known, and decoded once all have been looked at. Raises
    `DataError` where a file cannot be read: the next time goes on from here.
    """
    found = Undecoded()
    scale = GreyScale(source.bits or account.bits, source.stretch)
    _decode_left(source, account, data, scale, found, progress)
    if found.deep:
        scale = replace(scale, bits=find_bits(max(found.deep.values())))
        account.keep_bits(scale.bits or 0)
        found.deep.clear()
        _decode_left(source, account, data, scale, found, progress)
    names = data.table["image"].astype(str).tolist()
    unreadable = {names[index]: reason for index, reason in sorted(found.unreadable.items())}
    return account.finish(names, unreadable, scale.bits)


def _decode_left(
    source: Source, account: Account, data: Data, scale: GreyScale, found: Undecoded, progress: Progress | None
) -> None:
    """Decode the images that are left, and try again those whose file could not be read."""
    for _ in range(ATTEMPTS):
        found.unread.clear()
        left = np.flatnonzero(~account.done)
        left = left[~np.isin(left, [*found.unreadable, *found.deep])]
        _decode_into(account, data, left, scale, found, progress)
        if not found.unread:
            return
    account.save()
    first, reason = min(found.unread.items())
    raise DataError(
        f"{len(found.unread):,} of {len(data.table):,} images of '{source.dataset.name}' could not be read, first "
        f"{data.table['image'].iloc[first]}: {reason}; see to that and run the same command again, which decodes these "
        "alone (or remove the files and set allow_missing = true under [dataset])"
    )


def _decode_into(
    account: Account,
    data: Data,
    indices: NDArray[np.intp],
    scale: GreyScale,
    found: Undecoded,
    progress: Progress | None,
) -> None:
    """Decode some images, noting what is found of those that cannot be decoded now."""
    saved = time.monotonic()
    for finished in _decode_chunks(data, account.pixels.shape[1], indices, scale):
        for index, image in finished:
            if isinstance(image, Failure):
                (found.unreadable if image.lasting else found.unread)[index] = image.reason
            elif isinstance(image, Deep):
                found.deep[index] = image.largest
            else:
                account.enter(index, image.pixels, image.levels)
        if progress is not None:
            progress(int(account.done.sum()) + len(found.unreadable), len(data.table))
        if time.monotonic() - saved > SAVE_EVERY:
            account.save()
            saved = time.monotonic()


# --- one image after another ----------------------------------------------------------------------------------------


def _decode_chunks(data: Data, load_size: int, indices: NDArray[np.intp], scale: GreyScale) -> Iterator[Decoded]:
    """Decode by threads (Pillow and NumPy let go of the interpreter's lock), few chunks ahead of what is taken."""
    chunks = iter([indices[start : start + CHUNK] for start in range(0, len(indices), CHUNK)])
    workers = count_processors()
    with ThreadPoolExecutor(workers) as pool:

        def submit(count: int) -> set[Future[Decoded]]:
            return {
                pool.submit(_decode_chunk, data, load_size, chunk, scale) for chunk in itertools.islice(chunks, count)
            }

        waiting = submit(4 * workers)
        try:
            while waiting:
                ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                waiting |= submit(len(ended))
                yield from (future.result() for future in ended)
        finally:
            pool.shutdown(cancel_futures=True)


def _decode_chunk(data: Data, load_size: int, chunk: NDArray[np.intp], scale: GreyScale) -> Decoded:
    decoded: Decoded = []
    for index in map(int, chunk):
        try:
            decoded.append((index, read_image(data, index, load_size, scale)))
        except UnknownBitsError as error:
            decoded.append((index, Deep(error.largest)))
        except Exception as error:  # noqa: BLE001 - whatever a damaged file makes a decoder raise, the others go on
            decoded.append((index, Failure(f"{type(error).__name__}: {error}", _is_lasting(error, data, index))))
    return decoded


def _is_lasting(error: Exception, data: Data, index: int) -> bool:
    """Whether an image does not decode because of what its file holds, which is there to be read.

    A disk or a network that was away, a permission, a memory that was full or a library that is not installed say
    nothing of the file.
    """
    for cause in (error, error.__cause__):
        if isinstance(cause, MemoryError | ImportError):
            return False
        if isinstance(cause, OSError) and cause.errno not in PROVOKED:
            return False
    if isinstance(data.images, Sequence):
        try:
            Path(data.images[index]).read_bytes()
        except OSError:
            return False
    return True


def read_image(data: Data, index: int, load_size: int, scale: GreyScale) -> Picture:
    """Read image `index` and resize it to (load_size, load_size) uint8."""
    image = data.images[index]
    if isinstance(image, bytes):
        pixels = grey.decode(image, scale)
    elif not isinstance(image, str | os.PathLike):
        pixels = image
    elif data.decode is not None:
        pixels = data.decode(Path(image))
    else:
        pixels = read_file(Path(image), scale, view_known=_is_view_known(data, index))
    if pixels.dtype != np.uint8 or pixels.ndim != 2:
        raise DataError(f"an image must be (H, W) uint8, got {pixels.shape} {pixels.dtype}")
    return Picture(resize(pixels, load_size), count_levels(pixels))


def read_file(path: Path, scale: GreyScale, *, view_known: bool = False) -> NDArray[np.uint8]:
    """Read an image file as grey (H, W) uint8: DICOM by `dicom.decode`, all else by `grey.decode`."""
    if dicom.is_dicom(path):
        return dicom.decode(path, stretch=scale.stretch, view_known=view_known)
    return grey.decode(path, scale)


def _is_view_known(data: Data, index: int) -> bool:
    """Whether the dataset's table says from where an image was taken, so that one from the side is wanted."""
    view = data.table["view"].iloc[index] if "view" in data.table else None
    return isinstance(view, str) and view != ""


def describe_values(data: Data, scale: GreyScale) -> str | None:
    """Say how the values of files became bytes; None where the files had bytes, or the dataset makes its own."""
    told = describe_scale(scale)
    if data.decode is not None or not isinstance(data.images, Sequence) or scale.stretch:
        return told
    count = sum(str(path).lower().endswith(dicom.SUFFIXES) for path in data.images)
    if not count:
        return told
    shown = f"{count:,} DICOM files are shown by their own table or window, or over all values that their bits can hold"
    return f"{told}; {shown}" if told else shown


def resize(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Squash an image (H, W) to (size, size) by an antialiased bilinear filter (Pillow's, as torchvision's Resize)."""
    from PIL import Image

    if pixels.shape == (size, size):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))
