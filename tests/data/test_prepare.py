"""Images are decoded once, correctly, and whatever interrupts it."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from harness import Data, DataError, Dataset
from harness.data import decoding
from harness.data.decoding import Picture, resize
from harness.data.grey import GreyScale, decode
from harness.data.loading import Source
from harness.data.prepare import describe_left_out, prepare


def save_images(folder: Path, count: int = 6, size: int = 20) -> Data:
    generator = np.random.default_rng(1)
    paths = [folder / f"{n}.png" for n in range(count)]
    for path in paths:
        Image.fromarray(generator.integers(0, 256, (size, size), dtype=np.uint8)).save(path)
    return describe(paths)


def describe(paths: list[Path]) -> Data:
    names = [path.name for path in paths]
    split = np.array(["train", "val", "test"])[np.arange(len(paths)) % 3]
    table = pd.DataFrame({"image": names, "split": split, "patient": names})
    targets = np.zeros((len(paths), 1), dtype=np.float32)
    return Data(labels=("a",), images=paths, targets=targets, table=table)


def source(folder: Path, **changes) -> Source:
    dataset = Dataset(name="some", load=lambda root: None)  # type: ignore[arg-type,return-value]
    return dataclasses.replace(Source(dataset=dataset, code="", options={}, root=folder), **changes)


def read_bytes(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def count_decoded(monkeypatch) -> list[int]:
    decoded: list[int] = []
    original = decoding.read_image

    def count(data: Data, index: int, size: int, scale: GreyScale) -> Picture:
        decoded.append(index)
        return original(data, index, size, scale)

    monkeypatch.setattr(decoding, "read_image", count)
    return decoded


def test_images_are_decoded_in_order_and_squashed_as_pillow_does(tmp_path):
    data = save_images(tmp_path)
    Image.fromarray(np.arange(200, dtype=np.uint8).reshape(10, 20)).save(tmp_path / "1.png")
    prepared = prepare(source(tmp_path), data, 8, tmp_path / "cache")
    assert prepared.images.shape == (6, 8, 8)
    for index in range(6):
        path = tmp_path / f"{index}.png"
        expected = np.asarray(Image.open(path).resize((8, 8), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(prepared.images[index], expected)


def test_a_second_start_decodes_nothing_and_gives_the_same(tmp_path, monkeypatch):
    data = save_images(tmp_path)
    first = prepare(source(tmp_path), data, 8, tmp_path / "cache")
    decoded = count_decoded(monkeypatch)
    second = prepare(source(tmp_path), data, 8, tmp_path / "cache")
    assert decoded == []
    assert first.digest == second.digest
    np.testing.assert_array_equal(first.images, second.images)


def test_a_changed_file_or_another_size_is_decoded_again(tmp_path, monkeypatch):
    data = save_images(tmp_path)
    first = prepare(source(tmp_path), data, 8, tmp_path / "cache")
    decoded = count_decoded(monkeypatch)
    prepare(source(tmp_path), data, 10, tmp_path / "cache")
    assert len(decoded) == 6
    Image.fromarray(np.zeros((30, 30), dtype=np.uint8)).save(tmp_path / "0.png")
    changed = prepare(source(tmp_path), data, 8, tmp_path / "cache")
    assert len(decoded) == 12
    assert changed.digest != first.digest


def test_the_split_does_not_matter_to_the_cache_of_files(tmp_path, monkeypatch):
    data = save_images(tmp_path)
    prepare(source(tmp_path, options={"split": "a"}), data, 8, tmp_path / "cache")
    decoded = count_decoded(monkeypatch)
    prepare(source(tmp_path, options={"split": "b"}), data, 8, tmp_path / "cache")
    assert decoded == []


def test_interrupted_work_continues(tmp_path, monkeypatch):
    data = save_images(tmp_path)
    monkeypatch.setattr(decoding, "CHUNK", 1)
    monkeypatch.setattr(decoding, "SAVE_EVERY", 0.0)
    original = decoding.read_image

    def stop_at_four(data: Data, index: int, size: int, scale: GreyScale) -> Picture:
        if index == 4:
            while not list(tmp_path.rglob("done.npy")):  # so that something is there to go on from
                time.sleep(0.001)
            raise KeyboardInterrupt
        return original(data, index, size, scale)

    monkeypatch.setattr(decoding, "read_image", stop_at_four)
    with pytest.raises(KeyboardInterrupt):
        prepare(source(tmp_path), data, 8, tmp_path / "cache")
    monkeypatch.setattr(decoding, "read_image", original)
    decoded = count_decoded(monkeypatch)
    resumed = prepare(source(tmp_path), data, 8, tmp_path / "cache")
    assert 1 <= len(decoded) < 6
    fresh = prepare(source(tmp_path), data, 8, tmp_path / "other")
    assert resumed.digest == fresh.digest
    np.testing.assert_array_equal(resumed.images, fresh.images)


def test_missing_images_are_refused_with_count_names_and_the_way_out(tmp_path):
    data = save_images(tmp_path)
    (tmp_path / "1.png").unlink()
    (tmp_path / "3.png").unlink()
    with pytest.raises(DataError, match=r"2 of 6 images .* first 1\.png, 3\.png.*allow_missing = true"):
        prepare(source(tmp_path), data, 8, tmp_path / "cache")
    prepared = prepare(source(tmp_path, allow_missing=True), data, 8, tmp_path / "cache")
    assert prepared.missing == ("1.png", "3.png")
    assert prepared.left_out == {"val": 1, "train": 1}
    assert prepared.data.table["image"].tolist() == ["0.png", "2.png", "4.png", "5.png"]
    np.testing.assert_array_equal(prepared.images[1], resize(decode(tmp_path / "2.png"), 8))


def test_nothing_there_is_refused_even_where_missing_images_are_allowed(tmp_path):
    data = describe([tmp_path / "absent.png"])
    with pytest.raises(DataError, match="check the folder"):
        prepare(source(tmp_path, allow_missing=True), data, 8, tmp_path / "cache")


def test_a_corrupt_file_is_named_and_the_others_stay_in_order(tmp_path):
    data = save_images(tmp_path)
    whole = (tmp_path / "2.png").read_bytes()
    (tmp_path / "2.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "0.png").write_bytes(b"no image")
    for _ in range(2):  # decoded, then from the cache
        prepared = prepare(source(tmp_path, allow_missing=True, unreadable_limit=0.5), data, 8, tmp_path / "cache")
        assert set(prepared.unreadable) == {"0.png", "2.png"}
        assert prepared.left_out == {"train": 1, "test": 1}
        assert prepared.data.table["image"].tolist() == ["1.png", "3.png", "4.png", "5.png"]
        for index, name in enumerate(prepared.data.table["image"]):
            np.testing.assert_array_equal(prepared.images[index], resize(decode(tmp_path / name), 8))


def break_files(data: Data, *numbers: int) -> None:
    for number in numbers:
        Path(str(data.images[number])).write_bytes(b"no image")


def test_files_that_do_not_decode_stop_the_work_as_missing_ones_do_and_are_decoded_no_second_time(
    tmp_path, monkeypatch
):
    data = save_images(tmp_path)
    break_files(data, 1, 3)
    told = r"2 of 6 images of 'some' .*cannot be decoded, first 1\.png: Unidentified.*; 3\.png: .*allow_missing = true"
    with pytest.raises(DataError, match=told):
        prepare(source(tmp_path), data, 8, tmp_path / "cache")
    decoded = count_decoded(monkeypatch)
    with pytest.raises(DataError, match=told):
        prepare(source(tmp_path, unreadable_limit=1.0), data, 8, tmp_path / "cache")
    prepared = prepare(source(tmp_path, allow_missing=True, unreadable_limit=0.5), data, 8, tmp_path / "cache")
    assert (set(prepared.unreadable), decoded) == ({"1.png", "3.png"}, [])


def test_more_files_that_do_not_decode_than_the_limit_stop_the_work_even_where_they_may_be_left_out(tmp_path):
    data = save_images(tmp_path)
    break_files(data, 1, 3)
    (tmp_path / "0.png").unlink()  # 2 of the 5 that are there
    with pytest.raises(
        DataError, match=r"2 of 5 .*share of 0\.4, above unreadable_limit = 0\.1: .*--option unreadable"
    ):
        prepare(source(tmp_path, allow_missing=True), data, 8, tmp_path / "cache")
    with pytest.raises(DataError, match=r"share of 0\.4, above unreadable_limit = 0\.39"):
        prepare(source(tmp_path, allow_missing=True, unreadable_limit=0.39), data, 8, tmp_path / "cache")
    prepared = prepare(source(tmp_path, allow_missing=True, unreadable_limit=0.4), data, 8, tmp_path / "cache")
    assert prepared.data.table["image"].tolist() == ["2.png", "4.png", "5.png"]
    told = describe_left_out(prepared)
    assert told is not None
    assert told.startswith(
        "3 of 6 images are left out: 1 without a file (first 0.png), and 2 that cannot be decoded (first 1.png: Unident"
    )


def test_nothing_that_decodes_is_refused_whatever_may_be_left_out(tmp_path):
    data = save_images(tmp_path)
    break_files(data, *range(6))
    with pytest.raises(DataError, match=r"6 of 6 .* cannot be decoded, .*check the files"):
        prepare(source(tmp_path, allow_missing=True, unreadable_limit=1.0), data, 8, tmp_path / "cache")


def test_nothing_is_said_of_images_where_all_are_used(tmp_path):
    assert describe_left_out(prepare(source(tmp_path), save_images(tmp_path), 8, tmp_path / "cache")) is None


def test_progress_counts_up_to_all_images(tmp_path):
    seen: list[tuple[int, int]] = []
    prepare(
        source(tmp_path), save_images(tmp_path), 8, tmp_path / "cache", lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (6, 6)


def test_two_processes_prepare_one_dataset_together(tmp_path):
    save_images(tmp_path, count=40)
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_prepare import describe, source
from harness.data.prepare import describe_left_out, prepare
folder = Path({str(tmp_path)!r})
print(prepare(source(folder), describe([folder / f"{{n}}.png" for n in range(40)]), 8, folder / "cache").digest)
"""
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    digests = {process.communicate()[0] for process in running}
    assert all(process.returncode == 0 for process in running)
    assert len(digests) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    data = save_images(tmp_path)
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(Exception, match="choose another --cache-dir"):
        prepare(source(tmp_path), data, 8, tmp_path / "cache")


