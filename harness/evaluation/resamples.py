"""What lies beside a record: its metrics in every resample, and its curves; all that intervals and comparisons need."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


SECTIONS = ("macro", "label", "curve", "group", "permuted", "reader")
"""Into which the arrays of a file fall."""
DRAWN = "drawn/2"
"""An empty array that says how patients were resampled; resamples drawn in different ways cannot be paired."""
MOST_BYTES = 128 * 2**20
"""Bytes that the arrays of a file take at most: several times those of a board with 50 metrics and 100 groups."""
DIMENSIONS = {"macro": 1, "label": 1, "curve": 2, "group": 2, "permuted": 2, "reader": 2}
"""Axes of an array of each section."""
CURVE_ROWS = {"roc": 2, "pr": 2, "reliability": 3, "benefit": 3, "readers-roc": 2, "readers-pr": 2}
"""Rows of each kind of curve."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Resamples:
    """The resamples of one seed; resample b is the same patients in every file of one fingerprint."""

    macro: Mapping[str, NDArray[np.float64]]
    """Metric, named as in the record -> (R,)."""
    per_label: Mapping[str, NDArray[np.float64]]
    """Label -> (R,) of the board's objective."""
    curves: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """`roc/LABEL`, `pr/LABEL`, and `readers-roc/LABEL`, `readers-pr/LABEL` on what readers read: (2, points), x and y;
    `reliability/LABEL`: (3, bins), mean score, share, images;
    `benefit/LABEL`: (3, thresholds), threshold, net benefit, that of flagging everybody."""

    groups: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """`COLUMN/METRIC` -> (G, R) the macro in each group of patients that a gap is looked for among, by name."""
    permuted: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """`COLUMN/METRIC` -> (G, B) macros of permuted groups of patients, permuted alike in files of one fingerprint."""
    readers: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """`sensitivity`, `f1` -> (M, R) the network minus each of M readers, means over labels."""

    def of(self, metric: str, *, labels: bool) -> Resamples:
        """What compares systems in one metric, the board's objective: its macro, and the labels where asked for."""
        macro = {name: values for name, values in self.macro.items() if name == metric}
        return Resamples(macro=macro, per_label=self.per_label if labels else {})

    def as_bytes(self) -> bytes:
        """An .npz of float32, without pickled objects; the same content gives the same bytes."""
        sections = self.macro, self.per_label, self.curves, self.groups, self.permuted, self.readers
        arrays = {
            f"{group}/{name}": values.astype(np.float32)
            for group, of_group in zip(SECTIONS, sections, strict=True)
            for name, values in of_group.items()
        }
        arrays[DRAWN] = np.empty(0, dtype=np.float32)
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        return file.getvalue()


def load_resamples(content: bytes) -> Resamples:
    """Read them back from the bytes of their file. Raises `DataError` for one that is damaged or something else."""
    groups = _load(content, SECTIONS)
    return Resamples(
        macro=groups["macro"],
        per_label=groups["label"],
        curves=groups["curve"],
        groups=groups["group"],
        permuted=groups["permuted"],
        readers=groups["reader"],
    )


def load_values(content: bytes) -> Resamples:
    """Read resamples without curves, which are most of the file. Raises `DataError`."""
    groups = _load(content, ("macro", "label"))
    return Resamples(macro=groups["macro"], per_label=groups["label"])


def load_curves(content: bytes) -> Mapping[str, NDArray[np.float64]]:
    """Read the curves alone. Raises `DataError`."""
    return _load(content, ("curve",))["curve"]


def load_groups(content: bytes) -> Resamples:
    """Read what gaps between groups of patients are made of. Raises `DataError`."""
    groups = _load(content, ("group", "permuted"))
    return Resamples(macro={}, per_label={}, groups=groups["group"], permuted=groups["permuted"])


def load_readers(content: bytes) -> Mapping[str, NDArray[np.float64]]:
    """Read a network's differences from readers alone. Raises `DataError`."""
    return _load(content, ("reader",))["reader"]


def _load(content: bytes, wanted: Sequence[str]) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Group -> member -> values, of these groups alone."""
    groups: dict[str, dict[str, NDArray[np.float64]]] = {group: {} for group in wanted}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            for member in _drawn_alike(_require_small(file)):
                group, _, name = member.filename.removesuffix(".npy").partition("/")
                if _known(group) in groups:
                    groups[group][name] = _parse(_unpack(file, member), DIMENSIONS[group])
        _require_fitting(groups)
    except Exception as error:  # noqa: BLE001 - zipfile and NumPy raise many kinds for a damaged file
        raise DataError(f"holds no resamples ({type(error).__name__}: {error})") from None
    return groups


def _require_small(file: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """A file's members, judged before anything is unpacked: a few MB may unpack to many GB."""
    members = file.infolist()
    if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members):
        raise ValueError("it is packed in another way")
    if sum(member.file_size for member in members) > MOST_BYTES:
        raise ValueError(f"it unpacks to more than {MOST_BYTES / 2**20:g} MiB")
    return members


def _unpack(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A member's bytes: as many as it says that it has, whatever it unpacks to."""
    with file.open(member) as opened:
        return opened.read(member.file_size)


def _require_fitting(groups: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> None:
    """Resample b is the same patients in every metric and label, and a curve is x and y, with further rows for some."""
    lengths = {len(values) for group in ("macro", "label") for values in groups.get(group, {}).values()}
    if len(lengths) > 1:
        raise ValueError(f"its arrays hold {' and '.join(map(str, sorted(lengths)))} resamples")
    for name, values in groups.get("curve", {}).items():
        rows = CURVE_ROWS.get(name.partition("/")[0])
        if len(values) != rows:
            raise ValueError(f"its curve {name} has {len(values)} rows")


def _drawn_alike(members: Sequence[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """A file's members without the one that says how patients were resampled."""
    arrays = [member for member in members if member.filename != f"{DRAWN}.npy"]
    if len(arrays) == len(members):
        raise ValueError("its patients were resampled in another way; make it again with `harness rescore`")
    return arrays


def _known(group: str) -> str:
    if group not in SECTIONS:
        raise ValueError(f"'{group}' is none of {', '.join(SECTIONS)}")
    return group


def _parse(content: bytes, dimensions: int) -> NDArray[np.float64]:
    """An array from the bytes of a .npy file; `read_array` would make room for whatever shape the header promises."""
    opened = io.BytesIO(content)
    if np.lib.format.read_magic(opened) != (1, 0):
        raise ValueError("it is of another version")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(opened)
    array = np.frombuffer(content, dtype, offset=opened.tell()).reshape(shape, order="F" if by_columns else "C")
    if array.dtype.kind != "f":
        raise ValueError(f"it holds {array.dtype}, no numbers with a fraction")
    if array.ndim != dimensions:
        raise ValueError(f"it holds an array of {array.ndim} axes where {dimensions} belong")
    return array.astype(np.float64)
