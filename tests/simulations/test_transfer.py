"""The interval of a drop holds the truth about as often as it says; simpler rules do not."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import intervals  # type: ignore[import-not-found]
import transfer  # type: ignore[import-not-found]


def draw(
    metric: str, kinds: tuple[str, str], sizes: tuple[int, int], seeds: int, wild: float = 1
) -> list[transfer.Case]:
    measured = intervals.load_registry().metric(metric)
    own, other = (transfer.draw_sets(kind, size, measured, 60) for kind, size in zip(kinds, sizes, strict=True))
    return list(transfer.make_cases(own, other, measured, seeds, np.random.default_rng(1), wild))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["the same", "harder"])
@pytest.mark.parametrize(("sizes", "seeds"), [((300, 300), 1), ((300, 2_000), 3), ((2_000, 300), 3)])
def test_the_interval_of_a_drop_holds_the_truth(kind, sizes, seeds):
    cases = draw("auroc", ("the same", kind), sizes, seeds)
    assert 0.9 <= transfer.judge(cases, transfer.CHOSEN).held <= 0.995


@pytest.mark.slow
def test_a_metric_that_lies_higher_on_few_patients_needs_its_bias():
    cases = draw("auprc", ("the same", "the same"), (300, 2_000), 1)
    assert transfer.judge(cases, transfer.CHOSEN).held >= 0.93
    assert transfer.judge(cases, "around the drop alone").held < 0.9


@pytest.mark.slow
def test_a_row_whose_seeds_spread_more_than_others_is_not_promised_their_spread():
    cases = draw("auroc", ("the same", "the same"), (2_000, 2_000), 3, wild=5)
    assert transfer.judge(cases, transfer.CHOSEN).last >= 0.9
    assert transfer.judge(cases, "percentiles, patients alone").last < 0.7
