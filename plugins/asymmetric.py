"""Asymmetric loss: negatives are focused harder than positives, and very easy ones dropped."""

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
    gamma_negative: Annotated[float, Float(0, math.inf)] = 4.0,
    gamma_positive: Annotated[float, Float(0, math.inf)] = 1.0,
    clip: Annotated[float, Float(0, 1)] = 0.05,
) -> Callable[[Tensor, Tensor], Tensor]:
    """(B, C): -(1 - p)^gamma_positive log p for positives, -q^gamma_negative log(1 - q) for negatives, where p is the
    score and q = max(p - clip, 0) the shifted one (Ridnik et al. 2021, equations 4 to 7).

    - `gamma_negative`: Weigh easy negatives down by this power. A higher one weighs them down more.
    - `gamma_positive`: Weigh easy positives down by this power.
    - `clip`: Shift the scores of negatives down by this much, so that the easiest count nothing.

    Value and gradient are finite for every gamma from 0 and logits of any size.
    """
    import torch
    from torch.nn.functional import logsigmoid

    def asymmetric(logits: Tensor, targets: Tensor) -> Tensor:
        # a power with gamma < 1 has an infinite gradient at 0: (1 - p)^gamma is exp(gamma log(1 - p)), q stays above 0
        positive = -logsigmoid(logits) * torch.exp(gamma_positive * logsigmoid(-logits))
        tiny = torch.finfo(logits.dtype).tiny
        shifted = (torch.sigmoid(logits) - clip).clamp(min=tiny)
        # 1 - q = min(1 - p + clip, 1), from 1 - p = sigmoid(-logit), which does not round to 0
        missed = (torch.sigmoid(-logits) + clip).clamp(min=tiny, max=1)
        negative = -torch.log(missed) * shifted**gamma_negative
        return targets * positive + (1 - targets) * negative

    return asymmetric


@hookimpl
def harness_losses() -> Iterable[Loss]:
    """Asymmetric."""
    return [
        Loss(
            name="asymmetric",
            build=build,
            space={"gamma_negative": Float(0.0, 6.0), "gamma_positive": Float(0.0, 3.0), "clip": Float(0.0, 0.2)},
            about="asymmetric loss: negatives focused harder than positives, the easiest dropped",
            citation="Ridnik et al. 2021, Asymmetric Loss For Multi-Label Classification (arXiv 2009.14119)",
        )
    ]
