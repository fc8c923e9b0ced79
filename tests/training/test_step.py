"""A step does what plain PyTorch does, choice by choice, and never waits for the device."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from harness import Augment, Loss, Recipe, Task
from harness.data.augmentation import evaluation_views, training_view
from harness.errors import NotFiniteError, OutOfMemoryError, PluginError
from harness.training.capture import find_obstacle
from harness.training.engine import DEFAULT_ENGINE_OPTIONS, EngineOptions, decide_compile
from harness.training.fit import Training
from harness.training.numerics import choose_numerics
from harness.training.objective import make_objective
from harness.training.setup import Setup

CPU = torch.device("cpu")
BCE = nn.functional.binary_cross_entropy_with_logits
PLAIN = Loss(name="bce", build=lambda task: lambda x, y: BCE(x, y, reduction="none"))


def make_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 3)
    )


@pytest.fixture
def train(placed, recipe, task):
    """Train for a step or more on fixed batches; gives the training and the plain network it began with."""

    def start(
        network: nn.Module | None = None,
        loss: Loss = PLAIN,
        engine: EngineOptions = DEFAULT_ENGINE_OPTIONS,
        known: torch.Tensor | None = None,
        **changes: Any,
    ) -> tuple[Training, nn.Module]:
        network = network or make_network()
        plain = copy.deepcopy(network)
        changed = dataclasses.replace(recipe, select_on="loss", **changes)
        objective = make_objective(loss, task, {}, placed.device)
        data = placed if known is None else dataclasses.replace(placed, known=known)
        return Training(
            Setup(network=network, objective=objective, placed=data, recipe=changed, task=task, seed=0, engine=engine)
        ), plain

    return start


def view(training: Training, index: torch.Tensor) -> torch.Tensor:
    """What the network sees of the images at `index`, where nothing is left to chance."""
    placed, setup = training.setup.placed, training.setup
    (found,) = evaluation_views(placed.images[index], setup.recipe, setup.task, mirrors=False)
    return found


def steps(training: Training, batches: list[torch.Tensor]) -> None:
    training.step.start_epoch(1)
    training.setup.network.train()
    for index in batches:
        training.step(index, None)


def batches_of(training: Training, count: int) -> list[torch.Tensor]:
    return list(training.setup.placed.splits["train"].split(8))[:count]


def assert_equal_weights(one: nn.Module, other: nn.Module, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(tensor, other.state_dict()[name], rtol=rtol, atol=atol, msg=name)


OPTIMIZERS = [
    ({"optimizer": "adam", "betas": (0.8, 0.95)}, lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.95))),
    ({"optimizer": "adam", "weight_decay": 0.1}, lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1)),
    (
        {"optimizer": "adamw", "weight_decay": 0.1, "betas": (0.7, 0.9)},
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, betas=(0.7, 0.9)),
    ),
    ({"optimizer": "sgd", "momentum": 0.0}, lambda p: torch.optim.SGD(p, lr=0.01)),
    (
        {"optimizer": "sgd", "momentum": 0.8, "weight_decay": 0.1},
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.8, weight_decay=0.1),
    ),
]


@pytest.mark.parametrize(("choices", "make"), OPTIMIZERS)
def test_an_optimizer_does_what_torchs_does(train, choices, make):
    training, plain = train(**choices)
    batches = batches_of(training, 3)
    steps(training, batches)
    optimizer = make(plain.parameters())
    for index in batches:
        optimizer.zero_grad()
        BCE(plain(view(training, index)), training.setup.placed.targets[index]).backward()
        optimizer.step()
    assert_equal_weights(training.setup.network, plain)


def test_clipping_shortens_the_gradient_to_its_norm(train):
    training, plain = train(optimizer="sgd", momentum=0.0, lr=1.0, gradient_clip=0.05)
    (index,) = batches_of(training, 1)
    steps(training, [index])
    BCE(plain(view(training, index)), training.setup.placed.targets[index]).backward()
    assert nn.utils.clip_grad_norm_(plain.parameters(), 0.05) > 0.05
    torch.optim.SGD(plain.parameters(), lr=1.0).step()
    assert_equal_weights(training.setup.network, plain)


def test_label_smoothing_moves_targets_towards_one_half(train):
    training, plain = train(optimizer="sgd", momentum=0.0, lr=1.0, label_smoothing=0.2)
    (index,) = batches_of(training, 1)
    steps(training, [index])
    targets = training.setup.placed.targets[index]
    loss = BCE(plain(view(training, index)), torch.where(targets == 1, 0.9, 0.1))
    loss.backward()
    assert training.step.mean_loss() == pytest.approx(loss.item(), rel=1e-5)
    torch.optim.SGD(plain.parameters(), lr=1.0).step()
    assert_equal_weights(training.setup.network, plain)


@pytest.mark.parametrize("micro_batch", [1, 2, 4])
def test_a_batch_in_parts_is_the_whole_batch(train, placed, micro_batch):
    known = torch.ones_like(placed.targets)
    known[::3, 1] = 0
    whole, _ = train(label_smoothing=0.1, known=known)
    parts, _ = train(label_smoothing=0.1, known=known, micro_batch=micro_batch)
    for training in (whole, parts):
        steps(training, batches_of(training, 3))
    assert parts.step.mean_loss() == pytest.approx(whole.step.mean_loss(), rel=1e-5)
    assert_equal_weights(whole.setup.network, parts.setup.network, rtol=1e-4, atol=1e-5)


def test_a_step_of_a_fixed_view_shows_the_network_one_batch_in_the_same_parts(train):
    seen: list[torch.Tensor] = []
    network = make_network()
    network.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    training, _ = train(network, micro_batch=4, augment=Augment(flip=True, brightness=0.5))
    one, other = batches_of(training, 2)
    step = training.step.fix_view(one, None)
    for index in (one, other):
        step(index, None)
    first, second = torch.cat(seen[:2]), torch.cat(seen[2:])
    assert [len(part) for part in seen] == [4, 4, 4, 4]
    assert torch.equal(first, second)
    assert not torch.equal(first, view(training, one)), "augmented, as the batch was when it was fixed"


def test_a_loss_that_reduces_by_itself_is_averaged_over_parts(train):
    scalar = Loss(name="scalar", build=lambda task: BCE, scalar=True)
    whole, _ = train(loss=scalar, optimizer="sgd")
    parts, _ = train(loss=scalar, optimizer="sgd", micro_batch=2)
    for training in (whole, parts):
        steps(training, batches_of(training, 2))
    assert_equal_weights(whole.setup.network, parts.setup.network)


def test_the_average_follows_the_weights_by_its_formula(train):
    training, _ = train(average_decay=0.2)
    expected = {name: tensor.clone() for name, tensor in training.setup.network.state_dict().items()}
    for number, index in enumerate(batches_of(training, 3)):
        steps(training, [index])
        keep = min(0.2, (1 + number) / (10 + number))
        for name, tensor in training.setup.network.state_dict().items():
            expected[name] = keep * expected[name] + (1 - keep) * tensor
    assert training.state.average is not None
    for name, tensor in training.state.average.network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name])
    assert training.predictor.network is training.state.average.network


def test_the_averages_weights_are_what_is_kept(train):
    training, _ = train(average_decay=0.9, epochs=2)
    list(training.epochs())
    assert training.state.average is not None
    assert_equal_weights(training.setup.network, training.state.average.network, rtol=0, atol=0)


class WithStatistics(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images).flatten(1))  # type: ignore[no-any-return]


def test_a_frozen_backbone_keeps_its_weights_and_statistics_then_learns(train):
    training, plain = train(WithStatistics(), freeze_epochs=2, epochs=3)
    start = plain.state_dict()
    for epoch, _ in enumerate(training.epochs(), start=1):
        if epoch == 3:
            break
        for name, tensor in training.setup.network.state_dict().items():
            assert torch.equal(tensor, start[name]) == name.startswith("body."), (epoch, name)
    changed = training.setup.network.state_dict()
    assert not torch.equal(changed["body.0.weight"], start["body.0.weight"])
    assert not torch.equal(changed["body.1.running_mean"], start["body.1.running_mean"])


def test_a_network_whose_head_cannot_be_told_is_not_frozen_by_guess(train):
    headless = nn.Sequential(nn.Conv2d(1, 5, 16), nn.Flatten(), nn.Unflatten(1, (5, 1)), nn.Flatten(), Mix())
    with pytest.raises(PluginError, match="freeze_epochs needs a layer that makes the logits"):
        list(train(headless, freeze_epochs=1)[0].epochs())


class Mix(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.ones(5, 3))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values @ self.mix


def test_half_precision_scales_its_loss_and_still_follows_float32(train):
    full, _ = train(optimizer="sgd", lr=0.1)
    half, _ = train(optimizer="sgd", lr=0.1, precision="fp16")
    for training in (full, half):
        steps(training, batches_of(training, 3))
    assert half.state.scaler.get_scale() == 2.0**16
    assert_equal_weights(full.setup.network, half.setup.network, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_each_precision_learns(train, precision):
    training, _ = train(precision=precision, epochs=8)
    epochs = list(training.epochs())
    assert epochs[-1].train_loss < 0.7 * epochs[0].train_loss
    assert training.execution.precision == precision


# --- nothing waits for the device ------------------------------------------------------------------------------------


EVERYTHING = {
    "optimizer": "adamw",
    "gradient_clip": 1.0,
    "average_decay": 0.99,
    "label_smoothing": 0.1,
    "micro_batch": 4,
    "augment": Augment(flip=True, rotation=10, shift=0.1, crop_scale=(0.5, 1.0), brightness=0.1, contrast=0.1),
}


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_step_with_everything_in_it_can_be_captured(train, optimizer, precision):
    training, _ = train(**EVERYTHING | {"optimizer": optimizer, "precision": precision})
    (index,) = batches_of(training, 1)
    training.setup.network.train()
    training.step(index, None)  # an optimizer makes its state in its first step
    assert find_obstacle(lambda: training.step(index, None), CPU) is None


@pytest.mark.parametrize("loss", ["bce", "weighted-bce", "focal", "asymmetric"])
@pytest.mark.parametrize("model", ["tiny-cnn", "timm/test_vit", "timm/test_convnext", "timm/test_efficientnet"])
def test_every_kind_of_network_and_loss_can_be_captured(train, registry, task, placed, model, loss):
    wide = dataclasses.replace(task, size=32)
    training, _ = train(registry.model(model).build(wide, drop_rate=0.2), registry.loss(loss), size=32)
    (index,) = batches_of(training, 1)
    training.setup.network.train()
    training.step(index, None)
    assert find_obstacle(lambda: training.step(index, None), CPU) is None


@pytest.mark.parametrize(
    ("offense", "says"),
    [
        (lambda x: x * float(x.detach().mean()), "asks the device for a value"),
        (lambda x: x + x.detach()[x.detach() > 0].sum(), "indexes by a mask"),
        (lambda x: x + x.detach().nonzero().sum() * 0, "asks the device for a value .nonzero"),
    ],
)
def test_a_network_that_waits_for_the_device_is_found_out_by_name(train, offense, says):
    class Offender(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = make_network()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return offense(self.network(images))  # type: ignore[no-any-return]

    training, _ = train(Offender())
    (index,) = batches_of(training, 1)
    found = find_obstacle(lambda: training.step(index, None), CPU)
    assert found is not None
    assert re.search(says, found)


AUGMENT = EVERYTHING["augment"]


@pytest.mark.parametrize("evaluate_at", ["resize", "center-crop", "ten-crop", "flip"])
def test_views_are_made_on_the_device_alone(evaluate_at):
    """On a pretended GPU, where every copy from the host and every question to the device is an error or is seen."""
    task = Task(
        labels=("a", "b"), channels=3, size=24, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), prevalence=(0.1, 0.2)
    )
    recipe = Recipe(name="r", load_size=32, size=24, augment=AUGMENT, evaluate_at=evaluate_at)  # type: ignore[arg-type]
    with FakeTensorMode():
        images = torch.empty(4, 32, 32, dtype=torch.uint8, device="cuda")

        def body() -> None:
            made = [
                training_view(images, recipe, task, mirrors=True, generator=None),  # type: ignore[arg-type]
                *evaluation_views(images, recipe, task, mirrors=True),
            ]
            assert all(one.device.type == "cuda" and one.shape == (4, 3, 24, 24) for one in made)

        assert find_obstacle(body, CPU) is None


# --- when it goes wrong ----------------------------------------------------------------------------------------------


def test_the_first_bad_step_is_named(train):
    training, _ = train()
    good, bad, other = batches_of(training, 3)
    training.step.start_epoch(4)
    training.step(good, None)
    weights = copy.deepcopy(training.setup.network.state_dict())
    training.setup.network[0].bias.data.fill_(float("nan"))
    training.step(bad, None)
    training.setup.network.load_state_dict(weights)
    training.step(other, None)
    with pytest.raises(NotFiniteError, match="epoch 4, step 2;"):
        training.step.mean_loss()


def test_a_weight_that_overflows_in_the_last_step_ends_training_too(train):
    training, _ = train(optimizer="sgd", lr=1e38, epochs=1, batch_size=24)
    with pytest.raises(NotFiniteError, match="stopped being a number"):
        list(training.epochs())


def test_logits_of_another_shape_are_refused(train):
    with pytest.raises(PluginError, match=r"must give logits \(8, 3\), one for each label, got \(8, 4\)"):
        list(train(nn.Sequential(nn.Flatten(), nn.Linear(256, 4)))[0].epochs())


class Hungry(nn.Module):
    """Raises what torch raises when more than `limit` images are trained on at a time."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.network, self.limit = make_network(), limit

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training and len(images) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return self.network(images)  # type: ignore[no-any-return]


