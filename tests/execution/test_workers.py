"""The workers at some places: heard, replaced, dismissed, and given up where they never come to anything."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue

import pytest
import torch

from harness.errors import HarnessError
from harness.execution.planning import Settings
from harness.execution.supervision import Death, Inbox
from harness.execution.workers import Place, WorkerOptions, Workers, share_out

TARGETS = """
import sys

def answer(connection, order):
    connection.send((order.task, str(order.settings.device), order.threads))
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
    here = Settings(data_root=Path("data"), cache=Path("cache"), device=torch.device("cpu"))
    options = WorkerOptions(settings=here, devices=(torch.device("cpu"),) * count)
    return [Place(order) for order in share_out("a board", options)]


def hear(workers: Workers[Place]) -> tuple[Place, object]:
    heard = workers.listen(PATIENCE)
    assert heard is not None
    return heard


@pytest.mark.slow
def test_each_place_is_told_its_task_its_device_and_its_share_of_threads(targets):
    inbox: Inbox = SimpleQueue()
    workers = Workers(inbox, targets.answer, make_places(2), false_starts=2, proof="they had answered")
    for place in workers.places:
        workers.start(place)
    heard = dict(hear(workers) for _ in workers.places)
    threads = max(1, torch.get_num_threads() // 2)
    assert heard == dict.fromkeys(workers.places, ("a board", "cpu", threads))
    running = [place.worker.pid for place in workers.places if place.worker is not None]
    assert workers.close() == running


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
