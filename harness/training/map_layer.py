"""The layer of a network whose features a heat map is made of: found by what it does, not by its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from harness.components import Task
from harness.errors import PluginError

if TYPE_CHECKING:
    from torch import Tensor, nn

CELLS = 7
"""Cells along a side that a grid should have: with fewer, a map cannot tell the parts of a lung apart."""
MOST_PREFIX = 8
"""Tokens before those of the image's places, such as the class token, at most."""
SAME = 1e-3
"""The share of two images' difference in logits below which a layer has taken all of it."""


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a module gave in one pass."""

    name: str
    module: nn.Module
    output: Tensor
    cells: int


def as_grid(output: Tensor) -> Tensor | None:
    """A layer's output as (B, W, h, w) with h = w: of a convolution, of tokens (B, T, W) or (B, h, w, W), whose first
    tokens beyond a square number belong to no place; None for anything without places.
    """
    if output.ndim == 4:
        if output.shape[2] == output.shape[3]:
            return output
        return output.permute(0, 3, 1, 2) if output.shape[1] == output.shape[2] else None
    if output.ndim != 3:
        return None
    side = int(output.shape[1] ** 0.5)
    prefix = output.shape[1] - side * side
    if prefix > MOST_PREFIX:
        return None
    tokens = output[:, prefix:].transpose(1, 2)
    return tokens.reshape(*tokens.shape[:2], side, side)


def find_layer(network: nn.Module, task: Task, named: str = "") -> str:
    """Find the module that a heat map is made of, in a network in evaluation mode, or check the one that is `named`.

    It is the deepest one with a grid of at least 7 x 7 cells, or else the finest grid that there is, through which all
    goes that the network knows of an image: when two images are given the same there, their logits are the same. A
    branch beside a shortcut is none, nor is a layer of tokens of which the class token alone is used after it. Raises
    `PluginError` where there is none.
    """
    images, given = _make_images(network, task)
    seen, logits = _watch(network, images, given)
    if named:
        if all(one.name != named for one in seen):
            raise PluginError(
                f"the model names '{named}' as its map_layer, and the network has no module of that name whose output "
                f"is a square grid of places, called once; name one of {', '.join(one.name for one in seen[-3:])}"
            )
        return named
    difference = _differ(logits.detach())
    depth = {one.name: place for place, one in enumerate(seen)}
    for one in sorted(seen, key=lambda one: (min(one.cells, CELLS), depth[one.name]), reverse=True):
        if _reaches_places(one, logits) and _takes_all(one, network, images, given, difference):
            return one.name
    raise PluginError(
        "no layer of this network has a grid of places through which all goes that it knows of an image, so that no "
        "Grad-CAM can be made; name one by Model(map_layer=...), or take --method integrated-gradients"
    )


def _make_images(network: nn.Module, task: Task) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Two images of noise (2, K, size, size), and a table (2, F, 2) that says nothing where the network gets one."""
    device = next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
    noise = torch.randn(2, task.channels, task.size, task.size, generator=torch.Generator().manual_seed(0))
    given = (torch.zeros(2, len(task.table), 2, device=device),) if task.table else ()
    return noise.to(device), given


def _watch(network: nn.Module, images: Tensor, given: tuple[Tensor, ...]) -> tuple[list[_Seen], Tensor]:
    """The modules that are called once and give a grid of places, in the order in which they are done; the logits."""
    calls: list[_Seen] = []
    times: dict[str, int] = {}

    def watch(name: str, module: nn.Module) -> Any:
        def keep(_: nn.Module, inputs: object, output: object) -> None:
            times[name] = times.get(name, 0) + 1
            grid = as_grid(output) if isinstance(output, torch.Tensor) else None
            if grid is not None and grid.shape[-1] > 1 and isinstance(output, torch.Tensor):
                calls.append(_Seen(name, module, output, grid.shape[-1]))

        return module.register_forward_hook(keep)

    handles = [watch(name, module) for name, module in network.named_modules() if name]
    try:
        with torch.enable_grad():
            logits = network(images, *given).float()
    finally:
        for handle in handles:
            handle.remove()
    return [one for one in calls if times[one.name] == 1], logits


def _reaches_places(one: _Seen, logits: Tensor) -> bool:
    """Whether the logits depend on several places of a module's output, and not on a token beside them alone."""
    if not one.output.requires_grad:
        return False
    (gradient,) = torch.autograd.grad(logits.square().sum(), one.output, retain_graph=True, allow_unused=True)
    grid = None if gradient is None else as_grid(gradient[:1])
    return grid is not None and int((grid.abs().amax(dim=1) > 0).sum()) > 1


def _takes_all(one: _Seen, network: nn.Module, images: Tensor, given: tuple[Tensor, ...], difference: float) -> bool:
    """Whether two images have the same logits once the module's output is the same for both."""

    def share(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        return output[:1].expand_as(output).clone()

    handle = one.module.register_forward_hook(share)
    try:
        with torch.no_grad():
            logits = network(images, *given).float()
    finally:
        handle.remove()
    return _differ(logits) <= SAME * difference


def _differ(logits: Tensor) -> float:
    """How far apart the logits of two images are at most."""
    return float((logits[0] - logits[1]).abs().max())
