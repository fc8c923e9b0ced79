"""What readers are held against, and how far they agree."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from harness.errors import DataError, UnknownNameError
from harness.evaluation.agreement import compare_readers, measure_agreement
from harness.evaluation.bootstrap import draw_resamples
from harness.evaluation.panel import Panel, find_majority
from harness.panels import find_truth

NONE = np.nan
# four readers of six units, one label
DECISIONS = np.array(
    [[1, 1, 0, NONE, 1, NONE], [1, 0, 0, 1, 0, NONE], [1, 1, 1, NONE, 1, NONE], [0, 0, 0, NONE, NONE, NONE]],
    dtype=np.float32,
)[..., None]
TARGETS = np.array([0, 1, 0, NONE, 1, 1], dtype=np.float32)[:, None]


def make(truth="targets", decisions=DECISIONS) -> Panel:
    names = tuple("ABCD"[: len(decisions)])
    return Panel(names=names, labels=("Edema",), decisions=decisions, truth=truth)


def test_the_majority_is_of_those_who_decided_and_a_tie_is_unknown():
    np.testing.assert_array_equal(find_majority(DECISIONS)[:, 0], [1, NONE, 0, 1, 1, NONE])


def test_a_reader_is_held_against_targets_only_where_they_decided():
    truths = make().find_truths(TARGETS)[..., 0]
    np.testing.assert_array_equal(truths[0], [0, 1, 0, NONE, 1, NONE])
    np.testing.assert_array_equal(truths[1], [0, 1, 0, NONE, 1, NONE])
    np.testing.assert_array_equal(truths[3], [0, 1, 0, NONE, NONE, NONE])


def test_a_reader_left_out_has_no_say_in_the_truth():
    truths = make("leave-one-out").find_truths(TARGETS)[..., 0]
    np.testing.assert_array_equal(truths[0], [1, 0, 0, NONE, NONE, NONE])
    np.testing.assert_array_equal(truths[1], [1, 1, 0, NONE, 1, NONE])
    np.testing.assert_array_equal(truths[3], [1, 1, 0, NONE, NONE, NONE])


def test_curves_have_one_truth_and_only_what_somebody_read():
    np.testing.assert_array_equal(make().find_common_truth(TARGETS)[:, 0], [0, 1, 0, NONE, 1, NONE])
    np.testing.assert_array_equal(make("leave-one-out").find_common_truth(TARGETS)[:, 0], [1, NONE, 0, 1, 1, NONE])


@pytest.mark.parametrize("truth", ["majority", "leave-one-out"])
def test_two_readers_have_no_majority(truth):
    with pytest.raises(DataError, match=f"the truth '{truth}' needs 3 readers, got 2; give more"):
        make(truth, DECISIONS[:2])


def test_an_unknown_truth_is_refused():
    with pytest.raises(UnknownNameError, match="unknown truth for readers 'majorty': did you mean 'majority'"):
        find_truth("majorty")


def test_two_readers_agree_as_scikit_learn_says():
    draw = np.random.default_rng(0)
    decisions = (draw.random((3, 80, 2)) < draw.random((1, 80, 2))).astype(np.float32)
    decisions[1, 60:, 0] = NONE
    for (a, b), kappas in compare_readers(decisions).items():
        for label in range(2):
            both = ~np.isnan(decisions[[a, b], :, label]).any(axis=0)
            expected = cohen_kappa_score(decisions[a, both, label], decisions[b, both, label])
            assert kappas[label] == pytest.approx(expected)


def test_readers_who_always_say_the_same_have_no_kappa():
    decisions = np.zeros((2, 5, 1), dtype=np.float32)
    patients = np.array(list("abcde"))
    assert np.isnan(compare_readers(decisions)[0, 1]).all()
    assert np.isnan(measure_agreement(decisions, patients, draw_resamples(patients, 5, seed="x"))[0]).all()


def test_the_kappa_of_all_readers_by_hand():
    # agreeing shares of pairs: 3/6, 2/6, 3/6, one reader alone, 1/3, nobody
    # 15 decisions on the units that count, 8 of them positive
    units = np.array(list("abcdef"))
    resampling = draw_resamples(units, 50, seed="x")
    found, resampled = measure_agreement(DECISIONS, units, resampling)
    agreement, share = (3 / 6 + 2 / 6 + 3 / 6 + 1 / 3) / 4, 8 / 15
    chance = share**2 + (1 - share) ** 2
    assert found[0] == pytest.approx((agreement - chance) / (1 - chance))
    weights = resampling.weights[3, [0, 1, 2, 4]].astype(float)
    agreement = np.average([3 / 6, 2 / 6, 3 / 6, 1 / 3], weights=weights)
    share = (weights * [3, 2, 1, 2]).sum() / (weights * [4, 4, 4, 3]).sum()
    chance = share**2 + (1 - share) ** 2
    assert resampled[3, 0] == pytest.approx((agreement - chance) / (1 - chance))
