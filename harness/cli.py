"""The command line: one short function a verb; what is heavy is imported inside."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.errors import HarnessError, UsageError
from harness.options import (
    BoardArgument,
    CacheDir,
    Compile,
    DataRoot,
    DatasetName,
    Device,
    Json,
    Options,
    Plugins,
    find_cache,
    find_device,
    split_names,
    split_numbers,
)

if TYPE_CHECKING:
    from harness.board import Board
    from harness.components import Data
    from harness.data.loading import Source
    from harness.data.prepare import Prepared
    from harness.definition import Definition
    from harness.execution.local import Planned, Settings
    from harness.registry import Registry

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Compare models for chest X-rays under one protocol: same data, same split, same statistics.",
)
plugins_app = typer.Typer(help="List what can be plugged together.", invoke_without_command=True)
data_app = typer.Typer(help="Look at a dataset before anything is trained on it.", no_args_is_help=True)
app.add_typer(plugins_app, name="plugins")
app.add_typer(data_app, name="data")


def main() -> None:
    """Run the command line: a mistake is one line and exit code 2, an interruption 130."""
    try:
        app()
    except HarnessError as error:
        from harness.terminal import fail

        fail(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("cxr-harness"))
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Compare models for chest X-rays under one protocol: same data, same split, same statistics."""


# --- boards ----------------------------------------------------------------------------------------------------------


@app.command()
def run(
    board: BoardArgument = None,
    folder: Annotated[Path | None, typer.Option("--board", help="Where the board is, or is to be made.")] = None,
    dataset: Annotated[str | None, typer.Option(help="For a new board: its dataset.")] = None,
    models: Annotated[list[str] | None, typer.Option(help="For a new board: models, separated by commas.")] = None,
    losses: Annotated[list[str] | None, typer.Option(help="For a new board: losses, separated by commas.")] = None,
    recipes: Annotated[list[str] | None, typer.Option(help="For a new board: recipes, separated by commas.")] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Seeds, as 0,1,2; of an existing board, which of its own to run.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="model.|loss.|recipe.NAME=VALUE: run rows with that parameter; may be repeated."),
    ] = None,
    options: Options = None,
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and why.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run also what has a current record.")] = False,
    as_json: Json = False,
) -> None:
    """Train and measure what a board lacks, and render its page."""
    from harness.definition import Request, define
    from harness.parameters import parse_assignments, parse_params

    registry = _registry(plugin)
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
    _run_definition(define(request), registry, where, as_json=as_json)


def _run_definition(definition: Definition, registry: Registry, settings: Settings, *, as_json: bool) -> None:
    """Plan, run and render; exit 1 where a combo failed."""
    from harness.execution import local
    from harness.report.page import render
    from harness.terminal import Display, fail

    board = definition.board
    with Display() as display:
        planned = local.plan(board, registry, settings, display)
        if settings.dry:
            _print_plan(planned, as_json=as_json)
            return
        definition.write()
        try:
            records = local.run(planned, display)
        except KeyboardInterrupt:
            render(board)
            fail(f"interrupted; what is finished is kept. Continue with: harness run {board.folder}")
            raise
    page = render(board)
    _print_board(board, page, as_json=as_json)
    if any(record.status == "failed" for record in records):
        raise typer.Exit(1)


@app.command()
def leaderboard(
    board: Annotated[str, typer.Argument(metavar="BOARD", help="A board's folder.")], as_json: Json = False
) -> None:
    """Render a board's page from its records; nothing is run."""
    from harness.board import find_board, read_board
    from harness.report.page import render

    found = find_board(board)
    if isinstance(found, str):
        raise UsageError(
            f"'{found}' is the bundled definition, which has no records; make a board of it: harness run {found}"
        )
    definition = read_board(found)
    _print_board(definition, render(definition), as_json=as_json)


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


def _print_board(board: Board, page: Path, *, as_json: bool) -> None:
    from harness import tables
    from harness.report.summary import as_plain, summarize, table
    from harness.results.store import read_records
    from harness.terminal import warn

    found = read_records(board.folder)
    summary = summarize(board, found.records)
    for problem in found.problems:
        warn(problem)
    if as_json:
        tables.print_json({"board": str(board.folder), "page": str(page), **as_plain(summary)})
        return
    console = tables.output()
    console.print(table(summary, width=console.width))
    typer.echo(f"page: {page}")


# --- plugins ---------------------------------------------------------------------------------------------------------


