"""Who runs which trial of a study, by what any storage of Optuna offers.

A study is to have an exact number of trials, whoever runs them: processes and machines that know nothing of each other
but the storage. A worker asks for a trial, then looks whether there is room for it: trials have numbers in the order in
which they came, and of those that count only the first `total` may run. One too many is given up before anything is
trained. While a worker lives it changes its trial's lease; a trial whose lease has not changed for a minute by the
watch of whoever looks is lost: it counts no more, and is enqueued again, once.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.execution.claims import LEASE, RENEWALS, machine_identity, process_lives, process_started

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

SURPLUS, RETRY_OF, LEASED, FAILURE = "surplus", "retry_of", "lease", "failure"
"""User attributes of a trial: it was one too many; which lost one it repeats; its lease; why it failed."""
LOST = "lost/{}"
"""User attribute of the study: the worker of the trial of that number died."""


@dataclass(frozen=True)
class Tally:
    """The trials of a study that count, by number."""

    finished: tuple[FrozenTrial, ...]
    """Trials that are complete, pruned, or failed with a reason."""
    running: tuple[FrozenTrial, ...]
    waiting: tuple[FrozenTrial, ...]

    @property
    def taken(self) -> int:
        """How many trials of the total are taken."""
        return len(self.finished) + len(self.running) + len(self.waiting)


def count_trials(study: optuna.Study) -> Tally:
    """What there is of a study."""
    from optuna.trial import TrialState

    attributes = study.user_attrs
    counted = [
        trial
        for trial in study.get_trials(deepcopy=False)
        if SURPLUS not in trial.user_attrs
        and not (trial.state == TrialState.FAIL and attributes.get(LOST.format(trial.number)) == "retried")
    ]
    return Tally(
        finished=tuple(trial for trial in counted if trial.state.is_finished()),
        running=tuple(trial for trial in counted if trial.state == TrialState.RUNNING),
        waiting=tuple(trial for trial in counted if trial.state == TrialState.WAITING),
    )


class Slots:
    """A worker's way to trials."""

    def __init__(self, study: optuna.Study, total: int, lease: float = LEASE) -> None:
        self.study, self.total, self.lease = study, total, lease
        self._seen: dict[int, tuple[Any, float]] = {}
        """Number -> its lease, and when this process saw it change."""

    def take(self) -> optuna.Trial | None:
        """A trial to run, or None where there is no room now: see `is_over`."""
        from optuna.trial import TrialState

        self.recover()
        tally = count_trials(self.study)
        if not tally.waiting and tally.taken >= self.total:
            return None
        trial = self.study.ask()
        trial.set_user_attr(LEASED, _lease(0))
        tally = count_trials(self.study)
        before = sum(
            other.number < trial.number for group in (tally.finished, tally.running, tally.waiting) for other in group
        )
        if before < self.total:
            return trial
        trial.set_user_attr(SURPLUS, True)
        self.study.tell(trial, state=TrialState.FAIL)
        return None

    def is_over(self) -> bool:
        """Whether nothing is left to run, nor may come back from a worker that has died."""
        tally = count_trials(self.study)
        return len(tally.finished) >= self.total and not tally.running

    def recover(self) -> None:
        """Give up trials whose worker is dead, and enqueue each again, once."""
        for trial in count_trials(self.study).running:
            if self._is_lost(trial):
                self._give_up(trial)

    @contextlib.contextmanager
    def hold(self, trial: optuna.Trial) -> Iterator[None]:
        """Renew a trial's lease until the block ends."""
        ended = threading.Event()

        def renew() -> None:
            beat = 0
            while not ended.wait(self.lease / RENEWALS):
                beat += 1
                with contextlib.suppress(Exception):  # a storage that does not answer now may answer the next time
                    trial.set_user_attr(LEASED, _lease(beat))

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _is_lost(self, trial: FrozenTrial) -> bool:
        lease = trial.user_attrs.get(LEASED)
        if isinstance(lease, dict) and lease.get("machine") == machine_identity():
            return not process_lives(lease.get("process"), lease.get("process_started"))
        before, when = self._seen.get(trial.number, (None, 0.0))
        if trial.number not in self._seen or before != lease:
            self._seen[trial.number] = (lease, time.monotonic())
            return False
        return time.monotonic() - when > self.lease

    def give_back_of(self, process: int) -> None:
        """A process of this machine was ended on purpose: what it had begun is given back."""
        for trial in count_trials(self.study).running:
            lease = trial.user_attrs.get(LEASED)
            if isinstance(lease, dict) and (lease["machine"], lease["process"]) == (machine_identity(), process):
                self._give_up(trial, died=False)

    def give_back(self, number: int) -> None:
        """A trial of this worker was interrupted: it is enqueued again, for whoever continues."""
        trial = next((one for one in count_trials(self.study).running if one.number == number), None)
        if trial is not None:
            self._give_up(trial, died=False)

    def _give_up(self, trial: FrozenTrial, *, died: bool = True) -> None:
        """Only one of those who see it lost is told so by the storage: that one enqueues it again."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        again = not died or RETRY_OF not in trial.user_attrs
        self.study.set_user_attr(LOST.format(trial.number), "retried" if again else "twice")
        try:
            self.study.tell(trial.number, state=TrialState.FAIL)
        except (ValueError, UpdateFinishedTrialError):  # somebody else has; or its worker lives, and has finished it
            return
        if again:
            kept = {name: value for name, value in trial.user_attrs.items() if name != LEASED}
            if died:
                kept[RETRY_OF] = trial.number
            self.study.enqueue_trial(trial.system_attrs.get("fixed_params", {}) | trial.params, user_attrs=kept)


def _lease(beat: int) -> dict[str, Any]:
    process = os.getpid()
    return {
        "machine": machine_identity(),
        "process": process,
        "process_started": process_started(process),
        "beat": beat,
    }


def why_failed(trial: FrozenTrial, attributes: dict[str, Any]) -> dict[str, str] | None:
    """`kind` and `message` of a failed trial; None for one that did not fail."""
    from optuna.trial import TrialState

    if trial.state != TrialState.FAIL:
        return None
    if attributes.get(LOST.format(trial.number)) == "twice":
        return {"kind": "crashed", "message": "its worker died, and so did the one that tried it again"}
    found = trial.user_attrs.get(FAILURE)
    return dict(found) if isinstance(found, dict) else {"kind": "crashed", "message": "it left no reason"}


def best_of(trials: Sequence[FrozenTrial], *, higher_is_better: bool) -> FrozenTrial | None:
    """The complete trial with the best value, the earliest of several."""
    from optuna.trial import TrialState

    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    sign = -1 if higher_is_better else 1
    return min(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.number), default=None)
