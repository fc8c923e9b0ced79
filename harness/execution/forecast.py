"""How long combos are expected to take, from what was measured on their board."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from harness.results.record import Record

UNKNOWN = 1.0
"""Stands for a rate where nothing has been measured: only the order matters then."""


class Forecast:
    """What has been measured so far."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._rows: dict[str, list[float]] = {}
        self._models: dict[str, list[float]] = {}
        self._rates: dict[str, list[float]] = {}
        for record in records:
            self.learn(record)

    def learn(self, record: Record) -> None:
        """Take a finished combo into account."""
        if record.status != "done" or record.training is None:
            return
        seconds = sum(value for name, value in record.efficiency.seconds.items() if name != "prepare")
        self._rows.setdefault(record.combo.row, []).append(seconds)
        self._models.setdefault(record.combo.model, []).append(seconds)
        recipe, images = record.combo.resolved["recipe"], record.dataset.splits["train"].images
        work = measure_work(images, record.training.epochs, recipe["size"])
        self._rates.setdefault(record.combo.model, []).append(seconds / max(work, 1))

    def row(self, name: str) -> float | None:
        """Seconds of a combo of a row that has been measured."""
        seconds = self._rows.get(name)
        return statistics.fmean(seconds) if seconds else None

    def model(self, name: str) -> float | None:
        """Seconds of a combo of a model that has been measured, whatever its loss and recipe."""
        seconds = self._models.get(name)
        return statistics.fmean(seconds) if seconds else None

    def seconds(self, row: str, model: str, work: int) -> float:
        """Seconds of a combo: as its row's others, as its model's by their work, or as the slowest model's.

        Before anything was measured it is a number that only orders combos.
        """
        measured = self.row(row)
        if measured is not None:
            return measured
        rates = [statistics.fmean(model_rates) for model_rates in self._rates.values()]
        rate = statistics.fmean(self._rates[model]) if model in self._rates else max(rates, default=UNKNOWN)
        return rate * work


def measure_work(images: int, epochs: int, size: int) -> int:
    """Pixels that a training sees."""
    return images * epochs * size * size
