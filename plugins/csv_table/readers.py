"""One row an image out of several, such as those of several readers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import DataError, UsageError

from .table import Table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

DUPLICATES = ("refuse", "first", "vote")


def require_duplicates(duplicates: str) -> None:
    """Refuse what cannot be done with several rows of an image."""
    if duplicates not in DUPLICATES:
        raise UsageError(f"duplicates must be {', '.join(DUPLICATES)}, got '{duplicates}'")


def merge_rows(
    table: Table, images: pd.DataFrame, targets: NDArray[np.float32], duplicates: str
) -> tuple[pd.DataFrame, NDArray[np.float32], tuple[str, ...]]:
    """Make one row of all that an image has, in the order of their first; with the images to refuse, and their lines.

    `refuse` and `first` keep the first row. `vote` takes for each label what most rows say that are certain of it; in a
    tie it is uncertain where a row says so, else unknown. Of the image it takes what is known first. Raises `DataError`
    for rows that differ in patient or split, unless they are refused anyway.
    """
    import numpy as np

    codes, names = images["image"].factorize()
    if len(names) == len(images):
        return images, targets, ()
    repeated = _list_repeated(table, images["image"])
    images_stand = f"{len(repeated):,} image{' stands' if len(repeated) == 1 else 's stand'}"
    what = f"{images_stand} in more than one row ({len(images) - len(names):,} too many)"
    table.said.append(f"{what}: {'their labels are voted on' if duplicates == 'vote' else 'the first is kept'}")
    if duplicates != "refuse":
        _require_same(table, images, codes)
    if duplicates != "vote":
        kept = ~images["image"].duplicated().to_numpy()
        return images[kept].reset_index(drop=True), targets[kept], repeated if duplicates == "refuse" else ()
    votes = np.zeros((3, len(names), targets.shape[1]))  # for absent, present and uncertain
    for place, value in enumerate((0, 1, -1)):
        np.add.at(votes[place], codes, targets == value)
    tied = np.where(votes[2] > 0, -1, np.nan)
    voted = np.where(votes[1] == votes[0], tied, votes[1] > votes[0]).astype(np.float32)
    return images.groupby(codes).first()[list(images.columns)].reset_index(drop=True), voted, ()


def _require_same(table: Table, images: pd.DataFrame, codes: NDArray[np.intp]) -> None:
    """Refuse rows of one image that differ in patient or split."""
    for column in (name for name in ("patient", "split") if name in images):
        differ = images.groupby(codes)[column].nunique().to_numpy() > 1
        if differ.any():
            rows = (codes == differ.argmax()).nonzero()[0].tolist()
            raise DataError(
                f"{table.path}, {table.unit}s {_list_lines(table, rows)}: the rows of "
                f"'{images['image'].iloc[rows[0]]}' differ in their {column}; give them one"
            )


def _list_repeated(table: Table, names: pd.Series) -> tuple[str, ...]:
    """List images with several rows: `'a.png' in lines 2 and 4`."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    return tuple(
        f"'{name}' in {table.unit}s {_list_lines(table, found)}" for name, found in rows.items() if len(found) > 1
    )


def _list_lines(table: Table, rows: list[int]) -> str:
    lines = [str(table.lines[row]) for row in rows]
    return f"{', '.join(lines[:-1])} and {lines[-1]}"
