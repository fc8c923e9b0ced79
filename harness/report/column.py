"""What a column of a board's tables is: to the page's ranking and its chooser, to `board.csv` and to a terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from harness.report.drawing import NOTHING
from harness.report.leaderboard import Leaderboard, RowSummary

Value = str | int | float | None


@dataclass(frozen=True)
class Cell:
    """What the page shows of a row in one column."""

    content: Any = ""
    """Text, a number, or `Markup`."""
    value: Any = None
    """What the row is sorted by, where that is not the content."""
    kind: str = ""
    """The cell's class in the page's style."""
    tip: str = ""


@dataclass(frozen=True, kw_only=True)
class OnPage:
    """A column of the page's ranking."""

    heading: str
    """What readers call it, also where they choose columns."""
    cell: Callable[[RowSummary, Leaderboard], Cell]
    first: Literal["ascending", "descending"] = "descending"
    """The order in which its heading sorts when it is pressed once."""
    is_number: bool = True
    """Whether it sorts by numbers."""
    kind: str = ""
    """The heading's class in the page's style."""
    above: Markup = NOTHING
    """What stands under the heading's name."""
    usual: bool | None = True
    """Whether it is shown until the reader chooses; None where it always is."""


@dataclass(frozen=True, kw_only=True)
class InTerminal:
    """A column of the terminal's table."""

    heading: str
    text: Callable[[RowSummary, Leaderboard], str]
    shown: Literal["always", "filled", "early", "late"] = "always"
    """`filled`: where it says something of a row; `early`, then `late`: where the terminal is wide enough."""
    narrow: Callable[[RowSummary, Leaderboard], str] | None = None
    """What it says where the columns that are always shown do not fit."""
    is_text: bool = False


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column, as each of a board's tables shows it."""

    name: str
    """Its name in `board.csv`."""
    value: Callable[[RowSummary, Leaderboard], Value] = lambda row, summary: None
    """What `board.csv` has."""
    page: OnPage | None = None
    terminal: InTerminal | None = None
    timed: bool = False
    """Whether it is a time, which stands beside others of one device and version only."""


def make_small(text: str, kind: str = "small") -> Markup:
    """A line under what a cell says."""
    return Markup('<span class="{}">{}</span>').format(kind, text)
