"""Which images are for training, validation and test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import DataError, carve

from .table import Table

if TYPE_CHECKING:
    import pandas as pd

SPELLINGS = {"valid": "val", "validate": "val", "validation": "val", "training": "train", "testing": "test"}


def choose_split(table: Table, images: pd.DataFrame, column: str) -> tuple[pd.Series, str]:
    """Choose a split for each image, by a column of the table where one is named; with what was done, in words.

    Raises `DataError` for a cell that is no split.
    """
    if not column:
        return carve(images["patient"], val=(0,), test=(1, 2)), "carved by patient"
    cells = table.cells[column]
    named = cells.str.lower().replace(SPELLINGS)
    wrong = ~named.isin(("train", "val", "test"))
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise DataError(
            f"{table.locate(row, column)}: a split must be train, val (valid, validation) or test, got "
            f"'{cells.iloc[row]}'; write it so, or leave the column out and have patients carved: --option split="
        )
    return named, "as given"
