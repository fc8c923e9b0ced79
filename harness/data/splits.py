"""Splits that no patient crosses: carving them, and finding those that leak."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.components import LEAK, WITHHELD, Data
from harness.errors import DataError
from harness.identifiers import SHOWN, find_alike
from harness.text import agree, count

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

ALIKE = "patients alike"
"""The note of a dataset about patients who may stand in two splits."""

UNKNOWN = "patients"
"""The note of a dataset that does not say whose its images are."""
NO_PATIENTS = (
    "no patient is known, so each image counts as a patient of its own: intervals are over images, and too narrow if "
    "patients have several"
)


def bucket(patient: str) -> int:
    """0 to 9, from the patient's id alone: int(sha256(id), 16) % 10, the same on every machine."""
    return int(hashlib.sha256(patient.encode()).hexdigest(), 16) % 10


def carve(patients: pd.Series, val: Iterable[int] = (0,), test: Iterable[int] = ()) -> pd.Series:
    """A split for each image by its patient's bucket: `val`, `test`, and train for the rest."""
    names = dict.fromkeys(range(10), "train") | dict.fromkeys(val, "val") | dict.fromkeys(test, "test")
    # by a function, since older pandas takes some ids for equal ('' and a zero byte) when it looks them up
    return patients.map(functools.cache(lambda patient: names[bucket(str(patient))]))


def stratify(
    patients: pd.Series, targets: NDArray[np.float32], shares: Mapping[str, float], *, seed: int = 0
) -> pd.Series:
    """A split for each image, its patient's: `shares` of the images and, as nearly, of each label's positives.

    Patients are never divided. `targets` is (N, C). The same on every machine, whatever the order of the images: labels
    are dealt out from the rarest to the commonest, each patient to the split that lacks most of it (iterative
    stratification, Sechidis et al. 2011), patients in the order of sha256("SEED:PATIENT").
    """
    import numpy as np
    import pandas as pd

    codes, names = pd.factorize(patients.astype(str), sort=True)
    images = np.bincount(codes, minlength=len(names))
    positives = np.zeros((len(names), targets.shape[1]), dtype=np.int64)  # (P, C)
    np.add.at(positives, codes, targets == 1)
    order = sorted(range(len(names)), key=lambda i: hashlib.sha256(f"{seed}:{names[i]}".encode()).digest())
    total = sum(shares.values())
    lacking = {
        split: [*(share / total * positives.sum(axis=0)).tolist(), share / total * len(codes)]
        for split, share in shares.items()
    }
    counts = np.column_stack([positives, images]).tolist()  # the last column is dealt out as the commonest label
    chosen: dict[int, str] = {}
    rarest = sorted(range(targets.shape[1]), key=lambda label: (int(positives[:, label].sum()), label))
    for label in [*rarest, targets.shape[1]]:
        for patient in order:
            if patient in chosen or not counts[patient][label]:
                continue
            split = max(lacking, key=lambda name: (lacking[name][label], lacking[name][-1]))
            chosen[patient] = split
            lacking[split] = [left - count for left, count in zip(lacking[split], counts[patient], strict=True)]
    return pd.Series([chosen[code] for code in codes.tolist()], index=patients.index, dtype=object)


def fold(patients: pd.Series, targets: NDArray[np.float32], *, folds: int, number: int, seed: int = 0) -> pd.Series:
    """A split for each image in cross-validation: fold `number` is test, the next one val, the others train.

    Over all numbers, each image is in test once. Folds are alike as `stratify` makes them.
    """
    parts = stratify(patients, targets, {str(part): 1.0 for part in range(folds)}, seed=seed)
    names = {str(number): "test", str((number + 1) % folds): "val"}
    return parts.map(lambda part: names.get(part, "train"))


def leaks(table: pd.DataFrame) -> list[str]:
    """Patients who stand in more than one split, sorted; what is withheld belongs to none."""
    splits = table[table["split"] != WITHHELD].groupby("patient", sort=True)["split"].nunique()
    return [str(patient) for patient in splits.index[splits > 1]]


def find_alike_patients(table: pd.DataFrame) -> list[str]:
    """Patients of two splits whose ids differ in zeros, case, `.0` or a suffix alone: `'7' (val) and '007' (test)`."""
    used = table[table["split"] != WITHHELD]
    groups = {str(split): set(part.astype(str)) for split, part in used.groupby("split", sort=True)["patient"]}
    return [
        f"'{a}' ({one}) and '{b}' ({other})"
        for one, other in itertools.combinations(groups, 2)
        for a, b in find_alike(groups[one], groups[other])
    ]


def require_disjoint(data: Data, *, allow: bool) -> Data:
    """Refuse a dataset with a patient in two splits: test results would be too good. `allow` accepts it, and notes it.

    Patients whose ids differ in their spelling alone are not refused: the data's notes, and so every record, name them.
    """
    leaking = leaks(data.table)
    if leaking and not allow:
        raise DataError(
            f"patients in more than one split: {len(leaking):,}, first {', '.join(leaking[:3])}; fix the split, "
            "or accept it with allow_leaks = true under [dataset] (--option allow_leaks=true)"
        )
    if leaking:
        note = (
            f"{count(len(leaking), 'patient')} {agree(len(leaking), 'is', 'are')} in more than one split, on "
            f"purpose: results are too good"
        )
        data = replace(data, notes={**data.notes, LEAK: note})
    alike = find_alike_patients(data.table) if data.patients_known else []
    if not alike:
        return data
    note = f"{len(alike):,} may stand in two splits, written differently: {', '.join(alike[:SHOWN])}"
    return replace(data, notes={**data.notes, ALIKE: note})
