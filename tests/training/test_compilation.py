"""What is said to be compiled is compiled; by a compiler that counts instead of inductor, which takes minutes."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from harness import Loss
from harness.errors import PluginError
from harness.training.engine import Compile, EngineOptions
from harness.training.fit import Training
from harness.training.objective import make_objective
from harness.training.setup import Setup

BCE = nn.functional.binary_cross_entropy_with_logits


class CountingCompiler:
    """Gives back what it is to compile; notes in which mode of the network, and for how many images."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.training: list[bool] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        images = [tensor for tensor in inputs if isinstance(tensor, torch.Tensor) and tensor.ndim == 4]
        self.batches.append(len(images[-1]))
        self.training.append(torch.is_grad_enabled())
        return graph.forward


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm2d(1), nn.Linear(256, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.norm(images).flatten(1))
        return logits


class Restless(Network):
    calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return super().forward(images) * self.calls


@pytest.fixture
def compiler(monkeypatch) -> CountingCompiler:
    counting, compile_ = CountingCompiler(), torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, **kw: compile_(network, **kw, backend=counting))
    return counting


@pytest.fixture
def begin(placed, recipe, task):
    def make(network: nn.Module, compile_: Compile = "on", **changes: Any) -> Training:
        changed = dataclasses.replace(recipe, select_on="loss", **changes)
        loss = Loss(name="bce", build=lambda task: lambda x, y: BCE(x, y, reduction="none"))
        objective = make_objective(loss, task, {}, placed.device)
        return Training(
            Setup(
                network=network,
                objective=objective,
                placed=placed,
                recipe=changed,
                task=task,
                seed=0,
                engine=EngineOptions(compile=compile_),
            )
        )

    return make


def test_the_tenth_network_of_a_process_is_compiled_like_the_first(begin, compiler):
    counts = []
    for _ in range(10):
        before = len(compiler.batches)
        training = begin(Network(), epochs=1)
        list(training.epochs())
        assert training.execution.compiled
        counts.append(len(compiler.batches) - before)
    assert counts[0] > 0
    assert counts == [counts[0]] * 10


def test_prediction_is_compiled_once_for_whole_batches(begin, compiler):
    training = begin(Network(), epochs=2)
    list(training.epochs())
    assert training.predictor.forward is not training.predictor.network
    predicting = [batch for batch, trains in zip(compiler.batches, compiler.training, strict=True) if not trains]
    assert predicting == [256], "one variant, whatever the length of a split"
    eager = training.predictor.network.eval()
    (view,) = [training.setup.placed.images[training.setup.placed.splits["test"]]]
    with torch.no_grad():
        normal = (view / 255 - training.setup.task.mean[0]) / training.setup.task.std[0]
        expected = eager(normal.unsqueeze(1))
    torch.testing.assert_close(training.predictor.logits("test"), expected, atol=1e-5, rtol=1e-4)


def test_a_network_that_never_stops_changing_is_refused_not_run_uncompiled(begin, compiler):
    with pytest.raises(PluginError, match=r"more than 8 compiled variants.*--compile off"):
        list(begin(Restless(), epochs=6, batch_size=4).epochs())


def test_a_thawed_network_is_compiled_not_replayed_frozen(begin, compiler, monkeypatch):
    training = begin(Network(), epochs=3, freeze_epochs=1)
    epochs = training.epochs()
    next(epochs)
    index = training.setup.placed.splits["train"][: training.batch_size]
    # as a GPU would have captured the frozen step; recording it here would keep torch 2.11 from compiling it again
    frozen = SimpleNamespace(replay=lambda: pytest.fail("the frozen step was replayed"))
    monkeypatch.setattr("harness.training.step.find_obstacle", lambda *_: None)
    monkeypatch.setattr("harness.training.step.capture", lambda *_: frozen)
    assert training.step.capture(index, lambda: None) is None
    compiled = len(compiler.batches)
    next(epochs)
    assert len(compiler.batches) > compiled, "with gradients everywhere it is another network"


def test_where_prediction_cannot_be_compiled_training_goes_on_and_says_so(begin, monkeypatch):
    def refuse(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        if not torch.is_grad_enabled():
            raise NotImplementedError("no such thing")
        return graph.forward

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, **kw: compile_(network, dynamic=False, backend=refuse))
    monkeypatch.setattr("harness.training.fit.decide_compile", lambda *_: True)
    training = begin(Network(), "auto", epochs=1)
    list(training.epochs())
    assert training.execution.compiled
    (note,) = training.execution.notes
    assert note.startswith("prediction could not be compiled: ")