def test_arrays_need_no_file_and_depend_on_the_options(tmp_path, small_data, monkeypatch):
    decoded = count_decoded(monkeypatch)
    prepared = prepare(source(tmp_path, options={"seed": 1}), small_data, 16, tmp_path / "cache")
    np.testing.assert_array_equal(prepared.images, small_data.images)
    prepare(source(tmp_path, options={"seed": 2}), small_data, 16, tmp_path / "cache")
    assert len(decoded) == 2 * len(small_data.table)


def test_a_datasets_code_matters_to_the_cache_where_it_makes_or_decodes_the_images(tmp_path, small_data, monkeypatch):
    files = save_images(tmp_path)
    decoding_itself = dataclasses.replace(files, decode=read_bytes)
    again: list[int] = []
    for data in (files, decoding_itself, small_data):
        folder = tmp_path / str(len(again))
        prepare(source(tmp_path, code="one"), data, 16, folder)
        decoded = count_decoded(monkeypatch)
        prepare(source(tmp_path, code="two"), data, 16, folder)
        again.append(len(decoded))
    assert again == [0, len(files.table), len(small_data.table)]


def test_the_memory_map_is_not_written_through(tmp_path, small_data):
    prepared = prepare(source(tmp_path), small_data, 16, tmp_path / "cache")
    prepared.images[0] = 0
    again = prepare(source(tmp_path), small_data, 16, tmp_path / "cache")
    np.testing.assert_array_equal(again.images, small_data.images)


def test_a_cache_on_a_disk_without_locks_is_made_as_any_other(tmp_path, monkeypatch):
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    data = save_images(tmp_path)
    expected = prepare(source(tmp_path), data, 8, tmp_path / "cache")
    monkeypatch.setattr(fcntl, "flock", refuse)
    prepared = prepare(source(tmp_path), data, 8, tmp_path / "other")
    assert prepared.digest == expected.digest
    (folder,) = (tmp_path / "other").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        path.name for path in (tmp_path / "cache" / folder.name).iterdir()
    )


def test_who_waits_for_another_process_that_decodes_says_so(tmp_path):
    data = save_images(tmp_path)
    cache = tmp_path / "cache"
    prepare(source(tmp_path), data, 8, cache)
    (folder,) = cache.iterdir()
    (folder / "manifest.json").unlink()
    remarks: list[str] = []
    with (folder / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def remark(text: str) -> None:
            remarks.append(text)
            fcntl.flock(file, fcntl.LOCK_UN)

        prepare(source(tmp_path), data, 8, cache, remark=remark)
    (said,) = remarks
    assert said.startswith(f"waiting for the decoded images in {folder}: process {os.getpid()} on ")
