"""Binary cross-entropy, plain and weighted by prevalence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from harness import Loss, Task, UnknownNameError, UsageError, hookimpl

if TYPE_CHECKING:
    from torch import Tensor, nn


def build_bce(task: Task) -> nn.Module:
    """(B, C) binary cross-entropy of logits."""
    import torch

    return torch.nn.BCEWithLogitsLoss(reduction="none")


def build_weighted_bce(task: Task, weights: Sequence[float] | Mapping[str, float] | None = None) -> nn.Module:
    """(B, C) binary cross-entropy in which each label's positives weigh the share of its negatives and the reverse.

    w+ = |N| / (|P| + |N|) and w- = |P| / (|P| + |N|); one half each where the prevalence is unknown.

    - `weights`: Use these w+ instead, with w- = 1: one number for each label in the dataset's order, or by label.
    """
    import torch

    class WeightedCrossEntropy(torch.nn.Module):
        positive: Tensor
        negative: Tensor

        def __init__(self) -> None:
            super().__init__()
            prevalence = torch.tensor(task.prevalence).nan_to_num(0.5)
            given = None if weights is None else torch.tensor(_order(weights, task.labels))
            self.register_buffer("positive", 1 - prevalence if given is None else given)
            self.register_buffer("negative", prevalence if given is None else torch.ones_like(prevalence))

        def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
            plain = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
            return (targets * self.positive + (1 - targets) * self.negative) * plain

    return WeightedCrossEntropy()


def _order(weights: Sequence[float] | Mapping[str, float], labels: Sequence[str]) -> list[float]:
    """One weight a label, in order. Raises `UsageError` for weights that are not, or that are no positive numbers."""
    if isinstance(weights, Mapping):
        for name in weights:
            if name not in labels:
                raise UnknownNameError("label in loss.weights", name, labels)
        absent = [label for label in labels if label not in weights]
        if absent:
            raise UsageError(f"loss.weights has no weight for {', '.join(absent)}; give one for each label")
        weights = [weights[label] for label in labels]
    if isinstance(weights, str) or not isinstance(weights, Sequence) or len(weights) != len(labels):
        raise UsageError(
            f"loss.weights is {weights!r}; give a list of {len(labels)} numbers, for {', '.join(labels)}, or a table "
            f'such as {{"{labels[0]}" = 2.0, ...}}'
        )
    for label, weight in zip(labels, weights, strict=True):
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < float("inf"):
            raise UsageError(f"loss.weights of {label} is {weight!r}; give a number above 0")
    return [float(weight) for weight in weights]


@hookimpl
def harness_losses() -> Iterable[Loss]:
    """bce and weighted-bce."""
    return [
        Loss(name="bce", build=build_bce, about="binary cross-entropy"),
        Loss(
            name="weighted-bce",
            build=build_weighted_bce,
            about="binary cross-entropy weighted against each label's prevalence in training, or by given weights",
            citation="Rajpurkar et al. 2017, CheXNet (arXiv 1711.05225), its pneumonia task",
        ),
    ]
