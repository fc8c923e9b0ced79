"""Pictures of a board's best rows, which more than a few would blur."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.evaluation.significance import SIGNIFICANT
from harness.evaluation.subgroups import FEWEST
from harness.metric_names import title_metric
from harness.report.chance import find_rare_labels
from harness.report.figures.readers import draw_readers, place_readers
from harness.report.figures.style import (
    COLORS,
    LABEL,
    SHAPES,
    WIDTH,
    Figure,
    by_row,
    chosen_only,
    cycle,
    finish,
    shorten,
    shorten_all,
    table,
    thin,
)
from harness.text import count

APART = "readers-"
"""What the names of curves on what readers read begin with."""
MOST_TICKS = 12
"""Epochs that an axis names."""

Curves = Mapping[str, "NDArray[np.float64]"]
"""`roc/LABEL`, `pr/LABEL`, `reliability/LABEL`, `benefit/LABEL` of one seed, as `Resamples` holds them."""

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.evaluation.comparison import Pair
    from harness.report.leaderboard import Leaderboard, RowSummary
    from harness.report.readers import ReadersSummary


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
            x=alt.X("value:Q", title=f"{title_metric(metric)}, test split", scale=alt.Scale(zero=False)),
            y=alt.Y("label:N", sort=order, title=None, axis=alt.Axis(grid=True, ticks=False, domain=False)),
            color=by_row("color", best),
            shape=by_row("shape", best),
            tooltip=["row:N", "label:N", "value:Q"],
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


def draw_curves(
    summary: Leaderboard,
    best: Sequence[RowSummary],
    traced: Mapping[str, Curves],
    readers: ReadersSummary | None = None,
) -> Iterator[Figure]:
    """ROC and precision-recall curves and reliability diagrams, one label at a time; readers are points on the first.

    Where readers read a part of the test, or are held against another truth, the curves are drawn for that, too.
    """
    kinds = {
        "roc": (
            "ROC curves",
            "false positive rate",
            "true positive rate",
        ),
        "pr": ("Precision-recall curves", "recall", "precision"),
        "reliability": ("Reliability diagrams", "mean score", "share of positives"),
    }
    if readers is not None and any(name.startswith(APART) for curves in traced.values() for name in curves):
        kinds |= {f"{APART}{kind}": (f"{kinds[kind][0]}, beside readers", *kinds[kind][1:]) for kind in ("roc", "pr")}
        apart = APART
    else:
        apart = ""
    labels = summary.data.labels if summary.data else []
    for kind, (title, x, y) in kinds.items():
        lines = [
            {"row": row.title, "label": label, "x": shorten_all(curve[0]), "y": shorten_all(curve[1])}
            for row in best
            for label in labels
            if (curve := traced.get(row.name, {}).get(f"{kind}/{label}")) is not None
        ]
        lines = [thin(line) for line in lines] if kind != "reliability" else lines
        points = place_readers(readers, kind.removeprefix(APART)) if readers and kind.startswith(apart) else []
        if lines:
            figure = _draw_lines(kind, title, lines, (x, y), best, labels, points)
            yield replace(figure, description=f"{figure.description}{_explain_apart(kind, readers)}")


def _explain_apart(kind: str, readers: ReadersSummary | None) -> str:
    """What the curves beside readers are of, where that is not the test split with its targets."""
    if readers is None or not kind.startswith(APART):
        return ""
    if readers.panel.truth == "targets":
        return " The curves are of what readers read."
    each = ", each point against that of the other readers" if readers.panel.truth == "leave-one-out" else ""
    return f" The curves are against the majority of all readers{each}."


def _draw_lines(
    name: str,
    title: str,
    lines: Sequence[Mapping[str, Any]],
    headings: tuple[str, str],
    best: Sequence[RowSummary],
    labels: Sequence[str],
    points: Sequence[Mapping[str, Any]] = (),
) -> Figure:
    import altair as alt

    present = [label for label in labels if any(line["label"] == label for line in lines)]
    label = alt.param(name=LABEL, value=present[0])
    unit = alt.Scale(domain=[0, 1])
    drawn = (
        chosen_only(table("lines"), best)
        .transform_filter(f"datum.label == {LABEL}")
        .transform_flatten(["x", "y"])
        .mark_line(point={"size": 18} if name == "reliability" else False, strokeWidth=1.8)
        .encode(
            x=alt.X("x:Q", title=headings[0], scale=unit),
            y=alt.Y("y:Q", title=headings[1], scale=unit),
            color=by_row("color", best),
            strokeDash=by_row("dash", best),
            tooltip=["row:N", "x:Q", "y:Q"],
        )
    )
    diagonal = table("diagonal").mark_line(color="#888888", strokeDash=[2, 4], strokeWidth=1).encode(x="x:Q", y="y:Q")
    precision_recall = name.removeprefix(APART) == "pr"
    chart = drawn if precision_recall else diagonal + drawn
    chart = chart + draw_readers() if points else chart
    beside = f" Points are {count(len({point['reader'] for point in points}), 'reader')}." if points else ""
    figure = finish(
        name,
        title,
        f"First seeds on the test split, one of {count(len(present), 'label')} at a time.{beside}",
        chart.add_params(label).properties(width=380, height=380),
        lines=list(lines),
        **({} if precision_recall else {"diagonal": [{"x": 0, "y": 0}, {"x": 1, "y": 1}]}),
        **({"readers": list(points)} if points else {}),
    )
    return replace(figure, labels=tuple(present))


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
            tooltip=["row:N", "epoch:Q", "loss:Q"],
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
        x = alt.X("value:Q", title="AUROC, test split", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=7))
        span = base.mark_rule(strokeWidth=1.5, color="#888888").encode(
            x=alt.X("min(value):Q"), x2=alt.X2("max(value):Q"), y=y
        )
        names = sorted({str(point["group"]) for point in points})
        marks = base.mark_point(filled=True, size=60, opacity=0.9).encode(
            x=x,
            y=y,
            color=alt.Color("group:N", title=column, scale=alt.Scale(domain=names, range=cycle(COLORS, names))),
            shape=alt.Shape("group:N", title=column, scale=alt.Scale(domain=names, range=cycle(SHAPES, names))),
            tooltip=["row:N", "group:N", "value:Q"],
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
        tooltip=["row:N", "against:N", "difference:Q", "p:Q"],
    )
    dark = f"abs(datum.difference) > {0.6 * largest}"
    marks = base.mark_text(fontSize=14, dy=2).encode(
        text="mark:N", color=alt.condition(dark, alt.value("#fff"), alt.value("#111"))
    )
    judged = sum(pair.p is not None for pair in kept)
    shown = sum(pair.differs for pair in kept)
    unjudged = f" {len(kept) - judged} need three seeds of both rows first." if judged < len(kept) else ""
    return finish(
        "pairs",
        f"Differences in {title_metric(summary.objective)} between all pairs",
        f"{shown} of {len(kept)} pairs of the best {len(names)} rows differ significantly over patients and seeds "
        f"(Holm-adjusted p under {SIGNIFICANT:g}); they bear a star.{unjudged}",
        (squares + marks).properties(width={"step": 26}, height={"step": 26}),
        cells=cells,
    )
