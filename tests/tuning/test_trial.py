"""Nothing of a trial outlives it: its network, step and predictor are gone at once, without a garbage collection."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import optuna
import pytest
import torch

from harness.board import Board, Row
from harness.components import Choice
from harness.errors import HarnessError
from harness.execution.planning import Settings
from harness.registry import Registry, load_registry
from harness.training import memory
from harness.tuning import trial as trials
from harness.tuning.confirmation import confirm
from harness.tuning.space import Dimension
from harness.tuning.study import Plan
from harness.tuning.trial import TrialContext, open_context, train
from harness.tuning.worker import run_trial
from tests.conftest import TOY


@pytest.fixture(scope="module")
def toys() -> Registry:
    return load_registry([TOY])


@pytest.fixture
def begin(toys, make_plan, tmp_path):
    """A plan for a model, and a context that has trained before: late imports leave cycles of their own, once."""

    def make(model: str) -> tuple[Plan, TrialContext]:
        row = Row(model=model, loss="bce", recipe="toy", params={"recipe": {"epochs": 2}})
        dimensions = {"recipe.lr": Dimension("recipe.lr", Choice((0.01, 0.02)), "--search")}
        plan = make_plan(row=row, dimensions=dimensions, defaults={"recipe.lr": 0.01}, epochs=2)
        settings = Settings(data_root=tmp_path / "data", cache=tmp_path / "cache", device="cpu")
        context = open_context(plan.board, toys, settings, plan.objective, ignore)
        train(context, dataclasses.replace(row, model="toy-net"), 0, lambda value, epoch: None)
        return plan, context

    return make


def ignore(event: object) -> None:
    """Listens to nothing."""


class Impatient(optuna.pruners.BasePruner):
    def prune(self, study: Any, trial: Any) -> bool:
        return True


@pytest.mark.parametrize(
    ("model", "pruner", "state"),
    [
        ("tiny-cnn", optuna.pruners.NopPruner(), "COMPLETE"),
        ("tiny-cnn", Impatient(), "PRUNED"),
        ("toy-nan", optuna.pruners.NopPruner(), "FAIL"),
        ("toy-hungry", optuna.pruners.NopPruner(), "FAIL"),
    ],
)
def test_a_trial_leaves_nothing_behind_but_the_images(begin, watch, model, pruner, state):
    plan, context = begin(model)
    watch.made.clear()
    study = optuna.create_study(direction="maximize", pruner=pruner)
    run_trial(study, study.ask(), plan, context, ignore)
    assert study.trials[0].state.name == state
    assert {"Training", "Step", "Predictor", "network"} <= {name for name, _ in watch.made}
    assert watch.alive == []


def test_a_confirmation_leaves_nothing_behind_but_the_images(begin, watch):
    plan, context = begin("tiny-cnn")
    watch.made.clear()
    confirm(plan, context, plan.row, 2, ignore)
    assert watch.made
    assert watch.alive == []
    with pytest.raises(HarnessError):
        confirm(plan, context, dataclasses.replace(plan.row, model="toy-nan"), 2, ignore)
    assert watch.alive == []


@pytest.mark.parametrize(
    ("device", "pruner", "expected"),
    [
        ("cpu", optuna.pruners.NopPruner(), 0),
        ("cuda", optuna.pruners.NopPruner(), 1),
        ("cuda", Impatient(), 1),
    ],
)
def test_memory_is_given_back_to_a_gpu_after_each_training(begin, watch, monkeypatch, device, pruner, expected):
    plan, context = begin("tiny-cnn")
    watch.made.clear()
    released: list[list[str]] = []
    monkeypatch.setattr(trials, "release", lambda: released.append(watch.alive))
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    context.settings = dataclasses.replace(context.settings, device=device)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    run_trial(study, study.ask(), plan, context, ignore)
    assert released == [[]] * expected


def test_images_are_let_go_before_others_are_placed(begin, watch, monkeypatch):
    _, context = begin("tiny-cnn")
    released: list[list[str]] = []
    monkeypatch.setattr(memory, "release", lambda: released.append(watch.alive))
    context.place(context.data(16))
    assert released == []
    context.place(context.data(24))
    assert released == [[]]
    assert watch.alive == ["Placed"]


def test_a_trial_sees_each_image_with_its_own_row_of_the_table(tmp_path):
    plugins = load_registry([TOY, TOY.with_name("told.py")])
    rows = [Row(model=model, loss="bce", recipe="toy") for model in ("witness", "witness-permuted")]
    board = Board(
        folder=tmp_path, title="t", objective="auroc", metrics=("auroc",), dataset="told", rows=tuple(rows)
    )  # fmt: skip
    settings = Settings(data_root=tmp_path, cache=tmp_path / "cache", device="cpu")
    context = open_context(board, plugins, settings, "auroc", ignore)
    apart = [float(abs(train(context, row, 0, lambda value, epoch: None).logits).max()) for row in rows]
    assert apart[0] < 0.01
    assert apart[1] > 20


def test_a_study_of_a_network_that_gets_a_table_knows_when_the_table_changes(tmp_path):
    plugins = load_registry([TOY, TOY.with_name("told.py")])
    rows = tuple(Row(model=model, loss="bce", recipe="toy") for model in ("told-net", "untold-net"))

    def find_fingerprint(row: Row, **options: Any) -> str:
        board = Board(
            folder=tmp_path,
            title="t",
            objective="auroc",
            metrics=("auroc",),
            dataset="told",
            options=options,
            rows=rows,
        )
        settings = Settings(data_root=tmp_path, cache=tmp_path / "cache", device="cpu")
        return open_context(board, plugins, settings, "auroc", ignore).fingerprint(row)

    assert find_fingerprint(rows[0]) != find_fingerprint(rows[0], older=1)
    assert find_fingerprint(rows[1]) == find_fingerprint(rows[1], older=1)
    with pytest.raises(HarnessError, match="no training image has a known view"):
        find_fingerprint(rows[0], unknown="view")
