"""The studies of a search, one after another: from what is asked to rows, plans, trials and reports."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.verbs.elsewhere import explain_leaving
from harness.cli.verbs.shared import same_command
from harness.errors import HarnessError, UsageError
from harness.tuning.methods import Pruner, Sampler

if TYPE_CHECKING:
    import optuna

    from harness.board import Board, Row
    from harness.cli.terminal import Display
    from harness.definition import Definition
    from harness.execution.planning import Settings
    from harness.execution.submitter import Elsewhere
    from harness.execution.workers import WorkerOptions
    from harness.parameters import Params
    from harness.registry import Registry
    from harness.tuning.confirmation import Confirmation
    from harness.tuning.estimate import TrialTime
    from harness.tuning.outcome import StudyOutcome
    from harness.tuning.study import Plan
    from harness.tuning.trial import TrialContext
    from harness.tuning.worker import Limits

    AtWork = WorkerOptions | Elsewhere

KEPT = "; finished trials are kept, and the same command goes on"


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What is asked of every study."""

    trials: int
    until: float | None
    objective: str
    sampler: Sampler
    pruner: Pruner
    seeds: int
    confirm: int
    storage: str | None
    study: str | None
    space: Path | None
    searched: tuple[str, ...]
    fixed: Params


def choose_rows(
    board: Board,
    models: Sequence[str],
    losses: Sequence[str],
    recipes: Sequence[str],
    params: dict[str, dict[str, Any]],
) -> list[Row]:
    """Choose the row of each study: the models, losses and recipes given, or the board's where it has only one."""
    from harness.board import Row

    board_names = {
        "--models": dict.fromkeys(row.model for row in board.systems),
        "--losses": dict.fromkeys(row.loss for row in board.systems),
        "--recipes": dict.fromkeys(row.recipe for row in board.systems),
    }
    chosen = {"--models": tuple(models), "--losses": tuple(losses), "--recipes": tuple(recipes)}
    for flag, names in board_names.items():
        if not chosen[flag]:
            if len(names) != 1:
                raise UsageError(f"give {flag}: the board has {', '.join(names)}")
            chosen[flag] = tuple(names)
    return [
        Row(model=model, loss=loss, recipe=recipe, params=params)
        for model, loss, recipe in itertools.product(*chosen.values())
    ]


def run_studies(
    definition: Definition,
    plans: Sequence[Plan],
    context: TrialContext,
    at_work: AtWork,
    wish: SearchOptions,
    *,
    add: bool,
    as_json: bool,
) -> tuple[list[dict[str, Any]], list[HarnessError]]:
    """One study after another, as plain data; and what came of those that came to nothing. The others go on."""
    from harness.execution.board_run import note_data_root
    from harness.tuning.study import open_study

    studies = [open_study(plan) for plan in plans]
    definition.write()
    note_data_root(definition.board, context.registry, context.settings.data_root)
    documents: list[dict[str, Any]] = []
    failures = []
    for number, (plan, study) in enumerate(zip(plans, studies, strict=True)):
        until = _share(wish.until, len(plans) - number)
        try:
            documents.append(
                _run_study(plan, study, context, at_work, replace(wish, until=until), add=add, as_json=as_json)
            )
        except HarnessError as error:
            documents.append({"study": plan.name, "error": str(error)})
            failures.append(error)
    return documents, failures


def _run_study(
    plan: Plan,
    study: optuna.Study,
    context: TrialContext,
    at_work: AtWork,
    wish: SearchOptions,
    *,
    add: bool,
    as_json: bool,
) -> dict[str, Any]:
    """One study from its plan to its row; gives it as plain data."""
    from harness.cli.study_listing import print_outcome
    from harness.cli.terminal import Display, fail
    from harness.definition import add_rows
    from harness.tuning import outcome as outcomes
    from harness.tuning.confirmation import recall
    from harness.tuning.report import write_report
    from harness.tuning.storage import answering
    from harness.tuning.study import is_default
    from harness.tuning.worker import Limits

    with Display() as display, answering(plan.storage, KEPT):
        if plan.outside:
            display.remark(plan.explain_outside())
        try:
            _search(study, plan, context, at_work, Limits(wish.trials, wish.until), display)
            outcome = outcomes.conclude(study, plan)
            outcome = replace(outcome, confirmation=recall(study, outcome.best.number))
            page = write_report(outcome, study)
            if wish.confirm and not is_default(outcome.best):
                confirmation = _confirm(study, outcome, context, at_work, wish.confirm, display, page)
                outcome = replace(outcome, confirmation=confirmation)
                write_report(outcome, study)
        except KeyboardInterrupt as interrupted:
            display.close()
            fail(_explain_interruption(interrupted))
            raise
    added = add and not is_default(outcome.best) and bool(add_rows(plan.board.folder, [outcome.row]))
    described = outcomes.as_plain(outcome) | {"report": str(page), "added": added}
    if not as_json:
        print_outcome(outcome, page, added=added, wanted=add)
    return described


