"""The page's pictures as Vega-Lite specifications, made by Altair from a summarized board."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.report.figures.best import draw_curves, draw_histories, draw_labels, draw_pairs, draw_subgroups
from harness.report.figures.style import Figure
from harness.report.figures.systems import draw_costs, draw_intervals

if TYPE_CHECKING:
    from harness.evaluation.resamples import Resamples
    from harness.report.summary import Leaderboard

MOST_ROWS = 20
"""Best rows that curves, histories and pairs are drawn of: more would not be told apart."""


def make_figures(summary: Leaderboard, resamples: Mapping[str, Resamples]) -> tuple[Figure, ...]:
    """Every picture that the board has data for; `resamples` has what lies beside records, by `ROW--sSEED`.

    None at all without such: a board of old records keeps its page small.
    """
    if not resamples:
        return ()
    best = summary.ranked[:MOST_ROWS]
    made = [
        draw_intervals(summary),
        *draw_costs(summary),
        draw_labels(summary, best),
        *draw_curves(summary, best, resamples),
        draw_histories(best),
        *draw_subgroups(summary, best),
        draw_pairs(summary, best, summary.pairs),
    ]
    return tuple(figure for figure in made if figure is not None)
