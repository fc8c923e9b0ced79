"""Paths of a dataset's images, made when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload


class ImageFiles(Sequence[Path]):
    """N paths, kept as texts: 112,120 of `Path` at once would take a noticeable part of a second."""

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
