"""What the headers of image files say, read without decoding them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data import dicom
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


def read_header(path: Path) -> Header | None:
    """Read an image file's header; None where it has none that can be read."""
    from PIL import Image

    try:
        if dicom.is_dicom(path):
            found = dicom.read_header(path)
            return Header(found.size, f"DICOM {found.photometric} of {found.bits} bits", found.frames, turned=False)
        with path.open("rb") as file, Image.open(file) as image:
            orientation = _find_orientation(image)
            width, height = image.size
            if orientation in ON_ITS_SIDE and image.format != "TIFF":  # whose size Pillow gives as it is turned
                width, height = height, width
            return Header((width, height), image.mode, _count_frames(image), orientation != 1)
    except (OSError, ValueError, SyntaxError, DataError, Image.DecompressionBombError):
        return None


def read_headers(paths: Sequence[Path]) -> list[Header | None]:
    """Read the headers of many files, by threads."""
    with ThreadPoolExecutor(4 * count_processors()) as pool:
        return list(pool.map(read_header, paths))


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
