"""A combo is claimed by one process; a claim outlives its owner by its lease at most."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.errors import ClaimLostError, StorageError
from harness.execution.claims import Claim, Claims, Keeper
from harness.files import sweep


@pytest.fixture
def claims(tmp_path) -> Claims:
    return Claims(tmp_path)


def take(claims: Claims, **about: object) -> Claim:
    claim = claims.take("a--s0", **about)
    assert claim is not None
    return claim


def age(claim: Claim, seconds: float) -> None:
    """As if it had not been renewed for so long."""
    os.utime(claim.path, (time.time() - seconds,) * 2)


def move_elsewhere(claim: Claim) -> None:
    """As if its owner ran on another machine."""
    claim.about["machine"] = "another"
    claim.tell()


def test_a_combo_is_claimed_once_until_it_is_released(claims):
    first = take(claims)
    assert claims.take("a--s0") is None
    assert claims.take("b--s0") is not None
    first.release()
    take(claims)


def test_of_many_that_reach_for_a_combo_one_gets_it(tmp_path):
    dead = take(Claims(tmp_path))
    age(dead, 61)
    got: list[Claim | None] = []
    barrier = threading.Barrier(16)

    def reach() -> None:
        barrier.wait()
        got.append(Claims(tmp_path).take("a--s0"))

    threads = [threading.Thread(target=reach) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    living = []
    for claim in got:
        if claim is not None:
            try:
                claim.require()
            except ClaimLostError:
                continue
            living.append(claim)
    assert len(living) == 1
    assert [path.name for path in living[0].path.parent.iterdir()] == ["a--s0.json"]


def test_a_claim_is_taken_over_when_its_lease_is_over_and_its_owner_may_write_no_more(claims):
    slow = take(claims)
    move_elsewhere(slow)
    age(slow, 59)
    assert claims.take("a--s0") is None
    age(slow, 61)
    quick = take(claims)
    with pytest.raises(ClaimLostError, match="a--s0 was taken over"):
        slow.require()
    with pytest.raises(ClaimLostError):
        slow.renew()
    with pytest.raises(ClaimLostError):
        slow.tell(epoch=3)
    slow.release()
    quick.require()


def test_a_claim_is_taken_over_while_another_process_sweeps(claims, monkeypatch):
    first = take(claims)
    move_elsewhere(first)
    age(first, 100)
    rename = Path.rename

    def rename_and_sweep(path: Path, target: Path) -> Path:
        renamed = rename(path, target)
        assert sweep([target.parent]) == []
        return renamed

    monkeypatch.setattr(Path, "rename", rename_and_sweep)
    second = take(claims)
    second.require()
    with pytest.raises(ClaimLostError):
        first.require()


def test_a_renewed_claim_stays(claims):
    claim = take(claims)
    move_elsewhere(claim)
    age(claim, 61)
    claim.renew()
    assert claims.take("a--s0") is None


def test_a_keeper_renews_and_releases(tmp_path):
    claims = Claims(tmp_path, lease=0.6)
    with Keeper(0.6) as keeper:
        claim = take(claims)
        keeper.keep(claim)
        move_elsewhere(claim)
        for _ in range(10):
            time.sleep(0.1)
            assert claims.take("a--s0") is None
    assert not claim.path.exists()


def test_the_death_of_an_owner_on_this_machine_is_seen_at_once(tmp_path):
    code = "import sys; from pathlib import Path; from harness.execution.claims import Claims; "
    code += "Claims(Path(sys.argv[1])).take('a--s0'); print('taken', flush=True); input()"
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "taken\n"
    assert Claims(tmp_path).take("a--s0") is None
    owner.kill()
    owner.communicate()
    take(Claims(tmp_path))


def test_a_claim_tells_how_far_its_combo_is(claims):
    claim = take(claims, epochs=5)
    claim.tell(epoch=1, note="x" * 1000)
    claim.tell(epoch=2, note="")
    (held,) = claims.read()
    assert (held.name, held.about["epoch"], held.about["epochs"], held.about["process"]) == ("a--s0", 2, 5, os.getpid())
    assert held.age < 5
    assert not held.is_abandoned(60)


def test_an_empty_or_damaged_claim_is_one_until_its_lease_is_over(claims):
    claim = take(claims)
    for content in (b"", b"\xff\xfe", b"token\n[1", b"token\n[]", json.dumps({"process": -5}).encode()):
        claim.path.write_bytes(content)
        assert claims.take("a--s0") is None
        age(claim, 61)
        take(claims).release()
        take(claims)


def test_what_may_not_be_read_among_claims_is_one_that_tells_nothing(claims):
    take(claims)
    (claims.folder / "b--s0.json").mkdir()
    assert [(held.name, held.token) for held in claims.read()][1:] == [("b--s0", "")]
    assert claims.take("b--s0") is None


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*runs/claims"):
        Claims(tmp_path).take("a--s0")


def test_a_board_without_claims_has_none(tmp_path):
    assert Claims(tmp_path / "nowhere").read() == ()
    assert not Path(tmp_path / "nowhere").exists()
