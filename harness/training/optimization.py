"""From a recipe to an optimizer, and a moving average of what it makes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from harness.components import Recipe

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer


def make_optimizer(recipe: Recipe, parameters: Iterable[nn.Parameter], rate: Tensor) -> Optimizer:
    """Adam, AdamW or SGD with momentum, fused; `rate` () float32 on the parameters' device holds its learning rate.

    The rate is a tensor so that a captured step reads it each time. Parameters that do not require a gradient now are
    taken, too: those whose gradient is None stay as they are.
    """
    common: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "fused": True}
    adam = common | {"betas": tuple(recipe.betas), "capturable": rate.is_cuda}
    makers: dict[str, Callable[..., Optimizer]] = {
        "adam": lambda trained: torch.optim.Adam(trained, **adam),
        "adamw": lambda trained: torch.optim.AdamW(trained, **adam),
        "sgd": lambda trained: torch.optim.SGD(trained, momentum=recipe.momentum, **common),
    }
    optimizer = makers[recipe.optimizer](list(parameters))
    optimizer.param_groups[0]["lr"] = rate
    if recipe.optimizer == "sgd" and recipe.momentum:
        # torch's fused step cannot bear parameters with and without one, which thawing a network makes
        for parameter in optimizer.param_groups[0]["params"]:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


class Average:
    """An exponential moving average of a network's weights and statistics, as a network of its own."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(requires_grad=False).eval()
        self.decay = decay
        self.updates = torch.zeros((), device=next(network.parameters()).device)
        pairs = list(zip(self.network.state_dict().values(), network.state_dict().values(), strict=True))
        self.floating = [(mine, new) for mine, new in pairs if mine.is_floating_point()]
        self.counting = [(mine, new) for mine, new in pairs if not mine.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the network by 1 - min(decay, (1 + n) / (10 + n)), n the updates before; integers are copied."""
        keep = ((1 + self.updates) / (10 + self.updates)).clamp(max=self.decay)
        mine, new = [old for old, _ in self.floating], [given for _, given in self.floating]
        torch._foreach_mul_(mine, keep)
        torch._foreach_add_(mine, torch._foreach_mul(new, 1 - keep))  # noqa: SLF001 - one launch for all
        for old, given in self.counting:
            old.copy_(given)
        self.updates += 1
