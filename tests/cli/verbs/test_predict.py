"""`harness predict`: what it prints and writes, what scores it, and what it says of images that cannot be used."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from harness.evaluation.predictions import load_predictions
from harness.results.store import read_records
from harness.serving.loading import open_row
from harness.serving.scores import Fitted
from tests.data.test_dicom import make as make_dicom

ROW = "tiny-cnn--bce--toy"


def find_run(board: Path, seed: int = 0) -> Path:
    (key,) = [r.key for r in read_records(board).records if (r.combo.row, r.combo.seed) == (ROW, seed)]
    return board / "runs" / key


@pytest.fixture
def row(toy_board) -> str:
    return f"{toy_board}::{ROW}"


@pytest.fixture
def folder(small_data, tmp_path) -> Path:
    """The test images as files, called as the dataset calls them."""
    place: Path = tmp_path / "images"
    place.mkdir()
    for number in np.flatnonzero(small_data.table["split"] == "test"):
        Image.fromarray(np.asarray(small_data.images[number])).save(place / f"{small_data.table['image'][number]}.png")
    return place


def test_a_dataset_has_the_stored_predictions_bit_by_bit(harness, row, toy_board):
    code, out, err = harness("predict", row, "toy", "--out", "scores.npz")
    assert (code, err) == (0, "")
    assert out == "scores.npz: scores of 12 images\n"
    found, stored = load_predictions(Path("scores.npz")), load_predictions(find_run(toy_board) / "predictions-test.npz")
    for name in ("image", "patient", "logits", "targets"):
        assert np.array_equal(getattr(found, name), getattr(stored, name), equal_nan=name == "targets"), name
    assert found.labels == stored.labels
    with np.load("scores.npz") as file:
        assert set(np.unique(file["decision"])) <= {0.0, 1.0}
        assert file["calibrated"].shape == file["logits"].shape


def test_what_it_writes_is_scored_and_submitted_as_the_board_measured_it(harness, row, toy_board):
    record = next(r for r in read_records(toy_board).records if (r.combo.row, r.combo.seed) == (ROW, 0))
    for file in ("scores.npz", "scores.csv"):
        assert harness("predict", row, "toy", "--out", file)[0] == 0
        code, out, err = harness("score", file, "--dataset", "toy", "--metrics", "auroc", "--json")
        assert code == 0, err
        assert json.loads(out)["metrics"]["auroc"]["macro"] == pytest.approx(record.metrics["auroc"].macro, abs=1e-12)
        assert "left out" not in err
    board = Path(shutil.copytree(toy_board, "board"))
    code, _, err = harness("submit", str(board), "--name", "mine", "--predictions", "scores.csv", "--about", "by hand")
    assert code == 0, err
    submitted = next(r for r in read_records(board).records if r.external)
    assert submitted.metrics["auroc"].macro == pytest.approx(record.metrics["auroc"].macro, abs=1e-12)


def test_a_folder_has_a_row_for_each_image_in_a_csv(harness, row, folder, toy_board):
    code, _, err = harness("predict", row, str(folder), "--out", "scores.csv", "--policy", "0.5")
    assert (code, err) == (0, "")
    table = pd.read_csv("scores.csv")
    stored = load_predictions(find_run(toy_board) / "predictions-test.npz")
    labels = list(stored.labels)
    beside = [f"{label} {what}" for what in ("calibrated", "decision") for label in labels]
    assert list(table.columns) == ["image", *labels, *beside, "problem"]
    assert [name.removesuffix(".png") for name in table["image"]] == stored.image.tolist()
    assert np.array_equal(table[labels].to_numpy(), stored.scores)
    decided = table[[f"{label} decision" for label in labels]].to_numpy()
    assert np.array_equal(decided, (stored.scores >= 0.5).astype(int))


def test_images_that_cannot_be_used_are_gaps_and_the_rest_goes_on(harness, row, folder):
    (folder / "a-noise.png").write_bytes(b"no image")
    whole = (folder / "i006.png").read_bytes()
    (folder / "b-short.png").write_bytes(whole[: len(whole) // 2])
    with (folder / "c-huge.png").open("wb") as file:
        file.truncate(10**9)
    (folder / "notes.txt").write_text("not an image")
    for out in ("scores.csv", "scores.npz"):
        code, said, err = harness("predict", row, str(folder), "--out", out)
        assert code == 1
        assert said == f"{out}: scores of 12 images, and 3 gaps where one could not be used\n"
        lines = err.splitlines()
        assert len(lines) == 4
        assert lines[0].endswith("1 file is left out: its name does not end as those of images do")
        assert "a-noise.png: it is no image that can be read; give PNG, JPEG, TIFF or DICOM" in err
        assert "b-short.png: it cannot be decoded" in err
        assert "c-huge.png: it has 954 MiB, and an image may have 256 MiB" in err
    table = pd.read_csv("scores.csv").set_index("image")
    assert table.loc["c-huge.png", "problem"] == "it has 954 MiB, and an image may have 256 MiB"
    assert table.drop(columns="problem").isna().all(axis=1).sum() == 3
    found = load_predictions(Path("scores.npz"))
    assert len(found.image) == 12
    assert "is without 3 images that could not be predicted, first 'a-noise.png'" in found.notes[0]


def test_score_leaves_gaps_out_and_says_so(harness, row, folder, small_data):
    (folder / "a-noise.png").write_bytes(b"no image")
    harness("predict", row, str(folder), "--out", "scores.csv")
    targets = pd.DataFrame(small_data.targets, columns=list(small_data.labels))
    targets.insert(0, "image", [f"{name}.png" for name in small_data.table["image"]])
    targets.to_csv("targets.csv", index=False)
    code, _, err = harness("score", "scores.csv", "--targets", "targets.csv", "--metrics", "auroc")
    assert code == 0, err
    assert "is without 1 image that could not be predicted, first 'a-noise.png' (it is no image" in err


def test_one_image_is_a_table_and_json_is_one_document(harness, row, folder):
    image = str(folder / "i006.png")
    code, out, err = harness("predict", row, image)
    assert (code, err) == (0, "")
    assert "decisions at the thresholds of val-f1" in out
    assert "i006.png" in out
    assert all(label in out for label in ("first", "second", "third"))
    assert out.splitlines()[2].split() == ["i006.png", "probability", "threshold", "present", "calibrated"]
    (folder / "noise.png").write_bytes(b"no image")
    code, out, _ = harness("predict", row, image, str(folder / "noise.png"), "--json")
    assert code == 1
    document: dict[str, Any] = json.loads(out)
    assert document["labels"] == ["first", "second", "third"]
    assert [one["image"] for one in document["images"]] == ["i006.png", "noise.png"]
    assert set(document["images"][0]["labels"]["first"]) == {"logit", "probability", "calibrated", "decision"}
    assert "no image" in document["images"][1]["problem"]


def test_labels_that_calibration_reverses_are_named(toy_board, registry, monkeypatch):
    from harness.evaluation.calibration import Calibration

    line = Calibration(np.array([-1.0, 0.0, 1.0]), np.zeros(3))
    monkeypatch.setattr(
        "harness.serving.loading.fit_single", lambda _: Fitted(thresholds={}, calibration=line, policy="")
    )
    (note,) = open_row(f"{toy_board}::{ROW}", registry, torch.device("cpu")).notes
    assert note.startswith("the calibrated probability of first, second does not rise with the probability")


def test_all_seeds_are_an_ensemble(harness, row, toy_board):
    code, _, err = harness("predict", row, "toy", "--seeds", "all", "--out", "scores.npz")
    assert code == 0
    assert "the probabilities of 2 seeds are averaged as an ensemble" in err
    found = load_predictions(Path("scores.npz"))
    stored = [load_predictions(find_run(toy_board, seed) / "predictions-test.npz").scores for seed in (0, 1)]
    np.testing.assert_allclose(found.scores, np.mean(stored, axis=0), rtol=1e-12)


def test_the_weight_file_alone_is_enough(harness, row, folder, toy_board, tmp_path):
    shutil.copy(find_run(toy_board) / "weights.safetensors", tmp_path / "weights.safetensors")
    assert harness("predict", "weights.safetensors", str(folder), "--out", "alone.csv")[0] == 0
    assert harness("predict", row, str(folder), "--out", "measured.csv")[0] == 0
    assert Path("alone.csv").read_bytes() == Path("measured.csv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing.png"], "nothing.png: there is no such file"),
        (["toy", "nothing.png"], "toy is a dataset: give it alone"),
        (["."], ". holds no image: give a folder with PNG, JPEG, TIFF or DICOM files"),
        (["nothing.png", "--option", "count=3"], "--option count=3: options are a dataset's"),
        (["toy", "--out", "scores.txt"], "--out scores.txt: scores are written to a .csv or an .npz file"),
        (["toy", "--out", "scores.csv", "--json"], "give one of them"),
        (["toy", "--seeds", "x"], "--seeds x: give whole numbers"),
        (["toy", "--policy", "oracle"], "unknown threshold policy of this row 'oracle'"),
        (["toy", "--table", "table.csv"], "this network gets images alone; leave the option out"),
    ],
)
def test_what_cannot_be_predicted_is_said_in_one_line(harness, row, arguments, says):
    code, out, err = harness("predict", row, *arguments)
    assert code == (1 if arguments == ["nothing.png"] else 2)
    assert says in err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in out + err


def test_show_names_the_weight_file(harness, row, toy_board):
    _, out, _ = harness("show", row)
    assert f"weights, seed 1: {find_run(toy_board, 1) / 'weights.safetensors'}" in " ".join(out.split())


# --- kinds of image files --------------------------------------------------------------------------------------------


def test_png_jpeg_tiff_and_dicom_are_read_as_training_reads_them(harness, row, small_data):
    pixels = np.asarray(small_data.images[6])
    for name in ("a.png", "b.tif"):
        Image.fromarray(pixels).save(name)
    make_dicom(Path("c"), pixels.astype(np.uint16), bits=8)
    Image.fromarray(pixels).save("d.jpg", quality=100)
    Image.fromarray(pixels).resize((50, 40)).save("e.png")
    assert harness("predict", row, "a.png", "b.tif", "c", "d.jpg", "e.png", "--out", "scores.csv")[0] == 0
    found = pd.read_csv("scores.csv").set_index("image")[list(small_data.labels)]
    assert (found.loc["a.png"] == found.loc["b.tif"]).all()
    assert (found.loc["a.png"] == found.loc["c"]).all()
    np.testing.assert_allclose(found.loc["d.jpg"], found.loc["a.png"], atol=0.1)
    np.testing.assert_allclose(found.loc["e.png"], found.loc["a.png"], atol=0.3)


def test_images_that_are_no_radiograph_of_the_right_kind_are_named(harness, row, small_data):
    pixels = np.asarray(small_data.images[6])
    Image.fromarray(pixels).save("good.png")
    make_dicom(Path("side.dcm"), pixels, ViewPosition="LL")
    make_dicom(Path("film.dcm"), np.stack([pixels, pixels]).reshape(32, 16), NumberOfFrames=2, Rows=16)
    Image.fromarray(pixels.astype(np.uint16) * 16).save("deep.png")
    Image.new("1", (9000, 9000)).save("wide.png")
    Image.new("1", (20000, 20000)).save("wider.png")
    os.mkfifo("pipe.png")
    names = ["side.dcm", "film.dcm", "deep.png", "wide.png", "wider.png", "pipe.png", "good.png"]
    code, out, err = harness("predict", row, *names, "--out", "scores.csv")
    assert code == 1
    assert out == "scores.csv: scores of 1 image, and 6 gaps where one could not be used\n"
    assert len(err.splitlines()) == 6
    said = pd.read_csv("scores.csv").set_index("image")["problem"]
    assert said.isna().tolist() == [False] * 6 + [True]
    for name, words in (
        ("side.dcm", "LL"),
        ("film.dcm", "2 frames"),
        ("deep.png", "the row was trained on images of 8 bits"),
        ("wide.png", "it has 9,000 x 9,000 pixels, and an image may have 67,108,864"),
        ("wider.png", "it has too many pixels: an image may have 67,108,864"),
        ("pipe.png", "it is no ordinary file"),
    ):
        assert words in said[name], said[name]


def test_a_file_of_several_images_or_of_a_kind_that_is_no_image_is_named(harness, row, small_data):
    """Pillow reads the first frame, and has Ghostscript run an EPS file, whatever its name says."""
    picture = Image.fromarray(np.asarray(small_data.images[6]))
    picture.save("pages.tif", save_all=True, append_images=[picture])
    picture.save("moves.png", save_all=True, append_images=[picture.rotate(90)])
    picture.save("program.png", format="EPS")
    picture.save("picture.webp")
    picture.save("photo.jpg", format="MPO", save_all=True, append_images=[picture])
    names = ["pages.tif", "moves.png", "program.png", "picture.webp", "photo.jpg"]
    assert harness("predict", row, *names, "--out", "scores.csv")[0] == 1
    said = pd.read_csv("scores.csv").set_index("image")["problem"]
    assert said["pages.tif"] == said["moves.png"] == "it holds 2 images; save the right one alone"
    assert said["program.png"] == said["picture.webp"]
    assert said["program.png"] == "it is no image that can be read; give PNG, JPEG, TIFF or DICOM"
    assert said.isna()["photo.jpg"]


def test_a_folder_from_a_disc_is_read_without_what_is_no_image_of_it(harness, row, folder, small_data):
    pixels = np.asarray(small_data.images[6])
    (folder / "README").write_text("open the viewer")
    make_dicom(folder / "DICOMDIR", pixels.astype(np.uint16))
    make_dicom(folder / "IM000001", pixels.astype(np.uint16), bits=8)
    code, _, err = harness("predict", row, str(folder), "--out", "scores.csv")
    assert code == 0
    assert "2 files are left out" in err
    assert "IM000001" in pd.read_csv("scores.csv")["image"].tolist()


def test_any_name_of_a_file_can_be_written(harness, row, folder):
    (folder / "i006.png").rename(os.fsdecode(os.fsencode(folder) + b"/lat\xe9.png"))
    (folder / "i007.png").rename(folder / "new\nline, [bold].png")
    for arguments in (["--out", "scores.csv"], ["--out", "scores.npz"], ["--json"], []):
        code, out, err = harness("predict", row, str(folder), *arguments)
        assert (code, err) == (0, "")
        if "--json" in arguments:
            assert {"lat\\xe9.png", "new\nline, [bold].png"} <= {one["image"] for one in json.loads(out)["images"]}
    assert {"lat\\xe9.png", "new\nline, [bold].png"} <= set(pd.read_csv("scores.csv")["image"])


def test_a_folder_that_stands_where_scores_should_go_is_said(harness, row):
    Path("scores.csv").mkdir()
    code, _, err = harness("predict", row, "toy", "--out", "scores.csv")
    assert code == 2
    assert err.startswith("error: cannot write scores.csv: Is a directory")


def test_two_files_of_one_name_are_called_by_their_paths(harness, row, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "again")
    code, _, _ = harness("predict", row, "images/i006.png", "again/i006.png", "--out", "scores.csv")
    assert code == 0
    assert pd.read_csv("scores.csv")["image"].tolist() == ["images/i006.png", "again/i006.png"]


def test_an_interruption_leaves_no_part_of_a_file(harness, row, monkeypatch):
    from harness.serving.window import Window

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Window, "predict", stop)
    code, _, _ = harness("predict", row, "toy", "--out", "scores.csv")
    assert code == 130
    assert not list(Path().glob("*scores.csv*"))
