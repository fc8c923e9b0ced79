"""Logistic regression of many labels and many penalties at once, by L-BFGS over all images.

Each pair of a strength and a label is a problem of its own: its weights w and intercept b minimize

    mean over the images whose label is known of log(1 + exp(-y (w x + b))), y being 1 or -1, plus strength / 2 |w|^2

on features x that are standardized over the training images. scikit-learn's LogisticRegression minimizes the same with
C = 1 / (strength * images). All problems go through the images together, so that a pass costs one product of matrices
forth and one back; each has its own step and stops by itself.

All problems share their features, and so, up to a factor, the curvature of their losses: one eigendecomposition of the
features' covariance gives every problem its first guess of the inverse Hessian. From there L-BFGS needs a dozen passes
where it would need hundreds.

Letters in shapes: N images, D features, C labels, S strengths, P problems that go on, M pairs that L-BFGS remembers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from harness.training.heads import RAREST

if TYPE_CHECKING:
    from torch import Tensor

Guess = Callable[["Tensor"], "Tensor"]
"""A first guess of the inverse Hessian: gradients (P, D + 1) -> directions (P, D + 1)."""
PASSES = 300
"""Passes over the images at most."""
TOLERANCE = {torch.float32: 1e-10, torch.float64: 1e-12}
"""How far above its minimum a problem's loss may be, by the estimate of its own curvature."""
FLATTEST = 1e-4
"""Curvature of a loss by its logit that the first guess of the inverse Hessian assumes at least."""
MEMORY = 10
"""Pairs of steps and changes of the gradient that L-BFGS remembers."""
EXACT = 2**23
"""Numbers in the features up to which all is computed in double precision: where images are few, labels are all but
separable, and the minimum of a weak penalty is flatter than single precision can tell."""
BLOCK = 8192
"""Images at a time in a pass: what is between the two products then stays in a processor's cache."""
SAMPLE = 16_384
"""Images, evenly spaced, that the covariance of features is taken from."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Heads:
    """Fitted heads for raw features, of every strength and label."""

    weight: Tensor
    """(S, C, D) float32."""
    bias: Tensor
    """(S, C) float32."""
    loss: Tensor
    """(S, C) float64: the penalized loss that was reached."""
    passes: int
    """Passes over the images that it took."""
    converged: Tensor
    """(S, C) bool: whether the minimum was reached."""
    fitted: Tensor
    """(C,) bool: whether a label has both positives and negatives; one that has not gets the same logit everywhere."""


def fit_heads(features: Tensor, targets: Tensor, strengths: Sequence[float]) -> Heads:
    """Fit every label with every strength.

    `features` (N, D) float32 and `targets` (N, C), in 0..1 with NaN for what is unknown, lie on the device that
    computes. A label without known positives or without known negatives gets no weights and the logit of its
    prevalence.
    """
    device, count = features.device, targets.shape[1]
    if features.numel() <= EXACT:
        features = features.double()
    mean, scale = _find_scale(features)
    known = ~targets.isnan()
    share = targets.nan_to_num(0.0).sum(0) / known.sum(0).clamp(min=1)  # (C,)
    share = torch.where(known.any(0), share, 0.5)
    fitted = (targets > 0).any(0) & (known & (targets < 1)).any(0)
    pairs = [(s, c) for s in range(len(strengths)) for c in range(count) if fitted[c]]
    problems = torch.tensor(pairs, dtype=torch.int64, device=device).view(-1, 2)  # of none, too
    strength = torch.tensor(list(strengths), dtype=features.dtype, device=device)[problems[:, 0]]
    solver = _Solver(features, targets, mean, scale, problems[:, 1], strength)
    start = features.new_zeros(len(problems), features.shape[1] + 1)
    start[:, -1] = _logit(share)[problems[:, 1]].to(start)
    found, loss, converged, passes = solver.solve(start)
    weight = torch.zeros(len(strengths), count, features.shape[1], device=device)
    bias = _logit(share).expand(len(strengths), -1).clone()
    losses = torch.full((len(strengths), count), torch.nan, dtype=torch.float64, device=device)
    done = torch.ones(len(strengths), count, dtype=torch.bool, device=device)
    place = problems[:, 0], problems[:, 1]
    raw = found[:, :-1] / scale
    weight[place], bias[place] = raw.float(), (found[:, -1] - raw @ mean).float()
    losses[place], done[place] = loss, converged
    return Heads(weight=weight, bias=bias, loss=losses, passes=passes, converged=done, fitted=fitted)


def _logit(share: Tensor) -> Tensor:
    return share.float().clamp(RAREST, 1 - RAREST).logit()


def _find_scale(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (D,) of features, in double precision block by block; 1 for one that never varies."""
    mean = torch.stack([block.double().sum(0) for block in features.split(BLOCK)]).sum(0) / len(features)
    squares = [(block.double() - mean).square().sum(0) for block in features.split(BLOCK)]
    scale = (torch.stack(squares).sum(0) / len(features)).sqrt()
    constant = scale <= 1e-6 * mean.abs().clamp(min=1e-12)
    return mean.to(features), torch.where(constant, 1.0, scale).to(features)


