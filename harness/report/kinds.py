"""What rows are called by how they were trained, as their records say it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.results.record import EfficiencyPart, Record

SCRATCH, TUNED, LINEAR, NEIGHBORS, ZERO_SHOT = (
    "trained from scratch",
    "fine-tuned",
    "linear probe",
    "nearest neighbors",
    "zero-shot",
)
ENSEMBLE, SUBMITTED, CONTROL = "ensemble", "submitted", "control"
KINDS = (SCRATCH, TUNED, LINEAR, NEIGHBORS, ZERO_SHOT, ENSEMBLE, SUBMITTED, CONTROL)
"""What a row is called by how it was trained."""
FROZEN = {"head": LINEAR, "neighbors": NEIGHBORS, "nothing": ZERO_SHOT}
"""`Recipe.train`, where it leaves the network as it is -> what such a row is."""
WHOLE = (SCRATCH, TUNED)


def find_kind(records: Sequence[Record]) -> str:
    """What a row is called by how it was trained, one of `KINDS`; empty without a record."""
    if not records:
        return ""
    record = records[-1]
    if record.combo.control is not None:
        return CONTROL
    if record.external is not None:
        return SUBMITTED
    if record.ensemble is not None:
        return ENSEMBLE
    recipe = record.combo.resolved.get("recipe", {})
    if (train := recipe.get("train", "all")) in FROZEN:
        return FROZEN[train]
    return SCRATCH if recipe.get("weights", "random") == "random" and not record.pretraining else TUNED


def find_share(records: Sequence[Record]) -> str:
    """Which part of the training patients a row's recipe asks for, in words; empty where it asks for all."""
    recipe = records[-1].combo.resolved.get("recipe", {}) if records else {}
    share, positives = recipe.get("train_share", 1.0), recipe.get("train_positives")
    parts = [f"{100 * share:g} % of training patients"] if share < 1 else []
    parts += [f"{positives} training patients with each label"] if positives is not None else []
    return ", ".join(parts)


def gather_embeddings(done: Iterable[Record]) -> dict[str, float]:
    """Digest of embeddings -> seconds that making them took, of all seeds."""
    return {part.digest: part.seconds for record in done for part in record.efficiency.embeddings}


def sum_embeddings(cost: EfficiencyPart) -> float | None:
    """Seconds that making all embeddings of a record took; None where it has none."""
    return sum(part.seconds for part in cost.embeddings) if cost.embeddings else None
