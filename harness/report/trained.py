"""How rows were trained, in words, and what they share: a frozen network is asked about each image once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.report.kinds import ENSEMBLE, FROZEN, LINEAR, NEIGHBORS, SUBMITTED, WHOLE, ZERO_SHOT
from harness.text import count

if TYPE_CHECKING:
    from harness.report.leaderboard import Leaderboard, RowSummary
    from harness.results.record import SubsetPart

FITTED = {
    LINEAR: "a linear layer was fitted on its embeddings by logistic regression, with the penalty that validation "
    "chose for each label",
    NEIGHBORS: "an image is scored by the training images whose embeddings are nearest, as many as validation chose "
    "for each label",
    ZERO_SHOT: "images are held against sentences about each label, and nothing was trained",
}


@dataclass(frozen=True)
class Shared:
    """Embeddings, and the rows that were fitted on them."""

    digest: str
    seconds: float
    """Seconds that making them took, once for all of these rows."""
    rows: tuple[str, ...]
    """Without ensembles, which have what their members have."""


def tell_training(row: RowSummary, summary: Leaderboard) -> list[str]:
    """Say how a row was trained, in sentences, where its network stayed as it was or it did not see all patients."""
    told = []
    if row.kind in FITTED:
        told.append(f"The network kept the weights that it began with: {FITTED[row.kind]}.")
    subsets = {r.combo.seed: r.training.subset for r in row.counted if r.training and r.training.subset}
    if subsets:
        listed = "; ".join(f"seed {seed}: {_count_subset(part)}" for seed, part in subsets.items())
        told.append(
            f"It saw {row.share} ({listed}), drawn from the data and the seed, the same for every row that asks for as "
            "many. Each run lists them in training-patients.txt."
        )
    return told + _tell_shared(row, summary)


def _count_subset(part: SubsetPart) -> str:
    return f"{count(part.patients, 'patient')}, {count(part.images, 'image')}"


def mark_kind(row: RowSummary, summary: Leaderboard) -> str:
    """How a row was trained, such as `linear probe, 10 % of training patients`.

    Empty where it is said otherwise (ensembles, submissions, controls), and where all rows were trained alike.
    """
    alike = summary.kinds <= {ENSEMBLE, SUBMITTED, row.kind}
    told = row.kind in FROZEN.values() or (row.kind in WHOLE and (row.share or not alike))
    return ", ".join(filter(None, (row.kind, row.share))) if told else ""


def list_shared(row: RowSummary, summary: Leaderboard) -> list[Shared]:
    """The embeddings that a row was fitted on in any seed, each with the rows that share it."""
    return [
        Shared(
            digest,
            seconds,
            tuple(one.name for one in summary.rows if one.ensemble is None and digest in one.embeddings),
        )
        for digest, seconds in row.embeddings.items()
    ]


def mark_embedding(row: RowSummary, summary: Leaderboard) -> str:
    """What the embedding cost beside a row's own cost: `embedding 41 s, shared by 3 rows`; empty without any."""
    if "embedding_seconds" not in row.efficiency:
        return ""
    rows = {name for one in list_shared(row, summary) for name in one.rows}
    cost = f"embedding {format_seconds(row.efficiency['embedding_seconds'])}"
    if row.ensemble is not None:
        return f"{cost}, shared with {count(len(rows), 'row')}"
    return f"{cost}, shared by {count(len(rows), 'row')}" if len(rows) > 1 else f"{cost}, of this row alone"


def _tell_shared(row: RowSummary, summary: Leaderboard) -> list[str]:
    if "embedding_seconds" not in row.efficiency:
        return []
    titles = {one.name: one.title for one in summary.rows}
    others = {name for one in list_shared(row, summary) for name in one.rows} - {row.name}
    took = f"Embedding the images took {format_seconds(row.efficiency['embedding_seconds'])}"
    if row.ensemble is not None:
        return [f"{took}, which stands beside its own cost and is counted once for it and its members."]
    if not others:
        return [f"{took}, which stands beside the row's own cost."]
    named = "; ".join(sorted(titles[name] for name in others))
    return [f"{took}, which stands beside the row's own cost and is made once, also for {named}."]


def describe_shared(row: RowSummary, summary: Leaderboard) -> list[Mapping[str, Any]]:
    """The embeddings of a row as JSON has them."""
    return [vars(one) | {"rows": list(one.rows)} for one in list_shared(row, summary)]


def format_seconds(seconds: float) -> str:
    """Return a time such as `0.4 s`, `41 s`, `12 min` or `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
