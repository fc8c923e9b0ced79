"""Metrics of heat maps against values by hand."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def inside():
    """A box of 2 x 2 pixels in the upper left of 4 x 4."""
    mask = np.zeros((1, 4, 4), dtype=bool)
    mask[0, :2, :2] = True
    return mask


def make_map(**pixels: float):
    """A map of 4 x 4 with some pixels, named by row and column."""
    made = np.zeros((1, 4, 4))
    for name, value in pixels.items():
        made[0, int(name[1]), int(name[2])] = value
    return made


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        ({"p00": 2, "p33": 1}, 1),
        ({"p00": 1, "p33": 2}, 0),
        ({"p11": 3, "p22": 2.99}, 1),
        ({"p02": 1}, 0),  # a pixel beside the box: there is no tolerance
        ({"p00": 1, "p33": 1}, 1 / 2),
        ({"p00": 1, "p01": 1, "p33": 1}, 2 / 3),
        ({}, 0),
    ],
)
def test_a_point_is_a_hit_where_the_maximum_lies_in_a_box(registry, inside, pixels, expected):
    assert registry.metric("pointing").compute(make_map(**pixels), inside) == [expected]


@pytest.mark.parametrize(
    ("pixels", "expected"), [({"p00": 3, "p33": 1}, 0.75), ({"p12": 5}, 0), ({"p00": 1e-9}, 1), ({}, 0)]
)
def test_energy_is_the_share_of_the_map_in_boxes(registry, inside, pixels, expected):
    assert registry.metric("energy").compute(make_map(**pixels), inside) == pytest.approx([expected])


def test_a_flat_map_has_the_share_of_the_image_that_boxes_take(registry, inside):
    for name in ("pointing", "energy"):
        assert registry.metric(name).compute(np.ones((1, 4, 4)), inside) == [4 / 16]


def test_iou_is_of_the_boxes_and_the_map_at_each_share_of_its_maximum(registry, inside):
    maps = make_map(p00=10, p01=10, p10=5, p33=2)
    curve = registry.metric("iou").compute(maps, inside)[0]
    thresholds = np.arange(1, 20) / 20
    assert len(curve) == 19
    at = dict(zip(thresholds.round(2).tolist(), curve.tolist(), strict=True))
    assert at[0.05] == at[0.2] == 3 / 5  # three of the box's four pixels, and one beside it
    assert at[0.25] == at[0.5] == 3 / 4
    assert at[0.55] == at[0.95] == 2 / 4


def test_a_map_of_zeros_has_no_iou(registry, inside):
    assert not registry.metric("iou").compute(np.zeros((1, 4, 4)), inside).any()
