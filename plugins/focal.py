"""Focal loss: easy examples count less."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from harness import Float, Loss, Task, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def build(
    task: Task,
    alpha: Annotated[float, Float(0, math.inf)] = 1.0,
    gamma: Annotated[float, Float(0, math.inf)] = 2.0,
) -> Callable[[Tensor, Tensor], Tensor]:
    """(B, C) alpha (1 - p)^gamma CE, where p is the probability given to the truth and CE = -log p.

    The truth of a soft target is the nearer of both.

    - `alpha`: Multiply the loss by this factor, for positives and negatives alike, as the paper's script does.
    - `gamma`: Focus on hard images by this power. With 0, it is the plain cross-entropy.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

    def focal(logits: Tensor, targets: Tensor) -> Tensor:
        plain = binary_cross_entropy_with_logits(logits, targets, reduction="none")
        # log(1 - p), p being the truth's probability: finite where 1 - exp(-CE) would round to 0
        log_miss = logsigmoid(torch.where(targets > 0.5, -logits, logits))
        return alpha * torch.exp(gamma * log_miss) * plain

    return focal


@hookimpl
def harness_losses() -> Iterable[Loss]:
    """Focal."""
    return [
        Loss(
            name="focal",
            build=build,
            space={"alpha": Float(0.25, 1.0), "gamma": Float(0.0, 5.0)},
            about="focal loss: cross-entropy times (1 - probability of the truth)^gamma",
            citation="Lin et al. 2017 (arXiv 1708.02002); alpha and gamma as in Strick et al. (arXiv 2505.06646)",
        )
    ]
