"""Boxes in shares of the whole image, and as pixels of a frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from harness.components import Data
from harness.data.boxes import explain_no_boxes, find_boxes
from harness.errors import DataError

BOX = ["image", "label", "x", "y", "width", "height"]


def make_data(boxes, images=None, shape=(20, 40)):
    """Three images of 40 x 20 pixels, width times height, and two labels."""
    table = pd.DataFrame({"image": ["a", "b", "c"], "patient": ["p", "q", "r"], "split": ["train", "val", "test"]})
    return Data(
        labels=("one", "two"),
        images=np.zeros((3, *shape), dtype=np.uint8) if images is None else images,
        targets=np.ones((3, 2), dtype=np.float32),
        table=table,
        boxes=pd.DataFrame(boxes, columns=BOX),
    )


def test_a_box_of_an_image_that_was_squashed_keeps_its_share_of_each_side():
    boxes = find_boxes(make_data([("b", "two", 10, 5, 20, 10)]))
    assert (boxes.row.tolist(), boxes.label.tolist()) == ([1], [1])
    np.testing.assert_allclose(boxes.corners, [[0.25, 0.25, 0.75, 0.75]])
    mask = boxes.mask(0, 8)
    expected = np.zeros((8, 8), dtype=bool)
    expected[2:6, 2:6] = True
    np.testing.assert_array_equal(mask, expected)


def test_boxes_of_one_image_and_label_are_one_pair_and_others_are_their_own():
    rows = [
        ("c", "one", 0, 0, 10, 10),
        ("a", "two", 0, 0, 40, 20),
        ("c", "one", 30, 10, 10, 10),
        ("c", "two", 0, 0, 1, 1),
    ]
    boxes = find_boxes(make_data(rows))
    assert list(zip(boxes.row.tolist(), boxes.label.tolist(), strict=True)) == [(0, 1), (2, 0), (2, 1)]
    assert boxes.mask(1, 4).astype(int).tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    only = boxes.select(np.array([False, True, False]))
    np.testing.assert_array_equal(only.mask(0, 4), boxes.mask(1, 4))


def test_a_box_smaller_than_a_pixel_of_the_frame_is_the_pixel_it_lies_in():
    boxes = find_boxes(make_data([("a", "one", 21, 11, 1, 1), ("b", "one", 39.9, 19.9, 0.1, 0.1)]))
    assert np.argwhere(boxes.mask(0, 4)).tolist() == [[2, 2]]
    assert np.argwhere(boxes.mask(1, 4)).tolist() == [[3, 3]]


def test_a_box_over_the_edge_is_cut_there():
    boxes = find_boxes(make_data([("a", "one", -4, 16, 8, 8)]))
    np.testing.assert_allclose(boxes.corners, [[0, 0.8, 0.1, 1]])


def test_boxes_of_strange_images_and_labels_are_left_out():
    assert not len(find_boxes(make_data([("z", "one", 0, 0, 1, 1), ("a", "three", 0, 0, 1, 1)])))


def test_the_size_of_an_image_file_is_read_from_its_header(tmp_path):
    for name, size in {"a": (40, 20), "b": (100, 50), "c": (10, 10)}.items():
        Image.new("L", size).save(tmp_path / f"{name}.png")
    data = make_data([("b", "one", 25, 25, 50, 25)], [tmp_path / f"{name}.png" for name in "abc"])
    np.testing.assert_allclose(find_boxes(data).corners, [[0.25, 0.5, 0.75, 1]])


def test_a_file_without_a_header_cannot_place_its_boxes(tmp_path):
    (tmp_path / "a.raw").write_bytes(b"pixels")
    data = make_data([("a", "one", 0, 0, 1, 1)], [tmp_path / "a.raw"] * 3)
    with pytest.raises(DataError, match="'a' has boxes, and its file does not say how large it is"):
        find_boxes(data)


def test_images_that_render_on_demand_are_measured():
    class Rendered:
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return np.zeros((20, 40 * (index + 1)), dtype=np.uint8)

    boxes = find_boxes(make_data([("b", "one", 0, 0, 40, 20)], Rendered()))
    np.testing.assert_allclose(boxes.corners, [[0, 0, 0.5, 1]])


def test_it_is_said_why_heat_maps_cannot_be_measured():
    data = make_data([("c", "one", 0, 0, 1, 1)])
    assert explain_no_boxes(data) is None
    assert explain_no_boxes(make_data([("a", "one", 0, 0, 1, 1)])) == "no image of the test split has boxes"
    assert explain_no_boxes(replace(data, boxes=None)) == "the dataset has no boxes"
