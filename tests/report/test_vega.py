"""Vega in a process of its own: its script is kept and made again, and what becomes of the process is told."""

from __future__ import annotations

import os
import signal
from concurrent.futures import wait

import pytest

from harness.errors import HarnessError
from harness.machine import find_own_folder
from harness.report.figures import vega
from harness.report.figures.vega import Vega

POINTS = {"data": {"values": [{}, {}]}, "mark": "point"}


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The cache folder of a user who has none yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    find_own_folder.cache_clear()
    yield tmp_path / "cache"
    find_own_folder.cache_clear()


def read_script() -> str:
    """The script, as a process of its own finds or makes it."""
    process = Vega()
    try:
        return process.script.result()
    finally:
        process.close()


def test_the_script_is_one_that_ends_where_it_should():
    script = vega.start().script.result()
    assert "vegaEmbed" in script
    assert "</script" not in script.lower()


def test_the_script_is_kept_and_made_again_where_what_was_kept_is_damaged(kept):
    made = read_script()
    (path,) = kept.rglob("vega-*")
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace("vegaEmbed", "vegaEmbal"), encoding="utf-8")
    assert read_script() == made
    assert path.read_text(encoding="utf-8") == whole


def test_a_kept_script_is_read(kept, monkeypatch):
    made = read_script()
    monkeypatch.setattr(Vega, "_ask", lambda self, specification: pytest.fail("made again"))
    assert read_script() == made


def test_a_script_that_cannot_be_kept_is_made_each_time(kept):
    kept.write_text("a file where the folder would be", encoding="utf-8")
    assert "vegaEmbed" in read_script()
    assert kept.is_file()


def test_pictures_come_in_any_order_from_one_process():
    process = vega.start()
    assert vega.start() is process
    drawn = [process.draw(POINTS | {"mark": mark}) for mark in ("point", "bar", "point")]
    wait(drawn)
    first, other, again = (future.result() for future in drawn)
    assert first == again
    assert first.startswith("<svg")
    assert first != other


def test_a_process_that_is_killed_while_it_waits_is_started_again():
    process = vega.start()
    drawn = process.draw(POINTS).result()
    os.killpg(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    other = vega.start()
    assert other is not process
    assert other is vega.start()
    assert other.draw(POINTS).result() == drawn


def test_a_process_that_is_killed_is_told_with_the_way_out():
    process = Vega()
    try:
        process.draw(POINTS).result()
        os.killpg(process.pid, signal.SIGKILL)
        with pytest.raises(HarnessError, match="ended with code -9; results are kept, and `harness leaderboard`"):
            process.draw(POINTS).result()
    finally:
        process.close()
