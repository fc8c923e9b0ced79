"""Metrics of heat maps against boxes: whether a network looks where the finding is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness import Metric, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Maps = NDArray[np.float64]
    Masks = NDArray[np.bool_]

SHARES = 19
"""Thresholds of IoU: 5 % to 95 % of a map's maximum in equal steps."""


def point(maps: Maps, inside: Masks) -> Maps:
    """The pointing game (n,): 1 where the map's maximum lies in a box of the label, else 0 (Zhang et al. 2016).

    There is no tolerance around a box; the paper has one of 15 pixels. Where several pixels share the maximum, it is
    the share of them that lies in a box. A map that is 0 everywhere points nowhere, which is a miss.
    """
    top = maps.max(axis=(1, 2), keepdims=True)
    highest = (maps == top) & (top > 0)
    return _divide((highest & inside).sum(axis=(1, 2)), highest.sum(axis=(1, 2)))


def share_energy(maps: Maps, inside: Masks) -> Maps:
    """The energy-based pointing game (n,): the share of the map's sum that lies in boxes (Wang et al. 2020).

    A map that is 0 everywhere has nothing there: 0.
    """
    return _divide((maps * inside).sum(axis=(1, 2)), maps.sum(axis=(1, 2)))


def overlap(maps: Maps, inside: Masks) -> Maps:
    """Intersection over union (n, 19) of the boxes' pixels and the map's at each threshold, a share of its maximum."""
    import numpy as np

    top = maps.max(axis=(1, 2), keepdims=True)
    curve = []
    for share in np.arange(1, SHARES + 1) / (SHARES + 1):
        taken = (maps >= share * top) & (top > 0)
        curve.append(_divide((taken & inside).sum(axis=(1, 2)), (taken | inside).sum(axis=(1, 2))))
    return np.stack(curve, axis=1)


def _divide(part: NDArray[np.number], whole: NDArray[np.number]) -> Maps:
    """Shares (n,) in float64; 0 where the whole is."""
    import numpy as np

    shares = np.zeros(len(whole))
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


@hookimpl
def harness_metrics() -> Iterable[Metric]:
    """The pointing game, its energy, and IoU."""
    return [
        Metric(
            name="pointing",
            compute=point,
            on="maps",
            about="pointing game: how often the maximum of a heat map lies in a box of the label",
            citation="Zhang et al. 2016, Top-down neural attention by excitation backprop (arXiv 1608.00507)",
        ),
        Metric(
            name="energy",
            compute=share_energy,
            on="maps",
            about="energy-based pointing game: the share of a heat map that lies in boxes of the label",
            citation="Wang et al. 2020, Score-CAM (arXiv 1910.01279)",
        ),
        Metric(
            name="iou",
            compute=overlap,
            on="maps",
            about="intersection over union of boxes and a heat map, at a threshold chosen on validation's boxes",
            citation="Jaccard 1912, The distribution of the flora in the alpine zone",
        ),
    ]
