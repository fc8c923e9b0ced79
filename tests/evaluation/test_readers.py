"""Readers and networks on the same units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from harness.evaluation import kernels
from harness.evaluation.bootstrap import draw_resamples
from harness.evaluation.panel import Panel
from harness.evaluation.predictions import Predictions
from harness.evaluation.reader_summary import describe_readers
from harness.evaluation.reader_wording import describe_average
from harness.evaluation.readers import compare_with_average, compare_with_each, measure_readers, stack_differences

LABELS = ("Edema", "Mass")
RESAMPLES = 300


def find_sensitivity(scores, targets, alarms, weights=None) -> float:
    ranking = kernels.rank(np.array(scores, float), np.array(targets, float), np.arange(len(scores)))
    column = np.ones(len(scores)) if weights is None else np.array(weights)
    return float(kernels.sensitivity_at(ranking, column[:, None].astype(np.uint8), np.array([alarms], dtype=float))[0])


def make_case(readers: int = 3, units: int = 120, seed: int = 0) -> tuple[Predictions, Panel]:
    """A network and readers on units of two for each patient; the first reader reads the first hundred only."""
    draw = np.random.default_rng(seed)
    targets = (draw.random((units, 2)) < (0.4, 0.2)).astype(np.float32)
    decisions = (1.5 * targets + draw.normal(size=(readers, units, 2)) > 0.9).astype(np.float32)
    decisions[0, 100:] = np.nan
    test = Predictions(
        labels=LABELS,
        image=np.array([f"i{row}" for row in range(units)]),
        patient=np.array([f"p{row // 2}" for row in range(units)]),
        logits=1.5 * targets + draw.normal(size=(units, 2)) - 0.9,
        targets=targets,
    )
    return test, Panel(names=tuple("ABCDEFGH"[:readers]), labels=LABELS, decisions=decisions)


def measure(test: Predictions, panel: Panel):
    resampling = draw_resamples(test.patient, RESAMPLES, seed="x")
    return measure_readers(test, panel, {"0.5": np.zeros(2)}, resampling), resampling


# --- sensitivity at a specificity ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alarms", "expected"),
    [
        (0, 1 / 4),  # from 0 straight up to 2 of 4: the middle is 1
        (1, 2.5 / 4),  # from 2 up to 3
        (1.5, 3 / 4),  # on the flat
        (2, 3 / 4),
        (3, 3.5 / 4),
    ],
)
def test_the_sensitivity_at_a_number_of_false_alarms_by_hand(alarms, expected):
    # + + - + - - + in the order of scores
    assert find_sensitivity([9, 8, 7, 6, 5, 4, 3], [1, 1, 0, 1, 0, 0, 1], alarms) == pytest.approx(expected)


def test_where_scores_are_equal_the_curve_is_straight():
    # one group of two positives and two negatives, then a positive, then a negative
    assert find_sensitivity([5, 5, 5, 5, 4, 3], [1, 1, 0, 0, 1, 0], 1) == pytest.approx(1 / 3)
    assert find_sensitivity([5, 5, 5, 5, 4, 3], [1, 1, 0, 0, 1, 0], 2) == pytest.approx((2 + 3) / 2 / 3)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(1, 3)), min_size=2, max_size=12), st.data())
def test_a_weight_counts_as_so_many_copies(rows, data):
    scores, targets, weights = map(np.array, zip(*rows, strict=True))
    negatives = int(weights[~targets].sum())
    if not targets.any() or not negatives:
        return
    alarms = data.draw(st.integers(0, negatives))
    copies = np.repeat(np.arange(len(rows)), weights)
    weighted = find_sensitivity(scores, targets, alarms, weights)
    assert weighted == pytest.approx(find_sensitivity(scores[copies], targets[copies], alarms))
    # reversed scores swap the classes: what is found at the lower end is what was missed at the upper one
    assert 0 <= weighted <= 1


# --- readers ---------------------------------------------------------------------------------------------------------


def test_a_reader_is_measured_as_scikit_learn_measures_decisions():
    test, panel = make_case()
    found, _ = measure(test, panel)
    for reader, rows in enumerate((slice(100), slice(None), slice(None))):
        for label in range(2):
            truth, decided = test.targets[rows, label], panel.decisions[reader, rows, label]
            expected = [
                metrics.recall_score(truth, decided),
                metrics.recall_score(truth, decided, pos_label=0),
                metrics.precision_score(truth, decided),
                metrics.f1_score(truth, decided),
            ]
            np.testing.assert_allclose(found.readers[reader, :, label], expected, rtol=1e-12)
            own = metrics.f1_score(truth, test.logits[rows, label] >= 0)
            assert found.network["f1"][reader, label] == pytest.approx(own, rel=1e-12)
    assert found.positives[0].tolist() == (test.targets[:100] == 1).sum(axis=0).tolist()


def test_resamples_weigh_patients_alike_for_reader_and_network():
    test, panel = make_case()
    found, resampling = measure(test, panel)
    weights = resampling.weights[7, resampling.locate(test.patient)].astype(float)
    truth, decided = test.targets[:, 1], panel.decisions[2, :, 1]
    expected = metrics.recall_score(truth, decided, sample_weight=weights)
    assert found.readers_resampled[2, 0, 7, 1] == pytest.approx(expected, rel=1e-12)
    alarms = weights[(truth == 0) & (decided == 1)].sum()
    x, y, _ = metrics.roc_curve(truth, test.logits[:, 1], sample_weight=weights, drop_intermediate=False)
    middle = np.interp(alarms / weights[truth == 0].sum(), x, y)  # no two points of the curve stand at that very weight
    assert found.network_resampled["sensitivity"][2, 7, 1] == pytest.approx(middle, rel=1e-9)


def test_a_reader_who_decides_as_the_network_does_differs_by_nothing():
    test, panel = make_case()
    same = (test.logits >= 0).astype(np.float32)
    copied = Panel(names=panel.names, labels=LABELS, decisions=np.stack([same, *panel.decisions[1:]]))
    found, resampling = measure(test, copied)
    part = describe_readers([found], copied, test.patient, resampling)
    assert (part.readers["A"].against["f1"].delta, part.readers["A"].against["f1"].p) == (0, 1)
    assert abs(part.readers["A"].against["sensitivity"].delta or 0) < 0.02
    assert part.policy == "0.5"


def test_scores_that_only_rank_have_a_sensitivity_and_no_f1():
    from dataclasses import replace

    test, panel = make_case()
    ranked = replace(test, given_scores=test.logits.astype(np.float64) * 10, is_rank_only=True)
    found, resampling = measure(ranked, panel)
    part = describe_readers([found], panel, test.patient, resampling)
    assert part.policy is None
    assert list(part.average) == list(part.readers["B"].against) == ["sensitivity"]


def test_means_are_over_the_labels_that_every_reader_has_enough_of():
    test, panel = make_case()
    decisions = panel.decisions.copy()
    decisions[1, :, 1] = np.nan
    part_read = Panel(names=panel.names, labels=LABELS, decisions=decisions)
    found, resampling = measure(test, part_read)
    part = describe_readers([found], part_read, test.patient, resampling)
    assert (part.labels_used, part.left_out) == (["Edema"], ["Mass"])
    assert part.readers["A"].mean["f1"].value == part.readers["A"].per_label["Edema"].f1.value
    assert "Mass" not in part.readers["B"].per_label
    assert part.readers["A"].per_label["Mass"].sensitivity.interval is not None
    assert (part.readers["A"].decided, part.readers["B"].decided) == (100, 120)


def test_a_label_without_a_threshold_is_left_out_of_the_mean_f1_and_named():
    test, panel = make_case(readers=4)
    resampling = draw_resamples(test.patient, RESAMPLES, seed="x")
    both = measure_readers(test, panel, {"val-f1": np.zeros(2)}, resampling)
    rare = measure_readers(test, panel, {"val-f1": np.array([0.0, np.nan])}, resampling)
    whole = describe_readers([both], panel, test.patient, resampling)
    part = describe_readers([rare], panel, test.patient, resampling)
    assert (part.labels_used, part.without_threshold) == (list(LABELS), ["Mass"])
    assert part.average["sensitivity"] == whole.average["sensitivity"]
    for reader in panel.names:
        of_label, mean = part.readers[reader].per_label["Edema"].against["f1"], part.readers[reader].against["f1"]
        assert mean.network == of_label.network
        assert mean.delta == pytest.approx(of_label.delta)
        assert mean.p is not None
    said = " ".join(describe_average(part))
    assert "at val-f1, without Mass, for which validation gave no threshold" in said
    assert "cannot be compared" not in said


def test_seeds_are_averaged_over_the_labels_of_which_all_have_a_threshold():
    test, panel = make_case()
    resampling = draw_resamples(test.patient, RESAMPLES, seed="x")
    thresholds = [np.array([0.0, np.nan]), np.zeros(2)]
    seeds = [measure_readers(test, panel, {"val-f1": one}, resampling) for one in thresholds]
    part = describe_readers(seeds, panel, test.patient, resampling)
    assert part.without_threshold == ["Mass"]
    assert part.readers["B"].against["f1"].delta == pytest.approx(
        part.readers["B"].per_label["Edema"].against["f1"].delta
    )


# --- tests -----------------------------------------------------------------------------------------------------------


def test_the_average_reader_is_tested_over_readers_and_what_patients_give_them_in_common():
    draw = np.random.default_rng(3)
    values = draw.normal(0.02, 0.03, (1, 5))
    shared = draw.normal(0, 0.02, (1, 1, 400))
    resampled = values[..., None] + shared + draw.normal(0, 0.01, (1, 5, 400))
    found = compare_with_average(values, resampled)
    assert found is not None
    covariance = np.cov(resampled[0])
    off = covariance[~np.eye(5, dtype=bool)].mean()
    between = values.var(ddof=1) / 5
    error = np.sqrt(between + off)
    freedom = (between + off) / (between / 4)
    p = 2 * stats.t.sf(abs(values.mean()) / error, freedom)
    assert (found.delta, found.p) == pytest.approx((values.mean(), p))
    assert found.interval == pytest.approx(values.mean() + stats.t.ppf([0.025, 0.975], freedom) * error)


def test_two_readers_say_nothing_about_readers_in_general():
    assert compare_with_average(np.zeros((1, 2)), np.zeros((1, 2, 9))) is None


def test_seeds_of_a_network_add_their_spread():
    draw = np.random.default_rng(4)
    values = np.array([[0.1], [0.14], [0.06]])
    resampled = values[..., None] + draw.normal(0, 0.02, (1, 1, 500))
    (several,) = compare_with_each(values, resampled)
    (alone,) = compare_with_each(values[:1], resampled[:1])
    assert several.delta == pytest.approx(0.1)
    assert several.interval is not None
    assert alone.interval is not None
    assert np.ptp(several.interval) > 1.5 * np.ptp(alone.interval)


def test_p_values_are_adjusted_for_all_readers():
    test, panel = make_case(readers=4)
    found, _ = measure(test, panel)
    each = compare_with_each(*stack_differences([found], "sensitivity"))
    p = sorted((one.p or 0, one.p_holm or 0) for one in each)
    assert p[0][1] == pytest.approx(min(1, 4 * p[0][0]))
    assert all(adjusted >= raw for raw, adjusted in p)


def test_order_of_units_changes_nothing():
    test, panel = make_case()
    order = np.random.default_rng(1).permutation(120)
    turned = Panel(names=panel.names, labels=LABELS, decisions=panel.decisions[:, order])
    one, resampling = measure(test, panel)
    other, _ = measure(test.select(order), turned)
    first, second = (
        describe_readers([found], given, predictions.patient, resampling).model_dump(exclude={"panel"})
        for found, given, predictions in ((one, panel, test), (other, turned, test.select(order)))
    )
    assert first["readers"] == second["readers"]
