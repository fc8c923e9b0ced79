"""What runs on another machine: functions that get an order and give plain data, whatever happens there.

An engine pickles their names and their texts alone. They raise nothing: an error of this version might be unknown to
the submitter's, and some engines give up where a worker's error cannot be read.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.board import read_board
from harness.errors import HarnessError, OrderRefusedError
from harness.execution import local
from harness.execution.events import ComboFinished, ComboStarted, EpochFinished, Event, Noted, Printed
from harness.execution.jobs import JobBook
from harness.execution.order import Opened, here, open_order
from harness.execution.parcels import pack_result, unpack_board
from harness.execution.planning import Planned, Settings, plan
from harness.execution.workers import WorkerOptions
from harness.results.provenance import scrub
from harness.results.record import FailureKind, FailurePart, Record

DIFFERING, MACHINE = "differing", "machine"
"""Under which names a result holds the failures of combos that would have been others there, and where that is."""
OTHER_DATA = (
    "its data are not those of the submitter, or images do not decode; harness data prepare says which, and the "
    "submitter knows them once they are prepared in its cache"
)
PARTS = {
    "dataset": "the dataset, by its options or the code of its plugin",
    "model": "the model, by its parameters or the code of its plugin",
    "loss": "the loss, by its parameters or the code of its plugin",
    "recipe": "the recipe, or the file of its initial weights",
    "table": "the table that the network gets beside images",
    "made_of": "what the model is made of, by the files that others publish",
}
"""What is said of parts of a combo's identity in which two machines differ."""


class Log:
    """A listener that writes lines to standard error, which engines keep, and counts what was achieved."""

    def __init__(self) -> None:
        self.advanced = 0
        """Epochs and combos that were finished."""

    def __call__(self, event: Event) -> None:
        """Write one event."""
        match event:
            case ComboStarted():
                self._say(f"{event.name}: begins, {event.epochs} epochs")
            case EpochFinished():
                self.advanced += 1
                self._say(f"{event.name}: epoch {event.epoch.number} of {event.epochs}, {event.epoch.value:.4f}")
            case ComboFinished(record):
                self.advanced += 1
                failure = f" ({record.failure.kind}): {record.failure.message}" if record.failure else ""
                self._say(f"{record.combo.name}: {record.status}{failure}")
            case Printed(text):
                sys.stderr.write(text)
            case Noted(text):
                self._say(text)

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - the log of a job


