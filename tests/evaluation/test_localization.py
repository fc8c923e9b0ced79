"""Metrics of heat maps from values by image and label: means, thresholds, baselines, resamples."""

from __future__ import annotations

import numpy as np
import pytest

from harness.components import Metric
from harness.errors import DataError
from harness.evaluation.bootstrap import draw_resamples
from harness.evaluation.localization import MapValues, SplitValues, load_map_values, measure_maps

METRIC = Metric(name="hit", compute=lambda maps, inside: maps[:, 0, 0], on="maps")
LABELS = ("a", "b", "c")


def make_split(label, network, center=0.0, usual=0.0, patients=None):
    """Pairs of the labels (P,), each of a patient of its own, with values (P,) or (P, T)."""
    network = np.array(network, dtype=np.float64)
    network = network[:, None] if network.ndim == 1 else network
    values = {"network": network, "center": network * 0 + center, "usual place": network * 0 + usual}
    names = np.array([f"p{n:02d}" for n in range(len(network))] if patients is None else patients)
    return SplitValues(
        image=np.array([f"i{n}" for n in range(len(network))]),
        patient=names,
        label=np.array(list(label)),
        values={system: {"hit": of_system} for system, of_system in values.items()},
    )


def measure(test, val=None, patients=20):
    drawn = draw_resamples([f"p{n:02d}" for n in range(patients)], 400, seed="x")
    return measure_maps(MapValues(about="maps", usual="boxes", test=test, val=val), METRIC, LABELS, drawn)


def test_a_label_is_the_mean_of_its_maps_and_one_without_boxes_is_undefined():
    part, _ = measure(make_split("aaaabbb", [1, 1, 1, 0, 0, 0, 1]))
    assert part.per_label["a"].value == 0.75
    assert part.per_label["b"].value == pytest.approx(1 / 3)
    assert part.per_label["c"].value is None
    assert part.macro == pytest.approx((0.75 + 1 / 3) / 2)
    assert part.micro == pytest.approx(4 / 7)
    assert (part.labels_used, part.left_out) == (2, ["c"])
    assert part.why_left_out == "without boxes in the test split: c"
    assert [part.per_label[label].positives for label in LABELS] == [4, 3, 0]
    assert (part.maps.images, part.maps.patients) == (7, 7)


def test_a_label_that_two_patients_have_boxes_of_is_not_in_the_mean():
    part, _ = measure(make_split("aaabb", [1, 1, 0, 0, 0]))
    assert part.macro == pytest.approx(2 / 3)
    assert part.per_label["b"].value == 0
    assert part.per_label["b"].interval is None
    assert part.why_left_out == "without boxes in the test split: c; fewer than 3 patients with boxes: b"


def test_intervals_are_over_patients_and_not_over_images():
    many = np.array([f"p{n % 20:02d}" for n in range(100)])
    shared, _ = measure(make_split("a" * 100, (np.arange(100) % 20 < 10).astype(float), patients=many))
    mixed, _ = measure(make_split("a" * 100, (np.arange(100) + np.arange(100) // 20) % 2, patients=many))
    width = [part.per_label["a"].interval[1] - part.per_label["a"].interval[0] for part in (shared, mixed)]
    assert 0.3 < width[0] < 0.6  # twenty patients, each wholly hit or missed
    assert width[1] < width[0]


def test_a_baseline_is_compared_on_the_same_patients():
    split = make_split("a" * 10, [1, 1, 1, 1, 1, 1, 1, 0, 0, 1], center=0.25, usual=0.8)
    part, drawn = measure(split)
    center, usual = (part.maps.baselines[name] for name in ("center", "usual place"))
    assert center.macro == 0.25
    assert center.delta == pytest.approx(0.55)
    assert center.per_label["a"].delta == pytest.approx(0.55)
    np.testing.assert_allclose(center.interval, np.quantile(drawn - 0.25, [0.025, 0.975]))
    assert center.interval[0] > 0
    assert usual.delta == pytest.approx(0.0)
    assert usual.interval[0] < 0 < usual.interval[1]
    assert usual.about == "boxes"


def test_a_threshold_is_chosen_on_validation_alone_for_each_label():
    test = make_split("aaabbb", [[0.9, 0.1, 0.3]] * 6)
    val = make_split("ab", [[0.1, 0.2, 0.8], [0.1, 0.7, 0.2]])
    part, _ = measure(test, val)
    assert part.per_label["a"].value == pytest.approx(0.3)
    assert part.per_label["b"].value == pytest.approx(0.1)
    assert part.maps.thresholds == {"a": 0.75, "b": 0.5}


def test_without_boxes_in_validation_there_is_no_value_at_a_threshold_and_it_is_said():
    test = make_split("aaabbb", [[0.9, 0.1]] * 6)
    part, drawn = measure(test)
    assert part.macro is None
    assert np.isnan(drawn).all()
    assert "validation has no boxes to choose a threshold by" in part.why_left_out
    some, _ = measure(test, make_split("a", [[0.1, 0.2]]))
    assert some.per_label["a"].value == pytest.approx(0.1)
    assert some.per_label["b"].value is None
    assert "without boxes in validation to choose a threshold by: b" in some.why_left_out


def test_fewer_than_ten_patients_have_a_value_and_no_interval():
    part, _ = measure(make_split("aaa", [1, 0, 1]), patients=9)
    assert (part.macro, part.interval) == (pytest.approx(2 / 3), None)
    assert part.no_interval == "an interval needs 10 patients, and there are 9"


def test_values_are_read_back_as_they_were_written(tmp_path):
    made = MapValues(about="x", usual="y", test=make_split("ab", [[0.5, 1], [0, 0.25]]), val=make_split("a", [[0, 1]]))
    made.write(tmp_path / "maps.npz")
    read = load_map_values(tmp_path / "maps.npz")
    assert (read.about, read.usual, read.metrics()) == ("x", "y", {"hit"})
    np.testing.assert_array_equal(read.test.label, ["a", "b"])
    for split in ("test", "val"):
        for system in ("network", "center", "usual place"):
            ours, theirs = (getattr(one, split).values[system]["hit"] for one in (made, read))
            np.testing.assert_array_equal(ours, theirs)


def test_a_file_that_holds_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "maps.npz", logits=np.zeros(3))
    with pytest.raises(DataError, match="holds no values of heat maps"):
        load_map_values(tmp_path / "maps.npz")
