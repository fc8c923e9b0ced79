"""Pictures of a study."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.components import Choice
from harness.metric_names import title_metric
from harness.report.figures.style import COLORS, Figure, finish, shorten
from harness.text import count
from harness.tuning.space import Dimension
from harness.tuning.study import values_of

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from harness.tuning.outcome import StudyOutcome

WIDE = 280
"""Pixels of a picture without its axes: with them it fits a phone, where it is read at its own size."""
HALF = 115
"""Pixels of one of two pictures side by side."""
LABEL = 130
"""Pixels at which a parameter's name or value is cut off; the page's tables have it whole."""
FEWEST = 5
"""Complete trials that importances are told from."""
LINES = 200
"""Trials that parallel coordinates show at most: the best ones."""


def draw_study(outcome: StudyOutcome, study: optuna.Study) -> Iterator[Figure]:
    """All pictures that there is something for."""
    yield draw_history(outcome)
    complete = [trial for trial in outcome.trials if trial.value is not None and trial.state.name == "COMPLETE"]
    if len(complete) > 1:
        yield draw_slices(outcome, complete)
        yield draw_parallel(outcome, complete)
    importances = weigh_parameters(study, tuple(outcome.plan.dimensions), complete)
    if importances:
        yield draw_importances(outcome, importances)


def draw_history(outcome: StudyOutcome) -> Figure:
    """Each trial's value, and the best so far."""
    import altair as alt

    sign = 1 if outcome.plan.higher_is_better else -1
    rows, best = [], -math.inf
    for trial in outcome.trials:
        value = trial.value if trial.value is not None else _last_report(trial)
        if value is None:
            continue
        if trial.state.name == "COMPLETE":
            best = max(best, sign * value)
        rows.append(
            {
                "trial": trial.number,
                "value": shorten(value),
                "state": trial.state.name.lower(),
                "best": shorten(sign * best) if math.isfinite(best) else None,
            }
        )
    x = alt.X("trial:Q", title="trial", axis=alt.Axis(tickMinStep=1), scale=alt.Scale(nice=False))
    base = alt.Chart(alt.Data(values=rows)).encode(x=x)
    scale = alt.Scale(domain=["complete", "pruned"], range=[COLORS[0], COLORS[6]])
    points = base.mark_point(size=50, filled=True).encode(
        y=alt.Y("value:Q", title=f"{title_metric(outcome.plan.objective)}, validation", scale=alt.Scale(zero=False)),
        color=alt.Color("state:N", scale=scale, legend=alt.Legend(title=None, orient="bottom")),
        shape=alt.Shape("state:N", scale=alt.Scale(domain=["complete", "pruned"], range=["circle", "cross"])),
    )
    line = base.mark_line(interpolate="step-after", color=COLORS[1]).encode(y=alt.Y("best:Q"))
    return finish(
        "history",
        f"The best {title_metric(outcome.plan.objective)} after each trial",
        f"{count(len(rows), 'trial')}; the best, trial {outcome.best.number}, reached {shorten(outcome.best.value)}. "
        "Crosses are pruned trials at their last epoch.",
        (line + points).properties(width=WIDE, height=220),
    )


def draw_slices(outcome: StudyOutcome, complete: list[FrozenTrial]) -> Figure:
    """The objective against each parameter by itself."""
    import altair as alt

    charts = []
    for name, dimension in outcome.plan.dimensions.items():
        rows = [
            {"x": _plain(values_of(trial).get(name), dimension), "value": shorten(trial.value), "trial": trial.number}
            for trial in complete
            if values_of(trial).get(name) is not None or isinstance(dimension.values, Choice)
        ]
        charts.append(
            alt.Chart(alt.Data(values=rows))
            .mark_point(filled=True, size=40, color=COLORS[0], opacity=0.7)
            .encode(
                x=_axis(dimension),
                y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5)),
            )
            .properties(width=HALF, height=140)
        )
    return finish(
        "slices",
        f"{title_metric(outcome.plan.objective)} on validation against each parameter",
        f"{count(len(complete), 'complete trial')} and {count(len(charts), 'parameter')}, each by itself.",
        alt.concat(*charts, columns=2),
    )