@pytest.mark.parametrize("limit", [3, *(pytest.param(limit, marks=pytest.mark.slow) for limit in (1, 5, 7))])
def test_out_of_memory_names_the_largest_batch_that_fits(train, limit):
    with pytest.raises(OutOfMemoryError, match=f"too small for 8 images of 16 px, {limit} would fit"):
        list(train(Hungry(limit))[0].epochs())


def test_out_of_memory_for_a_single_image_says_so(train):
    with pytest.raises(OutOfMemoryError, match="and even for one"):
        list(train(Hungry(0), micro_batch="auto")[0].epochs())


class Unlucky(nn.Module):
    """Runs out of memory in one forward pass of training and in no other, as beside a process that soon ends."""

    def __init__(self, unlucky: int) -> None:
        super().__init__()
        self.network, self.unlucky, self.passes = WithStatistics(), unlucky, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.passes += self.training
        if self.passes == self.unlucky:
            self.passes += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return self.network(images)  # type: ignore[no-any-return]


@pytest.mark.parametrize("micro_batch", [None, 4, "auto"])
@pytest.mark.parametrize("unlucky", [2, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 3))])
def test_memory_that_was_too_small_once_changes_no_bit(train, unlucky, micro_batch):
    """Three steps an epoch: in the first, in the middle and in the last of them."""
    choices = {"augment": AUGMENT, "average_decay": 0.9, "epochs": 3, "micro_batch": micro_batch}
    found = []
    for which in (0, unlucky):
        torch.manual_seed(0)
        training, _ = train(Unlucky(which), **choices)
        history = [(epoch.train_loss, epoch.val_loss, epoch.best) for epoch in training.epochs()]
        found.append((history, training.setup.network.state_dict(), training.execution))
    (straight, weights, undisturbed), (disturbed, others, execution) = found
    assert disturbed == straight
    assert all(torch.equal(tensor, others[name]) for name, tensor in weights.items())
    assert (undisturbed.notes, execution.micro_batch) == ([], undisturbed.micro_batch)
    size = micro_batch if isinstance(micro_batch, int) else 8
    assert execution.notes == [
        f"the memory was too small for {size} images at a time at first, and sufficed when that was tried again"
    ]


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("unlucky", [1, 2])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_memory_that_was_too_small_inside_of_the_optimizer_changes_no_bit(train, optimizer, unlucky, clip):
    """In fp16, where the scaling of the loss has a state of its own in the middle of a step."""
    choices = {"precision": "fp16", "optimizer": optimizer, "gradient_clip": clip, "epochs": 2}
    found = []
    for which in (0, unlucky):
        torch.manual_seed(0)
        training, _ = train(WithStatistics(), **choices)
        training.state.optimizer.step = Once(training.state.optimizer.step, which)
        history = [(epoch.train_loss, epoch.val_loss) for epoch in training.epochs()]
        found.append((history, training.setup.network.state_dict(), training.execution.notes))
    (straight, weights, _), (disturbed, others, notes) = found
    assert disturbed == straight
    assert all(torch.equal(tensor, others[name]) for name, tensor in weights.items())
    assert "sufficed when that was tried again" in notes[0]


