"""Splits are carved by patient, the same everywhere, and leaks are found."""

from __future__ import annotations

import hashlib

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import DataError
from harness.data.splits import ALIKE, bucket, carve, find_alike_patients, leaks, require_disjoint

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
