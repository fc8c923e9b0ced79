"""Binary cross-entropy, plain and weighted by prevalence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness import Loss, Task, hookimpl

if TYPE_CHECKING:
    from torch import Tensor, nn


def build_bce(task: Task) -> nn.Module:
    """(B, C) binary cross-entropy of logits."""
    import torch

    return torch.nn.BCEWithLogitsLoss(reduction="none")


def build_weighted_bce(task: Task) -> nn.Module:
    """(B, C) binary cross-entropy in which each label's positives weigh the share of its negatives and the reverse.

    w+ = |N| / (|P| + |N|) and w- = |P| / (|P| + |N|); one half each where the prevalence is unknown.
    """
    import torch

    class WeightedCrossEntropy(torch.nn.Module):
        prevalence: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("prevalence", torch.tensor(task.prevalence).nan_to_num(0.5))

        def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
            weights = targets * (1 - self.prevalence) + (1 - targets) * self.prevalence
            plain = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
            return weights * plain

    return WeightedCrossEntropy()


@hookimpl
def harness_losses() -> Iterable[Loss]:
    """bce and weighted-bce."""
    return [
        Loss(name="bce", build=build_bce, about="binary cross-entropy"),
        Loss(
            name="weighted-bce",
            build=build_weighted_bce,
            about="binary cross-entropy weighted against each label's prevalence in training",
            citation="Rajpurkar et al. 2017, CheXNet (arXiv 1711.05225), its pneumonia task",
        ),
    ]
