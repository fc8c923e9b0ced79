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
from harness.results.record import Record


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
    planned = _choose(plan(board, opened.registry, settings, log), task["combos"])
    records = local.run(
        planned, log, make_worker(opened, settings, task), retries=task["retries"], job=opened.order.job
    )
    return {"combos": [record.combo.name for record in records]}


def run_combo_apart(text: str) -> dict[str, Any]:
    """Run one combo of a board in a folder of its own, and give its record and its files in bytes."""
    return carry_order(text, _run_combo_apart)


def _run_combo_apart(opened: Opened, log: Log) -> dict[str, Any]:
    task, settings = opened.order.task, _narrow(opened, opened.order.task)
    with tempfile.TemporaryDirectory(prefix="harness-board-") as place:
        folder = Path(place)
        unpack_board(task["files"], folder)
        planned = _choose(plan(read_board(folder), opened.registry, settings, log), task["combos"])
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


def _choose(planned: Sequence[Planned], combos: Mapping[str, Mapping[str, Any]]) -> list[Planned]:
    """The combos of an order, as they are planned here. Raises `OrderRefusedError` where one would be another here."""
    here_planned = {item.job.combo.name: item for item in planned}
    chosen = []
    for name, wanted in combos.items():
        item = here_planned.get(name)
        if item is None:
            raise OrderRefusedError(f"board.toml on {here()} has no combination {name}; it was changed meanwhile")
        if item.job.key != wanted["key"]:
            raise OrderRefusedError(f"{name} would be another result on {here()}: {_explain_key(item, wanted)}")
        made = item.before is not None and item.before.key == item.job.key and digest(item.before) != wanted["before"]
        chosen.append(replace(item, reason=None if made else wanted["reason"]))
    return chosen


def _explain_key(item: Planned, wanted: Mapping[str, Any]) -> str:
    if item.job.fingerprint != wanted["fingerprint"]:
        return (
            "its data are not those of the submitter, or images do not decode; harness data prepare says which, and "
            "the submitter knows them once they are prepared in its cache"
        )
    return "a plugin, a file of weights or board.toml is not the submitter's"


def describe_combos(planned: Sequence[Planned]) -> dict[str, dict[str, Any]]:
    """Combos as an order names them: what each has to be, and what there was of it."""
    return {
        item.job.combo.name: {
            "key": item.job.key,
            "fingerprint": item.job.fingerprint,
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
    return JobBook(opened.folder).sign_in(opened.order.job, device=str(opened.settings.device))
