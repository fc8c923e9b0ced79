"""Parquet files of the Hugging Face hub: their columns as texts, and the images whose bytes stand in them."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from harness import DataError, find_usual, suggest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INSTALL = "pip install 'cxr-harness[hub]'"
KEPT = 4
"""Groups of rows that are in memory at most: threads decode images in order, few groups apart."""


@dataclass(frozen=True)
class ImageColumn:
    """Where the images of a parquet file stand."""

    name: str
    data: str = ""
    """The column of their bytes; empty where there are paths alone."""
    path: str = ""
    """The column of their paths, or of the names that the files had; empty where there is none."""


def open_parquet(path: Path) -> Any:
    """Open a parquet file as pyarrow's `ParquetFile`. Raises `DataError` where it is none, or pyarrow is missing."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(f"{path} is read by pyarrow, which is not installed: {INSTALL}") from error
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path} is no parquet file, or a damaged one: {str(error).splitlines()[0]}") from error


def find_image_column(file: Any, path: Path, asked: str) -> ImageColumn:
    """Find the column of images: the one that is asked for, or the only one that holds bytes, or one of paths.

    Raises `DataError` where there is none, or several may be meant.
    """
    import pyarrow as pa

    columns = {one.name: _describe(one) for one in file.schema_arrow}
    images = {name: column for name, column in columns.items() if column is not None}
    if asked in images:
        return images[asked]
    if asked in columns:
        raise DataError(f"{path}: column '{asked}' holds {file.schema_arrow.field(asked).type} and no images or paths")
    if asked != "image":
        raise DataError(f"{path} has no column '{asked}'{suggest(asked, columns)}; name it by --option image=COLUMN")
    texts = {
        name for name in images if not images[name].data and not pa.types.is_struct(file.schema_arrow.field(name).type)
    }
    found = [name for name in images if name not in texts] or find_usual("image", texts)
    if len(found) != 1:
        what = f"several columns that may be of images ({', '.join(found)})" if found else "no column of images"
        raise DataError(f"{path} has {what}; it has {', '.join(columns)}; name one by --option image=COLUMN")
    return images[found[0]]


def _describe(one: Any) -> ImageColumn | None:
    """Say where images would stand in a column; None where it can hold none."""
    import pyarrow as pa

    if pa.types.is_binary(one.type) or pa.types.is_large_binary(one.type):
        return ImageColumn(one.name, data=one.name)
    if pa.types.is_string(one.type) or pa.types.is_large_string(one.type):
        return ImageColumn(one.name, path=one.name)
    if pa.types.is_struct(one.type):
        parts = {part.name: f"{one.name}.{part.name}" for part in one.type}
        if {"bytes", "path"} & set(parts):
            return ImageColumn(one.name, data=parts.get("bytes", ""), path=parts.get("path", ""))
    return None


# --- columns as texts ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns of a file as texts, one for each row; what is null is an empty text."""

    texts: dict[str, list[str]]
    lists: frozenset[str] = frozenset()
    """Those that list findings."""
    left_out: tuple[str, ...] = ()
    """Those that hold neither values nor findings."""


def read_columns(file: Any, path: Path, image: ImageColumn | None, separator: str) -> Columns:
    """Read all columns but that of the images. Raises `DataError` for a damaged file, and as `join` does."""
    import pyarrow as pa

    features = _read_features(file.schema_arrow)
    texts: dict[str, list[str]] = {}
    lists, left_out = set(), []
    for one in file.schema_arrow:
        if image is not None and one.name == image.name:
            continue
        listed = pa.types.is_list(one.type) or pa.types.is_large_list(one.type) or pa.types.is_fixed_size_list(one.type)
        names = _find_names(features.get(one.name))
        element = one.type.value_type if listed else one.type
        held = pa.types.is_nested(element) or pa.types.is_binary(element) or pa.types.is_large_binary(element)
        if held or (listed and not names and not _is_text(element)):
            left_out.append(one.name)
            continue
        values = read_values(file, path, one.name)
        if names:
            values = [_name_classes(value, names, path, one.name) for value in values]
        texts[one.name] = [join(value, separator, f"{path}, column '{one.name}'") for value in values]
        lists |= {one.name} if listed else set()
    return Columns(texts, frozenset(lists), tuple(left_out))


