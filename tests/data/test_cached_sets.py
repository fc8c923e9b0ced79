"""`harness data clean` says what each set of decoded images takes, and removes those that nobody uses."""

from __future__ import annotations

import errno
import fcntl
import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.data import cached_sets
from harness.data.cached_sets import RECENT, USED, list_sets, remove_set


def prepare_toy(harness, *sizes: int) -> None:
    for size in sizes:
        assert harness("data", "prepare", "toy", "--load-size", str(size))[0] == 0
    gc.collect()


def age(folder: Path, seconds: float) -> None:
    stat = (folder / USED).stat()
    os.utime(folder / USED, (stat.st_atime, stat.st_mtime - seconds))


def find(cache: Path, size: int) -> Path:
    (folder,) = cache.glob(f"toy-{size}px-*")
    return folder


def test_sets_are_listed_with_size_and_time_and_removed_without_asking_only_by_yes(harness, tmp_path):
    cache = tmp_path / "cache"
    prepare_toy(harness, 16, 32)
    (cache / "notes").mkdir()
    (cache / "notes" / "mine.txt").write_text("mine")
    age(find(cache, 16), 3 * 3600)
    document = json.loads(harness("data", "clean", "--json")[1])
    first, second = document["sets"]
    assert first["name"].startswith("toy-16px-")
    assert first["bytes"] > 48 * 16 * 16
    assert first["unused_s"] >= 3 * 3600 > second["unused_s"]
    assert not any(one["in_use"] or one["removed"] for one in document["sets"])
    assert find(cache, 16).is_dir()
    code, out, _ = harness("data", "clean", "--yes")
    assert code == 0
    assert "unused for 3.0 h" in out
    assert [path.name for path in cache.iterdir()] == ["notes"]
    assert "no decoded images are in" in harness("data", "clean")[1]


def test_each_set_is_asked_for(harness, tmp_path, monkeypatch):
    prepare_toy(harness, 16, 32)
    age(find(tmp_path / "cache", 16), 60)
    answers = iter([False, True])
    monkeypatch.setattr("typer.confirm", lambda question: next(answers))
    assert harness("data", "clean")[0] == 0
    (left,) = (tmp_path / "cache").iterdir()
    assert left.name.startswith("toy-16px-")


def test_what_another_process_uses_stays_and_can_go_when_it_has_ended(harness, tmp_path):
    prepare_toy(harness, 16)
    code = (
        "import sys; from pathlib import Path; from harness.data.loading import find_source, load\n"
        "from harness.data.prepare import prepare; from harness.registry import load_registry\n"
        f"source = find_source(load_registry([Path({os.environ['HARNESS_PLUGIN']!r})]).offer('dataset', 'toy'), {{}}, "
        f"Path('data'))\nimages = prepare(source, load(source), 16, Path({str(tmp_path / 'cache')!r})).images[3:]\n"
        "print('ready', flush=True); sys.stdin.read(); print(int(images.sum()))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        code_, out, _ = harness("data", "clean", "--yes")
        assert (code_, "in use" in out, "meanwhile" in out) == (0, True, False)
        (one,) = list_sets(tmp_path / "cache")
        assert one.in_use
        assert not remove_set(one)
        process.communicate("")
    assert process.returncode == 0
    (one,) = list_sets(tmp_path / "cache")
    assert not one.in_use
    assert remove_set(one)
    assert not one.path.exists()


def test_a_set_is_in_use_as_long_as_any_view_of_its_pixels(desk):
    view = desk.prepare().images[2:4, 1:]
    gc.collect()
    (one,) = list_sets(desk.folder / "cache")
    assert one.in_use
    del view
    gc.collect()
    (one,) = list_sets(desk.folder / "cache")
    assert not one.in_use


def test_each_use_of_a_set_is_remembered(desk):
    desk.prepare()
    age(desk.find(USED).parent, 3600)
    assert list_sets(desk.folder / "cache")[0].unused >= 3600
    desk.prepare()
    assert list_sets(desk.folder / "cache")[0].unused < 3600


def test_a_set_that_was_removed_is_decoded_again(desk):
    expected = np.array(desk.prepare().images)
    gc.collect()
    (one,) = list_sets(desk.folder / "cache")
    assert remove_set(one)
    np.testing.assert_array_equal(desk.prepare().images, expected)
    assert len(desk.decoded) == 12


@pytest.mark.parametrize(("ago", "in_use"), [(RECENT / 2, True), (2 * RECENT, False)])
def test_on_a_disk_without_locks_what_was_opened_within_a_day_stays(desk, monkeypatch, ago, in_use):
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    desk.prepare()
    age(desk.find(USED).parent, ago)
    (one,) = list_sets(desk.folder / "cache")
    assert (one.in_use, remove_set(one)) == (in_use, not in_use)


def test_a_folder_that_is_removed_while_its_lock_is_waited_for_is_made_anew(tmp_path, monkeypatch):
    folder, original = tmp_path / "some-8px-0123456789abcdef", fcntl.flock
    removed: list[None] = []

    def remove_first(handle: int, operation: int) -> None:
        if not removed:
            removed.append((folder / USED).unlink())
        original(handle, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with cached_sets.using(folder) as handles:
        (handle,) = handles
        assert os.path.samestat(os.fstat(handle), (folder / USED).stat())
