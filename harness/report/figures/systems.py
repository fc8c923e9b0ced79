"""Pictures of all rows of a board."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.metric_names import title_metric
from harness.report.figures.style import COLORS, WIDTH, Figure, finish, shorten, table, tooltip
from harness.text import count

if TYPE_CHECKING:
    from harness.report.leaderboard import Leaderboard


ALL = "all"
"""What the page's script sets to the number of all rows."""
PUBLISHED = " Hollow diamonds are published numbers, with the interval that their test set implies."
"""What the picture's description says of them."""
DRAWN = 20
"""Best rows that are drawn where no script runs."""


def draw_intervals(summary: Leaderboard) -> Figure | None:
    """A forest plot: each row's objective with its interval over patients and its seeds."""
    import altair as alt

    rows: list[dict[str, Any]] = [
        {
            "row": row.title,
            "place": place,
            "mean": shorten(row.metrics[summary.objective].mean),
            "low": shorten(interval[0]),
            "high": shorten(interval[1]),
            "seeds": [shorten(value) for value in row.metrics[summary.objective].values],
        }
        for place, row in enumerate(summary.ranked)
        if (interval := row.metrics[summary.objective].interval) is not None
    ]
    if not rows:
        return None
    y = alt.Y(
        "row:N",
        sort=alt.EncodingSortField("place", op="min"),
        title=None,
        axis=alt.Axis(ticks=False, domain=False),
    )
    shown = alt.param(name=ALL, value=min(DRAWN, len(rows)))
    base = table("rows").add_params(shown).transform_filter(f"datum.place < {ALL}")
    tips = tooltip("row:N", "mean:Q", "low:Q", "high:Q")
    bars = base.mark_rule(color=COLORS[0], strokeWidth=2).encode(
        x=alt.X(
            "low:Q",
            title=f"{title_metric(summary.objective)}, test split",
            scale=alt.Scale(zero=False),
            axis=alt.Axis(tickCount=7),
        ),
        x2=alt.X2("high:Q"),
        y=y,
        tooltip=tips,
    )
    means = base.mark_point(color=COLORS[0], filled=True, size=60, opacity=1).encode(
        x=alt.X("mean:Q"), y=y, tooltip=tips
    )
    seeds = (
        base.transform_flatten(["seeds"], ["seed"])
        .mark_tick(color=COLORS[1], thickness=1.5, height=8)
        .encode(x=alt.X("seed:Q"), y=y)
    )
    drawn, published = bars + seeds + means, _gather_published(summary, [row["row"] for row in rows])
    if published:
        drawn += _draw_published(base, y)
        for row in rows:
            row["published"] = [one for one in published if one["row"] == row["row"]]
    best = rows[0]
    return finish(
        "intervals",
        f"{title_metric(summary.objective)} with 95 % intervals over patients",
        f"{count(len(rows), 'row')} from best to worst. The first, {best['row']}, has {best['mean']} from "
        f"{best['low']} to "
        f"{best['high']}. Short ticks are single seeds. Rows whose intervals overlap may still differ significantly."
        f"{PUBLISHED if published else ''}",
        drawn.properties(width=WIDTH, height={"step": 20}),
        rows=rows,
    )


def _gather_published(summary: Leaderboard, rows: Sequence[str]) -> list[dict[str, Any]]:
    """The published numbers beside these rows."""
    return [
        {
            "row": row.title,
            "name": one.name,
            "value": shorten(one.value),
            "from": shorten(one.interval[0] if one.interval else one.value),
            "to": shorten(one.interval[1] if one.interval else one.value),
        }
        for row in summary.ranked
        if row.title in rows
        for one in summary.beside.get(row.name, ())
        if one.value is not None
    ]


def _draw_published(base: Any, y: Any) -> Any:
    """A diamond for each, below the row's own line and hollow, so that nobody takes it for a measured value."""
    import altair as alt

    each = base.transform_flatten(["published"], ["one"]).transform_calculate(
        value="datum.one.value", start="datum.one.from", end="datum.one.to", published="datum.one.name"
    )
    tips = tooltip("row:N", "published:N", "value:Q", "start:Q", "end:Q")
    color, below = COLORS[1], alt.YOffsetValue(17)
    lines = each.mark_rule(color=color, strokeWidth=1).encode(
        x=alt.X("start:Q"), x2=alt.X2("end:Q"), y=y, yOffset=below, tooltip=tips
    )
    marks = each.mark_point(color=color, shape="diamond", filled=False, size=50, opacity=1, strokeWidth=1.5).encode(
        x=alt.X("value:Q"), y=y, yOffset=below, tooltip=tips
    )
    return lines + marks
