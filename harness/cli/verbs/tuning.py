"""The verb that searches for better parameters."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path
from typing import Annotated

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
from harness.cli.verbs.shared import find_data_root, open_registry
from harness.cli.verbs.studies import SearchOptions, choose_rows, list_space, open_studies, plan_study, run_studies
from harness.errors import HarnessError, UsageError
from harness.machine import require_drawing
from harness.tuning.methods import Pruner, Sampler

TRIALS = 20


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
    rows = choose_rows(definition.board, split_names(models), split_names(losses), recipe, fixed)
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
        context = open_studies(definition.board, registry, where, wish.objective, display)
        plans = [plan_study(definition.board, row, registry, wish, context) for row in rows]
    failures: list[HarnessError] = []
    if dry_run:
        documents = [list_space(plan, context, wish, at_work, as_json=as_json) for plan in plans]
    else:
        documents, failures = run_studies(definition, plans, context, at_work, wish, add=add, as_json=as_json)
    if as_json:
        from harness.cli import tables

        tables.print_json(documents[0] if len(documents) == 1 else {"studies": documents})
    if failures:
        from harness.cli.terminal import fail

        for failure in failures:
            fail(str(failure))
        raise typer.Exit(2 if any(isinstance(failure, UsageError) for failure in failures) else 1)
