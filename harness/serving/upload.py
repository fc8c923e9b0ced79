"""An image that somebody sends: what it is by its first bytes, how large it says it is, and its grey pixels.

It is never a file on this machine, and its size is known before its pixels are unpacked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.data import dicom, grey
from harness.data.decoding import resize
from harness.serving.images import explain, require_single, silence_pillow
from harness.serving.limits import RefusedError
from harness.serving.rows import LoadedRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
"""First bytes of the kinds of images that Pillow may read here; it knows many more, and each is a door."""


def read_upload(content: bytes, name: str, row: LoadedRow, most_pixels: int) -> NDArray[np.uint8]:
    """Read an image's bytes as grey (S, S) uint8, as the row's training images were read.

    `name` is what its sender calls it, which matters for DICOM that does not say so itself. Raises `RefusedError` with
    the reason: 415 for what is no image of these kinds, 413 for too many pixels, 422 for an image that cannot be used.
    """
    from PIL.Image import DecompressionBombError

    silence_pillow()
    kind = find_kind(content, name)
    if kind is None:
        raise RefusedError(415, "This is no PNG, JPEG, TIFF or DICOM image, whatever its name says.")
    try:
        _require_pixels(*_find_size(content, kind), most_pixels)
        pixels = (
            dicom.decode(content, stretch=row.scale.stretch) if kind == "DICOM" else grey.decode(content, row.scale)
        )
        return resize(pixels, row.size)
    except RefusedError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes a decoder raise
        status = 413 if isinstance(error, DecompressionBombError) else 422
        raise RefusedError(status, f"This image cannot be used: {explain(error)}.") from None


def find_kind(content: bytes, name: str) -> str | None:
    """PNG, JPEG, TIFF or DICOM, by the first bytes; by its name only for DICOM without a preamble. None for others.

    A DICOM file may begin as a TIFF does, so that viewers of both can read it: what it says as DICOM counts.
    """
    if content.startswith(dicom.MAGIC, dicom.PREAMBLE) or name.lower().endswith(dicom.SUFFIXES):
        return "DICOM"
    return next((kind for beginning, kind in BEGINNINGS.items() if content.startswith(beginning)), None)


def _find_size(content: bytes, kind: str) -> tuple[int, int]:
    """Width and height by the header alone."""
    if kind == "DICOM":
        return dicom.read_header(content).size
    from PIL import Image

    with grey.open_source(content) as file, Image.open(file, formats=[kind]) as image:
        require_single(image)
        return image.size


def _require_pixels(width: int, height: int, most: int) -> None:
    if width * height > most:
        found = f"{width:,} x {height:,}"
        raise RefusedError(413, f"This image has {found} pixels, and it may have {most:,}. It was not unpacked.")
