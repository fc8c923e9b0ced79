"""What page and terminal say alike about a summarized board."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING

from markupsafe import Markup

from harness.evaluation.common_labels import tell_labels
from harness.evaluation.wording import tell_absences
from harness.units import tell_units

if TYPE_CHECKING:
    from harness.report.leaderboard import Leaderboard, Spread

EXTERNAL = "external, not trained here"
"""The badge of a row whose predictions were submitted."""
LONGEST_WHOLE = 15
"""Characters of a name that stay together: the column of names has place for them on a small screen."""


def tell_all_labels(summary: Leaderboard) -> list[str]:
    """Over which labels the metrics of ranked rows are, where these are not all."""
    return tell_labels(summary.labels, summary.data.labels) if summary.data else []


def tell_part(summary: Leaderboard) -> str:
    """Say how many of the test split's images were measured, where some were left out; empty where all were."""
    test = summary.data.splits.get("test") if summary.data else None
    if summary.data is None or test is None or not test.left_out:
        return ""
    name = summary.data.notes.get("split", "")
    split = f"the {name} split" if re.fullmatch(r"[\w-]+", name) else "the whole test split"
    return f"{test.images:,} of {test.whole:,} test images: not {split}"


def tell_scored(summary: Leaderboard) -> str:
    """Return what is scored in place of images, `143 studies (mean of their images' scores)`; empty for images."""
    pooled = next((record.pooled for record in summary.counted if record.pooled is not None), None)
    return "" if pooled is None else tell_units(pooled.unit, pooled.pool, pooled.test)


def tell_all_absences(summary: Leaderboard) -> list[str]:
    """Which metrics of ranked rows have no interval, and why."""
    reasons = {}
    for metric in summary.metrics:
        counts = Counter(row.metrics[metric].no_interval for row in summary.ranked if metric in row.metrics)
        many = len(summary.ranked)
        told = (why if count == many else f"{why} ({count} of {many} rows)" for why, count in counts.items() if why)
        reasons[metric] = "; ".join(told)
    return tell_absences(reasons)


def format_spread(spread: Spread | None, digits: int = 4) -> str:
    """Return a mean with its deviation over seeds, `0.8123 ±0.0045`; empty where there is none."""
    if spread is None:
        return ""
    deviation = "" if spread.deviation is None else f" ±{spread.deviation:.{digits}f}"
    return f"{spread.mean:.{digits}f}{deviation}"


def format_interval(spread: Spread | None, digits: int = 3) -> str:
    """Return the interval of a mean, `[0.793, 0.832]`; empty where there is none."""
    return "" if spread is None else format_pair(spread.interval, digits)


def format_pair(interval: tuple[float, float] | None, digits: int = 3) -> str:
    """Return an interval as text, `[0.793, 0.832]`; empty where there is none."""
    return "" if interval is None else f"[{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


def format_number(value: float | None, digits: int) -> str:
    """A number with thousands separated; empty where there is none."""
    return "" if value is None or math.isnan(value) else f"{value:,.{digits}f}"


def anchor(name: str) -> str:
    """The id of a row's details."""
    return "row-" + re.sub(r"[^A-Za-z0-9._-]", "_", name)


def make_option(name: str) -> Markup:
    """A name to choose; where a browser would take spaces out of it, its value says what it is."""
    if name == " ".join(name.split()):
        return Markup("<option>{}</option>").format(name)
    return Markup('<option value="{}">{}</option>').format(name, name)


def mark_breaks(name: str) -> Markup:
    """A name that wraps after a space, `_`, `/`, `.` and before `@`, and elsewhere only in a part that is long."""
    whole = Markup('<span class="part">{}</span>')  # browsers would break after a hyphen, too
    words = [re.split(r"(?<=[_/])|(?<=\.)(?!\d)|(?=@)", word) for word in re.split(r"(\s+)", name)]
    return Markup("").join(
        Markup("<wbr>").join(
            whole.format(part) if "-" in part and len(part) <= LONGEST_WHOLE else part for part in parts if part
        )
        for parts in words
    )
