"""Splits are carved by patient, the same everywhere, and leaks are found."""

from __future__ import annotations

import hashlib

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import DataError
from harness.data.splits import bucket, carve, leaks, require_disjoint


@given(st.lists(st.text(max_size=6), min_size=1, max_size=50))
def test_carving_puts_no_patient_into_two_splits_and_follows_the_hash(patients):
    table = pd.DataFrame({"patient": patients, "split": carve(pd.Series(patients), val=(0,), test=(1, 2))})
    assert leaks(table) == []
    for patient, split in zip(table["patient"], table["split"], strict=True):
        number = int(hashlib.sha256(patient.encode()).hexdigest(), 16) % 10
        assert split == {0: "val", 1: "test", 2: "test"}.get(number, "train")


def test_known_patients_stay_in_their_buckets():
    assert [bucket(str(patient)) for patient in range(1, 6)] == [
        int(hashlib.sha256(str(p).encode()).hexdigest(), 16) % 10 for p in range(1, 6)
    ]
    assert 0.08 < sum(bucket(str(patient)) == 0 for patient in range(5000)) / 5000 < 0.12


def test_a_patient_in_two_splits_is_refused_with_the_way_out(small_data):
    small_data.table.loc[0, "split"] = "test"
    with pytest.raises(DataError, match=r"1 patients .* first p0; .*allow_leaks = true"):
        require_disjoint(small_data, allow=False)
    require_disjoint(small_data, allow=True)
