"""The keys that a board's combos would have today, found without data and without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.board import Board, Row, combo_name
from harness.choices import (
    list_metrics,
    list_watched,
    require_loss,
    require_scored,
    resolve,
    resolve_metrics,
    resolve_rows,
)
from harness.data.loading import find_source
from harness.data.outside import find_outside
from harness.errors import HarnessError
from harness.registry import Registry
from harness.results.ensembles import find_outdated
from harness.results.identity import describe_origin, identify_combo, weights_identity
from harness.results.record import Record
from harness.results.staleness import current_fingerprint, why_stale
from harness.training import VERSION

OUTDATED = "choices or versions have changed"


@dataclass(frozen=True)
class CurrentKeys:
    """The keys that a board's combos would have today."""

    fingerprint: str | None
    """The fingerprint of the data, as the records have it; None without records."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Combo -> its key."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    """Row -> why its keys cannot be told here: a plugin or a weight file is missing."""
    outdated: Mapping[str, str] = field(default_factory=dict)
    """Record of an ensemble -> why it is made of something else than it would be now."""

    def why_stale(self, board: Board, record: Record) -> str | None:
        """Why a record is none of the board as it is now; None where it is, or where that cannot be told."""
        reason = why_stale(board, record, self.fingerprint) or self.outdated.get(record.combo.name)
        if reason is not None or record.external is not None:
            return reason
        key = self.keys.get(record.combo.name, record.key)
        return OUTDATED if key != record.key else None


def find_current_keys(board: Board, registry: Registry, records: Iterable[Record]) -> CurrentKeys:
    """Find the keys without data, by the fingerprint of the records and by the tables that each of them tells.

    Nothing is raised: a plugin or a weight file that is missing here is named in `unknown`.
    """
    records = tuple(records)
    fingerprint = current_fingerprint(board, records)
    if fingerprint is None:
        return CurrentKeys(None)
    keys: dict[str, str] = {}
    unknown: dict[str, str] = {}
    tables = {record.combo.name: record.dataset.table for record in records}
    for row in board.rows:
        try:
            keys |= _row_keys(board, row, registry, fingerprint, tables)
        except HarnessError as error:
            unknown[row.name] = str(error)
    return CurrentKeys(fingerprint, keys, unknown, find_outdated(board, records))


def find_refused(board: Board, registry: Registry, records: Iterable[Record]) -> Mapping[str, str]:
    """Row -> why a run would refuse its parameters, also for the labels that the records have.

    Rows of a plugin that is not here are absent: nobody can tell.
    """
    fingerprint = current_fingerprint(board, records := tuple(records))
    labels = next((record.dataset.labels for record in records if record.dataset.fingerprint == fingerprint), None)
    refused = {}
    for row in board.rows:
        try:
            registry.model(row.model), registry.loss(row.loss), registry.recipe(row.recipe)
        except HarnessError:
            continue
        try:
            choices = resolve(row, registry)
            if labels is not None:
                require_loss(choices, labels)
        except HarnessError as error:
            refused[row.name] = str(error)
    return refused


def require_names(board: Board, registry: Registry) -> None:
    """Refuse a board whose names mean nothing, as a run does: of components, parameters, policies and options.

    Raises `UnknownNameError` or `UsageError` for the first of them.
    """
    rows = resolve_rows(board, registry)
    resolve_metrics(list_metrics(board, rows), registry)
    require_scored([board.objective, *list_watched(rows)], registry)
    find_source(registry.offer("dataset", board.dataset), board.options, Path())
    for test in board.tests:
        find_outside(registry.offer("dataset", test.dataset), test.options, Path())


def _row_keys(
    board: Board, row: Row, registry: Registry, fingerprint: str, tables: Mapping[str, str | None]
) -> dict[str, str]:
    choices = resolve(row, registry)
    source = find_source(registry.offer("dataset", board.dataset), board.options, Path())
    weights, made_of = weights_identity(choices.model, choices.recipe.weights), describe_origin(choices)
    objective = registry.metric(board.objective.partition("@")[0]).name
    return {
        name: identify_combo(
            source,
            fingerprint,
            choices,
            seed,
            objective=objective,
            weights=weights,
            engine=VERSION,
            table=tables.get(name) if choices.model.inputs.table else None,
            made_of=made_of,
        ).key
        for seed in board.seeds
        if (name := combo_name(row.name, seed))
    }
