"""Studies with nothing trained."""

from __future__ import annotations

from typing import Any

import pytest

from harness.board import Board, Row
from harness.components import Choice, Float
from harness.tuning.space import Dimension
from harness.tuning.study import Plan

DIMENSIONS = {
    "recipe.lr": Dimension("recipe.lr", Float(1e-4, 1e-1, log=True), "recipe 'toy'"),
    "recipe.optimizer": Dimension("recipe.optimizer", Choice(("adam", "sgd")), "--search"),
}


@pytest.fixture
def make_plan(tmp_path):
    def make(**changes) -> Plan:
        row = Row(model="toy-net", loss="bce", recipe="toy")
        board = Board(
            folder=tmp_path / "board", title="t", objective="auroc", metrics=("auroc",), dataset="toy", rows=(row,)
        )
        values: dict[str, Any] = {
            "name": "s",
            "board": board,
            "row": row,
            "dimensions": DIMENSIONS,
            "defaults": {"recipe.lr": 0.01, "recipe.optimizer": "adam"},
            "objective": "auroc",
            "higher_is_better": True,
            "fingerprint": "f",
            "epochs": 3,
        }
        return Plan(**(values | changes))

    return make
