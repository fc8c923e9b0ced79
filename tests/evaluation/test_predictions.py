"""Predictions are written whole, read back equal, and refused where they are something else."""

from __future__ import annotations

import numpy as np
import pytest

from harness import DataError
from harness.evaluation.predictions import Predictions, load_predictions


def make_predictions() -> Predictions:
    """Twenty images of ten patients, two labels, some targets unknown."""
    generator = np.random.default_rng(2)
    targets = generator.choice(np.array([0, 1, np.nan], dtype=np.float32), (20, 2))
    logits = generator.normal(size=(20, 2)).astype(np.float32)
    image, patient = (np.array([f"{kind}{n // many}" for n in range(20)]) for kind, many in (("i", 1), ("p", 2)))
    return Predictions(labels=("a", "b"), image=image, patient=patient, logits=logits, targets=targets)


def test_scores_are_the_logistic_function_without_overflow():
    predictions = make_predictions()
    np.testing.assert_allclose(predictions.scores, 1 / (1 + np.exp(-predictions.logits.astype(float))), rtol=1e-14)
    extreme = Predictions(
        labels=("a",),
        image=np.array(["i"] * 3),
        patient=np.array(["p"] * 3),
        logits=np.array([[-1e4], [0], [1e4]], dtype=np.float32),
        targets=np.zeros((3, 1), dtype=np.float32),
    )
    assert extreme.scores[:, 0].tolist() == [0.0, 0.5, 1.0]


def test_predictions_read_back_equal_and_equal_content_gives_equal_bytes(tmp_path):
    predictions = make_predictions()
    for name in ("a.npz", "b.npz"):
        predictions.save(tmp_path / name)
    read = load_predictions(tmp_path / "a.npz")
    assert read.labels == predictions.labels
    for name in ("image", "patient", "logits", "targets"):
        np.testing.assert_array_equal(getattr(read, name), getattr(predictions, name))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("content", [b"", b"noise", b"PK\x03\x04"])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npz holds no predictions"):
        load_predictions(tmp_path / "x.npz")


def test_a_foreign_or_missing_file_is_refused(tmp_path):
    np.savez(tmp_path / "foreign.npz", labels=np.array(["a"]))
    with pytest.raises(DataError, match="it needs labels, image, patient"):
        load_predictions(tmp_path / "foreign.npz")
    with pytest.raises(DataError, match="no such file"):
        load_predictions(tmp_path / "absent.npz")
    pickled = np.array([{"code": "runs"}], dtype=object)
    np.savez(tmp_path / "pickled.npz", labels=pickled, image=pickled, patient=pickled, logits=pickled, targets=pickled)
    with pytest.raises(DataError, match="holds no predictions"):
        load_predictions(tmp_path / "pickled.npz")


def write(path, **changed):
    """A file of predictions with some of its arrays changed."""
    right = make_predictions()
    arrays = {name: getattr(right, name) for name in ("image", "patient", "logits", "targets")}
    np.savez(path, **{"labels": np.array(right.labels), **arrays, **changed})
    return path


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"labels": np.array(["a", "b", "c"])}, r"labels \(3,\), image \(20,\).* must be \(C,\)"),
        ({"labels": np.array("a")}, r"labels \(\), .* must be \(C,\)"),
        ({"patient": np.array([["p"]] * 20)}, r"patient \(20, 1\)"),
        ({"logits": np.zeros((20, 3))}, r"logits \(20, 3\)"),
        ({"labels": np.array(["a", "a"])}, "label 'a' stands in it more than once"),
        ({"image": np.array(["i"] * 20)}, "image 'i' stands in it more than once"),
        ({"targets": np.full((20, 2), -1)}, "targets must be 1, 0 or NaN for unknown, found -1"),
        ({"targets": np.full((20, 2), "yes")}, "holds no predictions"),
    ],
)
def test_parts_that_cannot_be_predictions_are_refused(tmp_path, changed, says):
    with pytest.raises(DataError, match=says):
        load_predictions(write(tmp_path / "x.npz", **changed))


def test_other_number_types_are_read_as_the_declared_ones(tmp_path):
    wide = make_predictions().logits.astype(np.float64)
    read = load_predictions(
        write(tmp_path / "x.npz", logits=wide, targets=np.ones((20, 2), dtype=int), image=np.arange(20))
    )
    assert (str(read.logits.dtype), str(read.targets.dtype)) == ("float64", "float32")
    assert read.image[3] == "3"
    np.testing.assert_array_equal(read.logits, wide)
    narrow = load_predictions(write(tmp_path / "y.npz", logits=wide.astype(np.float16)))
    assert str(narrow.logits.dtype) == "float32"
