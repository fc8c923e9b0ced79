"""Which training images each share of an epoch is drawn from, where a recipe asks for more of some labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def find_pools(
    targets: NDArray[np.float32], labels: Sequence[str], oversample: Mapping[str, float]
) -> list[tuple[float, NDArray[np.intp]]]:
    """Share of an epoch -> which training images it is drawn from, the label of fewest first and all others at last.

    `targets` are (n, C), with NaN for what is unknown and counts as absent. An image counts for the rarest of its
    labels. Raises `UnknownNameError` for a label that the data do not have, `UsageError` for a share that cannot be.
    """
    for label in oversample:
        if label not in labels:
            raise UnknownNameError("label in recipe.oversample", label, labels)
    positive = {label: targets[:, labels.index(label)] == 1 for label in oversample}
    pools = []
    free = np.ones(len(targets), dtype=bool)
    for label in sorted(oversample, key=lambda name: (int(positive[name].sum()), labels.index(name))):
        chosen, asked = positive[label] & free, oversample[label]
        free &= ~positive[label]
        if not chosen.any():
            raise UsageError(
                f"recipe.oversample.{label}: no training image has {label} and no rarer label of these; leave it out"
            )
        if chosen.mean() > asked:
            raise UsageError(
                f"recipe.oversample.{label} is {asked:g}, but {chosen.mean():.3g} of the training images have {label} "
                "and no rarer label of these as it is; give a larger share, or leave it out"
            )
        pools.append((asked, np.flatnonzero(chosen)))
    return [*pools, (1 - sum(share for share, _ in pools), np.flatnonzero(free))]