def carry_order(text: str, work: Callable[[Opened, Log], Mapping[str, Any]]) -> dict[str, Any]:
    """Do the work of an order, and tell how it ended: `outcome` is `done`, `interrupted`, `refused` or `crashed`.

    With it come a `message` where it is not done, `advanced`, and what the work gave.
    """
    log = Log()

    def tell(outcome: str, message: str = "", given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        if message:
            print(message, file=sys.stderr, flush=True)  # noqa: T201 - the log of a job
        return {"outcome": outcome, "message": message, "advanced": log.advanced, **(given or {})}

    try:
        with open_order(text) as opened, _sign_in(opened):
            return tell("done", given=work(opened, log))
    except KeyboardInterrupt:
        return tell("interrupted", f"it was told to end on {here()}")
    except OrderRefusedError as error:
        return tell("refused", str(error))
    except HarnessError as error:
        return tell("refused", f"{error} (on {here()})")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, the submitter is to know
        traceback.print_exc()
        return tell("crashed", f"{type(error).__name__}: {error}")


def run_share(text: str) -> dict[str, Any]:
    """Run combos of a board that lies in a shared folder, one after another, until others are at all that is left."""
    return carry_order(text, _run_share)


def _run_share(opened: Opened, log: Log) -> dict[str, Any]:
    task = opened.order.task
    board, settings = read_board(opened.folder), _narrow(opened, task)
    planned, differing = _choose(plan(board, opened.registry, settings, log), task["combos"], log)
    records = local.run(
        planned, log, make_worker(opened, settings, task), retries=task["retries"], job=opened.order.job
    )
    return {"combos": [record.combo.name for record in records], **differing}


def run_combo_apart(text: str) -> dict[str, Any]:
    """Run one combo of a board in a folder of its own, and give its record and its files in bytes."""
    return carry_order(text, _run_combo_apart)


def _run_combo_apart(opened: Opened, log: Log) -> dict[str, Any]:
    task, settings = opened.order.task, _narrow(opened, opened.order.task)
    with tempfile.TemporaryDirectory(prefix="harness-board-") as place:
        folder = Path(place)
        unpack_board(task["files"], folder)
        planned, differing = _choose(plan(read_board(folder), opened.registry, settings, log), task["combos"], log)
        if differing:
            return differing
        (record,) = local.run(planned, log, make_worker(opened, settings, task))
        return pack_result(folder, record)


def _narrow(opened: Opened, task: Mapping[str, Any]) -> Settings:
    """This machine's settings, for the part of the board that a task is about."""
    seeds = task["seeds"]
    return replace(
        opened.settings, only=task["only"], seeds=None if seeds is None else tuple(seeds), force=task["force"]
    )


def make_worker(opened: Opened, settings: Settings, task: Mapping[str, Any]) -> WorkerOptions:
    """One worker process on this machine's device, within the limits of the order."""
    return WorkerOptions(
        settings=settings,
        devices=(settings.device,),
        plugins=opened.plugins,
        timeout=task["timeout"],
        memory=task["memory"],
    )


def _choose(
    planned: Sequence[Planned], combos: Mapping[str, Mapping[str, Any]], log: Log
) -> tuple[list[Planned], dict[str, Any]]:
    """The combos of an order, as they are planned here; and, for the submitter, the failures of those that would be
    other results here, where there are any.

    Raises `OrderRefusedError` where that is all of them, since the data are others.
    """
    here_planned = {item.job.combo.name: item for item in planned}
    chosen: list[Planned] = []
    reasons: dict[str, tuple[FailureKind, str]] = {}
    for name, wanted in combos.items():
        item = here_planned.get(name)
        if item is None or item.job.key != wanted["key"]:
            reasons[name] = _explain_difference(item, wanted["parts"])
            continue
        made = item.before is not None and item.before.key == item.job.key and digest(item.before) != wanted["before"]
        chosen.append(replace(item, reason=None if made else wanted["reason"]))
    if not reasons:
        return chosen, {}
    if not chosen and all(reason == OTHER_DATA for _, reason in reasons.values()):
        raise OrderRefusedError(f"{next(iter(reasons))} would be another result on {here()}: {OTHER_DATA}")
    for name, (_, reason) in reasons.items():
        log(Noted(f"{name} is left out: it would be another result on {here()}: {reason}"))
    failures = {name: _make_failure(kind, reason).model_dump() for name, (kind, reason) in reasons.items()}
    return chosen, {DIFFERING: failures, MACHINE: here()}


def _explain_difference(item: Planned | None, wanted: Mapping[str, str]) -> tuple[FailureKind, str]:
    """Why a combo would be another result here."""
    if item is None:
        return "data", "the board there has no such combination; its board.toml was changed meanwhile"
    if item.job.parts["fingerprint"] != wanted["fingerprint"]:
        return "data", OTHER_DATA
    if item.job.missing is not None:
        return "data", item.job.missing
    names = sorted({*wanted, *item.job.parts})
    differ = [name for name in names if wanted.get(name) != item.job.parts.get(name)]
    reason = "; ".join(f"{PARTS.get(name, name)}, is not the submitter's" for name in differ)
    return "plugin" if set(differ) <= {"dataset", "model", "loss"} else "data", reason


def _make_failure(kind: FailureKind, reason: str) -> FailurePart:
    """What the submitter is to publish, which names no machine and none of its folders."""
    message = scrub(f"on another machine it would be another result: {reason}")
    return FailurePart(kind=kind, message=message, where="before it began")


def describe_combos(planned: Sequence[Planned]) -> dict[str, dict[str, Any]]:
    """Combos as an order names them: what each has to be, and what there was of it."""
    return {
        item.job.combo.name: {
            "key": item.job.key,
            "parts": dict(item.job.parts),
            "before": None if item.before is None else digest(item.before),
            "reason": item.reason,
        }
        for item in planned
    }


def digest(record: Record) -> str:
    """What tells a record from another one of the same combo."""
    return hashlib.sha256(record.model_dump_json().encode()).hexdigest()


def _sign_in(opened: Opened) -> contextlib.AbstractContextManager[None]:
    """Hold the job's lease in the shared folder."""
    if opened.order.token is None:
        return contextlib.nullcontext()
    return JobBook(opened.folder).sign_in(opened.order.job, device=opened.settings.device)
