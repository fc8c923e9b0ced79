"""A study whose trials run on other machines: this process submits workers of the study, and watches it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.board import BOARD_FILE, read_text
from harness.execution.interruption import Interrupted
from harness.execution.submitter import Submitter
from harness.tuning.confirmation import Confirmation, recall
from harness.tuning.planning import as_plain, name_row
from harness.tuning.remote import confirm_study, work_on_study
from harness.tuning.search import StudyWatch
from harness.tuning.slots import Slots, count_trials, find_job
from harness.tuning.worker import SECONDS, Limits

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from harness.execution.events import Listener
    from harness.execution.submitter import Elsewhere
    from harness.tuning.outcome import StudyOutcome
    from harness.tuning.study import Plan


def search_elsewhere(study: optuna.Study, plan: Plan, elsewhere: Elsewhere, limits: Limits, listener: Listener) -> None:
    """Have workers elsewhere run trials until the study has all of its own, or the time is over.

    Raises `Interrupted` after Ctrl-C, with the jobs that go on, and `HarnessError` where jobs come to nothing.
    """
    watch = StudyWatch(study, plan, limits, listener)
    _run(Searching(study, plan, elsewhere, limits, watch))
    watch.look()


def confirm_elsewhere(
    study: optuna.Study, outcome: StudyOutcome, elsewhere: Elsewhere, fresh: int, listener: Listener
) -> Confirmation:
    """Have the default and the best configuration trained again elsewhere. Raises what `search_elsewhere` raises."""
    submitter = Confirming(study, outcome, elsewhere, fresh, listener)
    _run(submitter)
    confirmation = submitter.recall()
    assert confirmation is not None
    return confirmation


def _run(submitter: Submitter) -> None:
    with submitter.interruption as interruption:
        try:
            submitter.run()
        except KeyboardInterrupt:
            raise Interrupted((), interruption.jobs) from None
        if interruption.asked:
            raise Interrupted((), interruption.jobs)


class StudySubmitter(Submitter):
    """Has something done for a study."""

    def __init__(self, plan: Plan, elsewhere: Elsewhere, listener: Listener) -> None:
        metrics = (*plan.board.metrics, plan.objective)
        super().__init__(replace(plan.board, rows=(plan.row,), metrics=metrics), elsewhere, listener)
        self.plan = plan

    def make_task(self, **about: Any) -> dict[str, Any]:
        """What a job has to know: the study, the board that it belongs to, and what is to be done."""
        definition = read_text(self.plan.board.folder / BOARD_FILE)
        return {"plan": as_plain(self.plan), "definition": definition, **about}


class Searching(StudySubmitter):
    """Has workers run the trials of a study."""

    function = staticmethod(work_on_study)

    def __init__(
        self, study: optuna.Study, plan: Plan, elsewhere: Elsewhere, limits: Limits, watch: StudyWatch
    ) -> None:
        super().__init__(plan, elsewhere, watch.listener)
        self.work = f"tune-{plan.name}"
        self.study, self.limits, self.watch = study, limits, watch
        self.slots = Slots(study, limits.trials, limits.lease)
        self.at_work = False
        """Whether there are jobs that are not over."""

    def come_back(self) -> None:
        """Take up the workers of an earlier process."""
        super().come_back()
        self.at_work = bool(self.crew.jobs)

    def is_over(self) -> bool:
        """Whether the study has all of its trials, or its time and its last worker's trial are over."""
        return self.slots.is_over() or (self._is_late() and not self.at_work)

    def count_left(self) -> int:
        """How many trials are not finished."""
        return max(1, self.limits.trials - len(count_trials(self.study).finished))

    def expect_seconds(self, workers: int) -> float | None:
        """A worker's part of the trials, by the longest so far; where there is a budget, one more than fits in it."""
        longest = max(_list_seconds(count_trials(self.study).finished), default=None)
        if longest is None:
            return None
        part = longest * math.ceil(self.count_left() / workers)
        return part if self.limits.until is None else min(part, max(0.0, self.limits.until - time.time()) + longest)

    def step(self) -> None:
        """Tell what the workers have done, give the trials of lost ones to others, and submit what is lacking."""
        self._watch()
        self.slots.recover()
        for ended in self.crew.look():
            self._watch()  # what it did in its last moment
            if ended.kind is not None:
                self.slots.give_up_of(ended.note.name, died=ended.kind != "interrupted")
            self.count_start(ended, achieved=ended.note.name in self.proven, needed=not self.slots.is_over())
        lacking = self.count_wanted(self.count_left()) - len(self.crew.jobs)
        if lacking > 0 and not self.is_failing and not self._is_late() and not self.slots.is_over():
            order = self.make_order(self.make_task(trials=self.limits.trials, until=self.limits.until))
            self.crew.submit([order] * lacking)
        self.at_work = bool(self.crew.jobs)

    def _watch(self) -> None:
        self.watch.look()
        self.watch.look_at_running()
        self.proven.update(find_job(trial) for trial in self.study.get_trials(deepcopy=False))

    def _is_late(self) -> bool:
        return self.limits.until is not None and time.time() >= self.limits.until


class Confirming(StudySubmitter):
    """Has the default and the best configuration of a study trained again, in one job."""

    function = staticmethod(confirm_study)

    def __init__(
        self, study: optuna.Study, outcome: StudyOutcome, elsewhere: Elsewhere, fresh: int, listener: Listener
    ) -> None:
        super().__init__(outcome.plan, elsewhere, listener)
        self.work = f"confirm-{outcome.plan.name}"
        self.study, self.outcome, self.fresh = study, outcome, fresh

    def recall(self) -> Confirmation | None:
        """What came of the best configuration with so many fresh seeds; None while that is not known."""
        found = recall(self.study, self.outcome.best.number)
        return found if found is not None and len(found.seeds) == self.fresh else None

    def is_over(self) -> bool:
        """Whether it is known."""
        return self.recall() is not None

    def count_left(self) -> int:
        """One job does it all."""
        return 1

    def expect_seconds(self, workers: int) -> float | None:  # noqa: ARG002 - there is one
        """Both configurations with all seeds, each as long as the longest trial so far."""
        longest = max(_list_seconds(self.outcome.trials), default=None)
        return None if longest is None else 2 * self.fresh * longest

    def step(self) -> None:
        """Submit the job, once more where it was lost."""
        for ended in self.crew.look():
            self.count_start(ended, achieved=False, needed=not self.is_over())
        if not self.crew.jobs and not self.is_over():
            best, trial = name_row(self.outcome.row), self.outcome.best.number
            self.crew.submit([self.make_order(self.make_task(best=best, trial=trial, fresh=self.fresh))])


def _list_seconds(trials: Iterable[FrozenTrial]) -> list[float]:
    return [trial.user_attrs[SECONDS] for trial in trials if SECONDS in trial.user_attrs]
