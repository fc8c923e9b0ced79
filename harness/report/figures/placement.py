"""Where names stand beside their points, so that none covers another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

LETTER = 6.2
"""Pixels of a letter of a picture's text, on average."""
LINE = 13
"""Pixels of a line of text."""
RADIUS = 6
"""Pixels around a point that names leave free."""
LONGEST = 220
"""Pixels of a name at most; the rest is cut."""

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class NamePlace:
    """Where a name stands, seen from its point."""

    align: Literal["left", "center", "right"]
    dx: int
    dy: int


PLACES = (
    NamePlace("left", 8, 0),
    NamePlace("right", -8, 0),
    NamePlace("center", 0, -14),
    NamePlace("center", 0, 14),
    NamePlace("left", 6, -11),
    NamePlace("right", -6, -11),
    NamePlace("left", 6, 11),
    NamePlace("right", -6, 11),
)
"""Places to try, the best first."""


def place_names(names: Sequence[str], points: Sequence[Point], width: float, line: int) -> list[NamePlace | None]:
    """A place for each name beside its point (x, y) in pixels; None for one without room in a plot of that width.

    Earlier names choose first, and none stands on the line through the first `line` points. Names that are apart here
    are apart on a wider plot, too, where points only move away from each other.
    """
    taken: list[Box] = [(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in points]
    taken += _cover_line(points[:line])
    places: list[NamePlace | None] = []
    for number, (name, (x, y)) in enumerate(zip(names, points, strict=True)):
        others = [box for other, box in enumerate(taken) if other != number]
        place, box = next(_find_free(name, x, y, width, others), (None, None))
        places.append(place)
        if box is not None:
            taken.append(box)
    return places


def _cover_line(points: Sequence[Point]) -> Iterator[Box]:
    """Small boxes along the line through points."""
    for (x, y), (to_x, to_y) in pairwise(points):
        steps = int(max(abs(to_x - x), abs(to_y - y)) // RADIUS)
        for step in range(1, steps):
            at_x, at_y = x + (to_x - x) * step / steps, y + (to_y - y) * step / steps
            yield at_x - 1, at_y - 1, at_x + 1, at_y + 1


def _find_free(name: str, x: float, y: float, width: float, others: Sequence[Box]) -> Iterator[tuple[NamePlace, Box]]:
    long = min(len(name) * LETTER, LONGEST)
    for place in PLACES:
        left = x + place.dx - {"left": 0.0, "center": long / 2, "right": long}[place.align]
        box = (left, y + place.dy - LINE / 2, left + long, y + place.dy + LINE / 2)
        if left >= 0 and box[2] <= width + RADIUS and not any(_overlap(box, other) for other in others):
            yield place, box


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
