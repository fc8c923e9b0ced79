"""Small drawings for the page, as inline SVG that needs no script."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from harness.report.summary import Leaderboard, RowSummary
from harness.results.record import Record

BAR = (150, 22)
CHART = (460, 170)


def spread_bar(row: RowSummary, summary: Leaderboard) -> Markup:
    """The objective's values of a row on the scale of the whole board: a dot a seed, a line at their mean."""
    spread = row.metrics.get(summary.objective)
    if spread is None:
        return Markup("")
    values = [
        value
        for other in summary.rows
        if summary.objective in other.metrics
        for value in other.metrics[summary.objective].values
    ]
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.01
    low, high = low - margin, high + margin
    width, height = BAR

    def x(value: float) -> str:
        return f"{(value - low) / (high - low) * width:.1f}"

    dots = "".join(f'<circle cx="{x(value)}" cy="{height / 2}" r="3.5"/>' for value in spread.values)
    text = f"mean {spread.mean:.4f}; seeds: {', '.join(f'{value:.4f}' for value in spread.values)}"
    return Markup(  # noqa: S704 - numbers only
        f'<svg class="bar" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{text}"><title>{text}</title>'
        f'<line class="axis" x1="0" x2="{width}" y1="{height / 2}" y2="{height / 2}"/>{dots}'
        f'<line class="mean" x1="{x(spread.mean)}" x2="{x(spread.mean)}" y1="3" y2="{height - 3}"/></svg>'
    )


def history_chart(records: Sequence[Record]) -> Markup:
    """Training and validation loss by epoch, a pair of lines a seed."""
    histories = [record.training.history for record in records if record.training is not None]
    values = [v for history in histories for e in history for v in (e.train_loss, e.val_loss) if v is not None]
    epochs = max((len(history) for history in histories), default=0)
    if len(values) < 2 or epochs < 2:
        return Markup("")
    (width, height), left, bottom = CHART, 46, 24
    low, high = min(values), max(values)
    high = high if high > low else low + 1

    def point(epoch: int, value: float) -> str:
        x = left + (epoch - 1) / (epochs - 1) * (width - left - 8)
        y = 8 + (high - value) / (high - low) * (height - bottom - 8)
        return f"{x:.1f},{y:.1f}"

    lines = ""
    for history in histories:
        for kind, series in (("train", [e.train_loss for e in history]), ("val", [e.val_loss for e in history])):
            points = " ".join(point(n, value) for n, value in enumerate(series, start=1) if value is not None)
            lines += f'<polyline class="{kind}" points="{points}"/>'
    ticks = "".join(
        f'<text x="{left - 6}" y="{y:.0f}" text-anchor="end">{value:.3f}</text>'
        for value, y in ((high, 12), (low, height - bottom + 3))
    )
    ticks += f'<text x="{left}" y="{height - 6}">epoch 1</text>'
    ticks += f'<text x="{width - 8}" y="{height - 6}" text-anchor="end">epoch {epochs}</text>'
    text = f"Loss from epoch 1 to {epochs}: training (dashed) and validation (solid), between {low:.3f} and {high:.3f}"
    return Markup(  # noqa: S704 - numbers only
        f'<figure><svg class="history" viewBox="0 0 {width} {height}" role="img" aria-label="{text}">'
        f"{lines}{ticks}</svg>"
        "<figcaption>Loss by epoch: training dashed, validation solid, one pair of lines a seed</figcaption></figure>"
    )
