"""A training that is interrupted goes on where it was, and ends as if it had not been."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from harness import Augment, Loss, Schedule, Task
from harness.results.layout import RESUME
from harness.training.checkpoint import DIGEST, Checkpoint, digest_state
from harness.training.fit import Training
from harness.training.objective import make_objective
from harness.training.setup import Setup

BCE = nn.functional.binary_cross_entropy_with_logits
EVERYTHING: dict[str, Any] = {
    "epochs": 5,
    "average_decay": 0.9,
    "gradient_clip": 1.0,
    "augment": Augment(crop_scale=(0.5, 1.0), rotation=5),
    "schedule": Schedule(kind="plateau", patience=0, factor=0.5),
    "freeze_epochs": 1,
    "select_on": "loss",
}


def make_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(4 * 14 * 14, 3)
    )


@pytest.fixture
def begin(placed, recipe, task, tmp_path):
    """Begin a training that keeps its state in a folder."""

    def make(
        folder: str,
        circumstances: dict[str, str] | None = None,
        build: Callable[[Task], nn.Module] | None = None,
        **changes: Any,
    ) -> Training:
        loss = Loss(name="bce", build=lambda task: lambda x, y: BCE(x, y, reduction="none"))
        changed = dataclasses.replace(recipe, **EVERYTHING | changes)
        torch.manual_seed(0)
        network = make_network() if build is None else build(dataclasses.replace(task, size=changed.size))
        setup = Setup(
            network=network,
            objective=make_objective(loss, task, {}, placed.device),
            placed=placed,
            recipe=changed,
            task=task,
            seed=0,
        )
        (tmp_path / folder).mkdir(exist_ok=True)
        return Training(setup, lambda execution: Checkpoint(tmp_path / folder, circumstances or {"torch": "1"}))

    return make


def stripped(epochs):
    """What epochs came to, without what a clock says."""
    return [dataclasses.replace(epoch, seconds=0.0, timing=None) for epoch in epochs]


def interrupt(training: Training, after: int) -> None:
    for epoch in training.epochs():
        if epoch.number == after:
            return


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("after", [1, 2, 4, 5])
def test_an_interrupted_training_ends_bit_for_bit_as_one_that_was_not(begin, optimizer, after):
    whole = begin("whole", optimizer=optimizer)
    expected = list(whole.epochs())
    interrupt(begin("cut", optimizer=optimizer), after)
    torch.manual_seed(99)
    resumed = begin("cut", optimizer=optimizer)
    found = list(resumed.epochs())
    assert stripped(found) == stripped(expected)
    assert not resumed.execution.notes
    for name, tensor in resumed.setup.network.state_dict().items():
        assert torch.equal(tensor, whole.setup.network.state_dict()[name]), name


REAL = {
    "tiny-cnn": {"width": 8, "drop_rate": 0.2},
    "timm/test_vit": {"drop_rate": 0.2},
    "efficientnet-b0": {},
    "chexnet": {},
}
CHOICES: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.05},
    "sgd": {"optimizer": "sgd", "weight_decay": 1e-3},
    "average": {"average_decay": 0.9},
    "fp16": {"precision": "fp16"},
    "bf16": {"precision": "bf16"},
    "frozen": {"freeze_epochs": 2},
}
PLAIN_CHOICES: dict[str, Any] = {"epochs": 4, "size": 32, "batch_size": 16, "average_decay": None, "freeze_epochs": 0}


TOGETHER: dict[str, dict[str, Any]] = {
    "adam, averaged": {"optimizer": "adam", "average_decay": 0.9, "epochs": 3},
    "adamw, frozen": {"optimizer": "adamw", "weight_decay": 0.05, "freeze_epochs": 1, "epochs": 3},
    "sgd in fp16": {"optimizer": "sgd", "weight_decay": 1e-3, "precision": "fp16", "epochs": 3},
}
"""The same, several at a time and an epoch shorter: for networks that take a minute."""
CASES = [
    *(pytest.param("tiny-cnn", choice) for choice in CHOICES),
    pytest.param("timm/test_vit", "adamw"),
    *(pytest.param("timm/test_vit", choice, marks=pytest.mark.slow) for choice in CHOICES if choice != "adamw"),
    *(pytest.param("efficientnet-b0", choice, marks=pytest.mark.slow) for choice in TOGETHER),
    pytest.param("chexnet", "sgd in fp16", marks=pytest.mark.slow),
    *(
        pytest.param("chexnet", choice, marks=[pytest.mark.slow, pytest.mark.exhaustive])
        for choice in TOGETHER
        if choice != "sgd in fp16"
    ),
]


@pytest.mark.parametrize(("model", "choice"), CASES)
def test_a_real_network_goes_on_bit_for_bit_after_any_of_its_epochs(begin, registry, tmp_path, model, choice):
    """More than one convolution: weights and what optimizers keep of them then lie in memory channels last."""

    def build(task: Task) -> nn.Module:
        built: nn.Module = registry.model(model).build(task, **REAL[model])
        return built

    changes = PLAIN_CHOICES | (CHOICES | TOGETHER)[choice]
    whole, expected = begin("whole", build=build, **changes), []
    for epoch in whole.epochs():
        expected.append(epoch)
        shutil.copytree(tmp_path / "whole", tmp_path / f"after-{epoch.number}")
    for after in range(1, changes["epochs"]):
        torch.manual_seed(99)
        resumed = begin(f"after-{after}", build=build, **changes)
        assert stripped(resumed.epochs()) == stripped(expected)
        assert not resumed.execution.notes
        for name, tensor in resumed.state.tensors().items():
            assert torch.equal(tensor, whole.state.tensors()[name]), name
            assert tensor.stride() == whole.state.tensors()[name].stride(), name


class Remembering(nn.Module):
    """A network with a buffer that no state dict has, on which its output depends."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
        self.seen: torch.Tensor
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen += 1
        logits: torch.Tensor = self.body(images)
        return logits / (1 + self.seen)


