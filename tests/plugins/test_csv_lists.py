"""A line of a list means the image that its author meant, or none."""

from __future__ import annotations

import pytest
from harness.plugins.csv_table.lists import find_images

from harness.data.splits import leaks

IMAGES = ["a/p1/1.png", "a/p1/2.png", "b/p2/1.png", "3.png", "c/my image.png", "d/3.png"]


@pytest.mark.parametrize(
    ("line", "image"),
    [
        ("a/p1/1.png", "a/p1/1.png"),
        ("p1/1.png", "a/p1/1.png"),
        ("2.png", "a/p1/2.png"),
        ("p2\\1.png", "b/p2/1.png"),
        ("/data/mine/b/p2/1.png", "b/p2/1.png"),
        ("2.png 0 1 0", "a/p1/2.png"),
        ("p1/2.png;Edema", "a/p1/2.png"),
        ("2.png,1", "a/p1/2.png"),
        ("my image.png", "c/my image.png"),
        ("3.png", "3.png"),
        ("d/3.png", "d/3.png"),
        ("other/3.png", "3.png"),
        ("1.png", ""),  # of p1 or of p2
        ("p9/2.png", ""),  # of another patient
        ("image.png", ""),
        ("p1/", ""),
        ("png", ""),
    ],
)
def test_a_line_means_the_image_whose_path_agrees_with_it(line, image):
    assert find_images([line], IMAGES) == [image]


def test_published_lists_whose_lines_go_on_with_labels_divide_a_table(registry, tmp_path):
    rows = [f"images/{number:04}_000.png,{number},{number % 2}" for number in range(30)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,patient,Edema", *rows]))
    for name, numbers in (("train", range(20)), ("val", range(20, 25)), ("test", range(25, 30))):
        (tmp_path / f"{name}.txt").write_text("".join(f"{number:04}_000.png 0 1 0\n" for number in numbers))
    data = registry.dataset("csv").load(tmp_path, split="train=train.txt,val=val.txt,test=test.txt")
    assert data.table["split"].tolist() == ["train"] * 20 + ["val"] * 5 + ["test"] * 5
    assert leaks(data.table) == []
