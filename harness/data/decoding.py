"""Image files to grey pixels, by threads; what a failure says of the file."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.components import Data
from harness.errors import DataError
from harness.machine import count_processors

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 8
"""Images that a thread decodes before it reports."""
PROVOKED = {None, errno.EINVAL, errno.EOVERFLOW}
"""Numbers of the errors that a decoder has from a damaged file: none of the system's, or seeking a place nowhere."""


@dataclass(frozen=True)
class Failure:
    """Why an image is not decoded."""

    reason: str
    lasting: bool
    """Whether its file is there, could be read, and does not decode."""


Decoded = list[tuple[int, "NDArray[np.uint8] | Failure"]]


def decode_chunks(data: Data, load_size: int, indices: NDArray[np.intp]) -> Iterator[Decoded]:
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
            decoded.append((index, read_image(data, index, load_size)))
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
    image = data.images[index]
    if isinstance(image, str | os.PathLike):
        try:
            Path(image).read_bytes()
        except OSError:
            return False
    return True


def read_image(data: Data, index: int, load_size: int) -> NDArray[np.uint8]:
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
