"""Pairs as the formulas read, groups as the rule reads, whatever the order of systems."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t

from harness import UsageError
from harness.evaluation.comparison import System, adjust_holm, compare_pairs, rank_groups


def make_systems(seed=0, seeds=(3, 5, 1, 2), spread=0.01, resamples=200):
    """Systems b0, b1, ... with shared noise of patients."""
    generator = np.random.default_rng(seed)
    shared = generator.normal(0, 0.02, resamples)
    values = [generator.normal(0.8, spread, count) for count in seeds]
    noise = [generator.normal(0, 0.01, (count, resamples)) for count in seeds]
    return {f"b{n}": System(v, v[:, None] + shared + e) for n, (v, e) in enumerate(zip(values, noise, strict=True))}


def test_every_number_of_a_pair_is_that_of_its_formula():
    systems = make_systems()
    pairs = {(pair.a, pair.b): pair for pair in compare_pairs(systems)}
    assert len(pairs) == 6
    a, b = systems["b0"], systems["b2"]
    pair = pairs["b0", "b2"]
    difference = a.resamples.mean(axis=0) - b.resamples.mean(axis=0)
    assert pair.delta == pytest.approx(a.values.mean() - b.values.mean())
    assert pair.interval == pytest.approx(np.percentile(difference, [2.5, 97.5]))
    rarer = min((difference <= 0).sum(), (difference >= 0).sum())
    assert pair.p_patients == pytest.approx(min(1, 2 * (1 + rarer) / 201))
    pooled = sum(((s.values - s.values.mean()) ** 2).sum() for s in systems.values()) / (2 + 4 + 0 + 1)
    of_patients, of_seeds = difference.var(ddof=1), pooled / 3 + pooled / 1
    freedom = (of_patients + of_seeds) ** 2 / (of_seeds**2 / (2 + 4 + 0 + 1))
    assert pair.p == pytest.approx(2 * t.sf(abs(pair.delta) / np.sqrt(of_patients + of_seeds), freedom), rel=1e-9)


def test_where_seeds_do_not_spread_the_distribution_is_normal():
    generator = np.random.default_rng(0)
    systems = {
        name: System(np.full(2, value), value + np.tile(generator.normal(0, 0.01, 400), (2, 1)))
        for name, value in (("a", 0.80), ("b", 0.82))
    }
    (pair,) = compare_pairs(systems)
    difference = systems["a"].resamples[0] - systems["b"].resamples[0]
    assert pair.p == pytest.approx(2 * norm.sf(0.02 / difference.std(ddof=1)), rel=1e-9)


def test_with_one_seed_each_patients_alone_decide():
    pairs = compare_pairs(make_systems(seeds=(1, 1, 1)))
    assert all(pair.p is None for pair in pairs)
    p = np.array([pair.p_patients for pair in pairs])
    assert [pair.p_holm for pair in pairs] == adjust_holm(p).tolist()


def test_a_system_does_not_differ_from_itself():
    system = make_systems()["b1"]
    (pair,) = compare_pairs({"x": system, "y": system})
    assert (pair.delta, pair.p_patients, pair.p, pair.p_holm) == (0, 1, 1, 1)
    alone = System(np.array([0.5, 0.5]), np.full((2, 10), 0.5))
    (pair,) = compare_pairs({"x": alone, "y": alone})
    assert (pair.p_patients, pair.p, pair.p_holm) == (1, 1, 1)


@given(st.integers(0, 2**32 - 1))
def test_turning_a_pair_round_turns_its_sign_and_nothing_else(seed):
    systems = make_systems(seed, resamples=40)
    there = {(pair.a, pair.b): pair for pair in compare_pairs(systems)}
    back = {(pair.b, pair.a): pair for pair in compare_pairs(dict(reversed(systems.items())))}
    assert set(there) == set(back)
    for names, pair in there.items():
        other = back[names]
        assert pair.delta == -other.delta
        assert pair.interval is not None
        assert other.interval is not None
        assert pair.interval == pytest.approx((-other.interval[1], -other.interval[0]))
        assert pair.p_patients == other.p_patients
        assert pair.p == pytest.approx(other.p)
        assert pair.p_holm == pytest.approx(other.p_holm)


def test_resamples_without_a_value_are_left_out_and_too_many_leave_nothing():
    systems = make_systems(seeds=(2, 2), resamples=100)
    for system in systems.values():
        system.resamples[:, :5] = np.nan
    (pair,) = compare_pairs(systems)
    kept = {name: System(system.values, system.resamples[:, 5:]) for name, system in systems.items()}
    (expected,) = compare_pairs(kept)
    assert pair.interval == pytest.approx(expected.interval)
    assert (pair.p_patients, pair.p) == pytest.approx((expected.p_patients, expected.p))
    systems["b0"].resamples[:, 5] = np.nan
    (pair,) = compare_pairs(systems)
    assert (pair.interval, pair.p_patients, pair.p, pair.p_holm) == (None, None, None, None)
    assert not math.isnan(pair.delta)
    assert rank_groups(systems, higher_is_better=True) == {"b0": 1, "b1": 1}


@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=12))
def test_holm_is_its_definition(values):
    p = np.array(values, dtype=float)
    defined = sorted(value for value in values if not math.isnan(value))
    for value, adjusted in zip(values, adjust_holm(p), strict=True):
        steps = [min(1, (len(defined) - i) * smaller) for i, smaller in enumerate(defined) if smaller <= value]
        assert math.isnan(adjusted) if math.isnan(value) else adjusted == pytest.approx(max(steps))


def make_apart(estimates):
    """Systems whose values and resamples scatter by a hundredth."""
    generator = np.random.default_rng(1)
    return {
        name: System(np.array([value - 0.001, value + 0.001]), value + generator.normal(0, 0.01, (2, 500)))
        for name, value in estimates.items()
    }


def test_groups_are_those_of_the_rule():
    systems = make_apart({"d": 0.5, "a": 0.9, "c": 0.84, "b": 0.895})
    assert rank_groups(systems, higher_is_better=True) == {"a": 1, "b": 1, "c": 2, "d": 3}
    assert rank_groups(systems, higher_is_better=False) == {"d": 1, "c": 2, "b": 3, "a": 3}
    assert rank_groups(dict(list(systems.items())[:1]), higher_is_better=True) == {"d": 1}
    assert rank_groups({}, higher_is_better=True) == {}


@given(st.integers(0, 2**32 - 1))
def test_groups_do_not_depend_on_the_order_of_systems_and_leave_no_number_out(seed):
    systems = make_systems(seed, seeds=(2, 2, 2, 2, 2), spread=0.03, resamples=30)
    groups = rank_groups(systems, higher_is_better=True)
    assert groups == rank_groups(dict(reversed(systems.items())), higher_is_better=True)
    assert set(groups.values()) == set(range(1, max(groups.values()) + 1))
    assert groups[max(systems, key=lambda name: systems[name].estimate)] == 1


def test_systems_that_cannot_be_compared_are_refused():
    with pytest.raises(UsageError, match="resampled alike, got 10 and 20 resamples"):
        compare_pairs(make_systems(seeds=(2,), resamples=10) | {"x": make_systems(resamples=20)["b0"]})
    with pytest.raises(UsageError, match=r"for each seed, \(k,\) and \(k, R\), got \(2,\) and \(3, 5\)"):
        System(np.zeros(2), np.zeros((3, 5)))
    with pytest.raises(UsageError, match="cannot be compared; leave it out"):
        System(np.array([np.nan]), np.zeros((1, 5)))


@pytest.mark.parametrize(("count", "patients_spread"), [(5, 0.01), (3, 0.001), (2, 0.001)])
def test_equal_systems_are_called_different_about_as_often_as_said(count, patients_spread):
    generator = np.random.default_rng(3)
    trials, rejected = 600, 0
    for _ in range(trials):
        patients, noise = (generator.normal(0, patients_spread, (2, n)) for n in (1, 300))
        values = 0.8 + patients + generator.normal(0, 0.01, (2, count))
        (pair,) = compare_pairs({str(n): System(value, value[:, None] + noise[n]) for n, value in enumerate(values)})
        assert pair.p is not None
        rejected += pair.p < 0.05
    assert 0.02 < rejected / trials < 0.08
