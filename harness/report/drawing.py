"""Small drawings for the page: inline SVG with a text alternative, without script and without style attributes.

Texts go through `Markup.format`, which escapes them; colors come from the page's style by class.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.metric_names import title_metric
from harness.report.leaderboard import Beside, Spread
from harness.results.record import EpochPart, Record

DOTS = (256, 22)
"""Width and height of a row's dots, in pixels."""
CHART = (340, 150)
NOTHING = Markup("")


@dataclass(frozen=True)
class Scale:
    """A common axis: where it begins and ends, and the round numbers between."""

    low: float
    high: float
    ticks: tuple[str, ...]

    def at(self, value: float, start: float, end: float) -> str:
        """The position of a value between two pixels, one of which stands for `low`."""
        return f"{start + (value - self.low) / (self.high - self.low) * (end - start):.1f}"


def make_scale(values: Iterable[float], count: int = 3) -> Scale | None:
    """A scale that holds all values, with about `count` round ticks; None without a value."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    margin = 0.08 * (high - low) or 0.02 * abs(high) or 0.01
    low, high = low - margin, high + margin
    power = 10.0 ** math.floor(math.log10((high - low) / count))
    steps = [power * factor for factor in (1, 2, 5, 10)]
    wide = next(number for number, step in enumerate(steps) if (high - low) / step <= count + 1.5)
    ticks = _place_ticks(low, high, steps[wide])
    # one tick alone is no scale
    return Scale(low, high, ticks if len(ticks) > 1 or wide == 0 else _place_ticks(low, high, steps[wide - 1]))


def _place_ticks(low: float, high: float, step: float) -> tuple[str, ...]:
    digits = max(0, -math.floor(math.log10(step)))
    numbers = range(math.ceil(low / step), math.floor(high / step) + 1)
    return tuple(f"{number * step:.{digits}f}" for number in numbers)


def draw_spread(spread: Spread | None, scale: Scale | None, name: str, beside: Sequence[Beside] = ()) -> Markup:
    """A row's values on the scale of the whole board: a ring a seed, a bar at their mean.

    Below stand published numbers that are about it: a diamond, with the interval that its test set implies.
    """
    if spread is None or scale is None:
        return NOTHING
    width, height = DOTS
    by_seed = ", ".join(f"seed {seed}: {v:.4f}" for seed, v in zip(spread.seeds, spread.values, strict=True))
    grid = Markup('<path class="grid" d="{}"/>').format(
        "".join(f"M{scale.at(float(tick), 4, width - 4)} 0v{height}" for tick in scale.ticks)
    )
    span = Markup('<path class="span" d="M{} {}H{}"/>').format(
        scale.at(min(spread.values), 4, width - 4), height // 2, scale.at(max(spread.values), 4, width - 4)
    )
    ring = f"m-3.5 {height // 2}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0"
    dots = Markup('<path class="seeds" d="{}"/>').format(
        "".join(f"M{scale.at(value, 4, width - 4)} 0{ring}" for value in spread.values)
    )
    if spread.interval is not None:
        low, high = (scale.at(value, 4, width - 4) for value in spread.interval)
        grid += Markup('<rect class="interval" x="{}" y="{}" width="{:.1f}" height="14"/>').format(
            low, height / 2 - 7, float(high) - float(low)
        )
        by_seed += f"; 95 % over patients: {spread.interval[0]:.4f} to {spread.interval[1]:.4f}"
    mean = Markup('<path class="mean" d="M{} 3v{}"/>').format(scale.at(spread.mean, 4, width - 4), height - 6)
    drawn = _svg("dots", DOTS, f"{title_metric(name)} {spread.mean:.4f}; {by_seed}", grid + span + dots + mean)
    return drawn + Markup().join(_draw_published(one, scale) for one in beside if one.value is not None)


def _draw_published(one: Beside, scale: Scale) -> Markup:
    """A published number in a line of its own, hollow, so that nobody takes it for a measured one."""
    width, height = DOTS
    at, middle = scale.at(one.value or 0, 4, width - 4), height // 2
    drawn, text = NOTHING, f"published, {one.name}: {one.value:.4f}"
    if one.interval is not None:
        low, high = (scale.at(value, 4, width - 4) for value in one.interval)
        drawn = Markup('<path class="reach" d="M{low} {m}H{high}M{low} {top}v6M{high} {top}v6"/>').format(
            low=low, high=high, m=middle, top=middle - 3
        )
        text += f"; 95 % that its test set implies: {one.interval[0]:.4f} to {one.interval[1]:.4f}"
    drawn += Markup('<path class="hollow" d="M{} {}l5 5l-5 5l-5 -5z"/>').format(at, middle - 5)
    return _svg("dots published", DOTS, text, drawn)


def draw_difference(delta: float, interval: tuple[float, float] | None, scale: Scale | None, name: str) -> Markup:
    """A difference with its interval on the scale of all that stand below each other, with a line at 0."""
    if scale is None:
        return NOTHING
    width, height = DOTS
    zero = Markup('<path class="zero" d="M{} 0v{}"/>').format(scale.at(0.0, 4, width - 4), height)
    said, bar = f"{name} {delta:+.4f}", NOTHING
    if interval is not None:
        low, high = (scale.at(value, 4, width - 4) for value in interval)
        bar = Markup('<rect class="interval" x="{}" y="{}" width="{:.1f}" height="14"/>').format(
            low, height / 2 - 7, float(high) - float(low)
        )
        said += f"; 95 % from {interval[0]:+.4f} to {interval[1]:+.4f}"
    mean = Markup('<path class="mean" d="M{} 3v{}"/>').format(scale.at(delta, 4, width - 4), height - 6)
    return _svg("dots", DOTS, said, zero + bar + mean)


def draw_axis(scale: Scale | None) -> Markup:
    """The scale's numbers, to stand above the dots."""
    if scale is None:
        return NOTHING
    width, _ = DOTS
    texts = Markup().join(
        Markup('<text x="{}" y="11" text-anchor="middle">{}</text>').format(scale.at(float(tick), 4, width - 4), tick)
        for tick in scale.ticks
    )
    return _svg("dots", (width, 14), f"scale from {scale.low:.4f} to {scale.high:.4f}", texts)


