"""Predictions of one split: what evaluation starts from, wherever they were made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import DataError
from harness.files import write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

ARRAYS = ("labels", "image", "patient", "logits", "targets")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Logits and targets of N images and C labels."""

    labels: tuple[str, ...]
    image: NDArray[np.str_]
    """(N,) unique ids."""
    patient: NDArray[np.str_]
    """(N,)"""
    logits: NDArray[np.float32]
    """(N, C) float32."""
    targets: NDArray[np.float32]
    """(N, C) float32: 1, 0 or NaN for unknown."""

    @property
    def scores(self) -> NDArray[np.float64]:
        """(N, C) float64 probabilities: the logistic function of the logits, without overflow."""
        logits = self.logits.astype(np.float64)
        small = np.exp(-np.abs(logits))
        return np.where(logits >= 0, 1 / (1 + small), small / (1 + small))

    def save(self, path: Path) -> None:
        """Write an .npz without pickled objects: `labels` (C), `image`, `patient` (N), `logits`, `targets` (N, C)."""
        arrays = {"labels": np.array(self.labels, dtype=str), **{name: getattr(self, name) for name in ARRAYS[1:]}}
        write_atomically(path, lambda temporary: np.savez_compressed(temporary, **arrays))


def load_predictions(path: Path) -> Predictions:
    """Read predictions back. Raises `DataError` for a file that is damaged or something else."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            labels, image, patient, logits, targets = (file[name] for name in ARRAYS)
    except FileNotFoundError:
        raise DataError(f"there are no predictions in {path}: no such file") from None
    except Exception as error:  # noqa: BLE001 - NumPy and zipfile raise many kinds for a damaged file
        raise DataError(
            f"{path} holds no predictions ({type(error).__name__}: {error}); it needs {', '.join(ARRAYS)}"
        ) from None
    shape = (len(image), len(labels))
    if logits.shape != shape or targets.shape != shape or patient.shape != image.shape:
        raise DataError(
            f"{path}: logits {logits.shape} and targets {targets.shape} do not fit "
            f"{shape[0]} images and {shape[1]} labels"
        )
    return Predictions(tuple(map(str, labels)), image, patient, logits, targets)
