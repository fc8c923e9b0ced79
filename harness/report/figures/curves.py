"""Curves of the best rows, one label at a time: ROC, precision-recall and reliability, over all seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.metric_names import title_metric
from harness.report.confusion import average_confusion
from harness.report.figures.averaging import average_curves
from harness.report.figures.readers import draw_readers, place_readers
from harness.report.figures.style import (
    LABEL,
    POINTS,
    Figure,
    by_policy,
    by_row,
    chosen_only,
    finish,
    shorten_all,
    table,
    thin,
    tooltip,
)
from harness.text import count

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.report.leaderboard import Leaderboard, RowSummary
    from harness.report.readers import ReadersSummary

APART = "readers-"
"""What the names of curves on what readers read begin with."""
AREAS = "areas"
"""The parameter that has label -> row -> the area, for the legend."""
COARSE = 2 * POINTS
"""Distance from a single seed's curve that is not worth a point: it is thin, and stands behind the mean."""
FINE = 0.5 * POINTS
"""Likewise from a mean, which is smooth."""

Curves = Mapping[str, "NDArray[np.float64]"]
"""`roc/LABEL`, `pr/LABEL`, `reliability/LABEL`, `benefit/LABEL` of one seed, as `Resamples` holds them."""
Traced = Mapping[str, Sequence[Curves]]
"""Row -> the curves of each of its seeds."""
Lines = list[dict[str, Any]]
"""Rows of a picture's table."""


@dataclass(frozen=True, kw_only=True)
class CurveKind:
    """One kind of curve."""

    name: str
    title: str
    x: str
    y: str
    area: str = ""
    """The metric that is the area under it."""
    averaged: str = ""
    """How seeds become one line, in a sentence."""


KINDS = (
    CurveKind(
        name="roc",
        title="ROC curves",
        x="false positive rate",
        y="true positive rate",
        area="auroc",
        averaged="The mean averages true positive rates at equal false positive rates, so that its area is the mean "
        "AUROC.",
    ),
    CurveKind(
        name="pr",
        title="Precision-recall curves",
        x="recall",
        y="precision",
        area="auprc",
        averaged="The mean averages precision at equal recall, along the lines of the seeds.",
    ),
    CurveKind(
        name="reliability",
        title="Reliability diagrams",
        x="mean score",
        y="share of positives",
        averaged="The mean pools the images of all seeds in bins of equal width.",
    ),
)


def draw_curves(
    summary: Leaderboard,
    best: Sequence[RowSummary],
    traced: Traced,
    readers: ReadersSummary | None = None,
) -> Iterator[Figure]:
    """ROC and precision-recall curves with operating points and reliability diagrams; readers are points on the first.

    Where readers read a part of the test, or are held against another truth, the curves are drawn for that, too.
    """
    kinds, apart = list(KINDS), ""
    if readers is not None and any(
        name.startswith(APART) for seeds in traced.values() for one in seeds for name in one
    ):
        beside = [
            replace(kind, name=f"{APART}{kind.name}", title=f"{kind.title}, beside readers") for kind in KINDS[:2]
        ]
        kinds, apart = [*kinds, *(replace(kind, area="") for kind in beside)], APART
    for kind in kinds:
        lines, seeds = _trace(summary, kind.name, best, traced)
        if not lines:
            continue
        base = kind.name.removeprefix(APART)
        points = place_readers(readers, base) if readers and kind.name.startswith(apart) else []
        decided = place_decisions(best, kind.name)
        yield _draw(
            summary, kind, best, {"lines": lines, "seeds": seeds, "decided": decided, "readers": points}, readers
        )


def _trace(summary: Leaderboard, kind: str, best: Sequence[RowSummary], traced: Traced) -> tuple[Lines, Lines]:
    """The mean of each row and label, and the single seeds of those that have several."""
    means, singles = [], []
    for row in best:
        for label in summary.data.labels if summary.data else []:
            curves = [one[name] for one in traced.get(row.name, ()) if (name := f"{kind}/{label}") in one]
            if not curves:
                continue
            means.append(_list_points(row.title, label, average_curves(kind.removeprefix(APART), curves), kind, FINE))
            if len(curves) > 1:
                singles += [
                    {**_list_points(row.title, label, curve, kind, COARSE), "seed": seed}
                    for seed, curve in enumerate(curves)
                ]
    return means, singles


def _list_points(row: str, label: str, curve: NDArray[np.float64], kind: str, within: float) -> dict[str, Any]:
    line = {"row": row, "label": label, "x": shorten_all(curve[0]), "y": shorten_all(curve[1])}
    return line if kind == "reliability" else thin(line, within)


def place_decisions(best: Sequence[RowSummary], kind: str) -> Lines:
    """Where the thresholds of each policy land on the test split, by row and label; none but on `roc` and `pr`."""
    if kind not in ("roc", "pr"):
        return []
    points = []
    for row in best:
        by_label: dict[str, dict[str, list[Any]]] = {}
        for policy, labels in average_confusion(row.counted).items():
            for label, one in labels.items():
                x, y = (one.false_alarms, one.sensitivity) if kind == "roc" else (one.sensitivity, one.precision)
                if x is None or y is None:
                    continue
                found = by_label.setdefault(label, {"policy": [], "x": [], "y": []})
                for name, value in (("policy", policy), ("x", round(x, 3)), ("y", round(y, 3))):
                    found[name].append(value)
        points += [{"row": row.title, "label": label, **found} for label, found in by_label.items()]
    return points


