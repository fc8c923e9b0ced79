"""A file that could not be read this time is tried again; one that does not decode is remembered."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from harness import DataError
from harness.data import grey
from harness.data.grey import GreyScale

COUNT = 12  # images of the desk
PASSING = [errno.EIO, errno.ESTALE, errno.ENOENT, errno.EACCES, errno.ETIMEDOUT]


def fail(monkeypatch, error: Exception, times: int, name: str = "3.bmp") -> None:
    """Let the decoder fail with one of the files, so many times."""
    original, left = grey.decode, [error] * times

    def decode(path: Path, scale: GreyScale) -> np.ndarray:
        if left and path.name == name:
            raise left.pop()
        return original(path, scale)

    monkeypatch.setattr(grey, "decode", decode)


@pytest.mark.parametrize("number", PASSING)
def test_an_error_that_passes_at_once_leaves_no_trace(desk, monkeypatch, number):
    fail(monkeypatch, OSError(number, os.strerror(number)), times=1)
    prepared = desk.prepare()
    assert not prepared.unreadable
    assert len(prepared.images) == COUNT


@pytest.mark.parametrize("allow_missing", [False, True])
@pytest.mark.parametrize("number", PASSING)
def test_an_error_that_lasts_ends_the_work_and_the_next_time_tries_again(desk, monkeypatch, number, allow_missing):
    fail(monkeypatch, OSError(number, os.strerror(number)), times=2)
    with pytest.raises(DataError, match=rf"1 of 12 .*3\.bmp.*{os.strerror(number)}.*run the same command again"):
        desk.prepare(allow_missing=allow_missing)
    prepared = desk.prepare(allow_missing=allow_missing)
    assert desk.decoded == [3]
    assert not prepared.unreadable
    assert len(prepared.images) == COUNT


@pytest.mark.parametrize("error", [MemoryError(), ModuleNotFoundError("No module named 'pydicom'")])
def test_what_is_no_fault_of_the_file_is_not_held_against_it(desk, monkeypatch, error):
    fail(monkeypatch, error, times=2)
    with pytest.raises(DataError, match=type(error).__name__):
        desk.prepare()
    assert not desk.prepare().unreadable


def test_a_decoder_that_wraps_the_error_is_seen_through(desk, monkeypatch):
    error = ValueError("no image")
    error.__cause__ = OSError(errno.EIO, "Input/output error")
    fail(monkeypatch, error, times=2)
    with pytest.raises(DataError, match="could not be read"):
        desk.prepare()
    assert not desk.prepare().unreadable


@pytest.mark.parametrize(
    "error", [OSError("broken data stream"), OSError(errno.EINVAL, "Invalid argument"), KeyError()]
)
def test_a_file_that_is_there_and_does_not_decode_is_remembered(desk, monkeypatch, error):
    fail(monkeypatch, error, times=1)
    assert set(desk.prepare(allow_missing=True).unreadable) == {"3.bmp"}
    assert set(desk.prepare(allow_missing=True).unreadable) == {"3.bmp"}
    assert desk.decoded == []


def test_a_file_that_vanishes_while_it_is_decoded_is_not_taken_for_damaged(desk, monkeypatch):
    """Whatever a decoder makes of that."""
    path = desk.folder / "images" / "3.bmp"
    content, original = path.read_bytes(), grey.decode

    def decode(image: Path, scale: GreyScale) -> np.ndarray:
        path.unlink(missing_ok=True)
        if image == path:
            raise ValueError("nothing there")
        return original(image, scale)

    monkeypatch.setattr(grey, "decode", decode)
    with pytest.raises(DataError, match="could not be read"):
        desk.prepare()
    path.write_bytes(content)
    os.utime(path, ns=(10**18, 10**18))
    monkeypatch.setattr(grey, "decode", original)
    assert not desk.prepare().unreadable


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_a_file_that_cannot_be_looked_at_is_not_taken_for_missing(desk, monkeypatch, number):
    original, left = os.stat, [number]

    def stat(path, **more):
        if left and str(path).endswith("3.bmp"):
            raise OSError(left.pop(), os.strerror(number))
        return original(path, **more)

    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(DataError, match=rf"3\.bmp.*{os.strerror(number)}"):
        desk.prepare(allow_missing=True)
    assert not desk.prepare(allow_missing=True).missing
