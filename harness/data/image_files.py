"""Image files of a public dataset: which ones are there, and their paths as they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload


class ImageFiles(Sequence[Path]):
    """Paths of images, made when they are asked for: 100,000 at once would take a noticeable part of a second."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Path: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Path]: ...

    def __getitem__(self, index: int | slice) -> Path | Sequence[Path]:
        return ImageFiles(self.paths[index]) if isinstance(index, slice) else Path(self.paths[index])


def list_files(folders: Iterable[Path]) -> dict[str, str]:
    """The path of each file in these folders by its name; where two have a name, that of the later folder.

    Folders that are not there are passed over, and those inside them are not looked into.
    """
    found: dict[str, str] = {}
    for folder in folders:
        if folder.is_dir():
            with os.scandir(folder) as entries:
                found |= {entry.name: entry.path for entry in entries}
    return found


def locate_images(folder: Path, names: Iterable[str], suffixes: Sequence[str]) -> list[Path]:
    """Where the image of each name lies in a folder, as `name + suffix` with the first of `suffixes` that is there.

    An image that is not there gets the first suffix: that is where it would be looked for.
    """
    there = list_files([folder])
    files = (
        next((file for suffix in suffixes if (file := name + suffix) in there), name + suffixes[0]) for name in names
    )
    return [folder / file for file in files]
