"""What a file stores becomes the grey that it shows, by one range for all files of a dataset."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import DataError, UsageError
from harness.data import decoding
from harness.data.cache import BITS
from harness.data.decoding import Picture
from harness.data.grey import GreyScale, UnknownBitsError, count_levels, decode, find_bits
from harness.data.prepare import prepare
from tests.data.test_prepare import describe, source

RAMP = np.arange(64 * 64).reshape(64, 64)
"""Every value of 12 bits once."""


def save_deep(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values.astype(np.uint16)).save(path)
    return path


def save_tiff(path: Path, values: np.ndarray, **tags: int) -> Path:
    """A TIFF of one strip, with its tags as given: Pillow writes none of the odd ones."""
    content = values.tobytes()
    entries = {
        256: values.shape[1], 257: values.shape[0], 258: values.dtype.itemsize * 8, 259: 1, 262: 1, 273: 8, 277: 1,
        278: values.shape[0], 279: len(content),
    }  # fmt: skip
    entries |= {int(name.removeprefix("tag")): value for name, value in tags.items()}
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    directory = struct.pack("<H", len(entries)) + fields + struct.pack("<I", 0)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(content)) + content + directory)
    return path


def test_the_bytes_of_a_file_are_read_as_the_file(tmp_path):
    path = save_deep(tmp_path / "a.png", RAMP)
    scale = GreyScale(bits=12)
    np.testing.assert_array_equal(decode(path.read_bytes(), scale), decode(path, scale))


def test_bytes_of_no_image_are_refused_in_words():
    with pytest.raises(DataError, match="its 4 bytes are of no kind of image"):
        decode(b"text")
    with pytest.raises(DataError, match="it holds no bytes"):
        decode(b"")


# --- the range -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_values_of_any_depth_fill_the_range_of_a_byte(tmp_path, bits):
    values = np.linspace(0, 2**bits - 1, 4096).round().reshape(64, 64)
    grey = decode(save_deep(tmp_path / "deep.png", values), GreyScale(bits))
    np.testing.assert_array_equal(grey, np.round(values * 255 / (2**bits - 1)).astype(np.uint8))
    assert count_levels(grey) == 256


@pytest.mark.parametrize(("largest", "bits"), [(0, 8), (255, 8), (256, 10), (4095, 12), (4096, 14), (65535, 16)])
def test_the_smallest_depth_that_holds_the_largest_value_is_found(largest, bits):
    assert find_bits(largest) == bits


def test_bits_are_found_over_all_files_and_are_the_same_for_each(tmp_path):
    dim, bright = RAMP // 16, RAMP
    paths = [save_deep(tmp_path / "0.png", dim), save_deep(tmp_path / "1.png", bright), tmp_path / "2.png"]
    Image.fromarray(np.full((64, 64), 200, dtype=np.uint8)).save(paths[2])
    prepared = prepare(source(tmp_path), describe(paths), 64, tmp_path / "cache")
    assert prepared.scale == GreyScale(12)
    np.testing.assert_array_equal(prepared.images[0], np.round(dim * 255 / 4095))
    np.testing.assert_array_equal(prepared.images[1], np.round(bright * 255 / 4095))
    assert (prepared.images[2] == 200).all()
    assert prepare(source(tmp_path), describe(paths), 64, tmp_path / "cache").scale == GreyScale(12)  # from the cache


def test_a_brighter_file_that_comes_later_changes_the_range_of_all(tmp_path):
    paths = [save_deep(tmp_path / f"{number}.png", RAMP // 16) for number in range(3)]
    assert prepare(source(tmp_path), describe(paths), 64, tmp_path / "cache").scale.bits == 8
    paths.append(save_deep(tmp_path / "3.png", RAMP))
    prepared = prepare(source(tmp_path), describe(paths), 64, tmp_path / "cache")
    assert prepared.scale.bits == 12
    assert prepared.images[0].max() == round(255 * 255 / 4095)


def test_files_of_eight_bits_are_decoded_once_and_have_no_bits(tmp_path, desk):
    prepared = desk.prepare()
    assert (prepared.scale, len(desk.decoded)) == (GreyScale(), 12)


def test_interrupted_work_goes_on_with_the_bits_that_it_had_found(tmp_path, monkeypatch):
    """Also where the brightest file is decoded already."""
    paths = [save_deep(tmp_path / f"{number}.png", RAMP // (1 if number == 0 else 16)) for number in range(6)]
    expected = prepare(source(tmp_path), describe(paths), 64, tmp_path / "whole")
    monkeypatch.setattr(decoding, "CHUNK", 1)
    monkeypatch.setattr(decoding, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(decoding, "count_processors", lambda: 1)
    original = decoding.read_image

    def stop(data, index: int, size: int, scale: GreyScale) -> Picture:
        if scale.bits is not None and index == 5:
            raise KeyboardInterrupt
        return original(data, index, size, scale)

    monkeypatch.setattr(decoding, "read_image", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare(source(tmp_path), describe(paths), 64, tmp_path / "cache")
    monkeypatch.setattr(decoding, "read_image", original)
    assert list((tmp_path / "cache").glob(f"*/{BITS}"))
    resumed = prepare(source(tmp_path), describe(paths), 64, tmp_path / "cache")
    assert (resumed.scale, resumed.digest) == (expected.scale, expected.digest)
    assert not list((tmp_path / "cache").glob(f"*/{BITS}"))


def test_given_bits_hold_for_all_files_and_a_value_beyond_them_is_refused(tmp_path):
    paths = [save_deep(tmp_path / "0.png", RAMP // 16), save_deep(tmp_path / "1.png", RAMP + 1)]
    with pytest.raises(DataError, match=r"1 of 2 .*first 1\.png: .*4,096 is beyond 12 bits \(0 to 4,095\).*bits = N"):
        prepare(source(tmp_path, bits=12), describe(paths), 64, tmp_path / "cache")
    wider = prepare(source(tmp_path, bits=14), describe(paths), 64, tmp_path / "cache")
    assert wider.scale.bits == 14
    assert wider.images[0].max() == round(255 * 255 / 16383)


def test_an_image_is_stretched_to_its_own_range_only_when_asked(tmp_path):
    paths = [save_deep(tmp_path / "0.png", RAMP // 16 + 100), save_deep(tmp_path / "1.png", RAMP)]
    prepared = prepare(source(tmp_path, stretch=True), describe(paths), 64, tmp_path / "cache")
    assert prepared.scale == GreyScale(stretch=True)
    assert [(image.min(), image.max()) for image in prepared.images] == [(0, 255), (0, 255)]


@pytest.mark.parametrize("options", [{"bits": 12}, {"stretch": True}])
def test_options_of_pixels_are_refused_where_a_dataset_makes_its_own(tmp_path, small_data, options):
    with pytest.raises(UsageError, match=rf"{next(iter(options))}: dataset 'some' makes its grey values itself"):
        prepare(source(tmp_path, **options), small_data, 16, tmp_path / "cache")
    path = save_deep(tmp_path / "0.png", RAMP)
    own = dataclasses.replace(describe([path]), decode=lambda path: np.zeros((8, 8), dtype=np.uint8))
    with pytest.raises(UsageError, match="leave the option out"):
        prepare(source(tmp_path, **options), own, 16, tmp_path / "cache")


# --- formats ---------------------------------------------------------------------------------------------------------


def test_signed_values_begin_at_the_smallest_that_they_can_be(tmp_path):
    values = np.array([[-32768, -1], [0, 32767]], dtype="<i2")
    path = save_tiff(tmp_path / "signed.tif", values, tag339=2)
    np.testing.assert_array_equal(decode(path), [[0, 127], [128, 255]])
    with pytest.raises(DataError, match=r"-32,768 is beyond 12 bits \(-2,048 to 2,047\)"):
        decode(path, GreyScale(12))
    small = save_tiff(tmp_path / "small.tif", np.array([[-2048, 2047]], dtype="<i2"), tag339=2)
    np.testing.assert_array_equal(decode(small, GreyScale(12)), [[0, 255]])
    bytes_ = save_tiff(tmp_path / "bytes.tif", np.array([[-128, -1, 0, 127]], dtype="i1"), tag339=2)
    np.testing.assert_array_equal(decode(bytes_), [[0, 127, 128, 255]])


def test_sixteen_bits_of_either_byte_order_are_the_same(tmp_path):
    values = RAMP.astype(np.uint16)
    Image.fromarray(values.astype(">u2")).save(tmp_path / "big.tif")
    with Image.open(tmp_path / "big.tif") as image:
        assert image.mode == "I;16B"
    little = save_deep(tmp_path / "little.tif", values)
    np.testing.assert_array_equal(decode(tmp_path / "big.tif", GreyScale(12)), decode(little, GreyScale(12)))


def test_white_is_zero_is_turned_round_at_every_depth(tmp_path):
    deep = save_tiff(tmp_path / "deep.tif", np.array([[0, 4095]], dtype="<u2"), tag262=0)
    flat = save_tiff(tmp_path / "flat.tif", np.array([[0, 255]], dtype="u1"), tag262=0)
    np.testing.assert_array_equal(decode(deep, GreyScale(12)), [[255, 0]])
    np.testing.assert_array_equal(decode(flat), [[255, 0]])


def test_a_format_that_says_its_largest_value_needs_no_bits(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5\n2 1\n4095\n" + np.array([0, 4095], dtype=">u2").tobytes())
    np.testing.assert_array_equal(decode(tmp_path / "a.pgm"), [[0, 255]])


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_values_without_a_known_range_are_refused_unless_they_are_stretched(tmp_path, kind):
    Image.fromarray(np.array([[-2, 0, 8]], dtype=kind)).save(tmp_path / "wide.tif")
    with pytest.raises(DataError, match=r"no known range.*--option stretch=true"):
        decode(tmp_path / "wide.tif")
    np.testing.assert_array_equal(decode(tmp_path / "wide.tif", GreyScale(stretch=True)), [[0, 51, 255]])
    Image.fromarray(np.array([[np.nan, 1]], dtype=np.float32)).save(tmp_path / "wide.tif")
    with pytest.raises(DataError, match="no finite numbers"):
        decode(tmp_path / "wide.tif", GreyScale(stretch=True))


def save_color_png(path: Path, colors: int, bits: int) -> Path:
    """A PNG of two pixels whose colors have so many bits, which Pillow reads and does not write."""
    import zlib

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    color_type = {2: 4, 3: 2, 4: 6}[colors]
    header = struct.pack(">IIBBBBB", 2, 1, bits, color_type, 0, 0, 0)
    pixels = zlib.compress(b"\0" + bytes(2 * colors * bits // 8))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("colors", [2, 3, 4])
def test_colors_of_sixteen_bits_are_refused_since_half_of_them_would_be_lost(tmp_path, colors):
    with pytest.raises(DataError, match="lower 8 would be lost"):
        decode(save_color_png(tmp_path / "deep.png", colors, 16))
    assert decode(save_color_png(tmp_path / "flat.png", colors, 8)).shape == (1, 2)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "deep.png", "deep.tif"])
def test_an_image_is_turned_as_its_exif_says(tmp_path, orientation, suffix):
    upright = np.zeros((48, 64), dtype=np.uint8)
    upright[:24, :32] = 250  # the upper left quarter
    as_held = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T,
        6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(as_held.astype(np.uint16 if "deep" in suffix else np.uint8)))
    image.save(tmp_path / f"turned.{suffix}", exif=exif)
    grey = decode(tmp_path / f"turned.{suffix}", GreyScale(8))
    assert grey.shape == (48, 64)
    np.testing.assert_allclose(grey[4:-4:8, 4:-4:8], upright[4:-4:8, 4:-4:8], atol=12)


def test_a_damaged_exif_leaves_the_pixels_as_they_are(tmp_path):
    Image.fromarray(RAMP.astype(np.uint8)).save(tmp_path / "a.png", exif=b"Exif\0\0no directory")
    np.testing.assert_array_equal(decode(tmp_path / "a.png"), RAMP.astype(np.uint8))


@pytest.mark.parametrize("suffix", ["gif", "png", "tif", "webp"])
def test_the_first_of_several_frames_is_read(tmp_path, suffix):
    frames = [Image.fromarray(np.full((16, 16), value, dtype=np.uint8)) for value in (200, 20, 90)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    assert (decode(tmp_path / f"a.{suffix}") == 200).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "PA", "LA", "1", "CMYK", "YCbCr"])
def test_every_mode_of_a_grey_picture_becomes_the_same_grey(tmp_path, mode):
    grey = Image.fromarray(np.repeat(np.array([[0, 255]], dtype=np.uint8), 4, axis=0))
    picture = grey.convert(mode)
    if mode in ("RGBA", "LA"):
        picture.putalpha(7)  # transparency is ignored
    suffix = "tif" if mode in ("CMYK", "YCbCr", "PA") else "png"
    picture.save(tmp_path / f"picture.{suffix}")
    np.testing.assert_array_equal(decode(tmp_path / f"picture.{suffix}"), np.asarray(grey))


def test_levels_are_counted_exactly_where_they_are_few(tmp_path):
    pixels = np.zeros((1024, 1024), dtype=np.uint8)
    pixels[1, 1:4] = 1, 2, 3  # beside the grid
    assert count_levels(pixels) == 4
    assert count_levels(np.arange(256, dtype=np.uint8).repeat(4096).reshape(1024, 1024)) >= 64


def test_a_sixteen_bit_file_alone_tells_its_largest_value(tmp_path):
    with pytest.raises(UnknownBitsError) as raised:
        decode(save_deep(tmp_path / "a.png", RAMP))
    assert raised.value.largest == 4095


def test_an_eps_file_is_not_run_whatever_it_is_called(tmp_path, monkeypatch):
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("it was run"))
    Image.new("L", (4, 4)).save(tmp_path / "a.png", format="EPS")
    with pytest.raises(DataError, match="a program for a printer"):
        decode(tmp_path / "a.png")
