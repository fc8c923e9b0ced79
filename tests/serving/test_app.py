"""What the app answers, asked without a server."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from harness import DataError
from harness.data.columns import ColumnCode, name_numbers
from harness.data.loading import find_source, load
from harness.evaluation.calibration import Calibration
from harness.registry import load_registry
from harness.serving.answers import describe_image, describe_row, describe_rows, tell_decision
from harness.serving.app import App
from harness.serving.examples import Examples, order_examples
from harness.serving.guard import Guard
from harness.serving.limits import AppLimits
from harness.serving.loading import open_row
from tests.conftest import TOY
from tests.serving.conftest import call, make_png


@pytest.fixture
def make_app(toy_rows, tmp_path):
    """Makes the app of both toy rows."""

    def make(*, token: str = "", rows: Any = toy_rows, read: Any = None, **more: Any) -> Any:
        registry = load_registry([TOY])
        source = find_source(registry.offer("dataset", "toy"), {}, tmp_path)
        examples = Examples(rows[0], read or (lambda: load(source)))
        return App(rows, registry, examples, Guard(host="127.0.0.1", token=token), **more).make()

    return make


@pytest.fixture
def app(make_app):
    return make_app()


# --- an image --------------------------------------------------------------------------------------------------------


def test_an_image_has_the_numbers_of_predict(app, ask, toy_rows, image, tmp_path):
    (tmp_path / "one.png").write_bytes(image)
    for number, row in enumerate(toy_rows):
        answer = ask(app, f"/api/predict?row={number}", image)
        scores = row.predict([tmp_path / "one.png"])
        said = answer.json["labels"]
        assert answer.status == 200
        assert [one["label"] for one in said] == list(row.labels)
        values = np.where(np.isnan(scores.calibrated), scores.probability, scores.calibrated)[0]
        assert [one["probability"] for one in said] == values.tolist()
        assert [float(one["reached"]) for one in said] == scores.decisions[0].tolist()


def test_what_stands_beside_a_label_is_what_the_record_says(app, ask, toy_rows, image):
    row = toy_rows[0]
    for place, one in enumerate(ask(app, "/api/predict?row=0", image).json["labels"]):
        recorded = row.record.metrics["auroc"].per_label[one["label"]]
        assert one["auroc"] == {
            "value": recorded.value,
            "interval": None if recorded.interval is None else list(recorded.interval),
            "positives": recorded.positives,
        }
        assert one["prevalence"] == row.members[0].task.prevalence[place]
        assert one["known"] is None


def test_the_picture_is_what_the_row_loads(app, ask, toy_rows, image):
    import base64

    address = ask(app, "/api/predict?row=0", image).json["picture"]
    shown = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    assert np.array_equal(np.asarray(shown), np.asarray(Image.open(io.BytesIO(image))))


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_other_kinds_of_images_are_read_too(app, ask, image, form):
    file = io.BytesIO()
    Image.open(io.BytesIO(image)).save(file, form)
    assert ask(app, "/api/predict?row=0", file.getvalue()).status == 200


def test_dicom_is_read_from_its_bytes_as_from_its_file(app, ask, toy_rows):
    from pydicom.data import get_testdata_file

    path = Path(str(get_testdata_file("RG1_UNCR.dcm")))
    answer = ask(app, "/api/predict?row=0&name=RG1_UNCR.dcm", path.read_bytes())
    assert answer.status == 200, answer.body
    expected = toy_rows[0].predict([path])
    assert [one["probability"] for one in answer.json["labels"]] == expected.calibrated[0].tolist()


def test_a_heat_map_is_transparent_where_nothing_is_and_light_where_it_is_highest(app, ask, toy_rows, image):
    found = {label: ask(app, f"/api/map?row=0&label={label}", image) for label in toy_rows[0].labels}
    made = {label: one for label, one in found.items() if one.headers["heat-map"] == "by Grad-CAM"}
    assert made
    for answer in made.values():
        assert answer.headers["content-type"] == "image/png"
        colors = np.asarray(Image.open(io.BytesIO(answer.body)))
        assert colors.shape == (16, 16, 4)
        highest = np.unravel_index(colors[..., 3].argmax(), (16, 16))
        assert colors[highest].tolist() == [252, 255, 164, 255]  # inferno ends in light yellow: red is no blue here


def test_a_network_to_which_nothing_speaks_for_a_label_has_a_transparent_map(make_app, ask, toy_rows, image):
    row = toy_rows[0]
    network = torch.nn.Sequential(
        *[torch.nn.Conv2d(1, 3, 3, padding=1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    )
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    member = dataclasses.replace(row.members[0], network=network.eval())
    dark = dataclasses.replace(row, members=(member,), _windows={})
    answer = ask(make_app(rows=[dark]), "/api/map?row=0&label=first", image)
    assert answer.status == 200, answer.body
    assert not np.asarray(Image.open(io.BytesIO(answer.body))).any()
    assert answer.headers["heat-map"] == "nothing in this image speaks for the label"


def test_what_the_network_gets_beside_an_image_is_asked_for_and_may_be_unknown(make_app, ask, toy_rows, image):
    class Beside(torch.nn.Module):
        """Its logits are the numbers that it is given: age, its being known, and sex."""

        def forward(self, images: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
            return torch.stack([table[:, 0, 0], table[:, 0, 1], table[:, 1, 0]], dim=1)

    row, member = toy_rows[0], toy_rows[0].members[0]
    codes = (ColumnCode("age", mean=50.0, scale=10.0), ColumnCode("sex", texts=("F", "M")))
    task = dataclasses.replace(member.task, table=name_numbers(codes))
    member = dataclasses.replace(member, network=Beside(), codes=codes, task=task)
    plain = dataclasses.replace(row.fitted, calibration=Calibration(np.ones(3), np.zeros(3)))
    app = make_app(rows=[dataclasses.replace(row, members=(member,), fitted=plain, _windows={})])
    page = ask(app, "/").body.decode()
    assert 'data-beside="age"' in page
    assert "<option>F</option><option>M</option>" in page

    def find_logits(query: str) -> list[float]:
        said = ask(app, f"/api/predict?row=0{query}", image).json["labels"]
        scores = np.array([one["probability"] for one in said])
        logits: list[float] = np.log(scores / (1 - scores)).round(5).tolist()
        return logits

    assert find_logits("&beside.age=70&beside.sex=M") == [2, 1, 1]
    assert find_logits("&beside.sex=F") == [0, 0, 0]
    answer = ask(app, "/api/predict?row=0&beside.age=old", image)
    assert (answer.status, answer.error) == (422, "The value of age must be a number, or empty where it is unknown.")


# --- what is refused -------------------------------------------------------------------------------------------------


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
    from tests.serving.conftest import make_bomb

    answer = ask(app, "/api/predict?row=0", make_bomb(5800))
    assert answer.status == 413
    assert "5,800 x 5,800 pixels, and it may have 33,554,432" in answer.error


def test_a_deflated_dicom_file_is_refused_before_it_is_unfolded(app, ask, tmp_path, monkeypatch):
    import zlib

    import pydicom
    from pydicom.data import get_testdata_file

    file = pydicom.dcmread(str(get_testdata_file("RG1_UNCR.dcm")))
    file.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    file.save_as(tmp_path / "deflated.dcm")
    monkeypatch.setattr(zlib, "decompress", lambda *_: pytest.fail("it was unfolded"))
    answer = ask(app, "/api/predict?row=0", (tmp_path / "deflated.dcm").read_bytes())
    assert answer.status == 422
    assert "a deflated DICOM file can unfold to any size" in answer.error


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


# --- who asks --------------------------------------------------------------------------------------------------------


def test_every_answer_forbids_what_comes_from_elsewhere_and_none_may_be_read_from_there(app, ask, image):
    for answer in (ask(app, "/"), ask(app, "/app.js"), ask(app, "/gone"), ask(app, "/api/predict?row=0", image)):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_strange_host_and_another_site_are_refused_everywhere(app, ask, image):
    for path, body in (("/", None), ("/api/predict?row=0", image)):
        assert ask(app, path, body, headers={"host": "evil.example"}).status == 400
        assert ask(app, path, body, headers={"origin": "http://evil.example"}).status == 403


def test_the_page_hands_its_token_to_what_it_loads(make_app, ask):
    app = make_app(token="sesame")
    assert ask(app, "/").status == 403
    page = ask(app, "/?token=sesame").body.decode()
    assert ask(app, "/app.js").status == 403
    loaded = re.findall(r'(?:src|href)="([^"#:]+)"', page)
    assert len(loaded) == 3
    assert all(ask(app, f"/{address}").status == 200 for address in loaded)


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_says_that_it_is_no_medical_device_and_holds_no_script_or_style(app, ask):
    page = ask(app, "/").body.decode()
    assert "This is no medical device." in page
    assert "<style" not in page
    assert not re.search(r"\sstyle=|\son\w+=|javascript:", page)
    assert re.findall(r"<script[^>]*>", page) == ['<script src="app.js">']
    assert "toy-net--bce--toy" in page


def test_a_row_of_a_weight_file_alone_says_what_is_unknown(make_app, ask, toy_rows, image):
    row = open_row(str(toy_rows[0].weights[0]), load_registry([TOY]), torch.device("cpu"))
    app = make_app(rows=[row])
    said = ask(app, "/api/predict?row=0", image).json["labels"]
    assert {one["auroc"] for one in said} == {None}
    assert all(one["prevalence"] is not None for one in said)
    assert "AUROC is unknown" in describe_row(row, None)["about"]
    assert "toy-net from a weight file" in ask(app, "/").body.decode()


def test_rows_of_one_name_are_told_apart_by_their_place_and_board(toy_rows):
    first, second = toy_rows
    titles = [one["title"] for one in describe_rows([first, second, first], None)]
    assert titles == [
        "1: toy-board::toy-net--bce--toy",
        "tiny-cnn--bce--toy",
        "3: toy-board::toy-net--bce--toy",
    ]


# --- examples --------------------------------------------------------------------------------------------------------


def test_examples_are_test_images_with_what_is_known_of_them(app, ask, toy_rows, small_data):
    found = ask(app, "/api/examples").json
    assert found["reason"] == ""
    assert 1 < len(found["examples"]) <= 8
    test = np.flatnonzero((small_data.table["split"] == "test").to_numpy())
    for one in found["examples"]:
        index = test[one["example"]]
        said = ask(app, f"/api/predict?row=0&example={one['example']}", b"").json["labels"]
        targets = dict(zip(small_data.labels, small_data.targets[index], strict=True))
        assert {label["label"]: label["known"] for label in said} == {
            label: "present" if target else "absent" for label, target in targets.items()
        }
        expected = toy_rows[0].predict([np.asarray(small_data.images[index])])
        assert [label["probability"] for label in said] == expected.calibrated[0].tolist()
        assert ask(app, f"/api/map?row=1&label=first&example={one['example']}", b"").status == 200


def test_without_the_images_the_page_says_why_there_are_no_examples(make_app, ask, image):
    def read() -> None:
        raise DataError("no labels.csv in data; give --data-root DIR")

    app = make_app(read=read)
    assert ask(app, "/api/examples").json == {
        "examples": [],
        "reason": "There are no examples: no labels.csv in data; give --data-root DIR.",
    }
    assert ask(app, "/api/predict?row=0", image).status == 200
    assert ask(app, "/api/predict?row=0&example=0", b"").status == 404


def test_the_first_examples_show_many_labels_and_one_shows_none():
    targets = np.zeros((200, 4), dtype=np.float32)
    targets[:150, 0] = 1
    targets[3, 1] = targets[5, 2] = targets[5, 3] = 1
    first = order_examples(targets)[:5]
    assert targets[first].max(axis=0).tolist() == [1, 1, 1, 1]
    assert (targets[first].sum(axis=1) == 0).sum() >= 1


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decision", "value", "threshold", "words"),
    [
        (1, 0.42, 0.31, "above its threshold 0.310"),
        (0, 0.12, 0.31, "below its threshold 0.310"),
        (1, 0.3101, 0.31, "just above its threshold 0.310"),
        (float("nan"), 0.3, float("nan"), "no threshold: validation could not fit one"),
    ],
)
def test_a_decision_is_said_in_words(decision, value, threshold, words):
    assert tell_decision(decision, value, threshold) == words


def test_a_probability_is_above_the_drawn_threshold_exactly_where_the_label_counts_as_present(toy_rows):
    row = toy_rows[0]
    images = np.random.default_rng(0).integers(0, 255, (40, 16, 16), dtype=np.uint8)
    for image in images:
        for one in describe_image(row, row.predict([image]), None, None):
            if one["threshold"] is not None:
                assert one["reached"] == (one["probability"] >= one["threshold"])


def test_where_calibration_reverses_a_label_no_threshold_is_drawn_and_without_one_the_score_is_shown(toy_rows):
    row = toy_rows[0]
    lines = Calibration(np.array([-1.0, np.nan, 1.0]), np.array([0.0, np.nan, 0.0]))
    changed = dataclasses.replace(row, fitted=dataclasses.replace(row.fitted, calibration=lines))
    pixels = np.full((16, 16), 90, dtype=np.uint8)
    scores = changed.predict([pixels])
    reversed_, plain, usual = describe_image(changed, scores, None, None)
    assert reversed_["threshold"] is None
    assert "calibration reverses this label" in reversed_["decision"]
    assert (plain["calibrated"], plain["probability"]) == (False, scores.probability[0, 1])
    assert plain["threshold"] == pytest.approx(row.thresholds()[1])
    assert usual["threshold"] == pytest.approx(row.thresholds()[2])


def test_parallel_requests_are_all_answered_alike(app, image):
    async def main() -> list[Any]:
        return await asyncio.gather(*(call(app, "/api/predict?row=0", image) for _ in range(20)))

    answers = asyncio.run(main())
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
