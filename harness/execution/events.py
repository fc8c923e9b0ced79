"""What a run tells whoever watches: plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.execution.supervision import Printed as Printed  # noqa: PLC0414 - a worker's word is an event, too

if TYPE_CHECKING:
    from harness.execution.jobs import JobNote
    from harness.results.record import FailurePart, OutsidePart, Record
    from harness.training.epoch import Epoch
    from harness.training.pace import Steps


@dataclass(frozen=True)
class Preparing:
    """Images decoded so far."""

    dataset: str
    done: int
    total: int


@dataclass(frozen=True)
class Noted:
    """Something about the data that a person should know, and that has been seen to."""

    text: str


@dataclass(frozen=True)
class ComboStarted:
    """A combo's training begins."""

    name: str
    number: int
    """The combo's number among those that this run trains, from 1."""
    total: int
    epochs: int


@dataclass(frozen=True)
class StepsBegun:
    """A combo, or a trial, is within a long epoch: told about once a second, and not to observers."""

    name: str
    steps: Steps
    epochs: int


@dataclass(frozen=True)
class EpochFinished:
    """A combo has finished an epoch."""

    name: str
    epoch: Epoch
    epochs: int
    metric: str
    """The metric of `epoch.value`, which picks the best epoch, or `loss`."""


@dataclass(frozen=True)
class ComboFinished:
    """A combo has left its record."""

    record: Record
    seconds: float


@dataclass(frozen=True)
class OutsideMeasured:
    """A finished combo has been measured on an outside test: nothing was trained."""

    name: str
    title: str
    """What readers know the test as."""
    part: OutsidePart
    seconds: float


@dataclass(frozen=True)
class ComboRetried:
    """A combo has failed in a way that may pass, and is tried again."""

    name: str
    failure: FailurePart
    retry: int
    """The number of the retry, from 1."""
    retries: int


@dataclass(frozen=True)
class ComboLost:
    """Another process has taken a combo over; its record will be the other's."""

    name: str


@dataclass(frozen=True)
class Waiting:
    """All combos that are left are run by other processes."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Stopping:
    """The user wants the run to end: combos under way finish their epoch."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class JobsSubmitted:
    """Jobs were submitted to an executor, or found again."""

    executor: str
    notes: tuple[JobNote, ...]
    again: bool = False
    """Whether an earlier process had submitted them."""
    first: bool = False
    """Whether this process has told of no others before."""
    lasting: bool = False
    """Whether they go on without this process."""


@dataclass(frozen=True)
class JobEnded:
    """A job has ended in another way than by having done its work."""

    executor: str
    note: JobNote
    outcome: str
    """`interrupted`, `refused`, `crashed` or `lost`."""
    reason: str


@dataclass(frozen=True)
class Leaving:
    """The user wants the submitting process to end; what was submitted goes on unless it is cancelled now."""

    executor: str
    jobs: int
    seconds: float
    """For how long a second Ctrl-C cancels them."""


@dataclass(frozen=True)
class ProcessUnfit:
    """A process should run nothing more: a fault of its GPU, or a capture that broke off."""

    device: str
    reason: str
    replaced: bool
    """Whether a fresh one takes its place; else it is the only one, and goes on."""


@dataclass(frozen=True, kw_only=True)
class TrialAdvanced:
    """A trial of a search has finished an epoch."""

    study: str
    number: int
    epoch: int
    epochs: int
    value: float
    metric: str
    """The metric of `value`, on validation."""


@dataclass(frozen=True, kw_only=True)
class TrialFinished:
    """A trial of a search is over, here or elsewhere."""

    study: str
    number: int
    state: str
    """complete, pruned or fail."""
    value: float | None
    values: Mapping[str, Any]
    """The values of what is searched."""
    seconds: float | None
    reason: str
    """Why it failed."""
    best: tuple[int, float] | None
    """Number and value of the best so far."""
    done: int
    total: int
    left: float | None
    """Seconds that the rest will take, as far as can be told."""


Event = (
    Preparing
    | Noted
    | ComboStarted
    | StepsBegun
    | EpochFinished
    | ComboFinished
    | OutsideMeasured
    | ComboRetried
    | ComboLost
    | TrialAdvanced
    | TrialFinished
    | Waiting
    | JobsSubmitted
    | JobEnded
    | Leaving
    | ProcessUnfit
    | Printed
    | Stopping
)
Listener = Callable[[Event], None]
