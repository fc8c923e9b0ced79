"""The verb that searches for better parameters."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.option_values import find_cache, find_devices, parse_duration, split_names
from harness.cli.options import (
    COMPARED,
    MOST_TIMES,
    OUTPUT,
    SEARCH,
    BoardArgument,
    BoardDataRoot,
    BoardOption,
    CacheDir,
    Cancel,
    CompileOption,
    DatasetOptions,
    Devices,
    JobCount,
    Json,
    Losses,
    Models,
    NewDataset,
    On,
    OnOptions,
    Plugins,
    Recipes,
    WorkerCount,
)
from harness.cli.verbs.elsewhere import cancel_jobs, find_elsewhere, find_own_device
from harness.cli.verbs.shared import begin_worker, find_data_root, open_registry
from harness.cli.verbs.studies import SearchOptions, choose_rows, list_space, open_studies, plan_study, run_studies
from harness.errors import HarnessError, UsageError
from harness.machine import require_drawing
from harness.tuning.methods import Pruner, Sampler

TRIALS = 20


NEEDED = ("harness.tuning.worker", "harness.execution.planning", "harness.tuning.trial", "optuna")
"""What a worker process of a study imports."""


def tune(
    command: typer.Context,
    board: BoardArgument = None,
    folder: BoardOption = None,
    dataset: NewDataset = None,
    models: Models = None,
    losses: Losses = None,
    recipes: Recipes = None,
    trials: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            max=MOST_TIMES,
            help="Stop when the study has this many trials in total.",
            rich_help_panel=SEARCH,
        ),
    ] = TRIALS,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Start no trial after this time, such as 90s, 30m or 8h. Several studies share it.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC",
            help="Improve this metric on validation.",
            show_default="the board's objective",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    sampler: Annotated[
        Sampler, typer.Option(help="Choose the next values with this sampler.", rich_help_panel=SEARCH)
    ] = "tpe",
    pruner: Annotated[
        Pruner, typer.Option(help="Stop weak trials early with this pruner.", rich_help_panel=SEARCH)
    ] = "hyperband",
    space: Annotated[
        Path | None,
        typer.Option(
            "--space",
            metavar="FILE",
            help="Search the space in this TOML file instead of the one that the components offer.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    searched: Annotated[
        list[str] | None,
        typer.Option(
            "--search",
            metavar="NAME=RANGE",
            help="Search this range, such as recipe.lr=1e-5..1e-3:log or loss.gamma=1,2,5. Repeat it for several.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Fix this parameter instead of searching it. The name begins with model., loss. or recipe. Repeat it "
            "for several.",
            rich_help_panel=COMPARED,
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds-per-trial",
            metavar="N",
            min=1,
            max=MOST_TIMES,
            help="Train each trial with this many seeds and take the mean.",
            rich_help_panel=SEARCH,
        ),
    ] = 1,
    confirm: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            max=MOST_TIMES,
            help="Train the default and the best again with this many fresh seeds, and compare them.",
            rich_help_panel=SEARCH,
        ),
    ] = 0,
    add: Annotated[
        bool, typer.Option("--add", help="Add the best configuration to the board as a row.", rich_help_panel=SEARCH)
    ] = False,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Keep the study in this storage of Optuna.",
            show_default="a journal in the board's studies/",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Give the study this name. A study that exists is continued.",
            show_default="the row's name",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    options: DatasetOptions = None,
    data_root: BoardDataRoot = None,
    cache_dir: CacheDir = None,
    device: Devices = "auto",
    workers: WorkerCount = None,
    compile_: CompileOption = "auto",
    on: On = "local",
    on_options: OnOptions = None,
    jobs: JobCount = None,
    cancel: Cancel = False,
    plugin: Plugins = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print what would be searched and how many trials fit.", rich_help_panel=OUTPUT),
    ] = False,
    as_json: Json = False,
) -> None:
    """Search for better parameters on validation, and print the best as a row for the board.

    Several models, losses or recipes make one study for each combination.
    """
    require_drawing()
    local = on == "local"
    # before this process imports what it needs itself
    apprentice = begin_worker(command, *NEEDED) if local and workers != 0 and not (dry_run or cancel) else None
    from harness.cli.terminal import Display
    from harness.definition import BoardRequest, define
    from harness.execution.planning import Settings
    from harness.execution.workers import WorkerOptions
    from harness.parameters import parse_assignments, parse_params
    from harness.training.engine import EngineOptions, set_up_process
    from harness.tuning.storage import name_elsewhere

    registry = open_registry(plugin)
    until = None if budget is None else time.time() + parse_duration("--budget", budget)
    request = BoardRequest(
        board=board,
        folder=folder,
        dataset=dataset,
        models=split_names(models) if dataset else (),
        losses=split_names(losses) if dataset else (),
        recipes=split_names(recipes) if dataset else (),
        seeds=(),
        params={},
        options=parse_assignments("--option", options or ()),
        controls=False,
    )
    definition = define(request)
    if cancel:
        cancel_jobs(definition.board.folder, registry, on)
        return
    devices = find_devices(device) if local else (find_own_device(device),)
    where = Settings(
        data_root=find_data_root(data_root, definition.board.folder),
        cache=find_cache(cache_dir),
        device=devices[0],
        dry=not local,
        engine=EngineOptions(compile=compile_),
    )
    set_up_process(where.engine, where.cache)
    count = len(devices) if workers is None else workers
    places = tuple(itertools.islice(itertools.cycle(devices), count))
    elsewhere = find_elsewhere(
        registry, where, on=on, options=on_options, jobs=jobs, device=device, plugins=plugin or (), cache=cache_dir
    )
    at_work = elsewhere or WorkerOptions(
        settings=where, devices=places, plugins=tuple(plugin or ()), apprentice=apprentice
    )
    if elsewhere is not None:
        storage = name_elsewhere(storage, shared=elsewhere.to.shared)
    fixed = parse_params(settings or ())
    rows = choose_rows(definition.board, split_names(models), split_names(losses), split_names(recipes), fixed)
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
        plans = [plan_study(row, wish, context) for row in rows]
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
