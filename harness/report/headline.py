"""The board's answer in words, as far as its data support one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from harness.evaluation.comparison import Pair
from harness.evaluation.wording import format_p, judge_pair, tell_detectable
from harness.report.chance import judge_against_chance
from harness.report.format import format_interval, format_pair, format_spread, tell_part
from harness.report.leaderboard import Leaderboard, RowSummary
from harness.report.significance import judge_seeds_alone


@dataclass(frozen=True)
class Lead:
    """How far the first row is ahead of the second, in the objective."""

    first: RowSummary
    second: RowSummary
    difference: float
    """The lead in the objective, at least 0."""
    p_seeds: float | None
    """Two-sided p-value over seeds alone; None where one of both has fewer than three."""
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
    part, chance = tell_part(summary), judge_against_chance(summary)
    on = f"On {part.replace(': ', ' (', 1)}), " if part else ""
    verb = "is first" if chance else "leads"
    text = f"{on}{_describe(best)} {verb} with {summary.objective} {value} over {seeds}"
    if chance:
        text += f", no better than chance ({chance})"
    if lead is None:
        return f"{text}. It is the only row with a result."
    text += f", {lead.difference:.4f}{_between(lead.pair)} ahead of {_describe(lead.second)}."
    if lead.pair is not None:
        return f"{text} {judge_pair(lead.pair, len(summary.pairs))}{_count_leaders(summary)}"
    if lead.p_seeds is None:
        return f"{text} With fewer than three seeds a row, nothing tells whether that is more than seeds change."
    return f"{text} Over seeds alone {format_p(lead.p_seeds)}; over patients nothing is known: {summary.obstacle}."


def tell_power(summary: Leaderboard) -> str:
    """What could have been seen, in words; empty where no pair was tested."""
    return tell_detectable(summary.pairs, {row.name: len(row.seeds) for row in summary.ranked})


def tell_unvalidated(summary: Leaderboard) -> str:
    """Say which rows have nothing fitted on validation; empty where all have."""
    without = [row for row in summary.ranked if any(record.is_without_validation for record in row.counted)]
    if not without:
        return ""
    which = "All ranked rows" if len(without) == len(summary.ranked) > 1 else ", ".join(row.title for row in without)
    return (
        f"{which} came without validation predictions: decisions are taken at 0.5, or at thresholds fitted on the test "
        "split itself (oracle, never ranked), and scores are as submitted, not calibrated."
    )


def explain_nothing(summary: Leaderboard) -> str:
    """Why a board has no answer, in words: nothing was run yet, or nothing came of it."""
    if not any(row.records for row in summary.rows):
        rows = len(summary.board.systems)
        return f"Nothing has been measured on this board yet: {rows} row{' waits' if rows == 1 else 's wait'}."
    counts = Counter(row.status for row in summary.rows if row.control is None)
    told = ", ".join(f"{number} {'row' if number == 1 else 'rows'} {status}" for status, number in counts.items())
    return f"No row of this board has a value of {summary.objective} yet: {told}."


def find_lead(summary: Leaderboard) -> Lead | None:
    """How far the best row is ahead, and how much of that chance explains; None with fewer than two ranked rows."""
    if len(summary.ranked) < 2:
        return None
    first, second = summary.ranked[:2]
    spreads = [row.metrics[summary.objective] for row in summary.ranked]
    pair = next((pair for pair in summary.pairs if (pair.a, pair.b) == (first.name, second.name)), None)
    return Lead(first, second, abs(spreads[0].mean - spreads[1].mean), judge_seeds_alone(spreads), pair)


def judge_shuffled(summary: Leaderboard) -> str:
    """What the control on shuffled targets got, in words; empty where there is none."""
    row = next((row for row in summary.rows if row.control == "shuffled" and "auroc" in row.metrics), None)
    if row is None or row.metrics["auroc"].interval is None:
        return ""
    low, high = row.metrics["auroc"].interval
    opening = f"Trained on shuffled targets, the first row's network has auroc {format_spread(row.metrics['auroc'])}"
    interval = format_interval(row.metrics["auroc"])
    if low > 0.5:
        return f"{opening} {interval}, above one half: something tells it what it should not know. Look for a leak."
    where = "which contains one half" if high >= 0.5 else "not above one half"
    return f"{opening} {interval}, {where}: no leak shows."


def _between(pair: Pair | None) -> str:
    """The interval of the first row's lead, which is above 0 also where less is better."""
    if pair is None or pair.interval is None:
        return ""
    low, high = pair.interval
    return f" {format_pair((-high, -low) if pair.delta < 0 else (low, high), 4)}"


def _count_leaders(summary: Leaderboard) -> str:
    leaders = sum(row.group == 1 for row in summary.ranked)
    if summary.ranked[0].group != 1:
        return ""
    return f" {leaders} rows share the first group." if leaders > 1 else " It is alone in its group."


def _describe(row: RowSummary) -> str:
    if row.external is not None:
        return f"{row.model} (external)"
    if row.own_title:
        return row.own_title
    given = ", ".join(f"{name} = {value}" for values in row.params.values() for name, value in values.items())
    return f"{row.model} with {row.loss} ({'; '.join(filter(None, [row.recipe, given]))})"
