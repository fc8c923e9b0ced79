"""What a dataset's table says of images becomes numbers for a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.components import Data, Inputs
from harness.data.columns import encode_table, permute_rows
from harness.errors import DataError

TABLE = pd.DataFrame(
    {
        "image": [f"i{n}" for n in range(8)],
        "patient": [f"p{n}" for n in range(8)],
        "split": ["train"] * 4 + ["val"] * 2 + ["test"] * 2,
        "age": [20.0, 40.0, 60.0, np.nan, 80.0, np.nan, 40.0, 20.0],
        "sex": ["F", "M", None, "F", "M", "X", "F", "M"],
        "view": ["PA", "AP", "LL", "PA", "PA", "AP", "", "LL"],
    }
)


def make(**changes: Any) -> Data:
    return Data(
        labels=("a",),
        images=np.zeros((8, 4, 4), dtype=np.uint8),
        targets=np.zeros((8, 1), dtype=np.float32),
        table=TABLE.assign(**changes),
    )


def test_numbers_have_mean_0_and_variance_1_over_known_training_images():
    found = encode_table(make(), Inputs(table=("age",)))
    assert found.names == ("age",)
    spread = np.std([20, 40, 60])
    np.testing.assert_allclose(found.numbers[:3, 0, 0], np.array([-20, 0, 20]) / spread, rtol=1e-6)
    np.testing.assert_allclose(found.numbers[4, 0], np.array([40 / spread, 1]), rtol=1e-6)
    np.testing.assert_array_equal(found.numbers[[3, 5], 0], [[0, 0], [0, 0]])


def test_texts_have_a_number_for_each_value_and_one_alone_for_two():
    found = encode_table(make(), Inputs(table=("sex", "view")))
    assert found.names == ("sex=M", "view=AP", "view=LL", "view=PA")
    assert found.numbers[:, 0].tolist() == [[0, 1], [1, 1], [0, 0], [0, 1], [1, 1], [0, 0], [0, 1], [1, 1]]
    assert found.numbers[1, 1:].tolist() == [[1, 1], [0, 1], [0, 1]]
    assert found.numbers[6, 1:].tolist() == [[0, 0], [0, 0], [0, 0]]


def test_what_is_fitted_is_fitted_on_training_alone():
    found = encode_table(make(), Inputs(table=("age", "sex")))
    other = make(age=[20.0, 40, 60, np.nan, -9, 7, 1e9, np.inf], sex=["F", "M", None, "F", "Q", "R", " F ", "F"])
    changed = encode_table(other, Inputs(table=("age", "sex")))
    assert changed.codes == found.codes
    np.testing.assert_array_equal(changed.numbers[:4], found.numbers[:4])
    assert changed.numbers[4:, 1, 1].tolist() == [0, 0, 1, 1]
    assert changed.numbers[7, 0].tolist() == [0, 0]  # an infinite age is unknown


def test_what_is_missing_and_what_training_lacks_is_said():
    found = encode_table(make(), Inputs(table=("age", "sex")))
    assert found.notes == (
        "the network was not told age of 2 of 8 images, which lack it",
        "the network was not told sex of 1 of 8 images, which lack it",
        "the network was not told sex of 1 of 8 images, since training has no image with theirs (X)",
    )
    whole = make(age=range(8), sex=["F", "M"] * 4)
    assert encode_table(whole, Inputs(table=("age", "sex"))).notes == ()
    (note,) = encode_table(whole, Inputs(table=("age", "sex"), permuted=True)).notes
    assert "control: age, sex of images were dealt out again at random" in note


@pytest.mark.parametrize("dtype", ["Int64", "float32", "object"])
def test_numbers_are_numbers_in_any_column_of_pandas(dtype):
    ages = pd.Series([20, 40, 60, None, 80, None, 40, 20], dtype="object").astype(dtype)
    (code,) = encode_table(make(age=ages), Inputs(table=("age",))).codes
    assert (code.mean, code.texts) == (40, ())


def test_a_split_is_dealt_out_alike_whatever_other_splits_there_are():
    split = np.array(["train", "val", "test"] * 20)
    withheld = np.where(split == "test", "none", split)
    used = split != "test"
    np.testing.assert_array_equal(permute_rows(split, 5)[used], permute_rows(withheld, 5)[used])
    assert not np.array_equal(permute_rows(split, 5), permute_rows(split, 6))


def test_a_permuted_table_has_the_same_rows_in_each_split_and_not_in_their_places():
    plain, permuted = (encode_table(make(), Inputs(table=("age", "view"), permuted=p), seed=3) for p in (False, True))
    for split in (slice(4), slice(4, 6), slice(6, 8)):
        one, other = (sorted(map(str, each.numbers[split].tolist())) for each in (plain, permuted))
        assert one == other
    assert not np.array_equal(plain.numbers, permuted.numbers)
    again = encode_table(make(), Inputs(table=("age", "view"), permuted=True), seed=3)
    np.testing.assert_array_equal(again.numbers, permuted.numbers)


@pytest.mark.parametrize(
    ("columns", "changes", "says"),
    [
        (("age", "weight"), {}, "the dataset's table has no column weight"),
        (("age",), {"age": [np.nan] * 8}, "no training image has a known age"),
        (("sex",), {"sex": [None] * 8}, "no training image has a known sex"),
    ],
)
def test_what_says_nothing_is_refused(columns, changes, says):
    with pytest.raises(DataError, match=says):
        encode_table(make(**changes), Inputs(table=columns))


def test_a_column_that_names_images_one_by_one_is_refused():
    table = pd.concat([TABLE] * 6, ignore_index=True)
    table = table.assign(sex=[f"s{n}" for n in range(48)], image=[f"i{n}" for n in range(48)])
    images, targets = np.zeros((48, 4, 4), dtype=np.uint8), np.zeros((48, 1), dtype=np.float32)
    data = Data(labels=("a",), images=images, targets=targets, table=table)
    with pytest.raises(DataError, match="24 different texts in the column sex, more than 20"):
        encode_table(data, Inputs(table=("sex",)))
