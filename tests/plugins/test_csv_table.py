"""A table of one's own becomes a dataset, or is refused with line and column."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import DataError, UsageError
from harness.data.splits import bucket, leaks

TABLE = """\
image,patient,split,age,sex,view,Edema,Mass
a/1.png,p1,train,40,Male,PA,1,0
a/2.png,p1,valid,,f,,-1,
b/3.png,p2,Test,61.5,,AP,0.0,-1
"""

MEANING = {
    **dict.fromkeys(("1", "1.0", "True", "yes", "POSITIVE"), 1),
    **dict.fromkeys(("0", " 0 ", "false", "No", "negative"), 0),
    **dict.fromkeys(("-1", "-1.0", "uncertain", "", "nan", "NA"), np.nan),
}
"""What a label may be written as."""


@pytest.fixture
def csv(registry, tmp_path):
    """Writes a table and loads it."""

    def load(content: str = TABLE, **options):
        (tmp_path / options.get("file", "labels.csv")).write_text(content)
        return registry.dataset("csv").load(tmp_path, **options)

    return load


def test_a_table_becomes_images_targets_and_what_is_known_of_them(csv, tmp_path):
    data = csv()
    assert data.labels == ("Edema", "Mass")
    assert list(data.images) == [tmp_path / "a/1.png", tmp_path / "a/2.png", tmp_path / "b/3.png"]
    np.testing.assert_array_equal(data.targets, np.array([[1, 0], [np.nan, np.nan], [0, np.nan]], np.float32))
    expected = pd.DataFrame(
        {
            "image": ["a/1.png", "a/2.png", "b/3.png"],
            "split": ["train", "val", "test"],
            "patient": ["p1", "p1", "p2"],
            "age": [40.0, np.nan, 61.5],
            "sex": ["M", "F", None],
            "view": ["PA", None, "AP"],
        }
    )
    pd.testing.assert_frame_equal(data.table, expected, check_dtype=False)
    said = "0 in training (ignore); 2 in val and test, 2 of them left out"
    assert data.notes == {"label_file": "labels.csv", "split": "as given", "uncertain labels": said}


def test_columns_files_and_folders_go_by_the_names_they_are_given(csv, tmp_path):
    content = "Path,Subject,Set,Gender,Frontal,Edema,Report\nx.png,7,validate,F,PA,1,long text\n"
    names = {"image": "Path", "patient": "Subject", "split": "Set", "sex": "Gender", "view": "Frontal"}
    data = csv(content, file="all.csv", images="png", labels="Edema", **names)
    assert list(data.images) == [tmp_path / "png" / "x.png"]
    assert data.table.loc[0].tolist() == ["x.png", "val", "7", "F", "PA"]
    assert data.labels == ("Edema",)


@pytest.mark.parametrize("labels", ["Mass, Edema", ["Mass", "Edema"]])
def test_labels_may_be_listed_in_ones_own_order(csv, labels):
    data = csv(labels=labels)
    assert data.labels == ("Mass", "Edema")
    assert data.targets[0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("uncertain", "expected"),
    [
        ("ignore", [np.nan, np.nan]),
        ("ones", [1, 1]),
        ("zeros", [0, 0]),
        ("Edema=ones,Mass=zeros", [1, 0]),
        ("Mass = ones", [np.nan, 1]),
        ({"Edema": "zeros"}, [0, np.nan]),
        (0.6, [0.6, 0.6]),
        ("Mass=0.25", [np.nan, 0.25]),
    ],
)
def test_uncertain_labels_of_training_follow_the_policy_of_all_or_each(csv, uncertain, expected):
    data = csv("image,patient,split,Edema,Mass\n1.png,p,train,-1,-1.0\n", uncertain=uncertain)
    np.testing.assert_allclose(data.targets[0], expected, rtol=1e-6)


UNCERTAIN = "image,patient,split,Edema\n" + "".join(
    f"{split}{value}.png,{split}{value},{split},{value}\n" for split in ("train", "val", "test") for value in (1, 0, -1)
)


def test_what_is_measured_against_is_certain_unless_it_is_asked_for(csv):
    data = csv(UNCERTAIN, uncertain="ones")
    np.testing.assert_array_equal(data.targets[:, 0], [1, 0, 1, 1, 0, np.nan, 1, 0, np.nan])
    assert data.notes["uncertain labels"] == "1 in training (ones); 2 in val and test, 2 of them left out"
    data = csv(UNCERTAIN, uncertain="ones", uncertain_test="zeros")
    np.testing.assert_array_equal(data.targets[:, 0], [1, 0, 1, 1, 0, 0, 1, 0, 0])
    assert "0 of them left out, 2 of them taken as 0 or 1 as asked" in data.notes["uncertain labels"]


@pytest.mark.parametrize(("blank", "expected"), [("ignore", np.nan), ("zeros", 0)])
def test_blank_labels_follow_their_policy(csv, blank, expected):
    np.testing.assert_array_equal(csv(blank=blank).targets[:, 1], [0, expected, np.nan])


def test_without_a_split_patients_are_carved(csv):
    rows = [f"{patient}-{image}.png,{patient},1" for patient in range(40) for image in range(2)]
    data = csv("\n".join(["image,patient,Edema", *rows]))
    for patient, split in zip(data.table["patient"], data.table["split"], strict=True):
        assert split == {0: "val", 1: "test", 2: "test"}.get(bucket(patient), "train")
    assert leaks(data.table) == []
    assert set(data.table["split"]) == {"train", "val", "test"}
    assert data.notes["split"] == "carved by patient"


def test_each_image_may_be_its_own_patient_when_asked(csv):
    content = "image,Edema\n1.png,1\n2.png,0\n"
    with pytest.raises(DataError, match=r"no column 'patient' that names .* patient=image if every image is of"):
        csv(content)
    data = csv(content, patient="image")
    assert data.table["patient"].tolist() == ["1.png", "2.png"]
    assert not data.patients_known


@given(values=st.lists(st.sampled_from(list(MEANING)), min_size=1, max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_every_label_is_read_as_it_is_written(csv, values):
    rows = [f"{number}.png,p,{value},1" for number, value in enumerate(values)]
    targets = csv("\n".join(["image,patient,Edema,Mass", *rows]), labels="Edema").targets[:, 0]
    np.testing.assert_array_equal(targets, [MEANING[value] for value in values])


def test_a_row_that_ends_early_is_blank_in_the_rest(csv):
    np.testing.assert_array_equal(csv("image,patient,Edema,Mass\n1.png,p,1\n2.png,p,1,1\n").targets[0], [1, np.nan])


@pytest.mark.parametrize("value", ["2", "0.5", "maybe", "-2", "inf"])
def test_a_value_that_no_label_has_is_refused_with_line_and_column(csv, value):
    with pytest.raises(DataError, match=rf"labels\.csv, line 3, column 'Mass': .* got '{value}'"):
        csv(f"image,patient,Edema,Mass\n1.png,p,1,0\n2.png,p,1,{value}\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "image,patient,split,Edema\n1.png,p,train,1\n2.png,p,dev,1\n",
            r"line 3, column 'split': .* got 'dev'.*split=",
        ),
        ("image,patient,Edema\n1.png,p,1\n2.png,,1\n", r"line 3, column 'patient': blank"),
        ("image,patient,Edema\n,p,1\n", r"line 2, column 'image': blank"),
        ("picture,patient,Edema\n1.png,p,1\n", r"no column 'image' .* --option image=COLUMN"),
        ("image,patient\n1.png,p\n", "has no label columns"),
        ("image,patient,Edema\n", "has a header and no rows"),
        ("", "is empty: it needs a header"),
        ("image,patient,Edema\n1.png,p,1,1,1\n2.png,p,1\n", r"labels\.csv, line 2: 5 cells under 3 columns"),
        ("image,patient,Edema\n1.png,p,1\n2.png,p,1,1\n", r"labels\.csv, line 3: 4 cells under 3 columns"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(csv, content, message):
    with pytest.raises(DataError, match=message):
        csv(content)


def test_an_absent_table_is_refused_with_the_way_to_name_it(registry, tmp_path):
    with pytest.raises(DataError, match=r"there is no .*labels\.csv; .*--option file=NAME\.csv"):
        registry.dataset("csv").load(tmp_path)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"split": "fold"}, DataError, r"no column 'fold' .* --option split=COLUMN"),
        ({"labels": "Edema,Hernia"}, DataError, "no column for the label Hernia"),
        (
            {"uncertain": "one"},
            UsageError,
            "uncertain must be ignore, zeros, ones or a number .*, got 'one'",
        ),
        ({"uncertain": "Edem=ones"}, UsageError, "did you mean 'Edema'"),
        ({"uncertain_test": "0.5"}, UsageError, "measure against labels that are neither 0 nor 1"),
        ({"uncertain": {"Edema": "maybe"}}, UsageError, "got 'maybe'"),
        ({"blank": "ones"}, UsageError, "blank must be ignore or zeros, got 'ones'"),
    ],
)
def test_options_that_mean_nothing_are_refused(csv, options, error, message):
    with pytest.raises(error, match=message):
        csv(**options)


def test_further_columns_make_subgroups_and_are_no_labels(csv):
    content = TABLE.replace("view,Edema", "view,site,Edema").replace(",PA,", ",PA,north,").replace(",f,,", ",f,,south,")
    data = csv(content.replace(",AP,", ",AP,,"), subgroups="site")
    assert data.labels == ("Edema", "Mass")
    assert data.subgroups == ("sex", "age", "view", "site")
    assert data.table["site"].fillna("").tolist() == ["north", "south", ""]
    with pytest.raises(DataError, match="no column 'hospital' to make subgroups by"):
        csv(subgroups=["hospital"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_table_as_windows_writes_it_is_the_same(csv, registry, tmp_path, encoding):
    plain = csv("image,patient,Edema\na/1.png,p,1\nb.png,q,0\n")
    (tmp_path / "w.csv").write_bytes("sep=;\r\nimage;patient;Edema\r\na\\1.png;p;1\r\nb.png;q;0\r\n".encode(encoding))
    read = registry.dataset("csv").load(tmp_path, file="w.csv")
    assert read.table.equals(plain.table)
    assert list(read.images) == list(plain.images)


def test_what_is_guessed_of_a_table_stands_in_its_notes(csv):
    assert "label_file_guessed" not in csv("image,patient,Edema\n1.png,p,1\n").notes
    assert "first line 1" in csv("# mine\nimage,patient,Edema\n1.png,p,1\n").notes["label_file_guessed"]


def test_a_column_that_stands_in_a_table_twice_is_refused(csv):
    with pytest.raises(DataError, match="the column 'Edema' stands in it more than once"):
        csv("image,patient,Edema,Edema\n1.png,p,1,0\n")


def test_a_column_without_a_name_is_no_label(csv):
    data = csv(",image,patient,Edema\n0,1.png,p,1\n1,2.png,p,0\n")
    assert data.labels == ("Edema",)
    assert "one column without a name is left out" in data.notes["label_file_guessed"]
