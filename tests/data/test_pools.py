"""Which images each share of an epoch is drawn from, and which shares cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from harness.data.pools import find_pools
from harness.errors import UnknownNameError, UsageError

LABELS = ("first", "second", "third")
TARGETS = np.array([[1, 1, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=np.float32)


def test_an_unknown_target_counts_as_absent():
    targets = np.array([[1.0], [np.nan], [0.0], [0.0]], dtype=np.float32)
    (_, chosen), (_, others) = find_pools(targets, ("only",), {"only": 0.5})
    assert (chosen.tolist(), others.tolist()) == ([0], [1, 2, 3])


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ({"frist": 0.6}, "unknown label in recipe.oversample 'frist': did you mean 'first'"),
        ({"third": 0.5}, "oversample.third: no training image has third"),
        ({"first": 0.4}, "oversample.first is 0.4, but 0.5 of the training images have first"),
        ({"second": 0.8, "third": 0.1}, "oversample.third: no training image"),
        (
            {"first": 0.55, "second": 0.2},
            "oversample.second is 0.2, but 0.25 of the training images have second and no",
        ),
    ],
)
def test_a_share_that_cannot_be_drawn_is_refused(shares, says):
    with pytest.raises((UsageError, UnknownNameError), match=says):
        find_pools(TARGETS, LABELS, shares)
