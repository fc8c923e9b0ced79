"""What a study came to: its best configuration as a row of a board, and what finding it took."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.board import Row, row_text
from harness.errors import HarnessError
from harness.metric_names import title_metric
from harness.text import count, describe_seconds
from harness.tuning.slots import best_of, count_trials, why_failed
from harness.tuning.space import with_values
from harness.tuning.study import Plan, is_default, values_of
from harness.tuning.worker import SECONDS

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from harness.tuning.confirmation import Confirmation


@dataclass(frozen=True, eq=False, kw_only=True)
class StudyOutcome:
    """A study after its last trial."""

    plan: Plan
    trials: tuple[FrozenTrial, ...]
    """All trials that are over, in the order of their numbers."""
    failures: dict[str, int]
    """Kind -> trials that failed so."""
    best: FrozenTrial
    default: FrozenTrial | None
    """The trial of the row's own parameters, where it is complete."""
    confirmation: Confirmation | None = None
    """Whether the best is better than the default beyond chance, where that was tried."""

    @property
    def seconds(self) -> float:
        """Seconds that all trials took together."""
        return math.fsum(trial.user_attrs.get(SECONDS, 0.0) for trial in self.trials)

    @property
    def counts(self) -> dict[str, int]:
        """Trials by what became of them."""
        return dict(Counter(trial.state.name.lower().replace("fail", "failed") for trial in self.trials))

    @property
    def row(self) -> Row:
        """The best configuration as a row."""
        changed = {
            name: value
            for name, value in values_of(self.best).items()
            if value != self.plan.defaults[name] or type(value) is not type(self.plan.defaults[name])
        }
        return replace(with_values(self.plan.row, changed), tuned=self.describe())

    def cost(self) -> str:
        """What finding it took, in one line."""
        reached = f"{title_metric(self.plan.objective)} {self.best.value:.4f} on validation"
        before = f", default {self.default.value:.4f}" if self.default and self.default.value is not None else ""
        return f"{count(len(self.trials), 'trial')} in {describe_seconds(self.seconds)}: {reached}{before}"

    def describe(self) -> str:
        """What finding the best configuration took and what came of confirming it, as a board says it of the row."""
        return self.cost() if self.confirmation is None else f"{self.cost()}; {self.confirmation.verdict}"

    def row_text(self) -> str:
        """The row as it stands in a `board.toml`."""
        row = self.row
        return row_text([row.model], [row.loss], [row.recipe], row.params, tuned=row.tuned)


def conclude(study: optuna.Study, plan: Plan) -> StudyOutcome:
    """What the study came to. Raises `HarnessError`, with the kinds of failure, where no trial is complete."""
    from optuna.trial import TrialState

    trials = tuple(sorted(count_trials(study).finished, key=lambda trial: trial.number))
    reasons = [why for trial in trials if (why := why_failed(trial, study.user_attrs)) is not None]
    failures = dict(Counter(why["kind"] for why in reasons))
    best = best_of(trials, higher_is_better=plan.higher_is_better)
    if best is None:
        kinds = ", ".join(f"{count} {kind}" for kind, count in failures.items()) or "none has finished"
        first = f"; the first: {reasons[0]['message']}" if reasons else ""
        raise HarnessError(f"study '{plan.name}': no trial of {len(trials)} is complete ({kinds}){first}")
    default = next((t for t in trials if is_default(t) and t.state == TrialState.COMPLETE), None)
    return StudyOutcome(plan=plan, trials=trials, failures=failures, best=best, default=default)


def as_plain(outcome: StudyOutcome) -> dict[str, Any]:
    """The outcome as plain data for JSON."""
    plan, best, row, confirmation = outcome.plan, outcome.best, outcome.row, outcome.confirmation
    return {
        "study": plan.name,
        "objective": plan.objective,
        "trials": {"total": len(outcome.trials), **outcome.counts, "failures": outcome.failures},
        "hours": outcome.seconds / 3600,
        "best": {
            "number": best.number,
            "value": best.value,
            "values": values_of(best),
            "is_default": is_default(best),
        },
        "default": None if outcome.default is None else outcome.default.value,
        "row": {
            "name": row.name,
            "model": row.model,
            "loss": row.loss,
            "recipe": row.recipe,
            "params": row.params,
            "toml": outcome.row_text(),
        },
        "confirmation": None
        if confirmation is None
        else {
            "better": confirmation.is_better,
            "seeds": list(confirmation.seeds),
            "default": list(confirmation.default),
            "best": list(confirmation.best),
            **{name: value for name, value in vars(confirmation.pair).items() if name not in ("a", "b", "p_holm")},
        },
    }
