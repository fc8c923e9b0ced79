"""Decoded images are what was decoded: damage in the cache is noticed, and never trained on."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import Data, Dataset
from harness.data import cache as module
from harness.data import decoding
from harness.data import prepare as preparing
from harness.data.decoding import Picture
from harness.data.grey import GreyScale
from harness.data.loading import Source
from harness.data.prepare import Prepared
from harness.errors import StorageError
from harness.execution.events import Event, Noted
from harness.execution.planning import DataBySize, Settings


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


COUNT, SIZE = 12, 8  # the desk's
DAMAGES: dict[str, Callable[[Any], object]] = {
    "all pixels are zero": lambda desk: zero(desk.find(module.PIXELS)),
    "a bit of a pixel has flipped": lambda desk: flip(desk.find(module.PIXELS), 300),
    "pixels are missing at the end": lambda desk: os.truncate(desk.find(module.PIXELS), 100),
    "the pixels are gone": lambda desk: desk.find(module.PIXELS).unlink(),
    "a digest has changed": lambda desk: flip(desk.find(module.DIGESTS)),
    "the digests are gone": lambda desk: desk.find(module.DIGESTS).unlink(),
    "the manifest is empty": lambda desk: desk.find(module.MANIFEST).write_text(""),
    "the manifest is no manifest": lambda desk: desk.find(module.MANIFEST).write_text("[]"),
    "a bit of the manifest has flipped": lambda desk: flip(desk.find(module.MANIFEST), 60),
    "the manifest is zero": lambda desk: zero(desk.find(module.MANIFEST)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_images_are_decoded_again_which_is_said(desk, damage):
    expected = np.array(desk.prepare().images)
    DAMAGES[damage](desk)
    prepared = desk.prepare()
    np.testing.assert_array_equal(prepared.images, expected)
    assert len(desk.decoded) == COUNT
    assert len(desk.said) == 1
    assert "damaged" in desk.said[0]
    assert "decoded again" in desk.said[0]
    desk.prepare()
    assert (desk.decoded, desk.said) == ([], [])


def test_a_damaged_file_that_a_training_still_reads_is_replaced_and_not_cut_short(desk):
    desk.prepare()
    before = desk.find(module.PIXELS).open("rb")
    zero(desk.find(module.PIXELS))
    desk.prepare()
    assert os.fstat(before.fileno()).st_size == COUNT * SIZE * SIZE
    assert os.fstat(before.fileno()).st_ino != desk.find(module.PIXELS).stat().st_ino
    before.close()


def test_sound_images_are_read_again_after_a_boot_alone(desk, monkeypatch):
    desk.prepare()
    read: list[int] = []
    original = module.digest_image

    def digest(pixels: bytes) -> bytes:
        read.append(1)
        return original(pixels)

    monkeypatch.setattr(module, "digest_image", digest)
    desk.prepare()
    assert len(read) == 0
    monkeypatch.setattr(module, "identify_boot", lambda: "another")
    for reads in (COUNT, 0):
        desk.prepare()
        assert len(read) == reads
        assert not desk.said
        read.clear()


def test_what_cannot_be_remembered_is_checked_each_time(desk, monkeypatch):
    """A cache that somebody else has made, in a folder that cannot be written."""
    expected = np.array(desk.prepare().images)
    desk.find(module.CHECKED).unlink()

    def refuse(path: Path, content: object) -> None:
        raise StorageError("read-only")

    monkeypatch.setattr(module, "write_atomically", refuse)
    for _ in range(2):
        np.testing.assert_array_equal(desk.prepare().images, expected)
        assert (desk.decoded, desk.said) == ([], [])


@pytest.fixture
def hurried(monkeypatch):
    """Every cache is a large one, and there is no time."""
    monkeypatch.setattr(module, "SMALL", 0)
    monkeypatch.setattr(module, "SECONDS", 0.0)


@pytest.mark.parametrize("image", [0, COUNT - 1])
def test_the_first_and_the_last_image_of_a_large_cache_are_always_checked(desk, hurried, image):
    desk.prepare()
    flip(desk.find(module.PIXELS), image * SIZE * SIZE)
    desk.prepare()
    assert len(desk.said) == 1
    assert len(desk.decoded) == COUNT


def test_a_sample_takes_in_any_image_while_there_is_time(desk, hurried, monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 60.0)
    for image in range(COUNT):
        desk.prepare()
        flip(desk.find(module.PIXELS), image * SIZE * SIZE)
        desk.prepare()
        assert "1 of the 12" in desk.said[0]


def test_a_check_of_all_finds_what_a_sample_has_missed(desk, hurried):
    expected = np.array(desk.prepare().images)
    flip(desk.find(module.PIXELS), 5 * SIZE * SIZE)
    desk.prepare()
    assert not desk.said
    prepared = desk.prepare(check_all=True)
    assert len(desk.said) == 1
    np.testing.assert_array_equal(prepared.images, expected)


def test_data_check_reads_every_decoded_image(harness, hurried, tmp_path):
    command = ["data", "check", "toy", "--load-size", "16"]
    code, report, said = harness(*command)
    (path,) = (tmp_path / "cache").rglob(module.PIXELS)
    sound = path.read_bytes()
    assert "damaged" not in said
    flip(path, 5 * 16 * 16)
    again, found, said = harness(*command)
    assert (again, found) == (code, report)
    assert "damaged" in said
    assert path.read_bytes() == sound


def test_a_person_is_told_that_images_were_damaged(harness, tmp_path):
    command = ["data", "prepare", "toy", "--load-size", "16"]
    assert "damaged" not in harness(*command)[2]
    (path,) = (tmp_path / "cache").rglob(module.PIXELS)
    zero(path)
    code, _, said = harness(*command)
    assert code == 0
    assert f"the decoded images in {path.parent} are damaged" in said


def test_a_run_is_told_that_images_were_damaged(small_data, tmp_path):
    dataset = Dataset(name="toy", load=lambda root: small_data)
    source = Source(dataset=dataset, code="", options={}, root=tmp_path)
    events: list[Event] = []

    def prepare_for_run() -> Prepared:
        settings = Settings(data_root=tmp_path, cache=tmp_path / "cache", device="cpu")
        return DataBySize(source=source, settings=settings, listener=events.append, data=small_data).at(16).prepared

    prepare_for_run()
    (path,) = (tmp_path / "cache").rglob(module.PIXELS)
    zero(path)
    np.testing.assert_array_equal(prepare_for_run().images, small_data.images)
    (noted,) = [event for event in events if isinstance(event, Noted)]
    assert "decoded again" in noted.text


def test_what_is_only_planned_checks_and_removes_nothing(small_data, tmp_path):
    dataset = Dataset(name="toy", load=lambda root: small_data)
    source = Source(dataset=dataset, code="", options={}, root=tmp_path)
    for dry in (False, True):
        settings = Settings(data_root=tmp_path, cache=tmp_path / "cache", device="cpu", dry=dry)
        sizes = DataBySize(source=source, settings=settings, listener=lambda event: None, data=small_data)
        prepared = sizes.at(16).prepared
        assert prepared.digest
        (path,) = (tmp_path / "cache").rglob(module.PIXELS)
        zero(path)
    assert len(prepared.data.table) == len(small_data.table)
    assert not len(prepared.images)
    assert not any(path.read_bytes())


def test_a_run_says_once_how_many_images_it_leaves_out(desk):
    (desk.folder / "images" / "4.bmp").write_bytes(b"no image")
    (desk.folder / "images" / "5.bmp").unlink()
    events: list[Event] = []
    settings = Settings(data_root=desk.folder, cache=desk.folder / "cache", device="cpu")
    dataset = Dataset(name="some", load=lambda root: desk.data)
    source = Source(dataset=dataset, code="", options={}, root=desk.folder, allow_missing=True)
    by_size = DataBySize(source=source, settings=settings, listener=events.append, data=desk.data)
    by_size.at(8), by_size.at(16)
    (noted,) = (event for event in events if isinstance(event, Noted))
    assert noted.text.startswith("2 of 12 images are left out: 1 without a file (first 5.bmp), and 1 that cannot be")


def test_interrupted_work_is_checked_before_it_goes_on(desk, monkeypatch):
    expected = np.array(desk.prepare().images)
    shutil.rmtree(desk.folder / "cache")
    monkeypatch.setattr(decoding, "CHUNK", 1)
    counting = decoding.read_image
    stopped: list[int] = []

    def stop_at_eight(data: Data, index: int, size: int, scale: GreyScale) -> Picture:
        if len(desk.decoded) >= 8 and not stopped:
            stopped.append(index)
            raise KeyboardInterrupt
        return counting(data, index, size, scale)

    monkeypatch.setattr(decoding, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(decoding, "read_image", stop_at_eight)
    with pytest.raises(KeyboardInterrupt):
        desk.prepare()
    zero(desk.find(module.PIXELS))
    prepared = desk.prepare()
    np.testing.assert_array_equal(prepared.images, expected)
    assert len(desk.decoded) == COUNT


def test_images_beside_unreadable_ones_are_found_sound_and_damaged_like_others(desk, monkeypatch):
    for number in (0, 4, 11):
        (desk.folder / "images" / f"{number}.bmp").write_bytes(b"no image")
    expected = np.array(desk.prepare(allow_missing=True).images)
    for boot in ("another", "yet another"):
        monkeypatch.setattr(module, "identify_boot", lambda boot=boot: boot)
        prepared = desk.prepare(allow_missing=True)
        assert (desk.decoded, desk.said) == ([], [])
        assert set(prepared.unreadable) == {"0.bmp", "4.bmp", "11.bmp"}
        np.testing.assert_array_equal(prepared.images, expected)
    flip(desk.find(module.PIXELS))
    np.testing.assert_array_equal(desk.prepare(allow_missing=True).images, expected)
    assert "1 of the 9" in desk.said[0]


def test_an_unreadable_image_by_another_name_is_noticed(desk):
    (desk.folder / "images" / "4.bmp").write_bytes(b"no image")
    desk.prepare(allow_missing=True)
    manifest = desk.find(module.MANIFEST)
    manifest.write_text(manifest.read_text().replace("4.bmp", "5.bmp"))
    assert set(desk.prepare(allow_missing=True).unreadable) == {"4.bmp"}
    assert "damaged" in desk.said[0]


def test_pixels_and_digests_of_other_images_are_noticed(desk, tmp_path):
    expected = np.array(desk.prepare().images)
    folder = desk.find(module.PIXELS).parent
    desk.replace_images()
    desk.prepare()
    (other,) = set((tmp_path / "cache").iterdir()) - {folder}
    for name in (module.PIXELS, module.DIGESTS):
        shutil.copy(folder / name, other / name)
    assert not np.array_equal(desk.prepare().images, expected)
    assert "damaged" in desk.said[0]


def test_what_another_process_has_repaired_meanwhile_is_not_decoded_again(desk, monkeypatch):
    desk.prepare()
    zero(desk.find(module.PIXELS))

    @contextlib.contextmanager
    def wait_for_other(folder: Path, remark: Callable[[str], None] | None) -> Iterator[None]:
        monkeypatch.setattr(preparing, "locked", module.locked)
        desk.prepare()
        desk.decoded.clear()
        desk.said.clear()
        with module.locked(folder, remark):
            yield

    monkeypatch.setattr(preparing, "locked", wait_for_other)
    assert desk.prepare().images.any()
    assert (desk.decoded, desk.said) == ([], [])


def test_a_cache_that_cannot_be_read_is_kept_and_named(desk, monkeypatch):
    desk.prepare()
    desk.find(module.CHECKED).unlink()
    before = desk.find(module.PIXELS).stat().st_ino

    def fail(*arguments: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", fail)
        with pytest.raises(StorageError, match=r"cannot read the cache .*Input/output error.*--cache-dir"):
            desk.prepare()
    desk.prepare()
    assert desk.find(module.PIXELS).stat().st_ino == before


# --- which files -----------------------------------------------------------------------------------------------------


def test_two_folders_of_files_of_equal_names_sizes_and_times_are_told_apart(desk):
    one = np.array(desk.prepare().images)
    files = desk.data.images
    desk.replace_images()
    for path, other in zip(files, desk.data.images, strict=True):
        assert isinstance(other, Path)
        assert isinstance(path, Path)
        assert (path.name, path.stat().st_size) == (other.name, other.stat().st_size)
        assert path.stat().st_mtime_ns == other.stat().st_mtime_ns
    other = desk.prepare().images
    assert len(desk.decoded) == COUNT
    assert not np.array_equal(one, other)


def test_another_way_to_the_same_folder_decodes_nothing_again(desk, monkeypatch):
    desk.prepare()
    (desk.folder / "link").symlink_to(desk.folder / "images")
    monkeypatch.chdir(desk.folder)
    for way in (desk.folder / "link", Path("images"), desk.folder / "images" / ".." / "link"):
        names = desk.data.table["image"]
        desk.data = dataclasses.replace(desk.data, images=[way / name for name in names])
        desk.prepare()
        assert desk.decoded == []


def test_an_array_of_another_file_is_told_apart(desk):
    images = np.zeros((COUNT, SIZE, SIZE), dtype=np.uint8)
    for number in range(2):
        folder = desk.folder / str(number)
        folder.mkdir()
        np.save(folder / "all.npy", images + number)
        os.utime(folder / "all.npy", ns=(10**18, 10**18))
        desk.data = dataclasses.replace(desk.data, images=images + number, sources=(folder / "all.npy",))
        assert (desk.prepare().images == number).all()
