"""Rows that are made of others, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.metric_names import title_metric
from harness.report.format import format_number
from harness.results.ensembles import SHARED_SEEDS
from harness.results.repetition import tell_again, tell_ensemble_again
from harness.text import agree

if TYPE_CHECKING:
    from harness.board import Ensemble
    from harness.report.leaderboard import Leaderboard, RowSummary
    from harness.results.record import EnsemblePart, Record

AVERAGED = {"probability": "probabilities", "logit": "logits", "rank": "ranks"}
"""What is averaged -> what it is called in words."""


@dataclass(frozen=True)
class Member:
    """A row that an ensemble is made of."""

    row: str
    title: str
    weights: str
    """How often it counts, where members are picked; empty where each counts once."""


def title_ensemble(ensemble: Ensemble, records: Sequence[Record]) -> str:
    """What an ensemble without a name is called, such as `greedy ensemble of 2 to 4 rows by rank`."""
    kind = "" if ensemble.average == "probability" else f" by {ensemble.average}"
    return f"{_count_members(ensemble, records)}{kind}"


def mark_ensemble(row: RowSummary) -> str:
    """Say that a row is an ensemble, and of how many; empty for any other."""
    return "" if row.ensemble is None else _count_members(row.ensemble, row.counted)


def tell_making(row: RowSummary) -> list[str]:
    """Say how an ensemble was made, in sentences; empty for any other row."""
    if row.ensemble is None:
        return []
    averaged = AVERAGED[row.ensemble.average]
    making = (
        f"Its predictions are the mean of its members' stored {averaged}, seed by seed; nothing was trained for it."
    )
    if row.ensemble.average == "rank":
        making += " A mean of ranks is no probability, so that it has no decisions and no calibration."
    parts = {record.combo.seed: record.ensemble for record in row.counted if record.ensemble is not None}
    if row.ensemble.greedy is None or not parts:
        return [making]
    first = next(iter(parts.values()))
    seeds = [f"seed {seed} {format_number(_find_best(part), 4)}" for seed, part in parts.items()]
    metric, steps = title_metric(first.metric or ""), row.ensemble.greedy
    candidates = sorted({len(part.candidates) for part in parts.values()})
    picked = (
        f"Members were picked from {_span(candidates)} rows by {metric} on validation, with replacement, in {steps} "
        f"step{'' if steps == 1 else 's'}, and kept up to the best step (Caruana et al. 2004): {', '.join(seeds)}. "
        "What that gained on validation is in part chance; the board's numbers are of the test, which took no part."
    )
    return [making, picked]


def _find_best(part: EnsemblePart) -> float | None:
    """What the kept members come to on validation."""
    step = sum(member.weight for member in part.members)
    return part.values[step - 1] if step <= len(part.values) else None


def tell_command(board: str, row: RowSummary, *, data: bool) -> str:
    """Return the command that measures a row again, or makes it again where it is an ensemble."""
    if row.ensemble is not None:
        return tell_ensemble_again(board, row.ensemble)
    return tell_again(board, row.name, row.records, data=data)


def list_members(row: RowSummary, summary: Leaderboard) -> list[Member]:
    """The rows that an ensemble is made of in any seed, with how often each counts in which."""
    titles, weights = {one.name: one.title for one in summary.rows}, _gather_weights(row)
    greedy = row.ensemble is not None and row.ensemble.greedy is not None
    return [
        Member(name, titles.get(name, name), _tell_weights(of_seeds, len(row.counted)) if greedy else "")
        for name, of_seeds in sorted(weights.items())
    ]


def describe_plainly(row: RowSummary) -> dict[str, Any]:
    """What an ensemble is made of, as JSON has it; members with how often they count, by seed."""
    assert row.ensemble is not None
    asked = {"rows": list(row.ensemble.rows), "average": row.ensemble.average, "greedy": row.ensemble.greedy}
    return asked | {"members": _gather_weights(row)}


def _gather_weights(row: RowSummary) -> dict[str, dict[int, int]]:
    """Member -> seed -> how often it counts."""
    weights: dict[str, dict[int, int]] = {}
    for record in row.counted:
        for member in record.ensemble.members if record.ensemble else ():
            weights.setdefault(member.row, {})[record.combo.seed] = member.weight
    return weights


def tell_shared_seeds(summary: Leaderboard) -> str:
    """What to know where a ranked ensemble is compared with its members; empty where none is."""
    ranked = {row.name for row in summary.ranked}
    for row in summary.ranked:
        if any(member.row in ranked for member in list_members(row, summary)):
            return (
                f"Where an ensemble is compared with one of its members, {SHARED_SEEDS}. An ensemble lends its spread "
                "over seeds to no other row, and takes that which the others share unless its own is wider."
            )
    return ""


def _count_members(ensemble: Ensemble, records: Sequence[Record]) -> str:
    greedy = "" if ensemble.greedy is None else "greedy "
    counts = sorted({len(record.ensemble.members) for record in records if record.ensemble is not None})
    if not counts:
        return f"{greedy}ensemble"
    return f"{greedy}ensemble of {_span(counts)} {agree(counts[-1], 'row', 'rows')}"


def _span(counts: Sequence[int]) -> str:
    """Such as `3`, or `2 to 4`."""
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _tell_weights(of_seeds: dict[int, int], seeds: int) -> str:
    """Such as `3 times`, or `3 times in seed 0, once in seed 2`."""
    if len(of_seeds) == seeds and len(set(of_seeds.values())) == 1:
        return _times(next(iter(of_seeds.values())))
    return ", ".join(f"{_times(weight)} in seed {seed}" for seed, weight in of_seeds.items())


def _times(weight: int) -> str:
    return {1: "once", 2: "twice"}.get(weight, f"{weight} times")
