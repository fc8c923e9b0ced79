"""One row an image out of several, such as those of several readers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import DataError, UsageError

from .table import Table, propose

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

DUPLICATES = ("refuse", "first", "vote")
SHOWN = 3
"""Images that a message names."""


def require_duplicates(duplicates: str) -> None:
    """Refuse what cannot be done with several rows of an image."""
    if duplicates not in DUPLICATES:
        raise UsageError(f"csv: duplicates must be {', '.join(DUPLICATES)}, got '{duplicates}'")


def merge_rows(
    table: Table, images: pd.DataFrame, targets: NDArray[np.float32], duplicates: str
) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Make one row of all that an image has, in the order of their first.

    `first` keeps the first row. `vote` takes for each label what most rows say that know it, unknown in a tie, and what
    is known first of the image. Raises `DataError` for rows that differ in patient or split, and for any if refused.
    """
    import numpy as np

    codes, names = images["image"].factorize()
    if len(names) == len(images):
        return images, targets
    counts = np.bincount(codes)
    twice = np.flatnonzero(counts > 1)
    what = f"{len(twice):,} images stand in more than one row ({len(images) - len(names):,} rows too many)"
    if duplicates == "refuse":
        first = "; ".join(f"'{names[code]}' in lines {_list_lines(table, codes == code)}" for code in twice[:SHOWN])
        raise DataError(
            f"{table.path}: {what}: {first}; keep one row each, or have the first kept or the rows of several readers "
            f"counted: {propose('duplicates', 'first')} or {propose('duplicates', 'vote')}"
        )
    for column in (name for name in ("patient", "split") if name in images):
        differ = images.groupby(codes)[column].nunique().to_numpy() > 1
        if differ.any():
            code = int(differ.argmax())
            raise DataError(
                f"{table.path}, lines {_list_lines(table, codes == code)}: the rows of '{names[code]}' differ in their "
                f"{column}; give them one"
            )
    table.said.append(f"{what}: {'the first is kept' if duplicates == 'first' else 'their labels are voted on'}")
    if duplicates == "first":
        kept = ~images["image"].duplicated().to_numpy()
        return images[kept].reset_index(drop=True), targets[kept]
    votes = np.zeros((2, len(names), targets.shape[1]))
    for value in (0, 1):
        np.add.at(votes[value], codes, targets == value)
    voted = np.where(votes[1] == votes[0], np.nan, votes[1] > votes[0]).astype(np.float32)
    return images.groupby(codes).first()[list(images.columns)].reset_index(drop=True), voted


def _list_lines(table: Table, rows: NDArray[np.bool_]) -> str:
    lines = [str(table.lines[row]) for row in rows.nonzero()[0]]
    return f"{', '.join(lines[:-1])} and {lines[-1]}"
