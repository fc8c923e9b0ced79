"""Ids that two files spell differently are found alike, and others are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.identifiers import find_alike, hint_alike, strip


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("00000170", "170"),
        ("170.0", "170"),
        ("170", "170"),
        ("000", "0"),
        ("00000170_000.PNG", "170_000"),
        ("scan.nii.gz", "scan"),
        ("A7.dcm", "a7"),
        (" p7 ", "p7"),
        ("1.2.840.10", "1.2.840.10"),
        ("1.2.840.0", "1.2.840.0"),
        ("p.left", "p.left"),
        ("", "0"),
    ],
)
def test_zeros_case_suffix_and_point_zero_are_taken_off_and_nothing_else(text, left):
    assert strip(text) == left


@given(st.integers(0, 10**9))
def test_a_number_is_the_same_however_a_table_writes_it(number):
    assert {strip(str(number)), strip(f"{number:012}"), strip(f"{number}.0"), strip(f"{number:08}.png")} == {
        str(number)
    }


def test_pairs_are_of_ids_that_only_one_side_has():
    assert find_alike(["170", "9", "b"], ["00000170", "9", "009", "B.png"]) == [("170", "00000170"), ("b", "B.png")]
    assert find_alike(["1", "2"], ["3", "1"]) == []
    assert hint_alike(["1"], ["2"]) == ""
    assert hint_alike(["1"], ["01"]) == " (perhaps the same, written differently: '1' and '01')"
