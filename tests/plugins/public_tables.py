"""Label tables of public datasets, as one installed package brings them along."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest


def copy_public_table(name: str, folder: Path) -> Path:
    """Copy a table of torchxrayvision, which is never imported, into a folder; skips where it is not installed."""
    try:
        found = [file for file in files("torchxrayvision") or [] if file.name == name]
    except PackageNotFoundError:
        found = []
    if not found:
        pytest.skip("torchxrayvision, which has the real label table, is not installed")
    path = folder / name
    shutil.copyfile(str(found[0].locate()), path)
    return path
