"""What acting on scores is worth: decision curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report.figures.averaging import average_curves
from harness.report.figures.curves import Traced
from harness.report.figures.style import (
    COLORS,
    LABEL,
    Figure,
    by_row,
    chosen_only,
    finish,
    shorten_finely,
    table,
    tooltip,
)
from harness.text import count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.report.leaderboard import Leaderboard, RowSummary

MOST_POINTS = 40
"""Points of a curve."""
WORTH = 0.02
"""Share of the largest net benefit under which a curve has come to its end."""
BELOW = 0.15
"""How far below 0 a curve is followed, as a share of the largest net benefit."""


def draw_net_benefit(summary: Leaderboard, best: Sequence[RowSummary], traced: Traced) -> Figure | None:
    """The net benefit of each row by threshold probability, beside that of flagging everybody; one label at a time."""
    import altair as alt

    labels = [label for label in (summary.data.labels if summary.data else []) if _find(traced, label)]
    lines: list[dict[str, Any]] = []
    everybody: list[dict[str, Any]] = []
    for label in labels:
        curves = _find(traced, label)
        threshold, _, of_all = next(iter(curves.values()))
        kept, lowest = _choose_range(np.stack([curve[1] for curve in curves.values()]), of_all)
        everybody.append({"label": label, **_cut(threshold, of_all, kept, lowest)})
        lines += [
            {"row": row.title, "label": label, **_cut(curves[row.name][0], curves[row.name][1], kept, lowest)}
            for row in best
            if row.name in curves
        ]
    if not lines:
        return None
    shown = alt.param(name=LABEL, value=labels[0])
    x = alt.X("x:Q", title="threshold probability from which one acts", axis=alt.Axis(tickCount=7))
    y = alt.Y("y:Q", title="net benefit", axis=alt.Axis(tickCount=6))
    base = chosen_only(table("lines"), best).transform_filter(f"datum.label == {LABEL}")
    drawn = (
        base.transform_flatten(["x", "y"])
        .mark_line(strokeWidth=1.8)
        .encode(
            x=x,
            y=y,
            color=by_row("color", best),
            strokeDash=by_row("dash", best),
            tooltip=tooltip("row:N", "x:Q", "y:Q"),
        )
    )
    others = table("everybody").transform_filter(f"datum.label == {LABEL}").transform_flatten(["x", "y"])
    flagged = others.mark_line(color=COLORS[-1], strokeDash=[2, 4], strokeWidth=1.5).encode(x=x, y=y)
    nobody = table("nobody").mark_rule(color=COLORS[-1], strokeWidth=1).encode(y=alt.Y("y:Q"))
    figure = finish(
        "benefit",
        "Net benefit (decision curves)",
        f"Means over seeds on the test split, one of {count(len(labels), 'label')} at a time. The share of true "
        "alarms less that of false ones, weighed by the threshold (Vickers and Elkin 2006); the dotted line is "
        "flagging everybody, the level one nobody. Scores are taken for probabilities as they are.",
        (nobody + drawn + flagged).add_params(shown).properties(width=480, height=320),
        beside=True,
        lines=lines,
        everybody=everybody,
        nobody=[{"y": 0}],
    )
    return replace(figure, labels=tuple(labels))


def _find(traced: Traced, label: str) -> dict[str, NDArray[np.float64]]:
    """Row -> threshold, net benefit and that of flagging everybody (3, T), means over seeds."""
    name = f"benefit/{label}"
    known = {row: [curves[name] for curves in seeds if name in curves] for row, seeds in traced.items()}
    return {row: average_curves("benefit", curves) for row, curves in known.items() if curves}


def _choose_range(values: NDArray[np.float64], of_all: NDArray[np.float64]) -> tuple[NDArray[np.intp], float]:
    """The points that are drawn, up to where no row (rows, T) is worth anything, and the lowest value."""
    largest = float(max(values.max(), of_all.max(), 1e-6))
    worth = np.flatnonzero(np.maximum(values.max(axis=0), of_all) > WORTH * largest)
    end = min(int(worth[-1]) + 2 if len(worth) else 2, values.shape[1])
    kept = np.unique(np.linspace(0, end - 1, min(end, MOST_POINTS)).round().astype(np.intp))
    return kept, -BELOW * largest


def _cut(
    threshold: NDArray[np.float64], values: NDArray[np.float64], kept: NDArray[np.intp], lowest: float
) -> dict[str, list[float]]:
    """Points of a curve, until it falls under the lowest value."""
    x, y = threshold[kept], values[kept]
    under = np.flatnonzero(y < lowest)
    end = int(under[0]) if len(under) else len(y)
    return {"x": [shorten_finely(value) for value in x[:end]], "y": [shorten_finely(value) for value in y[:end]]}
