"""Splits are carved by patient, the same everywhere, and leaks are found."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import DataError
from harness.data.splits import ALIKE, bucket, carve, find_alike_patients, fold, leaks, require_disjoint, stratify

KNOWN = {"1": 5, "2": 1, "3": 8, "42": 3, "30805": 1}
"""From coreutils' sha256sum, divided digit by digit."""
PATIENTS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6), min_size=1, max_size=50)
"""pandas before 3 takes two texts that differ after a NUL for one."""


@given(PATIENTS)
def test_carving_puts_no_patient_into_two_splits_and_follows_the_hash(patients):
    table = pd.DataFrame({"patient": patients, "split": carve(pd.Series(patients), val=(0,), test=(1, 2))})
    assert leaks(table) == []
    for patient, split in zip(table["patient"], table["split"], strict=True):
        number = int(hashlib.sha256(patient.encode()).hexdigest(), 16) % 10
        assert split == {0: "val", 1: "test", 2: "test"}.get(number, "train")


@given(PATIENTS, st.randoms())
def test_the_split_of_a_patient_depends_on_no_other_patient_and_on_no_order(patients, random):
    whole = dict(zip(patients, carve(pd.Series(patients)), strict=True))
    some = random.sample(patients, random.randint(1, len(patients)))
    assert carve(pd.Series(some)).tolist() == [whole[patient] for patient in some]


def test_known_patients_stay_in_their_buckets():
    assert {patient: bucket(patient) for patient in KNOWN} == KNOWN


def test_about_a_tenth_of_the_patients_becomes_validation_and_the_rest_training():
    shares = carve(pd.Series([str(patient) for patient in range(5000)])).value_counts(normalize=True)
    assert shares["val"] == pytest.approx(0.1, abs=0.02)
    assert shares["train"] == 1 - shares["val"]


def test_an_index_that_is_not_0_to_n_survives_carving():
    patients = pd.Series(["1", "2"], index=[7, 3])
    assert carve(patients).index.tolist() == [7, 3]


def test_leaking_patients_are_listed_and_others_are_not():
    table = pd.DataFrame({"patient": ["b", "b", "a", "a", "c"], "split": ["train", "test", "val", "test", "train"]})
    assert leaks(table) == ["a", "b"]


def test_a_patient_in_two_splits_is_refused_with_the_way_out(small_data):
    small_data.table.loc[0, "split"] = "test"
    with pytest.raises(DataError, match=r"in more than one split: 1, first p0; .*allow_leaks = true"):
        require_disjoint(small_data, allow=False)
    require_disjoint(small_data, allow=True)


def test_a_split_by_patient_is_accepted(small_data):
    require_disjoint(small_data, allow=False)


def test_patients_who_are_written_differently_in_two_splits_are_noted_and_not_refused(small_data):
    assert require_disjoint(small_data, allow=False) is small_data
    table = small_data.table
    number = table.groupby("split").cumcount().astype(str)
    table["patient"] = number.str.zfill(5).where(table["split"] != "train", number + ".0")
    table.loc[table["split"] == "val", "patient"] += "v"
    alike = find_alike_patients(table)
    assert alike[0] == "'00000' (test) and '0.0' (train)"
    assert len(alike) == (table["split"] == "test").sum()
    noted = require_disjoint(small_data, allow=False)
    assert noted.notes[ALIKE].startswith(f"{len(alike)} may stand in two splits, written differently: {alike[0]}")


# --- divisions with labels alike -------------------------------------------------------------------------------------

TABLES = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from([0.0, 1.0, np.nan]), st.booleans()), min_size=1, max_size=150
)
"""Images: a patient, and two labels."""
SHARES = st.sampled_from(
    [{"train": 0.7, "val": 0.1, "test": 0.2}, {"train": 0.5, "test": 0.5}, {"a": 1.0, "b": 1.0, "c": 1.0}]
)


def split_up(rows):
    targets = np.array([[one, float(other)] for _, one, other in rows], dtype=np.float32)
    return pd.Series([f"p{patient}" for patient, _, _ in rows]), targets


@given(TABLES, SHARES, st.integers(0, 5))
def test_shares_of_images_and_of_labels_are_met_as_nearly_as_patients_allow(rows, shares, seed):
    patients, targets = split_up(rows)
    splits = stratify(patients, targets, shares, seed=seed)
    assert leaks(pd.DataFrame({"patient": patients, "split": splits})) == []
    total, most = sum(shares.values()), patients.value_counts().max()
    for split, share in shares.items():
        chosen = (splits == split).to_numpy()
        assert abs(chosen.sum() - share / total * len(rows)) <= 6 * most
        for label in range(2):
            positives = targets[:, label] == 1
            assert abs(positives[chosen].sum() - share / total * positives.sum()) <= 6 * most


@given(TABLES, SHARES, st.randoms())
def test_a_division_depends_on_no_order_of_images(rows, shares, random):
    patients, targets = split_up(rows)
    order = list(range(len(rows)))
    random.shuffle(order)
    splits = stratify(patients, targets, shares)
    shuffled = stratify(patients.iloc[order], targets[order], shares)
    assert shuffled.tolist() == splits.iloc[order].tolist()
    assert shuffled.index.tolist() == order


@given(TABLES, st.integers(3, 6), st.integers(0, 3))
def test_the_test_folds_hold_every_image_once(rows, folds, seed):
    patients, targets = split_up(rows)
    parts = [fold(patients, targets, folds=folds, number=number, seed=seed) for number in range(folds)]
    assert (np.sum([part == "test" for part in parts], axis=0) == 1).all()
    for part, following in zip(parts, [*parts[1:], parts[0]], strict=True):
        assert ((part == "val") == (following == "test")).all()
        assert leaks(pd.DataFrame({"patient": patients, "split": part})) == []


def test_a_large_division_is_near_its_shares_in_images_and_in_each_label():
    generator = np.random.default_rng(0)
    patients = pd.Series(np.repeat(np.arange(1200), generator.geometric(0.3, 1200))).astype(str)
    targets = (generator.random((len(patients), 5)) < [0.01, 0.05, 0.1, 0.3, 0.6]).astype(np.float32)
    splits = stratify(patients, targets, {"train": 0.7, "val": 0.1, "test": 0.2})
    for split, share in {"train": 0.7, "val": 0.1, "test": 0.2}.items():
        chosen = (splits == split).to_numpy()
        assert chosen.mean() == pytest.approx(share, abs=0.005)
        np.testing.assert_allclose(targets[chosen].sum(axis=0) / targets.sum(axis=0), share, atol=0.06)


def test_known_divisions_stay_as_they_are():
    patients = pd.Series([str(number) for number in range(12)])
    targets = np.array([[number % 3 == 0] for number in range(12)], dtype=np.float32)
    splits = stratify(patients, targets, {"train": 0.5, "val": 0.25, "test": 0.25})
    assert splits.str[1].str.cat() == "eeerrrararra"  # the second letters of train, val and test
