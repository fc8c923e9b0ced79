"""The reports of Indiana University become a dataset: terms, views from two files, what is left out."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from harness import DataError, UnknownNameError
from tests.plugins.public_tables import copy_public_table

REPORTS, METADATA = "NLMCXR_reports.tgz", "nlmcxr_dicom_metadata.csv"
Reports = dict[str, tuple[list[str], list[str]]]
"""By the id of a report its terms and its images."""
THREE: Reports = {
    "CXR1": (["normal"], ["CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001"]),
    "CXR2": (["Cardiomegaly/mild", "Nodule/lung/left"], ["CXR2_IM-0652-1001"]),
    "CXR10": (["Thickening/pleura/apex", "Hydropneumothorax/right", "Nodule/breast"], ["CXR10_IM-0002-1001"]),
}
SIDES = {
    "CXR1_1_IM-0001-3001": "Lateral",
    "CXR1_1_IM-0001-4001": "Frontal",
    "CXR2_IM-0652-1001": "Frontal",
    "CXR10_IM-0002-1001": "Frontal",
}


def make_report(report: str, terms: list[str], images: list[str]) -> str:
    majors = "".join(f"<major>{term}</major>" for term in terms)
    parents = "".join(f'<parentImage id="{image}"><caption>PA and lateral</caption></parentImage>' for image in images)
    return f'<?xml version="1.0"?><eCitation><uId id="{report}"/><MeSH>{majors}</MeSH>{parents}</eCitation>'


def write_reports(root: Path, reports: Reports) -> None:
    """The archive of reports as Open-i publishes it."""
    with tarfile.open(root / REPORTS, "w:gz") as archive:
        for name, (terms, images) in reports.items():
            content = make_report(name, terms, images).encode()
            member = tarfile.TarInfo(f"ecgen-radiology/{name.removeprefix('CXR')}.xml")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_views(root: Path, sides: dict[str, str]) -> None:
    """The file that tells images from the side from the others, with names as its publisher gives them."""
    names = {image: image.removeprefix("CXR").replace("1_1_IM", "1_IM") for image in sides}
    lines = [f"{names[image].partition('_')[0]},{names[image]}.dcm.png,{side}" for image, side in sides.items()]
    (root / "indiana_projections.csv").write_text("\n".join(["uid,filename,projection", *lines]))


def write_metadata(root: Path, directions: dict[str, str]) -> None:
    lines = [f"""{image},"['L', 'F']",{direction}""" for image, direction in directions.items()]
    (root / METADATA).write_text("\n".join(["imageid,Patient Orientation,View Position", *lines]))


@pytest.fixture
def openi(registry):
    return registry.dataset("openi")


@pytest.fixture
def folder(tmp_path):
    """Three reports with four images, one from the side."""
    write_reports(tmp_path, THREE)
    write_views(tmp_path, SIDES)
    return tmp_path


def list_present(data, row: int) -> list[str]:
    return [label for label, target in zip(data.labels, data.targets[row], strict=True) if target == 1]


# --- labels ----------------------------------------------------------------------------------------------------------


def test_the_findings_of_chestxray14_are_made_of_the_reports_terms(openi, folder):
    data = openi.load(folder)
    assert data.table["image"].tolist() == ["CXR1_1_IM-0001-4001", "CXR2_IM-0652-1001", "CXR10_IM-0002-1001"]
    assert [list_present(data, row) for row in range(3)] == [
        [],
        ["Cardiomegaly", "Nodule"],
        ["Effusion", "Pleural_Thickening", "Pneumothorax"],
    ]
    assert np.isin(data.targets, (0, 1)).all()


def test_terms_and_finer_terms_can_be_asked_for(openi, folder):
    assert openi.load(folder, labels="all", fewest=2).labels == ("Nodule",)
    data = openi.load(folder, labels=["Nodule/breast", "normal"])
    assert data.targets.tolist() == [[0, 1], [0, 0], [1, 0]]
    with pytest.raises(UnknownNameError, match="unknown label of openi 'Nodule/brain': did you mean"):
        openi.load(folder, labels="Nodule/brain")


def test_reports_that_nobody_indexed_are_left_out_and_counted(openi, folder):
    reports = {"CXR3": (["No Indexing"], ["CXR3_IM-1-1"]), "CXR4": (["No Indexing", "Mass/lung"], ["CXR4_IM-1-1"])}
    write_reports(folder, THREE | reports)
    data = openi.load(folder, views="all")
    assert data.table["patient"].tolist() == ["CXR1", "CXR1", "CXR2", "CXR4", "CXR10"]
    assert data.notes["left out"] == "1 of 6 images, whose report has no term that tells a finding"


def test_an_unpacked_archive_gives_the_same(openi, folder):
    packed = openi.load(folder)
    with tarfile.open(folder / REPORTS) as archive:
        archive.extractall(folder, filter="data")
    (folder / REPORTS).unlink()
    unpacked = openi.load(folder)
    assert unpacked.table.equals(packed.table)
    np.testing.assert_array_equal(unpacked.targets, packed.targets)
    assert unpacked.notes["label_file"] == packed.notes["label_file"].replace(REPORTS, "ecgen-radiology")


def test_a_report_is_a_study_and_a_patient(openi, folder):
    table = openi.load(folder, views="all").table
    assert table["patient"].tolist() == ["CXR1", "CXR1", "CXR2", "CXR10"]
    assert (table["study"] == table["patient"]).all()
    assert table.groupby("patient")["split"].nunique().max() == 1


# --- views -----------------------------------------------------------------------------------------------------------


def test_images_from_the_side_are_left_out_by_whichever_name_the_file_has_for_them(openi, folder):
    assert openi.load(folder).notes["views"] == "1 of 4 images, of other views, are left out: L 1"
    assert openi.load(folder, views="L").table["image"].tolist() == ["CXR1_1_IM-0001-3001"]


def test_the_metadata_tell_directions_and_the_projections_which_images_are_of_the_side(openi, folder):
    directions = {"CXR1_IM-0001-3001": "PA", "CXR1_IM-0001-4001": "AP", "CXR2_IM-0652-1001": "LL"}
    write_metadata(folder, directions)
    data = openi.load(folder, views="all")
    assert data.table["view"].tolist() == ["L", "AP", "frontal", "frontal"]
    assert data.notes["view file"] == f"indiana_projections.csv and {METADATA}"


def test_without_projections_the_metadata_are_believed_and_a_note_says_so(openi, folder):
    (folder / "indiana_projections.csv").unlink()
    images = [image for _, images in THREE.values() for image in images]
    write_metadata(folder, dict(zip(images, ("LATERAL", "PA", "RL", ""), strict=True)))
    data = openi.load(folder, views="all")
    assert data.table["view"].tolist() == ["L", "PA", "L", None]
    assert data.notes["view file"] == f"{METADATA}, which calls some images from the side PA"


def test_where_nothing_tells_views_all_images_have_to_be_asked_for(openi, folder):
    (folder / "indiana_projections.csv").unlink()
    with pytest.raises(DataError, match=f"neither indiana_projections.csv nor {METADATA}.*--option views=all"):
        openi.load(folder)
    assert len(openi.load(folder, views="all").table) == 4


# --- images ----------------------------------------------------------------------------------------------------------


def test_images_are_found_under_the_names_of_each_publisher(openi, folder):
    places = [
        "NLMCXR_dcm/1/1_IM-0001-3001.dcm",
        "images/images_normalized/1_IM-0001-4001.dcm.png",
        "NLMCXR_png/CXR2_IM-0652-1001.png",
    ]
    for place in places:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).touch()
    images = openi.load(folder, views="all").images
    assert list(images) == [folder / place for place in [*places, "NLMCXR_png/CXR10_IM-0002-1001.png"]]


# --- errors ----------------------------------------------------------------------------------------------------------


def test_a_folder_without_reports_says_where_to_get_them(openi, tmp_path):
    with pytest.raises(DataError, match=r"openi: the folder .* has no NLMCXR_reports.tgz.*openi.nlm.nih.gov.*BY-NC-ND"):
        openi.load(tmp_path)


def test_a_damaged_archive_is_named(openi, tmp_path):
    (tmp_path / REPORTS).write_bytes(b"\x1f\x8b and nothing more")
    with pytest.raises(DataError, match=r"NLMCXR_reports.tgz is damaged .*get it again"):
        openi.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<eCitation>", "1.xml: no whole XML file"),
        (make_report("", ["normal"], ["i"]), "1.xml: no report of the collection"),
        (make_report("CXR1", [], ["i"]), "1.xml: no report of the collection"),
        (make_report("CXR1", ["normal"], [""]), "1.xml: no report of the collection"),
        (make_report("CXR1", ["normal"], []), "holds no report with an image"),
        (make_report("CXR1", ["normal"], ["i", "i"]), "the image 'i' is of the reports CXR1 and CXR1"),
    ],
)
def test_a_report_that_cannot_be_used_is_named(openi, tmp_path, content, message):
    (tmp_path / "ecgen-radiology").mkdir()
    (tmp_path / "ecgen-radiology" / "1.xml").write_text(content)
    with pytest.raises(DataError, match=message):
        openi.load(tmp_path, views="all")


def test_files_of_views_that_are_others_are_refused(openi, folder):
    write_views(folder, SIDES | {"CXR2_IM-0652-1001": "Oblique"})
    with pytest.raises(DataError, match="projection must be Frontal or Lateral, got 'Oblique'"):
        openi.load(folder)
    (folder / "indiana_projections.csv").write_text("uid,filename\n1,a.png\n")
    with pytest.raises(DataError, match="has no column 'projection'"):
        openi.load(folder)


# --- the real reports, and a run -------------------------------------------------------------------------------------


def test_the_real_reports_give_their_known_counts(openi, tmp_path):
    copy_public_table(REPORTS, tmp_path)
    copy_public_table(f"{METADATA}.gz", tmp_path)
    data = openi.load(tmp_path, views="all")
    assert data.notes["label_file"] == f"{REPORTS}, sha256 b6718b24175d"
    assert data.notes["left out"] == "186 of 7,470 images, whose report has no term that tells a finding"
    assert data.table["patient"].nunique() == 3753
    assert data.table["view"].fillna("unknown").value_counts().to_dict() == {
        "PA": 3470,
        "unknown": 2558,
        "L": 841,
        "AP": 415,
    }
    of_reports = data.targets[~data.table["patient"].duplicated().to_numpy()].sum(axis=0).astype(int)
    counts = dict(zip(data.labels, of_reports.tolist(), strict=True))
    assert counts["Cardiomegaly"] == 345
    assert counts["Atelectasis"] == 315
    assert counts["Pneumonia"] == 40
    assert counts["Nodule"] == 95


def write_dicom(path: Path, pixels: np.ndarray) -> None:
    """A file of a radiograph with 12 bits, whose header calls it PA."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Rows, file.Columns = pixels.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME1"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
    file.ViewPosition = "PA"
    file.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)