class Once:
    """A function that runs out of memory in one of its calls."""

    def __init__(self, function: Callable[..., object], unlucky: int) -> None:
        self.function, self.unlucky, self.calls = function, unlucky, 0

    def __call__(self, *args: object, **options: object) -> object:
        self.calls += 1
        if self.calls == self.unlucky:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return self.function(*args, **options)


def test_a_batch_is_split_into_equal_parts_that_fit_where_the_recipe_allows_it(train):
    training, _ = train(Hungry(5), micro_batch="auto")
    epochs = list(training.epochs())
    given, _ = train(Hungry(5), micro_batch=4)
    assert [epoch.train_loss for epoch in given.epochs()] == [epoch.train_loss for epoch in epochs]
    assert training.execution.micro_batch == 4
    assert "batches of 8 are split into parts of 4" in training.execution.notes[0]


def test_micro_batch_auto_changes_nothing_where_the_memory_suffices(train):
    auto, plain = train(micro_batch="auto")[0], train()[0]
    assert [epoch.train_loss for epoch in auto.epochs()] == [epoch.train_loss for epoch in plain.epochs()]
    assert auto.execution.micro_batch is None


def test_prediction_takes_smaller_batches_where_the_memory_is_too_small(train):
    class HungryInEvaluation(Hungry):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if not self.training and len(images) > self.limit:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return self.network(images)  # type: ignore[no-any-return]

    training, _ = train(HungryInEvaluation(2))
    training.predictor.batch = 12
    found = training.predictor.logits("val")
    assert training.predictor.batch == 1
    training.setup.network.limit = 100
    training.predictor.batch = 12
    torch.testing.assert_close(training.predictor.logits("val"), found)


