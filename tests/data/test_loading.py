"""Options that every dataset has are checked before anything is read."""

from __future__ import annotations

import pytest

from harness import UsageError
from harness.data.loading import find_source
from harness.registry import load_registry


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"allow_missing": "yes"}, "allow_missing must be true or false, got 'yes'"),
        ({"stretch": 1}, "stretch must be true or false, got 1"),
        ({"unreadable_limit": 1.5}, "unreadable_limit must be a share from 0 to 1, got 1.5"),
        ({"unreadable_limit": True}, "unreadable_limit must be a finite number, got true"),
        ({"bits": 7}, "bits must be a whole number from 8 to 16, got 7"),
        ({"bits": 12.0}, "bits must be a whole number or none, got 12.0"),
        ({"bits": True}, "bits must be a whole number or none, got true"),
        ({"bits": "12"}, "bits must be a whole number or none, got '12'; write it without quotes"),
        ({"unreadable_limit": float("nan")}, "unreadable_limit must be a finite number, got nan"),
        ({"bits": 12, "stretch": True}, "bits and stretch exclude each other"),
    ],
)
def test_a_value_that_an_option_cannot_take_is_refused_by_name(tmp_path, options, told):
    with pytest.raises(UsageError, match=told):
        find_source(load_registry().offer("dataset", "csv"), options | {"labels": "a.csv"}, tmp_path)


def test_options_of_pixels_are_those_that_are_not_the_default(tmp_path):
    offer = load_registry().offer("dataset", "phantom")
    assert find_source(offer, {"allow_missing": True}, tmp_path).pixel_options == {}
    assert find_source(offer, {"bits": 12}, tmp_path).pixel_options == {"bits": 12}
    assert find_source(offer, {"stretch": True}, tmp_path).pixel_options == {"stretch": True}
