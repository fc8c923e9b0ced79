"""Learning rates are those of torch's schedulers."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from harness import Recipe, Schedule, UsageError
from harness.training.schedule import RateSchedule

STEPS, EPOCHS = 7, 12


def ours(schedule: Schedule, lr: float = 0.1) -> list[float]:
    rates = RateSchedule(Recipe(name="r", lr=lr, epochs=EPOCHS, schedule=schedule), STEPS)
    return [rates.rate(step) for step in range(STEPS * EPOCHS)]


def theirs(make, lr: float = 0.1, *, each_step: bool = True) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would have the optimizer step first
        scheduler, rates = make(optimizer), []
        for step in range(STEPS * EPOCHS):
            rates.append(optimizer.param_groups[0]["lr"])
            if each_step or step % STEPS == STEPS - 1:
                scheduler.step()
    return rates


def test_constant_stays():
    assert set(ours(Schedule())) == {0.1}


@given(st.floats(0.05, 0.9))
def test_one_cycle_is_torchs(rise):
    expected = theirs(
        lambda optimizer: lr_scheduler.OneCycleLR(
            optimizer, max_lr=0.1, total_steps=STEPS * EPOCHS + 1, pct_start=rise, cycle_momentum=False
        )
    )
    assert ours(Schedule(kind="one-cycle", rise=rise)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rise", [0.0, 1.0, 0.001])
def test_one_cycle_bears_the_ends_of_its_range(rise):
    rates = ours(Schedule(kind="one-cycle", rise=rise))
    assert all(0 < rate <= 0.1 + 1e-12 for rate in rates)


def test_step_is_torchs():
    expected = theirs(lambda optimizer: lr_scheduler.StepLR(optimizer, 3, 0.5), each_step=False)
    assert ours(Schedule(kind="step", every=3, factor=0.5)) == pytest.approx(expected, rel=1e-9)


def test_cosine_is_torchs():
    expected = theirs(lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, STEPS * EPOCHS, eta_min=0.01))
    assert ours(Schedule(kind="cosine", floor=0.1)) == pytest.approx(expected, rel=1e-6)


def test_a_warm_up_is_torchs_linear_one():
    expected = theirs(
        lambda optimizer: lr_scheduler.LinearLR(
            optimizer, start_factor=1 / (2 * STEPS), end_factor=1.0, total_iters=2 * STEPS - 1
        )
    )
    assert ours(Schedule(warmup=2)) == pytest.approx(expected, rel=1e-9)


def test_cosine_falls_from_the_end_of_its_warm_up():
    rates = ours(Schedule(kind="cosine", warmup=2))
    assert rates.index(max(rates)) == 2 * STEPS - 1
    assert rates[2 * STEPS] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.0, abs=1e-4)


@given(st.lists(st.floats(-1, 1) | st.just(float("nan")), min_size=1, max_size=30), st.integers(0, 3), st.booleans())
def test_plateau_is_torchs_whatever_validation_says(values, patience, higher_is_better):
    recipe = Recipe(name="r", lr=0.1, epochs=30, schedule=Schedule(kind="plateau", patience=patience, factor=0.3))
    rates = RateSchedule(recipe, STEPS)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = lr_scheduler.ReduceLROnPlateau(
        optimizer, "max" if higher_is_better else "min", 0.3, patience, threshold_mode="abs", threshold=0, eps=0
    )
    for value in values:
        # an absolute margin, so that torch's rule for values under 0, which moves the wrong way, does not matter
        best = rates.plateau.best
        margin = 0.0 if math.isnan(best) else abs(best) * 1e-4
        scheduler.threshold = margin
        rates.observe(value, higher_is_better=higher_is_better)
        scheduler.step(value)
        assert rates.rate(0) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)


def test_plateau_goes_on_from_its_state():
    recipe = Recipe(name="r", lr=0.1, epochs=30, schedule=Schedule(kind="plateau", patience=1, factor=0.1))
    one, other = RateSchedule(recipe, STEPS), RateSchedule(recipe, STEPS)
    for value in (0.5, 0.6, 0.7):
        one.observe(value, higher_is_better=False)
    other.load(one.state())
    for rates in (one, other):
        rates.observe(0.8, higher_is_better=False)
    assert one.rate(0) == other.rate(0)
    assert one.state() == other.state()


def test_a_warm_up_of_one_cycle_is_refused():
    with pytest.raises(UsageError, match=r"set schedule\.rise"):
        Schedule(kind="one-cycle", warmup=1)
