"""What a finished combo has left on this machine: predictions and the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from harness.errors import DataError
from harness.evaluation.predictions import Predictions, load_predictions
from harness.results.artifacts import read_artifact
from harness.results.layout import run_path

Kept = TypeVar("Kept")


def load_stored(folder: Path, key: str, file: str, digest: str | None) -> Predictions:
    """Predictions in a run's folder, of that digest. Raises `DataError` where they are not there, or are others."""
    return read_stored(folder, key, file, digest, load_predictions, "predictions are")


def read_stored(folder: Path, key: str, file: str, digest: str | None, load: Callable[[Path], Kept], what: str) -> Kept:
    """Load a file in a run's folder, of that digest. Raises `DataError` where it is not there, or is another."""
    path = run_path(folder, key) / file
    found = read_artifact(path, digest, load)
    if found is not None:
        return found
    if path.is_file():
        raise DataError(
            f"{path} is not what the record was made of; bring the right file, or run it again with --force"
        )
    raise DataError(f"its {what} not in {path.parent}; bring them, or run it again with --force")
