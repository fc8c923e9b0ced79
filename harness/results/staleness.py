"""Which records still belong to a board: what `board.toml` says may have changed since they were made.

This is what can be told without data and plugins; whether a component's version has changed, a run finds out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from harness.board import Board
from harness.results.record import Record


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
