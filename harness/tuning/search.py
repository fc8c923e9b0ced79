"""A search from its plan to its last trial: by this process, or by worker processes that share the study."""

from __future__ import annotations

import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

from harness.execution.events import Listener, Printed, ProcessUnfit, StepsBegun, TrialAdvanced, TrialFinished
from harness.execution.supervision import Death
from harness.execution.workers import Place, WorkerOptions, Workers, share_out
from harness.tuning.slots import Slots, Tally, best_of, count_trials, why_failed
from harness.tuning.study import Plan, values_of
from harness.tuning.worker import SECONDS, Limits, Over, TrialEpoch, TrialSteps, Unfit, live, work

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from harness.tuning.trial import TrialContext

TICK = 0.5
"""Seconds between two looks at the study."""
FALSE_STARTS = 3
"""Workers in a row that may die at one place before they have finished an epoch."""


class StudyWatch:
    """Says what has become of a study since the last look, whoever did it."""

    def __init__(self, study: optuna.Study, plan: Plan, limits: Limits, listener: Listener) -> None:
        self.study, self.plan, self.limits, self.listener = study, plan, limits, listener
        self.told = {trial.number for trial in count_trials(study).finished}
        self.epochs: dict[int, int] = {}
        """The last epoch of each trial elsewhere that was told."""
        self.begun = len(self.told)
        self.started = time.time()

    def hear(self, message: TrialEpoch | TrialSteps | Over | Unfit) -> None:
        """A trial has got further in this process, or the process is unfit."""
        match message:
            case TrialEpoch(trial, epoch, epochs, value):
                self.listener(
                    TrialAdvanced(
                        study=self.plan.name,
                        number=trial,
                        epoch=epoch,
                        epochs=epochs,
                        value=value,
                        metric=self.plan.objective,
                    )
                )
            case TrialSteps(trial, steps, epochs):
                self.listener(StepsBegun(f"trial {trial}", steps, epochs))
            case Over():
                self.look()
            case Unfit(device, reason):
                self.listener(ProcessUnfit(device, reason, replaced=False))

    def look(self) -> None:
        """Tell of trials that are new."""
        tally = count_trials(self.study)
        for trial in tally.finished:
            if trial.number not in self.told:
                self.told.add(trial.number)
                self.listener(self._describe(trial, tally))

    def look_at_running(self) -> None:
        """Tell how far trials are that run elsewhere, by what they have reported to the pruner."""
        for trial in count_trials(self.study).running:
            epoch = max(trial.intermediate_values, default=0)
            if epoch > self.epochs.get(trial.number, 0):
                self.epochs[trial.number] = epoch
                self.hear(TrialEpoch(trial.number, epoch, self.plan.epochs, trial.intermediate_values[epoch]))

    def _describe(self, trial: FrozenTrial, tally: Tally) -> TrialFinished:
        failure = why_failed(trial, self.study.user_attrs)
        best = best_of(tally.finished, higher_is_better=self.plan.higher_is_better)
        done = len(tally.finished)
        return TrialFinished(
            study=self.plan.name,
            number=trial.number,
            state=trial.state.name.lower(),
            value=trial.value,
            values=values_of(trial),
            seconds=trial.user_attrs.get(SECONDS),
            reason=f"{failure['kind']}: {failure['message']}" if failure else "",
            best=None if best is None or best.value is None else (best.number, best.value),
            done=done,
            total=self.limits.trials,
            left=self._seconds_left(done),
        )

    def _seconds_left(self, done: int) -> float | None:
        """At the pace since this search began, and within its budget."""
        here = done - self.begun
        if here <= 0:
            return None
        left = max(0, self.limits.trials - done) * (time.time() - self.started) / here
        return left if self.limits.until is None else min(left, max(0.0, self.limits.until - time.time()))


def search(
    study: optuna.Study,
    plan: Plan,
    context: TrialContext,
    options: WorkerOptions,
    limits: Limits,
    listener: Listener,
) -> None:
    """Run trials until the study has all of its own, or the time is over.

    Raises `HarnessError` where no worker process can be started; what is finished is kept whatever is raised.
    """
    watch = StudyWatch(study, plan, limits, listener)
    if not options.devices:
        work(study, plan, context, limits, watch.hear)
    elif not Slots(study, limits.trials).is_over():
        _Team(study, plan, options, limits, watch).run()
    watch.look()


class _Team:
    """Worker processes of one study; one that dies is replaced, and its trial goes to another."""

    def __init__(
        self, study: optuna.Study, plan: Plan, options: WorkerOptions, limits: Limits, watch: StudyWatch
    ) -> None:
        self.limits, self.watch = limits, watch
        self.slots = Slots(study, limits.trials, limits.lease)
        places = [Place(order) for order in share_out((plan, limits), options)]
        self.workers = Workers(
            SimpleQueue(),
            live,
            places,
            false_starts=FALSE_STARTS,
            proof="an epoch was over",
            apprentice=options.apprentice,
        )

    def run(self) -> None:
        try:
            for place in self.workers.places:
                self.workers.start(place)
            while any(self.workers.active):
                heard = self.workers.listen(TICK)
                if heard is None:
                    self.watch.look()
                else:
                    self._hear(*heard)
        finally:
            for process in self.workers.close():  # what they had begun is for whoever continues
                self.slots.give_back_of(process)

    def _hear(self, place: Place, message: object) -> None:
        match message:
            case TrialSteps():
                self.watch.hear(message)
            case TrialEpoch() | Over():
                place.prove()
                self.watch.hear(message)
            case Unfit():
                self.watch.listener(ProcessUnfit(message.device, message.reason, replaced=True))
                self.workers.dismiss(place, message.reason)
                self._replace(place)
            case Printed():
                self.watch.listener(message)
            case Death():
                self.watch.look()
                if message.kind != "exit" or message.code != 0:  # otherwise there was nothing more to do for it
                    self._replace(place)

    def _replace(self, place: Place) -> None:
        """Start another worker where one is gone, while there is something to do."""
        self.slots.recover()
        if not self.slots.is_over() and (self.limits.until is None or time.time() < self.limits.until):
            self.workers.start(place)
