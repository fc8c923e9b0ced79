"""A board's combos run on other machines: the one place that chooses how."""

from __future__ import annotations

from harness.board import Board
from harness.execution.carrying import WithoutFolder
from harness.execution.dispatch import Dispatch
from harness.execution.local import MakeRunner
from harness.execution.submitter import ComboSubmitter, Elsewhere
from harness.execution.watching import SharedFolder


def run_by(elsewhere: Elsewhere) -> MakeRunner:
    """Give what makes the runner for `local.run` and `carry_out`."""

    def make(board: Board, dispatch: Dispatch) -> ComboSubmitter:
        return (SharedFolder if elsewhere.to.shared else WithoutFolder)(board, elsewhere, dispatch)

    return make
