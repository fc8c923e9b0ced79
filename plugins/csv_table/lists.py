"""Lists of images in files: which image of the table a line means."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

NAME_ENDS = re.compile(r"[\s,;]")
"""What ends an image's name in a line that goes on, with labels for example."""
SEVERAL = ""
"""What an ending means that several images have."""


def find_images(lines: Iterable[str], images: Iterable[str]) -> list[str]:
    """Find the image that each line means; empty where it means none, or may mean several.

    A line is an image's path, perhaps with more after a blank, comma or semicolon. The list or the table may leave out
    the first folders of a path; what both say must agree.
    """
    known = set(images)
    endings = _list_endings(known)
    return [
        _find(line, known, endings) or _find(NAME_ENDS.split(line, maxsplit=1)[0], known, endings) for line in lines
    ]


def _list_endings(images: Iterable[str]) -> dict[str, str]:
    """List what images' paths end in, from each `/` on, with the image: `b.png` for `a/b.png`."""
    endings: dict[str, str] = {}
    for image in images:
        rest = image.partition("/")[2]
        while rest:
            endings[rest] = SEVERAL if rest in endings else image
            rest = rest.partition("/")[2]
    return endings


def _find(name: str, images: Collection[str], endings: Mapping[str, str]) -> str:
    """Find the image that has this path, or else ends in it, or else whose path this one ends in."""
    rest = name = name.replace("\\", "/")
    if name not in images and name in endings:
        return endings[name]
    while rest and rest not in images:
        rest = rest.partition("/")[2]
    return rest
