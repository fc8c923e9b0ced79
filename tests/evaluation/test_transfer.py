"""The drop from one dataset to another, against a computation written out with NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.errors import UsageError
from harness.evaluation.transfer import Drop, Side, measure_drop


def make_side(seeds: int, mean: float, seed: int, resamples: int = 500, bias: float = 0.0) -> Side:
    generator = np.random.default_rng(seed)
    values = mean + generator.normal(0, 0.01, seeds)
    return Side(values, values[:, None] + bias + generator.normal(0, 0.02, (seeds, resamples)))


def find_ends(drop: Drop) -> tuple[float, float]:
    assert drop.interval is not None
    return drop.interval


def work_out(inside: Side, outside: Side) -> tuple[float, float, float]:
    """Drop and interval: errors over patients add up, seeds are paired, on t by the mean of 1 / freedom."""
    drops = inside.values - outside.values
    drop = inside.values.mean() - outside.values.mean()
    drawn = [side.resamples for side in (inside, outside) if side.resamples is not None]
    patients = sum(rows.mean(axis=0).var(ddof=1) for rows in drawn)
    variance, freedom = patients, np.inf
    if len(drops) >= 3:
        seeds = drops.var(ddof=1) / len(drops)
        variance = patients + seeds
        freedom = variance / (seeds / (len(drops) - 1))
    reach = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    biases = [rows.mean() - side.values.mean() for rows, side in zip(drawn, (inside, outside), strict=True)]
    other = drop - (biases[0] - biases[1])
    return drop, min(drop, other) - reach, max(drop, other) + reach


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_the_drop_and_its_interval_are_those_worked_out_by_hand(seeds):
    inside, outside = make_side(seeds, 0.85, 1), make_side(seeds, 0.78, 2, resamples=300, bias=0.004)
    found = measure_drop(inside, outside, higher_is_better=True)
    drop, low, high = work_out(inside, outside)
    assert found.value == pytest.approx(drop, abs=1e-12)
    assert found.interval == pytest.approx((low, high), abs=1e-8)
    assert found.over == ("patients and seeds" if seeds >= 3 else "patients")
    assert found.is_certain == (low > 0)


def test_where_less_is_better_a_rise_is_above_0():
    inside, outside = make_side(3, 0.05, 1), make_side(3, 0.30, 2)
    found = measure_drop(inside, outside, higher_is_better=False)
    turned = measure_drop(outside, inside, higher_is_better=True)
    assert found.value == pytest.approx(turned.value)
    assert found.value > 0
    assert found.interval == pytest.approx(turned.interval)
    assert (found.inside, found.outside) == (turned.outside, turned.inside)


def test_seeds_that_fall_together_make_no_drop_uncertain():
    drawn = np.random.default_rng(0).normal(0, 0.001, (3, 200))
    moved = np.array([0.0, 0.2, -0.2])
    sides = [Side(mean + moved, mean + moved[:, None] + drawn) for mean in (0.8, 0.7)]
    low, high = find_ends(measure_drop(*sides, higher_is_better=True))
    assert high - low < 0.01


def test_without_resamples_or_where_they_do_not_move_there_is_a_drop_and_no_interval():
    whole, values = make_side(3, 0.8, 1), np.full(3, 0.7)
    for other in (Side(values, None), Side(values, np.full((3, 50), 0.7)), Side(values, np.full((3, 50), np.nan))):
        found = measure_drop(whole, other, higher_is_better=True)
        assert found.interval is None
        assert not found.is_certain
        assert found.value == pytest.approx(whole.values.mean() - 0.7)


def test_sides_of_different_seeds_are_refused():
    with pytest.raises(UsageError, match="the same seeds are needed on both tests, got 3 and 2"):
        measure_drop(make_side(3, 0.8, 1), make_side(2, 0.8, 1), higher_is_better=True)


@given(st.integers(1, 6), st.integers(0, 10_000), st.booleans())
def test_the_interval_holds_its_drop_and_turns_round_with_its_sides(seeds, seed, higher):
    inside, outside = make_side(seeds, 0.7, seed, 50), make_side(seeds, 0.7, seed + 1, 50)
    found = measure_drop(inside, outside, higher_is_better=higher)
    turned = measure_drop(outside, inside, higher_is_better=higher)
    (low, high), ends = find_ends(found), find_ends(turned)
    assert low <= found.value <= high
    assert found.value == pytest.approx(-turned.value)
    assert (low, high) == pytest.approx((-ends[1], -ends[0]))
