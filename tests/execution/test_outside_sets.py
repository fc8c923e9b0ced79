"""A board of ChestX-ray14 is measured on sets in the layouts of their publishers, on real images of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.board import BOARD_FILE, open_board
from harness.results.store import read_records
from tests.data.test_dicom import make
from tests.plugins import test_chexpert as chexpert
from tests.plugins import test_openi as openi
from tests.plugins import test_padchest as padchest
from tests.plugins import test_vindr_cxr as vindr

pytestmark = pytest.mark.slow

BOARD = """title = "From NIH to others"
objective = "auroc"
metrics = ["auroc", "f1"]

[dataset]
name = "nih-cxr14"
allow_missing = true
{}
[[rows]]
models = ["tiny-cnn"]
losses = ["bce"]
recipes = ["demo"]
params = {{ recipe = {{ epochs = 1, size = 64, load_size = 64, weights = "random" }} }}
"""
CHEXPERT = """
[[test]]
dataset = "chexpert"
name = "CheXpert"
split = "valid"
"""
VINDR = """
[[test]]
dataset = "vindr-cxr"
splits = ["train", "val", "test"]
"""
PADCHEST = """
[[test]]
dataset = "padchest"
name = "PadChest"
splits = ["train", "val", "test"]
"""
OPENI = """
[[test]]
dataset = "openi"
splits = ["train", "val", "test"]
"""


def draw(path: Path, seed: int) -> None:
    """An image like no other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 255, (8, 8), dtype=np.uint8)
    Image.fromarray(small).resize((80, 80), Image.Resampling.BICUBIC).save(path)


def write_chexpert(root: Path) -> None:
    """Eight images of the valid part: Edema 1, 0, -1 and blank twice over, Effusion 1 and 0 by turns."""
    rows = [
        chexpert.make_row(
            f"valid/patient{n:05d}/study1/view1_frontal.jpg",
            *("Male", "50", "Frontal", "AP"),
            Edema=["1.0", "0.0", "-1.0", ""][n % 4],
            Pleural_Effusion=["1.0", "0.0"][n % 2],
        )
        for n in range(100, 108)
    ]
    chexpert.write(root, valid=rows)
    for n, row in enumerate([*rows, *chexpert.TRAIN]):
        draw(root / row.partition("small/")[2].partition(",")[0], n)


def write_vindr(root: Path) -> None:
    vindr.write_kaggle(root)
    for n, name in enumerate("abc"):
        (root / "train").mkdir(exist_ok=True)
        values = np.random.default_rng(100 + n).integers(0, 4000, (8, 8)).repeat(10, axis=0).repeat(10, axis=1)
        make(root / "train" / f"{name}.dicom", values)


def write_padchest(root: Path) -> None:
    lists = ["['normal']", "['cardiomegaly', 'pleural effusion']", "['pneumonia']", "['nodule', 'cardiomegaly']"]
    padchest.write_table(root, *({"Labels": labels} for labels in lists))
    for n in range(len(lists)):
        draw(root / "0" / f"{n}.png", 200 + n)


def write_openi(root: Path) -> None:
    openi.write_reports(root, openi.THREE)
    openi.write_views(root, openi.SIDES)
    for n, name in enumerate(openi.SIDES):
        draw(root / "NLMCXR_png" / f"{name}.png", 300 + n)


@pytest.fixture
def data(sample, tmp_path) -> Path:
    folder: Path = tmp_path / "data"
    folder.mkdir()
    (folder / "nih-cxr14").symlink_to(sample)
    for name, write in (
        ("chexpert", write_chexpert),
        ("vindr-cxr", write_vindr),
        ("padchest", write_padchest),
        ("openi", write_openi),
    ):
        (folder / name).mkdir()
        write(folder / name)
    return folder


def test_three_sets_are_measured_exactly_and_a_fourth_one_later_trains_nothing(harness, data, tmp_path):
    folder = tmp_path / "board"
    folder.mkdir()
    (folder / BOARD_FILE).write_text(BOARD.format(CHEXPERT + VINDR + PADCHEST))
    code, _, err = harness("run", str(folder), "--data-root", str(data))
    assert code == 0, err
    (record,) = read_records(folder).records
    parts = dict(zip(("chexpert", "vindr", "padchest"), record.outside.values(), strict=True))
    assert {part.status for part in parts.values()} == {"done"}

    def count(part: str, label: str) -> tuple[int, int, int]:
        found = parts[part].labels[label]
        return found.known, found.left_out, found.positives

    assert count("chexpert", "Edema") == (4, 4, 2)
    assert count("chexpert", "Effusion") == (8, 0, 4)
    assert count("chexpert", "Hernia") == (0, 0, 0)
    assert parts["chexpert"].labels["Mass"].reason == "chexpert has only Lung Lesion, which is wider"
    assert count("vindr", "Cardiomegaly") == (3, 0, 1)
    assert count("padchest", "Cardiomegaly") == (4, 0, 2)
    assert count("padchest", "Effusion") == (4, 0, 1)
    trained = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/weights.safetensors")}
    (folder / BOARD_FILE).write_text(BOARD.format(CHEXPERT + VINDR + PADCHEST + OPENI))
    code, _, err = harness("run", str(folder), "--data-root", str(data))
    assert code == 0, err
    assert err.count("measured on ") == 1
    assert f"measured on openi--fcdc31: {record.combo.name}" in err
    assert "seed 0: AUROC" not in err
    assert {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/weights.safetensors")} == trained
    (after,) = read_records(folder).records
    assert {key: after.outside[key] for key in record.outside} == record.outside
    board = open_board(folder)
    assert list(after.outside) == [test.key for test in board.tests]
    assert after.outside[board.tests[3].key].labels["Cardiomegaly"].positives == 1


def test_the_same_images_as_a_set_of_another_name_are_found(harness, data, sample, tmp_path):
    """NIH's own training images, saved again as JPEG at half the size, under other names and in another table."""
    names = (sample / "train_val_list.txt").read_text().split()
    there = {path.name: path for path in sample.glob("images_*/**/*.png")}
    chosen = [name for name in names if name in there][:12]
    copies = data / "csv"
    copies.mkdir()
    for n, name in enumerate(chosen):
        Image.open(there[name]).convert("L").resize((512, 512)).save(copies / f"{n}.jpg", quality=60)
    rows = [f"{n}.jpg,p{n},test,{n % 2}" for n in range(len(chosen))]
    (copies / "labels.csv").write_text("\n".join(["image,patient,split,Effusion", *rows]))
    folder = tmp_path / "board"
    folder.mkdir()
    (folder / BOARD_FILE).write_text(BOARD.format('\n[[test]]\ndataset = "csv"\n'))
    code, _, err = harness("run", str(folder), "--data-root", str(data))
    assert code == 1
    assert f"12 images with nearly the same pixels ({chosen[0]} is 0.jpg" in err
