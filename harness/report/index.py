"""A folder of boards, and the page over them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from harness.board import BOARD_FILE, read_board
from harness.errors import HarnessError, UsageError
from harness.files import write_atomically
from harness.report import page
from harness.report.format import tell_part, tell_scored
from harness.report.headline import explain_nothing, judge
from harness.report.summary import BoardResults
from harness.results.store import require_no_board

TITLE = "Leaderboards"


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
            rendered.append(page.render(read_board(board), out and out / board.name))
        except Exception as error:  # noqa: BLE001 - one board that fails keeps none of the others from its page
            said = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
            failed.append(
                f"{board} was not rendered: {said}; harness validate {shlex.quote(str(board))} checks its files"
            )
    path = where / page.PAGE_FILE
    write_atomically(path, index_text([one.results for one in rendered]))
    return path, rendered, failed


def index_text(boards: Sequence[BoardResults]) -> str:
    """The page over boards as text: a link, what is measured and the answer of each. It has no script."""
    style = page.read_part("style.css")
    entries = [
        {
            "link": f"{quote(one.summary.board.folder.name, safe='')}/{page.PAGE_FILE}",
            "summary": one.summary,
            "answer": judge(one.summary),
            "nothing": explain_nothing(one.summary),
            "part": tell_part(one.summary),
            "scored": tell_scored(one.summary),
            "finished": max((r.provenance.finished[:10] for r in one.summary.counted), default=None),
        }
        for one in boards
    ]
    return (
        page.make_environment()
        .get_template("boards.html.j2")
        .render(
            title=TITLE,
            entries=entries,
            style=Markup(style),  # noqa: S704 - the harness's own file
            policy=page.content_security_policy(style, ()),
        )
    )
