"""The verb that evaluates a board's stored predictions again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.option_values import find_cache, find_device
from harness.cli.options import (
    BoardDataRoot,
    BoardFolder,
    CacheDir,
    Cancel,
    Device,
    JobCount,
    Json,
    On,
    OnOptions,
    Plugins,
)
from harness.cli.verbs.elsewhere import cancel_jobs, find_elsewhere
from harness.cli.verbs.shared import find_data_root, open_registry, print_board, same_command

if TYPE_CHECKING:
    from harness.board import Board
    from harness.cli.terminal import Display
    from harness.execution.submitter import Elsewhere
    from harness.registry import Registry


def rescore(
    board: BoardFolder,
    data_root: BoardDataRoot = None,
    cache_dir: CacheDir = None,
    device: Device = "auto",
    on: On = "local",
    on_options: OnOptions = None,
    jobs: JobCount = None,
    cancel: Cancel = False,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Evaluate a board's stored predictions again, after a metric was added or fixed. Nothing is trained.

    Finished rows are measured on the outside tests that they lack, by their stored weights; only this needs the data.
    """
    from harness.board import read_board
    from harness.cli.terminal import Display, warn
    from harness.execution.board_run import Told, lacks_outside, measure_finished
    from harness.execution.planning import Settings
    from harness.report.page import render

    definition, registry = read_board(Path(board)), open_registry(plugin)
    if cancel:
        cancel_jobs(definition.folder, registry, on)
        return
    where = Settings(data_root=data_root or Path("data"), cache=find_cache(cache_dir), device=find_device(device))
    elsewhere = find_elsewhere(
        registry, where, on=on, options=on_options, jobs=jobs, device="cpu", plugins=plugin or (), cache=cache_dir
    )
    with Display() as display:
        left = _rescore(definition, registry, elsewhere, display)
        for line in left:
            warn(line)
        if lacks_outside(definition):
            with_data = replace(where, data_root=find_data_root(data_root, definition.folder))
            told = Told(listener=display, mention=display.mention, warn=warn)
            left += measure_finished(definition, registry, with_data, told)
    print_board(render(definition), as_json=as_json)
    if left:
        raise typer.Exit(1)


def _rescore(board: Board, registry: Registry, elsewhere: Elsewhere | None, display: Display) -> tuple[str, ...]:
    """Evaluate here or elsewhere; gives a line for each record that stays as it was."""
    from harness.cli.terminal import fail
    from harness.execution.rescore import rescore as rescore_here
    from harness.execution.rescore_elsewhere import rescore_elsewhere

    if elsewhere is None:
        return rescore_here(board, registry, display.mention).left
    try:
        return rescore_elsewhere(board, elsewhere, display, display.mention).left
    except KeyboardInterrupt:
        display.close()
        fail(f"interrupted, and its jobs are cancelled; records are whole. Begin again with: {same_command()}")
        raise
