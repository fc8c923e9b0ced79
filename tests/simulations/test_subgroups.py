"""Random groups of patients are called different as often as said, and different ones are found."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import subgroups  # type: ignore[import-not-found]

SCENES = {scene.name: scene for scene in subgroups.SCENES}
TRIALS = 200


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, scene in SCENES.items() if not scene.loss])
def test_random_groups_are_called_different_one_time_in_twenty(name):
    _, by_p = subgroups.simulate(SCENES[name], TRIALS, seed=1)
    assert by_p <= 0.05 + 2.6 * (0.05 * 0.95 / TRIALS) ** 0.5


@pytest.mark.slow
def test_the_interval_of_the_extreme_two_of_four_groups_would_not():
    by_interval, _ = subgroups.simulate(SCENES["four random groups"], TRIALS, seed=1)
    assert by_interval > 0.15


@pytest.mark.slow
def test_a_group_that_is_served_worse_is_found():
    (scene,) = (scene for scene in SCENES.values() if scene.loss)
    _, by_p = subgroups.simulate(scene, 50, seed=1)
    assert by_p > 0.6
