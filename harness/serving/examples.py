"""Example images for the app: a handful of a row's test images, with their known labels."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.components import Data
from harness.errors import HarnessError
from harness.serving.answers import as_address, make_png
from harness.serving.images import ImageSource, explain, take_data
from harness.serving.rows import LoadedRow

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

MOST = 8
"""Examples that are shown."""
ATTEMPTS = 40
"""Images that are looked at for them, of which some may not be on this machine."""
SIDE = 96
"""Pixels of a side of the small pictures by which they are chosen."""


@dataclass(eq=False)
class Examples:
    """Test images of a dataset, which is read when somebody asks for the first time."""

    row: LoadedRow
    """The row whose dataset it is."""
    load: Callable[[], Data] | None
    """Reads the dataset; None where the row does not say which one it is."""
    source: ImageSource | None = None
    shown: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""
    """Why there are none."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def list_all(self) -> dict[str, Any]:
        """What the page shows: `examples` with their number, picture and known labels, or the `reason` for none."""
        with self._lock:
            if self.source is None and not self.reason:
                self._find()
        return {"examples": self.shown, "reason": self.reason}

    def read(self, number: int, row: LoadedRow) -> NDArray[np.uint8]:
        """The image of an example, (S, S) uint8 as that row loads it."""
        assert self.source is not None
        assert self.source.data is not None
        return take_data(self.source.data, "test", row.size, row.scale).read(number)

    def has(self, number: int) -> bool:
        """Whether there is such an example."""
        return any(one["example"] == number for one in self.list_all()["examples"])

    def find_table(self, number: int) -> pd.DataFrame:
        """What the dataset's table says of an example, in one row."""
        assert self.source is not None
        assert self.source.table is not None
        return self.source.table.iloc[[number]].reset_index(drop=True)

    def find_known(self, number: int) -> Mapping[str, float]:
        """Label -> 1 where an example has it, 0 where not, NaN where that is unknown."""
        assert self.source is not None
        data = self.source.data
        assert data is not None
        return dict(zip(data.labels, map(float, data.targets[number]), strict=True))

    def _find(self) -> None:
        if self.load is None:
            self.reason = "The weight file does not say on which images the row was tested."
            return
        try:
            self.source = take_data(self.load(), "test", self.row.size, self.row.scale)
        except HarnessError as error:
            self.reason = f"The dataset is not on this machine: {error}."
            return
        data, failed = self.source.data, ""
        assert data is not None
        for number in order_examples(data.targets)[:ATTEMPTS]:
            try:
                pixels = self.source.read(number)
            except Exception as error:  # noqa: BLE001 - whatever a damaged file makes a decoder raise
                failed = explain(error)
                continue
            present = [label for label, target in zip(data.labels, data.targets[number], strict=True) if target == 1]
            picture = as_address(make_png(_shrink(pixels)))
            words = ", ".join(present) or "no finding"
            self.shown.append({"example": number, "picture": picture, "known": words})
            if len(self.shown) == MOST:
                break
        if not self.shown:
            self.reason = f"The dataset's images are not on this machine: {failed}."


def order_examples(targets: NDArray[np.float32]) -> list[int]:
    """Images (N, C) in an order in which the first ones show many labels, each at most once, and one shows none."""
    shuffled = np.random.default_rng(0).permutation(len(targets))
    covered: set[int] = set()
    first, later = [], []
    none_yet = True
    for number in map(int, shuffled):
        present = set(np.flatnonzero(targets[number] == 1).tolist())
        if (present - covered) if present else none_yet:
            first.append(number)
            covered |= present
            none_yet = none_yet and bool(present)
        else:
            later.append(number)
    return first + later


def _shrink(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from harness.data.decoding import resize

    return resize(pixels, min(SIDE, len(pixels)))
