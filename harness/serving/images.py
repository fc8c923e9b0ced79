"""Images that a row is applied to: files, folders, arrays or a dataset; one that cannot be used says why."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.components import Data
from harness.data import dicom
from harness.data.decoding import read_file, read_image, resize
from harness.data.grey import GreyScale, UnknownBitsError
from harness.errors import DataError, UsageError
from harness.text import agree

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", *dicom.SUFFIXES)
"""How the images of a folder end; DICOM files often have no ending, which is told by their first bytes."""
FORMATS = ("PNG", "JPEG", "TIFF")
"""What Pillow may read of files; it knows many more, some of which start other programs."""
MOST_BYTES = 2**28
"""Bytes of an image file at most: no radiograph comes near, and decoding more could take all memory."""
MOST_PIXELS = 2**26
"""Pixels of an image at most, such as 8,192 x 8,192."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageSource:
    """N images by name, each read when it is asked for; several threads read at once."""

    names: Sequence[str]
    """(N,) unique."""
    read: Callable[[int], NDArray[np.uint8]]
    """Image number i, (S, S) as the row loads it; raises whatever a damaged file makes a decoder raise."""
    table: pd.DataFrame | None = None
    """What is known of each image, one row for each; None where nothing is."""
    data: Data | None = None
    """The N images as their dataset describes them, with targets; None for images of no dataset."""


def read_path(path: Path, size: int, scale: GreyScale) -> NDArray[np.uint8]:
    """Read a PNG, JPEG, TIFF or DICOM file as grey (size, size) uint8, as training images were read.

    Raises `DataError` for a file that is too large, no ordinary file, or not what can be read; `OSError` or whatever
    else a damaged file makes a decoder raise.
    """
    require_moderate(path, FORMATS)
    return resize(read_file(path, scale), size)


def require_moderate(path: Path, formats: tuple[str, ...] | None = None) -> None:
    """Raise `DataError` for what is no ordinary file, has too many bytes, or says that it has too many pixels.

    Where `formats` are given, of all that Pillow reads only these are images, and each is to hold a single one.
    """
    import PIL.Image

    if not path.exists():
        raise DataError("there is no such file")
    if not path.is_file():
        raise DataError("it is no ordinary file")
    found = path.stat().st_size
    if found > MOST_BYTES:
        raise DataError(f"it has {found / 2**20:,.0f} MiB, and an image may have {MOST_BYTES // 2**20} MiB")
    if dicom.is_dicom(path):
        width, height = dicom.read_header(path).size
    else:
        with path.open("rb") as file, PIL.Image.open(file, formats=formats) as image:
            if formats is not None:
                require_single(image)
            width, height = image.size
    if width * height > MOST_PIXELS:
        raise DataError(f"it has {width:,} x {height:,} pixels, and an image may have {MOST_PIXELS:,}")


def require_single(image: Image) -> None:
    """Raise `DataError` for an opened file of several frames or pages: which of them is meant is not known.

    A photo may hold a smaller copy of itself or its depth behind the picture (the format MPO), which is none.
    """
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:
        raise DataError(f"it holds {frames:,} images; save the right one alone")


def silence_pillow() -> None:
    """Let Pillow no longer warn of large images: the limit here is lower, and names the image."""
    import warnings

    from PIL.Image import DecompressionBombWarning

    warnings.filterwarnings("ignore", category=DecompressionBombWarning)


def explain(error: Exception) -> str:
    """Say in one line why an image cannot be used, without its path."""
    from PIL import UnidentifiedImageError
    from PIL.Image import DecompressionBombError

    if isinstance(error, DecompressionBombError):
        return f"it has too many pixels: an image may have {MOST_PIXELS:,}"
    if isinstance(error, UnidentifiedImageError):
        return "it is no image that can be read; give PNG, JPEG, TIFF or DICOM"
    if isinstance(error, UnknownBitsError):
        return (
            f"its 16-bit values reach {error.largest:,}, and the row was trained on images of 8 bits, so that their "
            "range is not known; convert it to 8 bits"
        )
    if isinstance(error, DataError):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"it cannot be decoded ({type(error).__name__}: {' '.join(str(error).split())})"


