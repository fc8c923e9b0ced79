"""Pictures inside a page: Vega as one script, and a drawing for who runs no scripts."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from markupsafe import Markup

from harness.machine import require_drawing
from harness.report.figures.style import Figure

VEGA_LITE = "6.4"
"""The version of Vega-Lite that the bundle and the drawings are of."""

_IDLE = re.compile(
    r' (?:class="(?!marks)[^"]*"|pointer-events="none"|stroke-miterlimit="10"|opacity="1"|xmlns(?::\w+)?="[^"]*"'
    r'|version="1.1"|transform="translate\(0,0\)"|font-family="[^"]*"|display="none"|d=""'
    r'|role="graphics-[^"]*"|aria-[a-z]*="[^"]*")'
)
"""What is the same without: a drawing inside a page takes its fonts and colors from there."""
_EMPTY = re.compile(r'<path(?: d="M0,0h0v0h0Z")?/>|<g></g>|<text[^>]*></text>')
_LONG = re.compile(r"(\d\.\d)\d+")


_BUNDLING = f"""
import sys, vl_convert
sys.stdout.buffer.write(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", "{VEGA_LITE}").encode())
"""


@cache
def bundle() -> str:
    """Vega, Vega-Lite and vega-embed with its expression interpreter, as one script without a request.

    In a process of its own, that no Ctrl-C reaches: it takes a second, in which the library lets no other thread run.
    """
    command = [sys.executable, "-P", "-c", _BUNDLING]
    made = subprocess.run(command, capture_output=True, check=True, start_new_session=True)  # noqa: S603 - our own
    return made.stdout.decode()


def draw_still(figure: Figure) -> Markup:
    """The picture as a small SVG, the same on every machine: fonts come with the library."""
    require_drawing()
    import vl_convert

    specification = dict(figure.specification)
    specification["config"] = {**specification["config"], "aria": False}  # one text for the whole, below
    specification["datasets"] = {name: _choose(rows, figure) for name, rows in specification["datasets"].items()}
    drawn: str = vl_convert.vegalite_to_svg(specification, vl_version=VEGA_LITE)
    # names that the library counts on through a process; here from 0, and each picture's own
    names = dict.fromkeys(re.findall(r"\b(?:gradient_|clip)\d+\b", drawn))
    own = {name: f"{figure.name}-{number}" for number, name in enumerate(names)}
    drawn = re.sub(r"\b(?:gradient_|clip)\d+\b", lambda match: own[match[0]], drawn)
    return _shrink(drawn, Markup(' role="img" aria-label="{}"').format(figure.description))


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
