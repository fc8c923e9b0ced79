"""The phantom: patients and labels like NIH's, pictures that follow from the seed alone, boxes where findings are."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.registry import load_registry

LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
PREVALENCE = {
    "Infiltration": 19894 / 112120,
    "Effusion": 13317 / 112120,
    "Edema": 2303 / 112120,
    "Hernia": 227 / 112120,
}
"""NIH ChestX-ray14, Data_Entry_2017_v2020."""
TOGETHER = {
    ("Effusion", "Atelectasis"): 3275,
    ("Effusion", "Cardiomegaly"): 1063,
    ("Infiltration", "Edema"): 981,
    ("Emphysema", "Pneumothorax"): 747,
    ("Nodule", "Cardiomegaly"): 108,
}
"""Images of NIH's 112,120 that show both."""


@pytest.fixture(scope="module")
def load():
    dataset = load_registry().dataset("phantom")
    return lambda **options: dataset.load(Path("not there"), **options)


@pytest.fixture(scope="module")
def data(load):
    return load()


@pytest.fixture(scope="module")
def nih(load):
    return load(train=18_000, val=1_000, test=1_000, prevalence="nih")


def render(data, indices):
    return np.stack([data.images[int(index)] for index in indices])


def with_only(data, label, index):
    """The radiographs where image `index` has that finding and no other, or none where `label` is None."""
    targets = data.images.cohort.targets.copy()
    targets[index] = 0
    if label is not None:
        targets[index, LABELS.index(label)] = 1
    return replace(data.images, cohort=replace(data.images.cohort, targets=targets))


# --- labels and patients ---------------------------------------------------------------------------------------------


def test_it_has_the_findings_of_nih_and_says_that_scores_mean_nothing(registry, data):
    assert data.labels == LABELS
    assert data.mirrors
    assert "mean nothing clinically" in registry.dataset("phantom").about


def test_splits_have_the_sizes_asked_for(load):
    counts = load(train=70, val=30, test=50).table["split"].value_counts().to_dict()
    assert counts == {"train": 70, "test": 50, "val": 30}


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_label_has_positives_enough_in_val_and_test_whatever_the_seed(load, seed):
    data = load(seed=seed)
    split = data.table["split"].to_numpy()
    assert data.targets[split == "val"].sum(axis=0).min() >= 5
    assert data.targets[split == "test"].sum(axis=0).min() >= 10


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), prevalence=st.sampled_from(["lifted", "nih"]))
def test_a_patient_is_in_one_split_only_and_of_one_sex(load, seed, prevalence):
    patients = load(train=200, val=60, test=90, seed=seed, prevalence=prevalence).table.groupby("patient")
    assert (patients["split"].nunique() == 1).all()
    assert (patients["sex"].nunique() == 1).all()


def test_patients_have_as_many_images_as_at_nih(nih):
    images = nih.table["patient"].value_counts()
    assert images.mean() == pytest.approx(3.64, abs=0.25)
    assert (images == 1).mean() == pytest.approx(0.568, abs=0.03)


def test_nih_prevalence_is_that_of_nih(nih):
    measured = dict(zip(LABELS, nih.targets.mean(axis=0), strict=True))
    for label, rate in PREVALENCE.items():
        assert measured[label] == pytest.approx(rate, rel=0.12, abs=0.002), label
    assert nih.targets.sum(axis=1).mean() == pytest.approx(0.724, abs=0.04)


@pytest.mark.parametrize(("pair", "count"), TOGETHER.items())
def test_findings_come_together_as_often_as_at_nih(nih, pair, count):
    first, second = (nih.targets[:, LABELS.index(label)] for label in pair)
    assert (first * second).mean() == pytest.approx(count / 112_120, rel=0.2, abs=0.001)


def test_rare_findings_are_lifted_and_common_ones_are_not(load):
    rates = load(train=8_000, val=1_000, test=1_000).targets.mean(axis=0)
    assert rates.min() > 0.05
    assert rates[LABELS.index("Infiltration")] == pytest.approx(PREVALENCE["Infiltration"], rel=0.12)


def test_findings_persist_over_the_images_of_a_patient(nih):
    effusion = nih.targets[:, LABELS.index("Effusion")]
    patient = nih.table["patient"].to_numpy()
    follows = patient[1:] == patient[:-1]
    after = effusion[1:][follows & (effusion[:-1] == 1)].mean()
    assert after > 2 * effusion.mean()
    assert after < 0.9


def test_sick_patients_are_taken_in_bed_more_often(nih):
    bed = (nih.table["view"] == "AP").to_numpy()
    assert nih.targets[bed].sum(axis=1).mean() > 1.3 * nih.targets[~bed].sum(axis=1).mean()
    assert nih.table["age"].between(0, 95).all()


