"""Averages of predictions and greedy selection, against a few lines of their own and against scipy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from harness.errors import DataError, UsageError
from harness.evaluation.ensembles import Merit, average, select
from harness.evaluation.predictions import Predictions, make_scores

IMAGES, LABELS = 200, ("Edema", "Mass")


@pytest.fixture
def auroc(registry) -> Merit:
    return Merit(metric=registry.metric("auroc"), name="auroc")


def draw(seed: int, skill: float = 0.0, *, targets: np.ndarray | None = None, decimals: int = 6) -> Predictions:
    if targets is None:
        targets = (np.random.default_rng(99).random((IMAGES, 2)) < 0.3).astype(np.float32)
    noise = np.random.default_rng(seed).normal(size=targets.shape)
    image = np.array([f"i{number:03d}" for number in range(len(targets))])
    logits = np.round(noise + skill * np.nan_to_num(targets), decimals)
    return Predictions(labels=LABELS, image=image, patient=image, logits=logits, targets=targets)


def measure(scores: np.ndarray, targets: np.ndarray) -> float:
    known = [~np.isnan(column) for column in targets.T]
    return float(np.mean([roc_auc_score(targets[rows, n], scores[rows, n]) for n, rows in enumerate(known)]))


def select_by_hand(values: list[np.ndarray], targets: np.ndarray, steps: int) -> tuple[list[int], list[float]]:
    """Caruana's selection with replacement, in as few lines as it takes."""
    picked: list[int] = []
    path = []
    for _ in range(steps):
        worth = [measure(np.mean([values[m] for m in [*picked, new]], axis=0), targets) for new in range(len(values))]
        picked.append(int(np.argmax(worth)))
        path.append(max(worth))
    kept = picked[: int(np.argmax(path)) + 1]
    return [kept.count(m) for m in range(len(values))], path


@pytest.mark.parametrize("how", ["probability", "logit", "rank"])
@pytest.mark.parametrize("unknown", [False, True])
def test_greedy_selection_is_that_of_an_independent_implementation(auroc, how, unknown):
    targets = (np.random.default_rng(7).random((IMAGES, 2)) < 0.3).astype(np.float32)
    if unknown:
        targets[np.random.default_rng(8).random(targets.shape) < 0.2] = np.nan
    members = [draw(seed, 0.3 + 0.1 * seed, targets=targets) for seed in range(5)]
    transform = {
        "probability": lambda one: one.scores,
        "logit": lambda one: one.logits,
        "rank": lambda one: rankdata(one.logits, axis=0),
    }[how]
    weights, path = select_by_hand([transform(one) for one in members], targets, 8)
    found = select(members, how, auroc, 8)
    assert found.weights == tuple(weights)
    assert found.values == pytest.approx(path, abs=1e-12)
    assert measure(average(members, found.weights, how).ranks, targets) == pytest.approx(max(path), abs=1e-12)


def test_ties_count_one_half_as_in_the_metric(auroc, registry):
    members = [draw(seed, 0.5, decimals=0) for seed in range(3)]
    found = select(members, "logit", auroc, 4)
    slow = replace(auroc, metric=replace(registry.metric("auroc"), name="other"))
    assert found.weights == select(members, "logit", slow, 4).weights
    assert found.values == pytest.approx(select(members, "logit", slow, 4).values, abs=1e-12)


def test_a_label_that_most_images_have_is_measured_alike(auroc):
    targets = (np.random.default_rng(3).random((IMAGES, 2)) < 0.8).astype(np.float32)
    members = [draw(seed, 0.5, targets=targets) for seed in range(3)]
    assert select(members, "logit", auroc, 1).values[0] == pytest.approx(
        max(measure(one.logits, targets) for one in members)
    )


def test_a_metric_that_is_better_when_lower_is_minimized(registry):
    members = [draw(seed, skill) for seed, skill in enumerate((0.0, 3.0, 0.5))]
    merit = Merit(metric=registry.metric("brier"), name="brier")
    found = select(members, "probability", merit, 3)
    assert found.values[0] == min(np.mean((one.scores - one.targets) ** 2) for one in members)
    assert min(found.values) <= found.values[0]


