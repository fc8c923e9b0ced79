"""DICOM radiographs as grey values: real files of pydicom's, and small ones made here."""

from __future__ import annotations

import shutil
import subprocess
from importlib.metadata import files
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset as Tags
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless

from harness import Data, DataError, Dataset
from harness.data import dicom
from harness.data.dicom import decode, read_header
from harness.data.image_checks import check_images
from harness.data.loading import Source
from harness.data.prepare import prepare

SECRET = "Somebody^Known"


def find_file(name: str) -> Path:
    """A file of the package pydicom-data, or one that comes with pydicom."""
    for file in files("pydicom-data") or ():
        if file.name == name:
            return Path(str(file.locate()))
    return Path(str(get_testdata_file(name, download=False)))


def make(path: Path, values: np.ndarray, *, signed: bool = False, bits: int = 12, **tags: object) -> Path:
    """Write a DICOM file of these stored values (H, W)."""
    made = Tags()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1")
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = UID("1.2.3")
    made.PatientName, made.PatientID = SECRET, SECRET
    made.Rows, made.Columns = values.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, bits, bits - 1
    made.PixelRepresentation = int(signed)
    made.PixelData = values.astype("<i2" if signed else "<u2").tobytes()
    for name, value in tags.items():
        setattr(made, name, value)
    made.save_as(path, enforce_file_format=True)
    return path


def make_table(entries: list[int], first: int, bits: int) -> Sequence:
    table = Tags()
    table.LUTDescriptor, table.LUTData = [len(entries), first, bits], np.array(entries, dtype="<u2").tobytes()
    return Sequence([table])


RAMP = np.arange(4096).reshape(64, 64)


def test_without_a_window_all_values_that_the_bits_hold_span_black_to_white(tmp_path):
    assert decode(make(tmp_path / "a", RAMP)).ravel().tolist() == np.round(np.arange(4096) * 255 / 4095).tolist()
    low = decode(make(tmp_path / "b", RAMP - 2048, signed=True))
    assert np.array_equal(low, decode(make(tmp_path / "a", RAMP)))


def test_monochrome1_is_inverted(tmp_path):
    usual = decode(make(tmp_path / "a", RAMP))
    assert np.array_equal(decode(make(tmp_path / "b", RAMP, PhotometricInterpretation="MONOCHROME1")), 255 - usual)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        # PS3.3 C.11.2.1.2: ((x - (c - 0.5)) / (w - 1) + 0.5) * 255
        ("LINEAR", lambda x: ((x - 1999.5) / 999 + 0.5) * 255),
        ("LINEAR_EXACT", lambda x: ((x - 2000) / 1000 + 0.5) * 255),
        ("SIGMOID", lambda x: 255 / (1 + np.exp(-4 * (x - 2000) / 1000))),
    ],
)
def test_a_window_is_applied_as_the_standard_says(tmp_path, function, expected):
    file = make(tmp_path / "a", RAMP, WindowCenter=[2000, 100], WindowWidth=[1000, 10], VOILUTFunction=function)
    exact = np.clip(expected(RAMP.astype(float)), 0, 255)
    assert np.abs(decode(file) - exact).max() <= 0.5 + 1e-9


def test_the_window_is_of_rescaled_values(tmp_path):
    file = make(tmp_path / "a", RAMP, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=3000, WindowWidth=1001)
    wanted = np.round(np.clip(((RAMP * 2.0 - 1000 - 2999.5) / 1000 + 0.5) * 255, 0, 255))
    assert np.array_equal(decode(file), wanted)


def test_tables_of_modality_and_view_are_looked_up(tmp_path):
    values = np.array([[0, 1, 2, 3]])
    voi = make(tmp_path / "a", values, VOILUTSequence=make_table([0, 4095, 1024], 1, 12))
    assert decode(voi).tolist() == [[0, 0, 255, 64]]
    modality = make(tmp_path / "b", values, ModalityLUTSequence=make_table([255, 0, 51, 102], 0, 8))
    assert decode(modality).tolist() == [[255, 0, 51, 102]]


def test_stretch_takes_the_images_own_range_without_its_padding(tmp_path):
    values = np.array([[1000, 1500], [2000, 0]])
    file = make(tmp_path / "a", values, WindowCenter=5, WindowWidth=5, PixelPaddingValue=0)
    assert decode(file, stretch=True).tolist() == [[0, 128], [255, 0]]
    assert decode(make(tmp_path / "b", np.full((2, 2), 7)), stretch=True).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({"ViewPosition": "LL"}, r"from the side \(view LL\)"),
        (
            {"Modality": "CT"},
            r"of the modality CT, so no radiograph \(CR, DX, DR, RG, OT or SC, or none told\); leave it",
        ),
        ({"Modality": "MR", "NumberOfFrames": 2, "Rows": 32}, "of the modality MR"),
        ({"Modality": "mg "}, "of the modality MG"),
        ({"Modality": "XA"}, "of the modality XA"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localizer"),
        ({"NumberOfFrames": 2, "Rows": 32}, "2 frames in one file"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, r"no grey image \(RGB\)"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, r"no grey image \(PALETTE COLOR\)"),
        ({"PixelData": b"12"}, "its pixels cannot be read"),
    ],
)
def test_what_is_no_radiograph_is_refused_by_name_and_nobody_is_named(tmp_path, tags, says):
    with pytest.raises(DataError, match=says) as caught:
        decode(make(tmp_path / "a", RAMP, **tags))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("modality", ["CR", "DX", "DR", "RG", "OT", "SC", "dx ", "", None])
