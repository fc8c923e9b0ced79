"""What an exception means for a combo: a kind, a message and a place, without this machine's folders."""

from __future__ import annotations

import traceback
from pathlib import Path

from harness.choices import Choices
from harness.components import Loss, Model
from harness.errors import DataError, HarnessError, NotFiniteError, OutOfMemoryError, PluginError, WeightsError
from harness.results.provenance import scrub
from harness.results.record import FailureKind, FailurePart
from harness.training.memory import is_out_of_memory


def explain_failure(error: Exception | SystemExit, choices: Choices) -> FailurePart:
    """What kind of failure an exception is, in words without this machine's folders."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    where = f"{Path(last.filename).name}:{last.lineno} in {last.name}" if last else "unknown"
    text = str(error).strip().splitlines()
    message = scrub(text[0] if text else "")
    if not isinstance(error, HarnessError):
        message = f"{type(error).__name__}: {message}"
    return FailurePart(kind=_failure_kind(error, choices), message=message, where=where)


def _failure_kind(error: BaseException, choices: Choices) -> FailureKind:
    if isinstance(error, NotFiniteError):
        return "not_finite"
    if isinstance(error, OutOfMemoryError) or is_out_of_memory(error):
        return "out_of_memory"
    if isinstance(error, DataError | WeightsError):
        return "data"
    if isinstance(error, PluginError) or _passes_through(error, choices):
        return "plugin"
    return "crashed"


def _passes_through(error: BaseException, choices: Choices) -> bool:
    """Whether the exception came by way of a file that a component's author wrote."""
    components: tuple[Model | Loss, ...] = (choices.model, choices.loss)
    files = {component.build.__code__.co_filename for component in components if hasattr(component.build, "__code__")}
    return any(frame.filename in files for frame in traceback.extract_tb(error.__traceback__))
