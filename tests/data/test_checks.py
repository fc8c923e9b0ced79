"""What `harness data check` finds."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from harness import Data, DataError, Dataset
from harness.cli.tables import print_findings
from harness.data.checks import check
from harness.data.loading import Source
from harness.data.prepare import prepare

COLUMNS = ["image", "label", "x", "y", "width", "height"]


def run_checks(data, tmp_path):
    dataset = Dataset(name="some", load=lambda root: data)
    source = Source(dataset=dataset, code="", options={}, root=tmp_path, allow_missing=True, unreadable_limit=1.0)
    return {finding.name: finding for finding in check(data, prepare(source, data, 16, tmp_path / "cache"))}


def with_boxes(data, *boxes):
    return dataclasses.replace(data, boxes=pd.DataFrame(boxes, columns=COLUMNS))


@pytest.fixture
def small_files(small_data, tmp_path):
    """The small data as PNG files of 20 x 10 px."""
    paths = [tmp_path / f"{name}.png" for name in small_data.table["image"]]
    for path, pixels in zip(paths, small_data.images, strict=True):
        Image.fromarray(pixels).resize((20, 10)).save(path)
    return dataclasses.replace(small_data, images=paths)


def test_a_sound_dataset_passes_every_check(small_data, tmp_path):
    findings = run_checks(small_data, tmp_path)
    assert all(finding.ok for finding in findings.values()), findings
    assert len(findings) == 15


def test_patients_of_two_splits_who_are_written_differently_are_found(small_data, tmp_path):
    small_data.table["patient"] = small_data.table["patient"].where(small_data.table["split"] != "test", "P0.png")
    finding = run_checks(small_data, tmp_path)["patients told apart"]
    assert (finding.ok, finding.examples) == (False, ("'P0.png' (test) and 'p0' (train)",))


def test_images_in_several_rows_are_counted_beside_everything_else(small_data, tmp_path):
    repeated = tuple(f"'{number}.png' in lines 2 and 3" for number in range(7))
    findings = run_checks(dataclasses.replace(small_data, repeated=repeated), tmp_path)
    finding = findings.pop("images in one row")
    assert (finding.ok, finding.examples) == (False, repeated)
    assert finding.message.startswith("7 images in more than one row of the label file")
    assert all(other.ok for other in findings.values())


def test_a_dataset_with_images_twice_in_its_table_says_how_many(small_data):
    table = small_data.table.assign(image=["a", "a", "b", "b", "b", *small_data.table["image"][5:]])
    with pytest.raises(DataError, match="image 'a' stands in the dataset more than once; so it is with 1 more"):
        dataclasses.replace(small_data, table=table)
    table.loc[2:4, "image"] = ["b", "c", "d"]
    with pytest.raises(DataError, match=r"image 'a' stands in the dataset more than once$"):
        dataclasses.replace(small_data, table=table)


def test_a_patient_in_two_splits_is_found(small_data, tmp_path):
    test_row = np.flatnonzero(small_data.table["split"] == "test")[0]
    small_data.table.loc[test_row, "patient"] = "p0"
    finding = run_checks(small_data, tmp_path)["patients in one split"]
    assert (finding.ok, finding.examples) == (False, ("p0",))


def test_the_same_pixels_in_two_splits_are_found_and_within_one_split_are_not(small_data, tmp_path):
    split = small_data.table["split"]
    test_row = np.flatnonzero(split == "test")[0]
    images = small_data.images.copy()
    images[1] = images[0]
    assert split[0] == split[1]
    assert run_checks(dataclasses.replace(small_data, images=images), tmp_path)["images in one split"].ok
    images[test_row] = images[0]
    finding = run_checks(dataclasses.replace(small_data, images=images.copy()), tmp_path / "again")[
        "images in one split"
    ]
    assert finding.examples == (f"i000 (train) = {small_data.table['image'][test_row]} (test)",)


@pytest.mark.parametrize(("value", "what"), [(0, "positives"), (1, "negatives"), (np.nan, "positives")])
def test_a_label_without_a_class_in_test_is_found(small_data, tmp_path, value, what):
    targets = small_data.targets.copy()
    targets[small_data.table["split"] == "test", 1] = value
    finding = run_checks(dataclasses.replace(small_data, targets=targets), tmp_path)["labels measurable"]
    assert finding.examples[0] == f"second has no {what} in test"
    assert not finding.ok


def test_missing_and_damaged_files_are_named_with_their_number(small_files, tmp_path):
    small_files.images[3].unlink()
    small_files.images[5].write_bytes(b"no image")
    findings = run_checks(small_files, tmp_path)
    assert findings["files there"].message.startswith("1 image of 48 without a file")
    assert findings["files there"].examples == ("i003",)
    assert findings["files readable"].message.startswith("1 file that cannot be decoded")
    assert findings["files readable"].examples[0].startswith("i005: UnidentifiedImageError")


def test_boxes_within_the_files_own_size_pass_and_those_over_its_edge_are_found(small_files, tmp_path):
    image, label = first_positive(small_files)
    inside = with_boxes(small_files, (image, label, 0.0, 0.0, 20.0, 10.0))
    assert "of 1 the image's size is known" in run_checks(inside, tmp_path)["boxes"].message
    assert run_checks(inside, tmp_path)["boxes"].ok
    for box in ((1.0, 0.0, 20.0, 5.0), (0.0, 1.0, 5.0, 10.0), (-1.0, 0.0, 5.0, 5.0)):
        finding = run_checks(with_boxes(small_files, (image, label, *box)), tmp_path)["boxes"]
        assert finding.examples == (f"{image}: the box of {label} is over the edge",)


def test_boxes_are_compared_with_the_shape_of_an_array_of_images(small_data, tmp_path):
    image, label = first_positive(small_data)
    assert run_checks(with_boxes(small_data, (image, label, 0.0, 0.0, 16.0, 16.0)), tmp_path)["boxes"].ok
    assert not run_checks(with_boxes(small_data, (image, label, 0.0, 0.0, 16.0, 17.0)), tmp_path)["boxes"].ok


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"image": "stranger"}, "is of an image that the dataset does not have"),
        ({"label": "stranger"}, "is of a label that the dataset does not have"),
        ({"width": 0.0}, "is empty"),
        ({"height": np.nan}, "is empty"),
    ],
)
def test_boxes_that_mean_nothing_are_found(small_data, tmp_path, change, problem):
    image, label = first_positive(small_data)
    box = {"image": image, "label": label, "x": 1.0, "y": 1.0, "width": 2.0, "height": 2.0} | change
    finding = run_checks(with_boxes(small_data, tuple(box.values())), tmp_path)["boxes"]
    assert finding.examples == (f"{box['image']}: the box of {box['label']} {problem}",)


def test_a_box_at_a_negative_label_is_found_and_at_an_unknown_one_is_not(small_data, tmp_path):
    box = ("i000", "first", 1.0, 1.0, 2.0, 2.0)
    for value, ok in ((0, False), (np.nan, True), (1, True)):
        targets = small_data.targets.copy()
        targets[0, 0] = value
        data = with_boxes(dataclasses.replace(small_data, targets=targets), box)
        assert run_checks(data, tmp_path)["boxes"].ok is ok


def test_the_label_file_is_told_and_findings_are_plain_data(small_data, tmp_path, capsys):
    findings = run_checks(dataclasses.replace(small_data, notes={"label_file": "some.csv, [old]"}), tmp_path)
    assert findings["label file"].message == "some.csv, [old]"
    plain = json.loads(json.dumps([finding.as_plain() for finding in findings.values()]))
    assert [finding["name"] for finding in plain] == list(findings)
    print_findings(list(findings.values()))
    assert "some.csv, [old]" in capsys.readouterr().out


def first_positive(data: Data) -> tuple[str, str]:
    """An image and a label that it has."""
    row, column = (int(found[0]) for found in np.nonzero(data.targets == 1))
    return str(data.table["image"][row]), data.labels[column]
