"""Builders of small boards and records, with nothing trained."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.board import Board, Row
from harness.evaluation.parts import LabelValue, MetricPart
from harness.report.packing import unpack
from harness.results.record import (
    ComboPart,
    DatasetPart,
    EfficiencyPart,
    EpochPart,
    ExecutionPart,
    FailurePart,
    ProvenancePart,
    Record,
    SplitCounts,
    TrainingPart,
)
from harness.results.store import write_record

LABELS = ("Edema", "Mass", "Hernia")


class Builder:
    """Makes boards of rows named by their model, and records for them."""

    labels: Sequence[str] = LABELS

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a-board"

    def row(self, model: str = "net", **params: Any) -> Row:
        return Row(model=model, loss="bce", recipe="demo", params={"recipe": params} if params else {})

    def board(self, *models: str | Row, **changes: Any) -> Board:
        values: dict[str, Any] = {
            "folder": self.folder,
            "title": "A small board",
            "about": "For tests.",
            "objective": "auroc",
            "seeds": (0, 1),
            "metrics": ("auroc", "f1", "brier"),
            "dataset": "dots",
            "options": {"size": 16},
            "rows": tuple(model if isinstance(model, Row) else self.row(model) for model in models or ("net",)),
        }
        return Board(**(values | changes))

    def metric(self, *values: float | None, higher_is_better: bool = True) -> MetricPart:
        """One value a label; one value alone is that of every label."""
        found = dict(zip(self.labels, values if len(values) > 1 else itertools.repeat(values[0]), strict=False))
        known = [value for value in found.values() if value is not None]
        return MetricPart(
            macro=sum(known) / len(known) if known else None,
            per_label={name: LabelValue(value=value, positives=10, negatives=90) for name, value in found.items()},
            labels_used=len(known),
            higher_is_better=higher_is_better,
        )

    def record(
        self,
        model: str | Row = "net",
        seed: int = 0,
        metrics: Mapping[str, MetricPart] | float = 0.8,
        failure: str | None = None,
        **changes: Any,
    ) -> Record:
        """A done record with those metrics (a number: the auroc of every label), or a failed one."""
        row = model if isinstance(model, Row) else self.row(model)
        if isinstance(metrics, int | float):
            metrics = {"auroc": self.metric(metrics)}
        values: dict[str, Any] = {
            "key": "0123456789abcdef",
            "combo": self.combo(row, seed),
            "status": "failed" if failure else "done",
            "failure": FailurePart(kind="crashed", message=failure, where="net.py:1 in build") if failure else None,
            "dataset": self.data(),
            "metrics": {} if failure else metrics,
            "thresholds": {} if failure else {"val-f1": dict.fromkeys(self.labels, 0.25)},
            "training": None if failure else self.training(),
            "efficiency": EfficiencyPart(
                train_images_per_second=100.0 + seed, parameters=1_000_000, seconds={"train": 60.0, "predict test": 2.0}
            ),
            "provenance": self.provenance(),
        }
        return Record(**(values | changes))

    def combo(self, row: Row, seed: int, **changes: Any) -> ComboPart:
        values: dict[str, Any] = {
            "dataset": "dots",
            "options": {"size": 16},
            "model": row.model,
            "loss": row.loss,
            "recipe": row.recipe,
            "params": row.params,
            "seed": seed,
            "row": row.name,
            "resolved": {"recipe": {"lr": 0.001, "patience": None}},
        }
        return ComboPart(**(values | changes))

    def data(self, **changes: Any) -> DatasetPart:
        counts = SplitCounts(images=100, patients=40, positives=dict.fromkeys(self.labels, 10))
        values: dict[str, Any] = {
            "name": "dots",
            "about": "dots on a ground: scores mean nothing clinically",
            "fingerprint": "f" * 64,
            "labels": list(self.labels),
            "splits": {"train": counts, "val": counts, "test": counts},
        }
        return DatasetPart(**(values | changes))

    def training(self) -> TrainingPart:
        history = [
            EpochPart(epoch=n, lr=1e-3, train_loss=1 / n, val_loss=1.1 / n, selected_on=0.6 + 0.05 * n, seconds=2.0)
            for n in (1, 2, 3)
        ]
        return TrainingPart(
            epochs=3,
            best_epoch=3,
            select_on="auroc",
            best_value=0.75,
            stopped_early=False,
            execution=ExecutionPart(
                placement="resident",
                precision="float32",
                channels_last=True,
                compiled=False,
                step="eager",
                micro_batch=None,
                notes=[],
            ),
            history=history,
        )

    def provenance(self, **changes: Any) -> ProvenancePart:
        values: dict[str, Any] = {
            "harness": "0.1.0",
            "commit": None,
            "packages": {"torch": "2.11.0"},
            "python": "3.11.9",
            "device": "a processor (2 cores)",
            "threads": 2,
            "cuda": None,
            "command": "harness run a-board",
            "finished": "2026-01-02T03:04:05Z",
        }
        return ProvenancePart(**(values | changes))

    def held(self, page: str, name: str) -> str:
        """What a page holds packed under that name."""
        (packed,) = re.findall(f'id="packed-{name}">(.*?)</script>', page)
        return unpack(packed)

    def whole(self, page: str) -> str:
        """A page as it is when every row has been opened and every metric shown."""
        parts = list(json.loads(self.held(page, "rows")).values())
        if 'id="packed-labels"' in page:
            labels = json.loads(self.held(page, "labels"))
            parts += [
                f'<table><caption></caption><tbody data-metric="{name}">{rows}</tbody></table>'
                for name, rows in labels.items()
            ]
        return page.replace("</main>", "".join(parts) + "</main>")

    def write(self, *records: Record) -> None:
        self.folder.mkdir(exist_ok=True)
        for record in records:
            write_record(self.folder, record)


@pytest.fixture
def build(tmp_path: Path) -> Builder:
    return Builder(tmp_path)


@pytest.fixture(scope="session")
def build_once(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """For property tests, which keep their fixtures over examples: nothing is written."""
    return Builder(tmp_path_factory.mktemp("board"))


@pytest.fixture(scope="session")
def make_builder() -> type[Builder]:
    """For fixtures that live longer than a test."""
    return Builder
