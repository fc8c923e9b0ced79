"""Verbs about boards."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.option_values import (
    find_cache,
    find_devices,
    parse_duration,
    parse_memory,
    split_names,
    split_numbers,
)
from harness.cli.options import (
    COMPARED,
    MACHINE,
    OUTPUT,
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
    PlaceOption,
    Plugins,
    Recipes,
    WorkerCount,
    complete_names,
)
from harness.cli.verbs.elsewhere import cancel_jobs, explain_leaving, find_elsewhere, find_own_device
from harness.cli.verbs.shared import (
    begin_worker,
    find_data_root,
    open_registry,
    prepare_page,
    print_board,
    same_command,
)
from harness.errors import UsageError
from harness.machine import require_drawing

if TYPE_CHECKING:
    from harness.board import Board
    from harness.definition import Definition
    from harness.execution.hours import RecordedSpeed
    from harness.execution.interruption import Interrupted
    from harness.execution.local import MakeRunner
    from harness.execution.planning import Settings
    from harness.execution.supervision import Apprentice
    from harness.execution.workers import WorkerOptions
    from harness.parameters import Params
    from harness.registry import Registry
    from harness.report.page import Rendered

NEEDED = (
    "harness.execution.worker",
    "harness.execution.planning",
    "harness.execution.combo",
    "harness.evaluation.kernels",
    "scipy.optimize",
    "scipy.special",
    "pandas",
)
"""What a worker process of a board imports, sooner or later."""


def run(
    command: typer.Context,
    board: BoardArgument = None,
    folder: BoardOption = None,
    dataset: NewDataset = None,
    models: Models = None,
    losses: Losses = None,
    recipes: Recipes = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES",
            help="Report these metrics on a new board, separated by commas, and rank rows by the first.",
            show_default="auroc,auprc,f1,brier,ece",
            autocompletion=complete_names("metric"),
            rich_help_panel=COMPARED,
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="Train with these seeds, such as 0,1,2. On an existing board, run only these of its seeds.",
            rich_help_panel=COMPARED,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Run rows with this parameter. The name begins with model., loss. or recipe., as in recipe.lr=1e-3. "
            "Repeat it for several parameters.",
            rich_help_panel=COMPARED,
        ),
    ] = None,
    options: DatasetOptions = None,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls",
            help="Add two control rows that must find nothing: prevalence alone, and shuffled targets.",
            rich_help_panel=COMPARED,
        ),
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="GLOB", help="Run only rows whose name matches, such as 'chexnet*'.", rich_help_panel=COMPARED
        ),
    ] = None,
    data_root: BoardDataRoot = None,
    cache_dir: CacheDir = None,
    device: Devices = "auto",
    workers: WorkerCount = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Stop a training that takes longer than this, such as 90s, 15m or 2h.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    retries: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Retry this many times after a crash, a timeout or running out of memory.",
            rich_help_panel=MACHINE,
        ),
    ] = 0,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Stop a worker that holds more of the host's memory than this, such as 900M or 12G.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    compile_: CompileOption = "auto",
    placement: PlaceOption = "auto",
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic",
            help="Give the same bits every time on a GPU, at some cost in speed.",
            rich_help_panel=MACHINE,
        ),
    ] = False,
    on: On = "local",
    on_options: OnOptions = None,
    jobs: JobCount = None,
    cancel: Cancel = False,
    plugin: Plugins = None,
    observers: Annotated[
        list[str] | None,
        typer.Option(
            "--observer",
            metavar="NAME",
            help="Also report progress to this observer, such as tensorboard or wandb. Repeat it for several.",
            autocompletion=complete_names("observer"),
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be run and why; train nothing.", rich_help_panel=OUTPUT)
    ] = False,
    speeds: Annotated[
        list[Path] | None,
        typer.Option(
            "--speeds",
            metavar="FILE",
            help="Estimate the hours of a --dry-run from what `harness speed MODEL --json` wrote, a file or a folder "
            "of files. Repeat it for several.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Run again even what has an up-to-date result.", rich_help_panel=OUTPUT),
    ] = False,
    as_json: Json = False,
) -> None:
    """Train and evaluate what a board is missing, and write its page."""
    require_drawing()
    local = on == "local"
    # before this process imports what it needs itself
    apprentice = begin_worker(command, *NEEDED) if local and workers != 0 and not (dry_run or cancel) else None
    from harness.definition import BoardRequest, define
    from harness.parameters import parse_assignments, parse_params

    registry = open_registry(plugin)
    request = BoardRequest(
        board=board,
        folder=folder,
        dataset=dataset,
        models=split_names(models),
        losses=split_names(losses),
        recipes=split_names(recipes),
        metrics=split_names(metrics),
        seeds=split_numbers(seeds),
        params=_require_weights(parse_params(settings or ())),
        options=parse_assignments("--option", options or ()),
        controls=controls,
    )
    from harness.execution.hours import read_speeds
    from harness.execution.planning import Settings
    from harness.training.engine import EngineOptions

    if speeds and not dry_run:
        raise UsageError("--speeds gives the hours of what --dry-run prints; give both, or neither")
    measured = read_speeds(speeds or ())
    definition = define(request, registry)
    if cancel:
        cancel_jobs(definition.board.folder, registry, on)
        return
    devices = find_devices(device) if local else (find_own_device(device),)
    where = Settings(
        data_root=find_data_root(data_root, definition.board.folder),
        cache=find_cache(cache_dir),
        device=devices[0],
        only=only,
        seeds=split_numbers(seeds) or None,
        force=force,
        dry=dry_run or not local,
        engine=EngineOptions(compile=compile_, placement=placement, deterministic=deterministic),
    )
    limits = (
        None if timeout is None else parse_duration("--timeout", timeout),
        None if memory is None else parse_memory("--memory", memory),
    )
    elsewhere = find_elsewhere(
        registry, where, on=on, options=on_options, jobs=jobs, device=device, plugins=plugin or (), cache=cache_dir
    )
    at_work: WorkerOptions | MakeRunner | None
    if elsewhere is None:
        at_work = _choose_workers(where, devices, tuple(plugin or ()), workers, *limits, apprentice)
    else:
        from harness.execution.elsewhere import run_by

        at_work = run_by(replace(elsewhere, timeout=limits[0], memory=limits[1]))
    if dry_run:
        at_once = len(set(devices)) if elsewhere is None else elsewhere.jobs
        _print_plan(definition, registry, where, measured, at_once=at_once, as_json=as_json)
        return
    _run_definition(definition, registry, where, at_work, split_names(observers), retries=retries, as_json=as_json)


def _choose_workers(
    settings: Settings,
    devices: Sequence[str],
    plugins: tuple[Path, ...],
    workers: int | None,
    timeout: float | None,
    memory: int | None,
    apprentice: Apprentice | None,
) -> WorkerOptions | None:
    """The worker processes, dealt over the devices; None where everything is to be run in this process."""
    from harness.execution.workers import WorkerOptions

    number = len(devices) if workers is None else workers
    if number == 0:
        if timeout is not None or memory is not None or len(devices) > 1:
            raise UsageError("--workers 0 runs in this process, on one device, without --timeout and --memory")
        return None
    places = tuple(itertools.islice(itertools.cycle(devices), number))
    return WorkerOptions(
        settings=settings, devices=places, plugins=plugins, timeout=timeout, memory=memory, apprentice=apprentice
    )


def _print_plan(
    definition: Definition,
    registry: Registry,
    settings: Settings,
    speeds: Sequence[RecordedSpeed],
    *,
    at_once: int | None,
    as_json: bool,
) -> None:
    """Print what a run would do, with so many combos at once, or all of them; do nothing of it."""
    from harness.cli.plan_listing import RunPlan, print_plan
    from harness.cli.terminal import Display, warn
    from harness.execution.ensemble_plan import list_wanted
    from harness.execution.outside_plan import plan_outside
    from harness.execution.planning import plan
    from harness.report.summary import check_published

    board = definition.board
    for remark in definition.remarks:
        warn(remark)
    check_published(board)
    with Display() as display:
        planned = plan(board, registry, settings, display)
        outside = plan_outside(board, registry, settings, planned, display)
    plan_of_run = RunPlan(
        planned=planned,
        outside=outside,
        ensembles=list_wanted(board, planned),
        at_once=at_once or max(1, sum(item.reason is not None for item in planned)),
    )
    print_plan(plan_of_run, speeds, as_json=as_json)


def _run_definition(
    definition: Definition,
    registry: Registry,
    settings: Settings,
    at_work: WorkerOptions | MakeRunner | None,
    observers: Sequence[str],
    *,
    retries: int,
    as_json: bool,
) -> None:
    """Plan, run and render; exit 1 where a combo failed."""
    from harness.cli.terminal import Display, fail, warn
    from harness.execution import planning
    from harness.execution.board_run import Told, carry_out
    from harness.execution.interruption import Interrupted
    from harness.execution.observers import Audience, choose_observers
    from harness.execution.outside_plan import plan_outside
    from harness.execution.planning import FORCED
    from harness.report.summary import check_published

    board, chosen = definition.board, choose_observers(registry, observers)
    for remark in definition.remarks:
        warn(remark)
    check_published(board)  # before hours of training, not when the page is rendered after them
    with Display() as display:
        try:
            planned = planning.plan(board, registry, settings, display)
            outside = plan_outside(board, registry, settings, planned, display)
        except KeyboardInterrupt:
            display.close()
            fail(f"interrupted; decoded images are kept. Continue with: {same_command()}")
            raise
        if at_work is not None:
            prepare_page()
        audience = Audience(display, chosen, board.folder, warn)
        told = Told(listener=audience, mention=display.mention, warn=warn)
        try:
            made = carry_out(definition, registry, planned, settings, told, at_work, outside=outside, retries=retries)
        except Interrupted as interrupted:
            forced = {item.job.combo.name for item in planned if item.reason == FORCED}
            display.close()
            fail(_explain_interruption(interrupted, forced))
            _render(board)
            raise
    print_board(_render(board), as_json=as_json)
    if made.left or any(record.status == "failed" for record in made.records):
        raise typer.Exit(1)


def _render(board: Board) -> Rendered:
    """Write the page; what that takes is imported here, since a plan does without it."""
    from harness.report.page import render

    return render(board)


def _explain_interruption(interrupted: Interrupted, forced: Collection[str]) -> str:
    """What is left, and how to go on: without --force, which would start again what is finished."""
    left = interrupted.left
    if interrupted.jobs:
        return explain_leaving(interrupted.jobs, same_command(without="--force"))
    begun = ", ".join(f"{combo.name} after epoch {combo.epoch} of {combo.epochs}" for combo in left if combo.epoch)
    middle = f" ({begun})" if begun else ""
    kept = [combo.name for combo in left if combo.name in forced]
    stays = f"The results that were there stay for {', '.join(kept)}: --force --only ROW starts a row again. "
    return (
        f"interrupted; what is finished is kept, {len(left)} left to do{middle}. {stays if kept else ''}"
        f"Continue with: {same_command(without='--force')}"
    )


def _require_weights(params: Params) -> Params:
    """Give parameters back. Raises `WeightsError` for a file of initial weights, typed by hand, that is not there."""
    from harness.errors import WeightsError
    from harness.results.identity import explain_missing_weights

    weights = params.get("recipe", {}).get("weights")
    missing = explain_missing_weights(weights) if isinstance(weights, str) else None
    if missing is not None:
        raise WeightsError(missing)
    return params
