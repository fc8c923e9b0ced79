"""What several verbs begin with."""

from __future__ import annotations

import contextlib
import importlib
import shlex
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.output import open_output, say

if TYPE_CHECKING:
    import typer

    from harness.data.loading import Source
    from harness.execution.supervision import Apprentice
    from harness.registry import Registry
    from harness.report.page import Rendered


def print_board(rendered: Rendered, *, as_json: bool) -> None:
    """A board's table, what could not be read, and where its page is."""
    from harness.cli import outside_listing, tables
    from harness.cli.board_listing import as_plain, table
    from harness.cli.terminal import warn

    summary = rendered.results.summary
    for problem in rendered.results.problems:
        warn(problem)
    if as_json:
        plain = {**as_plain(summary), **outside_listing.as_plain(rendered.outside)}
        tables.print_json({"board": str(summary.board.folder), "page": str(rendered.page), **plain})
        return
    console = open_output()
    console.print(table(summary, width=console.width), *outside_listing.as_text(summary, rendered.outside), sep="\n")
    say(f"page: {rendered.page}")


def open_registry(files: Sequence[Path] | None) -> Registry:
    """Load all plugins, saying which are broken."""
    from harness.cli.terminal import warn
    from harness.registry import load_registry

    registry = load_registry(files or ())
    for problem in registry.problems:
        warn(f"plugin {problem.plugin} {problem.message}")
    return registry


def begin_worker(command: typer.Context, *modules: str) -> Apprentice | None:
    """Start the first worker process ahead of its order: it imports modules while this one plans, on another processor.

    It ends with the command if there is nothing for it to do. None where there is one processor.
    """
    from harness.execution.supervision import Apprentice
    from harness.machine import count_processors

    if count_processors() < 2:
        return None
    apprentice = Apprentice(modules)
    command.call_on_close(apprentice.dismiss)
    return apprentice


def prepare_page() -> None:
    """Import and start what draws a page, in a thread: this process has nothing else to do while its workers train."""

    def bring() -> None:
        with contextlib.suppress(Exception):  # whoever draws the page will hear why
            importlib.import_module("harness.report.page").prepare()

    threading.Thread(target=bring, daemon=True).start()


def find_data_root(given: Path | None, folder: Path) -> Path:
    """Find the folder of a board's data: the one given, the one that its last run noted, or `data`."""
    from harness.cli.output import Output
    from harness.results.layout import local_path
    from harness.results.whereabouts import recall_data

    if given is not None:
        return given
    noted = recall_data(folder)
    if noted is None:
        return Path("data")
    say(f"data: {noted}, as {local_path(folder)} says; --data-root names another folder", console=Output(stderr=True))
    return noted


def same_command(without: str = "") -> str:
    """What was typed, with all its options but one: plugins and data have to be there again."""
    return shlex.join(["harness", *(argument for argument in sys.argv[1:] if argument != without)])


def open_source(name: str, options: list[str] | None, data_root: Path, plugin: list[Path] | None) -> Source:
    """The dataset of that name with its options; the name is looked up among all plugins."""
    from harness.data.loading import find_source
    from harness.parameters import parse_assignments

    return find_source(
        open_registry(plugin).offer("dataset", name), parse_assignments("--option", options or ()), data_root
    )
