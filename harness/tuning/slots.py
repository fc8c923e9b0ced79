"""Who runs which trial of a study, by what any storage of Optuna offers.

A study is to have an exact number of trials, whoever runs them: processes and machines that know nothing of each other
but the storage. A worker asks for a trial, then looks whether there is room for it: trials have numbers in the order in
which they came, and of those that count only the first `total` may run. One too many is given up before anything is
trained. A running trial is a lease (`harness.leases`): while a worker lives it changes an attribute of its trial, and
how long that has not changed is told by the watch of whoever looks. An abandoned trial counts no more, and is enqueued
again, once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from harness.errors import ClaimLostError
from harness.leases import LEASE, Keeper, Owner, is_abandoned

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

SURPLUS, RETRY_OF, LEASED, FAILURE = "surplus", "retry_of", "lease", "failure"
"""User attributes of a trial: it was one too many; which lost one it repeats; its lease; why it failed."""
JOB = "job"
"""In a trial's lease: the name of the job elsewhere that its worker is."""
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

    def __init__(self, study: optuna.Study, total: int, lease: float = LEASE, job: str = "") -> None:
        """`job` is the name of the job elsewhere that this worker is."""
        self.study, self.total, self.lease, self.job = study, total, lease, job
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
        TrialLease(self, trial).begin()
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
        """Renew a trial's lease until the block ends; one that has come to no end by then is given back."""
        with Keeper(self.lease) as keeper:
            keeper.keep(TrialLease(self, trial))
            yield

    def _is_lost(self, trial: FrozenTrial) -> bool:
        lease = trial.user_attrs.get(LEASED)
        before, since = self._seen.get(trial.number, (None, 0.0))
        if trial.number not in self._seen or before != lease:
            since = monotonic()
            self._seen[trial.number] = (lease, since)
        return is_abandoned(Owner.read(lease), monotonic() - since, self.lease)

    def give_back_of(self, process: int) -> None:
        """Give back what a process of this machine had begun, which was ended on purpose."""
        for trial in count_trials(self.study).running:
            owner = Owner.read(trial.user_attrs.get(LEASED))
            if owner.is_here() and owner.process == process:
                self._give_up(trial, died=False)

    def give_up_of(self, job: str, *, died: bool) -> None:
        """Give up what a job elsewhere had begun, which is over: it `died`, or was ended by its machine."""
        for trial in count_trials(self.study).running:
            if find_job(trial) == job:
                self._give_up(trial, died=died)

    def give_back(self, number: int) -> None:
        """Enqueue a trial of this worker again that was interrupted, for whoever continues; a finished one stays."""
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


@dataclass(eq=False)
class TrialLease:
    """A trial that is this process's."""

    slots: Slots
    trial: optuna.Trial
    beat: int = 0
    """How often it was renewed: what changes."""
    owner: Owner = field(default_factory=Owner.here)

    def begin(self) -> None:
        """Say whose it is. Nothing names the host: studies may be published."""
        about = {name: value for name, value in vars(self.owner).items() if name != "host"}
        job = {JOB: self.slots.job} if self.slots.job else {}
        self.trial.set_user_attr(LEASED, about | job | {"beat": self.beat})

    def renew(self) -> None:
        """Renew the lease. Raises `ClaimLostError` where others have taken this worker for dead."""
        from optuna.exceptions import UpdateFinishedTrialError

        self.beat += 1
        try:
            self.begin()
        except UpdateFinishedTrialError:
            raise ClaimLostError(
                f"trial {self.trial.number} was taken over by another process: this one did not renew its lease"
            ) from None

    def release(self) -> None:
        """Give it back, if it has not come to its end."""
        self.slots.give_back(self.trial.number)


def find_job(trial: FrozenTrial) -> str:
    """The name of the job elsewhere that runs a trial, or ran it; empty for one of a worker that is no job."""
    return str(trial.user_attrs.get(LEASED, {}).get(JOB, ""))


def why_failed(trial: FrozenTrial, attributes: dict[str, Any]) -> dict[str, str] | None:
    """`kind` and `message` of a failed trial; None for one that did not fail."""
    from optuna.trial import TrialState

    if trial.state != TrialState.FAIL:
        return None
    if attributes.get(LOST.format(trial.number)) == "twice":
        return {"kind": "crashed", "message": "its worker died, and so did the one that tried it again"}
    reason = trial.user_attrs.get(FAILURE)
    return dict(reason) if isinstance(reason, dict) else {"kind": "crashed", "message": "it left no reason"}


def best_of(trials: Sequence[FrozenTrial], *, higher_is_better: bool) -> FrozenTrial | None:
    """The complete trial with the best value, the earliest of several."""
    from optuna.trial import TrialState

    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    sign = -1 if higher_is_better else 1
    return min(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.number), default=None)
