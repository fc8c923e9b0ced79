"""A record seen from one of its outside tests: what shows and compares rows then needs to know nothing of them."""

from __future__ import annotations

from dataclasses import replace

from harness.board import Board, OutsideTest
from harness.results.record import Record

SEEN = (
    "status", "failure", "pooled", "metrics", "thresholds", "confusion", "predictive", "calibration", "subgroups",
    "labels_resampled", "pretraining", "artifacts",
)  # fmt: skip
"""Parts of a record that an outside test has of its own."""


def view_outside(record: Record, test: str) -> Record | None:
    """The record as if the outside test of that key were its own; None where it has none of that key, or no data."""
    part = record.outside.get(test)
    if part is None or part.data is None:
        return None
    combo = record.combo.model_copy(update={"dataset": part.dataset, "options": part.options})
    seen = {name: getattr(part, name) for name in SEEN}
    return record.model_copy(
        update={
            **seen,
            "combo": combo,
            "dataset": part.data,
            "readers": None,
            "outside": {},
            "provenance": part.provenance,
        }
    )


def view_board(board: Board, test: OutsideTest) -> Board:
    """The board as if the outside test were its own dataset."""
    return replace(board, dataset=test.dataset, options=dict(test.options), tests=(), reference="")
