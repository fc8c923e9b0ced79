"""A board as one flat table: `board.csv`, and a DataFrame.

One row for each row of the board, in the page's order. Columns: what the row is; `METRIC` (mean over seeds),
`METRIC_deviation` (over seeds), `METRIC_low` and `METRIC_high` (95 %, over patients), `METRIC_seeds_low` and
`METRIC_seeds_high` (95 %, over patients and seeds); what it cost; and
`METRIC[LABEL]`, for the objective with `_low` and `_high`. An undefined value is empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.board import open_board
from harness.report.column import Value
from harness.report.columns import list_csv_columns
from harness.report.leaderboard import Leaderboard
from harness.report.summary import read_results

if TYPE_CHECKING:
    import pandas as pd

TABLE_FILE = "board.csv"
DIGITS = 6
"""Digits after the point; what lies beyond says nothing, and may differ between machines."""

_FORMULAS = ("=", "+", "-", "@")
"""Beginnings of texts that a spreadsheet takes for a formula."""


def as_rows(summary: Leaderboard) -> list[dict[str, Value]]:
    """The table, a dictionary a row; all have the same columns in the same order."""
    columns = list_csv_columns(summary)
    return [{column.name: shorten(column.value(row, summary)) for column in columns} for row in summary.rows]


def as_csv(summary: Leaderboard) -> str:
    """The table as CSV."""
    return print_rows(as_rows(summary))


def print_rows(rows: Sequence[Mapping[str, Value]]) -> str:
    """Rows of the same columns as CSV (RFC 4180, but with plain line ends); nothing without a row.

    A text that a spreadsheet would run as a formula has a `'` before it.
    """
    text = io.StringIO()
    if rows:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([_harmless(name) for name in rows[0]])
        writer.writerows([_harmless(value) for value in row.values()] for row in rows)
    return text.getvalue()


def read_frame(folder: str | Path) -> pd.DataFrame:
    """A board's results as a DataFrame: the table of its `board.csv`, made from its records.

    Raises `UsageError` for a folder that is no board, `UnknownNameError` for a name that is none.
    """
    import pandas as pd

    return pd.DataFrame(as_rows(read_results(open_board(folder)).summary))


def shorten(value: Value) -> Value:
    """Return a number without needless digits; a whole number as one."""
    if value is None or isinstance(value, str):
        return value
    short = round(value, DIGITS)
    return int(short) if float(short).is_integer() and abs(short) >= 2 else short


def _harmless(value: Value) -> Value:
    """What a spreadsheet shows as it stands, in one line (OWASP, CSV injection)."""
    if not isinstance(value, str):
        return value
    line = " ".join(value.split())
    return f"'{line}" if line.startswith(_FORMULAS) else line
