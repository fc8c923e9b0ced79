"""Image files are listed by name, and become paths when they are asked for."""

from __future__ import annotations

from pathlib import Path

from harness import ImageFiles, list_files


def test_files_are_found_by_name_and_those_of_a_later_folder_win(tmp_path):
    for place in ("one/a.png", "one/b.png", "two/b.png", "two/deeper/c.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    found = list_files([tmp_path / "one", tmp_path / "nowhere", tmp_path / "two"])
    assert found["a.png"] == str(tmp_path / "one" / "a.png")
    assert found["b.png"] == str(tmp_path / "two" / "b.png")
    assert "c.png" not in found


def test_paths_are_a_sequence():
    files = ImageFiles(["a", "b", "c"])
    assert len(files) == 3
    assert files[1] == Path("b")
    assert list(files[1:]) == [Path("b"), Path("c")]
    assert Path("c") in files
