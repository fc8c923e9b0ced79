"""`folder`: a dataset in a folder as the Hugging Face hub lays it out, fetched beforehand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from harness import Data, DataError

from .layout import find_tables
from .parquet import StoredImages, store_images
from .parts import Part, read_metadata_part, read_parquet_part
from .reading import Asked, make_data
from .table import Table

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
    - `labels`: Take these labels, separated by commas. Left out, they are all that the column of findings names,
      sorted, or every other column with a value.
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
        parts = [read_metadata_part(path, root, separator) for path in metadata]
    else:
        parts = [read_parquet_part(path, root, image, separator) for path in parquet]
    table = _join(parts, root, asked)
    return make_data(
        table,
        asked.with_findings(_choose_findings(parts, table, asked)),
        _find_images(parts, table.cells["image"].tolist(), root),
        dataset="folder",
        root=root,
        notes=_describe([part.path for part in parts], root),
        sources=tuple(part.path for part in parts if part.data),
    )


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
    if any(part.data for part in parts) and ("" in names or len(set(names)) == 1 < len(names)):
        return [f"{split or 'image'}-{number:06d}" for number, split in enumerate(splits)]
    if any(part.data for part in parts) and len(set(names)) < len(names):
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
) -> Callable[[list[str]], Sequence[Path] | StoredImages]:
    """Make what finds images by name: their files, or their bytes in parquet files. Nothing is read."""
    column = next((part.data for part in parts if part.data), "")
    if not column:
        return lambda chosen: [root / name for name in chosen]
    other = next((part for part in parts if part.data != column), None)
    if other is not None:
        raise DataError(
            f"{other.path} does not hold its images in a column '{column}' as others do; make the files alike"
        )
    place = {name: row for row, name in reversed(list(enumerate(names)))}  # the first of several is kept
    return lambda chosen: store_images(column, [part.path for part in parts], [place[name] for name in chosen])


def _describe(paths: Sequence[Path], root: Path) -> dict[str, str]:
    """Say which files were read, and of which revision of the hub where `hf download` noted it."""
    shown = [path.relative_to(root).as_posix() for path in paths]
    more = f" and {len(shown) - 1:,} more" if len(shown) > 1 else ""
    notes = {"label_file": f"{shown[0]}{more}"}
    noted = root / ".cache" / "huggingface" / "download" / f"{shown[0]}.metadata"
    match = REVISION.match(noted.read_text(encoding="utf-8", errors="replace")) if noted.is_file() else None
    return notes | ({"revision": match[0][:12]} if match else {})
