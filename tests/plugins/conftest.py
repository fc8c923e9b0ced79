"""What tests of several plugins share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.tiny_encoders import save_encoders


@pytest.fixture(scope="session")
def encoders(tmp_path_factory) -> Path:
    """A folder with tiny encoders, see `save_encoders`. Nothing in it is to be changed."""
    folder: Path = tmp_path_factory.mktemp("encoders")
    save_encoders(folder)
    return folder
