"""Verbs that read boards: nothing is trained, no record is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.option_values import split_names
from harness.cli.options import Json
from harness.cli.output import open_output, say
from harness.cli.verbs.shared import print_board
from harness.errors import HarnessError, UsageError
from harness.text import agree

if TYPE_CHECKING:
    from harness.report.difference import BoardDifference
    from harness.report.leaderboard import Leaderboard
    from harness.report.page import Rendered


def leaderboard(
    board: Annotated[str, typer.Argument(metavar="BOARD", help="This is a board's folder, or a folder of boards.")],
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Write the page, the table and copies of the records to this folder, ready to publish.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a board's page from its records, or the pages of a folder of boards with an index."""
    from harness.board import BOARD_FILE, open_board
    from harness.cli.terminal import warn
    from harness.report.index import boards_in, render_index
    from harness.report.page import render

    folder, failed = Path(board), list[str]()
    if not (folder / BOARD_FILE).is_file() and boards_in(folder):
        page, rendered, failed = render_index(folder, out)
        for line in failed:
            warn(line)
        _print_index(page, rendered, as_json=as_json)
    else:
        one = render(open_board(board), out)
        print_board(one, as_json=as_json)
        page = one.page
    if open_page:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    if failed:
        raise typer.Exit(1)


def show(
    name: Annotated[
        str, typer.Argument(metavar="BOARD[::ROW]", help="This is a board's folder, or one of its rows as BOARD::ROW.")
    ],
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES",
            help="Show these columns, separated by commas. They are called as in board.csv, such as title, auroc, "
            "f1@0.5 or auroc[Mass]; METRIC_interval is a metric's 95 % interval.",
        ),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table as Markdown, with a caption that stands alone.")
    ] = False,
    latex: Annotated[
        bool, typer.Option("--latex", help="Print the table as LaTeX (booktabs), with a caption that stands alone.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print a board's table, or all that is known of one of its rows; nothing is written."""
    from harness.board import open_board
    from harness.cli.terminal import warn
    from harness.report.summary import read_results
    from harness.scoring.rows import SEPARATOR

    if sum([markdown, latex, as_json]) > 1:
        raise UsageError("--markdown, --latex and --json are three forms of one thing; give one of them")
    place, _, row = name.rpartition(SEPARATOR) if SEPARATOR in name else (name, "", "")
    chosen = split_names(columns)
    if (chosen and as_json) or (row and (chosen or markdown or latex)):
        raise UsageError("--columns, --markdown and --latex are for a board's table: give a board, without --json")
    results = read_results(open_board(place))
    for problem in results.problems:
        warn(problem)
    if row:
        _show_row(results.summary, row, as_json=as_json)
    elif markdown or latex or chosen:
        _show_table(results.summary, chosen, markdown=markdown, latex=latex)
    else:
        _show_board(results.summary, as_json=as_json)


def _show_board(summary: Leaderboard, *, as_json: bool) -> None:
    from harness.cli import outside_listing, tables
    from harness.cli.board_listing import as_plain, table
    from harness.report.outside import summarize_outside

    outside = summarize_outside(summary)
    if as_json:
        plain = {**as_plain(summary), **outside_listing.as_plain(outside)}
        tables.print_json({"board": str(summary.board.folder), **plain})
        return
    console = open_output()
    console.print(table(summary, width=console.width), *outside_listing.as_text(summary, outside), sep="\n")


def _show_row(summary: Leaderboard, row: str, *, as_json: bool) -> None:
    from harness.cli import outside_listing, tables
    from harness.cli.row_listing import as_plain_row, as_text, find_summary
    from harness.report.outside import summarize_outside

    one = find_summary(summary, row)
    if as_json:
        tables.print_json(as_plain_row(summary, one))
    else:
        outside = outside_listing.as_text_of_row(one, summarize_outside(summary))
        open_output().print(*as_text(summary, one), *outside, sep="\n")


def _show_table(summary: Leaderboard, columns: Sequence[str], *, markdown: bool, latex: bool) -> None:
    """Print the board's table in these columns, or the usual ones, as Markdown, as LaTeX or for a terminal."""
    from harness.cli.board_listing import arrange
    from harness.report.outside import summarize_outside
    from harness.report.outside_table import make_matrix
    from harness.report.paper import as_latex, as_markdown, make_table

    made = make_table(summary, columns)
    if markdown or latex:
        matrix = None if columns else make_matrix(summary, summarize_outside(summary), made.name)
        texts = [as_markdown(one) if markdown else as_latex(one) for one in (made, matrix) if one is not None]
        for line in "\n".join(texts).rstrip().split("\n"):
            say(line)
    else:
        open_output().print(arrange(made))


def diff(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="This is a board, or a folder of boards, as it was.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="This is the same board, or folder, as it is now.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a pull request.")] = False,
    as_json: Json = False,
) -> None:
    """Show which rows are new, gone or changed beyond noise, between two boards or two states of one."""
    from harness.cli import tables
    from harness.cli.difference_listing import as_markdown, as_plain, as_text

    if as_json and markdown:
        raise UsageError("give --json or --markdown, not both")
    pairs, new, gone = _pair_boards(before, after)
    differences, unread = _compare_pairs(pairs)
    alone = [*unread, *(f"{name}: a new board" for name in new), *(f"{name}: a board that is gone" for name in gone)]
    if as_json:
        plain = [as_plain(one) for one in differences]
        tables.print_json({"boards": plain, "new": new, "gone": gone, "unread": unread})
    elif markdown:
        for line in "\n".join([*map(as_markdown, differences), *(f"- {line}" for line in alone)]).rstrip().split("\n"):
            say(line)
    else:
        for one in differences:
            open_output().print(*as_text(one), sep="\n")
        for line in alone:
            say(line)
    if unread:
        raise typer.Exit(1)


def _compare_pairs(pairs: Sequence[tuple[str, str]]) -> tuple[list[BoardDifference], list[str]]:
    """What became of each board, and a line for each that cannot be read where it is not the only one."""
    from harness.board import open_board
    from harness.cli.terminal import warn
    from harness.report.difference import compare_states
    from harness.report.outside_difference import compare_outside
    from harness.report.summary import read_results

    differences, unread = [], []
    for before, after in pairs:
        try:
            states = read_results(open_board(before)), read_results(open_board(after))
            differences += [compare_states(*states), *compare_outside(*states)]
        except HarnessError as error:  # the others are compared all the same
            if len(pairs) == 1:
                raise
            unread.append(f"{Path(after).name}: cannot be compared: {error}")
            continue
        for state in states:
            for problem in state.problems:
                warn(f"{state.summary.board.folder}: {problem}")
    return differences, unread


def _pair_boards(before: str, after: str) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """The boards that are compared, and the names of those that only the later or the earlier folder holds."""
    from harness.report.index import boards_in

    shelves = [{path.name: str(path) for path in boards_in(Path(folder))} for folder in (before, after)]
    if not all(shelves):
        return [(before, after)], [], []
    earlier, later = shelves
    shared = [name for name in later if name in earlier]
    return (
        [(earlier[name], later[name]) for name in shared],
        [name for name in later if name not in earlier],
        [name for name in earlier if name not in later],
    )


def _print_index(page: Path, rendered: Sequence[Rendered], *, as_json: bool) -> None:
    from harness.cli import outside_listing, tables
    from harness.cli.board_listing import as_plain
    from harness.cli.terminal import warn

    for one in rendered:
        for problem in one.results.problems:
            warn(f"{one.results.summary.board.folder.name}: {problem}")
    if as_json:
        boards = [
            {
                "board": str(one.results.summary.board.folder),
                "page": str(one.page),
                **as_plain(one.results.summary),
                **outside_listing.as_plain(one.outside),
            }
            for one in rendered
        ]
        tables.print_json({"page": str(page), "boards": boards})
        return
    for one in rendered:
        summary = one.results.summary
        measured = sum(bool(row.counted) and row.control is None for row in summary.rows)
        leak = f", not ranked, as the splits leak: {summary.leak}" if summary.leak else ""
        total, shadowed = sum(row.control is None for row in summary.rows), sum(row.is_shadowed for row in summary.rows)
        seen = f", {shadowed} of them not ranked: test images were seen before" if shadowed and not leak else ""
        has = agree(measured, "has", "have")
        say(f"{summary.board.folder.name}: {measured} of {total} rows {has} a result{leak}{seen}")
    say(f"page: {page}")
