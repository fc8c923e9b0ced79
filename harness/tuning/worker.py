"""A worker of a study: trials one after another, as long as there is room for more."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from harness.board import Row
from harness.errors import DataError, UsageError
from harness.execution.workers import WorkOrder, begin_work, why_unfit
from harness.leases import LEASE
from harness.metric_names import title_metric
from harness.tuning.slots import FAILURE, Slots
from harness.tuning.space import with_values
from harness.tuning.storage import answering, is_of_storage
from harness.tuning.study import Plan, ask_values, join_study

if TYPE_CHECKING:
    import optuna

    from harness.training.epoch import Epoch
    from harness.training.pace import Steps
    from harness.tuning.trial import TrialContext

POLL = 1.0
"""Seconds between two looks at a study that others finish."""
SECONDS = "seconds"
"""User attribute of a trial: what it took."""


@dataclass(frozen=True)
class Limits:
    """How much of a study is to be done."""

    trials: int
    """Trials that the study is to have in all."""
    until: float | None = None
    """The `time.time()` from which on no trial begins."""
    lease: float = LEASE
    job: str = ""
    """The name of the job elsewhere that works within them."""


@dataclass(frozen=True)
class TrialEpoch:
    """A trial has finished an epoch."""

    trial: int
    epoch: int
    epochs: int
    value: float


@dataclass(frozen=True)
class TrialSteps:
    """A trial is within a long epoch."""

    trial: int
    steps: Steps
    epochs: int


@dataclass(frozen=True)
class Over:
    """A trial has come to its end, good or bad."""

    trial: int


@dataclass(frozen=True)
class Unfit:
    """This process should run nothing more."""

    device: str
    reason: str


@dataclass(frozen=True)
class TrialNote:
    """Something that a person should know of a trial under way."""

    trial: int
    text: str


OnProgress = Callable[[TrialEpoch | TrialSteps | TrialNote | Over | Unfit], None]


class PrunedError(Exception):
    """A trial that is not worth going on with."""


def work(
    study: optuna.Study,
    plan: Plan,
    context: TrialContext,
    limits: Limits,
    on_progress: OnProgress,
    *,
    replaceable: bool = False,
) -> None:
    """Run trials until the study has all of its own, or the time is over; or, where another process takes its place,
    until this one is unfit.

    A trial that fails becomes a failed trial, and the next one begins; an interrupted one is given back.
    """
    slots, unfit = Slots(study, limits.trials, limits.lease, limits.job), None
    while limits.until is None or time.time() < limits.until:
        trial = slots.take()
        if trial is not None:
            with slots.hold(trial):
                run_trial(study, trial, plan, context, on_progress)
            on_progress(Over(trial.number))
            if unfit is None:
                unfit = why_unfit(context.settings.device)
                if unfit is not None:
                    on_progress(Unfit(context.settings.device, unfit))
            if unfit is not None and replaceable:
                return
        elif slots.is_over():
            return
        else:
            time.sleep(min(POLL, limits.lease / 4))


def run_trial(
    study: optuna.Study, trial: optuna.Trial, plan: Plan, context: TrialContext, on_progress: OnProgress
) -> None:
    """Run a trial and tell the study what came of it."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    from harness.tuning.trial import forget, plain_failure

    started = time.perf_counter()
    row = with_values(plan.row, ask_values(trial, plan))
    state, value, about = TrialState.COMPLETE, None, {}
    try:
        value = _reach(trial, plan, context, row, on_progress)
    except PrunedError:
        state = TrialState.PRUNED
    except (Exception, SystemExit) as error:
        if is_of_storage(error):
            raise  # no failure of the trial: whoever goes on runs it again
        state, about = TrialState.FAIL, {FAILURE: dict(plain_failure(error, context, row))}
    forget(context, failed=state == TrialState.FAIL)  # out of reach of an exception, which holds on to the network
    # where another worker took this one for dead, the trial is not this one's any more
    with contextlib.suppress(UpdateFinishedTrialError, ValueError):
        for name, attribute in (about | {SECONDS: round(time.perf_counter() - started, 3)}).items():
            trial.set_user_attr(name, attribute)
        study.tell(trial, value, state=state)


def _reach(trial: optuna.Trial, plan: Plan, context: TrialContext, row: Row, on_progress: OnProgress) -> float:
    """The mean over seeds of the objective on validation. The first seed's epochs are reported to the pruner.

    Raises `PrunedError`, `DataError` where the objective is undefined, and whatever a training raises.
    """
    from harness.tuning.trial import train

    def tell_steps(steps: Steps) -> None:
        on_progress(TrialSteps(trial.number, steps, plan.epochs))

    def note(text: str) -> None:
        on_progress(TrialNote(trial.number, text))

    reached = []
    for place, seed in enumerate(plan.seeds):

        def advance(value: float, epoch: Epoch, place: int = place) -> None:
            on_progress(TrialEpoch(trial.number, epoch.number, plan.epochs, value))
            if place == 0 and not math.isnan(value):
                trial.report(value, epoch.number)
                if trial.should_prune():
                    raise PrunedError

        reached.append(context.judge(train(context, row, seed, advance, tell_steps, note)))
    if any(map(math.isnan, reached)):
        raise DataError(
            f"{title_metric(plan.objective)} is undefined on validation: no label has both positives and negatives"
        )
    return math.fsum(reached) / len(reached)


# --- in a process of its own ------------------------------------------------------------------------------------------


def live(parent: Connection, order: WorkOrder) -> None:
    """Run trials of the order's plan within its limits, and say how far they are: what a worker process does."""
    from harness.registry import load_registry
    from harness.tuning.trial import open_context

    begin_work(order)
    plan, limits = order.task
    registry = load_registry(order.plugins)
    context = open_context(plan.board, registry, order.settings, plan.objective, lambda event: None)
    try:
        with answering(plan.storage):
            work(join_study(plan), plan, context, limits, parent.send, replaceable=True)
    except UsageError as error:
        sys.exit(str(error))
