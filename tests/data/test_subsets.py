"""Part of the training patients: the same for every row, a small one within a large one, to be checked by anybody."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest

from harness.components import WITHHELD, Data, Recipe
from harness.data.prepare import Prepared
from harness.data.subsets import draw_subset


@pytest.fixture
def prepared() -> Prepared:
    """300 images of 150 patients and 4 labels, of which the last is absent; a part of the first is unknown."""
    generator = np.random.default_rng(0)
    targets = (generator.random((300, 4)) < [0.3, 0.1, 0.05, 0.0]).astype(np.float32)
    targets[:40, 0] = np.nan
    patients = [f"p{number // 2:03d}" for number in range(300)]
    split = np.repeat(["train", "val", "test"], 100)
    table = pd.DataFrame({"image": [f"i{n}" for n in range(300)], "patient": patients, "split": split})
    images = np.zeros((300, 8, 8), dtype=np.uint8)
    data = Data(labels=("A", "B", "C", "D"), images=images, targets=targets, table=table)
    return Prepared(data=data, images=images)


def draw(prepared, fingerprint="f", seed=0, **choices):
    return draw_subset(prepared, Recipe(name="r", **choices), fingerprint, seed)


def test_all_patients_are_no_subset(prepared):
    assert draw(prepared) is None


def test_a_share_is_of_whole_patients_of_the_training_split_alone(prepared):
    subset = draw(prepared, train_share=0.2)
    before, after = prepared.data.table, subset.prepared.data.table
    used = (after["split"] == "train").to_numpy()
    assert (len(subset.patients), subset.images) == (10, 20)
    assert set(after["patient"][used]) == set(subset.patients)
    assert (after["split"] == WITHHELD).sum() == 80
    assert (after["split"][100:] == before["split"][100:]).all()
    assert subset.prepared.images is prepared.images
    assert subset.positives["B"] == (prepared.data.targets[used][:, 1] == 1).sum()


@pytest.mark.parametrize("name", ["train_share", "train_positives"])
def test_a_smaller_subset_lies_within_a_larger_one(prepared, name):
    sizes = (0.02, 0.1, 0.5) if name == "train_share" else (1, 2, 4)
    one, two, three = (set(draw(prepared, **{name: size}).patients) for size in sizes)
    assert one < two < three


def test_so_many_patients_have_each_label_and_as_many_have_none(prepared):
    subset = draw(prepared, train_positives=3)
    table, targets = prepared.data.table, prepared.data.targets
    used = np.flatnonzero(table["patient"].isin(subset.patients))
    has = pd.DataFrame(targets[used] == 1).groupby(table["patient"].to_numpy()[used]).any()
    assert (has.sum().to_numpy()[:3] >= 3).all()
    assert has.sum()[3] == 0
    assert (~has.any(axis=1)).sum() >= 3
    assert len(subset.patients) <= 3 * 4


def test_the_draw_depends_on_the_data_and_the_seed_and_can_be_made_again_by_hand(prepared):
    patients = sorted({f"p{number:03d}" for number in range(50)})
    order = sorted(patients, key=lambda name: hashlib.sha256(f"f/1/{name}".encode()).digest())
    subset = draw(prepared, seed=1, train_share=0.1)
    assert subset.patients == tuple(sorted(order[:5]))
    assert subset.digest == hashlib.sha256("".join(f"{name}\n" for name in sorted(order[:5])).encode()).hexdigest()
    assert draw(prepared, train_share=0.1).patients != subset.patients != draw(prepared, "g", 1, train_share=0.1)
