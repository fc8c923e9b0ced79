"""What pictures have in common: colors, dashes and shapes that tell rows apart, and how numbers are cut.

Colors are those of Okabe and Ito 2008 (Color universal design), which the color-blind can tell apart; texts, axes and
grounds take theirs from the page's style, light or dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair as alt
    import numpy as np
    from numpy.typing import NDArray

    from harness.report.leaderboard import RowSummary

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c8c8c")
DASHES = ((1, 0), (6, 3), (2, 2))
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")
WIDTH = 560
CHOSEN = "chosen"
"""What the page's script sets to the names of the rows that are shown."""
LABEL = "label"
"""What the page's script sets to the label whose curves are shown."""
FIRST = 5
"""Rows that are shown until others are chosen."""
DIGITS = 4
POINTS = 0.01
"""Distance from a curve that is not worth a point in a picture."""


@dataclass(frozen=True)
class Figure:
    """One picture."""

    name: str
    """The figure's name in links and scripts."""
    title: str
    """The title, which says what the figure shows."""
    description: str
    """What the figure shows in words, for those who cannot see it."""
    specification: Mapping[str, Any]
    """Vega-Lite, with its data."""
    labels: tuple[str, ...] = ()
    """Labels of which one at a time is shown; empty where all are."""


def table(name: str) -> alt.Chart:
    """A chart of the data that `finish` gets under that name: validated without them, which takes most of the time."""
    import altair as alt

    return alt.Chart(alt.NamedData(name=name))


def finish(name: str, title: str, description: str, chart: alt.TopLevelMixin, **data: Sequence[Any]) -> Figure:
    """Finish a chart, with the data of its tables: no ground, no colors for what the page's style colors."""
    chart = chart.configure(background="transparent").configure_view(stroke=None)
    chart = chart.configure_legend(orient="bottom", columns=2, labelLimit=300).configure_axisY(labelLimit=320)
    chart = chart.configure_text(limit=220)
    specification = chart.to_dict()
    specification |= {"description": description, "datasets": {name: list(values) for name, values in data.items()}}
    return Figure(name, title, description, specification)


def chosen_only(chart: alt.Chart, rows: Sequence[RowSummary]) -> alt.Chart:
    """The rows that the page's script names in the parameter `chosen`; until it does, the first ones."""
    import altair as alt

    chosen = alt.param(name=CHOSEN, value=[row.title for row in rows[:FIRST]])
    return chart.add_params(chosen).transform_filter(f"indexof({CHOSEN}, datum.row) >= 0")


def by_row(channel: str, rows: Sequence[RowSummary]) -> Any:
    """A channel that tells rows apart; colors repeat with other dashes or shapes."""
    import altair as alt

    names = [row.title for row in rows]
    rounds = [number // len(COLORS) for number in range(len(names))]
    legend = alt.Legend(title=None, values=alt.ExprRef(CHOSEN))
    if channel == "color":
        return alt.Color("row:N", scale=alt.Scale(domain=names, range=cycle(COLORS, names)), legend=legend)
    if channel == "dash":
        dashes = [list(DASHES[turn % len(DASHES)]) for turn in rounds]
        return alt.StrokeDash("row:N", scale=alt.Scale(domain=names, range=dashes), legend=legend)
    return alt.Shape("row:N", scale=alt.Scale(domain=names, range=cycle(SHAPES, names)), legend=legend)


def cycle(values: Sequence[str], names: Sequence[str]) -> list[str]:
    """A value for each name, from the first again where there are too few."""
    return [values[number % len(values)] for number in range(len(names))]


def shorten(value: float | None) -> float | None:
    """Return a value with as many digits as a picture needs."""
    return None if value is None else float(f"{value:.{DIGITS}g}")


def shorten_finely(value: float) -> float:
    """Return three digits of what may be small: a net benefit is at most a label's prevalence."""
    return float(f"{value:.3g}")


def shorten_all(values: NDArray[np.float64]) -> list[float]:
    """Return shares with as many digits as a picture needs."""
    return [round(float(value), 3) for value in values]


def thin(line: Mapping[str, Any]) -> dict[str, Any]:
    """A curve's points without those that lie on the line between what is kept, within `POINTS`."""
    x, y = line["x"], line["y"]
    kept, stack = {0, len(x) - 1}, [(0, len(x) - 1)]
    while stack:
        start, end = stack.pop()
        width, height = x[end] - x[start], y[end] - y[start]
        length = (width**2 + height**2) ** 0.5 or 1.0
        apart = [abs(width * (y[i] - y[start]) - height * (x[i] - x[start])) / length for i in range(start + 1, end)]
        if apart and max(apart) > POINTS:
            middle = start + 1 + apart.index(max(apart))
            kept.add(middle)
            stack += [(start, middle), (middle, end)]
    places = sorted(kept)
    return {**line, "x": [x[i] for i in places], "y": [y[i] for i in places]}
