"""On a GPU: captured, compiled and eager steps are one training. Skipped where there is none."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from harness import Augment, Loss, Schedule, Task
from harness.data.placement import place
from harness.data.prepare import Prepared
from harness.training import capture as capturing
from harness.training.capture import broken_capture
from harness.training.checkpoint import Checkpoint
from harness.training.engine import EngineOptions
from harness.training.fit import Training
from harness.training.numerics import computing
from harness.training.objective import make_objective
from harness.training.setup import Setup

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA is used: what cuBLAS needs to repeat itself
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here"),
]
CUDA = torch.device("cuda")
SIZE = 64
TOLERANCE = 2e-2
"""Between captured, compiled and eager losses of 20 steps in bf16: kernels round differently, and steps add it up."""


@pytest.fixture(autouse=True)
def _sound_process(monkeypatch) -> None:
    monkeypatch.setattr(capturing, "_broken", [])


@pytest.fixture(autouse=True)
def _computing() -> Iterator[None]:
    """As combos are: float32 is not rounded to TF32."""
    with computing(CUDA, "float32"):
        yield


@pytest.fixture
def train(prepared, recipe, registry):
    """Train 20 steps on the GPU, and give each step's loss beside the training."""

    def start(
        model: str, loss: str = "bce", engine: EngineOptions | None = None, dropout: float = 0.0, **changes: Any
    ) -> tuple[list[float], Training]:
        chosen = {"precision": "bf16", "lr": 1e-4, "epochs": 1, "size": SIZE} | changes
        changed = dataclasses.replace(recipe, select_on="loss", **chosen)
        task = Task(
            labels=prepared.data.labels, channels=1, size=SIZE, mean=(0.5,), std=(0.25,), prevalence=(0.4, 0.4, 0.4)
        )
        torch.manual_seed(0)
        network = registry.model(model).build(task, **({"drop_rate": dropout} if dropout else {})).to(CUDA)
        engine = engine or EngineOptions(compile="off")
        placed = place(prepared, CUDA, engine.placement)
        objective = make_objective(registry.loss(loss), task, {}, CUDA)
        training = Training(
            Setup(network=network, objective=objective, placed=placed, recipe=changed, task=task, seed=0, engine=engine)
        )
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
    eager, plain = train(model, engine=EngineOptions(graphs=False, compile="off"))
    captured, training = train(model)
    assert (plain.execution.step, training.execution.step) == ("eager", "graph"), training.execution.notes
    torch.testing.assert_close(torch.tensor(captured), torch.tensor(eager), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("loss", LOSSES)
def test_captured_and_eager_steps_agree_for_every_loss(train, loss):
    eager, _ = train("tiny-cnn", loss, EngineOptions(graphs=False, compile="off"))
    captured, training = train("tiny-cnn", loss)
    assert training.execution.step == "graph", training.execution.notes
    torch.testing.assert_close(torch.tensor(captured), torch.tensor(eager), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_compiled_and_eager_steps_agree(train, model):
    eager, _ = train(model, engine=EngineOptions(graphs=False, compile="off"))
    compiled, training = train(model, engine=EngineOptions(compile="on"))
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
    streamed, training = train("tiny-cnn", engine=EngineOptions(compile="off", placement="streamed"))
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
    task = Task(
        labels=prepared.data.labels, channels=1, size=SIZE, mean=(0.5,), std=(0.25,), prevalence=(0.4, 0.4, 0.4)
    )
    loss = Loss(name="bce", build=lambda task: nn.BCEWithLogitsLoss(reduction="none"))
    changed = dataclasses.replace(recipe, select_on="loss", size=SIZE, epochs=2)
    setup = Setup(
        network=Asking().to(CUDA),
        objective=make_objective(loss, task, {}, CUDA),
        placed=place(prepared, CUDA),
        recipe=changed,
        task=task,
        seed=0,
    )
    training = Training(setup)
    assert len(list(training.epochs())) == 2
    assert training.execution.step == "eager"
    assert "asks the device for a value" in training.execution.notes[0]


def test_a_training_on_a_gpu_goes_on_where_it_was(prepared, recipe, registry, tmp_path):
    task = Task(
        labels=prepared.data.labels, channels=1, size=SIZE, mean=(0.5,), std=(0.25,), prevalence=(0.4, 0.4, 0.4)
    )
    schedule = Schedule(kind="one-cycle")
    changed = dataclasses.replace(recipe, select_on="loss", size=SIZE, epochs=4, schedule=schedule, freeze_epochs=1)

    def begin() -> Training:
        torch.manual_seed(0)
        network = registry.model("tiny-cnn").build(task, drop_rate=0.2).to(CUDA)
        objective = make_objective(registry.loss("bce"), task, {}, CUDA)
        setup = Setup(
            network=network, objective=objective, placed=place(prepared, CUDA), recipe=changed, task=task, seed=0
        )
        return Training(setup, lambda execution: Checkpoint(tmp_path, {}))

    whole = list(Training(begin().setup).epochs())
    for epoch in begin().epochs():
        if epoch.number == 2:
            break
    resumed = list(begin().epochs())
    assert [epoch.number for epoch in resumed] == [1, 2, 3, 4]
    assert resumed[-1].val_loss == pytest.approx(whole[-1].val_loss, rel=1e-2)


# --- when a capture breaks -------------------------------------------------------------------------------------------


class Breaking(nn.Module):
    """Does while it is captured, and only then, what breaks a capture off."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(SIZE * SIZE, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if torch.cuda.is_current_stream_capturing():
            torch.cuda.synchronize()
        logits: torch.Tensor = self.body(images)
        return logits


class BreakingInPrediction(nn.Module):
    """Trains with random numbers as it should; where its prediction is captured, that breaks off."""

    def __init__(self) -> None:
        super().__init__()
        self.trained = nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(SIZE * SIZE, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if not self.training and torch.cuda.is_current_stream_capturing():
            torch.cuda.synchronize()
        logits: torch.Tensor = self.trained(images)
        return logits


OFFENSES = {
    "an index on the host": lambda x: x[torch.tensor([0])],
    "repeat_interleave": lambda x: x.repeat_interleave(torch.ones(len(x), dtype=torch.int64, device=x.device), 0)[:1],
    "bincount": lambda x: x * torch.bincount(torch.ones(3, dtype=torch.int64, device=x.device)).sum(),
    "linalg.inv": lambda x: x + torch.linalg.inv(torch.eye(3, device=x.device)).sum(),
}


class Waiting(nn.Module):
    """Waits for the device in a way that no list of operations has."""

    def __init__(self, offense: str) -> None:
        super().__init__()
        self.offense, self.body = offense, nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.body(images)
        with torch.autocast("cuda", enabled=False):
            nothing: torch.Tensor = OFFENSES[self.offense](logits.detach().float()).sum() * 0
            return logits + nothing


@pytest.fixture
def begin(prepared, recipe, registry):
    """Make a training of any network on the GPU, of three epochs."""

    def make(
        network: nn.Module, engine: EngineOptions | None = None, data: Prepared | None = None, **changes: Any
    ) -> Training:
        task = Task(
            labels=prepared.data.labels, channels=1, size=SIZE, mean=(0.5,), std=(0.25,), prevalence=(0.4, 0.4, 0.4)
        )
        chosen = {"precision": "bf16", "lr": 1e-3, "epochs": 3, "size": SIZE} | changes
        changed = dataclasses.replace(recipe, select_on="loss", **chosen)
        engine = engine or EngineOptions(compile="off")
        placed = place(data or prepared, CUDA, engine.placement)
        objective = make_objective(registry.loss("bce"), task, {}, CUDA)
        return Training(
            Setup(
                network=network.to(CUDA),
                objective=objective,
                placed=placed,
                recipe=changed,
                task=task,
                seed=0,
                engine=engine,
            )
        )

    return make


@pytest.fixture
def build(prepared, registry):
    def make(model: str = "tiny-cnn", **params: Any) -> nn.Module:
        task = Task(
            labels=prepared.data.labels, channels=1, size=SIZE, mean=(0.5,), std=(0.25,), prevalence=(0.4, 0.4, 0.4)
        )
        torch.manual_seed(0)
        network: nn.Module = registry.model(model).build(task, **params)
        return network

    return make


def outcome(training: Training) -> list[tuple[float, float]]:
    return [(epoch.train_loss, epoch.val_loss) for epoch in training.epochs()]


def test_a_captured_step_goes_on_where_capturing_the_prediction_breaks(begin):
    training = begin(BreakingInPrediction(), epochs=3)
    found = outcome(training)
    assert broken_capture()
    assert (training.execution.step, training.predictor.graph) == ("graph", None), training.execution.notes
    assert found[2][0] < found[0][0], "later epochs are replayed, and learn"


def test_a_broken_capture_harms_no_later_training(begin, build):
    undisturbed = outcome(begin(build()))
    broken = begin(Breaking())
    before = torch.cuda.current_stream()
    assert len(outcome(broken)) == 3
    assert (broken.execution.step, torch.cuda.current_stream()) == ("eager", before)
    assert any("could not be captured" in note for note in broken.execution.notes)
    assert broken_capture()
    torch.cuda.empty_cache()  # asserts where a pool is still under way
    torch.rand(3, device=CUDA)  # a generator that believes in a capture refuses
    after = begin(build())
    assert np.allclose(outcome(after), undisturbed, rtol=1e-2, atol=1e-3)
    assert after.execution.step == "graph", after.execution.notes


@pytest.mark.parametrize("offense", OFFENSES)
def test_what_waits_for_the_device_is_found_before_a_capture_breaks(begin, offense):
    training = begin(Waiting(offense), epochs=1)
    assert len(outcome(training)) == 1
    assert training.execution.step == "eager"
    assert any("could not be captured" in note for note in training.execution.notes), training.execution.notes
    assert broken_capture() is None


def test_two_trainings_fit_one_after_the_other_where_two_at_once_would_not(begin, build):
    def run() -> int:
        torch.cuda.reset_peak_memory_stats()
        outcome(begin(build("resnet50"), epochs=1))
        return torch.cuda.max_memory_reserved()

    from harness.training.memory import release

    release()
    needed = run()
    release()
    total = torch.cuda.get_device_properties(CUDA).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 1.5 * needed / total))
    try:
        for _ in range(2):
            run()
            release()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


# --- all that an epoch consists of -----------------------------------------------------------------------------------


def test_a_whole_streamed_epoch_reuses_its_buffers_rightly(begin, build, prepared):
    """Twelve batches through two slots: a batch that overwrote another one would change what is learned."""
    deterministic = {"precision": "float32", "batch_size": 2, "epochs": 2, "optimizer": "sgd", "lr": 1e-3}
    resident = outcome(begin(build(), **deterministic))
    streamed = begin(build(), EngineOptions(compile="off", placement="streamed"), **deterministic)
    found = outcome(streamed)
    assert streamed.execution.placement == "streamed"
    assert np.allclose(found, resident, rtol=1e-4, atol=1e-5)
    for split in ("train", "val", "test"):
        index = streamed.setup.placed.splits[split].cpu()
        for number, (chosen, images) in enumerate(streamed.setup.placed.batches(index.to(CUDA).split(3))):
            expected = torch.from_numpy(prepared.images)[index[3 * number : 3 * number + len(chosen)]]
            assert torch.equal(images.cpu(), expected)


@pytest.mark.parametrize("evaluate_at", ["resize", "ten-crop"])
@pytest.mark.parametrize("placement", ["resident", "streamed"])
def test_a_captured_prediction_is_the_eager_one(begin, build, evaluate_at, placement):
    changes = {"epochs": 1, "average_decay": 0.9, "evaluate_at": evaluate_at, "load_size": 16, "size": 12}
    changes |= {"precision": "float32"}
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 10 * 10, 3))
    training = begin(network, EngineOptions(compile="off", placement=placement), **changes)
    predictor = training.predictor
    predictor.batch = 5  # the last batch of a split is shorter
    list(training.epochs())
    assert predictor.graph is not None, training.execution.notes
    assert predictor.network is not training.setup.network
    for split in ("val", "test"):
        captured = predictor.logits(split)
        with torch.no_grad():
            eager = torch.cat([
                predictor._run(chosen, images, predictor.network)
                for chosen, images in training.setup.placed.batches(training.setup.placed.splits[split].split(5))
            ])  # fmt: skip
        torch.testing.assert_close(captured, eager, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_network_is_frozen_and_thawed_when_it_is_compiled(begin, build):
    changes = {"freeze_epochs": 1, "epochs": 3, "average_decay": 0.9}
    eager = outcome(begin(build("resnet50"), EngineOptions(graphs=False, compile="off"), **changes))
    compiled = begin(build("resnet50"), EngineOptions(compile="on"), **changes)
    before = {name: tensor.clone() for name, tensor in compiled.setup.network.named_parameters()}
    found = outcome(compiled)
    assert compiled.execution.compiled
    assert compiled.execution.step == "graph", compiled.execution.notes
    assert compiled.predictor.forward is not compiled.predictor.network
    moved = [
        name for name, tensor in compiled.setup.network.named_parameters() if not torch.equal(tensor, before[name])
    ]
    assert len(moved) > 100, "after thawing, all of it learns"
    assert np.allclose(found, eager, rtol=5e-2, atol=5e-2)


@pytest.fixture
def _deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(mode=True)
    yield
    torch.use_deterministic_algorithms(mode=False)


@pytest.mark.usefixtures("_deterministic")
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_in_float32_a_captured_training_is_the_eager_one_bit_for_bit(begin, build, optimizer):
    changes = {"precision": "float32", "optimizer": optimizer, "gradient_clip": 1.0, "average_decay": 0.9}
    changes |= {"schedule": Schedule(kind="one-cycle"), "augment": Augment(flip=True, crop_scale=(0.8, 1.0))}
    eager, captured = (
        begin(build(), EngineOptions(compile="off", graphs=graphs, deterministic=True), **changes)
        for graphs in (False, True)
    )
    losses = [[epoch.train_loss for epoch in training.epochs()] for training in (eager, captured)]
    assert losses[0] == losses[1]
    weights = captured.setup.network.state_dict()
    for name, tensor in eager.setup.network.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    # a captured prediction runs whole batches, for whose shape libraries may choose other kernels
    val = [[epoch.val_loss for epoch in training.history] for training in (eager, captured)]
    assert val[1] == pytest.approx(val[0], rel=1e-5)
    assert (eager.execution.step, captured.execution.step) == ("eager", "graph"), captured.execution.notes


# --- as users run it -------------------------------------------------------------------------------------------------


def test_a_worker_process_trains_on_the_gpu(harness, tmp_path):
    options = ["--dataset", "toy", "--models", "tiny-cnn", "--losses", "bce,focal", "--recipes", "toy", "--seeds", "0"]
    code, out, err = harness("run", *options, "--board", "board", "--device", "cuda", "--workers", "1")
    assert code == 0, out + err
    records = [json.loads(path.read_text()) for path in (tmp_path / "board" / "records").glob("*.json")]
    assert [record["status"] for record in records] == ["done", "done"]
    assert all(record["training"]["execution"]["step"] == "graph" for record in records)
    assert all(record["efficiency"]["peak_device_bytes"] > 0 for record in records)


def test_speed_is_measured_on_the_gpu(harness):
    options = ["--losses", "bce", "--batch-size", "8,16", "--size", "64", "--images", "128", "--plain-seconds", "1"]
    code, out, err = harness("speed", "tiny-cnn", *options, "--device", "cuda:0", "--json")
    assert code == 0, err
    assert json.loads(out)
