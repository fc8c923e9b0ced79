"""Logits of a split, each image once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from harness.components import Recipe, Task
from harness.data.augmentation import evaluation_views
from harness.data.placement import Placed
from harness.evaluation.predictions import Predictions
from harness.evaluation.subgroups import find_groups
from harness.training.capture import NotCapturableError, capture, find_obstacle
from harness.training.memory import is_out_of_memory, release
from harness.training.numerics import Numerics

if TYPE_CHECKING:
    from torch import Tensor, nn

BATCH = {"cuda": 512, "cpu": 256}
"""Images at a time: evaluation keeps no gradients, so it can take more than training."""


class Predictor:
    """Predicts with a network, whose weights may change in between; on CUDA as one captured graph."""

    def __init__(
        self, network: nn.Module, placed: Placed, recipe: Recipe, task: Task, numerics: Numerics, *, graphs: bool
    ) -> None:
        self.network, self.placed, self.recipe, self.task, self.numerics = network, placed, recipe, task, numerics
        self.graphs = graphs and placed.device.type == "cuda"
        self.batch = BATCH[placed.device.type]
        self.graph: torch.cuda.CUDAGraph | None = None
        self.note: str | None = None
        """Why prediction is not captured, where it should be."""
        self._make_buffers()

    def logits(self, split: str) -> Tensor:
        """(n, C) float32 on the device, in the order of the split's indices, by the network in evaluation mode."""
        self.network.eval()
        while True:
            try:
                return self._predict(self.placed.splits[split])
            except Exception as error:
                if not is_out_of_memory(error) or self.batch == 1:
                    raise
            self.batch, self.graph = self.batch // 2, None
            release()
            self._make_buffers()

    def predictions(self, split: str) -> Predictions:
        """What the network says of every image of a split."""
        index = self.placed.splits[split].cpu().numpy()
        table = self.placed.data.table
        return Predictions(
            labels=self.placed.data.labels,
            image=table["image"].to_numpy(dtype=str)[index],
            patient=table["patient"].to_numpy(dtype=str)[index],
            logits=self.logits(split).cpu().numpy(),
            targets=self.placed.data.targets[index],
            columns={name: values[index] for name, values in find_groups(self.placed.data).items()},
        )

    def _make_buffers(self) -> None:
        """What a graph reads and writes, always at the same place."""
        device, shape = self.placed.device, self.placed.images.shape[1:]
        captured = self.batch if self.graphs else 0
        self.index = torch.zeros(captured, dtype=torch.int64, device=device)
        streamed = 0 if self.placed.resident else captured
        self.images = torch.zeros((streamed, *shape), dtype=torch.uint8, device=device)
        self.output = torch.zeros((captured, len(self.task.labels)), device=device)

    @torch.no_grad()
    def _predict(self, index: Tensor) -> Tensor:
        found = torch.empty((len(index), len(self.task.labels)), device=self.placed.device)
        if self.graphs and self.graph is None:
            self._capture()
        first = 0
        for chosen, images in self.placed.batches(index.split(self.batch)):
            found[first : first + len(chosen)] = self._run_batch(chosen, images)
            first += len(chosen)
        return found

    def _run_batch(self, index: Tensor, images: Tensor | None) -> Tensor:
        """Logits (b, C) of at most a batch; a graph runs a whole one, whose last rows may be an old batch's."""
        if self.graph is None:
            return self._run(index, images)
        self.index[: len(index)] = index
        if images is not None:
            self.images[: len(index)] = images
        self.graph.replay()
        return self.output[: len(index)]

    def _run(self, index: Tensor, images: Tensor | None) -> Tensor:
        if images is None:
            images = self.placed.images.index_select(0, index)
        mirrors = self.placed.data.mirrors
        with self.numerics.autocast():
            views = [
                self.network(self.numerics.arrange(view)).float()
                for view in evaluation_views(images, self.recipe, self.task, mirrors=mirrors)
            ]
        return views[0] if len(views) == 1 else torch.stack(views).mean(dim=0)

    def _capture(self) -> None:
        def body() -> None:
            self.output.copy_(self._run(self.index, None if self.placed.resident else self.images))

        self.note = find_obstacle(body)
        if self.note is None:
            try:
                self.graph = capture(body, self.placed.device, lambda: None)
            except NotCapturableError as error:
                self.note = str(error)
        self.graphs = self.note is None
