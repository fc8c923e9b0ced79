"""Part of the training patients, as `Recipe.train_share` and `Recipe.train_positives` ask for it.

Patients stand in an order that is drawn from the data's fingerprint and the seed, by a digest of each name: the same on
every machine and for every row, and anybody can draw it again. Of a share, the first are taken. Of so many positives a
label, the first with each label are taken, and the first without any. So a smaller subset lies within a larger one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.components import WITHHELD, Recipe
from harness.data.prepare import Prepared

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.components import Data


@dataclass(frozen=True, eq=False, kw_only=True)
class Subset:
    """The training images in use, where they are not all."""

    prepared: Prepared
    """All images, of which those that are not in use belong to no split."""
    patients: tuple[str, ...]
    """The training patients in use, sorted."""
    images: int
    """Their training images."""
    positives: Mapping[str, int]
    """Label -> how many of these images have it."""

    @property
    def digest(self) -> str:
        """sha256 of the patients, one a line."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def text(self) -> str:
        """The patients, one a line."""
        return "".join(f"{patient}\n" for patient in self.patients)


def draw_subset(prepared: Prepared, recipe: Recipe, fingerprint: str, seed: int) -> Subset | None:
    """The part of the training patients that a recipe asks for; None where it asks for all.

    `fingerprint` is that of the whole data.
    """
    if recipe.train_share == 1 and recipe.train_positives is None:
        return None
    data = prepared.data
    training = (data.table["split"] == "train").to_numpy()  # (N,)
    patient = data.table["patient"].to_numpy(dtype=str)
    order = _shuffle(np.unique(patient[training]), fingerprint, seed)
    order = order[: max(1, round(recipe.train_share * len(order)))]
    if recipe.train_positives is not None:
        order = _choose_positives(data, training, patient, order, recipe.train_positives)
    used = training & np.isin(patient, order)
    table = data.table.copy()
    table.loc[training & ~used, "split"] = WITHHELD
    counts = (data.targets[used] == 1).sum(axis=0)
    return Subset(
        prepared=replace(prepared, data=replace(data, table=table)),
        patients=tuple(sorted(order.tolist())),
        images=int(used.sum()),
        positives=dict(zip(data.labels, counts.tolist(), strict=True)),
    )


def _shuffle(patients: NDArray[np.str_], fingerprint: str, seed: int) -> NDArray[np.str_]:
    """Patients in the drawn order: by the sha256 of `FINGERPRINT/SEED/PATIENT`."""
    digests = [hashlib.sha256(f"{fingerprint}/{seed}/{patient}".encode()).digest() for patient in patients]
    return patients[sorted(range(len(patients)), key=digests.__getitem__)]


def _choose_positives(
    data: Data, training: NDArray[np.bool_], patient: NDArray[np.str_], order: NDArray[np.str_], wanted: int
) -> NDArray[np.str_]:
    """The first `wanted` patients of the order with each label, and the first without any."""
    place = {name: number for number, name in enumerate(order)}
    rows = [row for row in np.flatnonzero(training) if patient[row] in place]
    has = np.zeros((len(order), len(data.labels)), dtype=bool)
    np.logical_or.at(has, [place[patient[row]] for row in rows], data.targets[rows] == 1)
    groups = [*has.T, ~has.any(axis=1)]
    chosen: NDArray[np.str_] = order[np.unique(np.concatenate([np.flatnonzero(g)[:wanted] for g in groups]))]
    return chosen
