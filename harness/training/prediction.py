"""Logits of a split, each image once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from harness.components import Data, Recipe, Task
from harness.data.augmentation import evaluation_views
from harness.data.placement import Placed
from harness.evaluation.predictions import Predictions
from harness.evaluation.subgroups import find_groups
from harness.training.capture import NotCapturableError, capture, find_obstacle, side_stream
from harness.training.compilation import Forward, compile_network
from harness.training.engine import EngineOptions, Execution, decide_graph
from harness.training.memory import is_out_of_memory, release
from harness.training.numerics import Numerics
from harness.training.setup import beside
from harness.training.timer import wait_for

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

BATCH = {"cuda": 512, "cpu": 256}
"""Images at a time: evaluation keeps no gradients, so it can take more than training."""


def make_predictions(data: Data, index: NDArray[np.intp], logits: NDArray[np.float32]) -> Predictions:
    """Logits (n, C) of the images at `index` (n,), with what is known of them."""
    table, studies = data.table, data.studies
    return Predictions(
        labels=data.labels,
        image=table["image"].to_numpy(dtype=str)[index],
        patient=table["patient"].to_numpy(dtype=str)[index],
        logits=logits,
        targets=data.targets[index],
        patients_known=data.patients_known,
        study=None if studies is None else studies[index],
        columns={name: values[index] for name, values in find_groups(data).items()},
    )


class Predictor:
    """Predicts with a network, whose weights may change in between; compiled where training is, on CUDA captured."""

    def __init__(
        self,
        network: nn.Module,
        placed: Placed,
        recipe: Recipe,
        task: Task,
        numerics: Numerics,
        engine: EngineOptions,
        execution: Execution,
        table: Tensor | None = None,
        width: int | None = None,
    ) -> None:
        """`width` is how many numbers the network gives of an image, where that is not a logit a label."""
        self.network, self.placed, self.recipe, self.task, self.numerics = network, placed, recipe, task, numerics
        self.engine, self.execution, self.table = engine, execution, table
        self.width = len(task.labels) if width is None else width
        self.batch = BATCH[placed.device.type]
        self.forward: Forward = network
        self.graph: torch.cuda.CUDAGraph | None = None
        self.prepared = False

    def logits(self, split: str) -> Tensor:
        """(n, C) float32 on the device, in the order of the split's indices, by the network in evaluation mode."""
        return self.logits_at(self.placed.splits[split])

    def logits_at(self, index: Tensor) -> Tensor:
        """(n, C) float32 on the device, of the images at `index` (n,), by the network in evaluation mode."""
        self.network.eval()
        while True:
            try:
                return self._predict(index)
            except Exception as error:
                if not is_out_of_memory(error) or self.batch == 1:
                    raise
            self.batch, self.graph, self.prepared = self.batch // 2, None, False
            release()

    def predictions(self, split: str) -> Predictions:
        """What the network says of every image of a split."""
        index = self.placed.splits[split].cpu().numpy()
        return make_predictions(self.placed.data, index, self.logits(split).cpu().numpy())

    @torch.no_grad()
    def _predict(self, index: Tensor) -> Tensor:
        if not self.prepared:
            self._prepare()
        logits = torch.empty((len(index), self.width), device=self.placed.device)  # (n, C)
        first = 0
        for chosen, images in self.placed.batches(index.split(self.batch)):
            logits[first : first + len(chosen)] = self._run_batch(chosen, images)
            first += len(chosen)
        return logits

    def _run_batch(self, index: Tensor, images: Tensor | None) -> Tensor:
        """Logits (b, C) of at most a batch; what is compiled or captured runs a whole one, whose last rows may be an
        old batch's.
        """
        if not len(self.index):
            return self._run(index, images, self.forward)
        self.index[: len(index)] = index
        if images is not None:
            self.images[: len(index)] = images
        if self.graph is None:
            self._run_buffers(self.forward)
        else:
            self.graph.replay()
        return self.output[: len(index)]

    def _run_buffers(self, forward: Forward) -> None:
        self.output.copy_(self._run(self.index, None if self.placed.resident else self.images, forward))

    def _run(self, index: Tensor, images: Tensor | None, forward: Forward) -> Tensor:
        if images is None:
            images = self.placed.images.index_select(0, index)  # (b, S, S)
        mirrors = self.placed.data.mirrors
        with self.numerics.autocast():
            views = [
                forward(self.numerics.arrange(view), *beside(self.table, index)).float()  # (b, C)
                for view in evaluation_views(images, self.recipe, self.task, mirrors=mirrors)
            ]
        return views[0] if len(views) == 1 else torch.stack(views).mean(dim=0)  # (views, b, C) -> (b, C)

    # --- once, before the first prediction -------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Compile and capture, as far as the training's step was compiled and the engine is told to capture."""
        started, device = time.perf_counter(), self.placed.device
        captured = decide_graph(self.engine, device)
        self._make_buffers(self.batch if captured or self.execution.compiled else 0)
        with side_stream(device):
            if self.execution.compiled:
                asked = self.engine.compile == "on"
                self.forward, obstacle = compile_network(self.network, self._run_buffers, asked=asked)
                self._note("compiled", obstacle)
            if captured:
                self._note("captured in a CUDA graph", self._capture())
        if self.graph is None and self.forward is self.network:
            self._make_buffers(0)  # nothing asks for whole batches
        wait_for(device)
        self.prepared = True
        self.execution.preparation_seconds += time.perf_counter() - started

    def _make_buffers(self, batch: int) -> None:
        """What a graph reads and writes, always at the same place."""
        device, shape = self.placed.device, self.placed.images.shape[1:]
        self.index = torch.zeros(batch, dtype=torch.int64, device=device)
        streamed = 0 if self.placed.resident else batch
        self.images = torch.zeros((streamed, *shape), dtype=torch.uint8, device=device)
        self.output = torch.zeros((batch, self.width), device=device)

    def _capture(self) -> str | None:
        """Capture the prediction of one batch; gives why it cannot be, where it cannot."""
        device = self.placed.device
        obstacle = find_obstacle(lambda: self._run_buffers(self.network), device)
        if obstacle is None:
            try:
                self.graph = capture(lambda: self._run_buffers(self.forward), device, lambda: None)
            except NotCapturableError as error:
                return str(error)
        return obstacle

    def _note(self, what: str, obstacle: str | None) -> None:
        note = f"prediction could not be {what}: {obstacle}"
        if obstacle is not None and note not in self.execution.notes:  # tried again with smaller batches
            self.execution.notes.append(note)
