"""The files of a dataset of the hub, each as what it says of its images: parquet files, and metadata beside images."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness import DataError, read_lines, read_table

from .layout import find_split
from .parquet import ImageColumn, find_image_column, join, open_parquet, read_columns, read_values


@dataclass(frozen=True, eq=False)
class Part:
    """What one file says of its images."""

    path: Path
    names: list[str]
    """The path of each image, from the dataset's folder where it is a file; empty where nothing names it."""
    splits: list[str]
    """The split that the path of the file or of the image names; empty where it names none."""
    texts: dict[str, list[str]]
    lines: list[int]
    """The line of each row, or its number where the file has none."""
    lists: frozenset[str] = frozenset()
    left_out: tuple[str, ...] = ()
    data: str = ""
    """The column that holds the bytes of its images; empty where these are files."""
    unit: str = "row"
    said: tuple[str, ...] = ()

    def locate(self, root: Path) -> list[int | str]:
        """Return the place of each row among those of several files: `5 of data/test.parquet`."""
        name = self.path.relative_to(root).as_posix()
        return [f"{line} of {name}" for line in self.lines]


# --- parquet files ---------------------------------------------------------------------------------------------------


def read_parquet_part(path: Path, root: Path, image: str, separator: str) -> Part:
    """Read a parquet file that holds images, or their paths."""
    with open_parquet(path) as file:
        column = find_image_column(file, path, image)
        columns = read_columns(file, path, column, separator)
        count = file.metadata.num_rows
        paths = read_values(file, path, column.path) if column.path else [None] * count
        stored = bool(column.data) and (not count or _holds_bytes(file, column))
    names = [str(name or "").replace("\\", "/") for name in paths]
    if not stored and "" in names:
        raise DataError(
            f"{path}, row {names.index('') + 1}, column '{column.name}': blank, but every image needs a path"
        )
    split = find_split(path.relative_to(root))
    rows = list(range(1, count + 1))
    return Part(
        path,
        names,
        [split] * count,
        columns.texts,
        rows,
        columns.lists,
        columns.left_out,
        data=column.data if stored else "",
    )


def _holds_bytes(file: Any, column: ImageColumn) -> bool:
    """Whether the first image is held as bytes, not only by its path."""
    first = next(file.iter_batches(batch_size=1, row_groups=[0], columns=[column.data])).column(0)[0].as_py()
    return (first["bytes"] if isinstance(first, dict) else first) is not None


# --- images beside metadata ------------------------------------------------------------------------------------------


def read_metadata_part(path: Path, root: Path, separator: str) -> Part:
    """Read what describes the images beside it or below it."""
    lists: frozenset[str] = frozenset()
    left_out: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    if path.suffix == ".csv":
        read = read_table(path, fill=True)
        texts = {str(name): read.columns.iloc[:, place].tolist() for place, name in enumerate(read.columns.columns)}
        lines, said = read.lines, read.notes
    elif path.suffix == ".jsonl":
        texts, lists, left_out = _read_json_lines(path, separator)
        lines = list(range(1, len(next(iter(texts.values()), [])) + 1))
    else:
        with open_parquet(path) as file:
            columns = read_columns(file, path, None, separator)
            texts, lists, left_out = columns.texts, columns.lists, columns.left_out
            lines = list(range(1, file.metadata.num_rows + 1))
    unit = "line" if path.suffix == ".csv" else "row"
    if "file_name" not in texts:
        raise DataError(f"{path} has no column 'file_name' of paths beside it; it has {', '.join(texts)}")
    files = texts.pop("file_name")
    if "" in files:
        raise DataError(
            f"{path}, {unit} {lines[files.index('')]}, column 'file_name': blank, but every row needs a path"
        )
    home = PurePosixPath(path.parent.relative_to(root).as_posix())
    names = [str(home / name.replace("\\", "/")) for name in files]
    homes = {folder: find_split(folder) for folder in {PurePosixPath(name).parent / "any" for name in names}}
    splits = [homes[PurePosixPath(name).parent / "any"] for name in names]
    return Part(path, names, splits, texts, lines, lists, left_out, unit=unit, said=said)


def _read_json_lines(path: Path, separator: str) -> tuple[dict[str, list[str]], frozenset[str], tuple[str, ...]]:
    """Read objects, one in each line: texts by key, the keys of lists of names, and those of anything else."""
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, row {number} is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise DataError(f'{path}, row {number} is no JSON object such as {{"file_name": "1.png"}}, got {line[:40]}')
        rows.append(row)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    values = {key: [row.get(key) for row in rows] for key in keys}
    nested = tuple(key for key in keys if any(_is_nested(value) for value in values[key]))
    lists = frozenset(key for key in keys if any(isinstance(value, list) for value in values[key]))
    where = {key: f"{path}, column '{key}'" for key in keys}
    texts = {key: [join(value, separator, where[key]) for value in values[key]] for key in keys if key not in nested}
    return texts, lists - set(nested), nested


def _is_nested(value: Any) -> bool:
    """Whether a value is neither a plain one nor a list of names."""
    return isinstance(value, dict) or (isinstance(value, list) and not all(isinstance(one, str) for one in value))
