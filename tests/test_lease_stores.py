"""What a lease is, whoever holds it: the claims of a board and the trials of a study play the same scenes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import optuna
import psutil
import pytest
from optuna.storages.journal import JournalFileBackend

from harness import leases
from harness.errors import ClaimLostError
from harness.execution.claims import Claims
from harness.lease_files import FileLease
from harness.leases import Keeper, Lease, Owner, identify_machine
from harness.tuning import slots
from harness.tuning.slots import LEASED, Slots, TrialLease

ELSEWHERE = {"machine": "another", "process": 1, "process_started": 1}


class Store(Protocol):
    """One thing to have, and somebody who wants it."""

    code: str
    """What another process does to take it, in the folder that it is given."""

    def take(self) -> Lease | None:
        """Try to have it, as one process does again and again."""

    def reach(self) -> Lease | None:
        """Try to have it, as a process that has just begun."""

    def pass_time(self, seconds: float) -> None:
        """Let time pass in which nobody renews."""

    def tell(self, lease: Lease, about: dict[str, Any]) -> None:
        """Let a lease say something else of its owner."""

    def read_sign(self) -> object:
        """What changes when a lease is renewed."""


class ClaimStore:
    code = "from harness.execution.claims import Claims; held = Claims(folder).take('a--s0')"

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.claims = Claims(folder)
        self.path = self.claims.folder / "a--s0.json"

    def take(self) -> Lease | None:
        return self.claims.take("a--s0")

    reach = take

    def pass_time(self, seconds: float) -> None:
        os.utime(self.path, (self.path.stat().st_mtime - seconds,) * 2)

    def tell(self, lease: Lease, about: dict[str, Any]) -> None:
        assert isinstance(lease, FileLease)
        lease.tell(**about)

    def read_sign(self) -> object:
        return self.path.stat().st_mtime_ns


class SlotStore:
    code = """
import optuna; from harness.tuning.slots import Slots; from optuna.storages.journal import JournalFileBackend
storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / "journal")))
held = Slots(optuna.load_study(study_name="s", storage=storage), 1).take()
"""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.later = folder / "journal", 0.0
        monkeypatch.setattr(slots, "monotonic", lambda: time.monotonic() + self.later)
        optuna.create_study(study_name="s", storage=self.open())
        self.slots = self.open_slots()

    def open(self) -> optuna.storages.JournalStorage:
        return optuna.storages.JournalStorage(JournalFileBackend(str(self.path)))

    def open_slots(self) -> Slots:
        return Slots(optuna.load_study(study_name="s", storage=self.open()), 1)

    def take(self) -> Lease | None:
        return self._take(self.slots)

    def reach(self) -> Lease | None:
        return self._take(self.open_slots())

    def pass_time(self, seconds: float) -> None:
        self.later += seconds

    def tell(self, lease: Lease, about: dict[str, Any]) -> None:
        assert isinstance(lease, TrialLease)
        lease.trial.set_user_attr(LEASED, about)

    def read_sign(self) -> object:
        return self.slots.study.trials[0].user_attrs[LEASED]

    def _take(self, by: Slots) -> Lease | None:
        trial = by.take()
        return None if trial is None else TrialLease(by, trial)


@pytest.fixture(params=[ClaimStore, SlotStore])
def store(request, tmp_path, monkeypatch) -> Store:
    made: Store = request.param(tmp_path, monkeypatch)
    return made


def reach(take: Callable[[], Lease | None]) -> Lease:
    taken = take()
    assert taken is not None
    return taken


@pytest.fixture
def other(tmp_path, store):
    """Another process of this machine that has taken it."""
    code = "import sys; from pathlib import Path; folder = Path(sys.argv[1])\n" + store.code
    code += "\nassert held is not None; print('taken', flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "taken\n"
    yield process
    process.kill()
    process.communicate()


def hide_processes(monkeypatch, folder: Path) -> None:
    """As if `/proc` were mounted with `hidepid=2`, and every process were another user's."""

    def refuse(process: int, number: int) -> None:
        raise PermissionError

    def see_none(process: int) -> None:
        raise psutil.NoSuchProcess(process)

    (folder / "proc").mkdir()
    (folder / "proc" / "self").symlink_to(str(os.getpid()))
    monkeypatch.setattr(leases, "PROCESSES", folder / "proc")
    monkeypatch.setattr(psutil, "Process", see_none)
    monkeypatch.setattr(os, "kill", refuse)


