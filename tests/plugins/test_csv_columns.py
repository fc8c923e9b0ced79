"""Columns are found by what they are usually called, or asked for; what is none is no label."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pytest
from PIL import Image

from harness import DataError, UsageError
from harness.data.loading import find_source, load_disjoint
from harness.data.splits import leaks
from harness.results.store import read_records
from harness.scoring.prediction_files import read_predictions


@pytest.fixture
def csv(registry, tmp_path):
    """Writes a table and loads it."""

    def load(content: str, **options):
        (tmp_path / "labels.csv").write_text(content)
        return registry.dataset("csv").load(tmp_path, **options)

    return load


def said(data):
    return data.notes.get("label_file_guessed", "")


def follow(message: str) -> dict[str, str]:
    """The first option that a message proposes, typed as it stands there."""
    proposed = re.split(r" \(|;| if every", message[message.index("--option ") :], maxsplit=1)[0]
    words = shlex.split(proposed)
    name, _, value = words[1].rstrip(",").partition("=")
    return {name: value}


# --- the way to a board ----------------------------------------------------------------------------------------------

HEADER = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema,Cardiomegaly"


def write_chexpert(folder):
    """Writes a table as CheXpert's and its images: 30 patients with two each."""
    generator, lines = np.random.default_rng(0), [HEADER]
    for number in range(60):
        patient = f"CheXpert-v1.0-small/train/patient{number // 2:05}"
        name = f"{patient}/study{number % 2 + 1}/view1_frontal.jpg"
        (folder / name).parent.mkdir(parents=True)
        Image.fromarray(generator.integers(0, 255, (32, 32), dtype=np.uint8)).save(folder / name)
        labels = ("1.0,,0.0", ",1.0,-1.0", ",0.0,1.0", "0.0,1.0,0.0", "1.0,0.0,")[number // 2 % 5]
        lines.append(
            f"{name},{('Female', 'Male')[number % 2]},{20 + number},Frontal,{('AP', 'PA')[number % 2]},{labels}"
        )
    (folder / "labels.csv").write_text("\n".join(lines))


def test_a_table_as_chexperts_comes_to_a_board_without_leaks_by_following_what_errors_propose(harness, tmp_path):
    write_chexpert(tmp_path / "data")
    command = "run --dataset csv --data-root data --models tiny-cnn --losses bce --recipes toy --seeds 0 --board b"
    options: dict[str, str] = {}
    for _ in range(4):
        added = [word for name, value in options.items() for word in ("--option", f"{name}={value}")]
        code, _, err = harness(*command.split(), *added)
        if code == 0:
            break
        options |= follow(err)
    assert options == {"patient": r"Path:(patient\d+)", "view": "Frontal/Lateral"}
    assert code == 0
    assert "the image is read from the column 'Path'" in err.replace("\n", " ")
    assert "left out is AP/PA" in err.replace("\n", " ")
    (record,) = read_records(tmp_path / "b").records
    assert record.dataset.labels == ["No Finding", "Edema", "Cardiomegaly"]
    assert sum(split.patients for split in record.dataset.splits.values()) == 30
    assert all(split.patients * 2 == split.images for split in record.dataset.splits.values())
    patients = [set(read_predictions(path).patient) for path in (tmp_path / "b" / "runs").rglob("*.npz")]
    assert not set.intersection(*patients)


def test_a_board_whose_patients_are_unknown_says_that_intervals_are_over_images(harness, tmp_path):
    write_chexpert(tmp_path / "data")
    options = ("--option", "patient=Path", "--option", "view=")
    command = "run --dataset csv --data-root data --models tiny-cnn --losses bce --recipes toy --seeds 0 --board b"
    code, _, err = harness(*command.split(), *options)
    assert code == 0, err
    assert "patients: no patient is known" in err
    (record,) = read_records(tmp_path / "b").records
    assert "intervals are over images" in record.dataset.notes["patients"]
    page = (tmp_path / "b" / "index.html").read_text()
    assert "interval over images (no patient is known)" in page
    assert "images of unknown patients" in page
    stored = [read_predictions(path) for path in (tmp_path / "b" / "runs").rglob("*.npz")]
    assert stored
    assert not any(one.patients_known for one in stored)
    code, out, _ = harness("data", "check", "csv", "--data-root", "data", *options, "--load-size", "32")
    assert "no patient is known, so each image" in " ".join(out.split())


def test_patients_who_are_written_differently_in_two_splits_are_named_by_run_and_by_data_check(harness, tmp_path):
    generator, lines = np.random.default_rng(0), ["image,patient,split,Edema"]
    for number, (patient, split) in enumerate(
        [("00001", "train"), ("1", "val"), ("7", "train"), ("7.0", "test"), ("P9", "val"), ("p9", "test")] * 2
    ):
        Image.fromarray(generator.integers(0, 255, (32, 32), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{patient},{split},{number // 6}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    command = "run --dataset csv --data-root . --models tiny-cnn --losses bce --recipes toy --board b --dry-run"
    _, _, err = harness(*command.split())
    _, out, _ = harness("data", "check", "csv", "--data-root", ".", "--load-size", "32")
    for text in (" ".join(err.split()), " ".join(out.split())):
        for pair in ("'00001' (train) and '1' (val)", "'7.0' (test) and '7' (train)", "'p9' (test) and 'P9' (val)"):
            assert pair in text


# --- patients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "patients"),
    [
        (["train/patient00001/study1/view2.png", "train/patient00001/study2/view1.png", "valid/patient2/a.png"], 2),
        (["files/p10/p10000032/s5/a.jpg", "files/p10/p10000033/s6/b.jpg", "files/p10/p10000032/s7/c.jpg"], 2),
        (["00000001_000.png", "00000001_001.png", "00000002_000.png"], 2),
        (["x/sub-01/ses-1/a.png", "x/sub-01/ses-2/a.png", "x/sub-02/ses-1/a.png"], 2),
        (["person1_virus_6.jpeg", "person1_virus_7.jpeg", "person21_bacteria_1.jpeg"], 2),
        (["Subject_7-a.png", "Subject_8-a.png", "Subject_8-b.png"], 2),
    ],
)
def test_a_patient_that_stands_only_in_paths_is_proposed_and_the_proposal_works(csv, paths, patients):
    content = "\n".join(["image,Edema", *(f"{path},1" for path in paths)])
    with pytest.raises(DataError, match="names the patient") as refused:
        csv(content)
    assert f"finds {patients} patients of 3 images" in str(refused.value)
    table = csv(content, **follow(str(refused.value))).table
    assert table["patient"].nunique() == patients
    assert leaks(table) == []


@pytest.mark.parametrize("paths", [["1.png", "2.png"], ["a/1.png", "b/2.png"], ["patient1/a.png", "x/b.png"]])
def test_no_pattern_is_proposed_that_does_not_fit_all_paths(csv, paths):
    content = "\n".join(["image,Edema", *(f"{path},1" for path in paths)])
    with pytest.raises(DataError, match=r"name it by --option patient=COLUMN, or give --option patient=image if"):
        csv(content)


def test_a_path_in_which_the_pattern_finds_no_patient_is_named(csv):
    with pytest.raises(DataError, match=r"line 3, column 'image': .* finds no patient in it \('b\.png'\)"):
        csv("image,Edema\npatient1/a.png,1\nb.png,0\n", patient=r"image:(patient\d+)")
    with pytest.raises(UsageError, match="has no group"):
        csv("image,Edema\npatient1/a.png,1\n", patient=r"image:patient\d+")


# --- columns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        *(("image", name, "x.png") for name in ("Path", "Image Index", "image_path", "FileName", "dicom_id")),
        *(("patient", name, "7") for name in ("Patient ID", "subject_id", "PatientID", "Subject", "PATIENT")),
        *(("split", name, "valid") for name in ("Split", "fold", "subset", "Set", "partition")),
        *(("age", name, "61") for name in ("Age", "Patient Age", "age_years")),
        *(("sex", name, "F") for name in ("Sex", "gender", "Patient Gender", "PatientSex")),
        *(("view", name, "PA") for name in ("View", "View Position", "AP/PA", "ViewPosition")),
    ],
)
def test_a_column_is_found_by_what_it_is_usually_called_said_and_is_no_label(csv, kind, name, value):
    columns = {"image": "x.png", "patient": "7", kind: value}
    columns = {(name if key == kind else key): text for key, text in columns.items()}
    data = csv(f"{','.join(columns)},Edema\n{','.join(columns.values())},1\n")
    assert data.labels == ("Edema",)
    assert data.table.loc[0, kind] == {"valid": "val", "61": 61.0}.get(value, value)
    assert f"the {kind} is read from the column '{name}'" in said(data)
    assert kind != "split" or data.notes["split"] == "as given"


@pytest.mark.parametrize(
    ("kind", "columns"),
    [("split", "fold,Set"), ("view", "AP/PA,View Position"), ("sex", "Gender,Patient Sex"), ("patient", "PID,MRN")],
)
def test_where_several_columns_may_be_meant_one_is_asked_for_and_the_others_are_no_labels(csv, kind, columns):
    columns = columns.replace("PID", "Patient ID")
    value = {"split": "train"}.get(kind, "F")
    patient = "" if kind == "patient" else "patient,"
    content = f"image,{patient}{columns},Edema\n1.png,{patient and 'p,'}{value},{value},1\n"
    with pytest.raises(DataError, match=rf"several columns that may name the {kind}") as refused:
        csv(content)
    data = csv(content, **follow(str(refused.value)))
    assert data.labels == ("Edema",)
    assert f"left out is {columns.split(',')[1]}" in said(data)


def test_a_split_of_ones_own_is_never_carved_over_unless_that_is_asked_for(csv):
    content = "image,patient,fold,Edema\n1.png,p,0,1\n2.png,q,1,0\n"
    with pytest.raises(DataError, match=r"column 'fold': a split must be train.*--option split="):
        csv(content)
    data = csv(content, split="")
    assert data.labels == ("Edema",)
    assert data.notes["split"] == "carved by patient"
    assert "left out is fold" in said(data)


def test_columns_without_a_name_a_value_or_a_labels_name_are_left_out_and_said(csv):
    data = csv("image,patient,Unnamed: 3,Notes,Follow-up #,study_id,Edema\n1.png,p,1,,0,1,1\n2.png,q,0,,1,0,0\n")
    assert data.labels == ("Edema",)
    for text in ("one column without a name", "left out is Follow-up #, study_id", "left out is Notes"):
        assert text in said(data)
    data = csv("image,patient,Set,Edema\n1.png,p,1,1\n2.png,q,0,0\n", labels=["Set"])
    assert data.labels == ("Set",)


def test_a_column_of_numbers_is_named_with_the_labels_that_would_be_left(csv):
    content = "image,patient,Weight,Edema,Mass\n1.png,p,71.5,1,0\n2.png,q,80,0,1\n"
    with pytest.raises(DataError, match=r"line 2, column 'Weight': .*got '71\.5'; if this column is no") as refused:
        csv(content)
    assert csv(content, **follow(str(refused.value))).labels == ("Edema", "Mass")


def test_labels_with_commas_in_their_names_are_proposed_so_that_they_can_be_given(csv):
    content = 'image,patient,Weight,"Mass, left"\n1.png,p,71.5,1\n'
    with pytest.raises(DataError, match="is no label, name those") as refused:
        csv(content)
    assert "labels=['Mass, left']" in shlex.split(str(refused.value))[-1]


def test_lines_of_messages_are_those_of_the_file(csv):
    with pytest.raises(DataError, match="line 5, column 'Edema'"):
        csv("# mine\nimage,patient,Edema\n1.png,p,1\n\n2.png,q,5\n")


def test_ages_are_years_however_they_are_written_and_what_is_none_is_said(csv):
    rows = [f"{number}.png,p,{age},1" for number, age in enumerate(["058Y", "6.5", "006M", "old", ""])]
    data = csv("\n".join(["image,patient,Patient Age,Edema", *rows]))
    np.testing.assert_array_equal(data.table["age"], [58, 6.5, 0.5, np.nan, np.nan])
    assert "column 'Patient Age': 1 cells are not an age, first 'old' in line 5" in said(data)


# --- a column of findings --------------------------------------------------------------------------------------------

FINDINGS = "Image Index,Finding Labels,Patient ID\n1.png,Mass|Edema,1\n2.png,No Finding,2\n3.png,,3\n4.png,Edema,4\n"


def test_a_column_of_findings_is_proposed_and_makes_labels_of_what_occurs(csv):
    with pytest.raises(DataError, match="if a column lists findings") as refused:
        csv(FINDINGS)
    data = csv(FINDINGS, **follow(str(refused.value)))
    assert data.labels == ("Edema", "Mass")
    np.testing.assert_array_equal(data.targets, [[1, 1], [0, 0], [np.nan, np.nan], [1, 0]])
    assert csv(FINDINGS, findings="Finding Labels", blank="zeros").targets[2].tolist() == [0, 0]


def test_findings_may_be_chosen_and_separated_otherwise(csv):
    data = csv(FINDINGS.replace("|", ";"), findings="Finding Labels", separator=";", labels="Mass,No Finding")
    assert data.labels == ("Mass", "No Finding")
    np.testing.assert_array_equal(data.targets, [[1, 0], [0, 1], [np.nan, np.nan], [0, 0]])
    assert "left out is Edema" in said(data)


@pytest.mark.parametrize(
    ("content", "options", "error", "message"),
    [
        (FINDINGS, {"findings": "Finding"}, DataError, "no column 'Finding': did you mean 'Finding Labels'"),
        (FINDINGS, {"labels": "Oedema"}, DataError, "no image has the label 'Oedema': did you mean 'Edema'"),
        (FINDINGS, {"uncertain": "ones"}, UsageError, "uncertain means nothing with findings"),
        (FINDINGS, {"separator": ""}, UsageError, "separator must be"),
        (FINDINGS.replace("Mass|", "No Finding|"), {}, DataError, r"line 2, .*'No Finding\|Edema' says both"),
        (FINDINGS.replace("Mass|Edema", "").replace("Edema", ""), {}, DataError, "no image has a finding"),
    ],
)
def test_findings_that_cannot_be_read_are_refused_with_the_way_out(csv, content, options, error, message):
    with pytest.raises(error, match=message):
        csv(content, **{"findings": "Finding Labels"} | options)


def test_the_table_of_nih_becomes_its_labels(registry, sample):
    options = {"file": "Data_Entry_2017_v2020.csv", "findings": "Finding Labels"}
    data = load_disjoint(find_source(registry.offer("dataset", "csv"), options, sample))
    assert len(data.labels) == 14
    assert int(np.nansum(data.targets[:, data.labels.index("Hernia")])) == 227
    assert data.table["patient"].nunique() == 30_805
    assert re.search("the view is read from the column 'View Position'", said(data))


# --- studies ---------------------------------------------------------------------------------------------------------

STUDIES = (
    "Path,patient,study,Edema\n"
    "p1/study1/a.png,p1,s1,1\np1/study1/b.png,p1,s1,0\np1/study2/a.png,p1,s2,0\np2/study1/a.png,p2,s3,1\n"
)


@pytest.mark.parametrize(
    ("options", "studies"),
    [
        ({}, ["s1", "s1", "s2", "s3"]),
        ({"study": "study"}, ["s1", "s1", "s2", "s3"]),
        (
            {"study": "Path:(.*)/", "image": "Path", "labels": "Edema"},
            ["p1/study1", "p1/study1", "p1/study2", "p2/study1"],
        ),
    ],
)
def test_a_study_is_named_by_its_column_or_a_part_of_another(csv, options, studies):
    data = csv(STUDIES, **options)
    assert data.labels == ("Edema",)
    assert data.studies is not None
    assert data.studies.tolist() == studies
    assert data.select(np.array([False, True, True, False])).studies.tolist() == studies[1:3]
    assert csv(STUDIES, study="", image="Path", labels="Edema").studies is None
    assert csv("image,patient,Edema\na.png,p1,1\n").studies is None


@pytest.mark.parametrize(
    ("content", "options", "error", "message"),
    [
        (
            STUDIES,
            {"study": "studies", "image": "Path"},
            UsageError,
            "study: there is no column 'studies': did you mean 'study'",
        ),
        (
            STUDIES.replace("p1,s2", "p1,"),
            {},
            DataError,
            "line 4, column 'study': blank, but every image needs a study",
        ),
        (
            STUDIES,
            {"study": r"Path:(p1/study\d)", "image": "Path"},
            DataError,
            r"line 5, column 'Path': '.p1/.*' finds no study in it",
        ),
        (
            STUDIES,
            {"study": r"Path:(study\d)", "image": "Path"},
            DataError,
            r"'study1' is one of the patients 'p1' and 'p2'; let its name hold .* --option 'study=Path:\(\.\*\)/'",
        ),
    ],
)
def test_studies_that_cannot_be_told_are_refused_with_the_way_out(csv, content, options, error, message):
    with pytest.raises(error, match=message):
        csv(content, **options)
