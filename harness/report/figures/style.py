"""What pictures have in common: colors, dashes and shapes that tell rows apart, and how numbers are cut.

Colors are those of Okabe and Ito 2008 (Color universal design), which the color-blind can tell apart; texts, axes and
grounds take theirs from the page's style, light or dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.report.kinds import ENSEMBLE, LINEAR, NEIGHBORS, SCRATCH, SUBMITTED, TUNED, ZERO_SHOT

if TYPE_CHECKING:
    import altair as alt
    import numpy as np
    from numpy.typing import NDArray

    from harness.report.leaderboard import RowSummary

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c8c8c")
DASHES = ((1, 0), (6, 3), (2, 2))
POLICY_SHAPES = ("circle", "square", "triangle-up", "cross", "triangle-down", "triangle-right", "triangle-left")
"""Without the diamond, which is a reader's."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")
KIND_MARKS = {
    SCRATCH: ("circle", COLORS[0]),
    TUNED: ("square", COLORS[2]),
    LINEAR: ("triangle-up", COLORS[3]),
    NEIGHBORS: ("diamond", COLORS[5]),
    ZERO_SHOT: ("cross", COLORS[4]),
    ENSEMBLE: ("triangle-down", COLORS[6]),
    SUBMITTED: ("triangle-right", COLORS[1]),
}
"""Shape and color of a row by how it was trained: either tells it."""
WIDTH = 560
CHOSEN = "chosen"
"""What the page's script sets to the names of the rows that are shown."""
LABEL = "label"
"""What the page's script sets to the label whose curves are shown."""
COST = "cost"
"""What the page's script sets to the cost that the objective is drawn against."""
FIRST = 10
"""Rows that are shown until others are chosen."""
DIGITS = 4
POINTS = 0.01
"""Distance from a curve that is not worth a point in a picture."""


@dataclass(frozen=True, kw_only=True)
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
    choices: Mapping[str, str] = field(default_factory=dict)
    """Axes of which one at a time is shown, with what they are called; empty where there is but one."""


def table(name: str) -> alt.Chart:
    """A chart of the data that `finish` gets under that name: validated without them, which takes most of the time."""
    import altair as alt

    return alt.Chart(alt.NamedData(name=name))


def finish(
    name: str, title: str, description: str, chart: alt.TopLevelMixin, *, beside: bool = False, **data: Sequence[Any]
) -> Figure:
    """Finish a chart, with the data of its tables: no ground, no colors for what the page's style colors.

    Its legend stands below it, or `beside` it.
    """
    chart = chart.configure(background="transparent").configure_view(stroke=None)
    place: Any = (
        {"orient": "right", "labelLimit": 190} if beside else {"orient": "bottom", "columns": 2, "labelLimit": 300}
    )
    chart = chart.configure_legend(symbolOpacity=1, **place).configure_axisY(labelLimit=320)
    chart = chart.configure_axisX(labelFlush=False, labelSeparation=5)
    chart = chart.configure_text(limit=220)
    specification = chart.to_dict(validate=False)  # a test does; it takes a third of the time
    specification |= {"description": description, "datasets": {name: list(values) for name, values in data.items()}}
    return Figure(name=name, title=title, description=description, specification=specification)


def tooltip(*fields: str) -> list[alt.Tooltip]:
    """What a mark tells of itself under the pointer.

    As every channel it is an object, not a text alone: for each text Altair goes through all its classes.
    """
    import altair as alt

    return [alt.Tooltip(field) for field in fields]


def chosen_only(chart: alt.Chart, rows: Sequence[RowSummary]) -> alt.Chart:
    """The rows that the page's script names in the parameter `chosen`; until it does, the first ones."""
    import altair as alt

    chosen = alt.param(name=CHOSEN, value=[row.title for row in rows[:FIRST]])
    return chart.add_params(chosen).transform_filter(f"indexof({CHOSEN}, datum.row) >= 0")


def by_row(
    channel: str, rows: Sequence[RowSummary], title: str | None = None, area: str = "", symbol: str | None = None
) -> Any:
    """A channel that tells rows apart; colors repeat with other dashes or shapes.

    `area` is an expression for row -> a number, which then stands before each row in the legend, under `title`;
    `symbol` is the legend's, where it is not that of the marks.
    """
    import altair as alt

    names = [row.title for row in rows]
    rounds = [number // len(COLORS) for number in range(len(names))]
    # first the number: a long name is cut at its end
    numbered: Any = {"labelExpr": f"({area}[datum.label] || '') + '  ' + datum.label"} if area else {}
    drawn: Any = {"symbolType": symbol} if symbol else {}
    legend = alt.Legend(title=title, values=alt.ExprRef(CHOSEN), **numbered, **drawn)
    if channel == "color":
        return alt.Color("row:N", scale=alt.Scale(domain=names, range=cycle(COLORS, names)), legend=legend)
    if channel == "dash":
        dashes = [list(DASHES[turn % len(DASHES)]) for turn in rounds]
        return alt.StrokeDash("row:N", scale=alt.Scale(domain=names, range=dashes), legend=legend)
    return alt.Shape("row:N", scale=alt.Scale(domain=names, range=cycle(SHAPES, names)), legend=legend)


def by_kind(kinds: Sequence[str]) -> dict[str, Any]:
    """Channels that tell by shape and color how rows were trained, in one legend."""
    import altair as alt

    shapes, colors = zip(*(KIND_MARKS[kind] for kind in kinds), strict=True)
    legend = alt.Legend(title="how rows were trained", symbolSize=110, offset=34)
    return {
        "shape": alt.Shape("kind:N", scale=alt.Scale(domain=list(kinds), range=list(shapes)), legend=legend),
        "color": alt.Color("kind:N", scale=alt.Scale(domain=list(kinds), range=list(colors)), legend=legend),
    }


def by_policy(policies: Sequence[str]) -> Any:
    """A shape for each threshold policy."""
    import altair as alt

    scale = alt.Scale(domain=list(policies), range=cycle(POLICY_SHAPES, policies))
    return alt.Shape("policy:N", scale=scale, legend=alt.Legend(title="thresholds"))


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
    rounded: list[float] = values.astype(float).round(3).tolist()
    return rounded


def thin(line: Mapping[str, Any], within: float) -> dict[str, Any]:
    """A curve's points without those that lie on the line between what is kept, within that distance."""
    x, y = line["x"], line["y"]
    kept, stack = {0, len(x) - 1}, [(0, len(x) - 1)]
    while stack:
        start, end = stack.pop()
        width, height = x[end] - x[start], y[end] - y[start]
        length = (width**2 + height**2) ** 0.5 or 1.0
        apart = [abs(width * (y[i] - y[start]) - height * (x[i] - x[start])) / length for i in range(start + 1, end)]
        if apart and max(apart) > within:
            middle = start + 1 + apart.index(max(apart))
            kept.add(middle)
            stack += [(start, middle), (middle, end)]
    places = sorted(kept)
    return {**line, "x": [x[i] for i in places], "y": [y[i] for i in places]}
