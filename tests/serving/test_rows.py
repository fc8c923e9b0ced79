"""A row that is loaded says of images what its board has stored, from the board or from the weight file alone."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import harness as public
from harness import DataError, UnknownNameError, UsageError
from harness.evaluation.predictions import load_predictions, make_scores
from harness.results.record import Record
from harness.results.store import read_records
from harness.serving.rows import LoadedRow
from tests.conftest import TOY

ROW = "tiny-cnn--bce--toy"


def load(board: Path, **more: Any) -> LoadedRow:
    return public.load_row(board, ROW, device="cpu", plugins=[TOY], **more)


def find_record(board: Path, seed: int = 0) -> Record:
    return next(r for r in read_records(board).records if (r.combo.row, r.combo.seed) == (ROW, seed))


def find_run(board: Path, seed: int = 0) -> Path:
    return board / "runs" / find_record(board, seed).key


@pytest.fixture
def images(small_data) -> np.ndarray[Any, np.dtype[np.uint8]]:
    chosen: np.ndarray[Any, np.dtype[np.uint8]] = np.asarray(small_data.images)[
        (small_data.table["split"] == "test").to_numpy()
    ]
    return chosen


@pytest.fixture
def files(images, tmp_path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    return paths


def test_arrays_and_files_have_the_stored_logits_bit_by_bit(toy_board, images, files):
    row = load(toy_board)
    stored = load_predictions(find_run(toy_board) / "predictions-test.npz")
    for given in (images, list(images), files, [str(path) for path in files]):
        scores = row.predict(given)
        assert np.array_equal(scores.logits, stored.logits)
        assert np.array_equal(scores.probability, stored.scores)
    assert scores.image == tuple(path.name for path in files)
    np.testing.assert_allclose(row.predict(files, batch=1).logits, stored.logits, atol=1e-5)


def test_the_object_is_what_others_build_on(toy_board, files, images):
    row = load(toy_board)
    assert row.labels == ("first", "second", "third")
    assert np.array_equal(row.decode(files[0]), images[0])
    assert row.device.type == "cpu"
    assert not row.network.training
    assert row.record == find_record(toy_board)
    assert row.columns == ()
    assert row.notes == ()


def test_decisions_are_those_of_the_policy_and_calibration_that_of_the_record(toy_board, images):
    row, record = load(toy_board), find_record(toy_board)
    assert record.calibration is not None
    lines = record.calibration.platt.per_label
    for policy, name in ((None, "val-f1"), ("0.5", "0.5"), ("val-sens0.9", "val-sens0.9")):
        scores = row.predict(images, policy=policy)
        expected = np.array([record.thresholds[name][label] for label in row.labels], dtype=np.float64)
        assert np.array_equal(row.thresholds(policy), expected)
        assert np.array_equal(scores.decisions, (scores.probability >= expected).astype(float))
    for column, label in enumerate(row.labels):
        line = lines[label]
        assert line.slope is not None
        assert line.intercept is not None
        logits = line.slope * scores.logits[:, column].astype(np.float64) + line.intercept
        np.testing.assert_allclose(scores.calibrated[:, column], make_scores(logits))


def test_a_policy_that_was_not_fitted_is_refused(toy_board, images):
    row = load(toy_board)
    for policy in ("oracle", "val-sens0.123"):
        with pytest.raises(UnknownNameError, match="threshold policy of this row"):
            row.predict(images, policy=policy)


def test_the_weight_file_alone_says_the_same(toy_board, images, tmp_path):
    alone = Path(shutil.copy(find_run(toy_board) / "weights.safetensors", tmp_path / "weights.safetensors"))
    row, measured = public.load_row(alone, device="cpu", plugins=[TOY]), load(toy_board)
    assert row.record is None
    ours, theirs = row.predict(images), measured.predict(images)
    for name in ("logits", "probability", "calibrated", "decisions"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name), equal_nan=True)
    with pytest.raises(UsageError, match=r"is one seed: leave out --seeds"):
        public.load_row(alone, seed=0, plugins=[TOY])


def test_all_seeds_are_an_ensemble_of_probabilities_with_thresholds_of_its_own(toy_board, images):
    with pytest.warns(UserWarning, match="the probabilities of 2 seeds are averaged as an ensemble"):
        row = load(toy_board, seed="all")
    stored = [load_predictions(find_run(toy_board, seed) / "predictions-test.npz").scores for seed in (0, 1)]
    scores = row.predict(images)
    np.testing.assert_allclose(scores.probability, np.mean(stored, axis=0), rtol=1e-12)
    np.testing.assert_allclose(make_scores(scores.logits), scores.probability, rtol=1e-9)
    val = [load_predictions(find_run(toy_board, seed) / "predictions-val.npz") for seed in (0, 1)]
    mean = np.mean([one.scores for one in val], axis=0)
    assert set(row.thresholds("val-f1")) <= set(mean.ravel())
    assert np.array_equal(row.thresholds("0.5"), [0.5, 0.5, 0.5])
    assert np.isfinite(scores.calibrated).all()


def test_one_seed_is_chosen_and_another_is_refused(toy_board, images):
    stored = load_predictions(find_run(toy_board, 1) / "predictions-test.npz")
    assert np.array_equal(load(toy_board, seed=1).predict(images).logits, stored.logits)
    with pytest.raises(UnknownNameError, match=r"unknown seed of .* with a current result: '7' \(known: 0, 1\)"):
        load(toy_board, seed=7)


def test_a_file_that_cannot_be_used_is_a_gap_in_its_place(toy_board, files, tmp_path):
    (tmp_path / "noise.png").write_bytes(b"no image")
    row = load(toy_board)
    scores = row.predict([files[0], tmp_path / "noise.png", tmp_path / "none.png", files[1]])
    whole = row.predict(files[:2])
    assert scores.image == ("0.png", "noise.png", "none.png", "1.png")
    assert list(scores.gaps) == ["noise.png", "none.png"]
    assert scores.gaps["noise.png"] == "it is no image that can be read; give PNG, JPEG, TIFF or DICOM"
    assert scores.gaps["none.png"] == "there is no such file"
    assert np.isnan(scores.logits[1:3]).all()
    assert np.isnan(scores.decisions[1:3]).all()
    assert np.array_equal(scores.logits[[0, 3]], whole.logits)
    with pytest.raises(DataError, match=r"noise\.png: it is no image that can be read"):
        row.decode(tmp_path / "noise.png")


def test_nothing_has_no_scores_and_what_is_no_image_is_refused(toy_board, images):
    row = load(toy_board)
    assert row.predict([]).logits.shape == (0, 3)
    with pytest.raises(DataError, match=r"images must be \(H, W\) uint8, got"):
        row.predict(images.astype(np.float32))
    with pytest.raises(UsageError, match="batch must be at least 1"):
        row.predict(images, batch=0)
    with pytest.raises(UsageError, match="this network gets images alone"):
        row.predict(images, table=row_table(len(images)))


def row_table(count: int) -> Any:
    import pandas as pd

    return pd.DataFrame({"age": [50] * count})


def test_a_batch_is_decoded_ahead_and_no_more(toy_board, images):
    from harness.serving.images import ImageSource

    row, asked, most = load(toy_board), [], 0

    def read(number: int) -> Any:
        asked.append(number)
        return images[number % len(images)]

    taken = 0
    for part in row.stream(ImageSource(names=[str(n) for n in range(2000)], read=read), batch=10):
        taken += len(part.image)
        most = max(most, len(asked) - taken)
    assert taken == 2000
    assert most <= 10 + 4 * 64 + 1


# --- what there is no row of -----------------------------------------------------------------------------------------


def test_weights_that_are_gone_or_changed_are_named_with_the_command(toy_board, tmp_path):
    board = Path(shutil.copytree(toy_board, tmp_path / "board"))
    weights = find_run(board) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes() + b"more")
    for _ in range(2):
        with pytest.raises(DataError, match=r"seed 0: its weights are not in .*; make them: harness run .* --force"):
            load(board)
        weights.unlink(missing_ok=True)


def test_an_ensemble_without_validation_has_no_thresholds_and_says_so(toy_board, images, tmp_path):
    board = Path(shutil.copytree(toy_board, tmp_path / "board"))
    (find_run(board) / "predictions-val.npz").unlink()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        row = load(board, seed="all")
    assert any("no thresholds of validation and no calibration" in str(one.message) for one in said)
    assert np.isnan(row.thresholds()).all()
    assert np.isnan(row.predict(images).decisions).all()
    assert np.isfinite(row.predict(images, policy="0.5").decisions).all()


def test_a_name_of_no_row_is_refused(toy_board, tmp_path):
    with pytest.raises(UsageError, match=r"is no row: give BOARD::ROW"):
        public.load_row(toy_board, plugins=[TOY])
    with pytest.raises(UnknownNameError, match="unknown row of"):
        public.load_row(toy_board, "toy-net--bce--tow", plugins=[TOY])


def test_a_submitted_row_has_no_weights():
    board = Path(__file__).parents[2] / "leaderboards" / "nih-official"
    name = next(r.combo.row for r in read_records(board).records if r.external is not None)
    with pytest.raises(DataError, match="was submitted: its predictions were made elsewhere"):
        public.load_row(board, name)
