"""Pictures of a board's best rows, which more than a few would blur."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.evaluation.significance import SIGNIFICANT
from harness.evaluation.subgroups import FEWEST
from harness.metric_names import title_metric
from harness.report.chance import find_rare_labels
from harness.report.figures.style import (
    COLORS,
    SHAPES,
    WIDTH,
    Figure,
    by_row,
    chosen_only,
    cycle,
    finish,
    shorten,
    table,
    tooltip,
)
from harness.text import count

MOST_TICKS = 12
"""Epochs that an axis names."""

if TYPE_CHECKING:
    from harness.evaluation.comparison import Pair
    from harness.report.leaderboard import Leaderboard, RowSummary


def draw_labels(summary: Leaderboard, best: Sequence[RowSummary]) -> Figure | None:
    """The objective of each label, a mark a row."""
    import altair as alt

    metric = summary.objective
    by_label: dict[str, list[float]] = {}
    for row in best:
        for label, value in row.per_label.get(metric, {}).items():
            by_label.setdefault(label, []).append(value)
    if not by_label:
        return None
    order = sorted(by_label, key=lambda label: -max(by_label[label]))
    values = [
        {"row": row.title, "label": label, "value": shorten(value)}
        for row in best
        for label, value in row.per_label.get(metric, {}).items()
    ]
    chart = (
        chosen_only(table("values"), best)
        .mark_point(filled=True, size=60, opacity=0.9)
        .encode(
            x=alt.X(
                "value:Q",
                title=f"{title_metric(metric)}, test split",
                scale=alt.Scale(zero=False),
                axis=alt.Axis(tickCount=7),
            ),
            y=alt.Y("label:N", sort=order, title=None, axis=alt.Axis(grid=True, ticks=False, domain=False)),
            color=by_row("color", best),
            shape=by_row("shape", best),
            tooltip=tooltip("row:N", "label:N", "value:Q"),
        )
    )
    return finish(
        "labels",
        f"{title_metric(metric)} by label",
        f"{len(order)} labels from easiest to hardest, {order[0]} first and {order[-1]} last.{_doubt_labels(summary)}",
        chart.properties(width=WIDTH, height={"step": 22}),
        values=values,
    )


def _doubt_labels(summary: Leaderboard) -> str:
    rare = find_rare_labels(summary)
    told = f" Fewer than {FEWEST} positives or negatives say little of a row: {', '.join(rare)}."
    return told if rare else ""


def draw_histories(best: Sequence[RowSummary]) -> Figure | None:
    """The validation loss of every epoch, first seeds."""
    import altair as alt

    histories = {
        row.title: record.training.history
        for row in best
        for record in row.counted[:1]
        if record.training is not None and len(record.training.history) > 1
    }
    if not histories:
        return None
    lines = [
        {
            "row": name,
            "epoch": [epoch.epoch for epoch in history],
            "loss": [shorten(epoch.val_loss) for epoch in history],
        }
        for name, history in histories.items()
    ]
    last = max(epoch.epoch for history in histories.values() for epoch in history)
    epochs = list(range(1, last + 1, math.ceil(last / MOST_TICKS)))
    chart = (
        chosen_only(table("lines"), best)
        .transform_flatten(["epoch", "loss"])
        .mark_line(strokeWidth=1.8)
        .encode(
            x=alt.X("epoch:Q", title="epoch", scale=alt.Scale(nice=False), axis=alt.Axis(values=epochs, format="d")),
            y=alt.Y("loss:Q", title="validation loss", scale=alt.Scale(zero=False)),
            color=by_row("color", best),
            strokeDash=by_row("dash", best),
            tooltip=tooltip("row:N", "epoch:Q", "loss:Q"),
        )
    )
    return finish(
        "histories",
        "Validation loss by epoch",
        "First seeds. Losses of different kinds are not on one scale.",
        chart.properties(width=WIDTH, height=260),
        lines=lines,
    )


def draw_subgroups(summary: Leaderboard, best: Sequence[RowSummary]) -> Iterator[Figure]:
    """A score of each group of patients, a line a row from its worst group to its best."""
    import altair as alt

    columns = dict.fromkeys(column for row in best for record in row.counted[:1] for column in (record.subgroups or {}))
    for number, column in enumerate(columns):
        points = [
            {"row": row.title, "group": group.name, "value": shorten(value)}
            for row in best
            for record in row.counted[:1]
            if (part := (record.subgroups or {}).get(column)) is not None
            for group in part.groups
            if (value := group.macro.get("auroc")) is not None
        ]
        if not points:
            continue
        base = chosen_only(table("points"), best)
        y = alt.Y(
            "row:N",
            sort=[row.title for row in best],
            title=None,
            axis=alt.Axis(ticks=False, domain=False),
        )
        scale = alt.Scale(zero=False, padding=8)
        x = alt.X("value:Q", title="AUROC, test split", scale=scale, axis=alt.Axis(tickCount=7))
        span = base.mark_rule(strokeWidth=1.5, color="#888888").encode(
            x=alt.X("min(value):Q"), x2=alt.X2("max(value):Q"), y=y
        )
        names = sorted({str(point["group"]) for point in points})
        marks = base.mark_point(filled=True, size=60, opacity=0.9).encode(
            x=x,
            y=y,
            color=alt.Color("group:N", title=column, scale=alt.Scale(domain=names, range=cycle(COLORS, names))),
            shape=alt.Shape("group:N", title=column, scale=alt.Scale(domain=names, range=cycle(SHAPES, names))),
            tooltip=tooltip("row:N", "group:N", "value:Q"),
        )
        yield finish(
            f"subgroups-{column}" if re.fullmatch(r"[\w-]+", column) else f"subgroups.{number}",  # an id has no spaces
            f"AUROC by {column}",
            f"Groups {', '.join(names)}, first seeds; means over the labels with at least {FEWEST} positives and "
            f"{FEWEST} negatives in a group.",
            (span + marks).properties(width=WIDTH, height={"step": 22}),
            points=points,
        )


def draw_pairs(summary: Leaderboard, best: Sequence[RowSummary], pairs: Sequence[Pair]) -> Figure | None:
    """Differences of all pairs of the best rows, the significant ones marked."""
    import altair as alt

    titles = {row.name: row.title for row in best}
    names = [*titles.values()]
    kept = [pair for pair in pairs if pair.a in titles and pair.b in titles]
    if not kept:
        return None
    cells = [
        {
            "row": a,
            "against": b,
            "difference": shorten(sign * pair.delta),
            "p": None if pair.p_holm is None else shorten(pair.p_holm),
            "mark": "*" if pair.differs else "",
        }
        for pair in kept
        for a, b, sign in ((titles[pair.a], titles[pair.b], 1), (titles[pair.b], titles[pair.a], -1))
    ]
    largest = max(abs(float(cell["difference"] or 0)) for cell in cells) or 1.0
    base = table("cells").encode(
        x=alt.X("against:N", sort=names, title="against", axis=alt.Axis(labelLimit=160, labelAngle=-60)),
        y=alt.Y("row:N", sort=names, title=None),
    )
    squares = base.mark_rect().encode(
        color=alt.Color(
            "difference:Q",
            title=f"difference in {title_metric(summary.objective)}",
            scale=alt.Scale(scheme="blueorange", domain=[-largest, largest], reverse=True),
        ),
        tooltip=tooltip("row:N", "against:N", "difference:Q", "p:Q"),
    )
    dark = f"abs(datum.difference) > {0.6 * largest}"
    marks = base.mark_text(fontSize=14, dy=2).encode(
        text=alt.Text("mark:N"), color=alt.condition(dark, alt.value("#fff"), alt.value("#111"))
    )
    judged = sum(pair.p is not None for pair in kept)
    shown = sum(pair.differs for pair in kept)
    found = f"A star marks a significant difference: {shown} of" if shown else "No difference is significant among"
    waiting = len(kept) - judged
    unjudged = f" {count(waiting, 'pair')} {'needs' if waiting == 1 else 'need'} three seeds of both rows first."
    return finish(
        "pairs",
        f"Differences in {title_metric(summary.objective)} between all pairs",
        f"{found} {count(len(kept), 'pair')} of the best {len(names)} rows, over patients and seeds "
        f"(Holm-adjusted p under {SIGNIFICANT:g}).{unjudged if waiting else ''}",
        (squares + marks).properties(width={"step": 26}, height={"step": 26}),
        cells=cells,
    )
