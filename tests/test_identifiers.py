"""Ids that two files spell differently are found alike, and others are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.identifiers import find_alike, hint_alike, parse_id_source, strip


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


PATHS = ["CheXpert/patient00001/study1/view1.jpg", "CheXpert/patient00002/study1/view1.jpg", "other.jpg"]


def test_an_id_is_a_cell_or_the_first_group_of_a_pattern_in_it():
    assert parse_id_source("Path", ["Path"], "--patient").find(PATHS) == PATHS
    found = parse_id_source(r"Path:(patient\d+)/(study\d)", ["Path", "Sex"], "--patient").find(PATHS)
    assert found == ["patient00001", "patient00002", ""]
    assert parse_id_source("a:b", ["a:b"], "--patient").find(["x"]) == ["x"]
    assert parse_id_source("P:(a)|b", ["P"], "--patient").find(["a", "b"]) == ["a", ""]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Pth", r"--patient: there is no column 'Pth': did you mean 'Path'\?"),
        ("Pth:(a)", r"--patient: there is no column 'Pth'"),
        ("Path:(a", r"--patient: '\(a' is no regular expression"),
        (r"Path:\d+", r"--patient: '\\d\+' has no group; put what names the patient in brackets"),
    ],
)
def test_a_source_of_ids_that_cannot_be_is_refused_with_the_way_out(text, says):
    with pytest.raises(UsageError, match=says):
        parse_id_source(text, ["Path"], "--patient")