# --- numerics --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "precision", "channels_last"),
    [
        ("chexnet", "bf16", True),
        ("tiny-cnn", "bf16", True),
        ("efficientnet-b0", "float32", True),
        ("convnext-tiny", "bf16", True),
        ("vit-b16", "bf16", False),
    ],
)
def test_a_cpu_computes_in_what_suits_the_family(monkeypatch, registry, model, precision, channels_last):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    task = Task(labels=("a",), channels=1, size=64, mean=(0.5,), std=(0.5,), prevalence=(0.1,))
    with torch.device("meta"):
        network = registry.model(model).build(task)
    found = choose_numerics(Recipe(name="r"), torch.device("cpu"), network)
    assert (found.precision, found.channels_last) == (precision, channels_last)
    assert choose_numerics(Recipe(name="r"), torch.device("cuda"), network).precision == "bf16"
    asked = choose_numerics(Recipe(name="r", precision="fp16"), torch.device("cpu"), network)
    assert asked.precision == "fp16"


def test_a_cpu_without_the_instructions_computes_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert choose_numerics(Recipe(name="r"), torch.device("cpu"), make_network()).precision == "float32"


# --- compiled --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tiny-cnn", pytest.param("timm/test_vit", marks=pytest.mark.exhaustive)])
def test_a_compiled_network_trains_as_an_eager_one(train, registry, task, model):
    wide = dataclasses.replace(task, size=32)
    histories = []
    for compile_ in ("off", "on"):
        torch.manual_seed(0)
        training, _ = train(
            registry.model(model).build(wide), size=32, epochs=3, engine=EngineOptions(compile=compile_)
        )
        histories.append([epoch.train_loss for epoch in training.epochs()])
        assert training.execution.compiled == (compile_ == "on")
        assert training.execution.notes == []
    assert histories[0] == pytest.approx(histories[1], rel=1e-3)


