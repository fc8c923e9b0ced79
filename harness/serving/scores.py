"""What a row says of images: logits, probabilities and decisions.

Letters in shapes: N images, C labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import UnknownNameError
from harness.evaluation.calibration import Calibration
from harness.evaluation.predictions import EXTREME, make_scores
from harness.evaluation.thresholds import decide

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageScores:
    """What a row says of N images; all is NaN for an image that could not be used."""

    labels: tuple[str, ...]
    """(C,) names, in the order of the columns."""
    image: tuple[str, ...]
    """(N,) how the images are called."""
    logits: NDArray[np.floating]
    """(N, C): float32, as the network gave them; of several seeds float64, from the mean of their probabilities."""
    probability: NDArray[np.float64]
    """(N, C) in 0..1."""
    calibrated: NDArray[np.float64]
    """(N, C) in 0..1, by Platt's method fitted on validation; NaN for a label that validation could not fit."""
    decisions: NDArray[np.float64]
    """(N, C): 1 where the probability reaches the label's threshold, else 0; NaN for a label without one."""
    gaps: Mapping[str, str] = field(default_factory=dict)
    """Image -> why it could not be used."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Fitted:
    """What validation fitted for a row: where a probability becomes a decision, and how it is calibrated."""

    thresholds: Mapping[str, NDArray[np.float64]]
    """Policy -> (C,) probabilities; NaN for a label without a threshold."""
    calibration: Calibration
    """(C,) lines through logits, by Platt's method."""
    policy: str
    """The policy of the board's first decision metric."""

    def choose(self, policy: str | None) -> NDArray[np.float64]:
        """Thresholds (C,) by a policy, by the board's where it is None. Raises `UnknownNameError`."""
        name = policy or self.policy
        if name not in self.thresholds:
            raise UnknownNameError("threshold policy of this row", name, self.thresholds)
        return self.thresholds[name]


def make_image_scores(
    labels: tuple[str, ...],
    names: Sequence[str],
    members: Sequence[NDArray[np.float32]],
    fitted: Fitted,
    policy: str | None,
) -> ImageScores:
    """Scores of N images from the logits (N, C) of one seed or several, whose probabilities are averaged."""
    probability = np.mean([make_scores(logits) for logits in members], axis=0)
    logits: NDArray[np.floating] = members[0] if len(members) == 1 else invert(probability)
    return ImageScores(
        labels=labels,
        image=tuple(names),
        logits=logits,
        probability=probability,
        calibrated=make_scores(fitted.calibration.apply(logits)),
        decisions=decide(probability, fitted.choose(policy)),
    )


def invert(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits of probabilities, which stay finite."""
    inside = np.clip(probability, EXTREME, 1 - EXTREME)
    return np.log(inside) - np.log1p(-inside)


def put_gaps(scores: ImageScores, names: Sequence[str], gaps: Mapping[str, str]) -> ImageScores:
    """The scores in the order of all `names`, NaN for those that are gaps."""
    if not gaps:
        return scores
    there = np.array([name not in gaps for name in names], dtype=bool)

    def spread(values: NDArray[np.floating]) -> NDArray[np.floating]:
        whole = np.full((len(names), len(scores.labels)), np.nan, dtype=values.dtype)
        whole[there] = values
        return whole

    return ImageScores(
        labels=scores.labels,
        image=tuple(names),
        logits=spread(scores.logits),
        probability=spread(scores.probability).astype(np.float64),
        calibrated=spread(scores.calibrated).astype(np.float64),
        decisions=spread(scores.decisions).astype(np.float64),
        gaps=dict(gaps),
    )


def join_scores(parts: Sequence[ImageScores]) -> ImageScores:
    """Parts of at least one image, one after another."""
    return ImageScores(
        labels=parts[0].labels,
        image=tuple(name for part in parts for name in part.image),
        logits=np.concatenate([part.logits for part in parts]),
        probability=np.concatenate([part.probability for part in parts]),
        calibrated=np.concatenate([part.calibrated for part in parts]),
        decisions=np.concatenate([part.decisions for part in parts]),
        gaps={name: reason for part in parts for name, reason in part.gaps.items()},
    )
