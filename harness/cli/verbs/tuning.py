"""The verb that searches for better parameters."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import (
    COMPARED,
    MACHINE,
    MOST_TIMES,
    MOST_WORKERS,
    OUTPUT,
    SEARCH,
    BoardArgument,
    BoardDataRoot,
    CacheDir,
    CompileOption,
    DatasetOptions,
    Devices,
    Json,
    Plugins,
    complete_names,
    find_cache,
    find_devices,
    parse_duration,
    split_names,
)
from harness.cli.verbs.shared import find_data_root, note_data_root, open_registry
from harness.errors import HarnessError, UsageError
from harness.machine import require_drawing
from harness.tuning.methods import Pruner, Sampler

if TYPE_CHECKING:
    import optuna

    from harness.board import Board, Row
    from harness.cli.terminal import Display
    from harness.definition import Definition
    from harness.execution.planning import Settings
    from harness.execution.workers import WorkerOptions
    from harness.parameters import Params
    from harness.registry import Registry
    from harness.tuning.study import Plan
    from harness.tuning.trial import TrialContext

TRIALS = 20
KEPT = "; finished trials are kept, and the same command goes on"


def tune(
    board: BoardArgument = None,
    folder: Annotated[
        Path | None, typer.Option("--board", help="Where the board is, or is to be made.", rich_help_panel=COMPARED)
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Without a board: the dataset.", autocompletion=complete_names("dataset"), rich_help_panel=COMPARED
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="Model; several make a study each.",
            autocompletion=complete_names("model"),
            rich_help_panel=COMPARED,
        ),
    ] = None,
    losses: Annotated[
        list[str] | None,
        typer.Option(
            "--loss",
            help="Loss; several make a study each.",
            autocompletion=complete_names("loss"),
            rich_help_panel=COMPARED,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="Recipe.", autocompletion=complete_names("recipe"), rich_help_panel=COMPARED),
    ] = None,
    trials: Annotated[
        int, typer.Option(min=1, max=MOST_TIMES, help="Trials of each study in all.", rich_help_panel=SEARCH)
    ] = TRIALS,
    budget: Annotated[
        str | None,
        typer.Option(
            help="No trial begins after this time: 90s, 30m, 8h; several studies share it.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="Metric that the search improves, on validation.",
            show_default="the board's objective",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    sampler: Annotated[Sampler, typer.Option(help="Which values are tried next.", rich_help_panel=SEARCH)] = "tpe",
    pruner: Annotated[
        Pruner, typer.Option(help="Which trials are stopped early.", rich_help_panel=SEARCH)
    ] = "hyperband",
    space: Annotated[
        Path | None,
        typer.Option(
            "--space",
            metavar="BOARD_FILE",
            help="A TOML file that replaces the space of the components.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    searched: Annotated[
        list[str] | None,
        typer.Option(
            "--search",
            help="recipe.lr=1e-5..1e-3:log or loss.gamma=1,2,5: a range; may be repeated.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="model.|loss.|recipe.NAME=VALUE: not searched; may be repeated.", rich_help_panel=COMPARED
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds-per-trial",
            min=1,
            max=MOST_TIMES,
            help="Seeds of each trial, whose value is their mean.",
            rich_help_panel=SEARCH,
        ),
    ] = 1,
    confirm: Annotated[
        int,
        typer.Option(
            min=0,
            max=MOST_TIMES,
            help="Train default and best again with so many fresh seeds, and compare them.",
            rich_help_panel=SEARCH,
        ),
    ] = 0,
    add: Annotated[
        bool, typer.Option("--add", help="Write the best configuration to the board as a row.", rich_help_panel=SEARCH)
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MOST_WORKERS,
            envvar="HARNESS_WORKERS",
            help="Worker processes; 0: this process alone.",
            show_default="one a device",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Any storage of Optuna.",
            show_default="a journal in the board's studies/",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the study; one that exists is continued.",
            show_default="the row's name",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    options: DatasetOptions = None,
    data_root: BoardDataRoot = None,
    cache_dir: CacheDir = None,
    device: Devices = "auto",
    compile_: CompileOption = "auto",
    plugin: Plugins = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the space, and how many trials fit.", rich_help_panel=OUTPUT)
    ] = False,
    as_json: Json = False,
) -> None:
    """Search for better parameters on validation; it ends in a row for the board."""
    from harness.cli.terminal import Display
    from harness.definition import BoardRequest, define
    from harness.execution.planning import Settings
    from harness.execution.workers import WorkerOptions
    from harness.parameters import parse_assignments, parse_params
    from harness.training.engine import EngineOptions, set_up_process

    require_drawing()
    registry = open_registry(plugin)
    until = None if budget is None else time.time() + parse_duration("--budget", budget)
    request = BoardRequest(
        board=board,
        folder=folder,
        dataset=dataset,
        models=split_names(models) if dataset else (),
        losses=split_names(losses) if dataset else (),
        recipes=(recipe,) if dataset and recipe else (),
        seeds=(),
        params={},
        options=parse_assignments("--option", options or ()),
        controls=False,
    )
    definition = define(request)
    devices = find_devices(device)
    where = Settings(
        data_root=find_data_root(data_root, definition.board.folder),
        cache=find_cache(cache_dir),
        device=devices[0],
        engine=EngineOptions(compile=compile_),
    )
    set_up_process(where.engine, where.cache)
    count = len(devices) if workers is None else workers
    places = tuple(itertools.islice(itertools.cycle(devices), count))
    at_work = WorkerOptions(settings=where, devices=places, plugins=tuple(plugin or ()))
    fixed = parse_params(settings or ())
    rows = _choose_rows(definition.board, split_names(models), split_names(losses), recipe, fixed)
    if study is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", study):
        raise UsageError(f"--study {study}: a name of letters, digits, '.', '_' and '-', since files are called by it")
    if study is not None and len(rows) > 1:
        raise UsageError(f"--study {study}: {len(rows)} studies cannot have one name; leave it out, or give one row")
    wish = SearchOptions(
        trials=trials, until=until, objective=objective or definition.board.objective, sampler=sampler, pruner=pruner,
        seeds=seeds, confirm=confirm, storage=storage, study=study, space=space, searched=tuple(searched or ()),
        fixed=fixed,
    )  # fmt: skip
    with Display() as display:
        context = _open_context(definition.board, registry, where, wish.objective, display)
        plans = [_plan(definition.board, row, registry, wish, context) for row in rows]
    failures: list[HarnessError] = []
    if dry_run:
        documents = [_print_space(plan, context, wish, at_work, as_json=as_json) for plan in plans]
    else:
        documents, failures = _run_studies(definition, plans, context, at_work, wish, add=add, as_json=as_json)
    if as_json:
        from harness.cli import tables

        tables.print_json(documents[0] if len(documents) == 1 else {"studies": documents})
    if failures:
        from harness.cli.terminal import fail

        for failure in failures:
            fail(str(failure))
        raise typer.Exit(2 if any(isinstance(failure, UsageError) for failure in failures) else 1)


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


def _choose_rows(
    board: Board, models: Sequence[str], losses: Sequence[str], recipe: str | None, params: dict[str, dict[str, Any]]
) -> list[Row]:
    """Choose the row of each study: the model, loss and recipe given, or the board's where it has but one."""
    from harness.board import Row

    board_names = {
        "--model": dict.fromkeys(row.model for row in board.systems),
        "--loss": dict.fromkeys(row.loss for row in board.systems),
        "--recipe": dict.fromkeys(row.recipe for row in board.systems),
    }
    chosen = {"--model": tuple(models), "--loss": tuple(losses), "--recipe": (recipe,) if recipe else ()}
    for flag, names in board_names.items():
        if not chosen[flag]:
            if len(names) != 1:
                raise UsageError(f"give {flag}: the board has {', '.join(names)}")
            chosen[flag] = tuple(names)
    return [
        Row(model=model, loss=loss, recipe=recipe, params=params)
        for model, loss, recipe in itertools.product(chosen["--model"], chosen["--loss"], chosen["--recipe"])
    ]