def test_a_network_that_cannot_be_compiled_is_refused_only_where_that_was_asked_for(train, monkeypatch):
    def broken(network: nn.Module, **_: Any) -> Any:
        def forward(images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no compiler here\nand more")

        return forward

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(PluginError, match=r"torch.compile failed: RuntimeError: no compiler here; leave it to"):
        list(train(engine=EngineOptions(compile="on"))[0].epochs())
    monkeypatch.setattr("harness.training.fit.decide_compile", lambda *_: True)
    training, _ = train()
    monkeypatch.setattr("harness.training.fit.decide_compile", lambda *_: False)
    expected = [epoch.train_loss for epoch in train()[0].epochs()]
    assert [epoch.train_loss for epoch in training.epochs()] == expected
    assert training.execution.notes == ["the network could not be compiled: RuntimeError: no compiler here"]
    assert not training.execution.compiled


def test_compiling_follows_a_rule_of_device_parameters_and_images():
    small, large = nn.Linear(10, 10), nn.Linear(1000, 1000)
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert [decide_compile(EngineOptions(), large, cuda, images) for images in (999_999, 1_000_000)] == [False, True]
    assert not decide_compile(EngineOptions(), small, cuda, 10**6)
    assert not decide_compile(EngineOptions(), large, cpu, 10**6)
    assert decide_compile(EngineOptions(compile="on"), small, cpu, 1)
    assert not decide_compile(EngineOptions(compile="off"), large, cuda, 10**6)


@pytest.mark.parametrize("batch_size", [3, 8])
def test_what_decides_about_compiling_is_the_images_of_all_epochs(train, monkeypatch, batch_size):
    asked: list[int] = []

    def decide(*given):
        asked.append(given[-1])
        return False

    monkeypatch.setattr("harness.training.fit.decide_compile", decide)
    training, _ = train(batch_size=batch_size, epochs=7)
    count = len(training.setup.placed.splits["train"])
    assert asked == [7 * (count - count % batch_size)]
