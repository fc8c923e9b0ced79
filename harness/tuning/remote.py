"""What a job on another machine does for a study; see `harness.execution.remote`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.board import Row, parse_board
from harness.execution.events import Event, Noted, TrialFinished
from harness.execution.interruption import Interruption
from harness.execution.order import Opened
from harness.execution.remote import Log, carry_order
from harness.execution.workers import WorkerOptions
from harness.metric_names import title_metric
from harness.tuning.confirmation import confirm, keep
from harness.tuning.planning import read_plan
from harness.tuning.search import search
from harness.tuning.storage import answering
from harness.tuning.study import Plan, join_study
from harness.tuning.trial import TrialContext, open_context
from harness.tuning.worker import Limits


def work_on_study(text: str) -> dict[str, Any]:
    """Run trials of a study as one of its workers, until it has all of its own or its time is over."""
    return carry_order(text, _work_on_study)


def _work_on_study(opened: Opened, log: Log) -> Mapping[str, Any]:
    plan, context = _open(opened, log)
    task = opened.order.task
    options = WorkerOptions(settings=opened.settings, devices=(opened.settings.device,), plugins=opened.plugins)
    limits = Limits(task["trials"], task["until"], job=opened.order.job)

    def hear(event: Event) -> None:
        match event:
            case TrialFinished(number=number, state=state, value=value, reason=reason):
                told = reason if value is None else f"{title_metric(plan.objective)} {value:.4f}"
                log(Noted(f"trial {number} of {plan.name}: {state}, {told}"))
            case _:
                log(event)

    with answering(plan.storage), Interruption(_stop):
        search(join_study(plan), plan, context, options, limits, hear)
    return {}


def confirm_study(text: str) -> dict[str, Any]:
    """Train the default and the best configuration of a study again, and keep with it what came of that."""
    return carry_order(text, _confirm_study)


def _confirm_study(opened: Opened, log: Log) -> Mapping[str, Any]:
    plan, context = _open(opened, log)
    task = opened.order.task
    with answering(plan.storage), Interruption(_stop):
        study = join_study(plan)
        made = confirm(plan, context, Row(**task["best"]), task["fresh"], lambda line: log(Noted(line)))
        keep(study, task["trial"], made)
    return {}


def _open(opened: Opened, log: Log) -> tuple[Plan, TrialContext]:
    """The plan of the study, by the components and the data that are here."""
    task = opened.order.task
    board = parse_board(task["definition"], opened.folder)
    context = open_context(board, opened.registry, opened.settings, task["plan"]["objective"], log)
    return read_plan(task["plan"], context), context


def _stop() -> None:
    """End at once: what was begun is given back on the way, for others."""
    raise KeyboardInterrupt
