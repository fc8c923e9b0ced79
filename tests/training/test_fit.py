"""Training agrees with plain PyTorch, keeps the best epoch and repeats itself."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import nn

from harness import Augment, Loss, Schedule
from harness.data.augmentation import evaluation_views
from harness.errors import NotFiniteError
from harness.training.fit import Training
from harness.training.objective import make_objective
from harness.training.setup import Setup, ValidationMetric, batch_plan, stream

BCE = nn.functional.binary_cross_entropy_with_logits


def make_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 3)
    )


@pytest.fixture
def setup(placed, recipe, task):
    def build(**changes):
        loss = changes.pop("loss", Loss(name="bce", build=lambda task: lambda x, y: BCE(x, y, reduction="none")))
        compute = changes.pop("compute", None)
        network = changes.pop("network", None) or make_network()
        changed = dataclasses.replace(recipe, **changes)
        metrics = {} if compute is None else {"objective": ValidationMetric(compute)}
        changed = changed if metrics else dataclasses.replace(changed, select_on="loss")
        return Setup(
            network=network,
            objective=make_objective(loss, task, {}, placed.device),
            placed=placed,
            recipe=changed,
            task=task,
            seed=0,
            validation_metrics=metrics,
        )

    return build


def fit(made: Setup):
    return Training(made).epochs()


def view(images, recipe, task):
    (only,) = evaluation_views(images, recipe, task, mirrors=False)
    return only


def plain_training(network, made: Setup, kind, **choices):
    """The same epochs in plain PyTorch: the same order of batches, no harness code but the images' view."""
    placed, recipe = made.placed, made.recipe
    generator = torch.Generator().manual_seed(stream(0, "batches"))
    optimizer = kind(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, **choices)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=recipe.schedule.factor, patience=recipe.schedule.patience
    )
    train, val = placed.splits["train"], placed.splits["val"]
    views = {name: view(placed.images[index], recipe, made.task) for name, index in placed.splits.items()}
    rates = []
    for _ in range(recipe.epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        network.train()
        order = torch.randperm(len(train), generator=generator)
        for batch in order[: len(train) // recipe.batch_size * recipe.batch_size].split(recipe.batch_size):
            optimizer.zero_grad()
            BCE(network(views["train"][batch]), placed.targets[train[batch]]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            loss = BCE(network(views["val"]), placed.targets[val])
        if recipe.schedule.kind == "plateau":
            plateau.step(loss)
    return rates, float(loss)


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_an_optimizer_does_what_plain_pytorch_does(setup, name, kind):
    made = setup(optimizer=name, weight_decay=0.05, epochs=3)
    plain = copy.deepcopy(made.network)
    epochs = list(fit(made))
    _, loss = plain_training(plain, made, kind)
    assert epochs[-1].val_loss == pytest.approx(loss, rel=1e-5)


def test_the_plateau_schedule_does_what_torchs_does(setup):
    schedule = Schedule(kind="plateau", patience=0, factor=0.5)
    made = setup(optimizer="adam", lr=0.3, epochs=8, schedule=schedule)
    plain = copy.deepcopy(made.network)
    rates = [epoch.lr for epoch in fit(made)]
    expected, _ = plain_training(plain, made, torch.optim.Adam)
    assert rates == pytest.approx(expected)
    assert rates[-1] < rates[0]


def test_a_schedule_can_watch_a_metric_instead_of_the_loss(setup):
    values = iter([0.5, 0.6, 0.6, 0.6, 0.7, 0.65])
    schedule = Schedule(kind="plateau", patience=0, factor=0.5, watch="objective")
    made = setup(epochs=6, lr=0.1, schedule=schedule)
    made = dataclasses.replace(made, validation_metrics={"objective": ValidationMetric(lambda logits: next(values))})
    assert [epoch.lr for epoch in fit(made)] == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.025, 0.025])


def test_one_cycle_rises_and_falls_over_all_steps(setup):
    made = setup(epochs=10, lr=0.01, schedule=Schedule(kind="one-cycle", rise=0.3))
    rates = [epoch.lr for epoch in fit(made)]
    assert max(rates) == pytest.approx(0.01, rel=0.05)
    assert rates.index(max(rates)) == 3
    assert rates[0] < rates[1] < rates[2]
    assert rates[-1] < rates[-2] < rates[4]


def test_it_learns_what_can_be_seen(setup):
    epochs = list(fit(setup(epochs=30)))
    assert epochs[-1].train_loss < 0.3 * epochs[0].train_loss
    assert epochs[-1].val_loss < 0.5 * epochs[0].val_loss


def test_the_network_ends_with_the_best_epochs_weights(setup):
    values = iter([0.1, 0.7, 0.3, 0.7])
    made = setup(epochs=4, compute=lambda logits: next(values))
    weights = []
    epochs = []
    for epoch in fit(made):
        epochs.append(epoch)
        weights.append({name: tensor.clone() for name, tensor in made.network.state_dict().items()})
    assert [epoch.best for epoch in epochs] == [True, True, False, False]
    for name, tensor in made.network.state_dict().items():
        assert torch.equal(tensor, weights[1][name])


def test_the_lowest_validation_loss_picks_where_no_metric_does(setup):
    made = setup(epochs=6, lr=0.2)
    training = Training(made)
    epochs = list(training.epochs())
    best = min(epochs, key=lambda epoch: epoch.val_loss)
    assert [epoch.number for epoch in epochs if epoch.best][-1] == best.number
    logits = training.predictor.logits("val")
    assert float(BCE(logits, made.placed.targets[made.placed.splits["val"]])) == pytest.approx(best.val_loss, rel=1e-5)


def test_patience_stops_after_that_many_epochs_without_a_better_one(setup):
    values = iter([0.5, 0.6, 0.4, 0.4, 0.9])
    assert len(list(fit(setup(epochs=5, patience=2, compute=lambda logits: next(values))))) == 4


def test_an_undefined_value_never_beats_a_defined_one(setup):
    values = iter([float("nan"), 0.2, float("nan")])
    assert [epoch.best for epoch in fit(setup(epochs=3, compute=lambda logits: next(values)))] == [True, True, False]


def test_the_same_seed_gives_the_same_weights_bit_for_bit(setup):
    augment = Augment(crop_scale=(0.5, 1.0), brightness=0.2)
    first, second = (setup(epochs=2, augment=augment) for _ in range(2))
    list(fit(first)), list(fit(second))
    for one, other in zip(first.network.state_dict().values(), second.network.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_the_last_short_batch_is_dropped_and_a_small_split_is_one_batch():
    assert batch_plan(24, 7) == (7, 3)
    assert batch_plan(5, 7) == (5, 1)


def test_a_loss_that_is_no_number_ends_training_with_the_epoch(setup):
    broken = Loss(name="nan", build=lambda task: lambda x, y: x * float("nan"))
    with pytest.raises(NotFiniteError, match="stopped being a number in epoch 1, step 1;"):
        list(fit(setup(loss=broken)))


def test_a_learned_loss_is_trained_too(setup):
    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, logits, targets):
            return self.scale * BCE(logits, targets, reduction="none")

    made = setup(loss=Loss(name="learned", build=lambda task: Learned()))
    list(fit(made))
    assert made.objective.parameters()[0].item() != 1.0


def test_streams_differ_by_seed_and_purpose():
    assert len({stream(seed, purpose) for seed in range(50) for purpose in ("network", "batches")}) == 100


def test_predictions_come_in_the_order_of_the_split(setup):
    made = setup()
    predictions = Training(made).predictor.predictions("test")
    rows = (made.placed.data.table["split"] == "test").to_numpy()
    assert predictions.image.tolist() == made.placed.data.table["image"][rows].tolist()
    images = view(made.placed.images[torch.tensor(rows)], made.recipe, made.task)
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(predictions.logits), made.network(images), atol=1e-5, rtol=1e-5)


def test_steps_of_a_long_epoch_are_told_and_a_short_one_is_silent(setup, monkeypatch):
    from harness.training import pace

    told: list[pace.Steps] = []
    training = Training(setup(), on_steps=told.append)
    epochs = training.epochs()
    next(epochs)
    assert told == []
    monkeypatch.setattr(pace, "QUIET", 0.0)
    monkeypatch.setattr(pace, "EVERY", 0.0)
    next(epochs)
    assert told == [pace.Steps(2, done, training.batches) for done in range(1, training.batches + 1)]
