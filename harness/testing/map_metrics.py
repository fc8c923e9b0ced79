"""Checks of a metric of heat maps: its direction, its range, and what it may not depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from harness.components import Metric
from harness.testing.contract import ContractError, Subject

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Masks = NDArray[np.bool_]

MAPS, SIDE = 60, 24


def check_maps_on_boxes_are_best(subject: Subject) -> None:
    """Maps that are the boxes are better than random ones, and random ones better than all but the boxes."""
    metric, (maps, inside) = _metric(subject), _sample()
    best, random, worst = (_compute(metric, given, inside).max(axis=1).mean() for given in (inside, maps, ~inside))
    if not metric.higher_is_better:
        best, random, worst = -best, -random, -worst
    if not best > random > worst:
        raise ContractError(
            f"maps that are the boxes get {best:.4g}, random ones {random:.4g}, all but the boxes {worst:.4g}, each "
            f"turned so that higher is better (higher_is_better={metric.higher_is_better})",
            "let what lies in boxes count for the network, and declare higher_is_better as it is",
        )


def check_maps_have_no_scale(subject: Subject) -> None:
    """A map times 1000, or a thousandth of it, has the same value: Grad-CAM has no scale."""
    metric, (maps, inside) = _metric(subject), _sample()
    plain = _compute(metric, maps, inside)
    for factor in (1000, 1 / 1024):
        _require_equal(
            plain, _compute(metric, maps * factor, inside), f"maps as they are and times {factor:g}", "use shares"
        )


def check_maps_are_each_its_own(subject: Subject) -> None:
    """A map's value does not depend on the other maps, nor on their order."""
    metric, (maps, inside) = _metric(subject), _sample()
    plain = _compute(metric, maps, inside)
    _require_equal(
        plain, _compute(metric, maps[::-1], inside[::-1])[::-1], "maps in order and reversed", "treat each by itself"
    )
    _require_equal(plain[:1], _compute(metric, maps[:1], inside[:1]), "a map among others and alone", "use no others")


def check_empty_maps_have_a_value(subject: Subject) -> None:
    """A map of zeros and one that is the same everywhere have a value in the range: leaving them out would flatter."""
    metric, (maps, inside) = _metric(subject), _sample()
    for constant in (0.0, 1.0):
        _compute(metric, maps * 0 + constant, inside)


# --- shared by the checks --------------------------------------------------------------------------------------------


def _metric(subject: Subject) -> Metric:
    return cast(Metric, subject.component)


def _sample() -> tuple[Array, Masks]:
    """Random maps and a box in each: (60, 24, 24)."""
    import numpy as np

    generator = np.random.default_rng(0)
    inside = np.zeros((MAPS, SIDE, SIDE), dtype=np.bool_)
    for mask in inside:
        top, left, height, width = generator.integers((0, 0, 4, 4), (12, 12, 12, 12))
        mask[top : top + height, left : left + width] = True
    return generator.random((MAPS, SIDE, SIDE)), inside


def _compute(metric: Metric, maps: Array | Masks, inside: Masks) -> Array:
    """Values (n, T), or what breaks the contract."""
    import numpy as np

    from harness.errors import PluginError
    from harness.evaluation.contract import compute_on_maps

    try:
        return compute_on_maps(metric, np.asarray(maps, dtype=np.float64), inside)
    except PluginError as error:
        raise ContractError(str(error), "return a number in its range for each map, or a row of them") from error


def _require_equal(one: Array, other: Array, what: str, fix: str) -> None:
    import numpy as np

    if one.shape != other.shape or not np.allclose(one, other, rtol=1e-7, atol=1e-9):
        raise ContractError(f"{what} give {np.ravel(one)[0]:.6g} and {np.ravel(other)[0]:.6g}", fix)


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_maps_on_boxes_are_best,
    check_maps_have_no_scale,
    check_maps_are_each_its_own,
    check_empty_maps_have_a_value,
)
