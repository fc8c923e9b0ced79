"""From a dataset's name and options to its `Data`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.components import Data, Dataset
from harness.data.image_level import ImageLevel, exchange
from harness.data.splits import NO_PATIENTS, UNKNOWN, require_disjoint
from harness.errors import DataError, HarnessError, UsageError
from harness.parameters import complete
from harness.registry import Offer
from harness.text import agree, count
from harness.units import Unit
from harness.values import read_value

if TYPE_CHECKING:
    from numpy.typing import NDArray

CORE_OPTIONS: Mapping[str, Any] = {
    "allow_missing": False,
    "unreadable_limit": 0.1,
    "allow_leaks": False,
    "image_level": "",
    "bits": None,
    "stretch": False,
}
"""Options that every dataset has, with their defaults."""
CORE_ABOUT: Mapping[str, str] = {
    "allow_missing": "Work on the images that are there, although others are missing.",
    "unreadable_limit": "Stop if more than this share of the image files cannot be decoded.",
    "allow_leaks": "Accept patients who are in more than one split.",
    "image_level": "Measure what a split by image is worth: train on the leaking half, or on its reference.",
    "bits": "Take the values of 16-bit files to have this many bits. Left out, it is found.",
    "stretch": "Stretch each image to its own range of values.",
}
"""What each of them does, in a sentence."""
CORE_TYPES: Mapping[str, Any] = {
    "allow_missing": bool,
    "unreadable_limit": float,
    "allow_leaks": bool,
    "image_level": ImageLevel,
    "bits": int | None,
    "stretch": bool,
}
SHOWN = 3
"""Images that a message names."""
RULES = ", or keep the first of them (--option duplicates=first) or what most of them say (--option duplicates=vote)"
"""The way out for a dataset with such an option."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset with its options, complete and checked, and where it lies."""

    dataset: Dataset
    code: str
    """Digest of an external plugin's source; empty for a bundled dataset."""
    options: dict[str, Any]
    """The dataset's own options, defaults included."""
    root: Path
    allow_missing: bool = False
    """Whether images without a file, and those that cannot be decoded, are left out."""
    unreadable_limit: float = 0.1
    """Share of the files above which those that cannot be decoded are not left out."""
    allow_leaks: bool = False
    image_level: ImageLevel = ""
    """The half of the experiment on splits by image that this is; empty outside of it."""
    bits: int | None = None
    """Bits of the values in 16-bit files, where given."""
    stretch: bool = False
    """Whether each image is stretched to its own range."""

    @property
    def pixel_options(self) -> dict[str, Any]:
        """Options that change pixels, where they are not the default."""
        chosen = {"bits": self.bits, "stretch": self.stretch}
        return {name: value for name, value in chosen.items() if value != CORE_OPTIONS[name]}


def find_source(offer: Offer, options: Mapping[str, Any], data_root: Path) -> Source:
    """Check a dataset's options and find its folder: `data_root/NAME` where that exists, else `data_root`.

    Raises `UnknownNameError` for an option that it does not have, `UsageError` for a value that it cannot take.
    """
    dataset = offer.component
    if not isinstance(dataset, Dataset):
        raise UsageError(f"'{offer.component.name}' is no dataset")
    core = {name: options.get(name, default) for name, default in CORE_OPTIONS.items()}
    core = _read_core(core)
    own = {name: value for name, value in options.items() if name not in CORE_OPTIONS}
    folder = data_root / dataset.name
    root = folder if folder.is_dir() else data_root
    return Source(dataset=dataset, code=offer.code, options=complete(dataset, dataset.load, own), root=root, **core)


def _read_core(given: Mapping[str, Any]) -> dict[str, Any]:
    """Read options of every dataset. Raises `UsageError` for a value that one cannot take."""
    core = {name: read_value(name, CORE_TYPES[name], value) for name, value in given.items()}
    limit, bits = core["unreadable_limit"], core["bits"]
    if not 0 <= limit <= 1:
        raise UsageError(f"unreadable_limit must be a share from 0 to 1, got {limit!r}")
    if bits is not None and not 8 <= bits <= 16:
        raise UsageError(f"bits must be a whole number from 8 to 16, got {bits!r}; leave it out to have it found")
    if bits is not None and core["stretch"]:
        raise UsageError(
            "bits and stretch exclude each other: a stretched image has its own range; leave one of them out"
        )
    return core


def load(source: Source) -> Data:
    """Read a dataset's label files; its notes say where no patient is known.

    Raises `DataError` where they are missing or damaged, or `image_level` cannot be had of them.
    """
    try:
        data = source.dataset.load(source.root, **source.options)
    except HarnessError:
        raise
    except Exception as error:
        raise DataError(f"dataset '{source.dataset.name}' in {source.root}: {type(error).__name__}: {error}") from error
    if source.image_level:
        return exchange(require_disjoint(data, allow=source.allow_leaks), source.image_level)
    return data if data.patients_known else replace(data, notes={**data.notes, UNKNOWN: NO_PATIENTS})


def load_disjoint(source: Source) -> Data:
    """Read label files as `load` does, and refuse a patient who stands in two splits unless the options allow it.

    Raises `DataError` for images that several rows are about, too.
    """
    data = load(source)
    require_single(source, data)
    return require_disjoint(data, allow=source.allow_leaks or source.image_level == "leaking")


def require_single(source: Source, data: Data) -> None:
    """Raise `DataError` where several rows of the label file are about one image."""
    if data.repeated:
        raise DataError(
            f"{source.root}: {count(len(data.repeated), 'image')} {agree(len(data.repeated), 'stands', 'stand')} "
            f"in more than one row of the label "
            f"file: "
            f"{'; '.join(data.repeated[:SHOWN])}; keep one row each{RULES if 'duplicates' in source.options else ''}"
        )


def list_units(data: Data, split: str, unit: Unit) -> NDArray[np.str_]:
    """Names of the images, studies or patients of a split, sorted; of images where nothing tells studies."""
    chosen = data.table["split"].to_numpy() == split
    named = data.table["image" if unit == "image" else "patient"].to_numpy(dtype=str)
    return np.unique((data.studies if unit == "study" and data.studies is not None else named)[chosen])


def require_units(source: Source, data: Data, unit: Unit) -> None:
    """Raise `DataError` where a dataset does not say which images belong to one study or patient that is scored."""
    if unit == "image" or (data.patients_known if unit == "patient" else data.studies is not None):
        return
    if unit in source.options:
        way_out = f'name it by the dataset\'s option {unit}, as in {unit} = "Path:(.*{unit}\\\\d+)"'
    else:
        way_out = f"make a dataset of it whose table has a column {unit}, such as by csv"
    way_out += ', or set unit = "patient"' if unit == "study" and data.patients_known else ', or set unit = "image"'
    raise DataError(
        f"board.toml has unit = \"{unit}\", and nothing of dataset '{source.dataset.name}' says which images belong to "
        f"one {unit}; {way_out}"
    )
