"""Killed at random moments and started again, a board ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest

from harness.execution.claims import Claims
from harness.results.store import read_records

RUN = (
    "run", "--dataset", "toy", "--models", "toy-net,tiny-cnn", "--losses", "bce,focal", "--recipes", "toy",
    "--seeds", "0,1,2", "--set", "recipe.epochs=25",
)  # fmt: skip


def outcome(board: Path) -> dict[str, object]:
    """Everything that is to be the same, bit for bit: metrics, history, bytes of predictions, weights and resamples."""
    found: dict[str, object] = {}
    for record in read_records(board).records:
        name = record.combo.name
        found[name] = record.status, record.metrics, record.thresholds, record.artifacts
        assert record.training is not None
        found[f"{name} training"] = record.training.model_dump(exclude={"history": {"__all__": {"seconds"}}})
        for path in (board / "runs" / record.key).iterdir():
            found[f"{name}/{path.name}"] = path.read_bytes()
        found[f"{name}.npz"] = (board / "records" / f"{name}.npz").read_bytes()
    return found


def workers_of(parent: int) -> list[psutil.Process]:
    try:
        return [child for child in psutil.Process(parent).children() if "supervision" in " ".join(child.cmdline())]
    except psutil.Error:
        return []


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("wanted", [3, pytest.param(24, marks=pytest.mark.exhaustive)])
def test_many_kills_change_no_bit(start, tmp_path, wanted):
    straight = start(*RUN, "--board", "straight")
    straight.communicate(timeout=200)
    assert straight.returncode == 0
    chance = random.Random(0)
    kills = 0
    board = tmp_path / "killed"
    while kills < wanted:
        run = start(*RUN, "--board", "killed", "--retries", "1000")
        while run.poll() is None and kills < wanted:
            time.sleep(chance.uniform(0.0, 0.7))
            held = [held.about for held in Claims(board).read() if held.about.get("process") == run.pid]
            if not any(about.get("epoch") for about in held) and chance.random() < 0.9:
                continue  # nothing is trained yet: most of that time goes into imports
            kills += 1
            if held and (workers := workers_of(run.pid)) and chance.random() < 0.7:
                os.kill(chance.choice(workers).pid, signal.SIGKILL)  # it is replaced, and its combo tried again
            else:
                run.kill()
                break
        with run:
            run.kill()
    last = start(*RUN, "--board", "killed")
    _, errors = last.communicate(timeout=200)
    assert last.returncode == 0, errors
    assert outcome(board) == outcome(tmp_path / "straight")
    assert len(read_records(board).records) == 12
    assert not list(tmp_path.rglob(".tmp-*"))
    assert Claims(board).read() == ()
    assert not any((path / "resume.safetensors").exists() for path in (board / "runs").iterdir())


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_third_process_that_is_killed_changes_nothing(start, tmp_path, wait_until):
    command = (*RUN, "--board", "shared")
    start(*command, "--dry-run").communicate()
    runs = [start(*command) for _ in range(3)]
    third = runs.pop()
    wait_until(lambda: any(held.about.get("process") == third.pid for held in Claims(tmp_path / "shared").read()))
    third.kill()
    said = [run.communicate(timeout=200)[1] for run in runs]
    with third:
        pass
    assert [run.returncode for run in runs] == [0, 0], said
    straight = start(*RUN, "--board", "straight")
    straight.communicate(timeout=200)
    assert outcome(tmp_path / "shared") == outcome(tmp_path / "straight")
    assert not list(tmp_path.rglob(".tmp-*"))


CONVOLUTIONS = """
title = "Convolutions"
objective = "auroc"
seeds = [0]
metrics = ["auroc", "brier"]

[dataset]
name = "toy"
count = 480

[[rows]]
models = ["tiny-cnn"]
losses = ["bce"]
recipes = ["toy"]
params = { model = { width = 8 }, recipe = { epochs = 12, size = 32, load_size = 32, optimizer = "OPTIMIZER" } }

[[rows]]
models = ["timm/test_efficientnet"]
losses = ["bce"]
recipes = ["toy"]
params = { recipe = { epochs = 12, size = 32, load_size = 32, optimizer = "OPTIMIZER" } }
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("sgd", marks=pytest.mark.exhaustive)])
def test_convolutional_networks_that_were_killed_end_bit_for_bit_the_same(start, tmp_path, wait_until, optimizer):
    """Weights of several convolutions lie in memory channels last, and so does what an optimizer keeps of them."""
    for name in ("straight", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "board.toml").write_text(CONVOLUTIONS.replace("OPTIMIZER", optimizer))
    straight = start("run", "straight", "--workers", "0")
    _, errors = straight.communicate(timeout=400)
    assert straight.returncode == 0, errors
    board = tmp_path / "killed"
    for row, epoch in (("tiny-cnn*", 2), ("timm*", 3), ("tiny-cnn*", 7)):
        run = start("run", "killed", "--workers", "0", "--only", row)

        def has_got_there(process: int = run.pid, epoch: int = epoch) -> bool:
            held = [held.about for held in Claims(board).read()]
            return any(about.get("process") == process and about["epoch"] >= epoch for about in held)

        wait_until(has_got_there, 300)
        with run:
            run.kill()
    assert read_records(board).records == ()
    last = start("run", "killed", "--workers", "0")
    _, errors = last.communicate(timeout=400)
    assert last.returncode == 0, errors
    assert len(read_records(board).records) == 2
    assert outcome(board) == outcome(tmp_path / "straight")
    assert not any((path / "resume.safetensors").exists() for path in (board / "runs").iterdir())
