"""Files are replaced together with the record that speaks of them: after a kill at any moment the two fit."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from harness.errors import StorageError
from harness.results.artifacts import discard, find_place, has_artifact, is_staged, read_artifact, settle, stage


def read(path: Path, digest: str | None) -> str | None:
    return read_artifact(path, digest, Path.read_text)


def test_both_contents_can_be_read_until_the_new_one_has_its_place(tmp_path):
    path = tmp_path / "a.b--s0.npz"
    old = stage(path, "old")
    assert read(path, old) == "old"
    settle(path, old)
    new = stage(path, b"new")
    assert (read(path, old), read(path, new), path.read_text()) == ("old", "new", "old")
    settle(path, new)
    assert (read(path, old), read(path, new), path.read_text()) == (None, "new", "new")
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_staged_for_another_record_goes_when_one_is_settled(tmp_path):
    path, other = tmp_path / "a--s1.npz", tmp_path / "a--s10.npz"
    stage(path, "killed")
    kept = stage(other, "another combo's")
    settle(path, digest := stage(path, "whole"))
    assert read(path, digest) == "whole"
    assert read(other, kept) == "another combo's"
    assert len(list(tmp_path.iterdir())) == 2
    settle(path, None)
    assert (path.exists(), has_artifact(path, digest), read(other, kept)) == (False, False, "another combo's")


def test_settling_twice_or_without_anything_staged_changes_nothing(tmp_path):
    path = tmp_path / "x.npz"
    settle(path, digest := stage(path, "once"))
    settle(path, digest)
    settle(tmp_path / "y.npz", digest)
    assert (path.read_text(), (tmp_path / "y.npz").exists()) == ("once", False)


def test_a_file_that_is_not_what_its_digest_says_is_as_if_it_were_not_there(tmp_path):
    path = tmp_path / "x.npz"
    settle(path, digest := stage(path, "right"))
    path.write_text("wrong")
    assert read(path, digest) is None
    assert read(path, None) is None
    path.unlink()
    path.mkdir()
    assert read(path, digest) is None


def test_what_cannot_be_written_leaves_the_old_content_and_nothing_else(tmp_path):
    path = tmp_path / "x.npz"
    settle(path, digest := stage(path, "old"))

    def fill_the_disk(temporary: Path) -> None:
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(StorageError, match="No space left on device"):
        stage(path, fill_the_disk)
    discard(path, stage(path, "new, but its record could not be written"))
    assert read(path, digest) == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_names_of_staged_files_lead_back_to_their_places(tmp_path):
    path = tmp_path / "resnet.50--s0.npz"
    stage(path, "x")
    (staged,) = tmp_path.iterdir()
    assert (is_staged(staged), is_staged(path), find_place(staged)) == (True, False, path)
