"""`harness data check` on a folder of odd files names each of them, and no other."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from harness import Data, Dataset
from harness.cli.tables import SHOWN, print_findings
from harness.data.checks import check
from harness.data.findings import Finding, judge
from harness.data.headers import read_header
from harness.data.image_checks import correlate_with_mean
from harness.data.loading import Source
from harness.data.prepare import prepare
from tests.data.test_grey import save_color_png, save_tiff

SIDE = 96


def draw(seed: int) -> np.ndarray:
    """Something like a chest: two dark fields, a light middle, light below, noise of its own. 0 to 1."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    dark = sum(np.exp(-((x - center) ** 2) / 0.02 - (y - 0.45) ** 2 / 0.06) for center in (0.3, 0.7))
    picture = 0.55 + 0.3 * y - 0.5 * dark + 0.05 * generator.normal(size=(SIDE, SIDE))
    picture = (picture - picture.min()) / (picture.max() - picture.min())
    return np.asarray(picture)


def grey(seed: int) -> np.ndarray:
    return np.round(255 * draw(seed)).astype(np.uint8)


def make_odd_files(folder: Path) -> dict[str, str]:
    """Forty files, and what each is to be named for; an empty text for those that are as they should be."""
    odd: dict[str, str] = {}

    def name(file: str, finding: str = "") -> Path:
        odd[file] = finding
        return folder / file

    for number in range(12):
        Image.fromarray(grey(number)).save(name(f"plain{number:02d}.png"))
    for mode in ("RGB", "RGBA", "LA", "P"):
        Image.fromarray(grey(20)).convert(mode).save(name(f"mode{mode}.png"))
    for mode in ("CMYK", "YCbCr"):
        Image.fromarray(grey(21)).convert(mode).save(name(f"mode{mode}.tif"))
    Image.fromarray(grey(22)).save(name("plain.jpg"))
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in ("jpg", "png", "tif"):
        Image.fromarray(np.ascontiguousarray(np.rot90(grey(23)[:80]))).save(name(f"turned.{suffix}"), exif=exif)
    Image.fromarray(np.round(4095 * draw(24)).astype(np.uint16)).save(name("deep.png"))
    Image.fromarray(np.round(4095 * draw(25)).astype(">u2")).save(name("big.tif"))
    save_tiff(name("signed.tif"), (np.round(65535 * draw(26)) - 32768).astype("<i2"), tag339=2)
    save_tiff(name("white.tif"), (4095 - np.round(4095 * draw(27))).astype("<u2"), tag262=0)
    frames = [Image.fromarray(grey(30 + number)) for number in range(3)]
    for suffix in ("gif", "png", "tif", "webp"):
        path = name(f"frames.{suffix}", "one image in each file")
        frames[0].save(path, save_all=True, append_images=frames[1:])
    Image.fromarray(np.full((SIDE, SIDE), 90, dtype=np.uint8)).save(name("constant.png", "images show something"))
    Image.fromarray(grey(41) // 16 * 16).save(name("levels.png", "grey levels"))
    Image.fromarray(np.round(255 * draw(42)).astype(np.uint16)).save(name("shallow.png", "grey levels"))
    Image.fromarray(grey(43) > 128).save(name("bit.png", "grey levels"))
    Image.fromarray(255 - grey(44)).save(name("inverted.png", "polarity"))
    whole = (folder / "plain00.png").read_bytes()
    name("half.png", "files readable").write_bytes(whole[: len(whole) // 2])
    name("empty.png", "files readable").write_bytes(b"")
    name("text.png", "files readable").write_bytes(b"no image")
    Image.fromarray(draw(45).astype(np.float32)).save(name("float.tif", "files readable"))
    Image.fromarray(np.round(10**6 * draw(46)).astype(np.int32)).save(name("wide.tif", "files readable"))
    save_color_png(name("color16.png", "files readable"), 3, 16)
    name("gone.png", "files there")
    return odd


def run_checks(folder: Path, names: list[str]) -> dict[str, Finding]:
    split = np.array(["train", "val", "test"])[np.arange(len(names)) % 3]
    table = pd.DataFrame({"image": names, "split": split, "patient": names})
    targets = np.zeros((len(names), 1), dtype=np.float32)
    data = Data(labels=("a",), images=[folder / name for name in names], targets=targets, table=table)
    dataset = Dataset(name="odd", load=lambda root: data)
    source = Source(dataset=dataset, code="", options={}, root=folder, allow_missing=True, unreadable_limit=1.0)
    return {finding.name: finding for finding in check(data, prepare(source, data, 64, folder / "cache"))}


def test_each_odd_file_is_named_for_what_is_odd_in_it_and_no_other(tmp_path):
    odd = make_odd_files(tmp_path)
    assert len(odd) >= 40
    findings = run_checks(tmp_path, list(odd))
    judged = (
        "files there",
        "files readable",
        "one image in each file",
        "images show something",
        "grey levels",
        "polarity",
    )
    for name in judged:
        found = {example.partition(":")[0] for example in findings[name].examples}
        assert found == {file for file, finding in odd.items() if finding == name}, name
    assert findings["bits"].message == "values of 16-bit files are taken as 12-bit ones, 0 to 4,095"
    assert findings["sizes and modes"].message == (
        "sizes: 96 x 96 px (32), 96 x 80 px (3); modes: L (21), I;16 (3), RGB (2), P (2), RGBA (1), 6 others; "
        "turned as their EXIF says: 3"
    )
    assert "shallow.png: 17 levels" in findings["grey levels"].examples
    assert "frames.gif: 3 frames" in findings["one image in each file"].examples


def test_radiographs_and_inverted_copies_of_up_to_a_third_are_told_apart():
    images = np.stack([grey(number) for number in range(60)])
    assert (correlate_with_mean(images) > 0.4).all()
    for count in (1, 10, 30):
        correlations = correlate_with_mean(np.concatenate([images, 255 - images[:count]]))
        assert (correlations[:60] > 0.2).all()
        assert (correlations[60:] < -0.2).all()


def test_polarity_is_not_judged_of_images_that_are_not_alike_or_few(tmp_path):
    generator = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(generator.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    finding = run_checks(tmp_path, [f"{number}.png" for number in range(12)])["polarity"]
    assert (finding.ok, finding.message[:10]) == (True, "not judged")
    for number in range(5):
        Image.fromarray(grey(number) if number else 255 - grey(number)).save(tmp_path / f"{number}.png")
    assert run_checks(tmp_path, [f"{number}.png" for number in range(5)])["polarity"].message.startswith("not judged")


def test_a_small_image_may_have_few_levels(tmp_path):
    for number in range(3):
        Image.fromarray(grey(number)[::4, ::4] // 8 * 8).save(tmp_path / f"{number}.png")
    assert run_checks(tmp_path, ["0.png", "1.png", "2.png"])["grey levels"].ok


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_a_header_tells_the_size_of_the_image_as_it_is_turned(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(np.zeros((20, 30), dtype=np.uint8)).save(tmp_path / f"a.{suffix}", exif=exif)
    header = read_header(tmp_path / f"a.{suffix}")
    assert header is not None
    assert (header.size, header.turned, header.frames) == ((20, 30), True, 1)


def test_boxes_lie_in_the_image_as_it_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(grey(0)[:40]).save(tmp_path / "a.png", exif=exif)  # 96 x 40 as stored
    table = pd.DataFrame({"image": ["a.png"], "split": ["train"], "patient": ["p"]})
    boxes = pd.DataFrame(
        [["a.png", "a", 0.0, 50.0, 40.0, 46.0]], columns=["image", "label", "x", "y", "width", "height"]
    )
    targets = np.ones((1, 1), dtype=np.float32)
    data = Data(labels=("a",), images=[tmp_path / "a.png"], targets=targets, table=table, boxes=boxes)
    source = Source(dataset=Dataset(name="odd", load=lambda root: data), code="", options={}, root=tmp_path)
    prepared = prepare(source, data, 64, tmp_path / "cache")
    assert {finding.name: finding.ok for finding in check(data, prepared)}["boxes"]
    wide = dataclasses.replace(data, boxes=boxes.assign(width=60.0, height=20.0))
    assert not {finding.name: finding.ok for finding in check(wide, prepared)}["boxes"]


def test_many_examples_are_printed_in_part_and_listed_whole_as_data(capsys):
    finding = judge("files", [f"{number}.png" for number in range(SHOWN + 2)], "fine", "file", "wrong")
    print_findings([finding])
    out = capsys.readouterr().out
    assert f"{SHOWN - 1}.png" in out
    assert f"{SHOWN}.png" not in out
    assert "and 2 more, which --json lists" in out
    assert len(json.loads(json.dumps(finding.as_plain()))["examples"]) == SHOWN + 2
