"""The outcome of a check of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.text import count


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    name: str
    ok: bool
    message: str
    examples: tuple[str, ...] = ()
    """All that was found, in the order of the dataset."""

    def as_plain(self) -> dict[str, Any]:
        """Return the finding as plain data for JSON."""
        return asdict(self)


def judge(
    name: str, examples: Sequence[str], fine: str, noun: str, wrong: str, *, plural: str | None = None
) -> Finding:
    """Make a finding: fine without examples, else their number, what they are called, and what is wrong with them."""
    if not examples:
        return Finding(name, ok=True, message=fine)
    return Finding(name, ok=False, message=f"{count(len(examples), noun, plural)} {wrong}", examples=tuple(examples))
