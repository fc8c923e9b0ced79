"""How long the page of a large board takes, beside what reading its records takes in any case."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.board import Board
from harness.report.figures import vega
from harness.report.page import render
from harness.report.summary import read_results
from tests.report.conftest import Builder
from tests.report.test_large import make_large


@pytest.fixture(scope="module")
def board(tmp_path_factory) -> Board:
    vega.start().script.result()  # once a machine, however many pages there are
    folder: Path = tmp_path_factory.mktemp("large")
    return make_large(Builder(folder))


@pytest.mark.parametrize("work", [read_results, render], ids=["reading its records alone", "the whole page"])
def test_a_board_of_200_rows_with_three_seeds_and_14_labels(benchmark, board, work):
    benchmark.pedantic(work, args=(board,), rounds=3, iterations=1)