def test_a_film_is_read_also_where_nothing_says_what_it_is(tmp_path, modality):
    assert decode(make(tmp_path / "a", RAMP, Modality=modality)).shape == (64, 64)


@pytest.fixture
def any_modality(monkeypatch):
    """Lets files of pydicom's be read whose modality is none of a radiograph's."""
    monkeypatch.setattr(dicom, "FILMS", (*dicom.FILMS, "CT", "MR", "NM"))


def test_an_image_from_the_side_is_read_where_the_table_says_so(tmp_path):
    assert decode(make(tmp_path / "a", RAMP, ViewPosition="LL"), view_known=True).shape == (64, 64)


def test_nothing_of_a_person_is_read(tmp_path):
    opened = dicom._open(make(tmp_path / "a", RAMP), pixels=True)
    assert not [element for element in opened if SECRET in str(element.value)]
    assert set(opened.dir()) <= {*dicom.TAGS, "SpecificCharacterSet"}


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\0" * 128 + b"DICM" + b"\1" * 40])
def test_a_damaged_file_is_no_dicom_image(tmp_path, content):
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"no whole DICOM file|no DICOM image"):
        decode(path)


def test_compressed_files_give_the_pixels_of_those_that_are_not(tmp_path, any_modality):
    plain = make(tmp_path / "plain", RAMP, WindowCenter=2000, WindowWidth=1000)
    packed = pydicom.dcmread(plain)
    packed.compress(RLELossless)
    packed.save_as(tmp_path / "packed")
    assert np.array_equal(decode(tmp_path / "packed"), decode(plain))
    for one, other in (
        ("RG1_J2KR.dcm", "RG1_UNCR.dcm"),
        ("RG3_J2KR.dcm", "RG3_UNCR.dcm"),
        ("MR2_J2KR.dcm", "MR2_UNCR.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_RLE.dcm", "MR_small.dcm"),
    ):
        assert np.array_equal(decode(find_file(one)), decode(find_file(other))), one


@pytest.mark.parametrize("name", ["MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPEG-LL.dcm"])
def test_packed_pixels_of_another_size_than_the_header_says_are_not_unpacked(tmp_path, monkeypatch, any_modality, name):
    file = pydicom.dcmread(find_file(name))
    rows, columns = file.Rows, file.Columns
    file.Rows, file.Columns = 8, 9
    file.save_as(tmp_path / "small")
    monkeypatch.setattr(pydicom.Dataset, "pixel_array", property(lambda _: pytest.fail("it was unpacked")))
    with pytest.raises(
        DataError, match=f"says 9 x 8 pixels, and its packed image {columns:,} x {rows:,}; get it again"
    ):
        decode(tmp_path / "small")


