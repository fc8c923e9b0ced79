"""What a page holds packed is the text again, whatever it is."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.packing import pack, pack_data, unpack


@given(st.text())
def test_a_text_comes_back_as_it_was_and_holds_nothing_that_a_page_could_run(text):
    assert unpack(pack(text)) == text
    assert pack(text).replace("+", "").replace("/", "").replace("=", "").isalnum()


def test_data_come_back_as_they_were():
    data = {"row": ["</script>", "é", 0.1, None]}
    assert json.loads(unpack(pack_data(data))) == data


def test_what_json_lacks_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        pack_data([math.nan])


def test_what_repeats_takes_little_room():
    assert len(pack("<td>0.812</td>" * 10_000)) < 1_000
