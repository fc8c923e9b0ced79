"""The objective: the mean over what is known, whatever the loss."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Loss, Task
from harness.errors import PluginError
from harness.training.objective import make_objective

CPU = torch.device("cpu")
TASK = Task(labels=("a", "b", "c"), channels=1, size=8, mean=(0.5,), std=(0.25,), prevalence=(0.1, 0.2, 0.3))
BCE = torch.nn.functional.binary_cross_entropy_with_logits


def unreduced(task):
    return lambda logits, targets: BCE(logits, targets, reduction="none")


def objective(build, **changes):
    return make_objective(dataclasses.replace(Loss(name="l", build=build), **changes), TASK, {}, CPU)


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_unknown_targets_have_no_influence_and_the_rest_is_averaged(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, 3, generator=generator)
    targets = (torch.rand(5, 3, generator=generator) < 0.5).float()
    known = (torch.rand(5, 3, generator=generator) < 0.6).float()
    found = objective(unreduced)(logits, targets * known, known, {})
    expected = BCE(logits[known == 1], targets[known == 1]) if known.any() else torch.tensor(0.0)
    torch.testing.assert_close(found, expected)


def test_everything_known_is_the_plain_mean():
    logits, targets = torch.randn(4, 3), torch.ones(4, 3)
    torch.testing.assert_close(objective(unreduced)(logits, targets, None, {}), BCE(logits, targets))


def test_half_precision_logits_reach_the_loss_as_float32():
    seen: list[torch.dtype] = []

    def build(task):
        def loss(logits, targets):
            seen.append(logits.dtype)
            return BCE(logits, targets, reduction="none")

        return loss

    objective(build)(torch.randn(2, 3).bfloat16(), torch.ones(2, 3), None, {})
    assert seen == [torch.float32]


def test_a_loss_gets_what_it_names():
    seen: dict[str, Any] = {}

    def build(task):
        def loss(logits, targets, *, epoch, index):
            seen.update(epoch=epoch, index=index)
            return BCE(logits, targets, reduction="none")

        return loss

    objective(build)(torch.randn(2, 3), torch.ones(2, 3), None, {"epoch": 4, "index": torch.tensor([7, 8])})
    assert seen["epoch"] == 4
    assert seen["index"].tolist() == [7, 8]


def test_a_loss_that_asks_for_what_there_is_not_is_refused():
    with pytest.raises(PluginError, match="asks for 'patients'; it can have epoch and index"):
        objective(lambda task: lambda logits, targets, *, patients: logits)


def test_a_loss_of_the_wrong_shape_is_refused_with_both_shapes():
    lying = objective(lambda task: BCE)
    with pytest.raises(PluginError, match=r"must return \(2, 3\), got \(\)"):
        lying(torch.randn(2, 3), torch.ones(2, 3), None, {})
    declared = objective(lambda task: BCE, scalar=True)
    assert declared(torch.zeros(2, 3), torch.ones(2, 3), None, {}).shape == ()


def test_parameters_of_a_loss_are_found():
    class Learned(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, logits, targets):
            return self.scale * BCE(logits, targets, reduction="none")

    assert len(objective(lambda task: Learned()).parameters()) == 1
    assert objective(unreduced).parameters() == []
