"""What a dataset expects to lie in its folder, and how to say it where that is missing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DataError


@dataclass(frozen=True)
class Layout:
    """The files of a public dataset, as those who publish it lay them out."""

    dataset: str
    expected: str
    """What lies where, in one line."""
    source: str
    """Where to get it: an address."""
    terms: str
    """What one agrees to by using it, in one line."""

    def find(self, root: Path, *names: str) -> Path:
        """The first of these files that is there, as it is or with `.gz` after its name; a name may hold folders.

        Raises `DataError` that says what is expected and where to get it.
        """
        for name in names:
            for path in (root / name, root / f"{name}.gz"):
                if path.is_file():
                    return path
        what = f"has no {' or '.join(names)}" if root.is_dir() else "does not exist"
        raise DataError(f"{self.dataset}: the folder {root} {what}; {self.explain()}; then give --data-root")

    def explain(self) -> str:
        """What is expected, where to get it, and on which terms: `expected ...; get it from ... (terms: ...)`."""
        return f"expected {self.expected}; get it from {self.source} (terms: {self.terms})"


def locate_images(folder: Path, names: Iterable[str], suffixes: Sequence[str]) -> list[Path]:
    """Where the image of each name lies in a folder, as `name + suffix` with the first of `suffixes` that is there.

    An image that is not there gets the first suffix: that is where it would be looked for.
    """
    there: set[str] = set()
    if folder.is_dir():
        with os.scandir(folder) as entries:
            there = {entry.name for entry in entries}
    files = (
        next((file for suffix in suffixes if (file := name + suffix) in there), name + suffixes[0]) for name in names
    )
    return [folder / file for file in files]