def test_what_a_network_keeps_out_of_its_weights_is_kept_too(begin):
    changes = PLAIN_CHOICES | {"size": 16}
    whole = list(begin("whole", build=lambda task: Remembering(), **changes).epochs())
    interrupt(begin("cut", build=lambda task: Remembering(), **changes), 2)
    assert stripped(begin("cut", build=lambda task: Remembering(), **changes).epochs()) == stripped(whole)


def test_early_stopping_counts_on(begin):
    changes = {"epochs": 30, "patience": 3, "lr": 0.5, "schedule": Schedule()}
    whole = list(begin("whole", **changes).epochs())
    assert len(whole) < 30
    interrupt(begin("cut", **changes), len(whole) - 1)
    assert stripped(begin("cut", **changes).epochs()) == stripped(whole)


def test_a_state_made_elsewhere_is_discarded_with_one_line(begin):
    interrupt(begin("cut"), 2)
    training = begin("cut", {"torch": "2"})
    assert len(list(training.epochs())) == 5
    assert training.execution.notes == [
        "training started over, its resume state was discarded: it was made with torch 1, now 2"
    ]


def test_a_damaged_state_is_discarded_with_one_line(begin, tmp_path):
    interrupt(begin("cut"), 2)
    path = tmp_path / "cut" / RESUME
    path.write_bytes(path.read_bytes()[:500])
    training = begin("cut")
    assert [epoch.number for epoch in training.epochs()] == [1, 2, 3, 4, 5]
    assert "cannot be read" in training.execution.notes[0]


