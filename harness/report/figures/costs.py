"""The objective against what a row costs, on an axis that the reader picks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.metric_names import title_metric
from harness.report.drawing import make_scale
from harness.report.figures.placement import place_names
from harness.report.figures.style import COLORS, COST, WIDTH, Figure, by_kind, finish, shorten, table, tooltip
from harness.report.kinds import CONTROL, KINDS, ZERO_SHOT
from harness.text import count

if TYPE_CHECKING:
    from harness.report.leaderboard import Leaderboard

HEIGHT = 300
NARROW = 400
"""Pixels of a plot that is narrow: fewer names have room there."""
NARROWEST = 230
MOST_TICKS = 7


@dataclass(frozen=True)
class Cost:
    """Something that a row costs; less is better."""

    name: str
    heading: str
    """What it is called on its axis, with its unit."""
    find: Callable[[Mapping[str, float]], float | None]
    """Takes it out of a row's efficiency."""
    timed: bool = True
    """Whether it depends on the machine, so that it is compared within one device alone."""


def _take(name: str, unit: float = 1.0) -> Callable[[Mapping[str, float]], float | None]:
    return lambda efficiency: efficiency[name] / unit if efficiency.get(name) else None


def _find_training(efficiency: Mapping[str, float]) -> float | None:
    """Minutes of training, and of embedding where there was some: what the row would cost alone."""
    found = efficiency.get("train_minutes")
    return found + efficiency.get("embedding_seconds", 0.0) / 60 if found else None


def _find_time(efficiency: Mapping[str, float]) -> float | None:
    speed = efficiency.get("inference_images_per_second")
    return 1000 / speed if speed else None


SHARED = (
    Cost("training", "training and embedding, minutes", _find_training),
    Cost("fit", "training alone, minutes", _take("train_minutes")),
)
"""What takes the place of training time where embeddings are shared."""
AXES = (
    Cost("training", "training time, minutes", _find_training),
    Cost("image", "time per test image, ms", _find_time),
    Cost("memory", "peak device memory, MiB", _take("peak_device_bytes", 2**20)),
    Cost("energy", "energy of the GPU, kJ", _take("joules", 1000)),
    Cost("parameters", "parameters, millions", _take("parameters", 1e6), timed=False),
    Cost("operations", "GFLOPs per image", _take("flops_per_image", 1e9), timed=False),
)


def draw_costs(summary: Leaderboard) -> Figure | None:
    """The objective against each cost that records hold, one at a time, with the rows that none beats in both.

    None where no cost tells two rows apart.
    """
    higher = summary.directions.get(summary.objective, True)
    axes = (*SHARED, *AXES[1:]) if any(row.embeddings for row in summary.ranked) else AXES
    kinds = [cost for cost in axes if summary.timings_compare or not cost.timed]
    listed = {cost: _list_rows(summary, cost) for cost in kinds}
    found = {cost: rows for cost, rows in listed.items() if len({row["cost"] for row in rows}) > 1}
    if not found:
        return None
    rows = [row for of_cost in found.values() for row in of_cost]
    front = [row for of_cost in found.values() for row in find_front(of_cost, higher=higher)]
    names = [row for of_cost in found.values() for row in _place(of_cost, find_front(of_cost, higher=higher))]
    objective = title_metric(summary.objective)
    most = max(len(of_cost) for of_cost in found.values())
    figure = finish(
        "cost",
        f"{objective} against cost",
        f"{count(most, 'row')}. The dashed line joins the rows that no other row beats in both {objective} and cost."
        f"{_explain_kinds(summary)}{_explain_missing(summary)} "
        "Where there is no room for a row's name, its point shows it on hover.",
        _draw(objective, found, _list_kinds(rows)),
        rows=rows,
        front=front,
        names=names,
        heading=[{}],
    )
    return replace(figure, choices={cost.name: cost.heading for cost in found})


