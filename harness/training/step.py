"""One step of the optimizer, from a batch's indices to moved weights, all of it on the device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import torch

from harness.data.augmentation import training_view
from harness.errors import NotFiniteError, PluginError
from harness.training.capture import NotCapturableError, capture, find_obstacle
from harness.training.compilation import Forward, compile_network
from harness.training.numerics import Numerics
from harness.training.setup import Setup, beside
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
        micro_batch: int | None = None,
        forward: Forward | None = None,
        view: Tensor | None = None,
    ) -> None:
        """Make the step of a training; without `forward` by the network as it is.

        Each batch is computed in parts of `micro_batch` images, where that is given. With a `view` (B, K, H, W) the
        network sees that in place of every batch.
        """
        device = setup.placed.device
        self.setup: Final = setup
        self.state: Final = state
        self._numerics = numerics
        self._micro_batch = micro_batch
        self._forward: Forward = setup.network if forward is None else forward
        self._view = view
        self._epoch = torch.zeros((), dtype=torch.int64, device=device)
        self._done = torch.zeros((), dtype=torch.int64, device=device)
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self._first_bad = torch.full((), -1, dtype=torch.int64, device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, Tensor | None] | None = None

    def __call__(self, index: Tensor, images: Tensor | None) -> None:
        """Train on the images (B, S, S) uint8 at `index` (B,); without `images`, on those that are resident."""
        if self._graph is None or self._inputs is None:
            self._run(index, images)
            return
        for fixed, given in zip(self._inputs, (index, images), strict=True):
            if fixed is not None and given is not None:
                fixed.copy_(given)
        self._graph.replay()

    def fix_view(self, index: Tensor, images: Tensor | None) -> Step:
        """Return an eager step like this one whose network always sees what it sees of this batch now.

        Its time is that of a step which augments nothing.
        """
        view = self._see(index, images).clone()
        return Step(self.setup, self.state, self._numerics, self._micro_batch, self._forward, view)

    def split_batches(self, micro_batch: int) -> None:
        """Compute each batch in parts of so many images from now on."""
        self._micro_batch = micro_batch

    def start_epoch(self, number: int) -> None:
        """Begin an epoch: its steps are counted from 0."""
        self._epoch.fill_(number)
        for counter, first in ((self._done, 0), (self._loss_sum, 0), (self._first_bad, -1)):
            counter.fill_(first)

    def mean_loss(self) -> float:
        """Return the mean loss of the epoch's steps so far; waits for the device.

        Raises `NotFiniteError` with the first bad step.
        """
        total, done, bad = float(self._loss_sum), int(self._done), int(self._first_bad)
        if bad >= 0 or not math.isfinite(total):
            raise NotFiniteError(
                f"the training loss stopped being a number in epoch {int(self._epoch)}, step {bad + 1}; "
                "try a lower recipe.lr"
            )
        return total / max(1, done)

    def require_finite_weights(self) -> None:
        """Raise `NotFiniteError` where a weight has become infinite or NaN; waits for the device."""
        weights = [parameter.detach() for parameter in self.state.parameters()]
        if not bool(torch.stack(torch._foreach_norm(weights)).isfinite().all()):  # noqa: SLF001 - one launch for all
            raise NotFiniteError(
                f"a weight stopped being a number by epoch {int(self._epoch)}, step {int(self._done)}; "
                "try a lower recipe.lr"
            )

    def compile(self, index: Tensor, rewind: Callable[[], None]) -> str | None:
        """Compile the network by a step on the batch at `index`; gives why it cannot be, where it cannot.

        Raises `PluginError` where the user asked for compiling.
        """

        def attempt(forward: Forward) -> None:
            self._forward = forward
            self(index, images)

        setup, images = self.setup, self._fetch(index)
        try:
            self._forward, obstacle = compile_network(setup.network, attempt, asked=setup.engine.compile == "on")
        finally:
            rewind()
        return obstacle

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
            self._graph = capture(lambda: self._run(*inputs), placed.device, rewind, [self.state.generator])
        except NotCapturableError as error:
            return str(error)
        self._inputs = inputs
        return None

    def drop_graph(self) -> None:
        """Let go of the captured graph, which holds on to its memory; steps are eager again."""
        self._graph = self._inputs = None

    def try_gradients(self, count: int) -> None:
        """Compute gradients of `count` images as a step would, and forget them: does the memory suffice?"""
        index = self.setup.placed.splits["train"][:count]
        self._accumulate(index, self._fetch(index), None, self.setup.network)
        self.state.optimizer.zero_grad(set_to_none=True)

    def _fetch(self, index: Tensor) -> Tensor:
        """Return the images (B, S, S) at `index` on the device, wherever they lie."""
        placed = self.setup.placed
        return placed.images[index.to(placed.images.device)].to(placed.device)

    def _see(self, index: Tensor, images: Tensor | None) -> Tensor:
        """Return what the network sees of a batch, from its indices, and its images where they are streamed."""
        if self._view is not None:
            return self._view
        placed, setup = self.setup.placed, self.setup
        if images is None:
            images = placed.images.index_select(0, index)  # (B, S, S)
        mirrors = placed.data.mirrors
        return training_view(images, setup.recipe, setup.task, mirrors=mirrors, generator=self.state.generator)

    def _run(self, index: Tensor, images: Tensor | None, forward: Forward | None = None) -> None:
        state, recipe = self.state, self.setup.recipe
        state.optimizer.zero_grad(set_to_none=True)
        loss = self._accumulate(index, images, self._micro_batch, forward or self._forward)
        if recipe.gradient_clip is not None:
            state.scaler.unscale_(state.optimizer)
            torch.nn.utils.clip_grad_norm_(state.parameters(), recipe.gradient_clip)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if state.average is not None:
            state.average.update()
        newly_bad = ~loss.isfinite() & (self._first_bad < 0)  # stays on the device, so that no step waits for it
        self._first_bad.copy_(torch.where(newly_bad, self._done, self._first_bad))
        self._loss_sum += loss
        self._done += 1

    def _accumulate(self, index: Tensor, images: Tensor | None, micro_batch: int | None, forward: Forward) -> Tensor:
        """Add up the gradients of a batch, part by part; gives its loss ()."""
        setup, placed = self.setup, self.setup.placed
        targets = placed.targets.index_select(0, index)  # (B, C)
        known = None if placed.known is None else placed.known.index_select(0, index)
        smoothing = setup.recipe.label_smoothing
        if smoothing:
            targets = targets * (1 - smoothing) + smoothing / 2
        view = self._see(index, images)  # (B, K, H, W)
        # the gradients of parts add up to the batch's, since each part's loss is its share in the batch's mean
        part = micro_batch or len(index)
        whole = None if part == len(index) else targets.numel() if known is None else known.sum().clamp(min=1)
        total = torch.zeros((), device=placed.device)
        for first in range(0, len(index), part):
            chosen = slice(first, first + part)
            with self._numerics.autocast():
                logits = forward(self._numerics.arrange(view[chosen]), *beside(setup.table, index[chosen]))  # (part, C)
            if logits.shape != targets[chosen].shape:
                raise PluginError(
                    f"the network must give logits {tuple(targets[chosen].shape)}, one for each label, got "
                    f"{tuple(logits.shape)}"
                )
            offered = {"epoch": self._epoch, "index": index[chosen]}
            loss = setup.objective(logits, targets[chosen], None if known is None else known[chosen], offered, whole)
            self.state.scaler.scale(loss).backward()
            total = total + loss.detach()
        return total