def test_label_noise_flips_its_share_and_leaves_the_test_labels_true(load):
    true, noisy = load(train=4_000), load(train=4_000, label_noise=0.1)
    flipped = true.targets != noisy.targets
    test = (true.table["split"] == "test").to_numpy()
    assert not flipped[test].any()
    assert flipped[~test].mean() == pytest.approx(0.1, abs=0.005)
    assert np.array_equal(true.images[3], noisy.images[3])


# --- pictures --------------------------------------------------------------------------------------------------------


def correlate_with_age(data):
    """Correlation of age with how many findings an image shows."""
    return float(np.corrcoef(data.table["age"], data.targets.sum(axis=1))[0, 1])


def test_findings_follow_age_as_far_as_asked_and_are_as_frequent_as_before(load, data):
    found = [load(age_effect=effect) for effect in (0.5, 2.0)]
    assert abs(correlate_with_age(data)) < 0.1
    assert 0.4 < correlate_with_age(found[0]) < correlate_with_age(found[1]) - 0.05
    for tied in found:
        np.testing.assert_allclose(tied.targets.mean(axis=0), data.targets.mean(axis=0), atol=0.06)
        assert tied.table[["image", "split", "patient", "age", "sex"]].equals(
            data.table[["image", "split", "patient", "age", "sex"]]
        )


def test_an_age_effect_of_nothing_is_none(load, data):
    same = load(age_effect=0.0)
    np.testing.assert_array_equal(same.targets, data.targets)
    assert same.table.equals(data.table)


@pytest.mark.parametrize("size", [32, 64, 224])
def test_images_are_grey_squares_of_the_size_asked_for(load, size):
    image = load(size=size).images[0]
    assert image.shape == (size, size)
    assert image.dtype == np.uint8
    assert image.std() > 10


def test_an_image_is_the_same_whatever_was_rendered_before_and_by_whom(load, data):
    wanted = render(data, range(8))
    with ThreadPoolExecutor(4) as pool:
        threads = np.stack(list(pool.map(load().images.__getitem__, reversed(range(8)))))[::-1]
    assert np.array_equal(wanted, threads)


def test_an_image_is_the_same_in_another_process(data):
    code = (
        "import hashlib, pathlib; from harness.registry import load_registry; "
        "data = load_registry().dataset('phantom').load(pathlib.Path()); "
        "print(data.images[7].tobytes().hex())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == data.images[7].tobytes().hex()


def test_another_seed_gives_other_patients_and_pictures(load, data):
    other = load(seed=1)
    assert not np.array_equal(other.targets, data.targets)
    assert not np.array_equal(other.images[0], data.images[0])


def test_a_patient_keeps_the_anatomy_and_not_the_picture(data):
    patient = data.table["patient"].to_numpy()
    index = next(i for i in range(len(patient) - 1) if patient[i] == patient[i + 1])
    assert not np.array_equal(data.images[index], data.images[index + 1])
    ribs = np.array([data.images.plan(i)[0].ribs for i in range(120)])
    assert ((ribs[1:] == ribs[:-1]) == (patient[1:120] == patient[:119])).all()


def test_difficulty_makes_findings_fainter(load):
    def contrast(difficulty):
        data = load(train=60, difficulty=difficulty)
        pairs = [(with_only(data, "Mass", i)[i], with_only(data, None, i)[i]) for i in range(12)]
        return np.mean([np.abs(sick.astype(float) - well).sum() for sick, well in pairs])

    assert contrast(0.5) > contrast(1.0) > contrast(3.0) > 0


def test_images_have_the_statistics_of_real_ones(data):
    """Against 621 images of NIH at 64 px: facts measured once, not read here."""
    images = render(data, range(600)) / 255
    means, spreads = images.mean(axis=(1, 2)), images.std(axis=(1, 2))
    assert images.mean() == pytest.approx(0.511, abs=0.04)
    assert images.std() == pytest.approx(0.255, abs=0.03)
    assert np.percentile(means, [5, 50, 95]) == pytest.approx([0.385, 0.493, 0.673], abs=0.05)
    assert np.percentile(spreads, [5, 50, 95]) == pytest.approx([0.149, 0.244, 0.286], abs=0.04)
    pixels = images.reshape(len(images), -1)
    mirrored = images[:, :, ::-1].reshape(len(images), -1)
    assert np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(pixels, mirrored, strict=True)]) == pytest.approx(
        0.746, abs=0.05
    )
    average = pixels.mean(axis=0)
    assert np.mean([np.corrcoef(image, average)[0, 1] for image in pixels]) == pytest.approx(0.752, abs=0.05)
    assert radial_power_slope(images) == pytest.approx(-2.92, abs=0.25)


