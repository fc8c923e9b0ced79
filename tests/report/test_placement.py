"""Names beside points cover neither each other nor points."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.report.figures.placement import LETTER, LINE, place_names

POINTS = st.lists(st.tuples(st.floats(0, 400), st.floats(0, 300)), min_size=1, max_size=12)


def box(name, point, place):
    wide = len(name) * LETTER
    left = point[0] + place.dx - {"left": 0, "center": wide / 2, "right": wide}[place.align]
    return left, point[1] + place.dy - LINE / 2, left + wide, point[1] + place.dy + LINE / 2


def overlap(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@given(POINTS)
def test_no_name_covers_another_or_leaves_the_plot_on_the_left(points):
    names = [f"row number {number}" for number in range(len(points))]
    places = place_names(names, points, 400, 0)
    boxes = [box(*one) for one in zip(names, points, places, strict=True) if one[2] is not None]
    assert all(one[0] >= 0 for one in boxes)
    for number, one in enumerate(boxes):
        assert not any(overlap(one, other) for other in boxes[:number])


def test_a_name_avoids_the_line_through_its_point():
    _, middle, _ = place_names(["a", "b", "c"], [(100.0, 100.0), (200.0, 100.0), (300.0, 100.0)], 400, 3)
    assert middle is not None
    assert middle.dy != 0


def test_the_first_name_stands_where_two_have_no_room():
    places = place_names(["x" * 30, "y" * 30], [(95.0, 50.0), (105.0, 52.0)], 200, 0)
    assert places[0] is not None
