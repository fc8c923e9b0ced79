"""Verbs about boards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.options import (
    BoardArgument,
    CacheDir,
    Compile,
    DataRoot,
    Device,
    Json,
    Options,
    Plugins,
    complete_names,
    find_cache,
    find_device,
    split_names,
    split_numbers,
)
from harness.verbs.shared import open_registry, print_board

if TYPE_CHECKING:
    from harness.definition import Definition
    from harness.execution.local import Planned, Settings
    from harness.registry import Registry


def run(
    board: BoardArgument = None,
    folder: Annotated[Path | None, typer.Option("--board", help="Where the board is, or is to be made.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="For a new board: its dataset.", autocompletion=complete_names("dataset"))
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(help="For a new board: models, separated by commas.", autocompletion=complete_names("model")),
    ] = None,
    losses: Annotated[
        list[str] | None,
        typer.Option(help="For a new board: losses, separated by commas.", autocompletion=complete_names("loss")),
    ] = None,
    recipes: Annotated[
        list[str] | None,
        typer.Option(help="For a new board: recipes, separated by commas.", autocompletion=complete_names("recipe")),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Seeds, as 0,1,2; of an existing board, which of its own to run.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="model.|loss.|recipe.NAME=VALUE: run rows with that parameter; may be repeated."),
    ] = None,
    options: Options = None,
    controls: Annotated[
        bool, typer.Option("--controls", help="Add rows that must find nothing: prevalence, and shuffled targets.")
    ] = False,
    only: Annotated[str | None, typer.Option(help="Only rows whose name matches this glob.")] = None,
    data_root: DataRoot = Path("data"),
    cache_dir: CacheDir = None,
    device: Device = "auto",
    compile_: Compile = "auto",
    placement: Annotated[
        Literal["auto", "resident", "streamed"],
        typer.Option(help="Images on the GPU, or streamed to it; auto: on it where they take half of it at most."),
    ] = "auto",
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="On a GPU: the same bits each time, for some speed.")
    ] = False,
    plugin: Plugins = None,
    observers: Annotated[
        list[str] | None,
        typer.Option(
            "--observer",
            help="Also tell an observer (tensorboard, wandb); may be repeated.",
            autocompletion=complete_names("observer"),
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and why.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run also what has a current record.")] = False,
    as_json: Json = False,
) -> None:
    """Train and measure what a board lacks, and render its page."""
    from harness.definition import Request, define
    from harness.parameters import parse_assignments, parse_params

    registry = open_registry(plugin)
    request = Request(
        board=board,
        folder=folder,
        dataset=dataset,
        models=split_names(models),
        losses=split_names(losses),
        recipes=split_names(recipes),
        seeds=split_numbers(seeds),
        params=parse_params(settings or ()),
        options=parse_assignments("--option", options or ()),
        controls=controls,
    )
    from harness.execution.local import Settings
    from harness.training.engine import Engine

    where = Settings(
        data_root,
        find_cache(cache_dir),
        find_device(device),
        only,
        split_numbers(seeds) or None,
        force,
        dry_run,
        Engine(compile=compile_, placement=placement, deterministic=deterministic),
    )
    _run_definition(define(request), registry, where, split_names(observers), as_json=as_json)


def _run_definition(
    definition: Definition, registry: Registry, settings: Settings, observers: Sequence[str], *, as_json: bool
) -> None:
    """Plan, run and render; exit 1 where a combo failed."""
    from harness.execution import local
    from harness.execution.observers import Audience, choose_observers
    from harness.report.page import render
    from harness.terminal import Display, fail, warn

    board, chosen = definition.board, choose_observers(registry, observers)
    with Display() as display:
        planned = local.plan(board, registry, settings, display)
        if settings.dry:
            _print_plan(planned, as_json=as_json)
            return
        definition.write()
        try:
            records = local.run(planned, Audience(display, chosen, board.folder, warn))
        except KeyboardInterrupt:
            render(board)
            fail(f"interrupted; what is finished is kept. Continue with: harness run {board.folder}")
            raise
    print_board(render(board), as_json=as_json)
    if any(record.status == "failed" for record in records):
        raise typer.Exit(1)


def rescore(
    board: Annotated[str, typer.Argument(metavar="BOARD", help="A board's folder.")],
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Evaluate stored predictions again, after a metric was added or mended; nothing is trained."""
    from harness.board import read_board
    from harness.execution.rescore import rescore as rescore_records
    from harness.report.page import render
    from harness.terminal import Display, warn

    definition = read_board(Path(board))
    with Display() as display:
        found = rescore_records(definition, open_registry(plugin), display.mention)
    for line in found.left:
        warn(line)
    print_board(render(definition), as_json=as_json)
    if found.left:
        raise typer.Exit(1)


def _print_plan(planned: Sequence[Planned], *, as_json: bool) -> None:
    from harness import tables

    rows = [
        {"combo": p.job.combo.name, "key": p.job.key, "run": p.reason is not None, "reason": p.reason} for p in planned
    ]
    if as_json:
        tables.print_json({"combos": rows})
        return
    for row in rows:
        typer.echo(f"{'run ' if row['run'] else 'keep'}  {row['combo']}  {row['reason'] or 'current'}")
    typer.echo(f"{sum(bool(row['run']) for row in rows)} of {len(rows)} combos would be run")
