"""What the headers of image files say, read without decoding them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.components import Data
from harness.data import dicom
from harness.data.grey import open_source
from harness.errors import DataError
from harness.machine import count_processors

if TYPE_CHECKING:
    from PIL.Image import Image

ORIENTATION = 0x0112
"""Number of EXIF's tag that says how an image is held."""
ON_ITS_SIDE = {5, 6, 7, 8}
"""Orientations by which width and height change places."""


@dataclass(frozen=True)
class Header:
    """What one file's header says."""

    size: tuple[int, int]
    """Width and height, once the image is turned as its EXIF says."""
    mode: str
    """Pillow's name for the kind of pixels; of DICOM, what it says itself."""
    frames: int
    """Frames or pages in the file."""
    turned: bool
    """Whether its EXIF says that it is not upright as it is stored."""


def read_header(source: Path | bytes) -> Header | None:
    """Read the header of an image file, or of its bytes; None where it has none that can be read."""
    from PIL import Image

    try:
        if isinstance(source, Path) and dicom.is_dicom(source):
            found = dicom.read_header(source)
            return Header(found.size, f"DICOM {found.photometric} of {found.bits} bits", found.frames, turned=False)
        with open_source(source) as file, Image.open(file) as image:
            orientation = _find_orientation(image)
            width, height = image.size
            if orientation in ON_ITS_SIDE and image.format != "TIFF":  # whose size Pillow gives as it is turned
                width, height = height, width
            return Header((width, height), image.mode, _count_frames(image), orientation != 1)
    except (OSError, ValueError, SyntaxError, DataError, Image.DecompressionBombError):
        return None


def read_headers(data: Data) -> list[Header | None]:
    """Read the headers of a dataset's files, or of their bytes, by threads; None for each image that is an array."""

    def read(index: int) -> Header | None:  # the image is asked for here, so that few bytes are in memory at once
        image = data.images[index]
        if isinstance(image, str | os.PathLike):
            return read_header(Path(image))
        return read_header(image) if isinstance(image, bytes) else None

    with ThreadPoolExecutor(4 * count_processors()) as pool:
        return list(pool.map(read, range(len(data.images))))


def find_sizes(data: Data, wanted: set[str]) -> dict[str, tuple[int, int]]:
    """Width and height of images where known without decoding: from their files' headers, or their array's shape."""
    shape = getattr(data.images, "shape", None)
    sizes: dict[str, tuple[int, int]] = {}
    for index, name in enumerate(data.table["image"]):
        if name not in wanted:
            continue
        file = data.images[index] if data.encoded else None
        if shape is not None:
            sizes[name] = shape[2], shape[1]
        elif isinstance(file, Path | bytes) and (header := read_header(file)) is not None:
            sizes[name] = header.size
    return sizes


def _count_frames(image: Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # noqa: BLE001 - whatever damage after the first frame makes Pillow raise
        return 1


def _find_orientation(image: Image) -> int:
    """Find how an image is held. A PNG is asked only where it says so before its pixels, or it would be decoded."""
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return 1
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - whatever damaged metadata make Pillow raise
        return 1