@plugins_app.callback()
def plugins(context: typer.Context, plugin: Plugins = None, as_json: Json = False) -> None:
    """List what there is: kind, name, where from, one line."""
    if context.invoked_subcommand is not None:
        return
    from harness import catalogue, tables

    registry = _registry(plugin)
    if as_json:
        tables.print_json(catalogue.listing(registry))
    else:
        tables.print_listing(registry)


@plugins_app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A component's name.")],
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Show a component: signature, defaults, search space, citation."""
    from harness import catalogue, tables

    details = catalogue.details(_registry(plugin), name)
    if as_json:
        tables.print_json({"components": details})
    else:
        tables.print_details(details)


# --- data ------------------------------------------------------------------------------------------------------------


@data_app.command("list")
def list_datasets(plugin: Plugins = None, as_json: Json = False) -> None:
    """List datasets and their options."""
    from harness import catalogue, tables

    registry = _registry(plugin)
    if as_json:
        listed = catalogue.listing(registry)["components"]
        tables.print_json({"datasets": [component for component in listed if component["kind"] == "dataset"]})
    else:
        tables.print_listing(registry, only="dataset")


@data_app.command()
def stats(
    name: DatasetName,
    options: Options = None,
    data_root: DataRoot = Path("data"),
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Count images, patients and positives by split; reads label files only."""
    from harness import tables
    from harness.data import loading, statistics

    data = loading.load(_source(name, options, data_root, plugin))
    described = statistics.describe(data)
    if as_json:
        tables.print_json(statistics.as_plain(described))
    else:
        tables.print_statistics(name, described)


@data_app.command()
def check(
    name: DatasetName,
    options: Options = None,
    data_root: DataRoot = Path("data"),
    cache_dir: CacheDir = None,
    load_size: Annotated[int, typer.Option(help="Size in pixels at which images are decoded to be compared.")] = 224,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Look for leaks, duplicates, damaged files and labels that cannot be measured; exit 1 where something is wrong."""
    from harness import tables
    from harness.data import checks, loading

    source = _source(name, options, data_root, plugin)
    data = loading.load(source)
    findings = checks.check(data, _prepare(source, data, load_size, cache_dir, allow_missing=True))
    if as_json:
        tables.print_json({"findings": [finding.as_plain() for finding in findings]})
    else:
        tables.print_findings(findings)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@data_app.command("prepare")
def prepare_dataset(
    name: DatasetName,
    options: Options = None,
    data_root: DataRoot = Path("data"),
    cache_dir: CacheDir = None,
    load_size: Annotated[int, typer.Option(help="Height and width in pixels.")] = 224,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Decode a dataset's images once, ahead of a run."""
    from harness import tables
    from harness.data import loading

    source = _source(name, options, data_root, plugin)
    prepared = _prepare(source, loading.load(source), load_size, cache_dir, allow_missing=source.allow_missing)
    summary = {
        "dataset": name,
        "images": len(prepared.data.table),
        "load_size": load_size,
        "missing": len(prepared.missing),
        "unreadable": dict(prepared.unreadable),
        "digest": prepared.digest,
    }
    if as_json:
        tables.print_json(summary)
        return
    typer.echo(f"{summary['images']:,} images of {name} at {load_size} px, {summary['missing']:,} missing")
    for image, reason in prepared.unreadable.items():
        typer.echo(f"unreadable: {image}: {reason}")


# --- what verbs share ------------------------------------------------------------------------------------------------


def _registry(files: Sequence[Path] | None) -> Registry:
    """Load all plugins, saying which are broken."""
    from harness.registry import load_registry
    from harness.terminal import warn

    registry = load_registry(files or ())
    for problem in registry.problems:
        warn(f"plugin {problem.plugin} {problem.message}")
    return registry


def _source(name: str, options: list[str] | None, data_root: Path, plugin: list[Path] | None) -> Source:
    from harness.data.loading import find_source
    from harness.parameters import parse_assignments

    return find_source(
        _registry(plugin).offer("dataset", name), parse_assignments("--option", options or ()), data_root
    )


def _prepare(source: Source, data: Data, load_size: int, cache_dir: Path | None, *, allow_missing: bool) -> Prepared:
    from dataclasses import replace

    from harness.data.prepare import prepare
    from harness.execution.events import Preparing
    from harness.terminal import Display

    with Display() as display:
        return prepare(
            replace(source, allow_missing=allow_missing),
            data,
            load_size,
            find_cache(cache_dir),
            lambda done, total: display(Preparing(source.dataset.name, done, total)),
        )
