"""Rows whose seeds repeat each other cause no false alarms, and hide no difference between others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import repeated  # type: ignore[import-not-found]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_rows_that_repeat_are_no_matter_to_the_verdicts_of_others():
    alone, beside = repeated.simulate(800, 1), repeated.simulate(800, 4)
    trained, same, far = repeated.PAIRS
    assert max(beside[trained], beside[same]) <= 0.08
    assert beside[far] == pytest.approx(alone[far], abs=0.03)
    assert repeated.simulate(800, 4, apart=False)[far] < beside[far]
