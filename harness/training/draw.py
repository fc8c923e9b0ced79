"""Which training images an epoch is made of: each once, or some oftener and others more seldom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from harness.components import Recipe
from harness.data.placement import Placed
from harness.data.pools import find_pools

if TYPE_CHECKING:
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
