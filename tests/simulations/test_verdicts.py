"""The chosen test of pairs keeps to the bars by which it was chosen, and others do not."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import verdicts  # type: ignore[import-not-found]

MOST = {3: 0.10, 5: 0.07, 8: 0.07}
"""False alarms of a pair, and of any pair after adjustment, by seeds."""
CHOSEN = verdicts.METHODS[verdicts.CHOSEN]


def run(rows, seeds, times, method=CHOSEN, delta=None):
    trials = 3000 if rows < 20 else 1000
    wanted = verdicts.find_difference(rows, seeds) if delta is None else delta
    return verdicts.simulate(verdicts.make_board(rows, seeds, times), method, wanted, trials, np.random.default_rng(7))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rows", [8, 30])
@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_false_alarms_and_power_keep_to_the_bars(rows, seeds):
    delta = verdicts.find_difference(rows, seeds)
    for times in (1, 5, 10):
        found = run(rows, seeds, times, delta=delta)
        assert found.quiet <= 0.06
        assert found.noisy <= MOST[seeds]
        assert found.any <= MOST[seeds]
        assert found.power >= 0.8 * verdicts.WANTED_POWER


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_pooling_over_all_rows_would_not():
    found = run(8, 3, 5, verdicts.pool_all)
    assert found.noisy > 0.2
    assert found.any > 0.12
    assert found.power < 0.4


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rows", [2, 8])
def test_what_is_called_detectable_is_found_four_times_out_of_five(rows):
    found = run(rows, 3, 1, delta=verdicts.find_promised(rows, 3)).power
    assert found == pytest.approx(0.8, abs=0.08)


def test_simulated_seeds_are_those_of_the_comparison():
    """The programs draw means and variances; a board of systems gives the same p-values."""
    from harness.evaluation.comparison import System, compare_pairs

    generator = np.random.default_rng(0)
    values = generator.normal(0.8, verdicts.SEEDS, (4, 3))
    noise = generator.normal(0, verdicts.PATIENTS / np.sqrt(2), (4, 500))
    systems = {str(n): System(value, value[:, None] + noise[n]) for n, value in enumerate(values)}
    found = CHOSEN(values.var(axis=1, ddof=1), np.full(4, 2.0))
    for pair in compare_pairs(systems):
        a, b = int(pair.a), int(pair.b)
        parts = [(found.variance[[row]] / 3, found.freedom[[row]]) for row in (a, b)]
        error, freedom = verdicts.combine((noise[a] - noise[b]).var(ddof=1, keepdims=True), *parts)
        p = verdicts.two_sided(np.array([pair.delta]), error, freedom)
        assert p[0] == pytest.approx(pair.p)
