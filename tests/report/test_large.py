"""A large board's page stays small."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from harness.board import Board, Row, board_text, row_text, save_board
from harness.evaluation.curves import trace_curves
from harness.evaluation.parts import ConfusionPart
from harness.evaluation.predictions import Predictions
from harness.evaluation.resamples import Resamples
from harness.metric_names import POLICIES
from harness.report.figures import MOST_ROWS
from harness.report.page import render
from harness.results.store import write_record
from tests.report.conftest import Builder

LABELS = tuple(f"Finding_{number}" for number in range(14))
IMAGES = 2000
GENERATOR = np.random.default_rng(0)


def trace(targets: np.ndarray) -> Mapping[str, Any]:
    """Curves of a network's scores for these targets (N, C)."""
    logits = (GENERATOR.normal(size=targets.shape) + 1.2 * targets).astype(np.float32)
    names = np.array([f"i{number}" for number in range(len(targets))])
    return trace_curves(Predictions(labels=LABELS, image=names, patient=names, logits=logits, targets=targets))


def write(build: Builder, board: Board, row: Row, seed: int, curves: Mapping[str, Any]) -> None:
    """A record with every usual policy, its counts and its resamples."""
    names = ("auroc", "auprc", "brier", "ece", *(f"f1@{policy}" for policy in POLICIES))
    metrics = {name: build.metric(*GENERATOR.random(14).tolist()) for name in names}
    metrics["auroc"] = build.metric(*(0.9 - board.rows.index(row) / 500 + GENERATOR.normal(0, 0.01, 14)).tolist())
    counts = GENERATOR.integers(0, 2000, (len(POLICIES), len(LABELS), 4)).tolist()
    kinds = ("true_positives", "false_positives", "false_negatives", "true_negatives")
    confusion = {
        policy: {
            label: ConfusionPart(**dict(zip(kinds, one, strict=True)))
            for label, one in zip(LABELS, of_policy, strict=True)
        }
        for policy, of_policy in zip(POLICIES, counts, strict=True)
    }
    macro = {name: (part.macro or 0) + GENERATOR.normal(0, 0.01, 1000) for name, part in metrics.items()}
    by_label = {label: GENERATOR.normal(0.8, 0.01, 1000) for label in LABELS}
    record = build.record(row, seed, metrics, confusion=confusion)
    write_record(board.folder, record, Resamples(macro=macro, per_label=by_label, curves=curves))


def make_large(build: Builder) -> Board:
    """A board of 200 rows with three seeds and 14 labels each, and its records; those that are drawn have curves."""
    build.labels = LABELS
    rows = [Row(model=f"model-{number:03d}", loss="bce", recipe="demo") for number in range(200)]
    board = build.board(*rows, seeds=(0, 1, 2))
    save_board(board.folder, board_text(board, [row_text([row.model], ["bce"], ["demo"], {}) for row in rows]))
    targets = (GENERATOR.random((IMAGES, len(LABELS))) < 0.1).astype(np.float32)
    for number, row in enumerate(rows):
        for seed in board.seeds:
            write(build, board, row, seed, trace(targets) if number < 2 * MOST_ROWS else {})
    return board


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_page_of_200_rows_with_three_seeds_is_less_than_3_mb(build):
    assert render(make_large(build)).page.stat().st_size < 3_000_000
