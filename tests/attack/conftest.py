"""A board of two rows with two seeds each, all done, of which anything may be changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def board(toy_board, tmp_path) -> Path:
    folder: Path = tmp_path / "b"
    shutil.copytree(toy_board, folder)
    return folder
