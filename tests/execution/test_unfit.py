"""A process in which a capture broke off, or whose GPU has had a fault, says so and makes way for a fresh one."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
import torch

from harness.board import Board, Row
from harness.cli.terminal import Display
from harness.components import Choice
from harness.execution import local, planning
from harness.execution.events import ComboFinished, Event, ProcessUnfit
from harness.execution.planning import Settings
from harness.execution.workers import WorkerOptions, why_unfit
from harness.registry import Registry, load_registry
from harness.results.record import Record
from harness.training import capture
from harness.tuning.search import search
from harness.tuning.space import Dimension
from harness.tuning.study import Plan, open_study
from harness.tuning.trial import open_context
from harness.tuning.worker import Limits

FIXTURES = Path(__file__).parents[1] / "fixtures"
PLUGINS = (FIXTURES / "toy.py", FIXTURES / "faults.py")
BROKEN = "RuntimeError: operation not permitted when stream is capturing"
REASON = f"the capture of a CUDA graph broke off in it ({BROKEN})"
NOTE = f"the capture of a CUDA graph had broken off in the same process ({BROKEN})"


@pytest.fixture(scope="module")
def toys() -> Registry:
    return load_registry(PLUGINS)


@pytest.fixture(autouse=True)
def _whole(monkeypatch) -> None:
    monkeypatch.setattr(capture, "_broken", [])


def settings(folder: Path) -> Settings:
    return Settings(data_root=folder / "data", cache=folder / "cache", device="cpu")


def run(toys: Registry, folder: Path, *, workers: int) -> tuple[list[Record], list[Event]]:
    """Two combos one after another, each of which breaks a capture; the records in that order, and all events."""
    row = Row(model="break-a-capture", loss="bce", recipe="toy", params={"recipe": {"epochs": 1}})
    board = Board(
        folder=folder / "board",
        title="T",
        objective="auroc",
        seeds=(0, 1),
        metrics=("auroc",),
        dataset="toy",
        rows=(row,),
    )
    events: list[Event] = []
    here = settings(folder)
    options = WorkerOptions(settings=here, devices=("cpu",), plugins=PLUGINS) if workers else None
    local.run(planning.plan(board, toys, settings(folder), events.append), events.append, options)
    return [event.record for event in events if isinstance(event, ComboFinished)], events


def notes(record: Record) -> list[str]:
    assert record.training is not None
    return record.training.execution.notes


def test_a_process_is_unfit_after_a_broken_capture_or_a_fault_of_its_gpu(monkeypatch):
    cpu, gpu = "cpu", "cuda:1"
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    assert why_unfit(cpu) is why_unfit(gpu) is None
    assert waited == [torch.device("cuda", 1)]
    monkeypatch.setattr(capture, "broken_capture", lambda: BROKEN)
    assert why_unfit(cpu) == why_unfit(gpu) == REASON

    def fail(device: torch.device) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", fail)
    assert why_unfit(gpu) == "its GPU has had a fault"


def test_the_only_process_says_so_once_and_the_records_after_it_do(toys, tmp_path):
    records, events = run(toys, tmp_path, workers=0)
    assert [record.status for record in records] == ["done", "done"]
    assert [event for event in events if isinstance(event, ProcessUnfit)] == [
        ProcessUnfit("cpu", REASON, replaced=False)
    ]
    assert [notes(record) for record in records] == [[], [NOTE]]


@pytest.mark.slow
def test_a_worker_is_replaced_before_it_runs_another_combo(toys, tmp_path):
    records, events = run(toys, tmp_path, workers=1)
    assert [record.status for record in records] == ["done", "done"]
    assert [event for event in events if isinstance(event, ProcessUnfit)] == [
        ProcessUnfit("cpu", REASON, replaced=True)
    ] * 2
    assert [notes(record) for record in records] == [[], []]


@pytest.mark.parametrize(
    "workers", [pytest.param(0, id="alone"), pytest.param(1, id="worker", marks=[pytest.mark.slow])]
)
def test_a_search_goes_on_to_its_end_in_fresh_processes_where_it_has_some(toys, tmp_path, workers):
    row = Row(model="break-a-capture", loss="bce", recipe="toy", params={"recipe": {"epochs": 1}})
    board = Board(
        folder=tmp_path / "board", title="T", objective="auroc", metrics=("auroc",), dataset="toy", rows=(row,)
    )
    dimensions = {"recipe.lr": Dimension("recipe.lr", Choice((0.01, 0.02, 0.03)), "--search")}
    context = open_context(board, toys, settings(tmp_path), "auroc", lambda event: None)
    plan = Plan(
        name="s",
        board=board,
        row=row,
        dimensions=dimensions,
        defaults={"recipe.lr": 0.01},
        objective="auroc",
        higher_is_better=True,
        fingerprint=context.fingerprint(row),
        epochs=1,
    )
    study = open_study(plan)
    events: list[Event] = []
    devices = ("cpu",) * workers
    options = WorkerOptions(settings=settings(tmp_path), devices=devices, plugins=PLUGINS)
    search(study, plan, context, options, Limits(3), events.append)
    assert [trial.state for trial in study.trials] == [optuna.trial.TrialState.COMPLETE] * 3
    found = [event for event in events if isinstance(event, ProcessUnfit)]
    assert found == [ProcessUnfit("cpu", REASON, bool(workers))] * (3 if workers else 1)


@pytest.mark.parametrize(
    ("replaced", "line"),
    [
        (True, f"- the worker process on cuda:1 is replaced: {REASON}"),
        (False, f"- this process goes on: {REASON}; run without --workers 0 to have it replaced"),
    ],
)
def test_the_terminal_shows_one_line(capsys, monkeypatch, replaced, line):
    monkeypatch.setenv("COLUMNS", "300")
    with Display() as display:
        display(ProcessUnfit("cuda:1", REASON, replaced))
    assert capsys.readouterr().err == f"{line}\n"
