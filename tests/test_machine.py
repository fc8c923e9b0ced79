"""What of this machine the process may use."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from harness.machine import count_gpus, find_own_folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The home of a user who has no cache folder yet."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    find_own_folder.cache_clear()
    yield tmp_path
    find_own_folder.cache_clear()


def test_the_user_s_own_folder_is_closed_to_others(home):
    folder = find_own_folder("page")
    assert folder is not None
    assert folder.is_relative_to(home)
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_that_others_can_write_is_not_used(home, mode):
    folder = find_own_folder("page")
    assert folder is not None
    folder.chmod(mode)
    find_own_folder.cache_clear()
    assert find_own_folder("page") is None


def test_there_is_none_where_a_file_is_in_its_place(home):
    folder = find_own_folder("page")
    assert folder is not None
    folder.rmdir()
    folder.write_text("")
    find_own_folder.cache_clear()
    assert find_own_folder("page") is None


def test_there_is_none_without_a_home(home, monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *names, **options: "~/.cache/cxr-harness")
    assert find_own_folder("page") is None


@pytest.mark.parametrize("file", ["nvidiactl", "kfd", "dxg", None])
def test_torch_is_asked_for_gpus_only_where_a_driver_has_a_file(monkeypatch, file):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(Path, "glob", lambda folder, name: [folder / file] if file and Path(file).match(name) else [])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert count_gpus() == (3 if file else 0)
    monkeypatch.setattr(sys, "platform", "win32")
    assert count_gpus() == 3
