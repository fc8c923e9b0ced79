"""Builders of small boards and records, with nothing trained."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.board import Board, OutsideTest, Row, board_text, row_text, save_board
from harness.evaluation.evaluate import Protocol, evaluate
from harness.evaluation.parts import LabelValue, MetricPart
from harness.evaluation.predictions import Predictions
from harness.evaluation.resamples import Resamples
from harness.registry import Registry
from harness.report.packing import unpack
from harness.results.layout import RESAMPLES, resamples_path
from harness.results.record import (
    ComboPart,
    DatasetPart,
    EfficiencyPart,
    EpochPart,
    ExecutionPart,
    FailurePart,
    OutsideLabel,
    OutsidePart,
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


class OutsideBuilder(Builder):
    """Makes boards with outside tests, from simulated predictions that are really evaluated."""

    patients, images, drawn = 60, 2, 100
    """Patients of each test, images of each of them, and resamples."""

    def predict(self, test: str, skill: float, seed: int, labels: Sequence[str], shift: float = 0.0) -> Predictions:
        """Predictions on a test set whose images and targets are the same for every skill and seed."""
        of_test = np.random.default_rng([*test.encode()])
        count = self.patients * self.images
        ill = of_test.normal(size=(count, len(self.labels))) + np.repeat(
            of_test.normal(size=(self.patients, len(self.labels))), self.images, axis=0
        )
        common = of_test.normal(size=ill.shape)
        own = np.random.default_rng([*test.encode(), seed, int(1000 * skill)]).normal(size=ill.shape)
        logits = skill * ill + common + 0.5 * own - 1.5 + shift
        used = [self.labels.index(label) for label in labels]
        return Predictions(
            labels=tuple(labels),
            image=np.array([f"{test}-{number}" for number in range(count)]),
            patient=np.repeat([f"{test}-p{number}" for number in range(self.patients)], self.images),
            logits=logits[:, used].astype(np.float32),
            targets=(ill > 1.5)[:, used].astype(np.float32),
        )

    def evaluate(
        self, test: Predictions, val: Predictions, board: Board, draw: str, registry: Registry
    ) -> tuple[dict[str, Any], Resamples]:
        """The parts of a record, and what lies beside it."""
        names = dict.fromkeys(name.partition("@")[0] for name in board.metrics)
        metrics = tuple(registry.metric(name) for name in names)
        protocol = Protocol(
            metrics=metrics, names=board.metrics, objective=board.objective, seed=draw, resamples=self.drawn
        )
        found = evaluate(test, val, protocol)
        parts = {
            "metrics": found.metrics,
            "thresholds": found.thresholds,
            "confusion": found.confusion,
            "calibration": found.calibration,
            "labels_resampled": found.labels_resampled,
        }
        return parts, found.resamples

    def part(self, test: OutsideTest, used: Sequence[str], **changes: Any) -> OutsidePart:
        """What a record says of an outside test that has these labels."""
        count = self.patients * self.images
        counts = SplitCounts(images=count, patients=self.patients, positives=dict.fromkeys(used, 10))
        data = self.data(
            name=test.dataset,
            about=f"images of {test.dataset}",
            fingerprint=test.key.encode().hex().ljust(64, "0")[:64],
            labels=list(used),
            splits={"test": counts},
        )
        values: dict[str, Any] = {
            "dataset": test.dataset,
            "options": dict(test.options),
            "splits": list(test.splits),
            "status": "done",
            "data": data,
            "labels": {
                label: OutsideLabel(others=[label], known=count, positives=10)
                if label in used
                else OutsideLabel(others=[], reason=f"{test.dataset} has no such label")
                for label in self.labels
            },
            "provenance": self.provenance(),
        }
        return OutsidePart(**(values | changes))

    def measure(
        self,
        board: Board,
        skills: Mapping[str, float],
        worse: Mapping[str, float],
        labels: Mapping[str, Sequence[str]],
        registry: Registry,
        parts: Mapping[tuple[str, int, str], OutsidePart | None] = {},
        shift: float = 0.5,
    ) -> Board:
        """Write a board and its records.

        `skills`: row -> its skill; `worse`: key of an outside test -> the share of skill that is left there; `labels`:
        key -> its labels; `parts`: (row, seed, key) -> another part, or None for none.
        """
        tables = [row_text([row.model], [row.loss], [row.recipe], row.params) for row in board.rows]
        board = save_board(board.folder, board_text(board, tables))
        for row, skill in skills.items():
            for seed in board.seeds:
                val = self.predict("val", skill, seed, self.labels)
                own = self.predict("own", skill, seed, self.labels)
                found, beside = self.evaluate(own, val, board, "f" * 64, registry)
                record = self.record(self.row(row), seed, **found)
                outside, kept = {}, {}
                for test in board.tests:
                    part = parts.get((row, seed, test.key), self.part(test, labels[test.key]))
                    if part is None:
                        continue
                    outside[test.key] = part
                    if part.status == "done" and part.data is not None:
                        there = self.predict(test.key, skill * worse[test.key], seed, part.data.labels, shift)
                        fitted = self.predict("val", skill, seed, part.data.labels)
                        values, resamples = self.evaluate(there, fitted, board, part.data.fingerprint, registry)
                        kept[test.key] = resamples.as_bytes()
                        digest = hashlib.sha256(kept[test.key]).hexdigest()
                        outside[test.key] = part.model_copy(update={**values, "artifacts": {RESAMPLES: digest}})
                write_record(board.folder, record.model_copy(update={"outside": outside}), beside)
                for key, content in kept.items():
                    resamples_path(board.folder, record.combo.name, key).write_bytes(content)
        return board


@pytest.fixture
def build_outside(tmp_path: Path) -> OutsideBuilder:
    return OutsideBuilder(tmp_path)


@pytest.fixture(scope="session")
def make_outside_builder() -> type[OutsideBuilder]:
    """For fixtures that live longer than a test."""
    return OutsideBuilder


def require_valid(specifications: Iterable[Mapping[str, Any]]) -> None:
    """Fail where one is no valid Vega-Lite: pages are drawn without asking."""
    import altair as alt

    for specification in specifications:
        alt.Root.validate(dict(specification))


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