@pytest.mark.parametrize("group", ["state", "random", "best"])
def test_a_state_with_a_flipped_bit_is_discarded_with_one_line(begin, tmp_path, group):
    expected = list(begin("whole").epochs())
    interrupt(begin("cut"), 2)
    path = tmp_path / "cut" / RESUME
    content = bytearray(path.read_bytes())
    header = int.from_bytes(content[:8], "little")
    places = json.loads(content[8 : 8 + header])
    begins, ends = max(
        (about["data_offsets"] for name, about in places.items() if name.startswith(f"{group}/")),
        key=lambda place: place[1] - place[0],
    )
    content[8 + header + (begins + ends) // 2] ^= 1
    path.write_bytes(content)
    training = begin("cut")
    assert stripped(training.epochs()) == stripped(expected)
    assert training.execution.notes == [
        "training started over, its resume state was discarded: it is damaged: what it holds is not what was written"
    ]


@pytest.mark.parametrize("found", [b"train_loss", b"schedule", b"state/optimizer", b"best/"])
def test_a_state_with_another_letter_in_its_header_is_discarded(begin, tmp_path, found):
    interrupt(begin("cut"), 2)
    path = tmp_path / "cut" / RESUME
    content = path.read_bytes()
    assert found in content
    path.write_bytes(content.replace(found, found[:-2] + b"_" + found[-1:], 1))
    training = begin("cut")
    assert [epoch.number for epoch in training.epochs()] == [1, 2, 3, 4, 5]
    assert "it is damaged" in training.execution.notes[0]


@pytest.mark.parametrize("wrong", [b"1", b"5"])
def test_a_number_in_the_history_that_has_changed_is_noticed(begin, tmp_path, wrong):
    """Digits of the learning rate's epochs would otherwise be read as they stand."""
    interrupt(begin("cut"), 2)
    path = tmp_path / "cut" / RESUME
    content = path.read_bytes()
    place = content.index(b"val_loss") + len(b'val_loss\\": 0.')
    assert content[place : place + 1].isdigit()
    path.write_bytes(content[:place] + (wrong if content[place : place + 1] != wrong else b"7") + content[place + 1 :])
    training = begin("cut")
    assert len(list(training.epochs())) == 5
    assert "it is damaged" in training.execution.notes[0]


def test_a_state_of_another_network_is_discarded_and_nothing_of_it_is_left(begin, tmp_path):
    expected = list(begin("whole").epochs())
    interrupt(begin("cut", average_decay=None), 2)
    training = begin("cut")
    assert stripped(training.epochs()) == stripped(expected)
    assert "does not fit this training" in training.execution.notes[0]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("change", ["more parameters", "another shape"])
def test_a_state_of_other_parameters_is_discarded_and_nothing_of_it_is_left(begin, tmp_path, optimizer, change):
    expected = list(begin("whole", optimizer=optimizer).epochs())
    interrupt(begin("cut", optimizer=optimizer), 2)
    path = tmp_path / "cut" / RESUME
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
    name = next(name for name in tensors if name.startswith("state/optimizer.") and tensors[name].dim() > 1)
    if change == "another shape":
        tensors[name] = torch.cat([tensors[name], tensors[name]])
    else:
        _, _, key = name.removeprefix("state/").split(".")
        tensors[f"state/optimizer.99.{key}"] = tensors[name].clone()
    del metadata[DIGEST]
    save_file(tensors, path, {**metadata, DIGEST: digest_state(tensors, metadata)})
    training = begin("cut", optimizer=optimizer)
    assert stripped(training.epochs()) == stripped(expected)
    assert "does not fit this training" in training.execution.notes[0]


# --- killed for real -------------------------------------------------------------------------------------------------

RUN = """
import os, signal, sys
from pathlib import Path
import torch
from harness.board import Board, Row
from harness.execution import local, planning
from harness.execution.events import EpochFinished
from harness.execution.planning import Settings
from harness.registry import load_registry

torch.set_num_threads(1)
toy, folder, kill_after = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
row = Row(model="toy-net", loss="bce", recipe="toy", params={"recipe": {"epochs": 6, "augment.crop_scale": [0.5, 1.0]}})
board = Board(
    folder=folder / "board", title="Toys", objective="auroc", metrics=("auroc",), dataset="toy", rows=(row,)
)

def listen(event):
    if isinstance(event, EpochFinished) and event.epoch.number == kill_after:
        os.kill(os.getpid(), signal.SIGKILL)

settings = Settings(data_root=folder / "data", cache=folder / "cache", device="cpu")
(record,) = local.run(planning.plan(board, load_registry([toy]), settings, listen), listen)
print(record.key)
"""


def run(folder: Path, kill_after: int) -> subprocess.CompletedProcess[str]:
    toy = Path(__file__).parents[1] / "fixtures" / "toy.py"
    command = [sys.executable, "-c", RUN, str(toy), str(folder), str(kill_after)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"HF_HUB_OFFLINE": "1"}
    )


@pytest.mark.slow
def test_a_killed_run_goes_on_and_leaves_the_same_bits(tmp_path):
    assert run(tmp_path / "whole", 0).returncode == 0
    for kill_after in (2, 5):
        assert run(tmp_path / "cut", kill_after).returncode == -signal.SIGKILL
        assert not list((tmp_path / "cut" / "board").glob("records/*.json"))
    finished = run(tmp_path / "cut", 0)
    assert finished.returncode == 0, finished.stderr
    runs = [tmp_path / name / "board" / "runs" / finished.stdout.strip() for name in ("whole", "cut")]
    one, other = (load_file(folder / "weights.safetensors") for folder in runs)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    for split in ("val", "test"):
        first, second = (np.load(folder / f"predictions-{split}.npz")["logits"] for folder in runs)
        assert np.array_equal(first, second)
    histories = [
        [
            {name: value for name, value in epoch.items() if name != "seconds"}
            for epoch in json.loads(path.read_text())["training"]["history"]
        ]
        for path in (next((tmp_path / name / "board" / "records").glob("*.json")) for name in ("whole", "cut"))
    ]
    assert histories[0] == histories[1]
    assert len(histories[0]) == 6
    assert not (runs[1] / RESUME).exists()
