"""The board's answer in words, as far as its data support one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from harness.evaluation.comparison import Pair
from harness.evaluation.wording import format_p, judge_pair, tell_detectable
from harness.metric_names import title_metric
from harness.report.chance import judge_against_chance
from harness.report.ensembles import mark_ensemble
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
    """What the answer rests on: the lead with its intervals and its test; empty where nothing is ranked."""
    if not summary.ranked:
        return ""
    best, lead = summary.ranked[0], find_lead(summary)
    seeds = f"{len(best.seeds)} seed{'' if len(best.seeds) == 1 else 's'}"
    spread = best.metrics[summary.objective]
    value = " ".join(filter(None, [format_spread(spread), format_interval(spread)]))
    part, chance = tell_part(summary), judge_against_chance(summary)
    on = f"On {part.replace(': ', ' (', 1)}), " if part else ""
    verb = "has" if lead is None else "is first with" if chance else "leads with"
    text = f"{on}{_describe(best)} {verb} {title_metric(summary.objective)} {value} over {seeds}"
    if chance:
        text += f", no better than chance ({chance})"
    if lead is None:
        return f"{text}. It is the only row with a {_tell_others(summary)}."
    text += f", {lead.difference:.4f}{_between(lead.pair)} ahead of {_describe(lead.second)}."
    if lead.pair is not None:
        return f"{text} {judge_pair(lead.pair, len(summary.pairs))}"
    if lead.p_seeds is None:
        return f"{text} With fewer than three seeds for each row, nothing tells whether that is more than seeds change."
    return f"{text} Over seeds alone {format_p(lead.p_seeds)}; over patients nothing is known: {summary.obstacle}."


def judge(summary: Leaderboard) -> str:
    """The board's answer in one line, such as `Tie: A and B. AUROC 0.868 vs 0.863, p = 0.92.`; empty without ranks."""
    if not summary.ranked:
        return ""
    best, lead = summary.ranked[0], find_lead(summary)
    part = tell_part(summary)
    on = f"On {part.replace(': ', ' (', 1)}): " if part else ""
    called, value = title_metric(summary.objective), _shorten(best, summary)
    if lead is None:
        return f"{on}{best.title}: {called} {value}. No other row has a {_tell_others(summary)}."
    if judge_against_chance(summary):
        return f"{on}No row is better than chance. {best.title} is first with {called} {value}."
    values = f"{called} {value} vs {_shorten(lead.second, summary)}"
    tied, scattered = split_first_group(summary)
    leaders = [row.title for row in tied]
    if best.group is None or lead.second.group is None or lead.pair is None or lead.pair.p_holm is None:
        doubt = "Not shown to be significant" if lead.p_seeds is None else f"Over seeds alone {format_p(lead.p_seeds)}"
        return f"{on}{best.title} is ahead of {lead.second.title}. {values}. {doubt}."
    chance = format_p(lead.pair.p_holm)
    doubt = _tell_scattered(scattered, summary)
    if len(leaders) == 1:
        verdict = "is first" if scattered else "is best"
        return f"{on}{best.title} {verdict}. {values} of {lead.second.title}, {chance}.{doubt}"
    if len(leaders) == 2:
        return f"{on}Tie: {leaders[0]} and {leaders[1]}. {values}, {chance}.{_tell_next(summary)}{doubt}"
    span = f"{called} from {value} to {_shorten(tied[-1], summary)}"
    return f"{on}Tie of {len(leaders)} rows, {best.title} first. {span}.{_tell_next(summary)}{doubt}"


def split_first_group(summary: Leaderboard) -> tuple[list[RowSummary], list[RowSummary]]:
    """The rows of the first group, in order: those at the top, and those that stand below a row of another group.

    The latter are worse in their means, but vary so much that their test finds no significant difference.
    """
    others = [place for place, row in enumerate(summary.ranked) if row.group is not None and row.group > 1]
    end = min(others, default=len(summary.ranked))
    first = [(place, row) for place, row in enumerate(summary.ranked) if row.group == 1]
    return [row for place, row in first if place < end], [row for place, row in first if place > end]


