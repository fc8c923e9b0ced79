"""Which rows share a spread: a plain loop, whatever the order, and none that behaves differently."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, f

from harness.evaluation.spread import find_lent_spreads, find_spreads


def by_a_plain_loop(variance, freedom):
    """The rule as it reads, row by row."""

    def share(d, others):
        limit = d * f.ppf(0.98, d, max(others, 1))
        return chi2.cdf(limit, d + 2) / chi2.cdf(limit, d)

    def fits(s, d, common, known):
        ratio = s / common if common > 0 else (1.0 if s == 0 else math.inf)
        return f.sf(ratio, d, max(known, 1)) >= 0.02 and f.cdf(ratio, d, max(known, 1)) >= 0.001

    rows = range(len(variance))
    start = np.median([s / (chi2.ppf(0.5, d) / d) for s, d in zip(variance, freedom, strict=True)])
    inside = [i for i in rows if fits(variance[i], freedom[i], start, sum(freedom))]
    for _ in range(20):
        total = sum(freedom[i] for i in inside)
        found = []
        for i in rows:
            others = [j for j in inside if j != i]
            kept = sum(freedom[j] * share(freedom[j], total - freedom[j]) for j in others)
            common = sum(freedom[j] * variance[j] for j in others) / kept if others else 0.0
            if not others or fits(variance[i], freedom[i], common, sum(freedom[j] for j in others)):
                found.append(i)
        if found == inside:
            break
        inside = found
    if len(variance) - len(inside) > math.ceil(len(variance) / 8) or len(inside) < 2:
        return list(variance), list(freedom)
    total = sum(freedom[i] for i in inside)
    kept = sum(freedom[i] * share(freedom[i], total - freedom[i]) for i in inside)
    common = sum(freedom[i] * variance[i] for i in inside) / kept
    return (
        [common if i in inside else variance[i] for i in rows],
        [total if i in inside else freedom[i] for i in rows],
    )


@given(st.integers(0, 2**32 - 1), st.integers(1, 10))
def test_it_is_the_rule_in_a_plain_loop(seed, rows):
    generator = np.random.default_rng(seed)
    freedom = generator.integers(2, 8, rows).astype(float)
    spreads = np.where(generator.random(rows) < 0.2, generator.choice([0.0, 0.05, 8.0], rows), 1.0)
    variance = spreads**2 * generator.chisquare(freedom) / freedom
    found = find_spreads(variance, freedom)
    expected, known = by_a_plain_loop(variance.tolist(), freedom.tolist())
    assert found.variance.tolist() == pytest.approx(expected)
    assert found.freedom.tolist() == known
    order = generator.permutation(rows)
    again = find_spreads(variance[order], freedom[order])
    assert again.variance.tolist() == found.variance[order].tolist()
    many = find_spreads(np.stack([variance, variance]), np.stack([freedom, freedom]))
    assert many.variance[1].tolist() == found.variance.tolist()


def test_one_row_that_failed_keeps_its_spread_for_itself():
    quiet = np.array([1.0, 1.4, 0.6, 1.1, 0.9, 1.3, 0.8])
    found = find_spreads(np.append(quiet, 25.0), np.full(8, 2.0))
    assert found.shared.tolist() == [True] * 7 + [False]
    assert (found.variance[-1], found.freedom[-1]) == (25.0, 2.0)
    assert found.freedom[0] == 14
    assert found.variance[0] == pytest.approx(find_spreads(quiet, np.full(7, 2.0)).variance[0])


def test_rows_without_any_spread_lend_none():
    found = find_spreads(np.array([1.0, 1.4, 0.6, 0.0]), np.array([2.0, 2.0, 2.0, 9.0]))
    assert found.shared.tolist() == [True, True, True, False]
    assert find_spreads(np.zeros(3), np.full(3, 2.0)).variance.tolist() == [0, 0, 0]


def test_rows_without_any_spread_do_not_come_between_two_that_agree():
    two = find_spreads(np.array([25.0, 1.0]), np.full(2, 2.0))
    three = find_spreads(np.array([25.0, 1.0, 0.0]), np.array([2.0, 2.0, 9.0]))
    assert two.shared.all()
    assert three.variance[:2].tolist() == two.variance.tolist()


def test_where_many_rows_stand_apart_each_has_its_own_spread():
    variance = np.array([1.0, 1.2, 0.8, 1.1, 0.9, 60.0, 80.0, 1.0])
    found = find_spreads(variance, np.full(8, 4.0))
    assert not found.shared.any()
    assert found.variance.tolist() == variance.tolist()


def test_a_common_spread_is_on_average_the_true_one():
    generator = np.random.default_rng(0)
    found = find_spreads(generator.chisquare(2, (4000, 8)) / 2, np.full(8, 2.0))
    assert found.variance[found.shared].mean() == pytest.approx(1, abs=0.03)


def test_a_single_row_has_its_own():
    found = find_spreads(np.array([2.0]), np.array([4.0]))
    assert (found.variance[0], found.freedom[0], found.shared[0]) == (2.0, 4.0, False)


# --- what borrows and lends nothing -----------------------------------------------------------------------------------


def test_what_does_not_lend_changes_nothing_for_the_others():
    variance, freedom = np.array([1.0, 1.2, 0.9, 0.1, 0.1]), np.full(5, 2.0)
    alone = find_spreads(variance[:3], freedom[:3])
    found = find_lent_spreads(variance, freedom, np.array([True, True, True, False, False]))
    assert np.array_equal(found.variance[:3], alone.variance)
    assert np.array_equal(found.freedom[:3], alone.freedom)
    assert find_spreads(variance, freedom).variance[0] < alone.variance[0], "shared with them it would be too narrow"


def test_what_borrows_takes_the_common_spread_unless_its_own_is_wider():
    variance, freedom = np.array([1.0, 1.2, 0.9, 0.001, 50.0]), np.full(5, 2.0)
    found = find_lent_spreads(variance, freedom, np.array([True, True, True, False, False]))
    assert (found.variance[3], found.freedom[3]) == (found.variance[0], 6)
    assert (found.variance[4], found.freedom[4], found.shared[4]) == (50.0, 2, False)


def test_what_borrows_keeps_its_own_where_the_others_share_none():
    found = find_lent_spreads(np.array([1.0, 0.5]), np.full(2, 2.0), np.array([True, False]))
    assert found.variance.tolist() == [1.0, 0.5]
    assert not found.shared.any()
