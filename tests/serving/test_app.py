"""What the app answers, asked without a server."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data.columns import ColumnCode, name_numbers
from harness.evaluation.calibration import Calibration
from harness.registry import load_registry
from harness.serving.answers import describe_row, describe_rows
from harness.serving.loading import Seeds, open_each_seed, open_row
from tests.conftest import TOY
from tests.serving.conftest import call


# --- an image ---------------------------------------------------------------------------------------------------------
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


def test_parallel_requests_are_all_answered_alike(app, image):
    async def main() -> list[Any]:
        return await asyncio.gather(*(call(app, "/api/predict?row=0", image) for _ in range(20)))

    answers = asyncio.run(main())
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1


# --- who asks ---------------------------------------------------------------------------------------------------------
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


# --- the page ---------------------------------------------------------------------------------------------------------
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
        "1: toy-board::toy-net--bce--toy, seed 0",
        "tiny-cnn--bce--toy, seed 0",
        "3: toy-board::toy-net--bce--toy, seed 0",
    ]


# --- seeds ------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def each_seed(toy_board) -> tuple[Any, ...]:
    """A toy row by each of its two seeds, and by their mean."""
    return open_each_seed(f"{toy_board}::toy-net--bce--toy", load_registry([TOY]), torch.device("cpu"))


def test_each_seed_and_their_mean_have_the_numbers_of_predict(make_app, ask, each_seed, toy_board, image, tmp_path):
    (tmp_path / "one.png").write_bytes(image)
    app = make_app(rows=each_seed)
    found = []
    chosen: tuple[Seeds, ...] = ([0], [1], "all")
    for place, seeds in enumerate(chosen):
        row = open_row(f"{toy_board}::toy-net--bce--toy", load_registry([TOY]), torch.device("cpu"), seeds)
        scores = row.predict([tmp_path / "one.png"])
        said = ask(app, f"/api/predict?row={place}", image).json["labels"]
        values = np.where(np.isnan(scores.calibrated), scores.probability, scores.calibrated)[0]
        assert [one["probability"] for one in said] == values.tolist()
        assert [float(one["reached"]) for one in said] == scores.decisions[0].tolist()
        found.append(values)
    assert not np.array_equal(found[0], found[1])


def test_a_seed_is_chosen_on_the_page_which_says_how_many_there_are(make_app, ask, each_seed, toy_rows):
    assert [one["title"] for one in describe_rows(each_seed, None)] == [
        "toy-net--bce--toy, seed 0",
        "toy-net--bce--toy, seed 1",
        "toy-net--bce--toy, mean of 2 seeds",
    ]
    abouts = [one["about"] for one in describe_rows(each_seed, None)]
    assert "with seed 1, of the 2 that it has; AUROC is of its" in abouts[1]
    assert "with seeds 0 and 1. Their probabilities are averaged, and the AUROC of that is unknown" in abouts[2]
    page = ask(make_app(rows=[*each_seed, toy_rows[1]]), "/").body.decode()
    first, second = re.findall(r'<select id="row-\d" class="row">(.+?)</select>', page, re.DOTALL)
    for options, chosen in ((first, "toy-net--bce--toy, seed 0"), (second, "tiny-cnn--bce--toy, seed 0")):
        assert re.findall(r"selected>([^<]+)<", options) == [chosen]
    assert first.count("<option") == 4


def test_seeds_of_one_row_alone_can_be_compared_and_only_one_is_shown_at_first(make_app, ask, each_seed):
    page = ask(make_app(rows=each_seed), "/").body.decode()
    _, second = re.findall(r'<select id="row-\d" class="row">(.+?)</select>', page, re.DOTALL)
    assert "selected" not in second
    assert '<option value="">none</option>' in second


def test_each_seed_has_the_auroc_of_its_own_record_and_the_mean_has_none(make_app, ask, each_seed, image):
    app = make_app(rows=each_seed)
    said = [ask(app, f"/api/predict?row={place}", image).json["labels"] for place in range(3)]
    for place in (0, 1):
        recorded = each_seed[place].record.metrics["auroc"].per_label
        assert [one["auroc"]["value"] for one in said[place]] == [recorded[one["label"]].value for one in said[place]]
    assert {one["auroc"] for one in said[2]} == {None}


def test_a_heat_map_of_a_seed_is_that_of_its_network_and_that_of_the_mean_says_whose_it_is(
    make_app, ask, each_seed, image
):
    app, labels = make_app(rows=each_seed), each_seed[0].labels
    maps = [[ask(app, f"/api/map?row={place}&label={label}", image) for label in labels] for place in range(3)]
    drawn = [[one.body for one in of_one] for of_one in maps]
    assert drawn[0] != drawn[1]
    assert drawn[0] == drawn[2]
    for one, mean in zip(maps[0], maps[2], strict=True):
        assert mean.headers["heat-map"] == f"{one.headers['heat-map']} (seed 0 alone)"
