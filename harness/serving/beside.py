"""The table of what a network gets beside images, such as age, sex and view, from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.columns import ColumnCode
from harness.errors import DataError
from harness.identifiers import use_slashes
from harness.tables import read_table
from harness.text import agree

if TYPE_CHECKING:
    import pandas as pd


def read_beside_table(path: Path, names: Sequence[str], codes: Sequence[ColumnCode]) -> pd.DataFrame:
    """Read the columns that a network wants for the images of these names, in their order; a blank cell is unknown.

    Raises `DataError` for a table that lacks a column or an image, has an image twice or a text for a number.
    """
    import pandas as pd

    if not path.is_file():
        raise DataError(f"--table {path}: there is no such file")
    wanted = ["image", *(code.name for code in codes)]
    cells = read_table(path, wanted=wanted).columns
    lacking = [name for name in wanted if name not in cells]
    if lacking:
        raise DataError(
            f"{path} has no column {', '.join(lacking)}: it needs the columns {', '.join(wanted)}, a row for each image"
        )
    rows = [use_slashes(name) for name in cells["image"].tolist()]
    places = {name: row for row, name in enumerate(rows)}
    if len(places) < len(rows):
        twice = next(name for name in rows if rows.count(name) > 1)
        raise DataError(f"{path}: image '{twice}' stands in it more than once; keep one row")
    absent = [name for name in names if name not in places]
    if absent:
        raise DataError(
            f"{path}: {len(absent):,} of {len(names):,} images {agree(len(absent), 'has', 'have')} no row in it, first "
            f"'{absent[0]}'; add them, with blank cells where nothing is known"
        )
    chosen = cells.iloc[[places[name] for name in names]].reset_index(drop=True)
    columns = {code.name: _read(chosen[code.name], code, names, path) for code in codes}
    return pd.DataFrame(columns)


def _read(column: pd.Series, code: ColumnCode, names: Sequence[str], path: Path) -> pd.Series:
    """A column of texts as the network's code reads it: numbers, NaN where blank, or texts."""
    import pandas as pd

    texts = column.astype(str).str.strip()
    if code.texts:
        return texts
    numbers = pd.to_numeric(texts.where(texts != ""), errors="coerce")
    wrong = numbers.isna() & (texts != "")
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise DataError(f"{path}: image '{names[row]}': {code.name} must be a number, got '{texts.iloc[row]}'")
    return numbers