def _run_studies(
    definition: Definition,
    plans: Sequence[Plan],
    context: TrialContext,
    at_work: WorkerOptions,
    wish: SearchOptions,
    *,
    add: bool,
    as_json: bool,
) -> tuple[list[dict[str, Any]], list[HarnessError]]:
    """One study after another, as plain data; and what came of those that came to nothing. The others go on."""
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
    at_work: WorkerOptions,
    wish: SearchOptions,
    *,
    add: bool,
    as_json: bool,
) -> dict[str, Any]:
    """One study from its plan to its row; gives it as plain data."""
    from harness.cli.study_listing import print_outcome
    from harness.cli.terminal import Display
    from harness.definition import add_rows
    from harness.tuning import outcome as outcomes
    from harness.tuning.confirmation import confirm, keep, recall
    from harness.tuning.report import write_report
    from harness.tuning.search import search
    from harness.tuning.storage import answering
    from harness.tuning.study import is_default
    from harness.tuning.worker import Limits

    with Display() as display, answering(plan.storage, KEPT):
        if plan.outside:
            display.remark(plan.explain_outside())
        try:
            search(study, plan, context, at_work, Limits(wish.trials, wish.until), display)
        except KeyboardInterrupt:
            _explain_interruption(plan)
            raise
        outcome = outcomes.conclude(study, plan)
        outcome = replace(outcome, confirmation=recall(study, outcome.best.number))
        page = write_report(outcome, study)
        if wish.confirm and not is_default(outcome.best):
            try:
                confirmation = confirm(plan, context, outcome.row, wish.confirm, display.remark)
            except HarnessError as error:
                raise HarnessError(f"{error}; the study itself is over, its row is in {page}") from None
            keep(study, outcome.best.number, confirmation)
            outcome = replace(outcome, confirmation=confirmation)
            write_report(outcome, study)
    added = add and not is_default(outcome.best) and bool(add_rows(plan.board.folder, [outcome.row]))
    described = outcomes.as_plain(outcome) | {"report": str(page), "added": added}
    if not as_json:
        print_outcome(outcome, page, added=added, wanted=add)
    return described


