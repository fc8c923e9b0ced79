"""One DICOM file to grey values of 8 bits, as a viewer shows it: modality, window, polarity (PS3.3 C.11, C.7.6.3).

Only what the pixels need is read of a file: no tag of a person is ever in memory.
"""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.dicom_frame import require_promised_size
from harness.data.grey import open_source
from harness.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import FileDataset

PREAMBLE = 128
"""Bytes before the letters that a DICOM file begins with."""
MAGIC = b"DICM"
SUFFIXES = (".dcm", ".dicom")
"""How files end that are DICOM even without a preamble."""
LATERAL = ("LL", "RL", "LATERAL", "LAT", "LLD", "RLD")
"""View positions of images taken from the side."""
FILMS = ("CR", "DX", "DR", "RG", "OT", "SC")
"""Modalities of radiographs (PS3.3 C.7.3.1.1.1): computed, digital and on film.

DR is no term of the standard, but devices write it for DX. OT (other) and SC say nothing of the image and stand in
scanned and exported films, which are read as files without a modality are. Angiography (XA) and fluoroscopy (RF) are
no films.
"""
TAGS = (
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "PlanarConfiguration",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction", "WindowCenter",
    "WindowWidth", "ViewPosition", "ImageType", "Modality", "PixelData", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)  # fmt: skip
"""All that is read of a file beside its pixels."""
PIECE = 2**20
"""Bytes that are unfolded at a time to count them."""
MOST_UNFOLDED = 2**28
"""Bytes that a deflated data set may unfold to; pydicom unfolds it whole before anything of it is known."""
INSTALL = "pip install 'cxr-harness[dicom]'"
GPL = {"1.2.840.10008.1.2.4.51": "JPEG Extended, of 12 bits,"}
"""Transfer syntaxes that no package of the extra reads."""


