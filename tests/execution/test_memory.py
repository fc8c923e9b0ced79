"""Nothing of a combo outlives it: its network, step and images are gone at once, without a garbage collection."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.board import Board, Row
from harness.errors import ClaimLostError
from harness.execution import combo, planning
from harness.execution.combo import run_combo
from harness.execution.job import Job
from harness.execution.planning import Settings
from harness.registry import Registry, load_registry
from harness.training import memory
from harness.training.memory import DeviceData

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(scope="module")
def toys(tmp_path_factory) -> Registry:
    registry = load_registry([FIXTURES / "toy.py", FIXTURES / "faults.py"])
    # libraries that are imported late leave cycles of their own, once, which hold whoever imported them
    run_combo(make_job(registry, tmp_path_factory.mktemp("first"), "timm/test_efficientnet"), DeviceData(), ignore)
    return registry


def make_job(registry: Registry, folder: Path, model: str = "tiny-cnn", **recipe: Any) -> Job:
    row = Row(model=model, loss="bce", recipe="toy", params={"recipe": {"epochs": 2} | recipe})
    board = Board(folder=folder / "board", title="T", objective="auroc", metrics=("auroc",), dataset="toy", rows=(row,))
    where = Settings(data_root=folder / "data", cache=folder / "cache", device="cpu")
    return planning.plan(board, registry, where, ignore)[0].job


def ignore(event: object) -> None:
    """Listens to nothing."""


@pytest.mark.parametrize("model", ["toy-net", "tiny-cnn"])
def test_a_finished_combo_leaves_nothing_behind(toys, watch, tmp_path, model):
    result = run_combo(make_job(toys, tmp_path, model), DeviceData(), ignore)
    assert result.record.status == "done"
    assert {name for name, _ in watch.made} == {"Training", "Step", "Predictor", "Placed", "network"}
    assert watch.alive == []


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("toy-nan", "not_finite"),
        ("raise-error", "plugin"),
        ("toy-hungry", "out_of_memory"),
        ("toy-greedy", "out_of_memory"),
    ],
)
def test_a_failed_combo_leaves_nothing_behind(toys, watch, tmp_path, model, kind):
    result = run_combo(make_job(toys, tmp_path, model), DeviceData(), ignore)
    assert result.record.failure is not None
    assert result.record.failure.kind == kind
    assert watch.made
    assert watch.alive == []


@pytest.mark.parametrize("end", [ClaimLostError("taken over"), KeyboardInterrupt()])
def test_a_combo_that_is_given_up_leaves_nothing_behind(toys, watch, tmp_path, end):
    def give_up(epoch: object) -> None:
        raise end

    with pytest.raises(type(end)):
        run_combo(make_job(toys, tmp_path), DeviceData(), give_up)
    end.__traceback__ = None
    assert watch.made
    assert watch.alive == []


def test_a_combo_that_goes_on_from_its_checkpoint_leaves_nothing_behind(toys, watch, tmp_path):
    job = make_job(toys, tmp_path, average_decay=0.9)
    with pytest.raises(ClaimLostError):
        run_combo(job, DeviceData(), stop_after_one)
    assert run_combo(job, DeviceData(), ignore).record.status == "done"
    assert len(watch.made) == 10
    assert watch.alive == []


def stop_after_one(epoch: object) -> None:
    raise ClaimLostError("taken over")


def test_streamed_images_leave_nothing_behind(toys, watch, tmp_path):
    job = make_job(toys, tmp_path)
    streamed = dataclasses.replace(job, engine=dataclasses.replace(job.engine, placement="streamed"))
    assert run_combo(streamed, DeviceData(), ignore).record.status == "done"
    assert watch.alive == []


def test_images_are_let_go_before_others_are_placed(toys, watch, tmp_path, monkeypatch):
    on_device, released = DeviceData(), []
    monkeypatch.setattr(memory, "release", lambda: released.append(watch.alive))
    small, large = make_job(toys, tmp_path), make_job(toys, tmp_path, size=24, load_size=24)
    for job in (small, small):
        on_device.place(job.prepared, job.device, job.engine.placement)
    assert released == []
    on_device.place(large.prepared, large.device, large.engine.placement)
    assert released == [[]]
    assert watch.alive == ["Placed"]


@pytest.mark.parametrize(
    ("device", "model", "expected"), [("cpu", "tiny-cnn", 0), ("cpu", "toy-nan", 1), ("cuda", "tiny-cnn", 1)]
)
def test_memory_is_given_back_after_a_combo(toys, watch, tmp_path, monkeypatch, device, model, expected):
    """Always to a GPU; on a CPU, which caches nothing, only after a failure: a collection takes longer than a toy."""
    released: list[list[str]] = []
    monkeypatch.setattr(combo, "release", lambda: released.append(watch.alive))
    monkeypatch.setattr(combo, "_run", on_cpu(combo._run))
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    run_combo(dataclasses.replace(make_job(toys, tmp_path, model), device_name=device), DeviceData(), ignore)
    assert released == [["Placed"]] * expected  # the on_device keeps it for the next combo


def on_cpu(run: Any) -> Any:
    def run_there(job: Job, *rest: Any) -> Any:
        return run(dataclasses.replace(job, device_name="cpu"), *rest)

    return run_there
