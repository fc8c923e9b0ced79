"""Files of public datasets are found where those who publish them lay them."""

from __future__ import annotations

from harness import locate_images


def test_an_image_is_found_by_the_first_suffix_that_is_there_and_expected_by_the_first_of_all(tmp_path):
    for name in ("a.png", "b.dcm", "b.png", "c.d.png"):
        (tmp_path / name).touch()
    found = locate_images(tmp_path, ["a", "b", "c.d", "e"], (".dcm", ".png"))
    assert [path.name for path in found] == ["a.png", "b.dcm", "c.d.png", "e.dcm"]
    assert {path.parent for path in found} == {tmp_path}


def test_images_of_a_folder_that_is_not_there_are_expected_in_it(tmp_path):
    assert locate_images(tmp_path / "no", ["a"], (".dcm",)) == [tmp_path / "no" / "a.dcm"]
