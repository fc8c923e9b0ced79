"""What lies beside a record: its metrics in every resample, and its curves; all that intervals and comparisons need."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


SECTIONS = ("macro", "label", "curve", "group", "permuted")
"""Into which the arrays of a file fall."""
DRAWN = "drawn/2"
"""An empty array that says how patients were resampled; resamples drawn in different ways cannot be paired."""


@dataclass(frozen=True, eq=False)
class Resamples:
    """The resamples of one seed; resample b is the same patients in every file of one fingerprint."""

    macro: Mapping[str, NDArray[np.float64]]
    """Metric, named as in the record -> (R,)."""
    per_label: Mapping[str, NDArray[np.float64]]
    """Label -> (R,) of the board's objective."""
    curves: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """`roc/LABEL`, `pr/LABEL`: (2, points), x and y; `reliability/LABEL`: (3, bins), mean score, share, images;
    `benefit/LABEL`: (3, thresholds), threshold, net benefit, that of flagging everybody."""

    groups: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """`COLUMN/METRIC` -> (G, R) the macro in each group of patients that a gap is looked for among, by name."""
    permuted: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """`COLUMN/METRIC` -> (G, B) macros of permuted groups of patients, permuted alike in files of one fingerprint."""

    def of(self, metric: str, *, labels: bool) -> Resamples:
        """What compares systems in one metric, the board's objective: its macro, and the labels where asked for."""
        macro = {name: values for name, values in self.macro.items() if name == metric}
        return Resamples(macro, self.per_label if labels else {})

    def as_bytes(self) -> bytes:
        """An .npz of float32, without pickled objects; the same content gives the same bytes."""
        sections = self.macro, self.per_label, self.curves, self.groups, self.permuted
        arrays = {
            f"{group}/{name}": values.astype(np.float32)
            for group, of_group in zip(SECTIONS, sections, strict=True)
            for name, values in of_group.items()
        }
        arrays[DRAWN] = np.empty(0, dtype=np.float32)
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        return file.getvalue()


def load_resamples(path: Path) -> Resamples:
    """Read them back. Raises `DataError` for a file that is damaged or something else."""
    groups = _load(path, SECTIONS)
    return Resamples(groups["macro"], groups["label"], groups["curve"], groups["group"], groups["permuted"])


def load_values(path: Path) -> Resamples:
    """Read resamples without curves, which are most of the file. Raises `DataError`."""
    groups = _load(path, ("macro", "label"))
    return Resamples(groups["macro"], groups["label"])


def load_curves(path: Path) -> Mapping[str, NDArray[np.float64]]:
    """Read the curves alone. Raises `DataError`."""
    return _load(path, ("curve",))["curve"]


def load_groups(path: Path) -> Resamples:
    """Read what gaps between groups of patients are made of. Raises `DataError`."""
    groups = _load(path, ("group", "permuted"))
    return Resamples({}, {}, groups=groups["group"], permuted=groups["permuted"])


def _load(path: Path, wanted: Sequence[str]) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Group -> member -> values, of these groups alone."""
    groups: dict[str, dict[str, NDArray[np.float64]]] = {group: {} for group in wanted}
    try:
        with zipfile.ZipFile(path) as file:
            for member in _drawn_alike(file.namelist()):
                group, _, name = member.removesuffix(".npy").partition("/")
                if _known(group) in groups:
                    groups[group][name] = _parse(file.read(member))
    except Exception as error:  # noqa: BLE001 - zipfile and NumPy raise many kinds for a damaged file
        raise DataError(f"{path} holds no resamples ({type(error).__name__}: {error})") from None
    return groups


def _drawn_alike(members: Sequence[str]) -> list[str]:
    """A file's members without the one that says how patients were resampled."""
    if f"{DRAWN}.npy" not in members:
        raise ValueError("its patients were resampled in another way; make it again with `harness rescore`")
    return [member for member in members if member != f"{DRAWN}.npy"]


def _known(group: str) -> str:
    if group not in SECTIONS:
        raise ValueError(f"'{group}' is none of {', '.join(SECTIONS)}")
    return group


def _parse(content: bytes) -> NDArray[np.float64]:
    """An array from the bytes of a .npy file."""
    array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    if array.dtype.kind != "f":
        raise ValueError(f"it holds {array.dtype}, no numbers with a fraction")
    return array.astype(np.float64)
