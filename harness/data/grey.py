"""One image file to grey values of 8 bits: which way it is held, how many bits it stores, what its colors weigh."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from harness.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

DEPTHS = (8, 10, 12, 14, 16)
"""Bits that the values of a dataset's 16-bit files may have."""
FEW_LEVELS = 64
"""Grey levels below which an image has lost what a radiograph shows."""
GRID = 256
"""Side in pixels of the grid on which levels are counted first: counting those of all pixels takes longer."""
WAYS_OUT = "give the bits of the dataset with --option bits=N (bits = N under [dataset])"
BITS_PER_SAMPLE, WHITE_IS_ZERO, SAMPLE_FORMAT = 258, 262, 339
"""Numbers of TIFF's tags; the second is 0 where the smallest value is white."""


@dataclass(frozen=True)
class GreyScale:
    """How the values of files become 8 bits: the same way for all files of a dataset, unless it is told to stretch."""

    bits: int | None = None
    """Bits of the values in 16-bit files; None where nobody has looked yet."""
    stretch: bool = False
    """Whether each image's own smallest value becomes 0, and its largest 255."""


UNKNOWN = GreyScale()
"""Nothing is known of a dataset's 16-bit files."""


@dataclass(frozen=True)
class Stored:
    """How a file stores its values, as far as its header says it."""

    deep: bool = False
    """Whether a value has more than 8 bits."""
    signed: bool = False
    bits: int | None = None
    """Bits that the format itself declares; None for 16-bit values that may be of fewer bits."""
    inverted: bool = False
    """Whether the smallest value is white, and Pillow leaves it so."""
    unbounded: str = ""
    """The kind of values, where they have no known range."""


class UnknownBitsError(DataError):
    """A 16-bit file was read, and nobody knows yet how many bits the values of its dataset have."""

    def __init__(self, largest: int) -> None:
        super().__init__(f"16-bit values up to {largest:,} have no known range; {WAYS_OUT}")
        self.largest = largest


def decode(source: Path | bytes, scale: GreyScale = UNKNOWN) -> NDArray[np.uint8]:
    """Read an image file, or its bytes, as grey (H, W) uint8, turned as its EXIF says; of several frames, the first.

    Colors and palettes become luma (ITU-R 601-2), transparency is ignored. 16-bit values are divided by what the bits
    of the dataset hold, signed ones from the smallest that they can be. Raises `UnknownBitsError` where those bits are
    not known, `DataError` for a value beyond them and for values that have no known range.
    """
    from PIL import Image

    # opened as a file, since Pillow maps a TIFF that it is given by name, and scrambles one that lies on its side
    with open_source(source) as file, Image.open(file) as image:
        stored = examine(image)
        if stored.unbounded and not scale.stretch:
            raise DataError(
                f"{stored.unbounded} have no known range; convert the file to 8 or 16 bits, or have each image "
                "stretched to its own range with --option stretch=true"
            )
        image.load()
        turn(image)
        if stored.deep:
            values = np.asarray(image)
            grey = _stretch(values) if scale.stretch else _reduce(values, stored, scale)
            return 255 - grey if stored.inverted else grey
        grey = np.asarray(image.convert("L"))
        if stored.signed:
            grey = np.bitwise_xor(grey, 128, dtype=np.uint8)  # Pillow takes -128 for 128
    return _stretch(grey) if scale.stretch else grey


@contextlib.contextmanager
def open_source(source: Path | bytes) -> Iterator[BinaryIO]:
    """Open a file, or its bytes. Raises `DataError` for bytes that are of no image."""
    from PIL import UnidentifiedImageError

    if not isinstance(source, bytes):
        with source.open("rb") as file:
            yield file
        return
    if not source:
        raise DataError("it holds no bytes")
    try:
        yield io.BytesIO(source)
    except UnidentifiedImageError:  # whose own message names a place in memory
        raise DataError(f"its {len(source):,} bytes are of no kind of image that Pillow knows") from None