def test_decisions_are_judged_at_the_thresholds_of_validation(registry):
    members = [draw(seed, 0.5) for seed in range(3)]
    fitted = select(members, "probability", Merit(metric=registry.metric("f1"), name="f1"), 2)
    at_half = select(members, "probability", Merit(metric=registry.metric("f1"), name="f1@0.5"), 2)
    assert fitted.values[0] > at_half.values[0]


def test_only_members_up_to_the_best_step_are_kept(auroc):
    best, noise = draw(0, 6.0), draw(1)
    found = select([noise, best], "logit", auroc, 6)
    assert found.weights == (0, 1)
    assert len(found.values) == 6


@pytest.mark.parametrize(("unit", "how"), [("patient", "mean"), ("study", "max")])
def test_what_is_picked_over_patients_or_studies_is_measured_over_them(auroc, unit, how):
    pairs = np.array([f"p{number // 2}" for number in range(IMAGES)])
    members = [replace(draw(seed, 0.5), patient=pairs, study=pairs) for seed in range(3)]
    found = select(members, "probability", replace(auroc, unit=unit, pool=how), 1)
    pooled = [getattr(one.scores.reshape(-1, 2, 2), how)(axis=1) for one in members]
    targets = members[0].targets.reshape(-1, 2, 2).max(axis=1)
    assert found.values[0] == pytest.approx(max(measure(scores, targets) for scores in pooled))


def test_the_gain_on_validation_of_random_predictions_does_not_reach_the_test(auroc):
    targets = (np.random.default_rng(1).random((2 * IMAGES, 2)) < 0.3).astype(np.float32)
    val, test = np.arange(IMAGES), np.arange(IMAGES, 2 * IMAGES)
    gains = []
    for repetition in range(4):
        members = [draw(100 * repetition + seed, targets=targets) for seed in range(20)]
        found = select([one.select(val) for one in members], "probability", auroc, 15)
        outcome = average([one.select(test) for one in members], found.weights, "probability")
        gains.append((max(found.values) - 0.5, measure(outcome.scores, targets[test]) - 0.5))
    on_val, on_test = np.mean(gains, axis=0)
    assert on_val > 0.08
    assert abs(on_test) < 0.03


# --- averages ---------------------------------------------------------------------------------------------------------


def test_probabilities_are_averaged_by_weight():
    a, b = draw(0), draw(1)
    made = average([a, b], (3, 1), "probability")
    assert made.scores == pytest.approx((3 * make_scores(a.logits) + make_scores(b.logits)) / 4)
    assert make_scores(made.logits) == pytest.approx(made.scores)


def test_logits_are_averaged_as_logits():
    a, b = draw(0), draw(1)
    made = average([a, b], (1, 1), "logit")
    assert np.array_equal(made.logits, (a.logits + b.logits) / 2)
    assert made.given_scores is None


def test_ranks_are_those_of_scipy_and_no_probabilities():
    a, b = draw(0, decimals=1), draw(1, decimals=1)
    made = average([a, b], (2, 1), "rank")
    expected = (2 * rankdata(a.logits, axis=0) + rankdata(b.logits, axis=0)) / 3 / IMAGES
    assert made.ranks == pytest.approx(expected)
    assert made.is_rank_only
    assert np.isnan(made.scores).all()


def test_a_member_that_only_ranks_is_averaged_by_ranks_alone():
    ranks = replace(average([draw(0), draw(1)], (1, 1), "rank"), source="theirs.csv")
    assert average([ranks, draw(2)], (1, 1), "rank").is_rank_only
    with pytest.raises(DataError, match=r"theirs\.csv: its scores are no probabilities and only rank; average ranks"):
        average([ranks, draw(2)], (1, 1), "probability")


def test_an_average_of_ranks_is_not_picked_by_what_it_does_not_have(registry):
    with pytest.raises(UsageError, match="an average of ranks has no F1, so nothing can be picked by it"):
        select([draw(0), draw(1)], "rank", Merit(metric=registry.metric("f1"), name="f1"), 2)


def test_nothing_is_picked_where_no_label_can_be_measured(auroc):
    members = [draw(seed, targets=np.zeros((20, 2), dtype=np.float32)) for seed in range(2)]
    with pytest.raises(DataError, match="no row has a value of AUROC on validation"):
        select(members, "logit", auroc, 2)
