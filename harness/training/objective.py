"""The training objective: a plugin's loss over the targets that are known."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from harness.components import Loss, LossFn, Task
from harness.errors import PluginError

if TYPE_CHECKING:
    from torch import Tensor

OFFERED_TO_LOSSES = ("epoch", "index")
"""What a loss gets when it names it as a keyword-only argument, as int64 tensors on the device: the epoch () from 1,
and the images' indices (B,)."""


@dataclass(frozen=True)
class Objective:
    """A loss made ready for one training."""

    loss: Loss
    function: LossFn
    wants: tuple[str, ...]

    def __call__(
        self,
        logits: Tensor,
        targets: Tensor,
        known: Tensor | None,
        offered: Mapping[str, Any],
        whole: Tensor | int | None = None,
    ) -> Tensor:
        """The mean over the known targets of the batch, a scalar.

        Of a part of a batch that is trained in parts, its share in that mean: `whole` is the number of known targets
        in all parts. Raises `PluginError` where the loss gives another shape than it declares.
        """
        values = self.function(logits.float(), targets, **{name: offered[name] for name in self.wants})  # (B, C) or ()
        expected = () if self.loss.scalar else targets.shape
        if values.shape != expected:
            raise PluginError(
                f"loss '{self.loss.name}' must return {tuple(expected)}, got {tuple(values.shape)}; "
                "return one value a target, or declare Loss(scalar=True)"
            )
        if self.loss.scalar:
            return values if whole is None else values * (targets.numel() / whole)
        if known is None:
            return values.mean() if whole is None else values.sum() / whole
        return (values * known).sum() / (known.sum().clamp(min=1) if whole is None else whole)

    @property
    def module(self) -> nn.Module:
        """The loss as a module, whose parameters are trained too; an empty one where it is a function."""
        return self.function if isinstance(self.function, nn.Module) else nn.Module()

    def parameters(self) -> list[nn.Parameter]:
        """The loss's own parameters, which are trained too."""
        return list(self.module.parameters())


def make_objective(loss: Loss, task: Task, params: Mapping[str, Any], device: torch.device) -> Objective:
    """Build a loss. Raises `PluginError` for a keyword-only argument that is not offered."""
    function = loss.build(task, **params)
    if isinstance(function, nn.Module):
        function = function.to(device)
    return Objective(loss, function, _wants(loss.name, function))


def _wants(name: str, function: Callable[..., Any]) -> tuple[str, ...]:
    target = function.forward if isinstance(function, nn.Module) else function
    arguments = inspect.signature(target).parameters.values()
    wants = tuple(a.name for a in arguments if a.kind is inspect.Parameter.KEYWORD_ONLY)
    for argument in wants:
        if argument not in OFFERED_TO_LOSSES:
            raise PluginError(f"loss '{name}' asks for '{argument}'; it can have {' and '.join(OFFERED_TO_LOSSES)}")
    return wants