def draw_parallel(outcome: StudyOutcome, complete: list[FrozenTrial]) -> Figure:
    """Every trial as a line through its parameters."""
    import altair as alt

    sign = -1 if outcome.plan.higher_is_better else 1
    shown = sorted(complete, key=lambda trial: sign * (trial.value or 0.0))[:LINES]
    rows = [
        {"trial": trial.number, "parameter": name, "place": place, "value": shorten(trial.value)}
        for trial in shown
        for name, dimension in outcome.plan.dimensions.items()
        if (place := locate(values_of(trial).get(name), dimension)) is not None
    ]
    names = list(outcome.plan.dimensions)
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(opacity=0.6, strokeWidth=1.5)
        .encode(
            x=alt.X("parameter:N", sort=names, title=None, axis=alt.Axis(labelAngle=-40, labelLimit=LABEL)),
            y=alt.Y("place:Q", title="from lowest to highest value", axis=alt.Axis(labels=False, ticks=False)),
            detail=alt.Detail("trial:N"),
            color=alt.Color("value:Q", title=title_metric(outcome.plan.objective), scale=alt.Scale(scheme="viridis")),
        )
        .properties(width=WIDE, height=240)
    )
    return finish(
        "parallel",
        f"Which parameters go together with a good {title_metric(outcome.plan.objective)}",
        f"{count(len(shown), 'trial')}, each a line through its parameters, colored by its value on validation.",
        chart,
    )


def draw_importances(outcome: StudyOutcome, importances: Mapping[str, float]) -> Figure:
    """How much of the variation each parameter explains."""
    import altair as alt

    rows = [{"parameter": name, "importance": shorten(value)} for name, value in importances.items()]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(color=COLORS[0])
        .encode(
            x=alt.X("importance:Q", title="share of the variation over trials", axis=alt.Axis(tickCount=5)),
            y=alt.Y("parameter:N", sort="-x", title=None, axis=alt.Axis(labelLimit=LABEL)),
        )
        .properties(width=WIDE - LABEL + 50, height={"step": 22})
    )
    first = rows[0]
    return finish(
        "importances",
        f"{first['parameter']} explains most of what differs between trials",
        "Functional analysis of variance (Hutter et al. 2014) of the complete trials: "
        + ", ".join(f"{row['parameter']} {row['importance']}" for row in rows),
        chart,
    )


def weigh_parameters(study: optuna.Study, names: Sequence[str], complete: Sequence[FrozenTrial]) -> dict[str, float]:
    """Importance of each parameter, largest first; empty where there are too few trials to tell."""
    if sum(set(names) <= trial.params.keys() for trial in complete) < FEWEST:
        return {}
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    try:
        evaluator = FanovaImportanceEvaluator(seed=0)
        importances = get_param_importances(study, evaluator=evaluator, params=list(names))
    except (ValueError, RuntimeError):  # all values are equal, or too few trials have all parameters
        return {}
    return {name: value for name, value in importances.items() if math.isfinite(value)}


def locate(value: object, dimension: Dimension) -> float | None:
    """Where a value lies in its dimension, 0 to 1; None where it is outside."""
    values = dimension.values
    if isinstance(values, Choice):
        return values.options.index(value) / (len(values.options) - 1) if value in values.options else None
    if not isinstance(value, int | float) or not dimension.holds(value):
        return None
    ends = [math.log(end) if values.log else end for end in (values.low, values.high)]
    return ((math.log(value) if values.log else value) - ends[0]) / (ends[1] - ends[0])


def _axis(dimension: Dimension) -> Any:
    import altair as alt

    if isinstance(dimension.values, Choice):
        return alt.X("x:N", title=dimension.name, axis=alt.Axis(titleLimit=HALF + 20, labelLimit=HALF - 15))
    scale = alt.Scale(type="log", nice=False) if dimension.values.log else alt.Scale(zero=False)
    axis = alt.Axis(titleLimit=HALF + 20, labelOverlap=True, tickCount=4)
    return alt.X("x:Q", title=dimension.name, scale=scale, axis=axis)


def _plain(value: Any, dimension: Dimension) -> Any:
    return str(value) if isinstance(dimension.values, Choice) else shorten(value)


def _last_report(trial: FrozenTrial) -> float | None:
    return trial.intermediate_values[max(trial.intermediate_values)] if trial.intermediate_values else None