def _search(
    study: optuna.Study, plan: Plan, context: TrialContext, at_work: AtWork, limits: Limits, display: Display
) -> None:
    """Run the trials here or elsewhere."""
    from harness.execution.workers import WorkerOptions
    from harness.tuning.elsewhere import search_elsewhere
    from harness.tuning.search import search

    if isinstance(at_work, WorkerOptions):
        search(study, plan, context, at_work, limits, display)
    else:
        search_elsewhere(study, plan, at_work, limits, display)


def _confirm(
    study: optuna.Study,
    outcome: StudyOutcome,
    context: TrialContext,
    at_work: AtWork,
    fresh: int,
    display: Display,
    page: Path,
) -> Confirmation:
    """Train the default and the best again, here or elsewhere, and keep with the study what came of it."""
    from harness.execution.workers import WorkerOptions
    from harness.tuning.confirmation import confirm, keep
    from harness.tuning.elsewhere import confirm_elsewhere

    try:
        if not isinstance(at_work, WorkerOptions):
            return confirm_elsewhere(study, outcome, at_work, fresh, display)
        confirmation = confirm(outcome.plan, context, outcome.row, fresh, display.remark)
    except HarnessError as error:
        raise HarnessError(f"{error}; the study itself is over, its row is in {page}") from None
    keep(study, outcome.best.number, confirmation)
    return confirmation


def _explain_interruption(interrupted: KeyboardInterrupt) -> str:
    from harness.execution.interruption import Interrupted

    if isinstance(interrupted, Interrupted) and interrupted.jobs:
        return explain_leaving(interrupted.jobs, same_command())
    return f"interrupted; finished trials are kept. Continue with: {same_command()}"


def _share(until: float | None, studies: int) -> float | None:
    """When the first of so many studies has had its part of the time that is left."""
    return None if until is None else time.time() + (until - time.time()) / studies


def open_studies(
    board: Board, registry: Registry, settings: Settings, objective: str, display: Display
) -> TrialContext:
    """What all studies share. Raises `HarnessError` for what is wrong with the dataset or the objective."""
    from harness.tuning.trial import open_context

    if objective.endswith("@oracle"):
        raise UsageError(f"--objective {objective}: an oracle metric is fitted on what it judges")
    return open_context(board, registry, settings, objective, display)


def plan_study(row: Row, wish: SearchOptions, context: TrialContext) -> Plan:
    """Everything that can be wrong is found out here, before anything is trained."""
    from harness.choices import resolve
    from harness.tuning.planning import draw_up
    from harness.tuning.space import gather_space, require_space, study_name

    dimensions = gather_space(resolve(row, context.registry), wish.space, wish.searched, wish.fixed)
    require_space(dimensions, row, context.registry, context.build)
    return draw_up(
        context,
        row,
        dimensions,
        name=wish.study or study_name(row),
        objective=wish.objective,
        sampler=wish.sampler,
        pruner=wish.pruner,
        seeds=tuple(range(wish.seeds)),
        storage=wish.storage,
    )


def list_space(
    plan: Plan, context: TrialContext, wish: SearchOptions, at_work: AtWork, *, as_json: bool
) -> dict[str, Any]:
    """The space with its origin, and how many trials the budget allows, as far as that is known."""
    from harness.cli.study_listing import explain_time, print_space
    from harness.execution.workers import WorkerOptions
    from harness.tuning.estimate import measure_trial, recall_trial

    known: TrialTime | None
    if isinstance(at_work, WorkerOptions):
        on, at_once = "this machine", len(set(at_work.devices) or {0})
        known = measure_trial(context, plan)
    else:
        on, at_once = at_work.to.executor.name, at_work.jobs or 1
        known = recall_trial(context, plan, on_gpu=at_work.gpus > 0)
    left = None if wish.until is None else max(0.0, wish.until - time.time())
    fit = None if left is None or known is None else at_once * int(left // known.seconds)
    described = {
        "study": plan.name,
        "objective": plan.objective,
        "space": {
            name: {**one.as_plain(), "origin": one.origin, "default": plan.defaults[name]}
            for name, one in plan.dimensions.items()
        },
        "trial_seconds": None if known is None else known.seconds,
        "trials_in_budget": fit,
    }
    if not as_json:
        print_space(plan, explain_time(plan, known, fit, on))
    return described
