"""What splitting by image does: some images of the test's patients are in training, on purpose and counted.

An image-level split leaves a test image with as many of its patient's other images in training as their share of all
images is. Here the same is done to a split by patient, so that what it is worth can be measured on identical test
images: with the leak (`leaking`), and without (`reference`).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.components import IMAGE_LEVEL, WITHHELD, Data
from harness.errors import DataError
from harness.text import agree, count

if TYPE_CHECKING:
    from numpy.typing import NDArray

ImageLevel = Literal["", "leaking", "reference"]
"""The two halves of the experiment; empty where a split stays as it is."""


def exchange(data: Data, half: ImageLevel) -> Data:
    """Move images of the test's patients as a split by image would have them; test and val are equal in both halves.

    A test patient with n images gives up round((n - 1) * s) of them, s being training's share of all images. `leaking`
    trains on these and leaves out as many images of other patients, `reference` leaves them out and trains as before.
    Which images move depends on the ids of images and patients alone. Raises `DataError` where no patient is known, or
    where nothing moves.
    """
    if not half:
        return data
    if not data.patients_known:
        raise DataError("image_level needs to know whose the images are, and this dataset names no patients")
    split, patient = data.table["split"].to_numpy(dtype=str), data.table["patient"].to_numpy(dtype=str)
    order = _shuffle(patient, data.table["image"].to_numpy(dtype=str))  # (N,)
    of = {name: order[split[order] == name] for name in ("train", "val", "test")}
    share = len(of["train"]) / sum(map(len, of.values()))
    moved = _choose(of["test"], patient, share)
    if not len(moved):
        raise DataError("image_level moves nothing: no patient of the test has images enough for one to be in training")
    changed = split.astype(object)
    changed[moved] = WITHHELD
    if half == "leaking":
        changed[moved] = "train"
        changed[of["train"][: len(moved)]] = WITHHELD
    counts = f"{count(len(moved), 'image')} of {len(set(patient[moved])):,} of the test's patients"
    verb = agree(len(moved), "is", "are")
    what = (
        f"{counts} {verb} in training, on purpose, and as many other training images are left out"
        if half == "leaking"
        else f"{counts} {verb} left out of the test, as in the split by image that it is the reference of"
    )
    return replace(data, table=data.table.assign(split=changed), notes={**data.notes, IMAGE_LEVEL: what})


def _shuffle(patient: NDArray[np.str_], image: NDArray[np.str_]) -> NDArray[np.intp]:
    """Places (N,) in the order of sha256("PATIENT/IMAGE"), the same on every machine whatever the order of rows."""
    digests = [hashlib.sha256(f"{a}/{b}".encode()).digest() for a, b in zip(patient, image, strict=True)]
    return np.array(sorted(range(len(digests)), key=digests.__getitem__), dtype=np.intp)


def _choose(test: NDArray[np.intp], patient: NDArray[np.str_], share: float) -> NDArray[np.intp]:
    """Those of the test's images, in their shuffled order, that a split by image would have in training."""
    _, codes, counts = np.unique(patient[test], return_inverse=True, return_counts=True)
    given = np.floor((counts - 1) * share + 0.5).astype(int)  # of each patient; halves go up on every machine
    seen = np.zeros(len(counts), dtype=int)
    moved = []
    for place, code in zip(test.tolist(), codes.tolist(), strict=True):
        if seen[code] < given[code]:
            moved.append(place)
        seen[code] += 1
    return np.array(moved, dtype=np.intp)
