"""The verb that makes a row of others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.options import BoardFolder, Json, Plugins
from harness.cli.verbs.shared import open_registry, print_board
from harness.errors import UsageError


def ensemble(
    board: BoardFolder,
    rows: Annotated[
        list[str] | None,
        typer.Argument(metavar="ROW...", help="These rows are its members. A glob such as 'chexnet*' matches several."),
    ] = None,
    greedy: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=1,
            help="Pick members in this many steps on validation, with replacement.",
            show_default="each row once",
        ),
    ] = None,
    matching: Annotated[
        str | None,
        typer.Option(
            "--rows", metavar="GLOB", help="Pick from rows whose name matches, with --greedy.", show_default="all rows"
        ),
    ] = None,
    average: Annotated[
        Literal["probability", "logit", "rank"],
        typer.Option(metavar="WHAT", help="Average probability, logit or rank. Ranks give no decisions."),
    ] = "probability",
    name: Annotated[
        str, typer.Option(metavar="TEXT", help="Show it by this name.", show_default="such as 'ensemble of 3 rows'")
    ] = "",
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Add a row that averages the stored predictions of others. Nothing is trained.

    board.toml keeps it, and harness run makes it again when its members change.
    """
    from harness.board import Ensemble, open_board
    from harness.cli.terminal import Display, warn
    from harness.definition import add_ensemble
    from harness.execution.ensembles import make_ensembles, require_pickable
    from harness.report.page import render
    from harness.results.ensembles import require_makable

    asked = (*(rows or ()), *([matching] if matching is not None else []))
    if matching is not None and greedy is None:
        raise UsageError("--rows says what --greedy picks from; name the members as arguments, or give --greedy K")
    if not asked and greedy is None:
        raise UsageError("name the rows to average, or give --greedy K to have them picked on validation")
    wanted = Ensemble(rows=asked or ("*",), average=average, greedy=greedy, title=name.strip())
    opened, registry = open_board(board), open_registry(plugin)
    require_makable(opened, wanted)
    require_pickable(opened, registry, wanted)
    defined = add_ensemble(Path(board), wanted)
    with Display() as display:
        left = make_ensembles(defined, registry, display.mention, warn, again=wanted.name)
    print_board(render(defined), as_json=as_json)
    if left:
        raise typer.Exit(1)
