"""The workers at some places: heard, replaced, dismissed, and given up where they never come to anything."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import pytest

from harness.errors import HarnessError
from harness.execution.planning import Settings
from harness.execution.supervision import Death, Inbox
from harness.execution.workers import Place, WorkerOptions, Workers, share_out

TARGETS = """
import sys

def answer(connection, order):
    connection.send((order.task, order.settings.device))
    connection.recv()

def count_threads(connection, order):
    import torch
    from harness.execution.workers import begin_work

    before = torch.get_num_threads()
    begin_work(order)
    connection.send((before, torch.get_num_threads()))
    connection.recv()

def end(connection, order):
    sys.exit("its board is gone")
"""
PATIENCE = 60


@pytest.fixture
def targets(tmp_path, monkeypatch):
    (tmp_path / "worker_targets.py").write_text(TARGETS)
    monkeypatch.syspath_prepend(tmp_path)
    return __import__("worker_targets")


def make_places(count: int) -> list[Place]:
    here = Settings(data_root=Path("data"), cache=Path("cache"), device="cpu")
    options = WorkerOptions(settings=here, devices=("cpu",) * count)
    return [Place(order) for order in share_out("a board", options)]


def hear(workers: Workers[Place]) -> tuple[Place, object]:
    heard = workers.listen(PATIENCE)
    assert heard is not None
    return heard


def test_each_place_is_told_its_task_and_its_device(targets):
    inbox: Inbox = SimpleQueue()
    workers = Workers(inbox, targets.answer, make_places(2), false_starts=2, proof="they had answered")
    for place in workers.places:
        workers.start(place)
    heard = dict(hear(workers) for _ in workers.places)
    assert heard == dict.fromkeys(workers.places, ("a board", "cpu"))
    running = [place.worker.pid for place in workers.places if place.worker is not None]
    assert workers.close() == running


@pytest.mark.slow
@pytest.mark.parametrize("own", [7, None])
def test_workers_on_a_cpu_share_the_threads_that_one_process_would_take(targets, own):
    places = [Place(replace(place.order, threads=own)) for place in make_places(3)]
    workers = Workers(SimpleQueue(), targets.count_threads, places, false_starts=2, proof="they had counted")
    workers.start(places[0])
    _, counted = hear(workers)
    assert isinstance(counted, tuple)
    by_default, taken = counted
    assert taken == max(1, (own or by_default) // 3)
    workers.close()


def test_a_dismissed_worker_is_heard_no_more_and_its_place_is_free(targets):
    workers = Workers(SimpleQueue(), targets.answer, make_places(1), false_starts=1, proof="they had answered")
    (place,) = workers.places
    workers.start(place)
    hear(workers)
    gone = place.worker
    assert gone is not None
    workers.dismiss(place, "there is nothing to do")
    gone.join()
    assert workers.listen(0.1) is None  # neither its death nor what it said is a false start
    assert not list(workers.active)
    assert workers.close() == []


@pytest.mark.slow
def test_workers_that_end_before_they_have_proven_themselves_end_everything_with_the_reason(targets):
    workers = Workers(SimpleQueue(), targets.end, make_places(1), false_starts=2, proof="they had loaded the board")
    (place,) = workers.places
    said = "2 worker processes in a row on cpu ended before they had loaded the board: .*its board is gone"
    with pytest.raises(HarnessError, match=said):  # noqa: PT012 - the second death is the one that counts
        for _ in range(2):
            workers.start(place)
            message: object = None
            while not isinstance(message, Death):
                _, message = hear(workers)
    assert not list(workers.active)


def test_a_death_after_a_proof_is_no_false_start(targets):
    workers = Workers(SimpleQueue(), targets.end, make_places(1), false_starts=1, proof="they had loaded the board")
    (place,) = workers.places
    workers.start(place)
    place.prove()
    message: object = None
    while not isinstance(message, Death):
        _, message = hear(workers)
    assert place.worker is None
    assert place.false_starts == 0


@pytest.mark.slow
def test_a_command_whose_workers_train_imports_no_torch_itself(tmp_path):
    code = """
import sys
from harness.cli.main import main
try:
    main()
except SystemExit as stop:
    assert not stop.code
print([module for module in ("torch", "timm") if module in sys.modules])
"""
    asked = "run --dataset phantom --models tiny-cnn --losses bce --recipes demo --board b --device cpu"
    lighter = "--set recipe.epochs=1 --option train=48 --option val=60 --option test=120"
    environment = os.environ | {"HARNESS_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code, *asked.split(), *lighter.split()]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "✓ tiny-cnn--bce--demo" in done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
