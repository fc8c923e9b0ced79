"""Heat maps: where in an image a network's answer about a label comes from.

Grad-CAM and integrated gradients are a few lines each and are written here. The libraries that have them (grad-cam,
captum) bring OpenCV and matplotlib, work image by image on the host, and know neither a table beside images nor the
views of `Recipe.evaluate_at`. A test holds Grad-CAM against gradients by hand.

Letters in shapes: B images, C labels, K channels, W features, h and w places of a layer, F the frame's side in pixels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from harness.components import Recipe, Task
from harness.data.augmentation import WHOLE, evaluation_views, list_views
from harness.training.map_layer import as_grid, find_layer

if TYPE_CHECKING:
    from torch import Tensor, nn

Method = Literal["grad-cam", "integrated-gradients"]
METHODS: dict[Method, str] = {
    "grad-cam": "the deepest layer with a fine enough grid, its features weighed by their mean gradients",
    "integrated-gradients": "pixels times their gradients, along the way from a black image to this one",
}
"""Ways to make a heat map, and what each is in words."""
STEPS = 32
"""Images between a black one and the given one, over which gradients are averaged."""
BATCH = 32
"""Images at a time: a map needs gradients, which take several times the memory of a prediction."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Explainer:
    """Makes heat maps by a network in evaluation mode, in float32, on the device that it is on."""

    network: nn.Module
    task: Task
    recipe: Recipe
    mirrors: bool
    """Whether the dataset's images keep their labels when they are mirrored, as views of `evaluate_at` may be."""
    layer: str
    """The module whose output Grad-CAM weighs."""
    method: Method = "grad-cam"

    @classmethod
    def of(
        cls,
        network: nn.Module,
        task: Task,
        recipe: Recipe,
        *,
        mirrors: bool,
        map_layer: str = "",
        method: Method = "grad-cam",
    ) -> Explainer:
        """An explainer at the layer that the model names (`Model.map_layer`), or at the one that suits best.

        Raises `PluginError` where the model names a layer that has no places, or none is found.
        """
        network.eval()
        layer = find_layer(network, task, map_layer) if method == "grad-cam" else ""
        return cls(network=network, task=task, recipe=recipe, mirrors=mirrors, layer=layer, method=method)

    def explain(self, images: Tensor, labels: Sequence[int], table: Tensor | None = None) -> Tensor:
        """Maps (B, F, F) float32, at least 0: where logit `labels[i]` of image i comes from.

        `images` are (B, S, S) uint8 on the network's device, `table` (B, ...) what the network gets beside them. A map
        is of the whole image: F is `recipe.size`, or `recipe.load_size` where the network sees crops; the maps of
        several views are put where they belong and averaged where they overlap, and what no view shows is 0.
        """
        chosen = torch.tensor(labels, device=images.device)
        parts = zip(
            images.split(BATCH),
            chosen.split(BATCH),
            [None] * len(images) if table is None else table.split(BATCH),
            strict=False,
        )
        return torch.cat([self._explain_batch(*part) for part in parts])

    def _explain_batch(self, images: Tensor, labels: Tensor, table: Tensor | None) -> Tensor:
        size, places = self.recipe.size, list_views(self.recipe, images.shape[-1], mirrors=self.mirrors)
        side = size if self.recipe.evaluate_at in WHOLE else images.shape[-1]
        total = torch.zeros(len(images), side, side, device=images.device)
        seen = torch.zeros(side, side, device=images.device)
        given = () if table is None else (table,)
        make = self._weigh_features if self.method == "grad-cam" else self._integrate
        views = evaluation_views(images, self.recipe, self.task, mirrors=self.mirrors)
        for view, (top, left, mirrored) in zip(views, places, strict=True):
            found = _enlarge(make(view.contiguous(), labels, given), size)
            frame = torch.zeros_like(total)
            frame[:, top : top + size, left : left + size] = found
            shown = torch.zeros_like(seen)
            shown[top : top + size, left : left + size] = 1
            total += frame.flip(-1) if mirrored else frame
            seen += shown.flip(-1) if mirrored else shown
        return total / seen.clamp(min=1)

    def _weigh_features(self, view: Tensor, labels: Tensor, given: tuple[Tensor, ...]) -> Tensor:
        """Grad-CAM (B, h, w): the layer's features, each weighed by the mean of its gradient over places; what speaks
        against the label is cut off (Selvaraju et al. 2017, arXiv 1610.02391).
        """
        kept: list[Tensor] = []

        def keep(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            torch.set_grad_enabled(True)  # from here on; `no_grad` below ends it
            kept[:] = [output.detach().requires_grad_()]
            return kept[0].clone()  # what follows may write into it

        with torch.no_grad(), _hooked(self.network.get_submodule(self.layer), keep):
            logits = self.network(view, *given).float()
            (gradient,) = torch.autograd.grad(_choose(logits, labels), kept[0])
        features, slopes = as_grid(kept[0].detach()), as_grid(gradient)  # (B, W, h, w)
        assert features is not None  # find_layer has seen to it
        assert slopes is not None
        return (slopes.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1).relu().float()

    def _integrate(self, view: Tensor, labels: Tensor, given: tuple[Tensor, ...]) -> Tensor:
        """Integrated gradients (B, size, size) from a black image, their sum over channels without its sign
        (Sundararajan et al. 2017, arXiv 1703.01365). It needs no layer, and so fits every network.
        """
        mean, std = (torch.tensor(values, device=view.device).view(1, -1, 1, 1) for values in self._normalization())
        black = (-mean / std).expand_as(view)
        total = torch.zeros_like(view)
        for step in range(STEPS):
            between = torch.lerp(black, view, (step + 0.5) / STEPS).requires_grad_()
            total += torch.autograd.grad(_choose(self.network(between, *given).float(), labels), between)[0]
        return ((view - black) * total / STEPS).sum(dim=1).abs()

    def _normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.task.mean, self.task.std


def _choose(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum over images of the logit that each is about: images do not mix, so that gradients are each image's."""
    return logits.gather(1, labels.unsqueeze(1)).sum()


def _enlarge(maps: Tensor, size: int) -> Tensor:
    """Maps (B, h, w) at (B, size, size), bilinear."""
    if maps.shape[-1] == size:
        return maps
    return torch.nn.functional.interpolate(
        maps.unsqueeze(1), size=(size, size), mode="bilinear", align_corners=False
    ).squeeze(1)


@contextlib.contextmanager
def _hooked(module: nn.Module, hook: Callable[..., Tensor]) -> Iterator[None]:
    """Hold while a module's output is handed to a function, whose answer takes its place."""
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