def _draw(
    summary: Leaderboard,
    kind: CurveKind,
    best: Sequence[RowSummary],
    data: Mapping[str, Lines],
    readers: ReadersSummary | None,
) -> Figure:
    import altair as alt

    present = [label for label in (summary.data.labels if summary.data else []) if _is_in(label, data["lines"])]
    areas = _list_areas(kind, best, present)
    params = [alt.param(name=LABEL, value=present[0]), *([alt.param(name=AREAS, value=areas)] if areas else [])]
    legend = {"title": f"{title_metric(kind.area)} of the label", "area": f"{AREAS}[{LABEL}]"} if areas else {}
    legend |= {"symbol": "stroke"}
    unit, ticks = alt.Scale(domain=[0, 1]), alt.Axis(tickCount=5)
    x, y = (
        alt.X("x:Q", title=kind.x, scale=unit, axis=ticks),
        alt.Y("y:Q", title=kind.y, scale=unit, axis=ticks),
    )
    color, dash = by_row("color", best, **legend), by_row("dash", best, **legend)
    reliability, diagonal = kind.name == "reliability", kind.name.removeprefix(APART) != "pr"
    layers: list[Any] = []
    if diagonal:
        layers.append(
            table("diagonal")
            .mark_line(color="#888888", strokeDash=[2, 4], strokeWidth=1)
            .encode(x=alt.X("x:Q"), y=alt.Y("y:Q"))
        )
    if data["seeds"]:
        thin_lines = _of_label("seeds", best).mark_line(strokeWidth=0.8, opacity=0.4)
        layers.append(thin_lines.encode(x=x, y=y, color=color, detail=alt.Detail("seed:N")))
    drawn = _of_label("lines", best).mark_line(point={"size": 18} if reliability else False, strokeWidth=2)
    layers.append(drawn.encode(x=x, y=y, color=color, strokeDash=dash, tooltip=tooltip("row:N", "x:Q", "y:Q")))
    if data["decided"]:
        layers.append(_draw_decisions(best, data["decided"], x, y, color))
    if data["readers"]:
        layers.append(draw_readers())
    held = {name: rows for name, rows in data.items() if rows}
    if diagonal:
        held["diagonal"] = [{"x": 0, "y": 0}, {"x": 1, "y": 1}]
    figure = finish(
        kind.name,
        kind.title,
        _describe(kind, data, len(present), readers),
        alt.layer(*layers).add_params(*params).properties(width=380, height=380),
        beside=True,
        **held,
    )
    return replace(figure, labels=tuple(present))


def _is_in(label: str, lines: Lines) -> bool:
    return any(line["label"] == label for line in lines)


def _of_label(name: str, best: Sequence[RowSummary]) -> Any:
    """The points of a table's lines, of the rows and the label that are shown."""
    shown = chosen_only(table(name), best).transform_filter(f"datum.label == {LABEL}")
    return shown.transform_flatten(["x", "y"])


def _draw_decisions(best: Sequence[RowSummary], points: Lines, x: Any, y: Any, color: Any) -> Any:
    """A mark for each policy, in the color of its row and a shape of its own."""
    policies = list(dict.fromkeys(policy for one in points for policy in one["policy"]))
    shown = chosen_only(table("decided"), best).transform_filter(f"datum.label == {LABEL}")
    marks = shown.transform_flatten(["policy", "x", "y"]).mark_point(size=55, opacity=1, strokeWidth=1.6)
    tips = tooltip("row:N", "policy:N", "x:Q", "y:Q")
    return marks.encode(x=x, y=y, color=color, shape=by_policy(policies), tooltip=tips)


def _list_areas(kind: CurveKind, best: Sequence[RowSummary], labels: Sequence[str]) -> dict[str, dict[str, str]]:
    """Label -> row -> the mean area over seeds; empty where the board does not measure it."""
    return {
        label: found
        for label in labels
        if (
            found := {r.title: f"{v:.3f}" for r in best if (v := r.per_label.get(kind.area, {}).get(label)) is not None}
        )
    }


def _describe(kind: CurveKind, data: Mapping[str, Lines], labels: int, readers: ReadersSummary | None) -> str:
    """What the picture shows, and how, in sentences."""
    told = [f"Test split, one of {count(labels, 'label')} at a time."]
    if data["seeds"]:
        told.append(f"Thin lines are single seeds, thick ones their mean. {kind.averaged}")
    if data["decided"]:
        told.append(
            "Hollow marks show where each policy's thresholds land; of several seeds they are means, which need not "
            "lie on the line."
            if data["seeds"]
            else "Hollow marks show where each policy's thresholds land."
        )
    if data["readers"]:
        told.append(f"Gray diamonds are {count(len({point['reader'] for point in data['readers']}), 'reader')}.")
    return " ".join([*told, *_explain_apart(kind.name, readers)])


def _explain_apart(kind: str, readers: ReadersSummary | None) -> list[str]:
    """What the curves beside readers are of, where that is not the test split with its targets."""
    if readers is None or not kind.startswith(APART):
        return []
    if readers.panel.truth == "targets":
        return ["The curves are of what readers read."]
    each = ", each point against that of the other readers" if readers.panel.truth == "leave-one-out" else ""
    return [f"The curves are against the majority of all readers{each}."]
