"""Verbs that look after a board's folder."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.option_values import find_cache, split_names
from harness.cli.options import BoardDataRoot, BoardFolder, CacheDir, Json, Plugins
from harness.cli.output import open_output, say
from harness.cli.reading_options import ImageColumn
from harness.cli.verbs.shared import find_data_root, open_registry
from harness.errors import UsageError
from harness.text import agree, count

if TYPE_CHECKING:
    from harness.board import Board
    from harness.execution.keys import CurrentKeys
    from harness.upkeep.cleaning import Waste
    from harness.upkeep.merging import Merged
    from harness.upkeep.status import BoardStatus

VERB = ("is ", "was ", "has ", "cannot ", "belongs ", "holds ")
"""What begins a finding that goes on after the name of its file."""
WATCHED_EVERY = 2.0
"""Seconds between two looks at a board."""


def status(
    board: BoardFolder,
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh every two seconds until nothing is left to run.")
    ] = False,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Show what of a board is done, failed, out of date, running or left, and how long the rest will take."""
    from harness.cli import tables
    from harness.upkeep.status import find_status

    if watch and as_json:
        raise UsageError("--watch shows, --json prints one document: give one of them")
    opened_board, current = _examine(board, plugin, as_run=True)
    state = find_status(opened_board, current)
    if as_json:
        tables.print_json({"board": str(opened_board.folder), **state.as_plain()})
    elif watch:
        _watch(opened_board, current)
    else:
        _print_status(state)


def _watch(board: Board, current: CurrentKeys) -> None:
    """Show the board until nothing of it runs and nothing is left."""
    from rich.live import Live

    from harness.cli.upkeep_listing import status_table
    from harness.upkeep.status import find_status

    with Live(console=open_output(), auto_refresh=False) as live:
        while True:
            state = find_status(board, current)
            live.update(status_table(state), refresh=True)
            if not state.count("running") and not state.count("waiting"):
                return
            time.sleep(WATCHED_EVERY)


def _print_status(state: BoardStatus) -> None:
    from harness.cli.terminal import warn
    from harness.cli.upkeep_listing import status_table

    for problem in state.problems:
        warn(problem)
    open_output().print(status_table(state))


