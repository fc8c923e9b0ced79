"""Readers as points beside curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from harness.report.figures.style import LABEL, shorten, table, tooltip

if TYPE_CHECKING:
    from harness.evaluation.parts import ReaderValue
    from harness.report.readers import ReadersSummary

COLOR = "#8c8c8c"
"""The color of lines and points, seen on light and dark ground, and no row's in the first round of colors."""

MIDDLE = 0.5
"""Where points begin to have their names on the left, so that these stay in the picture."""
SIDES: tuple[tuple[str, Literal["left", "right"], int, int], ...] = (("<=", "left", 7, 9), (">", "right", -7, -9))
"""Which points have their names how aligned, and how many pixels away."""
LONGEST = 120
"""Pixels of a name; the tooltip has all of it."""


def place_readers(readers: ReadersSummary, kind: str) -> list[dict[str, Any]]:
    """A point for each reader and label, with its interval either way; none for other curves than `roc` and `pr`."""
    points = []
    for name, reader in readers.panel.readers.items():
        for label, one in reader.per_label.items():
            if kind == "roc":
                x, y = _turn(one.specificity), _read(one.sensitivity)
            elif kind == "pr":
                x, y = _read(one.sensitivity), _read(one.precision)
            else:
                return []
            if None not in (x[0], y[0]):
                values = dict(zip(("x", "left", "right", "y", "low", "high"), map(shorten, (*x, *y)), strict=True))
                points.append({"reader": name, "label": label, **values})
    return points


def draw_readers() -> Any:
    """The points of the table `readers`, of the label that is shown."""
    import altair as alt

    base = table("readers").transform_filter(f"datum.label == {LABEL}")
    tips = tooltip("reader:N", "x:Q", "left:Q", "right:Q", "y:Q", "low:Q", "high:Q")
    across = base.mark_rule(color=COLOR, strokeWidth=1, opacity=0.6).encode(
        x=alt.X("left:Q"), x2=alt.X2("right:Q"), y=alt.Y("y:Q")
    )
    along = base.mark_rule(color=COLOR, strokeWidth=1, opacity=0.6).encode(
        x=alt.X("x:Q"), y=alt.Y("low:Q"), y2=alt.Y2("high:Q")
    )
    points = base.mark_point(shape="diamond", filled=True, size=70, color=COLOR, opacity=1).encode(
        x=alt.X("x:Q"), y=alt.Y("y:Q"), tooltip=tips
    )
    names = [
        base.transform_filter(f"datum.x {where} {MIDDLE}")
        .mark_text(align=align, dx=dx, dy=dy, fontSize=10, limit=LONGEST)
        .encode(x=alt.X("x:Q"), y=alt.Y("y:Q"), text=alt.Text("reader:N"))
        for where, align, dx, dy in SIDES
    ]
    return alt.layer(across, along, points, *names)


def _read(one: ReaderValue) -> tuple[float | None, float | None, float | None]:
    """A value with its ends; the value itself where it has none."""
    low, high = (one.value, one.value) if one.interval is None else one.interval
    return one.value, low, high


def _turn(one: ReaderValue) -> tuple[float | None, float | None, float | None]:
    """A share and its ends, taken from 1."""
    value, low, high = _read(one)
    turned = [None if each is None else 1 - each for each in (value, high, low)]
    return turned[0], turned[1], turned[2]