def _list_kinds(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The kinds of the rows, where they are several."""
    there = {row["kind"] for row in rows}
    return [kind for kind in KINDS if kind in there] if len(there) > 1 else []


def _explain_kinds(summary: Leaderboard) -> str:
    """What to know of rows that were not trained whole."""
    kinds = {row.kind for row in summary.rows if row.metrics}
    told = ""
    if any(row.embeddings for row in summary.ranked):
        told += (
            " Embeddings are made once for all rows that share them: training and embedding is what a row costs by "
            "itself, training alone what it costs beside the others."
        )
    if ZERO_SHOT in kinds:
        told += " A zero-shot row has no training time, and stands on the other axes."
    if CONTROL in kinds:
        told += " Controls are not drawn."
    return told


def _explain_missing(summary: Leaderboard) -> str:
    return "" if summary.timings_compare else " Times of different devices or versions are not compared."


def _list_rows(summary: Leaderboard, cost: Cost) -> list[dict[str, Any]]:
    """The ranked rows that have it, best first."""
    return [
        {
            "axis": cost.name,
            "row": row.title,
            "kind": row.kind,
            "value": shorten(row.metrics[summary.objective].mean),
            "cost": shorten(found),
        }
        for row in summary.ranked
        if (found := cost.find(row.efficiency)) is not None
    ]


def find_front(rows: Sequence[Mapping[str, Any]], *, higher: bool) -> list[Mapping[str, Any]]:
    """Rows that none beats in both value and cost, in the order of cost."""

    def beats(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        value = one["value"] - other["value"] if higher else other["value"] - one["value"]
        cost = other["cost"] - one["cost"]
        return bool(min(value, cost) >= 0 and max(value, cost) > 0)

    return sorted((row for row in rows if not any(beats(other, row) for other in rows)), key=lambda row: row["cost"])


def find_range(costs: Sequence[float]) -> tuple[float, float]:
    """The ends of a logarithmic axis, with room beside the outermost values."""
    low, high = min(costs), max(costs)
    room = max((high / low) ** 0.08, 1.02)
    return low / room, high * room


def place_log_ticks(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis at 1, 2 and 5 times powers of ten; round numbers where fewer than three of these fit.

    Of a wide axis only powers of ten.
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1,)):
        ticks = [float(f"{factor}e{power}") for power in powers for factor in factors]
        within = [tick for tick in ticks if low <= tick <= high]
        if len(within) < 3 and factors == (1, 2, 5):
            scale = make_scale((low, high), 4)
            return [float(tick) for tick in scale.ticks if low <= float(tick) <= high] if scale else within
        if len(within) <= MOST_TICKS:
            break
    return within


def _place(rows: Sequence[Mapping[str, Any]], front: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Names of rows where there is room for them, on a usual and on a narrow plot; those of the front come first."""
    low, high = find_range([row["cost"] for row in rows])
    values = [row["value"] for row in rows]
    bottom, top = min(values), max(values)
    ordered = [*front, *(row for row in rows if row not in front)]
    places = []
    for narrow, width in ((False, NARROW), (True, NARROWEST)):
        points = [
            (
                math.log(row["cost"] / low) / math.log(high / low) * width,
                (1 - (row["value"] - bottom) / ((top - bottom) or 1)) * HEIGHT * 0.9 + HEIGHT * 0.05,
            )
            for row in ordered
        ]
        for row, place in zip(
            ordered, place_names([row["row"] for row in ordered], points, width, len(front)), strict=True
        ):
            if place is not None:
                places.append({**row, "narrow": narrow, "align": place.align, "dx": place.dx, "dy": place.dy})
    return places


def _draw(objective: str, found: Mapping[Cost, Sequence[Mapping[str, Any]]], kinds: Sequence[str]) -> Any:
    """The chart; with several `kinds`, points differ in shape and color by them."""
    import altair as alt

    ranges = {cost.name: find_range([row["cost"] for row in rows]) for cost, rows in found.items()}
    params = {
        COST: next(iter(ranges)),
        "ranges": {name: list(ends) for name, ends in ranges.items()},
        "ticks": {name: place_log_ticks(*ends) for name, ends in ranges.items()},
        "headings": {cost.name: cost.heading for cost in found},
    }
    x = alt.X(
        "cost:Q",
        title=None,
        scale=alt.Scale(type="log", nice=False, domain=alt.ExprRef(f"ranges[{COST}]")),
        axis=alt.Axis(values=alt.ExprRef(f"ticks[{COST}]"), format="~g", labelOverlap=True),
    )
    y = alt.Y("value:Q", title=objective, scale=alt.Scale(zero=False, padding=12), axis=alt.Axis(tickCount=6))

    def shown(name: str) -> Any:
        return table(name).transform_filter(f"datum.axis == {COST}")

    line = shown("front").mark_line(color=COLORS[1], strokeDash=[6, 3]).encode(x=x, y=y)
    points = shown("rows").mark_point(color=COLORS[0], filled=True, size=110 if kinds else 70, opacity=1)
    names = shown("names").transform_filter(f"datum.narrow == (width < {NARROW})")
    called = names.mark_text(
        align=alt.ExprRef("datum.align"), dx=alt.ExprRef("datum.dx"), dy=alt.ExprRef("datum.dy"), baseline="middle"
    )
    below: dict[str, Any] = {"y": alt.ExprRef("height + 28"), "x": alt.ExprRef("width / 2")}
    heading = table("heading").mark_text(baseline="top", limit=0, **below)
    layers = (
        line,
        points.encode(
            x=x, y=y, tooltip=tooltip("row:N", "kind:N", "value:Q", "cost:Q"), **(by_kind(kinds) if kinds else {})
        ),
        called.encode(x=x, y=y, text=alt.Text("row:N")),
        heading.encode(text=alt.TextValue(alt.ExprRef(f"headings[{COST}]"))),
    )
    chart = alt.layer(*layers).add_params(*(alt.param(name=name, value=value) for name, value in params.items()))
    return chart.properties(width=WIDTH, height=HEIGHT)