def merge(
    into: Annotated[str, typer.Argument(metavar="INTO", help="This is the board's folder that receives the records.")],
    sources: Annotated[
        list[Path], typer.Argument(metavar="FROM...", help="These are other folders of the same board.")
    ],
    replace: Annotated[
        str | None,
        typer.Option(metavar="GLOB", help="Resolve conflicts whose ROW--sSEED matches by taking the other record."),
    ] = None,
    add: Annotated[
        bool,
        typer.Option("--add-rows", help="Add missing rows to board.toml and take their records."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Copy records from other copies of this board. Conflicts are reported, never resolved silently."""
    from harness.board import open_board
    from harness.cli import tables
    from harness.cli.terminal import warn
    from harness.report.page import render
    from harness.upkeep.merging import as_plain
    from harness.upkeep.merging import merge as merge_records

    board = open_board(into)
    merged = merge_records(board, sources, replace, add=add)
    render(open_board(into))
    if as_json:
        tables.print_json({"board": str(board.folder), **as_plain(merged)})
    else:
        _print_merged(merged)
    if replace is not None and not any(fnmatch.fnmatchcase(name, replace) for name in merged.replaced):
        warn(f"--replace '{replace}' replaced nothing: no conflict is about a record of such a name")
    if merged.conflicts or merged.missing:
        raise typer.Exit(1)


def _print_merged(merged: Merged) -> None:
    from harness.cli.terminal import warn

    say(f"{len(merged.taken)} taken, {len(merged.replaced)} replaced, {len(merged.same)} the same")
    if merged.measured:
        say(f"{count(len(merged.measured), 'outside measurement')} taken: {', '.join(merged.measured)}")
    for text in merged.added:
        say("added to board.toml:")
        for line in text.splitlines():
            say(f"  {line}")
    for line in merged.left:
        warn(line)
    for row, seeds in merged.missing.items():
        numbers = ", ".join(map(str, seeds))
        warn(f"{row} is left, with its records of seed {numbers}: board.toml has no such row; --add-rows adds it")
    for conflict in merged.conflicts:
        ours, theirs = ("-" if value is None else f"{value:.4f}" for value in (conflict.ours, conflict.theirs))
        warn(
            f"{conflict.name}: {conflict.source} has {conflict.reason}: {theirs} there, {ours} here, which stays; "
            f"--replace '{conflict.name}' takes the other"
        )


def validate(board: BoardFolder, plugin: Plugins = None, as_json: Json = False) -> None:
    """Check a board's records, resamples, predictions and page, as a pull request that brings results needs."""
    from harness.board import open_board
    from harness.cli import tables
    from harness.execution.keys import find_current_keys, find_refused
    from harness.results.store import read_records
    from harness.upkeep.validation import validate as find_problems

    opened_board, registry = open_board(board), open_registry(plugin)
    records = read_records(opened_board.folder).records
    current = find_current_keys(opened_board, registry, records)
    findings = find_problems(opened_board, current, find_refused(opened_board, registry, records))
    problems = sum(finding.problem for finding in findings)
    if as_json:
        tables.print_json(
            {"board": str(opened_board.folder), "ok": not problems, "findings": [vars(f) for f in findings]}
        )
    else:
        for finding in findings:
            colon = "" if finding.message.startswith(VERB) else ":"
            say(f"{'✗' if finding.problem else '-'} {finding.file}{colon} {finding.message}")
        say(count(problems, "problem") if problems else "no problem was found")
    if problems:
        raise typer.Exit(1)


def submit(
    board: BoardFolder,
    name: Annotated[str, typer.Option(metavar="TEXT", help="Show the row under this name.")],
    predictions: Annotated[
        list[str],
        typer.Option(
            metavar="FILE",
            help="Submit these test predictions: one .npz or .csv file for each seed, separated by commas.",
        ),
    ],
    about: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="Say whose predictions these are, how they were made and where to read about them."
        ),
    ],
    val: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Fit thresholds on these validation predictions, one file for each seed."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Name the address and commit where the predictions are published."),
    ] = None,
    license: Annotated[str | None, typer.Option(metavar="TEXT", help="Name the license of the predictions.")] = None,  # noqa: A002 - the option's name
    trained_on: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Say which images the network was trained on.")
    ] = None,
    pretrained_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES",
            help="Name everything that the network has seen, separated by commas, such as imagenet or nothing: test "
            "images among it are counted.",
            show_default="unknown",
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(min=1, metavar="PIXELS", help="Give the height and width of the images that the network reads."),
    ] = None,
    subgroups: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS",
            help="Compare subgroups by only these columns, separated by commas, or by none. It is for predictions that "
            "were matched to images without the other columns.",
            show_default="all that the dataset has",
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an earlier submission of the same name.")] = False,
    image_column: ImageColumn = None,
    data_root: BoardDataRoot = None,
    cache_dir: CacheDir = None,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Add predictions that were made elsewhere to a board, evaluated like its own rows and marked "external"."""
    from harness.board import open_board
    from harness.cli.terminal import warn
    from harness.cli.verbs.shared import print_board
    from harness.report.page import render
    from harness.upkeep.submission import Submission, list_files
    from harness.upkeep.submission import submit as submit_predictions

    opened_board = open_board(board)
    submission = Submission(
        name=name,
        about=about,
        tests=list_files(predictions),
        vals=list_files(val or ()),
        image_column=image_column,
        subgroups=None if subgroups is None else () if subgroups == "none" else split_names([subgroups]),
        source=source,
        license=license,
        trained_on=trained_on,
        pretrained_on=split_names(pretrained_on),
        image_size=image_size,
    )
    registry, cache = open_registry(plugin), find_cache(cache_dir)
    root = find_data_root(data_root, opened_board.folder)
    submitted = submit_predictions(opened_board, registry, submission, root, cache, replace_old=replace)
    for note in submitted.notes:
        warn(note)
    print_board(render(opened_board), as_json=as_json)


def clean(
    board: BoardFolder,
    yes: Annotated[bool, typer.Option("--yes", help="Remove everything listed without asking.")] = False,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """List files of a board that are out of date or belong to no record, and remove them after asking."""
    from harness.cli import tables
    from harness.cli.terminal import warn
    from harness.report.page import PAGE_FILE, render
    from harness.upkeep.cleaning import find_unreadable, find_waste, remove

    opened_board, current = _examine(board, plugin)
    waste, unreadable = find_waste(opened_board, current), find_unreadable(opened_board.folder)
    for problem in unreadable:
        warn(f"{problem}; while it lies there, what seems to belong to no record stays: repair or remove it")
    if not as_json:
        _print_waste(waste, opened_board.folder)
    wanted = bool(waste) and (yes or (not as_json and typer.confirm("remove all of it?")))
    if wanted:
        removed = remove(waste, opened_board, current)
        if len(removed) < len(waste) and not as_json:
            say(
                f"{len(waste) - len(removed)} of them {agree(len(waste) - len(removed), 'is', 'are')} now in use "
                f"and not removed"
            )
        if (opened_board.folder / PAGE_FILE).is_file():
            render(opened_board)
    if as_json:
        items = [
            {"path": str(w.path.relative_to(opened_board.folder)), "reason": w.reason, "bytes": w.size} for w in waste
        ]
        said = {"waste": items, "unreadable": list(unreadable), "removed": wanted}
        tables.print_json({"board": str(opened_board.folder)} | said)


def _print_waste(waste: Sequence[Waste], folder: Path) -> None:
    from rich.filesize import decimal

    for one in waste:
        say(f"{decimal(one.size):>9}  {one.path.relative_to(folder)}: {one.reason}")
    total = sum(one.size for one in waste)
    say(f"{decimal(total)} in {count(len(waste), 'place')}" if waste else "nothing is out of date or unused")


def _examine(folder: str, plugin: list[Path] | None, *, as_run: bool = False) -> tuple[Board, CurrentKeys]:
    """A board, and what a run would make of it today; with `as_run`, what a run refuses is refused here too."""
    from harness.board import open_board
    from harness.execution.keys import find_current_keys, require_names
    from harness.results.store import read_records

    board, registry = open_board(folder), open_registry(plugin)
    if as_run:
        require_names(board, registry)
    return board, find_current_keys(board, registry, read_records(board.folder).records)
