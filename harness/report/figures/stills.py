"""A page's pictures for who runs no scripts: drawings, as small as they can be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from markupsafe import Markup

from harness.report.figures import vega
from harness.report.figures.style import Figure

_IDLE = re.compile(
    r' (?:class="(?!marks)[^"]*"|pointer-events="none"|stroke-miterlimit="10"|opacity="1"|xmlns(?::\w+)?="[^"]*"'
    r'|version="1.1"|transform="translate\(0,0\)"|font-family="[^"]*"|display="none"|d=""'
    r'|role="graphics-[^"]*"|aria-[a-z]*="[^"]*")'
)
"""What is the same without: a drawing inside a page takes its fonts and colors from there."""
_EMPTY = re.compile(r'<path(?: d="M0,0h0v0h0Z")?/>|<g></g>|<text[^>]*></text>')
_LONG = re.compile(r"(\d\.\d)\d+")


def draw_stills(figures: Iterable[Figure]) -> tuple[tuple[Figure, ...], Callable[[Figure], Markup]]:
    """Begin to draw each picture as a small SVG as soon as it is made, beside this process; gives the pictures, and
    what waits for the drawing of one of them.
    """
    made: list[Figure] = []
    begun: dict[str, Future[str]] = {}
    for figure in figures:
        made.append(figure)
        begun[figure.name] = vega.start().draw(_prepare(figure))

    def finish(figure: Figure) -> Markup:
        drawn = begun[figure.name].result()
        # names that the library counts on through a process; here from 0, and each picture's own
        names = dict.fromkeys(re.findall(r"\b(?:gradient_|clip)\d+\b", drawn))
        own = {name: f"{figure.name}-{number}" for number, name in enumerate(names)}
        drawn = re.sub(r"\b(?:gradient_|clip)\d+\b", lambda match: own[match[0]], drawn)
        return _shrink(drawn, Markup(' role="img" aria-label="{}"').format(figure.description))

    return tuple(made), finish


def _prepare(figure: Figure) -> dict[str, Any]:
    """The specification of what is seen without a script."""
    specification = dict(figure.specification)
    specification["config"] = {**specification["config"], "aria": False}  # one text for the whole, above
    specification["datasets"] = {name: _choose(rows, figure) for name, rows in specification["datasets"].items()}
    return specification


def _choose(rows: Sequence[Mapping[str, Any]], figure: Figure) -> list[Mapping[str, Any]]:
    """The rows of a picture's table that are seen without a script: those of its first label, where it has labels."""
    return [row for row in rows if not figure.labels or row.get("label", figure.labels[0]) == figure.labels[0]]


def _shrink(drawn: str, description: Markup) -> Markup:
    """The drawing without what changes nothing; coordinates to a tenth of a pixel."""
    tags = re.split(r"(<[^>]*>)", drawn)  # texts between tags stay as they are
    tags[1::2] = [_LONG.sub(r"\1", _IDLE.sub("", tag)) for tag in tags[1::2]]
    drawn, before = "".join(tags), ""
    while before != drawn:
        before, drawn = drawn, _EMPTY.sub("", drawn)
    return Markup(drawn.replace("<svg", f"<svg{description}", 1))  # noqa: S704 - escaped by Vega, and by Markup
