"""A search from its plan to its last trial: by this process, or by worker processes that share the study."""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.execution.events import Listener, Printed, ProcessUnfit, TrialAdvanced, TrialFinished
from harness.execution.pool import share_threads
from harness.execution.supervision import Death, Inbox, Worker
from harness.tuning.slots import Slots, Tally, best_of, count_trials, why_failed
from harness.tuning.study import Plan, values_of
from harness.tuning.worker import SECONDS, Advanced, Limits, Order, Over, Unfit, live, work

if TYPE_CHECKING:
    import optuna
    import torch
    from optuna.trial import FrozenTrial

    from harness.execution.planning import Settings
    from harness.tuning.trial import TrialContext

TICK = 0.5
"""Seconds between two looks at the study."""
FALSE_STARTS = 2
"""Times in a row that a worker may die before it has finished an epoch."""


@dataclass(frozen=True)
class Crew:
    """Who runs a study's trials here."""

    settings: Settings
    devices: tuple[torch.device, ...]
    """The devices, with an entry for each worker process; none: this process alone."""
    plugins: tuple[Path, ...] = ()


class Progress:
    """Says what has become of a study since the last look, whoever did it."""

    def __init__(self, study: optuna.Study, plan: Plan, limits: Limits, listener: Listener) -> None:
        self.study, self.plan, self.limits, self.listener = study, plan, limits, listener
        self.told = {trial.number for trial in count_trials(study).finished}
        self.begun = len(self.told)
        self.started = time.time()

    def hear(self, message: Advanced | Over | Unfit) -> None:
        """A trial has got further in this process, or the process is unfit."""
        match message:
            case Advanced(trial, epoch, epochs, value):
                self.listener(TrialAdvanced(self.plan.name, trial, epoch, epochs, value))
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
    study: optuna.Study, plan: Plan, context: TrialContext, crew: Crew, limits: Limits, listener: Listener
) -> None:
    """Run trials until the study has all of its own, or the time is over.

    Raises `HarnessError` where no worker process can be started; what is finished is kept whatever is raised.
    """
    progress = Progress(study, plan, limits, listener)
    if not crew.devices:
        work(study, plan, context, limits, progress.hear)
    elif not Slots(study, limits.trials).is_over():
        _Team(study, plan, crew, limits, progress).run()
    progress.look()


class _Team:
    """Worker processes of one study; one that dies is replaced, and its trial goes to another."""

    def __init__(self, study: optuna.Study, plan: Plan, crew: Crew, limits: Limits, progress: Progress) -> None:
        self.plan, self.crew, self.limits, self.progress = plan, crew, limits, progress
        self.slots = Slots(study, limits.trials, limits.lease)
        self.inbox: Inbox = SimpleQueue()
        self.workers: dict[Worker, torch.device] = {}
        self.unfit: set[Worker] = set()
        """Workers that end before the study does, to be replaced."""
        self.false_starts = 0

    def run(self) -> None:
        try:
            for device in self.crew.devices:
                self._start(device)
            while self.workers:
                try:
                    worker, message = self.inbox.get(timeout=TICK)
                except queue.Empty:
                    self.progress.look()
                    continue
                if worker in self.workers:
                    self._hear(worker, message)
        finally:
            for worker in tuple(self.workers):
                worker.kill(Death("stopped", "the search is over"))
                worker.join()
            for worker in self.workers:  # what they had begun is for whoever continues
                self.slots.give_back_of(worker.pid)

    def _start(self, device: torch.device) -> None:
        settings = replace(self.crew.settings, device=device)
        threads = share_threads(self.crew.devices)
        order = Order(self.plan, self.limits, settings, self.crew.plugins, threads)
        self.workers[Worker(self.inbox, live, order)] = device

    def _hear(self, worker: Worker, message: object) -> None:
        match message:
            case Advanced() | Over():
                self.false_starts = 0
                self.progress.hear(message)
            case Unfit():
                self.unfit.add(worker)
                self.progress.listener(ProcessUnfit(message.device, message.reason, replaced=True))
            case Printed():
                self.progress.listener(message)
            case Death():
                self._bury(worker, message)

    def _bury(self, worker: Worker, death: Death) -> None:
        """A worker is gone: done, or to be replaced."""
        device = self.workers.pop(worker)
        self.progress.look()
        if worker not in self.unfit:
            if death.kind == "exit" and death.code == 0:
                return
            self.false_starts += 1
        if self.false_starts > FALSE_STARTS * len(self.crew.devices):
            raise HarnessError(f"worker processes on {device} die before an epoch is over: {death.reason}")
        self.slots.recover()
        if not self.slots.is_over() and (self.limits.until is None or time.time() < self.limits.until):
            self._start(device)
