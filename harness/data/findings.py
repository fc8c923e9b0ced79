"""The outcome of a check of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


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


def judge(name: str, examples: Sequence[str], fine: str, wrong: str) -> Finding:
    """Make a finding: fine without examples, else wrong with their number before the words."""
    if not examples:
        return Finding(name, ok=True, message=fine)
    return Finding(name, ok=False, message=f"{len(examples):,} {wrong}", examples=tuple(examples))
