"""A table is divided by shares, folds or lists of images, never a patient; rows of several readers become one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import DataError, UsageError
from harness.data.loading import find_source, load_disjoint
from harness.data.splits import bucket, leaks
from harness.parameters import parse_assignments

ROWS = [
    f"p{number // 2}/{number}.png,p{number // 2},{int(number % 7 < 3)},{int(number % 40 < 2)}" for number in range(400)
]
TABLE = "\n".join(["image,patient,Edema,Mass", *ROWS])


@pytest.fixture
def csv(registry, tmp_path):
    """Writes a table and loads it."""

    def load(content: str = TABLE, **options):
        (tmp_path / "labels.csv").write_text(content)
        return registry.dataset("csv").load(tmp_path, **options)

    return load


def test_shares_divide_patients_with_labels_alike(csv):
    data = csv(**parse_assignments("--option", ["split=val=0.1,test=0.2,seed=3"]))
    splits = data.table["split"]
    assert leaks(data.table) == []
    assert splits.value_counts().to_dict() == {"train": 280, "test": 80, "val": 40}
    for split, count in {"train": 14, "val": 2, "test": 4}.items():
        assert np.nansum(data.targets[splits == split, 1]) == pytest.approx(count, abs=2)
    assert data.notes["split"] == "by patient, labels alike: train 0.7, val 0.1, test 0.2, seed 3"


@pytest.mark.parametrize("split", [{"val": 0.1, "test": 0.2, "train": 0.7}, "train=0.7,val=0.1,test=0.2"])
def test_a_division_is_the_same_as_a_table_or_in_any_order_and_another_for_another_seed(csv, split):
    first = csv(split="val=0.1,test=0.2").table
    second = csv(split=split).table
    assert first["split"].tolist() == second["split"].tolist()
    assert first["split"].tolist() != csv(split="val=0.1,test=0.2,seed=1").table["split"].tolist()


def test_the_test_folds_are_everything_once_and_the_next_fold_is_val(csv):
    folds = [csv(split=f"folds=4,fold={number}") for number in range(4)]
    in_test = [set(one.table["image"][one.table["split"] == "test"]) for one in folds]
    in_val = [set(one.table["image"][one.table["split"] == "val"]) for one in folds]
    assert sum(map(len, in_test)) == len(set.union(*in_test)) == 400
    assert in_val == [*in_test[1:], in_test[0]]
    assert all(leaks(one.table) == [] for one in folds)
    assert csv(split="folds=4,fold=0,seed=1").table["split"].tolist() != folds[0].table["split"].tolist()
    assert folds[2].notes["split"] == "fold 2 of 4 is test, the next one val; by patient, seed 0"


def test_a_table_with_train_and_test_alone_has_val_carved_from_train_by_patient(csv):
    lines = [f"{number}.png,{number // 2},{'test' if number >= 60 else 'Train'},1" for number in range(80)]
    data = csv("\n".join(["image,patient,split,Edema", *lines]))
    for patient, split in zip(data.table["patient"], data.table["split"], strict=True):
        assert split == ("test" if int(patient) >= 30 else "val" if bucket(patient) == 0 else "train")
    assert set(data.table["split"]) == {"train", "val", "test"}
    assert data.notes["split"] == "as given; val is carved from train, by patient"


def test_lists_of_images_divide_and_what_no_list_has_is_left_out(csv, tmp_path):
    (tmp_path / "a.txt").write_text("p0/0.png\np0\\1.png\n")
    (tmp_path / "b.txt").write_text("# mine\n2.png 0 1\n")
    (tmp_path / "c.txt").write_text("4.png\np9/absent.png\n")
    data = csv(split={"train": "a.txt", "val": "b.txt", "test": "c.txt"})
    assert data.table["split"].tolist() == ["train", "train", "val", "test"]
    assert [path.name for path in data.images] == ["0.png", "1.png", "2.png", "4.png"]
    assert len(data.targets) == 4
    said = data.notes["label_file_guessed"]
    assert "c.txt lists 1 images that the table has not, first 'p9/absent.png'" in said
    assert "396 images are in no list and left out, first 'p1/3.png'" in said


def test_without_a_list_of_train_or_val_the_rest_is_train_and_val_is_carved_from_it(csv, tmp_path):
    (tmp_path / "test.txt").write_text("\n".join(row.split(",")[0] for row in ROWS[:100]))
    data = csv(split="test=test.txt")
    splits = data.table["split"]
    assert (splits[:100] == "test").all()
    assert set(splits[100:]) == {"train", "val"}
    assert leaks(data.table) == []
    assert data.notes["split"] == "by lists, train is the rest; val is carved from train, by patient"


@pytest.mark.parametrize(
    ("split", "error", "message"),
    [
        ("val=0.5,test=0.5", UsageError, "leaves none to train on"),
        ("val=0.1", UsageError, "needs a share of val and one of test, as in val=0.1,test=0.2"),
        ("val=0.1,test=2", UsageError, "shares .* got val=0.1, test=2"),
        ("train=0.5,val=0.1,test=0.1", UsageError, "sum to 1, got 0.7"),
        ("valid=0.1,test=0.2", UsageError, "split has no part 'valid': did you mean 'val'"),
        ("val=0.1,test=test.txt", UsageError, "shares"),
        ("val=0.1,test=0.2,seed=x", UsageError, "seed of split must be a whole number, got 'x'"),
        ("folds=2,fold=0", UsageError, "K at least 3"),
        ("folds=5,fold=5", UsageError, "F from 0 to K - 1"),
        ("folds=5,fold=0,val=0.1", UsageError, "folds=K,fold=F"),
        ("train=a.txt", UsageError, "no list of test images"),
        ("test=a.txt,seed=1", UsageError, "a seed means nothing"),
        ({}, UsageError, "split must be a column, shares"),
        ("test=a.txt", DataError, r"there is no .*a\.txt"),
        (
            "test=none.txt",
            DataError,
            r"none\.txt lists no image .* begins with 'x', where the table has 'p0/0\.png'",
        ),
        ("val=some.txt,test=some.txt", DataError, r"some\.txt lists 'p0/0\.png', which some\.txt lists too"),
    ],
)
def test_a_division_that_cannot_be_is_refused_with_the_way_out(csv, tmp_path, split, error, message):
    (tmp_path / "none.txt").write_text("x\n")
    (tmp_path / "some.txt").write_text("0.png\n")
    with pytest.raises(error, match=message):
        csv(split=split)


# --- several rows of an image ----------------------------------------------------------------------------------------

READERS = """\
image,patient,reader_id,Age,Edema,Mass,Nodule
a.png,p,1,,1,1,
b.png,q,1,50,0,,1
a.png,p,2,40,1,0,0
a.png,p,3,41,0,-1,
"""


def test_rows_of_one_image_are_counted_and_refused_with_their_lines(csv, registry, tmp_path):
    data = csv(READERS)
    assert data.repeated == ("'a.png' in lines 2, 4 and 5",)
    assert data.table["image"].tolist() == ["a.png", "b.png"]
    assert "1 image stands in more than one row (2 too many)" in data.notes["label_file_guessed"]
    offer = registry.offer("dataset", "csv")
    message = r"1 image stands in more than one row .*'a\.png' in lines 2, 4 and 5; .*--option duplicates=vote"
    with pytest.raises(DataError, match=message):
        load_disjoint(find_source(offer, {}, tmp_path))
    for duplicates in ("first", "vote"):
        assert not load_disjoint(find_source(offer, {"duplicates": duplicates}, tmp_path)).repeated


def test_rows_that_are_refused_may_contradict_each_other(csv):
    assert len(csv(READERS.replace("a.png,p,3", "a.png,z,3")).repeated) == 1


def test_the_majority_of_those_who_know_decides_and_a_tie_is_unknown(csv):
    data = csv(READERS, duplicates="vote")
    assert data.table["image"].tolist() == ["a.png", "b.png"]
    assert data.table["age"].tolist() == [40, 50]
    assert data.labels == ("Edema", "Mass", "Nodule")
    np.testing.assert_array_equal(data.targets, [[1, np.nan, 0], [0, np.nan, 1]])
    assert csv(READERS, duplicates="vote", uncertain="zeros").targets[0].tolist() == [1, 0, 0]
    assert "their labels are voted on" in data.notes["label_file_guessed"]


def test_the_first_row_may_be_kept(csv):
    data = csv(READERS, duplicates="first")
    np.testing.assert_array_equal(data.targets, [[1, 1, np.nan], [0, np.nan, 1]])
    assert np.isnan(data.table["age"][0])


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["1", "0", ""])), min_size=1, max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_a_vote_is_the_majority_whatever_the_order_of_rows(csv, votes):
    content = "\n".join(["image,patient,Edema", *(f"{image}.png,p,{vote}" for image, vote in votes)])
    data = csv(content, duplicates="vote", labels="Edema")
    for image, target in zip(data.table["image"], data.targets[:, 0], strict=True):
        own = [vote for number, vote in votes if f"{number}.png" == image]
        lead = own.count("1") - own.count("0")
        np.testing.assert_equal(target, np.nan if lead == 0 else float(lead > 0))


def test_rows_of_one_image_that_differ_in_patient_or_split_are_refused(csv):
    with pytest.raises(DataError, match=r"lines 2, 4 and 5: the rows of 'a\.png' differ in their patient"):
        csv(READERS.replace("a.png,p,3", "a.png,z,3"), duplicates="vote")
    with pytest.raises(UsageError, match="duplicates must be refuse, first, vote, got 'last'"):
        csv(duplicates="last")
