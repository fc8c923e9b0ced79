"""`folder`: a dataset in a folder as the Hugging Face hub lays it out, fetched beforehand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from harness import Data, DataError, read_lines, read_table

from .layout import find_split, find_tables
from .parquet import ImageColumn, find_image_column, join, open_parquet, read_columns, read_values, store_images
from .reading import Asked, make_data
from .table import Table

if TYPE_CHECKING:
    from harness.components import ImageArray

ABOUT = "a dataset of the Hugging Face hub in a folder: parquet files that hold images, or images beside metadata"
REVISION = re.compile(r"[0-9a-f]{40}")
"""A revision of a dataset on the hub, as the cache that `hf download` leaves in the folder notes it."""


def load(
    root: Path,
    *,
    image: str = "image",
    patient: str = "patient",
    split: dict[str, Any] | str = "split",
    age: str = "age",
    sex: str = "sex",
    view: str = "view",
    views: list[str] | str = "all",
    labels: list[str] | str = "",
    findings: str = "",
    separator: str = "|",
    uncertain: dict[str, str | float] | str | float = "ignore",
    uncertain_test: dict[str, str] | str | None = None,
    blank: Literal["ignore", "zeros"] = "ignore",
    duplicates: Literal["refuse", "first", "vote"] = "refuse",
    mirrors: bool = True,
    subgroups: list[str] | str = "",
    study: str | None = None,
) -> Data:
    r"""Read a folder that `hf download OWNER/NAME --repo-type dataset --local-dir DIR` has filled; no image is opened.

    - `image`: In parquet files, take images from this column. Left out, it is `image`, the only one that holds bytes,
      or one of paths that is called as usual.
    - `patient`: Take patients from this column, or from a pattern in one, as in `image:(patient\d+)`, where `image` is
      an image's path. Name `image` if no patient is known; then each image is a patient of its own.
    - `split`: Take train, val and test from the names of files and folders, or else from this column, or divide as
      `csv` does: `val=0.1,test=0.2,seed=0`, `folds=5,fold=0,seed=0` or `val=val.txt,test=test.txt`.
    - `age`, `sex`, `view`: Take it from this column. An empty name asks for none.
    - `views`: Take images of these views alone, separated by commas, such as `PA,AP`. The others are counted.
    - `labels`: Take these labels, separated by commas. Left out, they are all that the column of findings names, or
      every other column with a value.
    - `findings`: Take labels from this column, which lists the findings of an image, as a list or as a text such as
      `Edema|Mass`. Left out, it is the only column of lists of names or classes, unless `labels` names columns.
    - `separator`: Separate the findings of an image by this text. No finding may hold it.
    - `uncertain`: In training, read -1 as `ignore` (unknown), `ones`, `zeros` or a number between 0 and 1 (a soft
      target), for all labels or for each, as in `Edema=ones,Mass=0.6`.
    - `uncertain_test`: In val and test, read -1 as `ones` or `zeros`. Left out, uncertain labels are unknown there.
    - `blank`: Read labels that are null or blank as unknown (ignore) or as 0 (zeros).
    - `duplicates`: For an image in several rows: refuse them, keep the first, or vote, where a tie is unknown.
    - `mirrors`: Say whether a mirrored image keeps its labels.
    - `subgroups`: Compare results by these further columns, separated by commas, beside age, sex and view.
    - `study`: Take studies from this column, or from a pattern in one. Left out, it is a column `study` if there is
      one, and an empty name asks for none.

    Where only train and test are named, val is carved from train by patient. Where nothing or train alone is named,
    patients are carved: about 10 % val, 20 % test, 70 % train. An empty list says that there is no finding. Classes
    have the names that the files note for the library `datasets`, where a class of -1 is unknown.

    Raises `DataError` for files that are missing or damaged, for a column or a value that cannot be, and where pyarrow
    is needed and not installed; `UsageError` for an option that cannot mean anything.
    """
    asked = Asked(
        patient=patient,
        split=split,
        age=age,
        sex=sex,
        view=view,
        views=views if isinstance(views, str) else ",".join(views),
        labels=labels,
        findings=findings,
        separator=separator,
        uncertain=uncertain,
        uncertain_test=uncertain_test,
        blank=blank,
        duplicates=duplicates,
        mirrors=mirrors,
        subgroups=subgroups,
        study=study,
    )
    metadata, parquet = find_tables(root)
    if metadata:
        parts = [_read_metadata(path, root, separator) for path in metadata]
    else:
        parts = [_read_parquet(path, root, image, separator) for path in parquet]
    table = _join(parts, root, asked)
    return make_data(
        table,
        asked.with_findings(_choose_findings(parts, table, asked)),
        _find_images(parts, table.cells["image"].tolist(), root),
        dataset="folder",
        root=root,
        notes=_describe([part.path for part in parts], root),
        sources=tuple(part.path for part in parts if part.stored),
    )


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
    stored: ImageColumn | None = None
    """Where the bytes of its images stand; None where these are files."""
    unit: str = "row"
    said: tuple[str, ...] = ()

    def locate(self, root: Path) -> list[int | str]:
        """Return the place of each row among those of several files: `5 of data/test.parquet`."""
        name = self.path.relative_to(root).as_posix()
        return [f"{line} of {name}" for line in self.lines]


# --- one file --------------------------------------------------------------------------------------------------------


def _read_parquet(path: Path, root: Path, image: str, separator: str) -> Part:
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
        stored=column if stored else None,
    )


def _holds_bytes(file: Any, column: ImageColumn) -> bool:
    """Whether the first image is held as bytes, not only by its path."""
    first = next(file.iter_batches(batch_size=1, row_groups=[0], columns=[column.data])).column(0)[0].as_py()
    return (first["bytes"] if isinstance(first, dict) else first) is not None


def _read_metadata(path: Path, root: Path, separator: str) -> Part:
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
    """Read objects, one in each line: texts by key, the keys that hold lists, and those left out, which hold objects."""
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
    nested = tuple(key for key in keys if any(isinstance(value, dict) for value in values[key]))
    lists = frozenset(key for key in keys if any(isinstance(value, list) for value in values[key]))
    where = {key: f"{path}, column '{key}'" for key in keys}
    texts = {key: [join(value, separator, where[key]) for value in values[key]] for key in keys if key not in nested}
    return texts, lists - set(nested), nested


# --- all files -------------------------------------------------------------------------------------------------------


def _join(parts: Sequence[Part], root: Path, asked: Asked) -> Table:
    """Make one table of what all files say, with columns `image` and, where paths name splits, `split`."""
    import pandas as pd

    frames = [pd.DataFrame(part.texts, index=range(len(part.names)), dtype=object) for part in parts]
    cells = pd.concat(frames, ignore_index=True).fillna("")
    splits = [split for part in parts for split in part.splits]
    cells["image"] = _name_images(parts, splits)
    said = list(dict.fromkeys(text for part in parts for text in part.said))
    left_out = dict.fromkeys(name for part in parts for name in part.left_out)
    if left_out:
        said.append(f"left out is {', '.join(left_out)}, which holds neither values nor names of findings")
    path, unit, lines = root, "row", [place for part in parts for place in part.locate(root)]
    if len(parts) == 1:
        path, unit, lines = parts[0].path, parts[0].unit, [*parts[0].lines]
    table = Table(path, cells, lines, said, unit)
    if not len(cells):
        raise DataError(f"{path} has no rows; it needs one for each image")
    found = set(splits)
    if "" in found and len(found) > 1:
        row = splits.index("")
        raise DataError(
            f"{path}, {unit} {lines[row]}: nothing in its path names a split (train, validation or test), but others' "
            "paths do; keep files of a split alone, or let each path name one"
        )
    divided = not isinstance(asked.split, str) or "=" in asked.split
    if found == {"train", "val"} and not divided:
        raise DataError(
            f"folder: {root} has train and validation, but no test images; divide all of them, as in "
            "--option split=val=0.1,test=0.2"
        )
    if found - {"", "train"}:
        if "split" in cells:
            said.append("the column 'split' is not read, since paths name splits")
        cells["split"] = splits
    return table


def _name_images(parts: Iterable[Part], splits: Iterable[str]) -> list[str]:
    """Name images by their paths, with the split before them where some are alike; by numbers where there are none."""
    names = [name for part in parts for name in part.names]
    if any(part.stored for part in parts) and ("" in names or len(set(names)) == 1 < len(names)):
        return [f"{split or 'image'}-{number:06d}" for number, split in enumerate(splits)]
    if any(part.stored for part in parts) and len(set(names)) < len(names):
        return [f"{split}/{name}".lstrip("/") for split, name in zip(splits, names, strict=True)]
    return names


def _choose_findings(parts: Iterable[Part], table: Table, asked: Asked) -> str:
    """Choose the column of findings: the one that is asked for, or the only one of lists; empty where there is none."""
    named = asked.labels.split(",") if isinstance(asked.labels, str) else asked.labels
    if asked.findings or any(name.strip() in table.header for name in named):
        return asked.findings
    lists = sorted(frozenset().union(*(part.lists for part in parts)))
    if len(lists) > 1:
        raise DataError(
            f"{table.path} has several columns that list findings ({', '.join(lists)}); name one by --option findings="
            f"{lists[0]}, or columns that are labels by --option labels=NAME,NAME"
        )
    if lists:
        table.said.append(f"findings are read from the column '{lists[0]}'")
    return lists[0] if lists else ""


def _find_images(
    parts: Sequence[Part], names: Sequence[str], root: Path
) -> Callable[[list[str]], Sequence[Path] | ImageArray]:
    """Make what finds images by name: their files, or their bytes in parquet files. Nothing is read."""
    stored = [part for part in parts if part.stored]
    if not stored:
        return lambda chosen: [root / name for name in chosen]
    other = next((part for part in parts if not part.stored or part.stored.data != stored[0].stored.data), None)
    if other is not None:
        raise DataError(f"{other.path} holds its images otherwise than {stored[0].path}; make the files alike")
    place = {name: row for row, name in reversed(list(enumerate(names)))}  # the first of several is kept
    column = stored[0].stored.data
    return lambda chosen: store_images(column, [part.path for part in parts], [place[name] for name in chosen])


def _describe(paths: Sequence[Path], root: Path) -> dict[str, str]:
    """Say which files were read, and of which revision of the hub where `hf download` noted it."""
    shown = [path.relative_to(root).as_posix() for path in paths]
    more = f" and {len(shown) - 1:,} more" if len(shown) > 1 else ""
    notes = {"label_file": f"{shown[0]}{more}"}
    noted = root / ".cache" / "huggingface" / "download" / f"{shown[0]}.metadata"
    match = REVISION.match(noted.read_text(encoding="utf-8", errors="replace")) if noted.is_file() else None
    return notes | ({"revision": match[0][:12]} if match else {})