def test_a_real_chest_is_dark_around_and_in_the_lungs():
    chest = decode(find_file("RG1_UNCR.dcm")).astype(float)
    height, width = chest.shape
    spine = chest[height // 2 : height * 3 // 4, width * 9 // 20 : width * 11 // 20].mean()
    lungs = np.concatenate([chest[height // 3 : height // 2, width // 5 : width // 3].ravel()]).mean()
    assert spine > lungs + 20


def test_a_compression_that_only_a_gpl_package_reads_names_it(any_modality):
    with pytest.raises(DataError, match="pylibjpeg-libjpeg alone, whose license is GPL-3") as caught:
        decode(find_file("JPGExtended.dcm"))
    assert isinstance(caught.value.__cause__, ImportError)


def test_a_header_tells_size_bits_and_view_without_pixels():
    header = read_header(find_file("RG1_J2KR.dcm"))
    assert (header.size, header.bits, header.view) == ((1841, 1955), 15, "PA")
    assert (header.photometric, header.frames) == ("MONOCHROME1", 1)


def make_source(tmp_path, paths, views=None):
    table = pd.DataFrame({"image": [path.name for path in paths], "split": "train"})
    table["patient"] = table["image"]
    if views is not None:
        table["view"] = views
    targets = np.zeros((len(paths), 1), dtype=np.float32)
    data = Data(labels=("a",), images=paths, targets=targets, table=table)
    source = Source(
        dataset=Dataset(name="own", about="", load=lambda root: data),
        code="",
        root=tmp_path,
        options={},
        allow_missing=True,
        unreadable_limit=0.6,
    )
    return source, data


def test_a_dataset_of_dicom_files_is_prepared_and_what_cannot_be_used_is_left_out_by_name(tmp_path):
    paths = [
        make(tmp_path / "front.dcm", RAMP),
        make(tmp_path / "no-suffix", RAMP, PhotometricInterpretation="MONOCHROME1"),
        make(tmp_path / "side.dcm", RAMP, ViewPosition="LL"),
        make(tmp_path / "slice.dcm", RAMP, Modality="CT"),
    ]
    Image.fromarray((RAMP % 256).astype(np.uint8)).save(tmp_path / "plain.png")
    source, data = make_source(tmp_path, [*paths, tmp_path / "plain.png"])
    prepared = prepare(source, data, 64, tmp_path / "cache")
    assert list(prepared.data.table["image"]) == ["front.dcm", "no-suffix", "plain.png"]
    assert list(prepared.unreadable) == ["side.dcm", "slice.dcm"]
    assert np.array_equal(prepared.images[0], 255 - prepared.images[1])
    (bits,) = [finding for finding in check_images(prepared) if finding.name == "bits"]
    assert "DICOM files are shown by their own table or window" in bits.message
    (modes,) = [finding for finding in check_images(prepared) if finding.name == "sizes and modes"]
    assert "DICOM MONOCHROME1 of 12 bits (1)" in modes.message
    kept = b"".join(file.read_bytes() for file in (tmp_path / "cache").rglob("*") if file.is_file())
    assert SECRET.encode() not in kept


def test_views_that_the_table_tells_are_wanted(tmp_path):
    paths = [make(tmp_path / "front.dcm", RAMP), make(tmp_path / "side.dcm", RAMP, ViewPosition="LL")]
    source, data = make_source(tmp_path, paths, ["PA", "L"])
    assert len(prepare(source, data, 64, tmp_path / "cache").images) == 2


# --- an independent renderer ----------------------------------------------------------------------------------------

RENDERED = [
    "RG1_UNCR.dcm", "RG1_UNCI.dcm", "RG3_UNCR.dcm", "RG3_UNCI.dcm", "6154", "6247", "6278",
    "693_UNCR.dcm", "MR2_UNCR.dcm", "MR_small_RLE.dcm", "CT_small.dcm",
    "mlut_18.dcm", "vlut_04.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm",
]  # fmt: skip


def find_real(name: str) -> Path:
    root = Path(pydicom.data.__file__).parent
    return next(iter(root.rglob(name)), None) or find_file(name)


@pytest.mark.service
def test_real_files_are_rendered_as_by_dcmtk_within_one_grey_level(tmp_path, any_modality):
    if shutil.which("dcmj2pnm") is None:
        pytest.skip("dcmj2pnm of dcmtk is not installed")
    packed = {"dcmcrle": tmp_path / "rle.dcm", "dcmcjpeg": tmp_path / "jpeg-lossless.dcm"}
    for program, path in packed.items():
        subprocess.run([program, str(find_file("RG1_UNCR.dcm")), str(path)], check=True, capture_output=True)
    inverted = 0
    for path in [*map(find_real, RENDERED), *packed.values()]:
        out = tmp_path / "out.pgm"
        tags = pydicom.dcmread(path, stop_before_pixels=True)
        inverted += tags.PhotometricInterpretation == "MONOCHROME1"
        window = ["+Wl", "1"] if "VOILUTSequence" in tags else ["+Wi", "1"] if tags.get("WindowWidth") else []
        subprocess.run(["dcmj2pnm", "+op", *window, str(path), str(out)], check=True, capture_output=True)
        reference = np.asarray(Image.open(out)).astype(int)
        ours = decode(path, view_known=True).astype(int)
        assert np.abs(reference - ours).max() <= 1, path.name
        assert reference.std() > 0 or ours.std() == 0, path.name
    assert inverted >= 8


def test_a_deflated_file_is_read_and_one_that_unfolds_to_any_size_is_not(tmp_path, monkeypatch):
    file = pydicom.dcmread(find_file("RG1_UNCR.dcm"))
    file.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    file.save_as(tmp_path / "deflated.dcm")
    content = (tmp_path / "deflated.dcm").read_bytes()
    assert np.array_equal(decode(tmp_path / "deflated.dcm"), decode(find_file("RG1_UNCR.dcm")))
    assert np.array_equal(decode(content), decode(find_file("RG1_UNCR.dcm")))
    monkeypatch.setattr(dicom, "MOST_UNFOLDED", 100_000)
    for source in (content, tmp_path / "deflated.dcm"):
        for read in (decode, read_header):
            with pytest.raises(DataError, match="unfold to more than"):
                read(source)