# --- where images come from ------------------------------------------------------------------------------------------


def take_files(given: Iterable[Path], size: int, scale: GreyScale) -> tuple[ImageSource, tuple[str, ...]]:
    """Files, and all images of folders, with notes on what was left out.

    A file is called by its name, one of a folder by its path inside it; where two would be called the same, all are
    called by their paths. Raises `UsageError` where there is no image.
    """
    paths: dict[Path, str] = {}
    notes = []
    for path in given:
        if path.is_dir():
            found, others = _list_images(path)
            paths |= {one: make_encodable(one.relative_to(path).as_posix()) for one in found}
            if not found:
                raise UsageError(f"{path} holds no image: give a folder with PNG, JPEG, TIFF or DICOM files")
            if others:
                what = agree(others, "1 file is left out: its name", f"{others:,} files are left out: their names")
                notes.append(f"{path}: {what} {agree(others, 'does', 'do')} not end as those of images do")
        else:
            paths[path] = make_encodable(path.name)
    files = list(paths)
    names = list(paths.values())
    if len(set(names)) < len(names):
        names = [make_encodable(path.as_posix()) for path in files]
    source = ImageSource(names=names, read=lambda number: read_path(files[number], size, scale))
    return source, tuple(notes)


def _list_images(folder: Path) -> tuple[list[Path], int]:
    """The images of a folder and of those inside it, sorted, and how many other files there are."""
    found, others = [], 0
    for place, folders, files in os.walk(folder):
        folders.sort()
        shown = [name for name in files if not name.startswith(".")]
        images = [name for name in shown if _may_be_image(Path(place) / name)]
        found += [Path(place) / name for name in images]
        others += len(shown) - len(images)
    return sorted(found), others


def _may_be_image(path: Path) -> bool:
    """Whether a file ends as images do, or is DICOM without an ending; the list of files on a disc is none."""
    if path.suffix:
        return path.suffix.lower() in SUFFIXES
    try:
        return path.name != "DICOMDIR" and path.is_file() and dicom.is_dicom(path)
    except OSError:
        return True  # which says why it cannot be used


def make_encodable(name: str) -> str:
    """A file's name in which bytes that are no UTF-8 are written by their numbers."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def take_arrays(arrays: Sequence[NDArray[np.uint8]], size: int) -> ImageSource:
    """Grey images (H, W) uint8, called by their numbers. Raises `DataError` for another kind."""
    for array in arrays:
        if array.dtype != np.uint8 or array.ndim != 2:
            raise DataError(f"images must be (H, W) uint8, got {array.shape} {array.dtype}")
    names = [str(number) for number in range(len(arrays))]
    return ImageSource(names=names, read=lambda number: resize(arrays[number], size))


def take_data(data: Data, split: str, size: int, scale: GreyScale) -> ImageSource:
    """A split of a dataset, read as `prepare` does it; an image without a file is one that cannot be used.

    Raises `UsageError` for a split without images.
    """
    chosen = data.select((data.table["split"] == split).to_numpy(dtype=bool))
    if not len(chosen.table):
        raise UsageError(f"the dataset has no images in the split {split}; give another by --split")

    def read(number: int) -> NDArray[np.uint8]:
        image = chosen.images[number]
        if isinstance(image, str | os.PathLike):
            require_moderate(Path(image))
        return read_image(chosen, number, size, scale).pixels

    return ImageSource(names=chosen.table["image"].astype(str).tolist(), read=read, table=chosen.table, data=chosen)


def decode_each(source: ImageSource, workers: int, ahead: int) -> Iterator[NDArray[np.uint8] | str]:
    """Each image (S, S) in order, or why it cannot be used; threads decode at most `ahead` images ahead."""
    from collections import deque
    from concurrent.futures import Future, ThreadPoolExecutor

    def attempt(number: int) -> NDArray[np.uint8] | str:
        try:
            return source.read(number)
        except Exception as error:  # noqa: BLE001 - whatever a damaged file makes a decoder raise, the others go on
            return explain(error)

    silence_pillow()
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[NDArray[np.uint8] | str]] = deque()
        try:
            for number in range(len(source.names)):
                waiting.append(pool.submit(attempt, number))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