# --- who has it ------------------------------------------------------------------------------------------------------


def test_several_that_reach_for_it_see_that_one_has_it(store):
    held = reach(store.take)
    assert (store.take(), store.reach()) == (None, None)
    held.renew()


@pytest.mark.parametrize("left", [False, True])
def test_of_many_that_reach_for_it_at_once_one_has_it(store, left):
    if left:
        store.tell(reach(store.take), asdict(Owner.here()) | {"process_started": 1})  # by a process that is gone
    got: list[Lease | None] = []
    barrier = threading.Barrier(8)

    def compete() -> None:
        barrier.wait()
        got.append(store.reach())

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    holders = []
    for lease in got:
        if lease is not None:
            try:
                lease.renew()
            except ClaimLostError:
                continue
            holders.append(lease)
    assert (len(got), len(holders)) == (8, 1)


def test_what_is_given_back_is_taken_by_the_next(store):
    held = reach(store.take)
    assert store.take() is None
    held.release()
    reach(store.take).renew()


# --- who is alive ----------------------------------------------------------------------------------------------------


def test_what_is_not_renewed_for_a_lease_is_taken_over_and_its_owner_finds_out(store):
    slow = reach(store.take)
    store.tell(slow, ELSEWHERE)
    assert store.take() is None
    store.pass_time(59)
    assert store.take() is None
    store.pass_time(2)
    quick = reach(store.take)
    with pytest.raises(ClaimLostError, match="was taken over by another process"):
        slow.renew()
    slow.release()
    quick.renew()
    assert store.take() is None


def test_an_owner_that_is_slow_to_renew_keeps_it(store):
    held = reach(store.take)
    for _ in range(3):
        assert store.take() is None
        store.pass_time(55)
        assert store.take() is None
        held.renew()
    held.renew()


def test_an_owner_that_lives_and_does_not_renew_loses_it(store):
    reach(store.take)
    assert store.take() is None
    store.pass_time(61)
    reach(store.take)


def test_a_death_on_this_machine_is_seen_at_once(store, other):
    assert store.take() is None
    other.kill()
    other.communicate()
    reach(store.take)


def test_a_zombie_is_dead(store, other):
    assert store.take() is None
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has been told
    reach(store.take)


def test_another_process_with_the_number_of_the_owner_is_not_the_owner(store):
    store.tell(reach(store.take), asdict(Owner.here()) | {"process_started": 1})
    reach(store.take)


def test_a_process_that_may_not_be_seen_is_not_taken_for_dead(store, monkeypatch, tmp_path):
    reach(store.take)
    hide_processes(monkeypatch, tmp_path)
    assert (store.take(), store.reach()) == (None, None)
    store.pass_time(61)
    reach(store.take)


def test_a_clock_that_is_set_kills_nobody(store, monkeypatch):
    reach(store.take)
    told = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: told(process) + 5)
    assert (store.take(), store.reach()) == (None, None)


@pytest.mark.parametrize("process", [None, "7", -5, 0, 2**70, 1.5])
def test_an_owner_that_cannot_be_told_has_it_for_its_lease(store, process):
    about = {"machine": identify_machine(), "process": process, "process_started": "x"}
    store.tell(reach(store.take), about)
    assert store.take() is None
    store.pass_time(61)
    reach(store.take)


def test_a_death_is_not_believed_where_the_machine_cannot_be_told(store, other, monkeypatch, tmp_path):
    assert store.take() is None
    other.kill()
    other.communicate()
    monkeypatch.setattr(leases, "identify_machine", lambda: None)
    assert (store.take(), store.reach()) == (None, None)


def test_a_keeper_renews_what_it_keeps_and_gives_it_back(store):
    with Keeper(0.06) as keeper:
        keeper.keep(reach(store.take))
        signs, until = {str(store.read_sign())}, time.monotonic() + 20
        while len(signs) < 4 and time.monotonic() < until:
            signs.add(str(store.read_sign()))
            time.sleep(0.01)
        assert len(signs) >= 4
        assert store.take() is None
    reach(store.take)
