"""Which key each combo of a board would have now; without data, by the fingerprint that its records have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.board import Board, Row
from harness.choices import resolve
from harness.data.loading import find_source
from harness.errors import HarnessError
from harness.registry import Registry
from harness.report.staleness import current_fingerprint, why_stale
from harness.results.identity import combo_key
from harness.results.record import Record
from harness.training import VERSION
from harness.training.weights import weights_identity

OUTDATED = "choices or versions have changed"


@dataclass(frozen=True)
class Currency:
    """What a run would make of a board today."""

    fingerprint: str | None
    """Of the data, as the records have it; None without records."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Combo -> its key."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    """Row -> why its keys cannot be told here: a plugin or a weight file is missing."""

    def why_stale(self, board: Board, record: Record) -> str | None:
        """Why a record is none of the board as it is now; None where it is, or where that cannot be told."""
        reason = why_stale(board, record, self.fingerprint)
        if reason is not None or record.external is not None:
            return reason
        key = self.keys.get(f"{record.combo.row}--s{record.combo.seed}", record.key)
        return OUTDATED if key != record.key else None


def find_currency(board: Board, registry: Registry, records: Iterable[Record]) -> Currency:
    """Work the keys out. Nothing is raised: what is missing here is missing in the answer."""
    fingerprint = current_fingerprint(board, records)
    if fingerprint is None:
        return Currency(None)
    keys: dict[str, str] = {}
    unknown: dict[str, str] = {}
    for row in board.rows:
        try:
            keys |= _row_keys(board, row, registry, fingerprint)
        except HarnessError as error:
            unknown[row.name] = str(error)
    return Currency(fingerprint, keys, unknown)


def _row_keys(board: Board, row: Row, registry: Registry, fingerprint: str) -> dict[str, str]:
    choices = resolve(row, registry)
    source = find_source(registry.offer("dataset", board.dataset), board.options, Path())
    weights = weights_identity(choices.model, choices.recipe.weights)
    objective = registry.metric(board.objective.partition("@")[0]).name
    return {
        f"{row.name}--s{seed}": combo_key(
            source, fingerprint, choices, seed, objective=objective, weights=weights, engine=VERSION
        )
        for seed in board.seeds
    }
