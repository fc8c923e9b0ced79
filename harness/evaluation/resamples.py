"""What lies beside a record: its metrics in every resample, and its curves; all that intervals and comparisons need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import DataError
from harness.files import write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Resamples:
    """Of one seed; resample b is the same patients in every file of one fingerprint."""

    macro: Mapping[str, NDArray[np.float64]]
    """Metric, named as in the record -> (R,)."""
    per_label: Mapping[str, NDArray[np.float64]]
    """Label -> (R,) of the board's objective."""
    curves: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """`roc/LABEL`, `pr/LABEL`: (2, points), x and y; `reliability/LABEL`: (3, bins), mean score, share, images."""

    def save(self, path: Path) -> None:
        """Write an .npz of float32, without pickled objects; the same content gives the same bytes."""
        groups = {"macro": self.macro, "label": self.per_label, "curve": self.curves}
        arrays = {
            f"{group}/{name}": values.astype(np.float32)
            for group, found in groups.items()
            for name, values in found.items()
        }
        write_atomically(path, lambda temporary: np.savez_compressed(temporary, **arrays))  # type: ignore[arg-type]


def load_resamples(path: Path) -> Resamples:
    """Read them back. Raises `DataError` for a file that is damaged or something else."""
    groups: dict[str, dict[str, NDArray[np.float64]]] = {"macro": {}, "label": {}, "curve": {}}
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            for name in file:
                group, _, member = name.partition("/")
                groups[group][member] = file[name].astype(np.float64)
    except Exception as error:  # noqa: BLE001 - NumPy and zipfile raise many kinds for a damaged file
        raise DataError(f"{path} holds no resamples ({type(error).__name__}: {error})") from None
    return Resamples(groups["macro"], groups["label"], groups["curve"])
