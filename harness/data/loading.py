"""From a dataset's name and options to its `Data`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.components import Data, Dataset
from harness.data.splits import NO_PATIENTS, UNKNOWN, require_disjoint
from harness.errors import DataError, HarnessError, UsageError
from harness.parameters import complete
from harness.registry import Offer

CORE_OPTIONS: Mapping[str, bool] = {"allow_missing": False, "allow_leaks": False}
"""Options that every dataset has: work on the images that are there; accept a patient in two splits."""


SHOWN = 3
"""Images that a message names."""
RULES = (
    ", or have the first kept or the rows of several readers counted: --option duplicates=first or "
    "--option duplicates=vote"
)
"""The way out for a dataset with such an option."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset with its options, complete and checked, and where it lies."""

    dataset: Dataset
    code: str
    """sha256 of an external plugin's files; empty for a bundled dataset."""
    options: dict[str, Any]
    """The dataset's own options, defaults included."""
    root: Path
    allow_missing: bool = False
    allow_leaks: bool = False


def find_source(offer: Offer, options: Mapping[str, Any], data_root: Path) -> Source:
    """Check a dataset's options and find its folder: `data_root/NAME` where that exists, else `data_root`.

    Raises `UnknownNameError` for an option that it does not have, `UsageError` for a value that it cannot take.
    """
    dataset = offer.component
    if not isinstance(dataset, Dataset):
        raise UsageError(f"'{offer.component.name}' is no dataset")
    core = {name: options.get(name, default) for name, default in CORE_OPTIONS.items()}
    for name, value in core.items():
        if not isinstance(value, bool):
            raise UsageError(f"{name} must be true or false, got {value!r}")
    own = {name: value for name, value in options.items() if name not in CORE_OPTIONS}
    folder = data_root / dataset.name
    root = folder if folder.is_dir() else data_root
    return Source(dataset=dataset, code=offer.code, options=complete(dataset, dataset.load, own), root=root, **core)


def load(source: Source) -> Data:
    """Read a dataset's label files; its notes say where no patient is known.

    Raises `DataError` where they are missing or damaged.
    """
    try:
        data = source.dataset.load(source.root, **source.options)
    except HarnessError:
        raise
    except Exception as error:
        raise DataError(f"dataset '{source.dataset.name}' in {source.root}: {type(error).__name__}: {error}") from error
    return data if data.patients_known else replace(data, notes={**data.notes, UNKNOWN: NO_PATIENTS})


def load_disjoint(source: Source) -> Data:
    """Read label files as `load` does, and refuse a patient who stands in two splits unless the options allow it.

    Raises `DataError` for images that several rows are about, too.
    """
    data = load(source)
    if data.repeated:
        raise DataError(
            f"{source.root}: {len(data.repeated):,} images stand in more than one row of the label file: "
            f"{'; '.join(data.repeated[:SHOWN])}; keep one row each{RULES if 'duplicates' in source.options else ''}"
        )
    return require_disjoint(data, allow=source.allow_leaks)
