"""On a GPU: captured, compiled and eager steps are one training. Skipped where there is none."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from harness import Augment, Loss, Schedule, Task
from harness.data.placement import place
from harness.training.checkpoint import Checkpoint
from harness.training.engine import Engine
from harness.training.fit import Training
from harness.training.objective import make_objective
from harness.training.setup import Setup

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here"),
]
CUDA = torch.device("cuda")
SIZE = 64
TOLERANCE = 2e-2
"""Between captured, compiled and eager losses of 20 steps in bf16: kernels round differently, and steps add it up."""


@pytest.fixture
def train(prepared, recipe, registry):
    """Train 20 steps on the GPU, and give each step's loss beside the training."""

    def start(
        model: str, loss: str = "bce", engine: Engine | None = None, dropout: float = 0.0, **changes: Any
    ) -> tuple[list[float], Training]:
        chosen = {"precision": "bf16", "lr": 1e-4, "epochs": 1, "size": SIZE} | changes
        changed = dataclasses.replace(recipe, select_on="loss", **chosen)
        task = Task(prepared.data.labels, 1, SIZE, (0.5,), (0.25,), (0.4, 0.4, 0.4))
        torch.manual_seed(0)
        network = registry.model(model).build(task, **({"drop_rate": dropout} if dropout else {})).to(CUDA)
        engine = engine or Engine(compile="off")
        placed = place(prepared, CUDA, engine.placement)
        objective = make_objective(registry.loss(loss), task, {}, CUDA)
        training = Training(Setup(network, objective, placed, changed, task, 0, engine=engine))
        return losses_of(training), training

    return start


def losses_of(training: Training, count: int = 20) -> list[float]:
    """The losses of single steps, in the engine's own way of executing them."""
    from harness.training.preparation import prepare_step, set_mode

    step = training.step
    set_mode(training.setup, frozen=False)
    prepare_step(step, training.execution, training.batch_size, training.state.take())
    train = training.setup.placed.splits["train"]
    found = []
    for number in range(count):
        index = train.roll(number)[: training.batch_size]
        for chosen, images in training.setup.placed.batches([index]):
            step.start_epoch(1)
            step(chosen, images)
        found.append(step.mean_loss())
    return found


MODELS = ["tiny-cnn", "chexnet", "resnet50", "efficientnet-b0", "convnext-tiny", "vit-b16"]
LOSSES = ["bce", "weighted-bce", "focal", "asymmetric"]


