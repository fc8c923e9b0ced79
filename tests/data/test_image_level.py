"""The split by image as an experiment: what moves, and that the test is the same with the leak and without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.components import IMAGE_LEVEL, LEAK, WITHHELD, Data
from harness.data.image_level import exchange
from harness.data.loading import find_source, load_disjoint
from harness.data.splits import leaks
from harness.errors import DataError, UsageError
from harness.results.identity import fingerprint, fingerprint_test


def make_data(counts: dict[str, list[int]], *, order: list[int] | None = None, known: bool = True) -> Data:
    """Data whose patients have so many images each, by split."""
    rows = [
        (f"{split}-{patient}-{image}", split, f"{split}-{patient}")
        for split, patients in counts.items()
        for patient, images in enumerate(patients)
        for image in range(images)
    ]
    table = pd.DataFrame(rows, columns=["image", "split", "patient"])
    targets = np.arange(len(table), dtype=np.float32)[:, None] % 2
    if order is not None:
        table, targets = table.iloc[order].reset_index(drop=True), targets[order]
    pictures = np.zeros((len(table), 4, 4), dtype=np.uint8)
    return Data(labels=("Mass",), images=pictures, targets=targets, table=table, patients_known=known)


def list_images(data: Data, split: str) -> list[str]:
    return sorted(data.table["image"][data.table["split"] == split])


def count_moved(data: Data) -> dict[str, int]:
    """Patient of the test -> how many of their images are in training."""
    of_test = data.table[data.table["patient"].str.startswith("test")]
    counts = of_test[of_test["split"] == "train"].groupby("patient").size()
    return {str(patient): int(count) for patient, count in counts.items()}


def test_each_test_patient_gives_up_what_a_split_by_image_would_have_in_training():
    data = make_data({"train": [1] * 70, "val": [1] * 8, "test": [1, 2, 4, 15]})  # training has 70 %
    leaking, reference = exchange(data, "leaking"), exchange(data, "reference")
    assert count_moved(leaking) == {"test-1": 1, "test-2": 2, "test-3": 10}  # 0.7, 2.1 and 9.8, rounded
    assert count_moved(reference) == {}
    assert list_images(leaking, "test") == list_images(reference, "test")
    assert len(list_images(leaking, "test")) == 22 - 13
    assert (len(list_images(leaking, "train")), len(list_images(reference, "train"))) == (70, 70)
    assert list_images(reference, "train") == list_images(data, "train")
    assert len(set(list_images(data, "train")) - set(list_images(leaking, "train"))) == 13
    assert leaks(reference.table) == []
    assert leaks(leaking.table) == ["test-1", "test-2", "test-3"]
    assert leaking.notes[IMAGE_LEVEL] == (
        "13 images of 3 of the test's patients are in training, on purpose, and as many other training images are left "
        "out"
    )


@settings(max_examples=25)
@given(
    train=st.lists(st.integers(1, 6), min_size=20, max_size=60),
    test=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    seed=st.randoms(use_true_random=False),
)
def test_both_halves_share_test_and_val_whatever_the_order(train, test, seed):
    counts = {"train": train, "val": [2, 1], "test": test}
    data = make_data(counts)
    order = list(range(len(data.table)))
    seed.shuffle(order)
    try:
        leaking = exchange(data, "leaking")
    except DataError:
        return
    reference, turned = exchange(data, "reference"), exchange(make_data(counts, order=order), "leaking")
    for split in ("train", "val", "test", WITHHELD):
        assert list_images(turned, split) == list_images(leaking, split)
    for split in ("val", "test"):
        assert list_images(leaking, split) == list_images(reference, split)
    assert list_images(leaking, "val") == list_images(data, "val")
    assert set(reference.table["patient"][reference.table["split"] == "test"]) == {
        f"test-{patient}" for patient in range(len(test))
    }
    assert len(list_images(leaking, "train")) == len(list_images(data, "train"))
    assert fingerprint_test(leaking) == fingerprint_test(reference) is not None
    assert fingerprint(leaking) != fingerprint(reference)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (make_data({"train": [1] * 9, "val": [1], "test": [1, 1]}), "no patient of the test has images enough"),
        (make_data({"train": [1] * 9, "val": [1], "test": [3]}, known=False), "this dataset names no patients"),
    ],
)
def test_data_that_cannot_show_it_are_refused(data, says):
    with pytest.raises(DataError, match=says):
        exchange(data, "leaking")


def test_every_dataset_has_the_option_and_without_it_nothing_changes(registry):
    offer, sizes = registry.offer("dataset", "phantom"), {"train": 60, "val": 20, "test": 60}
    plain, leaking, reference = (
        load_disjoint(find_source(offer, {**sizes, "image_level": half}, Path()))
        for half in ("", "leaking", "reference")
    )
    assert set(plain.notes) == {"prevalence"}
    assert fingerprint_test(plain) is None
    assert LEAK in leaking.notes
    assert LEAK not in reference.notes
    assert IMAGE_LEVEL in reference.notes
    with pytest.raises(UsageError, match="image_level must be '', 'leaking' or 'reference', got 'yes'"):
        find_source(offer, {**sizes, "image_level": "yes"}, Path())


def test_the_check_of_the_data_says_that_the_leak_is_meant(harness):
    sizes = [part for name in ("train=60", "val=20", "test=60", "size=16") for part in ("--option", name)]
    _, out, _ = harness("data", "check", "phantom", *sizes, "--option", "image_level=leaking")
    assert "patients in one split: image_level is set: 21 images of 7 of the test's patients" in " ".join(out.split())
