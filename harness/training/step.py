"""One step of the optimizer, from a batch's indices to moved weights, all of it on the device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from harness.data.augmentation import training_view
from harness.errors import NotFiniteError, PluginError
from harness.training.capture import NotCapturableError, capture, find_obstacle
from harness.training.numerics import Numerics
from harness.training.setup import Setup
from harness.training.state import TrainingState

if TYPE_CHECKING:
    from torch import Tensor


class Step:
    """The step; eager, or after `capture` one graph of fixed batch size.

    Nothing in it waits for the device, where the loss is summed up and the first loss that is no number is noted.
    """

    def __init__(
        self,
        setup: Setup,
        state: TrainingState,
        numerics: Numerics,
        forward: Callable[[Tensor], Tensor],
        see: Callable[[Tensor, Tensor | None], Tensor] | None = None,
    ) -> None:
        device = setup.placed.device
        self.setup, self.state, self.numerics, self.forward = setup, state, numerics, forward
        self.given = see
        """What the network is to see, where that is no view of the batch at hand; None: see `see`."""
        self.micro_batch: int | None = None
        self.epoch = torch.zeros((), dtype=torch.int64, device=device)
        self.done = torch.zeros((), dtype=torch.int64, device=device)
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self.first_bad = torch.full((), -1, dtype=torch.int64, device=device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: tuple[Tensor, Tensor | None] | None = None

    def __call__(self, index: Tensor, images: Tensor | None) -> None:
        """Train on the images (B, S, S) uint8 at `index` (B,); without `images`, on those that are resident."""
        if self.graph is None or self.inputs is None:
            self._run(index, images)
            return
        for fixed, given in zip(self.inputs, (index, images), strict=True):
            if fixed is not None and given is not None:
                fixed.copy_(given)
        self.graph.replay()

    def see(self, index: Tensor, images: Tensor | None) -> Tensor:
        """Return what the network sees of a batch, from its indices, and its images where they are streamed."""
        if self.given is not None:
            return self.given(index, images)
        placed, setup = self.setup.placed, self.setup
        if images is None:
            images = placed.images.index_select(0, index)  # (B, S, S)
        mirrors = placed.data.mirrors
        return training_view(images, setup.recipe, setup.task, mirrors=mirrors, generator=self.state.generator)

    def start_epoch(self, number: int) -> None:
        """Begin an epoch: its steps are counted from 0."""
        self.epoch.fill_(number)
        for counter, first in ((self.done, 0), (self.loss_sum, 0), (self.first_bad, -1)):
            counter.fill_(first)

    def mean_loss(self) -> float:
        """Return the mean loss of the epoch's steps so far; waits for the device.

        Raises `NotFiniteError` with the first bad step.
        """
        total, done, bad = float(self.loss_sum), int(self.done), int(self.first_bad)
        if bad >= 0 or not math.isfinite(total):
            raise NotFiniteError(
                f"the training loss stopped being a number in epoch {int(self.epoch)}, step {bad + 1}; "
                "try a lower recipe.lr"
            )
        return total / max(1, done)

    def require_finite_weights(self) -> None:
        """Raise `NotFiniteError` where a weight has become infinite or NaN; waits for the device."""
        weights = [parameter.detach() for parameter in self.state.parameters()]
        if not bool(torch.stack(torch._foreach_norm(weights)).isfinite().all()):  # noqa: SLF001 - one launch for all
            raise NotFiniteError(
                f"a weight stopped being a number by epoch {int(self.epoch)}, step {int(self.done)}; "
                "try a lower recipe.lr"
            )

    def capture(self, index: Tensor, rewind: Callable[[], None]) -> str | None:
        """Make one CUDA graph of the step, for batches as long as `index`; gives why it cannot be, where it cannot."""
        placed = self.setup.placed
        self.drop_graph()
        shape = (len(index), *placed.images.shape[1:])
        images = None if placed.resident else torch.zeros(shape, dtype=torch.uint8, device=placed.device)
        inputs = (index.clone(), images)
        try:
            obstacle = find_obstacle(lambda: self._run(*inputs, forward=self.setup.network), placed.device)
        finally:
            rewind()
        if obstacle is not None:
            return obstacle
        try:
            self.graph = capture(lambda: self._run(*inputs), placed.device, rewind, [self.state.generator])
        except NotCapturableError as error:
            return str(error)
        self.inputs = inputs
        return None

    def drop_graph(self) -> None:
        """Let go of the captured graph, which holds on to its memory; steps are eager again."""
        self.graph = self.inputs = None

    def try_gradients(self, count: int) -> None:
        """Compute gradients of `count` images as a step would, and forget them: does the memory suffice?"""
        index = self.setup.placed.splits["train"][:count]
        images = self.setup.placed.images[index.to(self.setup.placed.images.device)].to(self.setup.placed.device)
        self._accumulate(index, images, None, self.setup.network)
        self.state.optimizer.zero_grad(set_to_none=True)

    def _run(self, index: Tensor, images: Tensor | None, forward: Callable[[Tensor], Tensor] | None = None) -> None:
        state, recipe = self.state, self.setup.recipe
        state.optimizer.zero_grad(set_to_none=True)
        loss = self._accumulate(index, images, self.micro_batch, forward or self.forward)
        if recipe.gradient_clip is not None:
            state.scaler.unscale_(state.optimizer)
            torch.nn.utils.clip_grad_norm_(state.parameters(), recipe.gradient_clip)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if state.average is not None:
            state.average.update()
        newly_bad = ~loss.isfinite() & (self.first_bad < 0)  # stays on the device, so that no step waits for it
        self.first_bad.copy_(torch.where(newly_bad, self.done, self.first_bad))
        self.loss_sum += loss
        self.done += 1

    def _accumulate(
        self, index: Tensor, images: Tensor | None, micro_batch: int | None, forward: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Add up the gradients of a batch, part by part; gives its loss ()."""
        setup, placed = self.setup, self.setup.placed
        targets = placed.targets.index_select(0, index)  # (B, C)
        known = None if placed.known is None else placed.known.index_select(0, index)
        smoothing = setup.recipe.label_smoothing
        if smoothing:
            targets = targets * (1 - smoothing) + smoothing / 2
        view = self.see(index, images)  # (B, K, H, W)
        # the gradients of parts add up to the batch's, since each part's loss is its share in the batch's mean
        part = micro_batch or len(index)
        whole = None if part == len(index) else targets.numel() if known is None else known.sum().clamp(min=1)
        total = torch.zeros((), device=placed.device)
        for first in range(0, len(index), part):
            chosen = slice(first, first + part)
            with self.numerics.autocast():
                logits = forward(self.numerics.arrange(view[chosen]))  # (part, C)
            if logits.shape != targets[chosen].shape:
                raise PluginError(
                    f"the network must give logits {tuple(targets[chosen].shape)}, one a label, got "
                    f"{tuple(logits.shape)}"
                )
            offered = {"epoch": self.epoch, "index": index[chosen]}
            loss = setup.objective(logits, targets[chosen], None if known is None else known[chosen], offered, whole)
            self.state.scaler.scale(loss).backward()
            total = total + loss.detach()
        return total
