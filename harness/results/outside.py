"""A record seen from one of its outside tests: what shows and compares rows then needs to know nothing of them."""

from __future__ import annotations

from dataclasses import replace

from harness.board import Board, OutsideTest
from harness.errors import UnknownNameError
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


def view_measured(record: Record, test: str) -> Record | None:
    """The record as if the outside test of that key were its own; None where it was not measured on it."""
    part = record.outside.get(test)
    return view_outside(record, test) if part is not None and part.status == "done" else None


def view_all(record: Record) -> dict[str, Record]:
    """The record itself under an empty key, then as each of its outside tests sees it that has data."""
    views = {test: view_outside(record, test) for test in record.outside}
    return {"": record, **{test: view for test, view in views.items() if view is not None}}


def view_board(board: Board, test: OutsideTest) -> Board:
    """The board as if the outside test were its own dataset."""
    return replace(board, dataset=test.dataset, options=dict(test.options), tests=(), reference="")


def title_test(board: Board, test: OutsideTest) -> str:
    """What readers know an outside test of a board as: its name, else its dataset where no other test is on that."""
    alone = sum(other.dataset == test.dataset for other in board.tests) == 1
    return test.title or (test.dataset if alone else test.key)


def find_test(board: Board, name: str) -> OutsideTest:
    """The outside test of that key or title. Raises `UnknownNameError`."""
    tests = {title_test(board, test): test for test in board.tests} | {test.key: test for test in board.tests}
    if name not in tests:
        raise UnknownNameError(f"outside test of {board.folder}", name, tests)
    return tests[name]
