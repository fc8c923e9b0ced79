"""Ensembles on a board do not make its rows look different."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import ensembles  # type: ignore[import-not-found]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ensembles_that_lend_no_spread_cause_no_false_alarms():
    borrowed = ensembles.simulate(800, borrows=True)
    assert max(borrowed.values()) <= 0.075
    assert ensembles.simulate(800, borrows=False)["two rows"] > borrowed["two rows"]
