"""Label tables of public datasets, as the package torchxrayvision carries them; it is never imported."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest


def find_published(name: str) -> Path:
    """The table of that name; skips the test where the package is not installed."""
    try:
        found = [file for file in files("torchxrayvision") or () if file.name == name]
    except PackageNotFoundError:
        found = []
    if not found:
        pytest.skip(f"the package torchxrayvision, which carries {name}, is not installed")
    return Path(str(found[0].locate()))
