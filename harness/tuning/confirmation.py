"""Whether a study's best configuration beats the default beyond chance: both trained again, on validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import HarnessError
from harness.evaluation import RESAMPLES
from harness.evaluation.bootstrap import Resampling, average_labels, choose_labels, draw_resamples, resample
from harness.evaluation.comparison import Pair, System, compare_pairs
from harness.evaluation.measure import judged_scores, measure_values
from harness.evaluation.predictions import Predictions
from harness.evaluation.wording import MORE_SEEDS, format_p
from harness.metric_names import title_metric
from harness.text import count
from harness.tuning.study import Plan
from harness.tuning.trial import TrialContext, forget, plain_failure, train

if TYPE_CHECKING:
    import optuna

    from harness.board import Row

CONFIRMATION = "confirmation"
"""User attribute of a study: the last one, and of which trial."""


@dataclass(frozen=True)
class Confirmation:
    """Default and best configuration, each trained with fresh seeds."""

    seeds: tuple[int, ...]
    default: tuple[float, ...]
    """The objective on validation, one value for each seed."""
    best: tuple[float, ...]
    pair: Pair
    """Best minus default: over patients and seeds."""
    higher_is_better: bool

    @property
    def is_better(self) -> bool:
        """Whether the best is better than the default beyond chance; never with fewer than three seeds."""
        return self.pair.differs and (self.pair.delta > 0) == self.higher_is_better

    @property
    def verdict(self) -> str:
        """The verdict in a few words, for the board."""
        seeds = count(len(self.seeds), "fresh seed")
        if self.pair.p is None and self.pair.p_holm is not None:
            return f"not judged against the default: {seeds} each are too few"
        return f"{'significantly' if self.is_better else 'not significantly'} better than the default with {seeds} each"

    def sentence(self, objective: str) -> str:
        """The verdict in words, with its numbers."""
        pair = self.pair
        chance = "p is undefined" if pair.p_holm is None else format_p(pair.p_holm)
        between = "" if pair.interval is None else " [{:.4f}, {:.4f}]".format(*pair.interval)
        numbers = f"{title_metric(objective)} on validation {pair.delta:+.4f}{between}, {chance}, over {pair.over}"
        seeds = f"{count(len(self.seeds), 'fresh seed')} each"
        if pair.p is None and pair.p_holm is not None:
            return f"no verdict on the default: {numbers}, {seeds}; {MORE_SEEDS}"
        if self.is_better:
            return f"significantly better than the default: {numbers}, {seeds}"
        return f"not significantly better than the default: {numbers}, {seeds}"


def confirm(plan: Plan, context: TrialContext, best: Row, fresh: int, tell: Callable[[str], None]) -> Confirmation:
    """Train the default and the best configuration with so many fresh seeds, that no trial used, and compare them.

    The seeds of both are the same; the patients are those of validation, resampled alike for both. Raises
    `HarnessError` where one of the trainings fails.
    """
    first = max(plan.seeds) + 1
    seeds = tuple(range(first, first + fresh))
    predictions: dict[str, list[Predictions]] = {}
    for name, row in (("best", best), ("default", plan.row)):
        predictions[name] = []
        for seed in seeds:
            tell(f"training the {name} configuration again, seed {seed}")
            predictions[name].append(_train_again(context, name, row, seed, tell))
    resampling = draw_resamples(predictions["best"][0].patient, RESAMPLES, seed=plan.fingerprint)
    systems = {name: _measure(seen, context, resampling) for name, seen in predictions.items()}
    (pair,) = compare_pairs(systems)
    values: Mapping[str, tuple[float, ...]] = {name: tuple(one.values.tolist()) for name, one in systems.items()}
    return Confirmation(seeds, values["default"], values["best"], pair, plan.higher_is_better)


def keep(study: optuna.Study, trial: int, confirmation: Confirmation) -> None:
    """Remember, with the study, what was found out of its best trial."""
    study.set_user_attr(CONFIRMATION, {"trial": trial, **asdict(confirmation)})


def recall(study: optuna.Study, trial: int) -> Confirmation | None:
    """What was kept of that trial; None where another one was the best then, or none was confirmed."""
    kept = dict(study.user_attrs.get(CONFIRMATION, {"trial": None}))
    if kept.pop("trial") != trial:
        return None
    seeds, default, best = (tuple(kept.pop(name)) for name in ("seeds", "default", "best"))
    return Confirmation(seeds, default, best, Pair(**kept.pop("pair")), **kept)


def _train_again(context: TrialContext, name: str, row: Row, seed: int, tell: Callable[[str], None]) -> Predictions:
    try:
        predictions = train(context, row, seed, lambda value, epoch: None, note=tell)
    except Exception as error:  # noqa: BLE001 - whatever a trial may fail with
        why = plain_failure(error, context, row)
        raise HarnessError(
            f"the {name} configuration failed when it was trained again with seed {seed} ({why['kind']}): "
            f"{why['message']}"
        ) from None
    forget(context, failed=False)
    return predictions


def _measure(seeds: Sequence[Predictions], context: TrialContext, resampling: Resampling) -> System:
    """The objective of each seed, and in each resample of the patients."""
    values, resamples = zip(*(_judge(one, context, resampling) for one in seeds), strict=True)
    return System(np.array(values), np.stack(resamples))


def _judge(val: Predictions, context: TrialContext, resampling: Resampling) -> tuple[float, np.ndarray]:
    """The mean over the labels with a value that enough patients have, and lack, and the same in each resample (R,).

    Decisions are at the thresholds of all of validation.
    """
    given = judged_scores(val, context.objective, context.policy)
    values = measure_values(val, context.objective, given)
    used = choose_labels(~np.isnan(values), val.targets, val.patient)
    drawn = resample(context.objective, given, val.targets, val.patient, resampling)
    return float(average_labels(values[None], used)[0]), average_labels(drawn, used)
