"""Values as people read them, on the page and in the terminal alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that move a cursor, break a line, turn the direction of writing, or cannot be written."""
COMMAND = re.compile(r"^(?=\s*::)|(?<=##)(?=\[)")
"""Where a line would be a command to the service that runs it, as `::error::` is."""

PATH = re.compile(r"(?:\.{1,2}|~)?/")
"""How a name begins that is a folder's."""


def make_visible(text: str) -> str:
    """Return text that stays in its line and steers neither a terminal nor a CI service: escapes stand as in Python."""
    shown = STEERING.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
    return COMMAND.sub(r"\\", shown)


def format_value(value: object) -> str:
    """A parameter's value with as many digits as a person reads."""
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value)


def describe_seconds(seconds: float) -> str:
    """`40 s`, `12 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 problem`, `2 problems`, `1,000 studies`: a number with its noun, which takes an s unless `plural` is given."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def agree(number: int, one: str, several: str) -> str:
    """The form of a word that agrees with a number: `agree(1, "is", "are")` is `is`."""
    return one if number == 1 else several


def name_seeds(seeds: Sequence[object]) -> str:
    """`seed 0`, or `seeds 0, 1 and 2`: one seed or several by their numbers."""
    *others, last = map(str, seeds)
    return f"seeds {', '.join(others)} and {last}" if others else f"seed {last}"


def shorten_name(model: str) -> str:
    """The name of a model as it is published: of `hf//home/me/rad-dino` and `hf/./rad-dino` it is `hf/rad-dino`."""
    family, _, asked = model.partition("/")
    return f"{family}/{asked.rstrip('/').rpartition('/')[2]}" if PATH.match(asked) else model
