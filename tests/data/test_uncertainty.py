"""What uncertain labels are taken for."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import Data, DataError, take_uncertain
from harness.data.statistics import as_plain, describe
from harness.results.identity import fingerprint

SPLIT = pd.Series(["train", "val", "test"])
LABELS = ("Edema", "Mass")


def make(targets, split=("train", "val", "test")):
    count = len(split)
    table = pd.DataFrame({"image": list("abcdefgh"[:count]), "split": list(split), "patient": list("abcdefgh"[:count])})
    return Data(
        labels=LABELS,
        images=np.zeros((count, 2, 2), np.uint8),
        targets=np.array(targets, dtype=np.float32),
        table=table,
    )


@given(st.lists(st.sampled_from([0, 1, -1, np.nan]), min_size=6, max_size=6), st.sampled_from(["zeros", "ones", 0.3]))
def test_certain_and_unknown_labels_stay_and_no_uncertain_one_does(values, policy):
    given_values = np.array(values, dtype=np.float32).reshape(3, 2)
    targets, _ = take_uncertain(given_values, SPLIT, LABELS, training=policy)
    certain = given_values != -1
    np.testing.assert_array_equal(targets[certain], given_values[certain])
    assert not (targets == -1).any()
    assert np.isnan(targets[1:][given_values[1:] == -1]).all()


def test_the_note_counts_what_became_of_them():
    values = np.array([[-1, 0], [-1, -1], [1, -1]], dtype=np.float32)
    _, note = take_uncertain(values, SPLIT, LABELS, training={"Edema": 0.7}, test="Mass=zeros")
    assert note == {
        "uncertain labels": "1 in training (Edema: 0.7); 3 in val and test, 1 of them left out, 2 of them taken as 0 "
        "or 1 as asked"
    }
    assert take_uncertain(np.abs(values), SPLIT, LABELS)[1] == {}


def test_a_soft_target_is_one_of_training_alone():
    assert make([[0.5, 1], [0, 1], [1, np.nan]]).targets[0, 0] == 0.5
    with pytest.raises(DataError, match=r"in training between 0 and 1: image 'b', label 'Edema' has 0\.5"):
        make([[0, 1], [0.5, 1], [1, np.nan]])
    with pytest.raises(DataError, match="has -1"):
        make([[-1, 1], [0, 1], [1, np.nan]])


def test_soft_targets_enter_the_fingerprint_unrounded_and_others_keep_theirs():
    hard = [[0, 1], [0, 1], [1, np.nan]]
    prints = [fingerprint(make([[value, 1], *hard[1:]])) for value in (0, 1, np.nan, 0.5, 0.5000001, 0.25)]
    assert prints[0] == fingerprint(make(hard))
    assert len(set(prints)) == len(prints)


def test_the_fingerprint_of_targets_without_soft_ones_is_of_the_bytes_it_always_was():
    data = make([[0, 1], [0, 1], [1, np.nan]])
    lines = "\n".join(f"{name}\t{name}\t{split}" for name, split in zip("abc", SPLIT, strict=True))
    expected = hashlib.sha256(json.dumps(list(LABELS)).encode() + lines.encode() + bytes([0, 1, 0, 1, 1, 2]))
    assert fingerprint(data) == expected.hexdigest()


def test_soft_targets_are_counted_apart():
    described = as_plain(describe(make([[0.5, 1], [0, 1], [1, np.nan]])))
    edema = described["groups"]["train"]["labels"]["Edema"]
    assert (edema["positives"], edema["negatives"], edema["unknown"], edema["soft"]) == (0, 0, 0, 1)
