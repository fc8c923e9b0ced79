"""The one door to the terminal: text is printed as it is, and what in it would steer a terminal is shown instead."""

from __future__ import annotations

import os
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.text import make_visible

PLAIN_WIDTH = 120
"""Characters in a line of a table where no terminal limits it."""


class Output(Console):
    """A console to which a text is one line without markup, also in the cells, titles and captions of tables."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **settings)

    def render_str(self, text: str, *, style: str = "", **settings: Any) -> Text:  # type: ignore[override]
        """Return a text as it is printed."""
        settings = {name: settings.get(name) for name in ("justify", "overflow")}
        return Text(make_visible(text), style=style, **settings)


def open_output() -> Output:
    """Standard output for tables: as wide as the terminal, or wide enough for most where there is none."""
    console = Output()
    return console if console.is_terminal or "COLUMNS" in os.environ else Output(width=PLAIN_WIDTH)


def line(*parts: str | tuple[str, str], style: str = "") -> Text:
    """Return a line of parts, each a text, or a text with its style."""
    pairs = (part if isinstance(part, tuple) else (part, "") for part in parts)
    return Text.assemble(*((make_visible(text), of_text) for text, of_text in pairs), style=style)


def say(*parts: str | tuple[str, str], console: Console | None = None) -> None:
    """Print a line, on standard output unless another console is given."""
    (console or Output()).print(line(*parts), soft_wrap=True)
