"""A folder of boards, and the page over them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from harness.board import BOARD_FILE, read_board
from harness.errors import HarnessError, UsageError
from harness.files import write_atomically
from harness.report import page
from harness.report.chance import judge_against_chance
from harness.report.format import EXTERNAL, format_interval, tell_part, tell_scored
from harness.report.headline import explain_nothing
from harness.report.leaderboard import Leaderboard, RowSummary
from harness.report.shadow import mark_pretraining
from harness.report.summary import BoardResults
from harness.results.store import require_no_board
from harness.text import count

TITLE = "Leaderboards"
MOST_NAMED = 3
"""Rows that are named as tied with the best; others are counted."""


def boards_in(folder: Path) -> list[Path]:
    """The folders inside one that hold a board, by name."""
    return sorted(path.parent for path in folder.glob(f"*/{BOARD_FILE}"))


def render_index(folder: Path, out: Path | None = None) -> tuple[Path, list[page.Rendered], list[str]]:
    """Render every board of a folder, and the page over them; gives a line for each board that cannot be rendered too.

    One board that fails stops none of the others, and the page over them leaves it out. Raises `UsageError` where there
    is no board, and where `out` belongs to one.
    """
    if out is not None:
        require_no_board(out)
    boards = boards_in(folder)
    if not boards:
        raise UsageError(f"{folder} is no board and holds none: a board is a folder with a {BOARD_FILE}")
    where = out or folder
    rendered, failed = [], []
    for board in boards:
        try:
            rendered.append(page.render(read_board(board), out and out / board.name, indexed=True))
        except Exception as error:  # noqa: BLE001 - one board that fails keeps none of the others from its page
            said = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
            failed.append(
                f"{board} was not rendered: {said}; harness validate {shlex.quote(str(board))} checks its files"
            )
    path = where / page.PAGE_FILE
    write_atomically(path, index_text([one.results for one in rendered]))
    return path, rendered, failed


def index_text(boards: Sequence[BoardResults]) -> str:
    """The page over boards as text: a table of links, what is measured and best rows. It has no script."""
    style = page.read_part("style.css")
    return (
        page.make_environment()
        .get_template("boards.html.j2")
        .render(
            title=TITLE,
            generator=page.GENERATOR,
            entries=[_summarize(one.summary) for one in boards],
            external=EXTERNAL,
            style=Markup(style),  # noqa: S704 - the harness's own file
            policy=page.content_security_policy(style, ()),
        )
    )


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A board in the table, as texts."""

    link: str
    summary: Leaderboard
    options: Mapping[str, object]
    """The dataset's options, without paths of files."""
    scored: str
    """What is scored in place of images; empty for images."""
    rows: str
    """Whether all rows have all their seeds."""
    best: RowSummary | None
    value: str
    tied: str
    """The rows that do not differ significantly from the best."""
    finished: str
    """The day of the latest result."""
    nothing: str
    """Why there is no best row."""
    warnings: tuple[str, ...]
    outside: str
    """How many outside tests there are; empty without any."""


def _summarize(summary: Leaderboard) -> Entry:
    best = summary.ranked[0] if summary.ranked else None
    spread = best.metrics[summary.objective] if best else None
    return Entry(
        link=f"{quote(summary.board.folder.name, safe='')}/{page.PAGE_FILE}",
        summary=summary,
        options={name: value for name, value in summary.board.options.items() if "/" not in str(value)},
        scored=tell_scored(summary),
        rows=_count_rows(summary),
        best=best,
        value=f"{spread.mean:.3f} {format_interval(spread)}".strip() if spread else "",
        tied=_tell_tied(summary),
        finished=max((record.provenance.finished[:10] for record in summary.counted), default=""),
        nothing="" if best else explain_nothing(summary),
        warnings=tuple(_warn(summary)),
        outside=count(len(summary.board.tests), "outside test") if summary.board.tests else "",
    )


def _count_rows(summary: Leaderboard) -> str:
    rows = [row for row in summary.rows if row.control is None]
    done = sum(row.status == "done" for row in rows)
    many = f"{len(rows)} row{'' if len(rows) == 1 else 's'}"
    return f"complete, {many}" if rows and done == len(rows) else f"partial, {done} of {many}"


def _tell_tied(summary: Leaderboard) -> str:
    if len(summary.ranked) < 2:
        only = "rank" if len(summary.measured) > len(summary.ranked) else "result"
        return f"the only row with a {only}" if summary.ranked else ""
    if summary.ranked[0].group is None:
        return "not tested"
    tied = [row.title for row in summary.ranked[1:] if row.group == 1]
    more = len(tied) - MOST_NAMED
    return ", ".join([*tied[:MOST_NAMED], *([f"{more} more"] if more > 0 else [])]) or "none"


def _warn(summary: Leaderboard) -> Iterator[str]:
    """What keeps a board's numbers from being taken as they stand, a few words each."""
    notes = summary.data.notes if summary.data else {}
    if summary.leak:
        yield "The splits leak: never ranked"
    if part := tell_part(summary):
        yield part
    if "missing" in notes or "unreadable" in notes:
        yield "Part of the dataset"
    rows = [row for row in summary.rows if row.counted and row.control is None]
    shadowed, marked = sum(row.is_shadowed for row in rows), sum(bool(mark_pretraining(row)) for row in rows)
    if shadowed:
        yield f"{count(shadowed, 'row')} not ranked: test images were seen before, or may have been"
    if marked > shadowed:
        yield "Pretraining unknown" + (f" for {marked - shadowed} of {len(rows)} rows" if marked < len(rows) else "")
    if not summary.ranked:
        return
    if judge_against_chance(summary):
        yield "No row is better than chance"
    single = sum(len(row.seeds) == 1 for row in summary.ranked)
    if single == len(summary.ranked):
        yield "One seed: about trained networks, not methods"
    elif single:
        yield f"{single} of {len(summary.ranked)} rows have one seed"
    without = sum(any(record.is_without_validation for record in row.counted) for row in summary.ranked)
    if without:
        many = len(summary.ranked)
        yield "No validation predictions" + (f" for {without} of {many} rows" if without < many else "")
