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
    """Read predictions back, as the types of `Predictions`.

    Raises `DataError` for a file that is damaged or something else: parts that do not fit together, a label or image
    that stands in it twice, targets that are neither 1, 0 nor NaN.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            labels, image, patient = (file[name].astype(str) for name in ARRAYS[:3])
            logits, targets = (file[name].astype(np.float32) for name in ARRAYS[3:])
    except FileNotFoundError:
        raise DataError(f"there are no predictions in {path}: no such file") from None
    except Exception as error:  # noqa: BLE001 - NumPy and zipfile raise many kinds for a damaged file
        raise DataError(
            f"{path} holds no predictions ({type(error).__name__}: {error}); it needs {', '.join(ARRAYS)}"
        ) from None
    shape = (image.size, labels.size)
    flat = labels.ndim == image.ndim == 1 and patient.shape == image.shape
    if not flat or logits.shape != shape or targets.shape != shape:
        raise DataError(
            f"{path}: labels {labels.shape}, image {image.shape}, patient {patient.shape}, logits {logits.shape} and "
            f"targets {targets.shape} must be (C,), (N,), (N,), (N, C) and (N, C)"
        )
    for kind, names in (("label", labels), ("image", image)):
        unique, counts = np.unique(names, return_counts=True)
        if (counts > 1).any():
            raise DataError(f"{path}: {kind} '{unique[counts > 1][0]}' stands in it more than once")
    wrong = ~(np.isnan(targets) | (targets == 0) | (targets == 1))
    if wrong.any():
        raise DataError(f"{path}: targets must be 1, 0 or NaN for unknown, found {targets[wrong][0]:g}")
    return Predictions(tuple(map(str, labels)), image, patient, logits, targets)