def read_values(file: Any, path: Path, column: str) -> list[Any]:
    """Read a column, or a part of one (`image.path`), as Python's values."""
    import pyarrow as pa

    try:
        values = file.read(columns=[column]).column(0).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is damaged: {str(error).splitlines()[0]}; get the file again") from None
    part = column.rpartition(".")[2]
    return [value[part] if isinstance(value, dict) else value for value in values]


def join(value: Any, separator: str, where: str) -> str:
    """Return a value as text, a list of findings with the separator between them.

    An empty list says that there is no finding. Raises `DataError` for a finding that holds the separator.
    """
    if isinstance(value, list):
        names = [str(name).strip() for name in value if name is not None]
        if any(separator in name for name in names):
            raise DataError(f"{where}: '{names[0]}' holds '{separator}'; give another by --option separator=TEXT")
        return separator.join(names) or "No Finding"
    return "" if value is None else str(value).strip()


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _read_features(schema: Any) -> Mapping[str, Any]:
    """Read what the library `datasets` notes of each column in a file's schema; nothing where it did not write it."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}


def _find_names(feature: Any) -> list[str]:
    """Find the names of classes in what is noted of a column, of a value or a list; empty where it has none."""
    if isinstance(feature, list) and feature:
        return _find_names(feature[0])
    if not isinstance(feature, dict):
        return []
    if feature.get("_type") == "ClassLabel":
        names = feature.get("names") or []
        return [str(name) for name in (names.values() if isinstance(names, dict) else names)]
    return _find_names(feature.get("feature"))


def _name_classes(value: Any, names: list[str], path: Path, column: str) -> Any:
    """Put names in the place of classes' numbers; -1, by which the hub hides labels, is unknown."""
    if isinstance(value, list):
        return [_name_classes(one, names, path, column) for one in value]
    if value is None or value == -1:
        return None
    if not isinstance(value, int) or not 0 <= value < len(names):
        raise DataError(f"{path}, column '{column}': class {value} is none of the {len(names)} that the file names")
    return names[value]


# --- images ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class StoredImages:
    """The image files, PNG, JPEG or another, whose bytes stand in parquet files; any thread may ask.

    A group of rows is read as a whole when its first image is asked for, and few are kept.
    """

    column: str
    groups: tuple[tuple[Path, int], ...]
    """(G) file and number of each group of rows."""
    starts: NDArray[np.intp]
    """(G,) the number of a group's first row among those of all files."""
    rows: NDArray[np.intp]
    """(N,) the row of each image."""
    read: OrderedDict[int, Any] = field(default_factory=OrderedDict)
    lock: Lock = field(default_factory=Lock)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> bytes:
        row = int(self.rows[index])
        group = int(self.starts.searchsorted(row, side="right")) - 1
        value = self._read_group(group)[row - int(self.starts[group])].as_py()
        return (value["bytes"] if isinstance(value, dict) else value) or b""

    def _read_group(self, group: int) -> Any:
        with self.lock:
            if group not in self.read:
                path, number = self.groups[group]
                while len(self.read) >= KEPT:
                    self.read.popitem(last=False)
                with open_parquet(path) as file:
                    self.read[group] = file.read_row_group(number, columns=[self.column]).column(0)
            self.read.move_to_end(group)
            return self.read[group]


def store_images(column: str, paths: Iterable[Path], rows: Iterable[int]) -> StoredImages:
    """Make the images of these rows of parquet files, counted over all of them; no bytes are read."""
    import numpy as np

    groups: list[tuple[Path, int]] = []
    lengths = [0]
    for path in paths:
        with open_parquet(path) as file:
            groups += [(path, number) for number in range(file.metadata.num_row_groups)]
            lengths += [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
    return StoredImages(column, tuple(groups), np.cumsum(lengths[:-1], dtype=np.intp), np.fromiter(rows, dtype=np.intp))