def draw_history(records: Sequence[Record]) -> Markup:
    """Losses by epoch, and what picked the epoch if not the loss; a line for each seed, the picked epoch a dot."""
    trained = [record for record in records if record.training is not None]
    losses = [
        (kind, record, [getattr(epoch, f"{kind}_loss") for epoch in _history(record)])
        for record in trained
        for kind in ("train", "val")
    ]
    figures = _chart("Loss by epoch: training dashed, validation solid, a pair of lines for each seed", losses)
    selected = [
        ("val", record, [epoch.selected_on for epoch in _history(record)])
        for record in trained
        if record.training is not None and record.training.select_on != "loss"
    ]
    names = sorted({r.training.select_on for _, r, _ in selected if r.training is not None})
    figures += _chart(f"{', '.join(names)} on validation by epoch, a line for each seed: it picks the epoch", selected)
    return figures


def _history(record: Record) -> list[EpochPart]:
    return record.training.history if record.training is not None else []


def _chart(title: str, series: Sequence[tuple[str, Record, Sequence[float | None]]]) -> Markup:
    """Lines over epochs; each carries a class, and its record for the epoch that was picked."""
    scale = make_scale(value for _, _, values in series for value in values if value is not None)
    epochs = max((len(values) for _, _, values in series), default=0)
    if scale is None or epochs < 2:
        return NOTHING
    (width, height), left, bottom = CHART, 44, 22

    def x(epoch: int) -> str:
        return f"{left + (epoch - 1) / (epochs - 1) * (width - left - 8):.1f}"

    def y(value: float) -> str:
        return scale.at(value, height - bottom, 6)

    drawn = Markup().join(
        Markup(
            '<line class="grid" x1="{}" x2="{}" y1="{y}" y2="{y}"/>'
            '<text x="{}" y="{y}" dy="4" text-anchor="end">{}</text>'
        ).format(left, width - 8, left - 6, tick, y=y(float(tick)))
        for tick in scale.ticks
    )
    for kind, record, values in series:
        measured = [(number, value) for number, value in enumerate(values, start=1) if value is not None]
        points = " ".join(f"{x(number)},{y(value)}" for number, value in measured)
        drawn += Markup('<polyline class="{}" points="{}"/>').format(kind, points)
        best = record.training.best_epoch if record.training is not None else 0
        picked = dict(measured).get(best)
        if kind == "val" and picked is not None:
            drawn += Markup('<circle cx="{}" cy="{}" r="3"/>').format(x(best), y(picked))
    drawn += Markup('<text x="{}" y="{y}">epoch 1</text><text x="{}" y="{y}" text-anchor="end">{}</text>').format(
        left, width - 8, epochs, y=height - 6
    )
    chart = _svg("history", CHART, f"{title}; from epoch 1 to {epochs}", drawn)
    return Markup("<figure>{}<figcaption>{}; the dot is the epoch that was kept</figcaption></figure>").format(
        chart, title
    )


def _svg(kind: str, size: tuple[int, int], text: str, content: Markup) -> Markup:
    return Markup(
        '<svg class="{}" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img"><title>{t}</title>{}</svg>'
    ).format(kind, content, w=size[0], h=size[1], t=text)
