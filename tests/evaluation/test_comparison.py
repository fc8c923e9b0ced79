"""Pairs as the formulas read, groups as the rule reads, whatever the order of systems and whoever else is there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import chi2, f, norm, t

from harness import UsageError
from harness.evaluation.comparison import (
    System,
    compare_pairs,
    estimate_seed_variances,
    find_system_intervals,
    judge_margin,
    rank_groups,
)
from harness.evaluation.significance import adjust_holm


def make_systems(seed=0, seeds=(3, 5, 4, 3), spread=0.01, resamples=200):
    """Systems b0, b1, ... with shared noise of patients."""
    generator = np.random.default_rng(seed)
    shared = generator.normal(0, 0.02, resamples)
    values = [generator.normal(0.8, spread, count) for count in seeds]
    noise = [generator.normal(0, 0.01, (count, resamples)) for count in seeds]
    return {f"b{n}": System(v, v[:, None] + shared + e) for n, (v, e) in enumerate(zip(values, noise, strict=True))}


def add_copies(systems, count=10):
    """One more system: a file given so many times as if it were so many seeds."""
    one = systems["b0"]
    return {**systems, "copies": System(np.repeat(one.values[:1], count), np.repeat(one.resamples[:1], count, axis=0))}


def find(systems, a="b0", b="b1"):
    return next(pair for pair in compare_pairs(systems) if (pair.a, pair.b) == (a, b))


def test_every_number_of_a_pair_is_that_of_its_formula():
    systems = make_systems()
    pairs = compare_pairs(systems)
    pair = find(systems, "b0", "b2")
    a, b = systems["b0"], systems["b2"]
    difference = a.resamples.mean(axis=0) - b.resamples.mean(axis=0)
    delta, patients = a.values.mean() - b.values.mean(), difference.var(ddof=1)
    assert pair.delta == pytest.approx(delta)
    # no spread stands apart: all share one, pooled and widened by what the widest would have been cut off
    freedom = np.array([len(s.values) - 1 for s in systems.values()])
    squares = sum(((s.values - s.values.mean()) ** 2).sum() for s in systems.values())
    kept = sum(d * _kept_share(d, freedom.sum()) for d in freedom)
    parts = squares / kept / len(a.values), squares / kept / len(b.values)
    error = math.sqrt(patients + sum(parts))
    degrees = error**2 / (sum(parts) / freedom.sum())
    assert pair.error == pytest.approx(error)
    assert pair.freedom == pytest.approx(degrees)
    assert pair.p == pytest.approx(2 * t.sf(abs(delta) / error, degrees), rel=1e-9)
    half = t.ppf(0.975, degrees) * error
    assert pair.interval == pytest.approx((delta - half, delta + half))
    assert pair.over == "patients and seeds"
    half = norm.ppf(0.975) * math.sqrt(patients)
    assert pair.interval_patients == pytest.approx((delta - half, delta + half), rel=1e-6)
    assert pair.p_patients == pytest.approx(2 * norm.sf(abs(delta) / math.sqrt(patients)), rel=1e-6)
    assert [one.p_holm for one in pairs] == pytest.approx(adjust_holm(np.array([one.p for one in pairs])))


def _kept_share(freedom, total, wider=0.02):
    """The mean of a chi-squared variable below its limit, as a share of the whole mean."""
    limit = freedom * f.ppf(1 - wider, freedom, total - freedom)
    whole = quad(lambda x: chi2.pdf(x, freedom), 0, limit)[0]
    return quad(lambda x: x * chi2.pdf(x, freedom), 0, limit)[0] / whole / freedom


def test_a_system_that_spreads_apart_takes_nothing_from_a_pair_of_others():
    systems = make_systems(seeds=(3, 3, 3))
    wild = np.array([0.5, 0.9, 0.7])
    noise = np.random.default_rng(3).normal(0, 0.01, (3, 200))
    alone, beside = find(systems), find({**systems, "wild": System(wild, wild[:, None] + noise)})
    assert (beside.p, beside.interval, beside.error) == (alone.p, alone.interval, alone.error)


def test_copies_of_a_file_lend_their_lack_of_spread_to_no_other_pair():
    systems = make_systems(seeds=(3, 3, 3))
    alone, beside = find(systems), find(add_copies(systems))
    assert (beside.p, beside.interval) == (alone.p, alone.interval)


def test_an_interval_holds_0_just_where_the_difference_is_not_significant():
    for seed in range(30):
        for pair in compare_pairs(make_systems(seed, seeds=(3, 1, 5, 3, 2), spread=0.02)):
            assert pair.interval is not None
            assert pair.p_patients is not None
            low, high = pair.interval
            p = pair.p_patients if pair.p is None else pair.p
            assert (low < 0 < high) == (p > 0.05)


def test_with_fewer_than_three_seeds_nothing_is_said_about_methods():
    systems = make_systems(seeds=(1, 2, 3, 3), spread=1.0)
    pairs = compare_pairs(systems)
    assert [pair.p is None for pair in pairs] == [True] * 5 + [False]
    assert [pair.over for pair in pairs[:1] + pairs[-1:]] == ["patients", "patients and seeds"]
    assert [pair.differs for pair in pairs[:5]] == [False] * 5
    assert all(pair.interval == pair.interval_patients for pair in pairs[:5])
    assert set(rank_groups(systems, higher_is_better=True)) == {"b2", "b3"}
    assert rank_groups(make_systems(seeds=(1, 1, 2)), higher_is_better=True) == {}
    chosen = [pair.p_patients if pair.p is None else pair.p for pair in pairs]
    assert [pair.p_holm for pair in pairs] == pytest.approx(adjust_holm(np.array(chosen)))


def test_rows_with_too_few_seeds_lend_no_spread():
    systems = make_systems(seeds=(3, 3, 2))
    assert find(systems).p == find({name: systems[name] for name in ("b0", "b1")}).p


def test_however_many_systems_there_are_those_of_one_seed_can_differ():
    generator = np.random.default_rng(0)
    systems = {str(n): System(np.array([0.8]), 0.8 + generator.normal(0, 0.001, (1, 1000))) for n in range(30)}
    systems["far"] = System(np.array([0.7]), 0.7 + generator.normal(0, 0.001, (1, 1000)))
    far = [pair for pair in compare_pairs(systems) if pair.b == "far"]
    assert all(pair.p_holm is not None and pair.p_holm < 0.001 for pair in far)


def test_where_seeds_do_not_spread_the_distribution_is_normal():
    generator = np.random.default_rng(0)
    systems = {
        name: System(np.full(3, value), value + np.tile(generator.normal(0, 0.01, 400), (3, 1)))
        for name, value in (("a", 0.80), ("b", 0.82))
    }
    (pair,) = compare_pairs(systems)
    difference = systems["a"].resamples[0] - systems["b"].resamples[0]
    assert pair.p == pytest.approx(2 * norm.sf(0.02 / difference.std(ddof=1)), rel=1e-6)
    assert pair.freedom is None


def test_a_system_does_not_differ_from_itself():
    system = make_systems()["b1"]
    (pair,) = compare_pairs({"x": system, "y": system})
    assert (pair.delta, pair.p_patients, pair.p, pair.p_holm) == (0, 1, 1, 1)
    alone = System(np.full(3, 0.5), np.full((3, 10), 0.5))
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
        for ours, theirs in ((pair.interval, other.interval), (pair.interval_patients, other.interval_patients)):
            assert theirs is not None
            assert ours == pytest.approx((-theirs[1], -theirs[0]))
        for name in ("p_patients", "p", "p_holm", "error", "freedom", "detectable"):
            assert getattr(pair, name) == pytest.approx(getattr(other, name))


def test_resamples_without_a_value_are_left_out_and_too_many_leave_nothing():
    systems = make_systems(seeds=(3, 3), resamples=100)
    for system in systems.values():
        system.resamples[:, :5] = np.nan
    (pair,) = compare_pairs(systems)
    kept = {name: System(system.values, system.resamples[:, 5:]) for name, system in systems.items()}
    (expected,) = compare_pairs(kept)
    assert pair.interval == pytest.approx(expected.interval)
    assert (pair.p_patients, pair.p) == pytest.approx((expected.p_patients, expected.p))
    systems["b0"].resamples[:, 5] = np.nan
    (pair,) = compare_pairs(systems)
    assert (pair.interval, pair.p_patients, pair.p, pair.p_holm, pair.detectable) == (None,) * 5
    assert not math.isnan(pair.delta)
    assert rank_groups(systems, higher_is_better=True) == {}
    (margin,) = judge_margin([pair], 0.01, higher_is_better=True)
    assert (margin.p_a_not_worse, margin.p_b_not_worse, margin.p_equivalent) == (None, None, None)


def test_a_systems_intervals_are_those_of_its_mean_and_what_seeds_add_to_them():
    systems = make_systems(seeds=(3, 4, 2))
    spread = [np.var(system.values, ddof=1) for system in list(systems.values())[:2]]
    share = (2 * spread[0] + 3 * spread[1]) / (2 * _kept_share(2, 5) + 3 * _kept_share(3, 5))
    found = find_system_intervals(systems)
    for system, (over_patients, with_seeds) in zip(systems.values(), found.values(), strict=True):
        drawn = system.resamples.mean(axis=0)
        low, high = np.quantile(drawn, [0.025, 0.975])
        assert over_patients == pytest.approx((low, high))
        reach = t.ppf(0.975, 5) * math.sqrt(share / len(system.values))
        mean = system.values.mean()
        wanted = mean - math.hypot(mean - low, reach), mean + math.hypot(high - mean, reach)
        assert with_seeds == (None if len(system.values) < 3 else pytest.approx(wanted))
    systems["b1"].resamples[:] = np.nan
    assert find_system_intervals(systems)["b1"] == (None, None)


def make_apart(estimates):
    """Systems whose values and resamples scatter by a hundredth."""
    generator = np.random.default_rng(1)
    return {
        name: System(np.array([value - 0.001, value, value + 0.001]), value + generator.normal(0, 0.01, (3, 500)))
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
    systems = make_systems(seed, seeds=(3, 3, 3, 3, 3), spread=0.03, resamples=30)
    groups = rank_groups(systems, higher_is_better=True)
    assert groups == rank_groups(dict(reversed(systems.items())), higher_is_better=True)
    assert set(groups.values()) == set(range(1, max(groups.values()) + 1))
    assert groups[max(systems, key=lambda name: systems[name].estimate)] == 1


def test_a_margin_is_judged_by_the_t_of_the_pair():
    systems = make_apart({"a": 0.900, "b": 0.898, "c": 0.850})
    pairs = compare_pairs(systems)
    margins = judge_margin(pairs, 0.03, higher_is_better=True)
    ahead = np.array([pair.delta for pair in pairs])
    error = np.array([pair.error for pair in pairs], dtype=np.float64)
    both = np.concatenate([(ahead + 0.03) / error, (0.03 - ahead) / error])
    degrees = [pair.freedom for pair in pairs] * 2
    p = adjust_holm(t.sf(both, degrees))
    assert [margin.p_a_not_worse for margin in margins] == pytest.approx(p[:3].tolist())
    assert [margin.p_b_not_worse for margin in margins] == pytest.approx(p[3:].tolist())
    single = [max(t.sf(both[n], degrees[n]), t.sf(both[n + 3], degrees[n])) for n in range(3)]
    assert [margin.p_equivalent for margin in margins] == pytest.approx(adjust_holm(np.array(single)).tolist())
    assert single[0] < 0.025
    assert single[1] > 0.05
    lower = judge_margin(pairs, 0.03, higher_is_better=False)
    assert lower[1].p_a_not_worse == margins[1].p_b_not_worse
    for wrong in (0, -1, math.nan, math.inf):
        with pytest.raises(UsageError, match="a difference of no account, above 0"):
            judge_margin(pairs, wrong, higher_is_better=True)


def test_systems_that_cannot_be_compared_are_refused():
    with pytest.raises(UsageError, match="resampled alike, got 10 and 20 resamples"):
        compare_pairs(make_systems(seeds=(2,), resamples=10) | {"x": make_systems(resamples=20)["b0"]})
    with pytest.raises(UsageError, match=r"for each seed, \(k,\) and \(k, R\), got \(2,\) and \(3, 5\)"):
        System(np.zeros(2), np.zeros((3, 5)))
    with pytest.raises(UsageError, match="cannot be compared; leave it out"):
        System(np.array([np.nan]), np.zeros((1, 5)))


@pytest.mark.parametrize(("count", "patients_spread"), [(5, 0.01), (3, 0.001)])
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


# --- rows whose seeds repeat each other ------------------------------------------------------------------------------


def test_rows_that_repeat_have_no_spread_and_change_nothing_for_the_others():
    draw = np.random.default_rng(3)
    trained = [0.8 + 0.01 * draw.normal(size=3) for _ in range(5)]
    alone, known = estimate_seed_variances(trained)
    beside = [*trained, *(np.full(3, value) for value in (0.7, 0.75, 0.9)), 0.6 + np.array([0, 1e-7, 2e-7])]
    variance, freedom = estimate_seed_variances(beside)
    assert variance[:5].tolist() == alone.tolist()
    assert freedom[:5].tolist() == known.tolist()
    assert variance[5:].tolist() == [0, 0, 0, 0]


def test_two_rows_that_repeat_differ_by_patients_alone():
    draw = np.random.default_rng(4)
    resamples = [np.tile(value + 0.01 * draw.normal(size=400), (3, 1)) for value in (0.8, 0.9)]
    systems = {name: System(np.full(3, one.mean()), one) for name, one in zip("ab", resamples, strict=True)}
    (pair,) = compare_pairs(systems)
    assert (pair.p, pair.interval) == (pair.p_patients, pair.interval_patients)
    assert pair.differs
    assert rank_groups(systems, higher_is_better=True) == {"b": 1, "a": 2}


def test_an_ensemble_of_rows_that_repeat_repeats_too():
    trained = [np.array([0.8, 0.81, 0.82]), np.array([0.7, 0.72, 0.71]), np.full(3, 0.9)]
    variance, _ = estimate_seed_variances(trained, [False, False, True])
    assert variance[2] == 0