def _share(until: float | None, studies: int) -> float | None:
    """When the first of so many studies has had its part of the time that is left."""
    return None if until is None else time.time() + (until - time.time()) / studies


def _open_context(
    board: Board, registry: Registry, settings: Settings, objective: str, display: Display
) -> TrialContext:
    """What all studies share. Raises `HarnessError` for what is wrong with the dataset or the objective."""
    from harness.tuning.trial import open_context

    if objective.endswith("@oracle"):
        raise UsageError(f"--objective {objective}: an oracle metric is fitted on what it judges")
    return open_context(board, registry, settings, objective, display)


def _plan(board: Board, row: Row, registry: Registry, wish: SearchOptions, context: TrialContext) -> Plan:
    """Everything that can be wrong is found out here, before anything is trained."""
    from harness.choices import resolve
    from harness.tuning.space import default_values, gather_space, require_space, study_name
    from harness.tuning.study import Plan

    choices = resolve(row, registry)
    dimensions = gather_space(choices, wish.space, wish.searched, wish.fixed)
    require_space(dimensions, row, registry, context.build)
    searched = dimensions["recipe.epochs"].ends() if "recipe.epochs" in dimensions else ()
    return Plan(
        name=wish.study or study_name(row),
        board=board,
        row=row,
        dimensions=dimensions,
        defaults=default_values(dimensions, choices),
        objective=wish.objective,
        higher_is_better=context.objective.higher_is_better,
        fingerprint=context.fingerprint(row),
        epochs=max((end for end in searched if isinstance(end, int)), default=choices.recipe.epochs),
        sampler=wish.sampler,
        pruner=wish.pruner,
        seeds=tuple(range(wish.seeds)),
        storage=wish.storage,
    )


def _explain_interruption(plan: Plan) -> None:
    from harness.cli.terminal import fail

    fail(f"interrupted; finished trials are kept. The same command goes on with study '{plan.name}'")


def _print_space(
    plan: Plan, context: TrialContext, wish: SearchOptions, at_work: WorkerOptions, *, as_json: bool
) -> dict[str, Any]:
    """The space with its origin, and how many trials the budget allows."""
    from harness.cli.study_listing import print_space
    from harness.tuning.estimate import estimate

    measured = estimate(context, plan.row, plan.epochs, len(plan.seeds))
    left = None if wish.until is None else max(0.0, wish.until - time.time())
    fit = None if left is None else len(set(at_work.devices) or {0}) * int(left // measured.seconds)
    described = {
        "study": plan.name,
        "objective": plan.objective,
        "space": {
            name: {**one.as_plain(), "origin": one.origin, "default": plan.defaults[name]}
            for name, one in plan.dimensions.items()
        },
        "trial_seconds": measured.seconds,
        "trials_in_budget": fit,
    }
    if not as_json:
        print_space(plan, measured.seconds, fit)
    return described
