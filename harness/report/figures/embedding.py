"""Pictures inside a page: their data as one JSON text, Vega as one script, and a drawing for who runs no scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache

from markupsafe import Markup

from harness.report.figures.style import Figure

VEGA_LITE = "6.4"
"""That the bundle and the drawings are of."""


@cache
def bundle() -> str:
    """Vega, Vega-Lite and vega-embed with its expression interpreter, as one script without a request."""
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE))


def embed(figures: Sequence[Figure]) -> Markup:
    """All specifications as JSON that is safe inside a script element."""
    text = json.dumps([figure.specification for figure in figures], separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))  # noqa: S704 - no markup is left in it


def draw_still(figure: Figure) -> Markup:
    """The picture as SVG, the same on every machine: fonts come with the library."""
    import vl_convert

    drawn: str = vl_convert.vegalite_to_svg(dict(figure.specification), vl_version=VEGA_LITE)
    # names that the library counts on through a process; here from 0, and each picture's own
    names = dict.fromkeys(re.findall(r"\b(?:gradient_|clip)\d+\b", drawn))
    own = {name: f"{figure.name}-{number}" for number, name in enumerate(names)}
    return Markup(re.sub(r"\b(?:gradient_|clip)\d+\b", lambda found: own[found[0]], drawn))  # noqa: S704 - escaped by Vega
