"""Averages of several systems' predictions, and which of them to average, picked on validation.

Letters in shapes: M candidates, N images, C labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.board_file import Averaging
from harness.components import Metric
from harness.errors import DataError, UsageError
from harness.evaluation.bootstrap import average_labels
from harness.evaluation.measure import value_on_validation
from harness.evaluation.pooling import pool
from harness.evaluation.predictions import Predictions
from harness.machine import count_processors
from harness.metric_names import DEFAULT_POLICY, split_name, title_metric
from harness.units import Pooling, Unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Judge = Callable[[NDArray[np.float64], NDArray[np.float64], int], NDArray[np.float64]]
    """The sum of what was picked (N, C), what each candidate adds (M, N, C) and how many that makes -> the value of
    each candidate's average (M,)."""


@dataclass(frozen=True)
class Selection:
    """What was picked on validation."""

    weights: tuple[int, ...]
    """(M,) how often each candidate was picked, up to the best step."""
    values: tuple[float, ...]
    """The value on validation after each step, the later ones too."""


@dataclass(frozen=True, kw_only=True)
class Merit:
    """What a selection is judged by."""

    metric: Metric
    name: str
    """The metric with its threshold policy, as a board names it."""
    unit: Unit = "image"
    pool: Pooling = "mean"

    @property
    def policy(self) -> str:
        """The threshold policy that decisions are judged by."""
        return split_name(self.name)[1] or DEFAULT_POLICY

    def require(self, how: Averaging) -> None:
        """Raise `UsageError` where an average of that kind has no value of the metric."""
        if self.metric.on == "maps" or (how == "rank" and self.metric.on != "ranks"):
            kind = "ranks" if how == "rank" else "predictions"
            raise UsageError(f"an average of {kind} has no {title_metric(self.name)}, so nothing can be picked by it")


def average(members: Sequence[Predictions], weights: Sequence[int], how: Averaging) -> Predictions:
    """The weighted mean of the members' probabilities, logits or ranks; they are aligned, and their targets the same.

    Ranks are those among the split's images, label by label, ties sharing their mean, divided by N; their mean is no
    probability. Raises `DataError` for a member that only ranks, where something else is averaged.
    """
    total = np.zeros(members[0].logits.shape)
    for member, weight in zip(members, weights, strict=True):
        if weight:
            total += weight * _values(member, how)
    columns = max(members, key=lambda one: len(one.columns)).columns
    mean = total / sum(weights)
    return _with_values(
        replace(members[0], columns=columns, notes=()), mean / len(mean) if how == "rank" else mean, how
    )


def select(candidates: Sequence[Predictions], how: Averaging, merit: Merit, steps: int) -> Selection:
    """Pick members with replacement on validation, beginning with the best one (Caruana et al. 2004).

    Each step adds the candidate with which the average is worth most, also where that is less than before, the first
    one if several are equal. What was picked up to the best step is kept. The candidates are aligned, and their targets
    the same. Raises `UsageError` for a metric that an average of that kind does not have, `DataError` where no
    candidate has a value.
    """
    merit.require(how)
    values = np.stack([_values(one, how) for one in candidates])  # (M, N, C)
    judge = _make_judge(candidates[0], values, how, merit)
    sign = 1 if merit.metric.higher_is_better else -1
    total, picked, found = np.zeros(values.shape[1:]), [], []
    for step in range(1, steps + 1):
        worth = sign * judge(total, values, step)
        if np.isnan(worth).all():
            raise DataError(
                f"no row has a value of {title_metric(merit.name)} on validation, so nothing can be picked by it"
            )
        best = int(np.nanargmax(worth))
        picked.append(best)
        found.append(float(sign * worth[best]))
        total = total + values[best]
    last = int(np.argmax(sign * np.array(found)))
    counts = np.bincount(picked[: last + 1], minlength=len(candidates))
    return Selection(tuple(counts.tolist()), tuple(found))


def _values(member: Predictions, how: Averaging) -> NDArray[np.float64]:
    """What is averaged (N, C)."""
    if how == "rank":
        from scipy.stats import rankdata

        return np.asarray(rankdata(member.ranks, axis=0))  # halves, whose sums are exact: what ties, ties in the mean
    if member.is_rank_only:
        raise DataError(
            f"{member.source}: its scores are no probabilities and only rank; average ranks, or leave it out"
        )
    return member.scores if how == "probability" else member.logits.astype(np.float64)


def _with_values(one: Predictions, values: NDArray[np.float64], how: Averaging) -> Predictions:
    """The predictions with other values (N, C)."""
    if how == "logit":
        return replace(one, logits=values, given_scores=None, is_rank_only=False)
    of_scores = Predictions.from_scores(one.labels, one.image, one.patient, values, one.targets)
    return replace(one, logits=of_scores.logits, given_scores=values, is_rank_only=how == "rank")


def _make_judge(val: Predictions, values: NDArray[np.float64], how: Averaging, merit: Merit) -> Judge:
    """The quick way for AUROC over images; any other metric is computed as it is for an epoch."""
    if merit.metric.name == "auroc" and merit.unit == "image":
        return _AreaJudge(val.targets, values)

    def judge(total: NDArray[np.float64], added: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        averages = (_with_values(val, (total + one) / count, how) for one in added)
        pooled = (pool(one, merit.unit, merit.pool) for one in averages)
        return np.array([value_on_validation(one, merit.metric, merit.policy) for one in pooled])

    return judge


class _AreaJudge:
    """The mean AUROC over labels of all candidates at once, labels in threads."""

    def __init__(self, targets: NDArray[np.float32], values: NDArray[np.float64]) -> None:
        classes = [(np.flatnonzero(column == 0), np.flatnonzero(column == 1)) for column in targets.T]
        missing = np.isnan(values).any(axis=0) & ~np.isnan(targets)  # (N, C)
        usable = np.logical_not(np.any(missing, axis=0)).tolist()
        self.labels = [n for n, (absent, present) in enumerate(classes) if len(absent) and len(present) and usable[n]]
        self.classes = [classes[label] for label in self.labels]
        self.added = [
            tuple(np.ascontiguousarray(values[:, rows, label]) for rows in classes[label]) for label in self.labels
        ]

    def __call__(self, total: NDArray[np.float64], added: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        def measure(place: int) -> NDArray[np.float64]:
            label = self.labels[place]
            sides = zip(self.classes[place], self.added[place], strict=True)
            return _find_areas(*((total[rows, label] + own) / count for rows, own in sides))

        if not self.labels:
            return np.full(len(added), np.nan)
        with ThreadPoolExecutor(count_processors()) as threads:
            areas = np.stack(list(threads.map(measure, range(len(self.labels)))), axis=1)  # (M, labels)
        return average_labels(areas)


def _find_areas(absent: NDArray[np.float64], present: NDArray[np.float64]) -> NDArray[np.float64]:
    """AUROC (M,) of the scores of images without the label (M, A) and with it (M, P), ties counting one half."""
    absent, present = np.sort(absent, axis=1), np.sort(present, axis=1)
    few, many, turned = (present, absent, False) if present.shape[1] <= absent.shape[1] else (absent, present, True)
    below = np.array(
        [
            np.searchsorted(row, looked, "left").sum() + np.searchsorted(row, looked, "right").sum()
            for row, looked in zip(many, few, strict=True)
        ]
    )
    share = below / 2 / (few.shape[1] * many.shape[1])
    return np.asarray(1 - share if turned else share)
