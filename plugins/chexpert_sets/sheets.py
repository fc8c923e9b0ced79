"""A label file: its cells as texts, and one-line errors that name a place in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import DataError, Layout, read_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Sheet:
    """Columns of a label file."""

    path: Path
    cells: pd.DataFrame
    """A column of texts for each name; blank cells are empty texts."""
    lines: list[int]
    """The line of the file that each row begins at."""

    def refuse(self, wrong: pd.Series, column: str, why: str) -> None:
        """Raise `DataError` where a cell of the column is `wrong` (N,), naming the first one."""
        if not wrong.any():
            return
        row = int(wrong.to_numpy(dtype=bool).argmax())
        count = int(wrong.sum())
        more = f" (so it is with {count - 1:,} more)" if count > 1 else ""
        cell = self.cells[column].iloc[row]
        raise DataError(f"{self.path}, line {self.lines[row]}, column '{column}': '{cell}' {why}{more}")

    def read_values(self, column: str, meaning: Mapping[str, float], known: str) -> NDArray[np.float32]:
        """Numbers (N,) that the cells of a column mean. Raises `DataError` for a cell without a meaning."""
        import numpy as np

        codes, texts = self.cells[column].factorize()
        self.refuse(~self.cells[column].isin(list(meaning)), column, f"is none of {known}")
        values: NDArray[np.float32] = np.array([meaning[text] for text in texts], dtype=np.float32)[codes]
        return values

    def describe(self) -> str:
        """Return the file's name and the start of its sha256."""
        return f"{self.path.name}, sha256 {hashlib.sha256(self.path.read_bytes()).hexdigest()[:12]}"


def read_sheet(path: Path, layout: Layout, needed: Iterable[str], others: Iterable[str] = ()) -> Sheet:
    """Read columns of a label file: all that are `needed`, and `others` where they are there.

    Raises `DataError` for a column that is missing or stands there twice.
    """
    names = list(needed)
    read = read_table(path, wanted={*names, *others}, fill=True)
    absent = [name for name in names if name not in read.columns]
    if absent:
        raise DataError(
            f"{path} is no label file of {layout.dataset}: it has no column {', '.join(map(repr, absent))}; "
            f"{layout.explain()}"
        )
    twice = read.columns.columns[read.columns.columns.duplicated()]
    if len(twice):
        raise DataError(f"{path}: the column '{twice[0]}' stands in it more than once; rename or remove one of them")
    return Sheet(path, read.columns, read.lines)