def radial_power_slope(images):
    """Slope of log power over log frequency, rings 1 to 31."""
    size = images.shape[-1]
    power = (np.abs(np.fft.fft2(images - images.mean(axis=(1, 2), keepdims=True))) ** 2).mean(axis=0)
    frequency = np.fft.fftfreq(size, 1 / size)
    ring = np.round(np.hypot(frequency[:, None], frequency[None]))
    rings = np.arange(1, size // 2)
    return np.polyfit(np.log(rings), np.log([power[ring == r].mean() for r in rings]), 1)[0]


# --- boxes -----------------------------------------------------------------------------------------------------------


def test_boxes_lie_in_the_images_and_belong_to_findings_that_are_present(data):
    boxes = data.boxes
    assert (boxes[["x", "y"]] >= 0).all(axis=None)
    assert (boxes[["width", "height"]] > 0).all(axis=None)
    assert (boxes["x"] + boxes["width"] <= 64 + 1e-9).all()
    assert (boxes["y"] + boxes["height"] <= 64 + 1e-9).all()
    rows = data.table["image"].searchsorted(boxes["image"])
    columns = [LABELS.index(label) for label in boxes["label"]]
    assert (data.targets[rows, columns] == 1).all()
    boxed = np.zeros_like(data.targets)
    boxed[rows, columns] = 1
    assert boxed.sum() > 0.99 * data.targets.sum()


def test_boxes_grow_with_the_images(load):
    small, large = load(train=80, size=64).boxes, load(train=80, size=128).boxes
    columns = ["x", "y", "width", "height"]
    assert np.allclose(2 * small[columns].to_numpy(), large[columns].to_numpy())


@pytest.mark.parametrize("label", LABELS)
def test_a_finding_changes_the_picture_and_nearly_only_in_its_box(data, label):
    candidates = np.flatnonzero(data.targets[:, LABELS.index(label)] * (data.targets.sum(axis=1) == 1))
    shares = []
    for index in candidates[:12].tolist():
        sick, well = (with_only(data, one, index)[index].astype(float) for one in (label, None))
        assert np.array_equal(sick, data.images[index])
        inside = np.zeros((64, 64), dtype=bool)
        for box in data.boxes[data.boxes["image"] == data.table["image"][index]].itertuples():
            rows = slice(int(box.y), int(np.ceil(box.y + box.height)))
            inside[rows, int(box.x) : int(np.ceil(box.x + box.width))] = True
        assert not inside.all()
        change = np.abs(sick - well)
        assert change.max() > 3
        shares.append(change[inside].sum() / change.sum())
    assert len(shares) >= 3
    assert np.mean(shares) > 0.85


def test_steady_patients_look_alike_in_their_images_and_unlike_each_other(load):
    alike, usual = load(train=80, val=1, test=1, size=32, difficulty=50.0, steady=True), load(train=80, val=1, test=1)
    assert (alike.targets == usual.targets).all()
    patient, view = (alike.table[name].to_numpy() for name in ("patient", "view"))
    images = render(alike, range(80)).astype(float)
    distance = np.abs(images[:, None] - images[None]).mean(axis=(2, 3))
    own = (patient[:80, None] == patient[None, :80]) & (view[:80, None] == view[None, :80])
    np.fill_diagonal(own, val=False)
    others = patient[:80, None] != patient[None, :80]
    nearest = np.where(others, distance, np.inf).min(axis=1)
    known = [distance[row, own[row]].min() < nearest[row] for row in np.flatnonzero(own.any(axis=1))]
    assert len(known) > 30
    assert np.mean(known) > 0.9


# --- bad options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"train": 0}, "train"),
        ({"test": -3}, "test"),
        ({"size": 8}, "size"),
        ({"seed": -1}, "seed"),
        ({"difficulty": 0.0}, "difficulty"),
        ({"difficulty": float("nan")}, "difficulty"),
        ({"label_noise": 0.5}, "label_noise"),
        ({"label_noise": -0.1}, "label_noise"),
        ({"prevalence": "common"}, "prevalence"),
        ({"age_effect": -1.0}, "age_effect"),
        ({"age_effect": float("inf")}, "age_effect"),
    ],
)
def test_an_option_out_of_its_range_is_refused_by_name(load, options, named):
    with pytest.raises(HarnessError, match=rf"phantom: .*{named}.*{next(iter(options.values()))}"):
        load(**options)


def test_the_smallest_dataset_loads_and_renders(load):
    data = load(train=1, val=1, test=1, size=16)
    assert render(data, range(3)).shape == (3, 16, 16)
