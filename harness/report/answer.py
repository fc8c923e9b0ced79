"""The board's answer in words, as far as its data support one."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from harness.evaluation.comparison import SIGNIFICANT, Pair
from harness.report.listing import format_interval, format_spread
from harness.report.summary import Leaderboard, RowSummary


@dataclass(frozen=True)
class Lead:
    """How far the first row is ahead of the second, in the objective."""

    first: RowSummary
    second: RowSummary
    difference: float
    """At least 0."""
    seed_error: float | None
    """Standard error of the difference from seeds alone: sqrt(s^2/k_1 + s^2/k_2), s^2 the variance over seeds pooled
    over the ranked rows, k the seeds of each. None where no row has two seeds."""
    pair: Pair | None
    """Their comparison against patients too; None where it cannot be made."""


def conclude(summary: Leaderboard) -> str:
    """The board's answer in words, as far as the data support one; empty where nothing is ranked."""
    if not summary.ranked:
        return ""
    best, lead = summary.ranked[0], find_lead(summary)
    seeds = f"{len(best.seeds)} seed{'' if len(best.seeds) == 1 else 's'}"
    spread = best.metrics[summary.objective]
    value = " ".join(filter(None, [format_spread(spread), format_interval(spread)]))
    text = f"{_describe(best)} leads with {summary.objective} {value} over {seeds}"
    if lead is None:
        return f"{text}. It is the only row with a result."
    text += f", {lead.difference:.4f} ahead of {_describe(lead.second)}."
    if lead.pair is not None:
        return f"{text} {_judge_pair(lead.pair)}{_count_leaders(summary)}"
    if lead.seed_error is None:
        return f"{text} With one seed a row, nothing tells whether that is more than seed noise."
    if lead.difference == 0:
        return f"{text} That is a tie."
    if lead.seed_error == 0:
        return f"{text} The seeds do not differ at all."
    times = lead.difference / lead.seed_error
    verdict = "more than seed noise" if times >= 2 else "within seed noise"
    shown = math.floor(10 * times) / 10  # rounded up, 1.96 would read as if it passed 2
    return f"{text} That is {shown:.1f} standard errors of what seeds alone change: {verdict}."


def explain_nothing(summary: Leaderboard) -> str:
    """Why a board has no answer, in words: nothing was run yet, or nothing came of it."""
    if not any(row.records for row in summary.rows):
        rows = len(summary.board.systems)
        return f"Nothing has been measured on this board yet: {rows} row{' waits' if rows == 1 else 's wait'}."
    found = Counter(row.status for row in summary.rows if row.control is None)
    told = ", ".join(f"{number} {'row' if number == 1 else 'rows'} {status}" for status, number in found.items())
    return f"No row of this board has a value of {summary.objective} yet: {told}."


def find_lead(summary: Leaderboard) -> Lead | None:
    """How far the best row is ahead, and how much of that chance explains; None with fewer than two ranked rows."""
    if len(summary.ranked) < 2:
        return None
    first, second = summary.ranked[:2]
    spreads = [row.metrics[summary.objective] for row in summary.ranked]
    freedom = sum(len(spread.values) - 1 for spread in spreads)
    error = None
    if freedom:
        pooled = sum((len(s.values) - 1) * (s.deviation or 0.0) ** 2 for s in spreads) / freedom
        error = math.sqrt(sum(pooled / len(spread.values) for spread in spreads[:2]))
    pair = next((pair for pair in summary.pairs if (pair.a, pair.b) == (first.name, second.name)), None)
    return Lead(first, second, abs(spreads[0].mean - spreads[1].mean), error, pair)


def judge_shuffled(summary: Leaderboard) -> str:
    """What the control on shuffled targets got, in words; empty where there is none."""
    row = next((row for row in summary.rows if row.control == "shuffled" and "auroc" in row.metrics), None)
    if row is None or row.metrics["auroc"].interval is None:
        return ""
    low, high = row.metrics["auroc"].interval
    found = f"Trained on shuffled targets, the first row's network has auroc {format_spread(row.metrics['auroc'])}"
    interval = format_interval(row.metrics["auroc"])
    if low > 0.5:
        return f"{found} {interval}, above one half: something tells it what it should not know. Look for a leak."
    where = "which contains one half" if high >= 0.5 else "not above one half"
    return f"{found} {interval}, {where}: no leak shows."


def _judge_pair(pair: Pair) -> str:
    """Whether the best row differs from the second."""
    against = "patients alone, with one seed a row" if pair.p is None else "patients and seeds"
    if pair.p_holm is None:
        return "Too few patients carry a label to say whether that is chance."
    shown = "p < 0.001" if pair.p_holm < 0.001 else f"p = {pair.p_holm:.3f}"
    basis = f"({shown} against {against}, adjusted for all pairs)"
    if pair.p_holm < SIGNIFICANT:
        return f"That is more than chance explains {basis}."
    return f"They are not shown to differ {basis}."


def _count_leaders(summary: Leaderboard) -> str:
    leaders = sum(row.group == 1 for row in summary.ranked)
    return f" {leaders} rows share the first group." if leaders > 1 else " It is alone in its group."


def _describe(row: RowSummary) -> str:
    if row.external is not None:
        return f"{row.model} (external)"
    given = ", ".join(f"{name} = {value}" for values in row.params.values() for name, value in values.items())
    return f"{row.model} with {row.loss} ({'; '.join(filter(None, [row.recipe, given]))})"
