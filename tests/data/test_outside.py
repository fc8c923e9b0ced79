"""Another dataset's images become a test split with targets for the network's own labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness import DataError, UsageError
from harness.data.loading import find_source
from harness.data.outside import find_outside, load_outside, unite

NAN = float("nan")


def test_a_union_is_present_where_any_is_absent_where_all_are_and_unknown_otherwise():
    pairs = np.array(
        [[1, 1], [1, 0], [1, NAN], [0, 1], [0, 0], [0, NAN], [NAN, 1], [NAN, 0], [NAN, NAN]], dtype=np.float32
    )
    united = unite(pairs, [[0, 1], [1]])
    assert np.array_equal(united[:, 0], [1, 1, 1, 1, 0, NAN, 1, NAN, NAN], equal_nan=True)
    assert np.array_equal(united[:, 1], pairs[:, 1], equal_nan=True)
    assert united.dtype == np.float32


def test_a_union_of_nothing_that_is_known_is_unknown_however_many_there_are():
    three = np.array([[0, 0, NAN], [0, NAN, 1], [0, 0, 0], [0.6, 0, 0]], dtype=np.float32)
    assert np.array_equal(unite(three, [[0, 1, 2]])[:, 0], [NAN, 1, 0, NAN], equal_nan=True)


@pytest.fixture
def csv(registry, tmp_path):
    """Loads a table of four images as an outside test."""
    rows = ["a,p,train,-1,1,0", "b,q,val,1,,1", "c,r,test,-1,0,0", "d,s,test,0,1,-1"]
    (tmp_path / "labels.csv").write_text("\n".join(["image,patient,split,Edema,Nodule,Mass", *rows]))

    def load(splits=("test",), labels=("Edema", "Nodule/Mass", "Hernia"), dataset="vindr-cxr", **options):
        source = find_outside(registry.offer("dataset", "csv"), options, tmp_path)
        return load_outside(source, splits, dataset, labels)

    return load


def test_a_label_without_a_counterpart_is_left_out_and_never_taken_for_absent(csv):
    data = csv().data
    assert data.labels == ("Edema", "Nodule/Mass")
    assert data.table["split"].tolist() == ["test", "test"]
    assert np.array_equal(data.targets, np.array([[NAN, 0], [0, 1]]), equal_nan=True)


def test_every_split_follows_the_policy_for_tests(csv):
    assert np.isnan(csv(("train",)).data.targets[0, 0])
    assert csv(("train",), uncertain_test="ones").data.targets.tolist() == [[1, 1]]


def test_an_option_for_training_is_refused(csv):
    with pytest.raises(UsageError, match="an outside test trains nothing; leave it out or give uncertain_test"):
        csv(uncertain="ones")


def test_a_split_without_images_is_named_with_those_that_have_some(csv, tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(path.read_text().replace(",test,", ",val,"))
    with pytest.raises(DataError, match="no images in test, only in train and val; name its splits"):
        csv()


def test_without_a_common_label_it_says_why(csv):
    with pytest.raises(UsageError, match=r"'csv' has no label that stands for one of 'nih-cxr14'.*Hernia: csv has no"):
        csv(labels=["Hernia"], dataset="nih-cxr14")


def test_labels_that_no_table_knows_meet_by_their_names(registry, tmp_path, csv):
    path = tmp_path / "labels.csv"
    path.write_text(path.read_text().replace("Edema", "My finding"))
    assert csv(labels=["my_finding"], dataset="csv").data.labels == ("my_finding",)


def test_the_source_of_a_board_is_as_it_was(registry):
    offer = registry.offer("dataset", "chexpert")
    plain, outside = (find(offer, {}, Path()) for find in (find_source, find_outside))
    assert plain.options == outside.options | {"uncertain": "ignore"}
