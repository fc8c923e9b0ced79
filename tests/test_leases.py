"""Whether an owner of a lease lives, as far as that is certain, and who renews for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from harness import leases
from harness.leases import Keeper, Owner, identify_machine, is_abandoned, look_at_process

LOOK = """
import json, os, sys
from harness.leases import Owner
os.setgroups([]); os.setgid(65534); os.setuid(65534)  # members of group 0 see everything
owner = Owner.read(json.loads(sys.argv[1]))
print(os.path.exists(f"/proc/{owner.process}"), owner.is_here(), owner.is_dead())
"""


@pytest.fixture
def look_from_behind():
    """What another user sees of an owner where `/proc` hides the processes of others."""

    def look(owner: Owner) -> list[str]:
        mount = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "sh", sys.executable, "-c"]
        done = subprocess.run([*command, LOOK, json.dumps(vars(owner))], capture_output=True, text=True, check=False)
        if done.returncode or done.stdout.startswith("True"):
            pytest.skip(f"processes cannot be hidden here: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.split()

    if sys.platform != "linux" or os.getuid():
        pytest.skip("only root of Linux can hide processes")
    return look


def test_where_proc_hides_other_users_their_processes_are_alive_until_they_are_dead(look_from_behind):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        try:
            found = look_at_process(process.pid)
            assert found is not None
            owner = Owner(identify_machine(), process.pid, found.started)
            assert look_from_behind(owner) == ["False", "True", "False"]
        finally:
            process.kill()
    assert look_from_behind(owner) == ["False", "True", "True"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has namespaces")
@pytest.mark.parametrize("hidden", ["sys/kernel/random/boot_id", "self/ns/pid"])
def test_a_machine_is_told_by_more_than_its_name(monkeypatch, tmp_path, hidden):
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("one\n")
    (tmp_path / "self/ns/pid").symlink_to("pid:[1]")
    monkeypatch.setattr(leases, "PROCESSES", tmp_path)
    first = identify_machine.__wrapped__()
    (tmp_path / hidden).unlink()
    assert first is not None
    assert (len(first), identify_machine.__wrapped__()) == (16, None)
    if hidden == "self/ns/pid":
        (tmp_path / hidden).symlink_to("pid:[2]")
    else:
        (tmp_path / hidden).write_text("another\n")
    assert identify_machine.__wrapped__() not in (None, first)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has namespaces")
def test_where_proc_is_of_another_namespace_nothing_is_told_of_a_process(monkeypatch, tmp_path):
    (tmp_path / "self").symlink_to("1")
    (tmp_path / str(os.getpid())).symlink_to(f"/proc/{os.getpid()}")
    monkeypatch.setattr(leases, "PROCESSES", tmp_path)
    assert look_at_process(os.getpid()) is None


def test_without_linux_psutil_tells_when_a_process_began(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    found = look_at_process(os.getpid())
    assert found is not None
    assert found.started == psutil.Process().create_time()
    assert not found.is_zombie
    assert look_at_process(2**30) is None
    assert len(identify_machine.__wrapped__() or "") == 16


def test_an_owner_is_named_as_far_as_it_is_known():
    assert Owner.read({"process": 7, "host": "here"}).describe() == "process 7 on here"
    assert Owner.read({"process": 7, "host": 1}).describe() == "process 7"
    assert Owner.read([1]).describe() == "another process"


def test_a_lease_that_is_just_as_old_as_it_may_be_is_held():
    assert not is_abandoned(Owner(), 60.0, 60.0)
    assert is_abandoned(Owner(), 60.1, 60.0)


def test_a_keeper_goes_on_when_one_renewal_fails():
    class Failing:
        renewals = 0

        def renew(self) -> None:
            self.renewals += 1
            raise RuntimeError("the storage does not answer")

        def release(self) -> None:
            pass

    failing = Failing()
    with Keeper(0.06) as keeper:
        keeper.keep(failing)
        until = time.monotonic() + 20
        while failing.renewals < 3 and time.monotonic() < until:
            time.sleep(0.01)
    assert failing.renewals >= 3
