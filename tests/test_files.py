"""Files appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import leases
from harness.errors import UsageError
from harness.files import file_digest, sweep, write_atomically, write_folder


def test_a_file_is_written_with_its_folder(tmp_path):
    write_atomically(tmp_path / "a" / "b.txt", "text")
    assert (tmp_path / "a" / "b.txt").read_text() == "text"
    assert file_digest(tmp_path / "a" / "b.txt") == hashlib.sha256(b"text").hexdigest()


def test_a_failure_leaves_the_old_content_and_no_other_file(tmp_path):
    path = tmp_path / "kept.txt"
    write_atomically(path, b"old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write .*file/x"):
        write_atomically(tmp_path / "file" / "x", "")


def test_a_folder_appears_with_all_of_its_files_or_not_at_all(tmp_path):
    def fail(temporary: Path) -> None:
        raise RuntimeError

    folder = tmp_path / "new" / "folder"
    with pytest.raises(RuntimeError):
        write_folder(folder, {"a.txt": "a", "b.txt": fail})
    assert not folder.exists()
    write_folder(folder, {"a.txt": "a", "deep/b.txt": b"b"})
    assert list(folder.parent.iterdir()) == [folder]
    assert (folder / "deep" / "b.txt").read_bytes() == b"b"


@pytest.mark.parametrize("name", ["folder", "."])
def test_a_folder_that_is_there_keeps_its_other_files_and_its_old_ones_where_writing_fails(tmp_path, monkeypatch, name):
    def fail(temporary: Path) -> None:
        raise RuntimeError

    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder" if name == "." else tmp_path)
    Path(name, "other.txt").write_text("other")
    write_folder(Path(name), {"a.txt": "old", "deep/b.txt": "old"})
    with pytest.raises(RuntimeError):
        write_folder(Path(name), {"a.txt": "new", "c.txt": fail})
    assert Path(name, "a.txt").read_text() == "old"
    write_folder(Path(name), {"a.txt": "new", "deep/c.txt": "new"})
    found = {str(one.relative_to(name)): one.read_text() for one in Path(name).rglob("*") if one.is_file()}
    assert found == {"a.txt": "new", "deep/b.txt": "old", "deep/c.txt": "new", "other.txt": "other"}
    assert {one.name for one in Path(name).iterdir()} == {"a.txt", "deep", "other.txt"}


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(UsageError, match=rf"cannot write {folder}: Not a directory"):
            write_folder(folder, {"a.txt": ""})
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


# --- what is left over -----------------------------------------------------------------------------------------------

BEGIN = """
import sys, time
from pathlib import Path
from harness.files import write_atomically
def write(path):
    path.write_text("half")
    print("begun", flush=True)
    input()
write_atomically(Path(sys.argv[1]), write)
"""


@pytest.fixture
def writer(tmp_path):
    """A process that is writing a file, and the temporary one that it writes."""
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN, str(tmp_path / "x.json")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    (temporary,) = tmp_path.iterdir()
    yield process, temporary
    process.kill()
    process.communicate()


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_what_a_process_of_this_machine_writes_stays_while_it_lives_and_goes_when_it_is_dead(tmp_path, writer):
    process, temporary = writer
    assert sweep([tmp_path]) == []
    age(temporary, 1e6)
    assert sweep([tmp_path]) == []
    age(temporary, -5)
    process.kill()
    process.communicate()
    assert sweep([tmp_path]) == [temporary]
    assert list(tmp_path.iterdir()) == []


def test_what_another_machine_writes_stays_for_a_day(tmp_path, writer, monkeypatch):
    _, temporary = writer
    monkeypatch.setattr(leases, "identify_machine", lambda: "another")
    for seconds in (2, 3600, 23 * 3600):
        age(temporary, seconds)
        assert sweep([tmp_path]) == []
    age(temporary, 25 * 3600)
    assert sweep([tmp_path]) == [temporary]


@pytest.mark.parametrize("name", [".tmp-x", ".tmp-abc123-x.json", ".tmp-unknown-1-ab-x", f".tmp-{'0' * 16}-{2**70}-x"])
def test_what_names_no_writer_stays_for_a_day(tmp_path, name):
    left = tmp_path / name
    left.write_text("half")
    age(left, 23 * 3600)
    assert sweep([tmp_path]) == []
    age(left, 25 * 3600)
    assert sweep([tmp_path]) == [left]


def test_where_the_machine_cannot_be_told_nothing_is_swept_that_may_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.files.identify_machine", lambda: None)

    def write(path: Path) -> None:
        path.write_text("whole")
        assert sweep([tmp_path]) == []

    write_atomically(tmp_path / "x", write)
    assert (tmp_path / "x").read_text() == "whole"


def test_a_name_may_be_as_long_as_names_can_be(tmp_path):
    path = tmp_path / f"{'ä' * 125}.json"
    write_atomically(path, "text")
    assert path.read_text() == "text"
