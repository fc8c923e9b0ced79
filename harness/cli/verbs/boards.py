"""Verbs about boards."""

from __future__ import annotations

import itertools
import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import (
    COMPARED,
    MACHINE,
    MOST_WORKERS,
    OUTPUT,
    BoardArgument,
    BoardDataRoot,
    CacheDir,
    CompileOption,
    DatasetOptions,
    Devices,
    Json,
    PlaceOption,
    Plugins,
    complete_names,
    find_cache,
    find_devices,
    parse_duration,
    parse_memory,
    split_names,
    split_numbers,
)
from harness.cli.verbs.shared import find_data_root, open_registry, print_board
from harness.errors import UsageError
from harness.machine import require_drawing

if TYPE_CHECKING:
    import torch

    from harness.definition import Definition
    from harness.execution.hours import RecordedSpeed
    from harness.execution.interruption import Left
    from harness.execution.planning import Settings
    from harness.execution.workers import WorkerOptions
    from harness.parameters import Params
    from harness.registry import Registry


def run(
    board: BoardArgument = None,
    folder: Annotated[
        Path | None, typer.Option("--board", help="Where the board is, or is to be made.", rich_help_panel=COMPARED)
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="For a new board: its dataset.", autocompletion=complete_names("dataset"), rich_help_panel=COMPARED
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            help="For a new board: models, separated by commas.",
            autocompletion=complete_names("model"),
            rich_help_panel=COMPARED,
        ),
    ] = None,
    losses: Annotated[
        list[str] | None,
        typer.Option(
            help="For a new board: losses, separated by commas.",
            autocompletion=complete_names("loss"),
            rich_help_panel=COMPARED,
        ),
    ] = None,
    recipes: Annotated[
        list[str] | None,
        typer.Option(
            help="For a new board: recipes, separated by commas.",
            autocompletion=complete_names("recipe"),
            rich_help_panel=COMPARED,
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            help="For a new board: metrics, separated by commas; the first ranks.",
            show_default="auroc,auprc,f1,brier,ece",
            autocompletion=complete_names("metric"),
            rich_help_panel=COMPARED,
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help="Seeds, as 0,1,2; of an existing board, which of its own to run.", rich_help_panel=COMPARED),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="model.|loss.|recipe.NAME=VALUE: run rows with that parameter; may be repeated.",
            rich_help_panel=COMPARED,
        ),
    ] = None,
    options: DatasetOptions = None,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls",
            help="Add rows that must find nothing: prevalence, and shuffled targets.",
            rich_help_panel=COMPARED,
        ),
    ] = False,
    only: Annotated[
        str | None, typer.Option(help="Only rows whose name matches this glob.", rich_help_panel=COMPARED)
    ] = None,
    data_root: BoardDataRoot = None,
    cache_dir: CacheDir = None,
    device: Devices = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            envvar="HARNESS_WORKERS",
            min=0,
            max=MOST_WORKERS,
            help="Worker processes; 0 runs everything in this one, for a debugger.",
            show_default="one a device",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(help="Longest time that a combination may take, as 90s, 15m or 2h.", rich_help_panel=MACHINE),
    ] = None,
    retries: Annotated[
        int,
        typer.Option(min=0, help="Retries after a crash, a timeout or running out of memory.", rich_help_panel=MACHINE),
    ] = 0,
    memory: Annotated[
        str | None,
        typer.Option(help="Most of the host's memory that a worker may hold, as 900M or 12G.", rich_help_panel=MACHINE),
    ] = None,
    compile_: CompileOption = "auto",
    placement: PlaceOption = "auto",
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic", help="On a GPU: the same bits each time, for some speed.", rich_help_panel=MACHINE
        ),
    ] = False,
    plugin: Plugins = None,
    observers: Annotated[
        list[str] | None,
        typer.Option(
            "--observer",
            help="Also tell an observer (tensorboard, wandb); may be repeated.",
            autocompletion=complete_names("observer"),
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be run, and why.", rich_help_panel=OUTPUT)
    ] = False,
    speeds: Annotated[
        list[Path] | None,
        typer.Option(
            "--speeds",
            help="With --dry-run: a file that harness speed MODEL --json has written, or a folder of them, for the "
            "hours; may be repeated.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Run also what has a current record.", rich_help_panel=OUTPUT)
    ] = False,
    as_json: Json = False,
) -> None:
    """Train and measure what a board lacks, and render its page."""
    from harness.definition import BoardRequest, define
    from harness.parameters import parse_assignments, parse_params

    require_drawing()
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
    devices, measured = find_devices(device), read_speeds(speeds or ())
    definition = define(request, registry)
    where = Settings(
        data_root=find_data_root(data_root, definition.board.folder),
        cache=find_cache(cache_dir),
        device=devices[0],
        only=only,
        seeds=split_numbers(seeds) or None,
        force=force,
        dry=dry_run,
        engine=EngineOptions(compile=compile_, placement=placement, deterministic=deterministic),
    )
    at_work = _choose_workers(
        where,
        devices,
        tuple(plugin or ()),
        workers,
        None if timeout is None else parse_duration("--timeout", timeout),
        None if memory is None else parse_memory("--memory", memory),
    )
    _run_definition(
        definition, registry, where, at_work, split_names(observers), speeds=measured, retries=retries, as_json=as_json
    )


