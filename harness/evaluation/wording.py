"""What comparisons came to, in words: for the terminal and for pages."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.evaluation.significance import SIGNIFICANT
from harness.metric_names import title_metric

if TYPE_CHECKING:
    from harness.evaluation.comparison import Margin, Pair
    from harness.evaluation.parts import Interval, MetricPart

MORE_SEEDS = "a verdict about methods needs at least three seeds of both"


def explain_no_interval(parts: Iterable[MetricPart]) -> str:
    """Why a mean has no interval: what one of its records says of its own, or the rule that it then has broken."""
    from harness.evaluation.bootstrap import MOST_MISSING

    said = (part.no_interval for part in parts if part.no_interval)
    return next(said, f"more than {MOST_MISSING:.0%} of the resamples have no value")


def tell_absences(reasons: Mapping[str, str]) -> list[str]:
    """Which metrics have no interval, and why; a reason is empty for one that has. What shares a reason shares a line.

    A metric that has none at any of its threshold policies, for one reason, is named once.
    """
    of_base: dict[str, set[str]] = {}
    for metric, why in reasons.items():
        of_base.setdefault(metric.partition("@")[0], set()).add(why)
    absent: dict[str, dict[str, None]] = {}
    for metric, why in reasons.items():
        base = metric.partition("@")[0]
        absent.setdefault(why, {})[base if of_base[base] == {why} else metric] = None
    return [f"no interval for {', '.join(map(title_metric, names))}: {why}" for why, names in absent.items() if why]


def format_p(p: float) -> str:
    """Return a p-value with as many digits as tell it from the limit: `p = 0.92`, `p = 0.032`, `p < 0.001`."""
    if p < 0.001:
        return "p < 0.001"
    if round(p, 3) == SIGNIFICANT and p != SIGNIFICANT:
        return f"p = {p:.4f}"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def tell_basis(pair: Pair, pairs: int) -> str:
    """`(p = 0.92, Holm-adjusted, over patients and seeds)`; of a single pair nothing is adjusted."""
    return "" if pair.p_holm is None else _tell_basis(pair.p_holm, pair.over, adjusted=pairs > 1)


def _tell_basis(p: float, over: str, *, adjusted: bool, test: str = "") -> str:
    return f"({', '.join(filter(None, [format_p(p), test, 'Holm-adjusted' if adjusted else '', f'over {over}']))})"


def judge_pair(pair: Pair, pairs: int) -> str:
    """Whether the two differ, in a sentence or two that name neither."""
    if pair.p_holm is None:
        return "Nothing tells whether that is chance: the difference has no interval."
    basis = tell_basis(pair, pairs)
    if pair.over == "patients":
        differ = "differ" if pair.p_holm < SIGNIFICANT else "do not differ significantly"
        return f"These trained networks {differ} on these patients {basis}; {MORE_SEEDS}."
    return f"The difference is significant {basis}." if pair.differs else f"No significant difference {basis}."


def tell_pair(metric: str, pair: Pair, pairs: int, *, higher_is_better: bool) -> str:
    """A pair in a sentence."""
    called = title_metric(metric)
    if pair.p_holm is None:
        return f"{called}: {pair.a} and {pair.b} cannot be told apart, their difference has no interval."
    basis = tell_basis(pair, pairs)
    sign = 1 if (pair.delta > 0) == higher_is_better else -1
    better, worse = (pair.a, pair.b) if sign > 0 else (pair.b, pair.a)
    apart = f"{abs(pair.delta):.4f}{_between(pair.interval, turned=pair.delta < 0)}"
    if pair.over == "patients":
        differ = "differs" if pair.p_holm < SIGNIFICANT else "does not differ significantly"
        which = "the trained network" if pair.p_holm < SIGNIFICANT else "this trained network"
        return f"{called}: on these patients {which} {better} {differ} from {worse}, by {apart} {basis}; {MORE_SEEDS}."
    if pair.differs:
        return f"{called}: {better} is better than {worse} by {apart} {basis}."
    ahead = f"{better} is ahead of {worse} by {apart}" if pair.delta else f"{pair.a} and {pair.b} are equal"
    return f"{called}: no significant difference, {ahead} {basis}."


def tell_margin(metric: str, pair: Pair, margin: Margin, size: float, pairs: int) -> list[str]:
    """What a margin shows of a pair: equivalence, or that one is not worse; at least one sentence.

    That one is not worse is tested either way round, so that it is adjusted even with a single pair.
    """
    if margin.p_equivalent is None:
        return []
    called = title_metric(metric)
    what = "the trained networks " if pair.over == "patients" else ""
    if margin.p_equivalent < SIGNIFICANT:
        basis = _tell_basis(margin.p_equivalent, pair.over, adjusted=pairs > 1, test="two one-sided tests")
        return [f"{called}: {what}{pair.a} and {pair.b} are equivalent within {size:g} {basis}."]
    sides = ((pair.a, pair.b, margin.p_a_not_worse), (pair.b, pair.a, margin.p_b_not_worse))
    shown = [
        f"{called}: {what.replace('networks', 'network')}{one} is not worse than {other} by more than {size:g} "
        f"{_tell_basis(p, pair.over, adjusted=True, test='one-sided')}."
        for one, other, p in sides
        if p is not None and p < SIGNIFICANT
    ]
    undecided = f"{called}: whether {pair.a} or {pair.b} is worse by more than {size:g} remains open."
    return shown or [undecided]


def tell_detectable(pairs: Sequence[Pair], seeds: Mapping[str, int]) -> str:
    """What could have been seen, in a sentence; empty where nothing could be tested. `seeds`: system -> how many."""
    judged = [pair for pair in pairs if pair.p is not None and pair.detectable is not None]
    tested = judged or [pair for pair in pairs if pair.detectable is not None]
    sizes = [pair.detectable for pair in tested if pair.detectable is not None]
    if not sizes:
        return ""
    counts = sorted({seeds[name] for pair in tested for name in (pair.a, pair.b)})
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    given = f"these patients and {many} seeds" if judged else "these patients, the trained networks as they are"
    adjusted = f" ({len(pairs)} pairs, Holm-adjusted)" if len(pairs) > 1 else ""
    typical = "a difference" if len(sizes) == 1 else "a difference of a typical pair"
    least = f"{statistics.median(sizes):.4f}"
    return f"With {given}, {typical} below {least} is missed more often than once in five{adjusted}."


def _between(interval: Interval | None, *, turned: bool) -> str:
    if interval is None:
        return ""
    low, high = (-interval[1], -interval[0]) if turned else interval
    return f" [{low:.4f}, {high:.4f}]"
