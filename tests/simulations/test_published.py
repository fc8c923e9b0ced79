"""The rule by which a published number and a measured one differ keeps its level; looking at one interval does not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import published  # type: ignore[import-not-found]


@pytest.fixture(scope="module")
def sets():
    """Sixty test sets of each of two sizes."""
    return {patients: published.draw_sets(patients, 60) for patients in (300, 1_000)}


@pytest.mark.slow
def test_one_system_on_other_test_images_is_seldom_said_to_differ(sets):
    for own, other in ((300, 1_000), (1_000, 300), (1_000, 1_000)):
        cases = published.pair(sets[own], sets[other], (own, other))
        assert published.share(cases, published.CHOSEN) <= 0.08
        assert published.share(cases, "intervals apart") <= published.share(cases, published.CHOSEN)
    assert published.share(published.pair(sets[1_000], sets[300], (1_000, 300)), "outside the measured interval") > 0.15


@pytest.mark.slow
def test_two_trainings_on_the_same_images_never_are(sets):
    assert published.share(published.pair_again(sets[1_000]), published.CHOSEN) <= 0.02


@pytest.mark.slow
def test_a_large_difference_is_found(sets):
    cases = published.pair(sets[1_000], sets[1_000], (1_000, 1_000), better=0.06)
    assert published.share(cases, published.CHOSEN) > 0.9