def _choose_workers(
    settings: Settings,
    devices: Sequence[torch.device],
    plugins: tuple[Path, ...],
    workers: int | None,
    timeout: float | None,
    memory: int | None,
) -> WorkerOptions | None:
    """The worker processes, dealt over the devices; None where everything is to be run in this process."""
    from harness.execution.workers import WorkerOptions

    count = len(devices) if workers is None else workers
    if count == 0:
        if timeout is not None or memory is not None or len(devices) > 1:
            raise UsageError("--workers 0 runs in this process, on one device, without --timeout and --memory")
        return None
    places = tuple(itertools.islice(itertools.cycle(devices), count))
    return WorkerOptions(settings=settings, devices=places, plugins=plugins, timeout=timeout, memory=memory)


def _run_definition(
    definition: Definition,
    registry: Registry,
    settings: Settings,
    at_work: WorkerOptions | None,
    observers: Sequence[str],
    *,
    speeds: Sequence[RecordedSpeed],
    retries: int,
    as_json: bool,
) -> None:
    """Plan, run and render; exit 1 where a combo failed."""
    from harness.cli.plan_listing import print_plan
    from harness.cli.terminal import Display, fail, warn
    from harness.execution import planning
    from harness.execution.board_run import Told, carry_out
    from harness.execution.interruption import Interrupted
    from harness.execution.observers import Audience, choose_observers
    from harness.execution.planning import FORCED
    from harness.report.page import render
    from harness.report.summary import check_published

    board, chosen = definition.board, choose_observers(registry, observers)
    for remark in definition.remarks:
        warn(remark)
    check_published(board)  # before hours of training, not when the page is rendered after them
    with Display() as display:
        try:
            planned = planning.plan(board, registry, settings, display)
        except KeyboardInterrupt:
            fail(f"interrupted; decoded images are kept. Continue with: {_same_command()}")
            raise
        if settings.dry:
            print_plan(planned, speeds, as_json=as_json)
            return
        audience = Audience(display, chosen, board.folder, warn)
        told = Told(listener=audience, mention=display.mention, warn=warn)
        try:
            made = carry_out(definition, registry, planned, settings.data_root, told, at_work, retries=retries)
        except Interrupted as interrupted:
            forced = {item.job.combo.name for item in planned if item.reason == FORCED}
            fail(_explain_interruption(interrupted.left, forced))
            render(board)
            raise
    print_board(render(board), as_json=as_json)
    if made.left or any(record.status == "failed" for record in made.records):
        raise typer.Exit(1)


def _explain_interruption(left: Sequence[Left], forced: Collection[str]) -> str:
    """What is left, and how to go on: without --force, which would start again what is finished."""
    begun = ", ".join(f"{combo.name} after epoch {combo.epoch} of {combo.epochs}" for combo in left if combo.epoch)
    middle = f" ({begun})" if begun else ""
    kept = [combo.name for combo in left if combo.name in forced]
    stays = f"The results that were there stay for {', '.join(kept)}: --force --only ROW starts a row again. "
    return (
        f"interrupted; what is finished is kept, {len(left)} left to do{middle}. {stays if kept else ''}"
        f"Continue with: {_same_command(without='--force')}"
    )


def _same_command(without: str = "") -> str:
    """What was typed, with all its options but one: plugins and data have to be there again."""
    return shlex.join(["harness", *(argument for argument in sys.argv[1:] if argument != without)])


def rescore(
    board: Annotated[str, typer.Argument(metavar="BOARD", help="A board's folder.")],
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Evaluate stored predictions again, after a metric was added or fixed; nothing is trained."""
    from harness.board import read_board
    from harness.cli.terminal import Display, warn
    from harness.execution.rescore import rescore as rescore_records
    from harness.report.page import render

    definition = read_board(Path(board))
    with Display() as display:
        rescored = rescore_records(definition, open_registry(plugin), display.mention)
    for line in rescored.left:
        warn(line)
    print_board(render(definition), as_json=as_json)
    if rescored.left:
        raise typer.Exit(1)


def _require_weights(params: Params) -> Params:
    """Give parameters back. Raises `WeightsError` for a file of initial weights, typed by hand, that is not there."""
    from harness.errors import WeightsError
    from harness.results.identity import explain_missing_weights

    weights = params.get("recipe", {}).get("weights")
    missing = explain_missing_weights(weights) if isinstance(weights, str) else None
    if missing is not None:
        raise WeightsError(missing)
    return params
