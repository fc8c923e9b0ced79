"""A board's results from its folder: what pages, tables and files are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.board import Board
from harness.report.summary import Leaderboard, summarize
from harness.results.store import AllResamples, read_records, uncollected

if TYPE_CHECKING:
    from harness.evaluation.resamples import Resamples


@dataclass(frozen=True, eq=False)
class Measured:
    """A board's records, summarized, with what lies beside them."""

    summary: Leaderboard
    resamples: Mapping[str, Resamples] = field(default_factory=dict)
    """By `ROW--sSEED`, read from their files when they are asked for."""
    problems: tuple[str, ...] = ()
    """A line for each file among the records that could not be read."""


def measured(board: Board) -> Measured:
    """Read a board's records and resamples and summarize them, once for all that shows them."""
    with uncollected():
        found = read_records(board.folder)
        resamples = AllResamples(board.folder, found.records)
        return Measured(summarize(board, found.records, resamples), resamples, found.problems)