@dataclass(frozen=True)
class DicomHeader:
    """What a file says of its pixels."""

    size: tuple[int, int]
    """Width and height."""
    photometric: str
    frames: int
    bits: int
    """Bits of a value."""
    view: str
    """AP, PA, LL, ...; empty where it is not said."""


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its first bytes or, where it has none of a preamble, by its name."""
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif", ".tiff"):  # not worth opening each one once more
        return False
    with path.open("rb") as file:
        file.seek(PREAMBLE)
        return file.read(len(MAGIC)) == MAGIC


def read_header(source: Path | bytes) -> DicomHeader:
    """Read what a file, or its bytes, says of its pixels, and no pixels.

    Raises `DataError` where it is no whole DICOM image.
    """
    file = _open(source, pixels=False)
    return DicomHeader(
        size=(_count(file, "Columns"), _count(file, "Rows")),
        photometric=str(file.get("PhotometricInterpretation", "")),
        frames=_count_frames(file),
        bits=_count(file, "BitsStored"),
        view=_find_view(file),
    )


def decode(source: Path | bytes, *, stretch: bool = False, view_known: bool = False) -> NDArray[np.uint8]:
    """Read a DICOM radiograph, a file or its bytes, as grey (H, W) uint8, dark where little was absorbed, as
    MONOCHROME2 shows it.

    Stored values go through the modality's rescaling or table, then the first VOI table or window of the file, and are
    scaled to 8 bits; where there is neither, all values that its bits can hold span black to white, or with `stretch`
    its own smallest and largest value do, padding apart. MONOCHROME1 is inverted.

    Raises `DataError` for another modality than a radiograph's, color, several frames, a localizer, and an image from
    the side unless `view_known` says that the dataset's table has told the view; for a damaged file; and for a
    compression that nothing installed reads.
    """
    file = _open(source, pixels=True)
    _require_radiograph(file, view_known=view_known)
    stored = _read_pixels(file)
    values = _apply_modality(file, stored)
    grey = _stretch(file, stored, values) if stretch else _apply_window(file, values)
    return 255 - grey if str(file.PhotometricInterpretation) == "MONOCHROME1" else grey


# --- reading ---------------------------------------------------------------------------------------------------------


@cache
def _import_pydicom() -> Any:
    """pydicom, which then neither warns nor raises for odd values of tags: its messages would quote them."""
    try:
        import pydicom
        from pydicom import config
    except ImportError as error:
        raise DataError(f"DICOM files need the package pydicom; {INSTALL}") from error
    config.settings.reading_validation_mode = config.IGNORE
    warnings.filterwarnings("ignore", module=r"pydicom\b")
    return pydicom


def _open(source: Path | bytes, *, pixels: bool) -> FileDataset:
    pydicom = _import_pydicom()
    read = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        _require_moderate_unfolding(source)
        file: FileDataset = pydicom.dcmread(read, force=True, specific_tags=list(TAGS), stop_before_pixels=not pixels)
    except (OSError, DataError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes pydicom raise
        raise DataError(f"no whole DICOM file ({type(error).__name__}); get it again") from None
    if "Rows" not in file or "Columns" not in file:
        raise DataError("no DICOM image: it says nothing of rows and columns; get it again, or leave it out")
    return file


def _require_moderate_unfolding(source: Path | bytes) -> None:
    """Raise `DataError` for a deflated data set that unfolds to more than memory should hold."""
    from pydicom.filereader import _read_file_meta_info, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    with open_source(source) as file:
        read_preamble(file, force=True)
        if _read_file_meta_info(file).get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        unfolding, unfolded = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while packed := unfolding.unconsumed_tail or file.read(PIECE):
            unfolded += len(unfolding.decompress(packed, PIECE))
            if unfolded > MOST_UNFOLDED:
                raise DataError(f"its deflated data unfold to more than {MOST_UNFOLDED // 2**20} MiB; get it again")
            if unfolding.eof:
                return


def _count(file: FileDataset, tag: str) -> int:
    return int(file.get(tag) or 0)


def _count_frames(file: FileDataset) -> int:
    try:
        return max(1, int(file.get("NumberOfFrames") or 1))
    except ValueError:
        return 1


def _find_view(file: FileDataset) -> str:
    return str(file.get("ViewPosition") or "").strip().upper()


def _require_radiograph(file: FileDataset, *, view_known: bool) -> None:
    """Refuse what is no single grey image from the front, as far as the file says what it is."""
    modality = str(file.get("Modality") or "").strip().upper()
    if modality and modality not in FILMS:
        known = f"{', '.join(FILMS[:-1])} or {FILMS[-1]}"
        raise DataError(f"an image of the modality {modality}, so no radiograph ({known}, or none told); leave it out")
    photometric, frames = str(file.get("PhotometricInterpretation", "")), _count_frames(file)
    if int(file.get("SamplesPerPixel") or 1) != 1 or not photometric.startswith("MONOCHROME"):
        raise DataError(f"no grey image ({photometric or 'its kind is not told'}), so no radiograph; leave it out")
    if frames > 1:
        raise DataError(f"{frames:,} frames in one file, so no radiograph; leave it out, or save the right one alone")
    kinds = file.get("ImageType")
    if "LOCALIZER" in [str(kind).upper() for kind in ([kinds] if isinstance(kinds, str) else kinds or ())]:
        raise DataError("a localizer, not a radiograph; leave it out")
    view = _find_view(file)
    if view in LATERAL and not view_known:
        raise DataError(f"an image from the side (view {view}); leave it out, or give the table a column of views")


def _read_pixels(file: FileDataset) -> NDArray[Any]:
    """Stored values (H, W)."""
    syntax = file.file_meta.get("TransferSyntaxUID") if hasattr(file, "file_meta") else None
    if syntax is None:
        file.file_meta.TransferSyntaxUID = syntax = _import_pydicom().uid.ImplicitVRLittleEndian
    _require_decoder(syntax)
    if syntax.is_encapsulated:
        require_promised_size(file.PixelData, (_count(file, "Columns"), _count(file, "Rows")))
    try:
        return np.asarray(file.pixel_array)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever damaged data make a decoder raise
        raise DataError(f"its pixels cannot be read ({type(error).__name__}); get it again") from None


@cache
def _require_decoder(syntax: Any) -> None:
    """Raise `DataError`, caused by an `ImportError`, for a compression that nothing installed reads."""
    from pydicom.pixels.decoders.base import get_decoder

    if not syntax.is_compressed or syntax.is_deflated:
        return
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise DataError(f"its compression, {syntax.name}, is none of single images; save it in another one") from None
    if str(syntax) in GPL and not find_spec("libjpeg"):
        way = f"{GPL[str(syntax)]} is read by the package pylibjpeg-libjpeg alone, whose license is GPL-3; install it"
        raise DataError(f"{way} if that suits you, or decompress the file") from ImportError("pylibjpeg-libjpeg")
    if not decoder.is_available:
        raise DataError(f"no package that reads {syntax.name} is installed; {INSTALL}") from ImportError(syntax.name)


# --- from stored values to grey --------------------------------------------------------------------------------------


def _apply_modality(file: FileDataset, stored: NDArray[Any]) -> NDArray[np.float64]:
    """Values of the modality (H, W): by its table, or rescaled (PS3.3 C.11.1)."""
    from pydicom.pixels.processing import apply_modality_lut

    try:
        return np.asarray(apply_modality_lut(stored, file), dtype=np.float64)
    except Exception as error:  # noqa: BLE001 - a damaged table
        raise DataError(f"its modality table cannot be applied ({type(error).__name__}); get it again") from None


def _find_range(file: FileDataset) -> tuple[float, float]:
    """The smallest and largest value that stored bits can hold, as values of the modality."""
    bits, signed = _count(file, "BitsStored") or _count(file, "BitsAllocated"), _count(file, "PixelRepresentation")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    table = file.get("ModalityLUTSequence")
    if table:
        return 0.0, float(2 ** _entry_bits(table[0]) - 1)
    slope, intercept = float(file.get("RescaleSlope") or 1), float(file.get("RescaleIntercept") or 0)
    ends = low * slope + intercept, high * slope + intercept
    return min(ends), max(ends)


def _entry_bits(table: Any) -> int:
    """Bits of the entries of a table; some files say 8 where they have 16."""
    return int(table.LUTDescriptor[2])


def _apply_window(file: FileDataset, values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Grey (H, W): by the first VOI table or window (PS3.3 C.11.2), or over all values that there can be."""
    table = file.get("VOILUTSequence")
    if table:
        return _apply_table(table[0], values)
    center, width = _first(file.get("WindowCenter")), _first(file.get("WindowWidth"))
    if center is None or width is None or width <= 0:
        low, high = _find_range(file)
        return _scale(values, low, high)
    function = str(file.get("VOILUTFunction") or "LINEAR")
    if function == "SIGMOID":
        return np.round(255 / (1 + np.exp(-4 * (values - center) / width))).astype(np.uint8)
    if function == "LINEAR_EXACT":
        return _scale(values, center - width / 2, center + width / 2)
    if width <= 1:  # a threshold
        return np.where(values <= center - 0.5, 0, 255).astype(np.uint8)
    return _scale(values, center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2)


