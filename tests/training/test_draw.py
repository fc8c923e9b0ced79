"""An epoch draws every image once, or labels as often as their shares say, exactly."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from harness import Recipe
from harness.data.pools import find_pools
from harness.training.draw import Draw
from harness.training.fit import Training
from tests.training.test_fit import setup as setup  # noqa: PLC0414 - the fixture

LABELS = ("first", "second", "third")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(placed, count: int, shares: dict[str, float], seed: int = 0) -> list[int]:
    drawn: list[int] = Draw(placed, Recipe(name="r", oversample=shares))(count, generator(seed)).tolist()
    return drawn


def having(placed, label: str) -> set[int]:
    train = placed.splits["train"].tolist()
    return {i for i in train if placed.data.targets[i, LABELS.index(label)] == 1}


def test_without_a_share_every_training_image_is_drawn_once_in_the_order_of_one_shuffle(placed):
    train = placed.splits["train"]
    wanted = train[torch.randperm(len(train), generator=generator(3))].tolist()
    assert draw(placed, len(train), {}, seed=3) == wanted
    assert draw(placed, 8, {}, seed=3) == wanted[:8]


@pytest.mark.parametrize("count", [1, 7, 24, 100, 1000])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_labels_share_is_exact_and_its_images_are_drawn_equally_often(placed, count, share):
    drawn = Counter(draw(placed, count, {"first": share}))
    with_it, train = having(placed, "first"), set(placed.splits["train"].tolist())
    assert sum(drawn.values()) == count
    assert sum(drawn[i] for i in with_it) == round(share * count)
    for pool in (with_it, train - with_it):
        times = [drawn[i] for i in pool]
        assert max(times) - min(times) <= 1
    assert set(drawn) <= train


def test_an_image_of_several_labels_counts_for_the_rarest_whatever_their_order(placed):
    counts = {label: len(having(placed, label)) for label in LABELS}
    rare, common = sorted(("second", "third"), key=lambda name: counts[name])
    assert counts[rare] < counts[common]
    assert having(placed, rare) & having(placed, common)
    drawn = draw(placed, 200, {rare: 0.4, common: 0.35})
    assert drawn == draw(placed, 200, {common: 0.35, rare: 0.4})
    own = having(placed, common) - having(placed, rare)
    assert sum(i in having(placed, rare) for i in drawn) == 80
    assert sum(i in own for i in drawn) == 70


def test_shares_that_would_round_up_together_still_give_as_many_as_asked():
    targets = np.vstack([np.eye(3), np.zeros((7, 3))]).astype(np.float32)
    shares = dict.fromkeys(LABELS, 0.3)
    pools = find_pools(targets, LABELS, shares)
    assert [share for share, _ in pools] == pytest.approx([0.3, 0.3, 0.3, 0.1])
    made = Draw.__new__(Draw)
    made.train = torch.arange(10)
    made.pools = [(share, torch.from_numpy(chosen)) for share, chosen in pools]
    for count in range(1, 40):
        drawn = made(count, generator())
        assert len(drawn) == count
        assert all(abs(int((drawn == label).sum()) - 0.3 * count) <= 1 for label in range(3))


def test_a_label_that_is_oversampled_is_spread_over_the_whole_epoch(placed):
    drawn = np.array(draw(placed, 1000, {"first": 0.5}))
    quarters = np.isin(drawn, sorted(having(placed, "first"))).reshape(4, 250).sum(axis=1)
    assert quarters.min() > 90
    assert quarters.max() < 160


def test_epochs_differ_and_seeds_repeat_themselves(placed):
    made, stream = Draw(placed, Recipe(name="r", oversample={"first": 0.6})), generator()
    assert made(24, stream).tolist() != made(24, stream).tolist()
    assert draw(placed, 24, {"first": 0.6}) == draw(placed, 24, {"first": 0.6})


def test_training_draws_so_and_nothing_else_changes(setup):
    plain, more = Training(setup()), Training(setup(oversample={"first": 0.75}))
    seen: list[torch.Tensor] = []
    drawing = more.draw

    def draw_and_see(count: int, stream: torch.Generator) -> torch.Tensor:
        seen.append(drawing(count, stream))
        return seen[-1]

    more.draw = draw_and_see  # type: ignore[assignment]
    list(more.epochs())
    first = having(more.setup.placed, "first")
    assert len(seen) == 2
    for drawn in seen:
        assert len(drawn) == more.batches * more.batch_size
        assert sum(i in first for i in drawn.tolist()) == round(0.75 * len(drawn))
    assert (more.batches, more.batch_size) == (plain.batches, plain.batch_size)
    assert [epoch.images for epoch in more.history] == [epoch.images for epoch in plain.epochs()]
    assert more.setup.task == plain.setup.task
