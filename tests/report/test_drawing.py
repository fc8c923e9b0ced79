"""Scales of the small drawings in tables."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.report.drawing import make_scale


def test_a_scale_has_no_fewer_than_two_ticks_and_they_are_round():
    scale = make_scale([0.66, 0.742])
    assert scale is not None
    assert scale.ticks == ("0.66", "0.68", "0.70", "0.72", "0.74")
    wide = make_scale([0.2, 0.9])
    assert wide is not None
    assert wide.ticks == ("0.2", "0.4", "0.6", "0.8")


@given(st.floats(0, 1), st.floats(0.001, 1))
def test_every_scale_holds_its_values_and_has_several_ticks_within(low, width):
    scale = make_scale([low, low + width])
    assert scale is not None
    assert scale.low < low < low + width < scale.high
    assert 2 <= len(scale.ticks) <= 9
    assert all(scale.low <= float(tick) <= scale.high for tick in scale.ticks)


def test_no_value_has_no_scale():
    assert make_scale([float("nan")]) is None
