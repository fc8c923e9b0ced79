"""Claims are leases in files, which tell what goes on; what every lease is, tests/test_lease_stores.py says."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from harness.errors import ClaimLostError, StorageError
from harness.execution.claims import Claims
from harness.files import sweep
from harness.lease_files import FileLease


@pytest.fixture
def claims(tmp_path) -> Claims:
    return Claims(tmp_path)


def take(claims: Claims, **about: object) -> FileLease:
    claim = claims.take("a--s0", **about)
    assert claim is not None
    return claim


def age(claim: FileLease, seconds: float) -> None:
    """As if it had not been renewed for so long."""
    os.utime(claim.path, (time.time() - seconds,) * 2)


def move_elsewhere(claim: FileLease) -> None:
    """As if its owner ran on another machine."""
    claim.about["machine"] = "another"
    claim.tell()


def test_combos_are_claimed_one_by_one(claims):
    take(claims)
    assert claims.take("a--s0") is None
    assert claims.take("b--s0") is not None


def test_of_many_that_take_over_a_claim_none_leaves_a_file(claims):
    age(take(claims), 61)
    barrier = threading.Barrier(16)

    def reach() -> None:
        barrier.wait()
        claims.take("a--s0")

    threads = [threading.Thread(target=reach) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in claims.folder.iterdir()] == ["a--s0.json"]


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
