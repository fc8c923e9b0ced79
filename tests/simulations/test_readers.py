"""Intervals of a network minus readers hold the truth as often as said, and what differs is found."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import readers  # type: ignore[import-not-found]

SCENES = {scene.name: scene for scene in readers.SCENES}
TRIALS = 80
SLACK = 2.6 * (0.05 * 0.95 / TRIALS) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["eight readers of unequal skill", readers.SCENES[-1].name])
def test_intervals_hold_the_true_difference(name):
    found = readers.simulate(SCENES[name], TRIALS, seed=1)
    for held, general, _ in found.values():
        assert min(held, general) >= 0.95 - SLACK
    assert abs(found["sensitivity"][2]) < 0.02


@pytest.mark.slow
def test_readers_in_general_are_not_these_very_readers():
    scene = replace(SCENES["eight readers of unequal skill"], spread=0.8, lead=0.0)
    found = readers.simulate(scene, 40, seed=1)
    assert min(found["f1"][:2]) >= 0.85