@pytest.mark.slow
def test_a_tree_of_dicom_files_becomes_a_page_of_two_rows(harness, tmp_path):
    root = tmp_path / "iu"
    root.mkdir()
    images = [f"CXR{number}_IM-0001-1001" for number in range(60)]
    terms = [["Pneumonia/right", "Nodule/lung"] if number % 2 else ["normal"] for number in range(60)]
    write_reports(root, {f"CXR{number}": (terms[number], [images[number]]) for number in range(60)})
    write_views(root, dict.fromkeys(images, "Frontal"))
    generator = np.random.default_rng(0)
    for number in range(60):
        pixels = generator.integers(0, 4096, (40, 36), dtype=np.uint16)
        write_dicom(root / "NLMCXR_dcm" / str(number) / f"{number}_IM-0001-1001.dcm", pixels)
    names = ("--dataset", "openi", "--models", "tiny-cnn", "--losses", "bce,focal", "--recipes", "toy")
    options = ("--option", "labels=Nodule,Pneumonia", "--data-root", str(root), "--board", "b")
    code, out, err = harness("run", *names, *options)
    assert code == 0, out + err
    assert (tmp_path / "b" / "index.html").is_file()
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "b" / "records").glob("*.json"))]
    assert [record["status"] for record in records] == ["done", "done"]
    assert {record["combo"]["loss"] for record in records} == {"bce", "focal"}
