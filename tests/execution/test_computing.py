"""Combos and trials are built, trained and predicted on their device and in their precision, and nothing else is."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.board import Board, Row
from harness.execution import combo, planning
from harness.execution.combo import run_combo
from harness.execution.job import Result
from harness.execution.planning import Settings
from harness.registry import Registry, load_registry
from harness.results.store import read_records
from harness.training import build
from harness.training.memory import DeviceData
from harness.tuning import trial
from harness.tuning.trial import open_context, train
from tests.conftest import TOY

BACKENDS: Any = torch.backends
GPU = torch.device("cuda", 1)
Run = Callable[..., None]


@pytest.fixture(scope="module")
def toys() -> Registry:
    return load_registry([TOY])


def make_board(folder: Path, precision: str) -> Board:
    row = Row(model="tiny-cnn", loss="bce", recipe="toy", params={"recipe": {"epochs": 2, "precision": precision}})
    return Board(folder=folder / "board", title="T", objective="auroc", metrics=("auroc",), dataset="toy", rows=(row,))


def ignore(*_: object) -> None:
    """Listens to nothing."""


@pytest.fixture
def run_a_combo(toys, tmp_path) -> Run:
    def run(precision: str, device: str = "cpu") -> None:
        settings = Settings(data_root=tmp_path / "data", cache=tmp_path / "cache", device="cpu")
        (planned,) = planning.plan(make_board(tmp_path, precision), toys, settings, ignore)
        run_combo(dataclasses.replace(planned.job, device_name=device), DeviceData(), ignore)

    return run


@pytest.fixture
def run_a_trial(toys, tmp_path) -> Run:
    def run(precision: str, device: str = "cpu") -> None:
        board = make_board(tmp_path, precision)
        settings = Settings(data_root=tmp_path / "data", cache=tmp_path / "cache", device="cpu")
        context = open_context(board, toys, settings, "auroc", ignore)
        context.settings = dataclasses.replace(settings, device=device)
        train(context, board.rows[0], 0, ignore)

    return run


@pytest.fixture(params=["run_a_combo", "run_a_trial"])
def run(request) -> Run:
    found: Run = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize(("precision", "expected"), [("float32", "ieee"), ("bf16", "tf32")])
def test_convolutions_compute_in_what_the_recipe_says(run, monkeypatch, precision, expected):
    seen: list[str] = []
    whole = build.build_network

    def see(*_: object) -> None:
        seen.append(BACKENDS.cudnn.conv.fp32_precision)

    def build_network(*arguments: Any) -> Any:
        see()
        network = whole(*arguments)
        network.register_forward_hook(see)
        return network

    monkeypatch.setattr(build, "build_network", build_network)
    run(precision)
    # built, three batches of two epochs, validation and the last predictions
    assert len(seen) > 8
    assert set(seen) == {expected}
    assert BACKENDS.cudnn.conv.fp32_precision == "tf32"


def test_the_device_is_the_current_one_meanwhile(run, toy_board, monkeypatch):
    """On a pretended GPU: what is not told where to go, such as the seeds of compiled code, goes to the right one."""
    current: list[torch.device] = []
    seen: list[list[torch.device]] = []

    @contextlib.contextmanager
    def device(given: torch.device) -> Iterator[None]:
        current.append(given)
        yield
        current.pop()

    def meanwhile(*_: object) -> Any:
        seen.append(list(current))
        return Result(record)

    (record,) = read_records(toy_board).records[:1]
    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(combo, "_run", meanwhile)
    monkeypatch.setattr(trial, "_train", meanwhile)
    run("bf16", GPU)
    assert seen == [[GPU]]
    assert current == []
