"""A board's results from its folder: what pages, tables and files are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.board import Board
from harness.report.summary import Leaderboard, summarize
from harness.results.store import read_all_resamples, read_records

if TYPE_CHECKING:
    from harness.evaluation.resamples import Resamples


@dataclass(frozen=True, eq=False)
class Measured:
    """A board's records, summarized, with what lies beside them."""

    summary: Leaderboard
    resamples: Mapping[str, Resamples] = field(default_factory=dict)
    """By `ROW--sSEED`; a record without any, or with a damaged file, is left out."""
    problems: tuple[str, ...] = ()
    """A line for each file among the records that could not be read."""


def measured(board: Board) -> Measured:
    """Read a board's records and resamples and summarize them, once for all that shows them."""
    found = read_records(board.folder)
    resamples = read_all_resamples(board.folder, found.records)
    return Measured(summarize(board, found.records, resamples), resamples, found.problems)