def _tell_scattered(rows: list[RowSummary], summary: Leaderboard) -> str:
    """Say of rows far below the best that only their own variation keeps them in its group."""
    if not rows:
        return ""
    named = " and ".join(f"{row.title} ({_shorten(row, summary)})" for row in rows)
    varies = "its results vary" if len(rows) == 1 else "their results vary"
    return f" {named} cannot be told from the first: {varies} too much."


def _tell_others(summary: Leaderboard) -> str:
    """What rows beside the only ranked one lack: a rank, where some have a result."""
    return "rank" if len(summary.measured) > len(summary.ranked) else "result"


def _tell_next(summary: Leaderboard) -> str:
    """Say that the first row, or every tied row at the top, is significantly better than the best of the others."""
    leaders, _ = split_first_group(summary)
    following = next((row for row in summary.ranked if row.group is not None and row.group > 1), None)
    if following is None:
        return ""
    differing = {pair.a for pair in summary.pairs if pair.b == following.name and pair.differs}
    all_beat = all(row.name in differing for row in leaders)
    name = summary.objective
    weakest = leaders[-1] if all_beat else leaders[0]
    apart = f"{abs(weakest.metrics[name].mean - following.metrics[name].mean):.3f}"
    if not all_beat:
        return f" {leaders[0].title} beats {following.title} by {apart}."
    return f" {'Both' if len(leaders) == 2 else 'All'} beat {following.title} by {apart} or more."


def _shorten(row: RowSummary, summary: Leaderboard) -> str:
    return f"{row.metrics[summary.objective].mean:.3f}"


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
    """Why a board has no answer, in words: it leaks on purpose, nothing was run yet, or nothing came of it."""
    if summary.leak:
        return f"Not ranked, as the splits leak: {summary.leak}."
    if summary.measured:
        return "No row is ranked: the networks of all rows with a result have seen test images before, or may have."
    if not any(row.records for row in summary.rows):
        rows = len(summary.board.systems)
        return f"Nothing has been measured on this board yet: {rows} row{' waits' if rows == 1 else 's wait'}."
    counts = Counter(row.status for row in summary.rows if row.control is None)
    told = ", ".join(f"{number} {'row' if number == 1 else 'rows'} {status}" for status, number in counts.items())
    return f"No row of this board has a value of {title_metric(summary.objective)} yet: {told}."


def find_lead(summary: Leaderboard) -> Lead | None:
    """How far the best row is ahead, and how much of that chance explains; None with fewer than two ranked rows."""
    if len(summary.ranked) < 2:
        return None
    first, second = summary.ranked[:2]
    spreads = [row.metrics[summary.objective] for row in summary.ranked]
    borrows = [row.ensemble is not None for row in summary.ranked]
    pair = next((pair for pair in summary.pairs if (pair.a, pair.b) == (first.name, second.name)), None)
    return Lead(first, second, abs(spreads[0].mean - spreads[1].mean), judge_seeds_alone(spreads, borrows), pair)


def judge_shuffled(summary: Leaderboard) -> str:
    """What the control on shuffled targets got, in words; empty where there is none."""
    row = next((row for row in summary.rows if row.control == "shuffled" and "auroc" in row.metrics), None)
    if row is None or row.metrics["auroc"].interval is None:
        return ""
    low, high = row.metrics["auroc"].interval
    opening = f"Trained on shuffled targets, the first row's network has AUROC {format_spread(row.metrics['auroc'])}"
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


def _describe(row: RowSummary) -> str:
    if row.external is not None:
        return f"{row.title} (external)"
    mark = mark_ensemble(row)
    return f"{row.title} ({mark})" if mark and mark not in row.title else row.title