@pytest.mark.parametrize("model", MODELS)
def test_captured_and_eager_steps_agree_for_every_network(train, model):
    eager, plain = train(model, engine=Engine(graphs=False, compile="off"))
    captured, training = train(model)
    assert (plain.execution.step, training.execution.step) == ("eager", "graph"), training.execution.notes
    torch.testing.assert_close(torch.tensor(captured), torch.tensor(eager), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("loss", LOSSES)
def test_captured_and_eager_steps_agree_for_every_loss(train, loss):
    eager, _ = train("tiny-cnn", loss, Engine(graphs=False, compile="off"))
    captured, training = train("tiny-cnn", loss)
    assert training.execution.step == "graph", training.execution.notes
    torch.testing.assert_close(torch.tensor(captured), torch.tensor(eager), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_compiled_and_eager_steps_agree(train, model):
    eager, _ = train(model, engine=Engine(graphs=False, compile="off"))
    compiled, training = train(model, engine=Engine(compile="on"))
    assert training.execution.compiled
    assert training.execution.step == "graph", training.execution.notes
    torch.testing.assert_close(torch.tensor(compiled), torch.tensor(eager), rtol=TOLERANCE, atol=TOLERANCE)


def test_everything_a_recipe_can_ask_for_is_captured(train):
    augment = Augment(flip=True, rotation=10, shift=0.1, crop_scale=(0.5, 1.0), brightness=0.1, contrast=0.1)
    changes: dict[str, Any] = {"average_decay": 0.99, "gradient_clip": 1.0, "label_smoothing": 0.1, "micro_batch": 4}
    for precision in ("bf16", "fp16", "float32"):
        for optimizer in ("adam", "adamw", "sgd"):
            losses, training = train(
                "tiny-cnn", augment=augment, precision=precision, optimizer=optimizer, lr=1e-3, **changes
            )
            assert training.execution.step == "graph", training.execution.notes
            assert sum(losses[-5:]) < sum(losses[:5])


def test_a_random_network_stays_random_when_it_is_captured(train):
    _, training = train("tiny-cnn", dropout=0.5, lr=1e-30)
    index = training.setup.placed.splits["train"][: training.batch_size]
    losses = []
    for _ in range(6):
        training.step.start_epoch(1)
        training.step(index, None)
        losses.append(training.step.mean_loss())
    assert training.execution.step == "graph"
    assert len(set(losses)) == 6


def test_a_schedule_moves_a_captured_step(train):
    _, training = train("tiny-cnn")
    index = training.setup.placed.splits["train"][: training.batch_size]
    before = {name: tensor.clone() for name, tensor in training.setup.network.named_parameters()}
    training.rate.fill_(0.0)
    training.step(index, None)
    assert all(torch.equal(tensor, before[name]) for name, tensor in training.setup.network.named_parameters())
    training.rate.fill_(0.1)
    training.step(index, None)
    assert not any(torch.equal(tensor, before[name]) for name, tensor in training.setup.network.named_parameters())


def test_streamed_and_resident_images_give_one_training(train):
    resident, _ = train("tiny-cnn")
    streamed, training = train("tiny-cnn", engine=Engine(compile="off", placement="streamed"))
    assert training.execution.placement == "streamed"
    torch.testing.assert_close(torch.tensor(streamed), torch.tensor(resident), rtol=1e-3, atol=1e-3)


class Asking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(SIZE * SIZE, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.body(images)
        return logits * (1.0 if float(logits.detach().mean()) > 1e9 else 2.0)


def test_a_network_that_cannot_be_captured_is_trained_eagerly_and_the_record_says_why(prepared, recipe):
    task = Task(prepared.data.labels, 1, SIZE, (0.5,), (0.25,), (0.4, 0.4, 0.4))
    loss = Loss(name="bce", build=lambda task: nn.BCEWithLogitsLoss(reduction="none"))
    changed = dataclasses.replace(recipe, select_on="loss", size=SIZE, epochs=2)
    setup = Setup(Asking().to(CUDA), make_objective(loss, task, {}, CUDA), place(prepared, CUDA), changed, task, 0)
    training = Training(setup)
    assert len(list(training.epochs())) == 2
    assert training.execution.step == "eager"
    assert "asks the device for a value" in training.execution.notes[0]


def test_a_training_on_a_gpu_goes_on_where_it_was(prepared, recipe, registry, tmp_path):
    task = Task(prepared.data.labels, 1, SIZE, (0.5,), (0.25,), (0.4, 0.4, 0.4))
    schedule = Schedule(kind="one-cycle")
    changed = dataclasses.replace(recipe, select_on="loss", size=SIZE, epochs=4, schedule=schedule, freeze_epochs=1)

    def begin() -> Training:
        torch.manual_seed(0)
        network = registry.model("tiny-cnn").build(task, drop_rate=0.2).to(CUDA)
        objective = make_objective(registry.loss("bce"), task, {}, CUDA)
        setup = Setup(network, objective, place(prepared, CUDA), changed, task, 0)
        return Training(setup, lambda execution: Checkpoint(tmp_path, {}))

    whole = list(Training(begin().setup).epochs())
    for epoch in begin().epochs():
        if epoch.number == 2:
            break
    resumed = list(begin().epochs())
    assert [epoch.number for epoch in resumed] == [1, 2, 3, 4]
    assert resumed[-1].val_loss == pytest.approx(whole[-1].val_loss, rel=1e-2)
