"""The script that makes the submitted rows of the kept boards again, from the files that their authors published."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from harness.leaderboards import submit_published as script
from harness.leaderboards.submit_published import CASP_LABELS, SYSTEMS, match_images

from harness import Data, DataError
from harness.results.store import read_records

LEADERBOARDS = Path(__file__).parents[1] / "leaderboards"
SHARED = Path(__file__).parents[2] / "shared" / "data"
SORTED = tuple(sorted(CASP_LABELS))


@pytest.fixture
def test_list() -> Data:
    """60 images of 20 patients, labels in the dataset's order."""
    draw = np.random.default_rng(0)
    targets = (draw.random((60, len(SORTED))) < 0.2).astype(np.float32)
    names = [f"{number // 3:03d}_{number % 3}.png" for number in range(60)]
    table = pd.DataFrame({"image": names, "split": "test", "patient": [str(number // 3) for number in range(60)]})
    return Data(labels=SORTED, images=[Path(name) for name in names], targets=targets, table=table)


def write_casp(path: Path, data: Data, order: np.ndarray, **changes: np.ndarray) -> Path:
    """A file as it is published: rows in another order, columns in its own, no names of images."""
    labels = data.targets[:, [SORTED.index(label) for label in CASP_LABELS]][order]
    arrays = {"test_logits": labels * 2 - 1, "test_labels": labels} | {
        "test_patient": data.table["patient"].to_numpy(dtype=np.int64)[order]
    }
    np.savez(path, **(arrays | changes))
    return path


def test_rows_without_names_get_images_of_their_patient_and_labels_each_once(tmp_path, test_list):
    order = np.random.default_rng(1).permutation(60)
    logits, image = match_images(write_casp(tmp_path / "a.npz", test_list, order), test_list)
    assert sorted(image) == sorted(test_list.table["image"])
    place = {name: number for number, name in enumerate(test_list.table["image"])}
    rows = [place[name] for name in image]
    columns = [SORTED.index(label) for label in CASP_LABELS]
    np.testing.assert_array_equal(logits > 0, test_list.targets[rows][:, columns] == 1)
    assert (test_list.table["patient"].to_numpy()[rows] == test_list.table["patient"].to_numpy()[order]).all()


@pytest.mark.parametrize("wrong", ["a label", "two columns", "a patient", "a row less"])
def test_rows_that_are_not_those_of_the_test_list_are_refused(tmp_path, test_list, wrong):
    path = write_casp(tmp_path / "a.npz", test_list, np.arange(60))
    arrays = dict(np.load(path))
    if wrong == "a label":
        arrays["test_labels"][7, 3] = 1 - arrays["test_labels"][7, 3]
    elif wrong == "two columns":
        arrays["test_labels"][:, [0, 1]] = arrays["test_labels"][:, [1, 0]]
    elif wrong == "a patient":
        arrays["test_patient"][4] = 19
    else:
        arrays = {name: values[1:] for name, values in arrays.items()}
    np.savez(path, **arrays)
    with pytest.raises(
        DataError, match=r"a\.npz: \d+ of \d+ rows have a patient and labels that NIH's test list lacks"
    ):
        match_images(path, test_list)


@pytest.mark.parametrize("held", [None, b"no archive", "other arrays"])
def test_a_file_that_is_missing_or_something_else_is_named(tmp_path, test_list, held):
    path = tmp_path / "a.npz"
    if held == "other arrays":
        np.savez(path, logits=np.zeros(3))
    elif held is not None:
        path.write_bytes(held)
    with pytest.raises(DataError, match=r"a\.npz does not hold test_logits, test_labels and test_patient"):
        match_images(path, test_list)


def test_folders_that_are_not_there_end_in_one_line(tmp_path, capfd):
    folders = dict.fromkeys(("nih", "casp", "replica", "lists"), tmp_path / "absent")
    assert run_script(tmp_path, folders, "CASP") == 2
    said = capfd.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert str(tmp_path / "absent") in said


@pytest.fixture(scope="module")
def published() -> dict[str, Path]:
    """Where the published files lie, beside the checkout."""
    folders = {
        "nih": SHARED / "nih-sample",
        "casp": SHARED / "published-predictions" / "casp-nih28",
        "replica": SHARED / "published-predictions" / "chexnet-replica",
        "lists": SHARED / "split-70-10-20",
    }
    if not all(folder.is_dir() for folder in folders.values()):
        pytest.skip("the published predictions do not lie beside the checkout")
    return folders


def run_script(boards: Path, folders: dict[str, Path], only: str) -> int:
    given = [str(folders[name]) for name in ("nih", "casp", "replica", "lists")]
    return int(script.main([*given, "--boards", str(boards), "--only", only]))


def copy_boards(tmp_path: Path) -> Path:
    for name in ("nih-official", "nih-70-10-20"):
        shutil.copytree(LEADERBOARDS / name, tmp_path / "boards" / name, ignore=shutil.ignore_patterns("runs"))
    return tmp_path / "boards"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("board", "row", "count"),
    [
        pytest.param("nih-official", "CASP", 5, marks=pytest.mark.exhaustive),
        ("nih-70-10-20", "CheXNet replica 2022", 1),
    ],
)
def test_the_script_gives_the_committed_results(tmp_path, published, board, row, count):
    boards = copy_boards(tmp_path)
    assert run_script(boards, published, row) == 0
    records = [record for record in read_records(boards / board).records if record.combo.model == row]
    assert len(records) == count
    for record in records:
        name = f"{board}/records/{record.combo.name}"
        made, kept = ((folder / f"{name}.json").read_bytes() for folder in (boards, LEADERBOARDS))
        if made != kept:  # numpy's exp on a processor without AVX-512 has other last digits
            assert_alike(read_result(made), read_result(kept))
        arrays, others = (np.load(folder / f"{name}.npz") for folder in (boards, LEADERBOARDS))
        assert set(arrays) == set(others)
        for key in arrays:
            np.testing.assert_allclose(arrays[key], others[key], rtol=1e-6, err_msg=key)


def read_result(record: bytes) -> dict[str, Any]:
    """A record without what tells how it was made."""
    return {key: value for key, value in json.loads(record).items() if key != "provenance"}


def assert_alike(made: Any, kept: Any, where: str = "") -> None:
    """Fail where two results differ by more than the last digits of a number."""
    if isinstance(kept, dict):
        assert made.keys() == kept.keys(), where
        for key in kept:
            assert_alike(made[key], kept[key], f"{where}/{key}")
    elif isinstance(kept, list):
        assert len(made) == len(kept), where
        for number, (one, other) in enumerate(zip(made, kept, strict=True)):
            assert_alike(one, other, f"{where}/{number}")
    elif isinstance(kept, float):
        assert made == pytest.approx(kept, rel=1e-12), where
    else:
        assert made == kept, where


@pytest.mark.slow
def test_columns_or_rows_in_another_order_than_the_published_are_refused(tmp_path, published, capfd):
    boards = copy_boards(tmp_path)
    shutil.rmtree(boards / "nih-official" / "records")
    (tmp_path / "casp").mkdir()
    for seed in range(script.SEEDS):
        with np.load(published["casp"] / f"{SYSTEMS[-1].file}_seed{seed}.npz") as stored:
            arrays = dict(stored)
        arrays["test_logits"] = arrays["test_logits"][:, [1, 0, *range(2, 14)]]
        np.savez(tmp_path / "casp" / f"{SYSTEMS[-1].file}_seed{seed}.npz", **arrays)
    assert run_script(boards, published | {"casp": tmp_path / "casp"}, SYSTEMS[-1].name) == 2
    assert "its authors give 0.6684: columns or rows are not in the order" in capfd.readouterr().err
    (tmp_path / "replica").mkdir()
    shutil.copy(published["replica"] / "aucs.csv", tmp_path / "replica")
    text = (published["replica"] / "preds.csv").read_text()
    text = text.replace("prob_Mass,prob_Nodule", "prob_Nodule,prob_Mass", 1)
    (tmp_path / "replica" / "preds.csv").write_text(text)
    assert run_script(boards, published | {"replica": tmp_path / "replica"}, "CheXNet replica 2022") == 2
    assert "columns or rows are not in the order that was published" in capfd.readouterr().err
    assert not (boards / "nih-official" / "records").exists()
