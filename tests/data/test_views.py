"""Which views a dataset is made of, and what it expects to find."""

from __future__ import annotations

import gzip

import pandas as pd
import pytest

from harness import DataError, Layout, UnknownNameError, UsageError, choose_views

VIEWS = pd.Series(["PA", "AP", "LL", "", None, "PA"])
LAYOUT = Layout("own", "labels.csv and images/", "https://example.org", "for research")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("PA,AP", [1, 1, 0, 0, 0, 1]),
        (["LL"], [0, 0, 1, 0, 0, 0]),
        ("PA, unknown", [1, 0, 0, 1, 1, 1]),
        ("all", [1, 1, 1, 1, 1, 1]),
    ],
)
def test_views_are_chosen_by_name(wanted, expected):
    assert choose_views(VIEWS, wanted, "own")[0].tolist() == [bool(one) for one in expected]


def test_what_is_left_out_is_counted_by_view():
    _, note = choose_views(VIEWS, "PA", "own")
    assert note == {"views": "4 of 6 images, of other views, are left out: unknown 2, AP 1, LL 1"}
    assert choose_views(VIEWS, "all", "own")[1] == {}


def test_views_that_no_image_has_name_those_that_there_are():
    with pytest.raises(DataError, match=r"of the views RL; there are PA 2, unknown 2, AP 1, LL 1"):
        choose_views(VIEWS, "RL", "own")
    with pytest.raises(UsageError, match="views is empty"):
        choose_views(VIEWS, " , ", "own")


def test_a_misspelled_view_is_not_passed_over():
    with pytest.raises(UnknownNameError, match=r"unknown view of own 'APP': did you mean 'AP'"):
        choose_views(VIEWS, "PA,APP", "own")


def test_a_file_is_found_as_it_is_or_compressed(tmp_path):
    (tmp_path / "a").mkdir()
    with gzip.open(tmp_path / "a" / "labels.csv.gz", "wb") as file:
        file.write(b"x")
    assert LAYOUT.find(tmp_path, "labels.csv", "a/labels.csv") == tmp_path / "a" / "labels.csv.gz"
    with pytest.raises(DataError, match=r"has no b\.csv or c\.csv; expected labels\.csv and images/; get it"):
        LAYOUT.find(tmp_path, "b.csv", "c.csv")
    with pytest.raises(DataError, match=r"does not exist; .*\(terms: for research\); then give --data-root"):
        LAYOUT.find(tmp_path / "nowhere", "b.csv")
