"""Capturing leaves no trace, and what is captured is the same training; with a pretended graph, on a CPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from harness import Augment, Loss, Schedule
from harness.data.placement import place
from harness.training.capture import WARM_UP, NotCapturableError
from harness.training.fit import Training
from harness.training.objective import make_objective
from harness.training.setup import Setup
from harness.training.step import Step

BCE = nn.functional.binary_cross_entropy_with_logits


class PretendedGraph:
    """Replays by running again what a graph would have recorded."""

    def __init__(self, body: Callable[[], None]) -> None:
        self.replay = body


def pretend(body, device, rewind, generators=()) -> PretendedGraph:
    """What `capture` does, without a GPU: warm up, take back, keep."""
    for _ in range(WARM_UP):
        body()
    rewind()
    return PretendedGraph(body)


@pytest.fixture
def begin(prepared, recipe, task, monkeypatch):
    """Make a training, captured or not."""
    monkeypatch.setattr("harness.training.step.capture", pretend)
    monkeypatch.setattr("harness.training.prediction.capture", pretend)

    def make(*, captured: bool, placement: Any = "auto", **changes: Any) -> Training:
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(4 * 14 * 14, 3)
        )
        loss = Loss(name="bce", build=lambda task: lambda x, y: BCE(x, y, reduction="none"))
        changed = dataclasses.replace(recipe, select_on="loss", epochs=4, **changes)
        placed = place(prepared, torch.device("cpu"), placement)
        training = Training(Setup(network, make_objective(loss, task, {}, placed.device), placed, changed, task, 0))
        if captured:
            monkeypatch.setattr("harness.training.fit.prepare_step", capture_step)
            training.predictor.graphs, training.predictor.batch = True, 5
            training.predictor._make_buffers()
        else:
            monkeypatch.setattr("harness.training.fit.prepare_step", lambda *_: None)
        return training

    return make


def capture_step(step: Step, execution, batch_size, snapshot) -> None:
    index = step.setup.placed.splits["train"][:batch_size]
    assert step.capture(index, lambda: step.state.put_back(snapshot)) is None


def results(training: Training) -> list[tuple[float, float, float]]:
    return [(epoch.lr, epoch.train_loss, epoch.val_loss) for epoch in training.epochs()]


EVERYTHING: dict[str, Any] = {
    "average_decay": 0.9,
    "gradient_clip": 0.5,
    "micro_batch": 4,
    "schedule": Schedule(kind="one-cycle"),
    "augment": Augment(flip=True, rotation=5, crop_scale=(0.5, 1.0), brightness=0.1),
}


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("changes", [{}, EVERYTHING, {"precision": "fp16"}, {"freeze_epochs": 2, "average_decay": 0.9}])
def test_a_captured_training_is_the_eager_one_bit_for_bit(begin, optimizer, changes):
    """Three runs to warm up, one to look for obstacles: none of them leaves anything behind."""
    eager = results(begin(captured=False, optimizer=optimizer, **changes))
    captured = begin(captured=True, optimizer=optimizer, **changes)
    assert results(captured) == eager
    assert captured.step.graph is not None
    assert captured.predictor.graph is not None


def test_a_captured_training_on_streamed_images_is_the_same(begin):
    assert results(begin(captured=True, placement="streamed")) == results(begin(captured=False))


def test_the_last_batch_of_a_captured_prediction_is_cut_to_its_length(begin):
    eager, captured = begin(captured=False), begin(captured=True)
    for split in ("train", "val", "test"):
        found = captured.predictor.logits(split)
        torch.testing.assert_close(found, eager.predictor.logits(split), atol=1e-6, rtol=1e-5)
        assert len(found) == len(captured.setup.placed.splits[split])


def test_a_step_that_cannot_be_captured_after_all_goes_on_eagerly(begin, monkeypatch):
    def refuse(body, device, rewind, generators=()):
        body()
        rewind()
        raise NotCapturableError("RuntimeError: no such operation while capturing")

    eager = results(begin(captured=False))
    training = begin(captured=True)
    monkeypatch.setattr("harness.training.step.capture", refuse)
    monkeypatch.setattr("harness.training.prediction.capture", refuse)
    reasons = []

    def prepare(step, execution, batch_size, snapshot):
        index = step.setup.placed.splits["train"][:batch_size]
        reasons.append(step.capture(index, lambda: step.state.put_back(snapshot)))

    monkeypatch.setattr("harness.training.fit.prepare_step", prepare)
    assert results(training) == eager
    assert reasons == ["RuntimeError: no such operation while capturing"]
    assert training.step.graph is None
    assert training.predictor.note == reasons[0]
