"""Splits that no patient crosses: carving them, and finding those that leak."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.components import Data
from harness.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def bucket(patient: str) -> int:
    """0 to 9, from the patient's id alone: int(sha256(id), 16) % 10, the same on every machine."""
    return int(hashlib.sha256(patient.encode()).hexdigest(), 16) % 10


def carve(patients: pd.Series, val: Iterable[int] = (0,), test: Iterable[int] = ()) -> pd.Series:
    """A split for each image by its patient's bucket: `val`, `test`, and train for the rest."""
    names = dict.fromkeys(range(10), "train") | dict.fromkeys(val, "val") | dict.fromkeys(test, "test")
    # by a function, since older pandas takes some ids for equal ('' and a zero byte) when it looks them up
    return patients.map(functools.cache(lambda patient: names[bucket(str(patient))]))


def leaks(table: pd.DataFrame) -> list[str]:
    """Patients who stand in more than one split, sorted."""
    splits = table.groupby("patient", sort=True)["split"].nunique()
    return [str(patient) for patient in splits.index[splits > 1]]


def require_disjoint(data: Data, *, allow: bool) -> None:
    """Refuse a dataset with a patient in two splits: test results would be too good. `allow` accepts it."""
    found = [] if allow else leaks(data.table)
    if found:
        raise DataError(
            f"patients in more than one split: {len(found):,}, first {', '.join(found[:3])}; mend the split, "
            "or accept it with allow_leaks = true under [dataset] (--option allow_leaks=true)"
        )
