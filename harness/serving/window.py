"""Batch after batch through one network, in the same memory: what is captured once serves all of them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.training.engine import DEFAULT_ENGINE_OPTIONS
from harness.training.numerics import computing
from harness.training.restore import Restored

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Window:
    """Room for a batch of images, which a restored network predicts as its training predicted a split."""

    def __init__(self, restored: Restored, batch: int) -> None:
        size, numbers = restored.recipe.load_size, len(restored.task.table)
        images = np.zeros((batch, size, size), dtype=np.uint8)
        table = np.zeros((batch, numbers, 2), dtype=np.float32) if numbers else None
        self.restored = restored
        with self._computing():
            self.predictor = restored.make_predictor(images, table, DEFAULT_ENGINE_OPTIONS)
        self.predictor.batch = batch
        self.rows = torch.arange(batch, device=restored.device)

    def predict(self, images: NDArray[np.uint8], table: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Logits (n, C) of at most a batch of images (n, S, S), which get a `table` (n, F, 2) where it is wanted."""
        count = len(images)
        with self._computing():
            self.predictor.placed.images[:count].copy_(torch.from_numpy(images))
            if table is not None and self.predictor.table is not None:
                self.predictor.table[:count].copy_(torch.from_numpy(table))
            return self.predictor.logits_at(self.rows[:count]).cpu().numpy()

    def _computing(self) -> AbstractContextManager[None]:
        return computing(self.restored.device, self.restored.recipe.precision)