class _Solver:
    """L-BFGS over problems that share their features. Points and gradients are (P, D + 1), the intercept at last."""

    def __init__(
        self, features: Tensor, targets: Tensor, mean: Tensor, scale: Tensor, label: Tensor, strength: Tensor
    ) -> None:
        self.features, self.mean, self.scale = features, mean, scale
        self.label, self.strength = label, strength
        self.known = (~targets.isnan()).to(features)
        self.targets = targets.nan_to_num(0.0).to(features)
        self.count = self.known.sum(0).double().clamp(min=1)  # (C,)
        self.directions, self.spread = self._decompose()

    def _decompose(self) -> tuple[Tensor, Tensor]:
        """Eigenvectors (D, D) and eigenvalues (D,) of the covariance of standardized features."""
        step = max(1, len(self.features) // SAMPLE)
        sample = ((self.features[::step] - self.mean) / self.scale).float()  # for a guess, single precision will do
        spread, directions = torch.linalg.eigh(sample.T @ sample / len(sample))
        return directions.to(self.features), spread.clamp(min=0).to(self.features)

    def solve(self, start: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
        """The minima (P, D + 1), their losses (P,), whether each was reached (P,), and the passes that it took."""
        best, final = start.clone(), torch.full((len(start),), torch.nan, dtype=torch.float64, device=start.device)
        converged = torch.zeros(len(start), dtype=torch.bool, device=start.device)
        if not len(start):
            return best, final, converged, 0
        going = torch.arange(len(start), device=start.device)
        memory = _Memory(start)
        point, (loss, slope, bend) = start, self._evaluate(start, going)
        step = torch.ones_like(self.strength)
        direction, decrease = self._aim(memory, slope, bend, going)
        passes = 1
        while True:
            best[going], final[going] = point, loss
            over = (decrease < 2 * TOLERANCE[start.dtype]) | (
                step < 1e-8
            )  # half of the decrease is what is left to gain
            converged[going[over]] = True
            if bool(over.all()) or passes == PASSES:
                return best, final, converged, passes
            keep = ~over
            going, point, loss, slope, bend, step, direction, decrease = (
                values[keep] for values in (going, point, loss, slope, bend, step, direction, decrease)
            )
            memory.keep(keep)
            trial = point + step[:, None] * direction
            new_loss, new_slope, new_bend = self._evaluate(trial, going)
            passes += 1
            slack = torch.finfo(start.dtype).eps * loss.abs()  # what rounding may add
            accepted = new_loss <= loss - 1e-4 * step * decrease + slack
            memory.learn(accepted, trial - point, new_slope - slope)
            point = torch.where(accepted[:, None], trial, point)
            slope = torch.where(accepted[:, None], new_slope, slope)
            loss, bend = torch.where(accepted, new_loss, loss), torch.where(accepted, new_bend, bend)
            new_direction, new_decrease = self._aim(memory, slope, bend, going)
            direction = torch.where(accepted[:, None], new_direction, direction)
            decrease = torch.where(accepted, new_decrease, decrease)
            step = torch.where(accepted, 1.0, step / 3)

    def _aim(self, memory: _Memory, slope: Tensor, bend: Tensor, going: Tensor) -> tuple[Tensor, Tensor]:
        """Directions (P, D + 1) to go, and how fast each lowers the loss (P,); `bend` (P,) is the losses' curvature."""
        curvature, strength = bend.clamp(min=FLATTEST)[:, None], self.strength[going, None]

        def guess(gradient: Tensor) -> Tensor:
            """The first guess of the inverse Hessian, times gradients."""
            turned = gradient[:, :-1] @ self.directions / (curvature * self.spread + strength)
            return torch.cat([turned @ self.directions.T, gradient[:, -1:] / curvature], dim=1)

        direction = -memory.apply(slope, guess)
        return direction, -(direction.double() * slope.double()).sum(1)

    def _evaluate(self, point: Tensor, going: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The penalized losses (P,) float64, their gradients (P, D + 1), and the mean curvature of the losses by their
        logits (P,), in one pass over the images.
        """
        label, weight = self.label[going], point[:, :-1]
        raw = weight / self.scale
        shift = point[:, -1] - raw @ self.mean
        count = self.count[label]
        loss = torch.zeros(len(point), dtype=torch.float64, device=point.device)
        pull, total, bend = torch.zeros_like(raw), torch.zeros_like(shift), torch.zeros_like(shift)
        for first in range(0, len(self.features), BLOCK):
            block = self.features[first : first + BLOCK]
            target, known = (values[first : first + BLOCK][:, label] for values in (self.targets, self.known))
            logits = torch.addmm(shift, block, raw.T)  # (B, P)
            values = (torch.nn.functional.softplus(logits) - target * logits) * known
            loss += values.sum(0, dtype=torch.float64)
            score = logits.sigmoid()
            bend += (score * (1 - score) * known).sum(0)
            residual = (score - target) * known
            pull += residual.T @ block
            total += residual.sum(0)
        strength = self.strength[going]
        loss = loss / count + (strength / 2).double() * weight.double().square().sum(1)
        pull = (pull - total[:, None] * self.mean) / self.scale / count.to(pull)[:, None] + strength[:, None] * weight
        return loss, torch.cat([pull, (total / count.to(total))[:, None]], dim=1), bend / count.to(bend)


class _Memory:
    """The last steps of each problem and how its gradient changed with them."""

    def __init__(self, start: Tensor) -> None:
        self.steps = start.new_zeros(MEMORY, *start.shape)  # (M, P, D + 1), the latest at last
        self.changes = torch.zeros_like(self.steps)
        self.inverse = start.new_zeros(MEMORY, len(start))  # (M, P) of the products; 0 is no pair

    def keep(self, chosen: Tensor) -> None:
        """Go on with some of the problems, (P,) bool."""
        if not bool(chosen.all()):
            self.steps, self.changes = self.steps[:, chosen], self.changes[:, chosen]
            self.inverse = self.inverse[:, chosen]

    def learn(self, accepted: Tensor, step: Tensor, change: Tensor) -> None:
        """Remember the steps that were accepted and along which the loss curves up."""
        product = (step.double() * change.double()).sum(1).to(step)
        lengths = (step.square().sum(1) * change.square().sum(1)).sqrt()
        useful = accepted & (product > 1e-8 * lengths)
        inverse = torch.where(useful, 1 / torch.where(useful, product, 1.0), 0.0)
        for kept, new in ((self.steps, step), (self.changes, change), (self.inverse, inverse)):
            kept[:, useful] = torch.cat([kept[1:, useful], new[None, useful]])

    def apply(self, slope: Tensor, guess: Guess) -> Tensor:
        """The estimate of the inverse Hessian times gradients (P, D + 1), by L-BFGS's two loops."""
        rest, shares = slope, []
        for step, change, inverse in reversed(list(zip(self.steps, self.changes, self.inverse, strict=True))):
            share = inverse * (step * rest).sum(1)
            rest = rest - share[:, None] * change
            shares.append(share)
        result = self._rescale(guess) * guess(rest)
        for step, change, inverse in zip(self.steps, self.changes, self.inverse, strict=True):
            share = shares.pop() - inverse * (change * result).sum(1)
            result = result + share[:, None] * step
        return result

    def _rescale(self, guess: Guess) -> Tensor:
        """(P, 1), what makes the first guess fit the latest pair."""
        latest = self.changes[-1]
        fit = (latest * guess(latest)).sum(1) * self.inverse[-1]
        return torch.where(fit > 0, 1 / torch.where(fit > 0, fit, 1.0), 1.0)[:, None]
