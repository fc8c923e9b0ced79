"""Kinds of failure: what means each of them, and what is said of it without this machine's folders."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.choices import Choices
from harness.components import Loss, Model
from harness.errors import DataError, HarnessError, NotFiniteError, OutOfMemoryError, PluginError, WeightsError
from harness.execution.supervision import Death, DeathKind
from harness.results.provenance import scrub
from harness.results.record import FailureKind, FailurePart
from harness.training.memory import is_out_of_memory


@dataclass(frozen=True, kw_only=True)
class KindOfFailure:
    """A kind of failure: what means it, and whether it may pass."""

    name: FailureKind
    errors: tuple[type[BaseException], ...] = ()
    """Exceptions that mean it."""
    fits: Callable[[BaseException, Choices], bool] = lambda error, choices: False
    """Whether another exception means it, too."""
    death: DeathKind | None = None
    """A worker's death that means it."""
    may_pass: bool = False
    """Whether it may not come again, since what else ran on the machine had its part in it: `--retries` tries again."""

    def is_meant_by(self, error: BaseException, choices: Choices) -> bool:
        """Whether an exception is a failure of this kind."""
        return isinstance(error, self.errors) or self.fits(error, choices)


def _passes_through(error: BaseException, choices: Choices) -> bool:
    """Whether the exception came by way of a file that a component's author wrote."""
    components: tuple[Model | Loss, ...] = (choices.model, choices.loss)
    files = {component.build.__code__.co_filename for component in components if hasattr(component.build, "__code__")}
    return any(frame.filename in files for frame in traceback.extract_tb(error.__traceback__))


CRASHED = KindOfFailure(name="crashed", may_pass=True)
"""What no other kind fits."""
KINDS = (
    KindOfFailure(name="not_finite", errors=(NotFiniteError,)),
    KindOfFailure(
        name="out_of_memory",
        errors=(OutOfMemoryError,),
        fits=lambda error, _: is_out_of_memory(error),
        death="out_of_memory",
        may_pass=True,
    ),
    KindOfFailure(name="data", errors=(DataError, WeightsError)),
    KindOfFailure(name="plugin", errors=(PluginError,), fits=_passes_through),
    KindOfFailure(name="timeout", death="timeout", may_pass=True),
    KindOfFailure(name="interrupted", death="killed", may_pass=True),
    CRASHED,
)
"""Every kind of failure; an exception is of the first that it means."""


LOSSES: Mapping[FailureKind, str] = {
    "interrupted": "the job that ran it was lost, cancelled or preempted",
    "timeout": "the job that ran it came to its time limit",
    "out_of_memory": "the job that ran it was ended for the memory that it took",
    "crashed": "the job that ran it ended without a result",
}
"""What is said of a job elsewhere that was lost, by what its engine says."""


def explain_failure(error: Exception | SystemExit, choices: Choices) -> FailurePart:
    """What kind of failure an exception is, in words without this machine's folders."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    where = f"{Path(last.filename).name}:{last.lineno} in {last.name}" if last else "unknown"
    text = str(error).strip().splitlines()
    message = scrub(text[0] if text else "")
    if not isinstance(error, HarnessError):
        message = f"{type(error).__name__}: {message}"
    kind = next((kind for kind in KINDS if kind.is_meant_by(error, choices)), CRASHED)
    return FailurePart(kind=kind.name, message=message, where=where)


def explain_death(death: Death, where: str) -> FailurePart:
    """What kind of failure a worker's death is for the combo that it was running, which had come to `where`."""
    kind = next((kind for kind in KINDS if kind.death == death.kind), CRASHED)
    return FailurePart(kind=kind.name, message=scrub(death.reason), where=where)


def explain_loss(kind: FailureKind, where: str) -> FailurePart:
    """What kind of failure the end of a job elsewhere is for the combo that it was running; no machine is named."""
    return FailurePart(kind=kind, message=LOSSES[kind], where=where)


def may_pass(failure: FailurePart) -> bool:
    """Whether a failure is of a kind that may not come again."""
    return any(kind.may_pass for kind in KINDS if kind.name == failure.kind)
