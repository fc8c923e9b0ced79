"""Example images for the app: a handful of a row's test images, with their known labels."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.components import Data
from harness.data.decoding import resize
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


class Examples:
    """Test images of a row's dataset, which is read when somebody asks for the first time."""

    def __init__(self, row: LoadedRow, load: Callable[[], Data] | None) -> None:
        """`load` reads the dataset; None where the row does not say which one it is."""
        self.row, self.load = row, load
        self.source: ImageSource | None = None
        self.shown: list[dict[str, Any]] = []
        self.reason = ""
        """Why there are none."""
        self._lock = threading.Lock()

    @property
    def dataset(self) -> str:
        """What the dataset is called; empty where nobody says it."""
        return self.row.record.dataset.name if self.row.record else ""

    def list_all(self) -> dict[str, Any]:
        """What the page shows: `examples` with their number, picture and known labels, or the `reason` for none."""
        with self._lock:
            if self.source is None and not self.reason:
                self._find()
        return {"examples": self.shown, "reason": self.reason}

    def has(self, number: int) -> bool:
        """Whether there is such an example."""
        return any(one["example"] == number for one in self.list_all()["examples"])

    def read(self, number: int, row: LoadedRow) -> NDArray[np.uint8]:
        """The image of an example, (S, S) uint8 as that row loads it."""
        return take_data(self._data, "test", row.size, row.scale).read(number)

    def find_table(self, number: int) -> pd.DataFrame:
        """What the dataset's table says of an example, in one row."""
        return self._data.table.iloc[[number]].reset_index(drop=True)

    def find_known(self, number: int) -> Mapping[str, float]:
        """Label -> 1 where an example has it, 0 where not, NaN where that is unknown."""
        return dict(zip(self._data.labels, map(float, self._data.targets[number]), strict=True))

    @property
    def _data(self) -> Data:
        """The dataset's test images, of an example that there is."""
        assert self.source is not None
        assert self.source.data is not None
        return self.source.data

    def _find(self) -> None:
        if self.load is None:
            self.reason = "The weight file does not say on which images the row was tested."
            return
        try:
            self.source = take_data(self.load(), "test", self.row.size, self.row.scale)
        except HarnessError as error:
            self.reason = f"There are no examples: {error}."
            return
        data, failed = self._data, ""
        for number in order_examples(data.targets)[:ATTEMPTS]:
            try:
                pixels = self.source.read(number)
            except Exception as error:  # noqa: BLE001 - whatever a damaged file makes a decoder raise
                failed = explain(error)
                continue
            present = [label for label, target in zip(data.labels, data.targets[number], strict=True) if target == 1]
            picture = as_address(make_png(_shrink(pixels)))
            words = ", ".join(present) or ("nothing known" if np.isnan(data.targets[number]).any() else "no finding")
            self.shown.append({"example": number, "picture": picture, "known": words})
            if len(self.shown) == MOST:
                break
        if not self.shown:
            self.reason = f"The dataset's images are not on this machine: {failed}."


def order_examples(targets: NDArray[np.float32]) -> list[int]:
    """Images (N, C) in an order whose first ones each show a label that none before shows; one shows none."""
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
    return resize(pixels, min(SIDE, len(pixels)))
