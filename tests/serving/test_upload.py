"""What the app does not take, and says why."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data import dicom
from harness.serving.limits import AppLimits
from tests.serving.conftest import make_bomb, make_png


@pytest.mark.parametrize(
    ("content", "name", "status", "says"),
    [
        (b"<html><script>alert(1)</script></html>", "page.png", 415, "no PNG, JPEG, TIFF or DICOM"),
        (b"", "", 415, "no PNG"),
        (b"GIF89a" + bytes(100), "a.gif", 415, "no PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "a.tif", 415, "no PNG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "a.png", 422, "cannot be used"),
        (b"\xff\xd8\xff" + bytes(50), "a.jpg", 422, "cannot be used"),
        (b"II*\0" + bytes(50), "a.tif", 422, "cannot be used"),
        (bytes(200), "a.dcm", 422, "cannot be used"),
        (bytes(128) + b"DICM" + bytes(20), "a", 422, "cannot be used"),
    ],
)
def test_what_is_no_image_is_refused_in_a_sentence(app, ask, content, name, status, says):
    for path in ("/api/predict?row=0", "/api/map?row=0&label=first"):
        answer = ask(app, f"{path}&name={name}", content)
        assert answer.status == status
        assert says in answer.error


def test_a_cut_image_is_refused(app, ask, image):
    answer = ask(app, "/api/predict?row=0", make_png(np.random.default_rng(0).integers(0, 255, (64, 64)))[:2000])
    assert answer.status == 422
    assert "cannot be used" in answer.error


def test_an_image_of_too_many_pixels_is_refused_before_it_is_unpacked(app, ask, bomb, monkeypatch):
    from PIL.ImageFile import ImageFile

    def load(self: Any) -> None:
        raise AssertionError("it was unpacked")

    monkeypatch.setattr(ImageFile, "load", load)
    answer = ask(app, "/api/predict?row=0", bomb)
    assert (answer.status, "too many pixels" in answer.error) == (413, True)
    answer = ask(app, "/api/predict?row=0", make_bomb(5800))
    assert answer.status == 413
    assert "5,800 x 5,800 pixels, and it may have 33,554,432" in answer.error


def test_a_file_of_several_images_is_refused(app, ask):
    file, picture = io.BytesIO(), Image.fromarray(np.zeros((16, 16), dtype=np.uint8))
    picture.save(file, "TIFF", save_all=True, append_images=[picture, picture])
    answer = ask(app, "/api/predict?row=0", file.getvalue())
    assert answer.status == 422
    assert "it holds 3 images" in answer.error


def test_a_slice_of_another_modality_is_refused_by_its_name(app, ask, tmp_path):
    import pydicom
    from pydicom.data import get_testdata_file

    file = pydicom.dcmread(str(get_testdata_file("RG1_UNCR.dcm")))
    file.Modality = "CT"
    file.save_as(tmp_path / "slice.dcm")
    answer = ask(app, "/api/predict?row=0", (tmp_path / "slice.dcm").read_bytes())
    assert answer.status == 422
    assert "This image cannot be used: an image of the modality CT, so no radiograph" in answer.error


def test_a_deflated_dicom_file_is_refused_before_too_much_is_unfolded(app, ask, tmp_path, monkeypatch):
    import zlib

    import pydicom
    from pydicom.data import get_testdata_file

    file = pydicom.dcmread(str(get_testdata_file("RG1_UNCR.dcm")))
    file.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    file.save_as(tmp_path / "deflated.dcm")
    monkeypatch.setattr(zlib, "decompress", lambda *_: pytest.fail("it was unfolded"))
    monkeypatch.setattr(dicom, "MOST_UNFOLDED", 1000)
    answer = ask(app, "/api/predict?row=0", (tmp_path / "deflated.dcm").read_bytes())
    assert answer.status == 422
    assert "unfold to more than" in answer.error


def test_a_file_that_is_too_large_is_refused(make_app, ask, image):
    answer = ask(make_app(limits=AppLimits(upload=len(image) - 1)), "/api/predict?row=0", image)
    assert answer.status == 413
    assert "larger than" in answer.error


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/nothing", None, 404),
        ("/../pyproject.toml", None, 404),
        ("/page.js", None, 404),
        ("/api/predict?row=0", None, 405),
        ("/api/predict?row=2", b"", 404),
        ("/api/predict?row=-1", b"", 404),
        (f"/api/predict?row={'9' * 5000}", b"", 404),
        (f"/api/predict?row=0&example={'9' * 5000}", b"", 404),
        ("/api/predict?row=0&example=99999", b"", 404),
        ("/api/predict?row=0&example=x", b"", 404),
        ("/api/map?row=0&label=gone", "image", 404),
    ],
)
def test_an_address_of_nothing_is_a_sentence_too(app, ask, image, path, body, status):
    answer = ask(app, path, image if body == "image" else body)
    assert answer.status == status
    assert answer.error


def test_a_network_that_fails_is_a_sentence_without_a_traceback(make_app, ask, toy_rows, image):
    class Failing(type(toy_rows[0])):  # type: ignore[misc]
        def predict(self, *arguments: Any, **more: Any) -> Any:
            raise RuntimeError("secret /home/somebody")

    row = Failing(**{field.name: getattr(toy_rows[0], field.name) for field in dataclasses.fields(toy_rows[0])})
    answer = ask(make_app(rows=[row]), "/api/predict?row=0", image)
    assert answer.status == 500
    assert "RuntimeError" in answer.error
    assert "secret" not in answer.error
