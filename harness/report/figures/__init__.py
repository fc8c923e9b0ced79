"""The page's pictures as Vega-Lite specifications, made by Altair from a summarized board."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.report.figures.benefit import draw_net_benefit
from harness.report.figures.best import draw_histories, draw_labels, draw_pairs, draw_subgroups
from harness.report.figures.costs import draw_costs
from harness.report.figures.curves import Traced, draw_curves
from harness.report.figures.style import Figure
from harness.report.figures.systems import draw_intervals

if TYPE_CHECKING:
    from harness.report.leaderboard import Leaderboard
    from harness.report.readers import ReadersSummary

MOST_ROWS = 20
"""Best rows that curves, histories and pairs are drawn of: more would not be told apart."""


def make_figures(summary: Leaderboard, curves: Traced, readers: ReadersSummary | None = None) -> Iterator[Figure]:
    """Make every picture that the board has data for, one after another, so that one can be drawn while the next is
    made; `curves` has those of the best rows, by row, of each seed.

    None at all without any: a board of old records keeps its page small.
    """
    if not any(one for seeds in curves.values() for one in seeds):
        return
    for figure in _make_all(summary, curves, readers):
        if figure is not None:
            yield figure


def _make_all(summary: Leaderboard, curves: Traced, readers: ReadersSummary | None) -> Iterator[Figure | None]:
    best = summary.ranked[:MOST_ROWS]
    yield draw_intervals(summary)
    yield draw_costs(summary)
    yield draw_labels(summary, best)
    yield from draw_curves(summary, best, curves, readers)
    yield draw_net_benefit(summary, best, curves)
    yield draw_histories(best)
    yield from draw_subgroups(summary, best)
    yield draw_pairs(summary, best, summary.pairs)
