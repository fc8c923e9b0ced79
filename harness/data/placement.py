"""Images and targets where the training step wants them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.components import SPLITS, Data
from harness.data.prepare import Prepared

if TYPE_CHECKING:
    from torch import Tensor

SHARE = 0.5
"""Of a GPU's free memory, what the images may take; the rest is the network's."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A prepared dataset on its device."""

    data: Data
    device: torch.device
    images: Tensor
    """(N, S, S) uint8: on the device where they fit, else in host memory."""
    targets: Tensor
    """(N, C) float32 on the device, unknown as 0."""
    known: Tensor | None
    """(N, C) float32 on the device, 1 where the target is known; None where all are."""
    splits: Mapping[str, Tensor]
    """Indices (n,) int64 on the device of each split's images."""

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Images (B, S, S) uint8, targets (B, C) and known (B, C) at `index` (B,), all on the device."""
        images = self.images[index.to(self.images.device)].to(self.device, non_blocking=True)
        return images, self.targets[index], None if self.known is None else self.known[index]


def place(prepared: Prepared, device: torch.device) -> Placed:
    """Bring a dataset to the device: all at once where it fits, else batch by batch from host memory.

    On a CPU nothing is copied: the images stay the cache's memory map.
    """
    images = torch.from_numpy(prepared.images)
    if device.type == "cuda" and images.nbytes <= SHARE * torch.cuda.mem_get_info(device)[0]:
        images = images.to(device)
    targets = torch.tensor(prepared.data.targets)
    unknown = targets.isnan()
    split = prepared.data.table["split"].to_numpy()
    return Placed(
        data=prepared.data,
        device=device,
        images=images,
        targets=targets.nan_to_num(0.0).to(device),
        known=(~unknown).float().to(device) if bool(unknown.any()) else None,
        splits={name: torch.from_numpy(np.flatnonzero(split == name)).to(device) for name in SPLITS},
    )
