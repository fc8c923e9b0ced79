"""How far an epoch is, is told seldom, and not at all of short ones."""

from __future__ import annotations

from harness.training.pace import Pace, Steps


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def tell(step_seconds: float, total: int) -> list[Steps]:
    """What is told of an epoch whose steps take so long."""
    clock, told = Clock(), list[Steps]()
    pace = Pace(2, total, told.append, clock)
    for done in range(1, total + 1):
        clock.now += step_seconds
        pace.tick(done)
    return told


def test_a_short_epoch_is_not_told_of():
    assert tell(0.02, 140) == []


def test_a_long_epoch_is_told_of_about_once_a_second():
    told = tell(0.25, 80)
    assert told[0] == Steps(2, 12, 80)
    assert [one.done for one in told] == list(range(12, 81, 4))
