"""The table of images: its cells as texts, and what is said of it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import DataError, read_table

if TYPE_CHECKING:
    import pandas as pd

BLANKS = ("", "nan", "na", "n/a", "null", "<na>")
"""What a blank cell may be, in small letters."""
UNNAMED = re.compile(r"Unnamed: \d+(?:_level_\d+)?|")
"""What a column without a name is called, by pandas too."""


@dataclass(frozen=True, eq=False)
class Table:
    """A table of one's own."""

    path: Path
    cells: pd.DataFrame
    """A column of texts for each name, which are all different; blank cells are empty texts."""
    lines: Sequence[int | str]
    """The line of the file that each row begins at; of several files also which."""
    said: list[str]
    """What was found, guessed or left out, in sentences: it grows as the table is understood."""
    unit: str = "line"
    """What `lines` number: lines, or the rows of files that have none."""

    @property
    def header(self) -> list[str]:
        """The names of the columns."""
        return [str(name) for name in self.cells.columns]

    def list_columns(self) -> str:
        """Return what columns there are, for a message: `it has Path, Sex, Edema`."""
        return f"it has {', '.join(self.header)}"

    def locate(self, row: int, column: str) -> str:
        """Return the place of a cell, for a message."""
        return f"{self.path}, {self.unit} {self.lines[row]}, column '{column}'"


def read(path: Path) -> Table:
    """Read a table, without columns that have no name. Raises `DataError` for one that two columns have."""
    if not path.is_file():
        raise DataError(f"csv: there is no {path}; give --data-root FOLDER and --option file=NAME.csv")
    text = read_table(path, fill=True)
    header, said = text.columns.columns, list(text.notes)
    unnamed = [UNNAMED.fullmatch(name) is not None for name in header]
    if any(unnamed):
        count = "one column" if sum(unnamed) == 1 else f"{sum(unnamed)} columns"
        said.append(f"{count} without a name {'is' if sum(unnamed) == 1 else 'are'} left out")
    cells = text.columns.loc[:, [not one for one in unnamed]].copy()
    twice = cells.columns[cells.columns.duplicated()]
    if len(twice):
        raise DataError(f"{path}: the column '{twice[0]}' stands in it more than once; rename or remove one of them")
    return Table(path, cells, text.lines, said)


def propose(option: str, value: str | Sequence[str]) -> str:
    r"""Return an option of the dataset as it is typed: `--option 'patient=Path:(patient\d+)'`."""
    if not isinstance(value, str):
        plain = not any(set(name) & set(',"') for name in value)
        value = ",".join(value) if plain else "[" + ", ".join(f"'{name}'" for name in value) + "]"
    return f"--option {shlex.quote(f'{option}={value}')}"


def split_names(names: list[str] | str) -> list[str]:
    """Return names that were given as a list, or as a text between commas."""
    return [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else list(names)
