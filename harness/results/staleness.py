"""Which records still belong to a board: what `board.toml` says may have changed since they were made.

This is what can be told without data and plugins; whether a component's version has changed, a run finds out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from harness.board import Board, OutsideTest
from harness.evaluation.parts import ReadersPart
from harness.metric_names import DEFAULT_POLICY, full_name, is_of, split_name
from harness.panels import PanelFiles
from harness.results.outside import view_outside
from harness.results.record import Record
from harness.units import tell_units

AGAIN = "harness rescore evaluates its stored predictions again, without training"
"""The way out for a record that was evaluated by another board.toml."""
MEASURE = "harness run measures it, without training"
"""The way out for a record that lacks an outside test."""
LEFTOVER = "put it back, or let harness clean remove its records"
"""The way out where a row or a seed was taken out of board.toml."""


def current_fingerprint(board: Board, records: Iterable[Record]) -> str | None:
    """Return the fingerprint of the data that most records were made on; in a tie, of the data that was used last."""
    fresh = [r for r in records if why_stale(board, r, r.dataset.fingerprint) is None]
    prints = [r.dataset.fingerprint for r in fresh]
    newest = {r.dataset.fingerprint: r.provenance.finished for r in sorted(fresh, key=lambda r: r.provenance.finished)}
    return max(newest, key=lambda name: (prints.count(name), newest[name], name), default=None)


def why_stale(board: Board, record: Record, fingerprint: str | None) -> str | None:
    """Why a record does not belong to the board as it is now, or None."""
    combo = record.combo
    if record.external is None and combo.row not in board.row_names:
        return "board.toml has no such row"
    if combo.dataset != board.dataset:
        return f"measured on {combo.dataset}, board.toml says {board.dataset}"
    options, wanted = (json.dumps(dict(o), sort_keys=True, default=str) for o in (combo.options, board.options))
    if options != wanted:
        return f"the dataset's options were {options}, board.toml says {wanted}"
    if record.external is None and combo.seed not in board.seeds:
        return f"{combo.seed} is none of the board's seeds"
    if record.dataset.fingerprint != fingerprint:
        return "made on other images, labels or splits than most records"
    return None


def why_uncounted(board: Board, record: Record, fingerprint: str | None) -> str | None:
    """Why a record's numbers cannot stand beside the board's, or None: it is stale, or scored over other units."""
    stale, wanted = why_stale(board, record, fingerprint), tell_units(board.unit, board.pool)
    if stale is None and record.status == "done" and record.scored != wanted:
        return f"scored over {record.scored}, board.toml says {wanted}; {AGAIN}"
    return stale


def is_leftover(board: Board, record: Record) -> bool:
    """Whether a record is of a row or a seed that was taken out of board.toml, or of one that was never there."""
    return record.external is None and not (record.combo.row in board.row_names and record.combo.seed in board.seeds)


def tell_leftovers(board: Board, records: Iterable[Record]) -> tuple[str, ...]:
    """Say what was taken out of board.toml whose records lie here still: a line for each row and each seed."""
    rows: dict[str, list[int]] = {}
    seeds: dict[int, list[str]] = {}
    for combo in (record.combo for record in records if is_leftover(board, record)):
        if combo.row in board.row_names:
            seeds.setdefault(combo.seed, []).append(combo.row)
        else:
            rows.setdefault(combo.row, []).append(combo.seed)
    return (
        *(f"has no row {row}, of which there are records of seed {', '.join(map(str, of_row))}: {LEFTOVER}"
          for row, of_row in rows.items()),
        *(f"has no seed {seed}, of which there are records of {', '.join(of_seed)}: {LEFTOVER}"
          for seed, of_seed in sorted(seeds.items())),
    )  # fmt: skip


def why_evaluate_again(board: Board, record: Record) -> str | None:
    """Say what board.toml asks for that a finished record was not evaluated by, or None; its predictions have it."""
    if record.status != "done":
        return None
    changed = _why_readers_changed(board.panel, record.readers)
    if changed is not None:
        return changed
    changed = _why_rules_changed(board, record)
    if changed is not None:
        return changed
    for test in board.tests:
        changed = why_part_changed(board, record, test)
        if changed is not None:
            return f"on the outside test {test.title or test.key}: {changed}"
    return None


def why_part_changed(board: Board, record: Record, test: OutsideTest) -> str | None:
    """Say what board.toml asks for that a finished part of an outside test was not evaluated by, or None."""
    view = view_outside(record, test.key)
    return None if view is None or view.status != "done" else _why_rules_changed(board, view)


def why_unmeasured(board: Board, record: Record) -> str | None:
    """Say on which outside test that board.toml names a finished record has no number, or None."""
    if record.status != "done" or not record.is_trained:
        return None
    for test in board.tests:
        part = record.outside.get(test.key)
        if part is None:
            return f"not measured on {test.title or test.key} yet; {MEASURE}"
        if part.status == "failed" and part.failure is not None:
            return f"failed on {test.title or test.key}: {part.failure.message}"
    return None


def find_unasked(board: Board, record: Record) -> tuple[str, ...]:
    """Keys of outside tests that a record has a part of and board.toml does not name."""
    asked = {test.key for test in board.tests}
    return tuple(key for key in record.outside if key not in asked)


def _why_rules_changed(board: Board, record: Record) -> str | None:
    """What of a board's metrics, unit or prevalences a record was not evaluated by, over the labels that it has."""
    units = tell_units(board.unit, board.pool)
    if record.scored != units:
        return f"it is scored over {record.scored}, board.toml says {units}"
    lacking = [name for name in board.metrics if not _is_measured(name, record) and is_of(name, record.dataset.labels)]
    if lacking:
        return f"board.toml asks for {', '.join(lacking)}, which the record does not hold"
    objective = full_name(board.objective, record.metrics)
    if objective in record.metrics and record.labels_resampled not in (None, objective):
        return f"its labels were resampled for {record.labels_resampled}, board.toml ranks by {objective}"
    wanted = {label: share for label, share in board.prevalence.items() if label in record.dataset.labels}
    for labels in (record.predictive or {}).values() or [{}]:
        found = {label: part.prevalence for label, part in labels.items()}
        if found != wanted and not (wanted and record.is_without_validation):
            return f"its predictive values are for the prevalence {found or 'none'}, board.toml says {wanted or 'none'}"
    return None


def _why_readers_changed(panel: PanelFiles | None, held: ReadersPart | None) -> str | None:
    """Why a record's readers are not the board's, or None; a file that is not here is taken for the same."""
    if panel is None:
        return None if held is None else "the board has no readers.toml any more"
    if held is None:
        return "readers.toml names people whom its numbers are not held against"
    same = held.truth == panel.truth and list(held.readers) == list(panel.files)
    if same and all(held.files.get(name) == digest for name, digest in panel.digests.items()):
        return None
    return "readers.toml or a file that it names has changed"


def _is_measured(name: str, record: Record) -> bool:
    """Whether a record holds a metric, or could not: a threshold of validation needs its predictions."""
    base, policy = split_name(name)
    if base in record.metrics or f"{base}@{policy or DEFAULT_POLICY}" in record.metrics:
        return True
    decided = policy is not None or any(other.startswith(f"{base}@") for other in record.metrics)
    return decided and policy not in ("0.5", "oracle") and record.is_without_validation
