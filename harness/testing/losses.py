"""Checks of a loss: finite, the right way round, differentiable as it says, each target on its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from harness.components import Loss, Task
from harness.testing.contract import ContractError, NotApplicable, Subject, corners, require_space

if TYPE_CHECKING:
    from torch import Tensor

    from harness.training.objective import Objective

IMAGES, LABELS = 12, 3
NOT_FINITE = "its value is not finite"
STABLE = "build it from logsigmoid, softplus or *_with_logits rather than log(sigmoid(x)), and clamp what is divided by"


def check_stays_finite(subject: Subject) -> None:
    """Value and gradient are finite for logits of +-100, and for batches of positives or of negatives alone."""
    import torch

    objective = _objective(subject)
    for size in (1.0, 100.0):
        for batch in ("mixed", "only positives", "only negatives"):
            logits, targets = _batch(size)
            logits = size * logits.sign() if size > 1 else logits
            targets = {"mixed": targets, "only positives": torch.ones_like(targets)}.get(
                batch, torch.zeros_like(targets)
            )
            logits.requires_grad_()
            value = objective(logits, targets, None, _offered())
            value.backward()
            if not bool(value.isfinite()) or logits.grad is None or not bool(logits.grad.isfinite().all()):
                what = "value" if not bool(value.isfinite()) else "gradient"
                raise ContractError(
                    f"its {what} is not finite with logits of +-{size:g}, targets {batch}",
                    STABLE if size > 1 else f"{STABLE}; task.prevalence is NaN for a label without known targets",
                )


def check_right_answers_cost_less(subject: Subject) -> None:
    """Logits that agree with the targets cost less than logits that say nothing, and these less than wrong ones."""
    import torch

    objective = _objective(subject)
    _, targets = _batch()
    right = 3 * (2 * targets - 1)
    values = {
        name: float(objective(logits, targets, None, _offered()))
        for name, logits in (("right", right), ("none", torch.zeros_like(right)), ("wrong", -right))
    }
    if not all(map(math.isfinite, values.values())):
        raise NotApplicable(NOT_FINITE)
    if not values["right"] < values["none"] < values["wrong"]:
        raise ContractError(
            "right answers cost {right:.4g}, no answer {none:.4g}, wrong ones {wrong:.4g}".format(**values),
            "turn its sign round, or exchange targets and 1 - targets: training makes the value small",
        )


def check_gradient_equals_finite_differences(subject: Subject) -> None:
    """The gradient of the logits is that of the value, by finite differences in float64."""
    import torch
    from torch.autograd.gradcheck import GradcheckError

    objective = _finite_objective(subject)
    logits, targets = (tensor.double() for tensor in _batch(2.0))
    function = objective.function
    function = function.double() if isinstance(function, torch.nn.Module) else function
    offered = {name: _offered()[name] for name in objective.wants}
    try:
        torch.autograd.gradcheck(
            lambda x: function(x, targets, **offered), logits.requires_grad_(), eps=1e-6, atol=1e-4, rtol=1e-3
        )
    except GradcheckError as error:
        seen = str(error).strip().partition("\n")[0].rstrip(".,:")
        raise ContractError(
            f"the gradient is not that of the value: {seen}",
            "let torch differentiate (no .detach() or rounding on the way), and compute in the dtype of the logits",
        ) from None


def check_gives_one_value_a_target(subject: Subject) -> None:
    """Returns (B, C) unreduced, or a scalar where `Loss.scalar` declares it."""
    logits, targets = _batch()
    values = _objective(subject).function(logits, targets, **_wanted(subject))
    expected = () if _loss(subject).scalar else tuple(targets.shape)
    if tuple(values.shape) != expected:
        raise ContractError(
            f"it returned {tuple(values.shape)} where {expected} is declared",
            'return one value a target (reduction="none"), or declare Loss(scalar=True)',
        )


def check_unknown_targets_have_no_influence(subject: Subject) -> None:
    """Whatever the logit at an unknown target is, neither value nor the other gradients change."""
    import torch

    if _loss(subject).scalar:
        raise NotApplicable("a loss that reduces by itself is never given unknown targets")
    objective = _finite_objective(subject)
    logits, targets = _batch()
    known = torch.arange(targets.numel()).reshape(targets.shape) % 3 != 0
    seen = []
    for other in (0.0, 5.0, -5.0):
        moved = torch.where(known, logits, torch.full_like(logits, other)).requires_grad_()
        value = objective(moved, targets * known, known, _offered())
        value.backward()
        seen.append((value.detach(), cast("Tensor", moved.grad)))
    for value, gradient in seen[1:]:
        if not torch.allclose(value, seen[0][0]) or not torch.allclose(gradient, seen[0][1], atol=1e-6):
            raise ContractError(
                "the value or gradient of known targets depends on the logits of unknown ones",
                "let each value depend on its own logit and target, or declare Loss(scalar=True)",
            )


def check_does_not_depend_on_the_order(subject: Subject) -> None:
    """A batch in another order costs the same."""
    import torch

    objective = _finite_objective(subject)
    logits, targets = _batch()
    order = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(1))
    one = objective(logits, targets, None, _offered())
    other = objective(logits[order], targets[order], None, _offered(order))
    if not torch.allclose(one, other, rtol=1e-4):
        raise ContractError(
            f"a batch costs {float(one):.5g} in one order and {float(other):.5g} in another",
            "treat all images of a batch alike",
        )


def check_space_names_keywords_of_build(subject: Subject) -> None:
    """Every name in `space` is a keyword of `build`, and at both ends of the space and within the loss is finite."""
    loss = _loss(subject)
    require_space(subject, loss.build, loss.space)
    _finite_objective(subject)
    for params in corners(loss.space):
        logits, targets = _batch()
        if not bool(_objective(subject, params)(logits, targets, None, _offered()).isfinite()):
            raise ContractError(f"with {params} its value is not finite", "narrow `space`")


# --- shared by the checks --------------------------------------------------------------------------------------------


def _loss(subject: Subject) -> Loss:
    return cast(Loss, subject.component)


def _objective(subject: Subject, params: dict[str, Any] | None = None) -> Objective:
    import torch

    from harness.training.objective import make_objective

    names = tuple(f"label-{number}" for number in range(LABELS))
    task = Task(labels=names, channels=1, size=32, mean=(0.5,), std=(0.25,), prevalence=(0.1, 0.5, float("nan")))
    return make_objective(_loss(subject), task, params or {}, torch.device("cpu"))


def _finite_objective(subject: Subject) -> Objective:
    """Raises `NotApplicable` where its value is not finite, of which one check tells already."""
    objective = _objective(subject)
    if not bool(objective(*_batch(), None, _offered()).isfinite()):
        raise NotApplicable(NOT_FINITE)
    return objective


def _batch(scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Logits and targets (12, 3) float32, each label with both classes."""
    import torch

    logits = scale * torch.randn(IMAGES, LABELS, generator=torch.Generator().manual_seed(0))
    targets = (torch.arange(IMAGES * LABELS).reshape(LABELS, IMAGES).T % 5 < 2).float()
    return logits, targets


def _offered(index: Tensor | None = None) -> dict[str, Tensor]:
    import torch

    return {"epoch": torch.tensor(1), "index": torch.arange(IMAGES) if index is None else index}


def _wanted(subject: Subject) -> dict[str, Tensor]:
    offered = _offered()
    return {name: offered[name] for name in _objective(subject).wants}


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_gives_one_value_a_target,
    check_stays_finite,
    check_right_answers_cost_less,
    check_gradient_equals_finite_differences,
    check_unknown_targets_have_no_influence,
    check_does_not_depend_on_the_order,
    check_space_names_keywords_of_build,
)