def examine(image: Image) -> Stored:
    """Tell from an opened file's header how it stores its values. Raises `DataError` for what Pillow would cut off."""
    tiles = getattr(image, "tile", None)
    if tiles:
        arguments = tiles[0][3]
        layout = arguments if isinstance(arguments, str) else (arguments or ("",))[0]
        if ";16" in str(layout) and not image.mode.startswith("I"):
            raise DataError(
                "of its 16 bits a color, the lower 8 would be lost; save it as 16-bit grey or with 8 bits a color"
            )
    if image.format == "EPS":
        raise DataError("it is a program for a printer (EPS), which is not run; save it as an image")
    if image.format == "TIFF":
        return _examine_tiff(image)
    if image.mode == "F":
        return Stored(deep=True, unbounded="floating-point values")
    if not image.mode.startswith("I"):
        return Stored()
    if image.format in ("PPM", "JPEG2000"):  # they say what their largest value is, by which Pillow scales to 16 bits
        return Stored(deep=True, bits=16)
    return Stored(deep=True) if image.format == "PNG" else Stored(deep=True, unbounded=f"values of {image.format}")


def _examine_tiff(image: Image) -> Stored:
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits, form = (tags.get(tag, (1,)) for tag in (BITS_PER_SAMPLE, SAMPLE_FORMAT))
    size, signed = bits[0], form[0] == 2
    if image.mode != "F" and not image.mode.startswith("I"):
        return Stored(signed=signed)
    inverted = tags.get(WHITE_IS_ZERO) == 0
    if image.mode == "F":
        return Stored(deep=True, unbounded="floating-point values", inverted=inverted)
    if size > 16:
        return Stored(deep=True, unbounded=f"{size}-bit values", signed=signed, inverted=inverted)
    return Stored(deep=True, signed=signed, bits=size if size < 16 else None, inverted=inverted)


def turn(image: Image) -> None:
    """Turn a loaded image as its EXIF says; a damaged EXIF says nothing."""
    from PIL import ImageOps

    with contextlib.suppress(Exception):  # whatever damaged metadata make Pillow raise, the pixels are whole
        ImageOps.exif_transpose(image, in_place=True)


def _reduce(values: NDArray[np.integer], stored: Stored, scale: GreyScale) -> NDArray[np.uint8]:
    """Bring 16-bit values to 8 bits, by the range that all files of the dataset share."""
    bits = stored.bits or scale.bits or (16 if stored.signed else None)
    smallest, largest = int(values.min()), int(values.max())
    if bits is None:
        raise UnknownBitsError(largest)
    low = -(2 ** (bits - 1)) if stored.signed else 0
    high = low + 2**bits - 1
    if smallest < low or largest > high:
        beyond = smallest if smallest < low else largest
        raise DataError(f"its value {beyond:,} is beyond {bits} bits ({low:,} to {high:,}); {WAYS_OUT}")
    table = _make_table(bits)
    return table[values.astype(np.int32) - low]


@functools.lru_cache(len(DEPTHS))
def _make_table(bits: int) -> NDArray[np.uint8]:
    """The byte of each value from 0 to 2**bits - 1."""
    table: NDArray[np.uint8] = np.round(np.arange(2**bits) * (255 / (2**bits - 1))).astype(np.uint8)
    return table


def _stretch(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Stretch an image from its smallest value to its largest; a constant one becomes 0."""
    exact = values.astype(np.float64)
    if not np.isfinite(exact).all():
        raise DataError(
            "some of its values are no finite numbers, so that it has no range to stretch; convert the file"
        )
    low, high = exact.min(), exact.max()
    grey: NDArray[np.uint8] = np.round((exact - low) * (255 / (high - low if high > low else 1))).astype(np.uint8)
    return grey


def describe_scale(scale: GreyScale) -> str | None:
    """Say how the values of files became bytes; None where the files had bytes."""
    if scale.stretch:
        return "each image is stretched from its own smallest value to its largest"
    if scale.bits is None:
        return None
    return f"values of 16-bit files are taken as {scale.bits}-bit ones, 0 to {2**scale.bits - 1:,}"


def find_bits(largest: int) -> int:
    """The smallest depth that holds a value of 16-bit files."""
    return next(bits for bits in DEPTHS if largest < 2**bits)


def count_levels(pixels: NDArray[np.uint8]) -> int:
    """How many grey levels an image has: exact where they are few, at least that many where they are not."""
    step = max(1, min(pixels.shape) // GRID)
    seen = _count(pixels[::step, ::step])
    return seen if seen >= FEW_LEVELS or step == 1 else _count(pixels)


def _count(pixels: NDArray[np.uint8]) -> int:
    return int(np.count_nonzero(np.bincount(pixels.ravel(), minlength=256)))
