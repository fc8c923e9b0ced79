"""Which training images an epoch is made of: each once, or some oftener and others more seldom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.components import Recipe
from harness.data.placement import Placed
from harness.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Generator, Tensor


class Draw:
    """The draw of a training's epochs: indices alone, so that no image lies on the device twice."""

    def __init__(self, placed: Placed, recipe: Recipe) -> None:
        self.train = placed.splits["train"]
        self.pools: list[tuple[float, Tensor]] = []
        """Shares of an epoch, and the images that they are drawn from; empty where every image is drawn once."""
        if recipe.oversample:
            targets = placed.data.targets[self.train.cpu().numpy()]
            for share, chosen in find_pools(targets, placed.data.labels, recipe.oversample):
                self.pools.append((share, self.train[torch.from_numpy(chosen).to(placed.device)]))

    def __call__(self, count: int, generator: Generator) -> Tensor:
        """Draw an epoch of `count` indices (count,) in a random order.

        Of each pool there are as many as its share says, and each of its images is drawn as often as any other, or
        once more.
        """
        if not self.pools:
            return self.train[self._shuffle(len(self.train), generator)[:count]]
        drawn, reached, before = [], 0.0, 0
        for share, pool in self.pools:
            reached += share
            whole, rest = divmod(round(reached * count) - before, len(pool))  # of the sum, so that all are `count`
            drawn += [*[pool] * whole, pool[self._shuffle(len(pool), generator)[:rest]]]
            before = round(reached * count)
        return torch.cat(drawn)[self._shuffle(count, generator)]

    def _shuffle(self, count: int, generator: Generator) -> Tensor:
        return torch.randperm(count, generator=generator, device=self.train.device)


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
