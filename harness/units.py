"""What is scored: an image, or a study or a patient whose images are pooled."""

from __future__ import annotations

from typing import Literal, get_args

from harness.errors import UnknownNameError

Unit = Literal["image", "study", "patient"]
Pooling = Literal["mean", "max"]
UNITS: tuple[Unit, ...] = get_args(Unit)
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
CALLED: dict[Unit, tuple[str, str]] = {
    "image": ("image", "images"),
    "study": ("study", "studies"),
    "patient": ("patient", "patients"),
}
"""What one and several of a unit are called."""


def find_unit(name: str) -> Unit:
    """The unit of that name. Raises `UnknownNameError`."""
    if name not in UNITS:
        raise UnknownNameError("unit of scoring", name, UNITS)
    return next(unit for unit in UNITS if unit == name)


def find_pooling(name: str) -> Pooling:
    """The way to pool of that name. Raises `UnknownNameError`."""
    if name not in POOLINGS:
        raise UnknownNameError("way to pool scores", name, POOLINGS)
    return next(how for how in POOLINGS if how == name)


def count_units(unit: Unit, number: int) -> str:
    """Return a number of units with their noun: `1 study`, `25,596 images`."""
    return f"{number:,} {CALLED[unit][number != 1]}"


def tell_units(unit: Unit, how: Pooling, number: int | None = None) -> str:
    """Return what is scored: `images`, or `143 studies (mean of their images' scores)`."""
    what = CALLED[unit][1] if number is None else count_units(unit, number)
    return what if unit == "image" else f"{what} ({how} of their images' scores)"
