"""MedMNIST's files are read split by split, and only those of several labels an image."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from harness import DataError, Dataset
from harness.data.loading import Source
from harness.data.prepare import prepare

LENGTHS = {"train": 5, "val": 2, "test": 3}


def make_arrays(size: int = 28, labels: int = 14) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, length in LENGTHS.items():
        arrays[f"{split}_images"] = generator.integers(0, 256, (length, size, size), dtype=np.uint8)
        arrays[f"{split}_labels"] = generator.integers(0, 2, (length, labels), dtype=np.uint8)
    return arrays


@pytest.fixture
def medmnist(registry):
    return registry.dataset("medmnist").load


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_and_labels_are_those_of_the_file_split_by_split(medmnist, tmp_path, save):
    arrays = make_arrays()
    save(tmp_path / "chestmnist.npz", **arrays)
    data = medmnist(tmp_path)
    assert data.table["split"].tolist() == ["train"] * 5 + ["val"] * 2 + ["test"] * 3
    np.testing.assert_array_equal(data.targets, np.concatenate([arrays[f"{split}_labels"] for split in LENGTHS]))
    images = np.stack([data.images[index] for index in range(len(data.images))])
    np.testing.assert_array_equal(images, np.concatenate([arrays[f"{split}_images"] for split in LENGTHS]))
    assert data.sources == (tmp_path / "chestmnist.npz",)


def test_labels_of_chestmnist_have_their_names_in_the_files_order(medmnist, tmp_path):
    np.savez(tmp_path / "chestmnist.npz", **make_arrays())
    assert medmnist(tmp_path).labels == (
        *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax"),
        *("Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia"),
    )


def test_other_labels_are_numbered(medmnist, tmp_path):
    np.savez(tmp_path / "other.npz", **make_arrays(labels=3))
    assert medmnist(tmp_path).labels == ("label-0", "label-1", "label-2")


def test_each_image_is_its_own_patient_and_none_is_known(medmnist, tmp_path):
    np.savez(tmp_path / "chestmnist.npz", **make_arrays())
    data = medmnist(tmp_path)
    assert data.table["patient"].is_unique
    assert not data.patients_known
    assert data.notes["pixels"] == "28 x 28 in the file"


def test_images_in_any_order_from_many_threads_are_the_same(medmnist, tmp_path):
    arrays = make_arrays()
    np.savez_compressed(tmp_path / "chestmnist.npz", **arrays)
    images = medmnist(tmp_path).images
    whole = np.concatenate([arrays[f"{split}_images"] for split in LENGTHS])
    order = np.random.default_rng(1).integers(0, 10, 200).tolist()
    with ThreadPoolExecutor(4) as pool:
        for index, image in zip(order, pool.map(images.__getitem__, order), strict=True):
            np.testing.assert_array_equal(image, whole[index])
    with pytest.raises(IndexError):
        images[10]


def test_the_file_of_a_size_or_a_name_is_taken_among_several(medmnist, tmp_path):
    for name, size in {"chestmnist.npz": 28, "chestmnist_64.npz": 64, "mine.npz": 32}.items():
        np.savez(tmp_path / name, **make_arrays(size))
    assert medmnist(tmp_path, size=28).images[0].shape == (28, 28)
    assert medmnist(tmp_path, size=64).images[0].shape == (64, 64)
    assert medmnist(tmp_path, file="mine.npz").images[0].shape == (32, 32)
    with pytest.raises(
        DataError, match=r"not just one \.npz \(there: chestmnist\.npz, chestmnist_64\.npz, mine\.npz\)"
    ):
        medmnist(tmp_path)
    with pytest.raises(DataError, match=r"no chestmnist_224\.npz \(there: chestmnist\.npz"):
        medmnist(tmp_path, size=224)


def test_an_empty_folder_is_told_where_to_get_a_file(medmnist, tmp_path):
    with pytest.raises(DataError, match=r"\(there: none\); .*https://zenodo\.org/records/10519652"):
        medmnist(tmp_path)


@pytest.mark.parametrize("labels", [np.zeros((5, 1), np.uint8), np.full((5, 14), 7, np.uint8)])
def test_a_file_of_one_class_an_image_is_refused(medmnist, tmp_path, labels):
    arrays = make_arrays(labels=labels.shape[1]) | {"train_labels": labels}
    np.savez(tmp_path / "pneumoniamnist.npz", **arrays)
    with pytest.raises(DataError, match=r"one class for each image .* several labels for each image"):
        medmnist(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"val_images": np.zeros((2, 28, 28, 3), np.uint8)}, "each must be grey"),
        ({"val_images": np.zeros((1, 28, 28), np.uint8)}, r"for \(5, 2, 3\) rows of labels"),
        ({"val_images": np.zeros((2, 28, 28), np.float32)}, "its val images are float32, not uint8"),
        ({"val_labels": np.zeros((2, 3), np.uint8)}, "is no MedMNIST file"),
        ({"val_labels": np.array([None, None])}, "is no MedMNIST file"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(medmnist, tmp_path, change, message):
    np.savez(tmp_path / "chestmnist.npz", **(make_arrays() | change))
    with pytest.raises(DataError, match=message):
        medmnist(tmp_path)


@pytest.mark.parametrize("damage", ["empty", "text", "array", "half", "other"])
def test_a_file_that_is_damaged_or_something_else_is_refused(medmnist, tmp_path, damage):
    path = tmp_path / "chestmnist.npz"
    np.savez_compressed(path, **make_arrays())
    if damage == "array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif damage == "other":
        np.savez(path, pictures=np.zeros(3))
    else:
        path.write_bytes({"empty": b"", "text": b"no zip", "half": path.read_bytes()[:2000]}[damage])
    with pytest.raises(DataError, match="is no MedMNIST file, or a damaged one"):
        medmnist(tmp_path)


def test_a_file_is_prepared_as_it_is(medmnist, tmp_path):
    arrays = make_arrays()
    np.savez_compressed(tmp_path / "chestmnist.npz", **arrays)
    source = Source(dataset=Dataset(name="medmnist", load=medmnist), code="", options={}, root=tmp_path)
    prepared = prepare(source, medmnist(tmp_path), 28, tmp_path / "cache")
    np.testing.assert_array_equal(prepared.images[7:], arrays["test_images"])