def _apply_table(table: Any, values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Grey (H, W) by a VOI table: values below its first are as the first, those above its last as the last."""
    try:
        count, first = int(table.LUTDescriptor[0]) or 2**16, int(table.LUTDescriptor[1])
        entries = np.asarray(_read_entries(table.LUTData, count), dtype=np.float64)
        places = np.clip(np.round(values) - first, 0, len(entries) - 1).astype(np.intp)
        return _scale(entries[places], 0, 2 ** _entry_bits(table) - 1)
    except Exception as error:  # noqa: BLE001 - a damaged table
        raise DataError(f"its VOI table cannot be applied ({type(error).__name__}); get it again") from None


def _read_entries(data: Any, count: int) -> Any:
    """The entries of a table, which stand as numbers, or as bytes where nothing says which kind they are."""
    if not isinstance(data, bytes):
        return data
    return np.frombuffer(data, dtype=np.uint8 if len(data) < 2 * count else "<u2", count=count)


def _first(value: Any) -> float | None:
    """The first of several windows; None where there is none, or it is no number."""
    one = value[0] if isinstance(value, Sequence) and not isinstance(value, str) and len(value) else value
    try:
        number = float(one)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _scale(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    """Scale from [low, high] to 0..255; what lies beyond is black or white."""
    grey: NDArray[np.uint8] = np.round(np.clip((values - low) * (255 / (high - low)), 0, 255)).astype(np.uint8)
    return grey


def _stretch(file: FileDataset, stored: NDArray[Any], values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Scale from the image's own smallest value to its largest; padding is no value of the image."""
    padding = file.get("PixelPaddingValue")
    inside = np.ones(stored.shape, dtype=bool)
    if padding is not None:
        limit = file.get("PixelPaddingRangeLimit")
        ends = sorted((int(padding), int(padding if limit is None else limit)))
        inside = (stored < ends[0]) | (stored > ends[1])
    within = values[inside] if inside.any() else values
    low, high = float(within.min()), float(within.max())
    return _scale(values, low, high if high > low else low + 1)
