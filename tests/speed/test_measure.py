"""`harness speed` measures the real engine and says what it measured."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import sys
import time
import types
import weakref

import pytest
import torch
from torch import nn

from harness import Augment, Model, Recipe, Task
from harness.cli.main import main
from harness.speed import measure
from harness.speed.measure import measure_speed
from harness.speed.plain import Originals, time_plain_script, write_originals
from harness.speed.reference import BareStep, count_bytes, measure_copying
from harness.speed.request import ROUNDS, SpeedRequest
from harness.training import timer
from harness.training.engine import EngineOptions
from harness.training.numerics import choose_numerics
from harness.training.step import Step

CPU = torch.device("cpu")
RECIPE = Recipe(
    name="r",
    optimizer="adamw",
    epochs=4,
    batch_size=4,
    load_size=36,
    size=32,
    augment=Augment(flip=True, crop_scale=(0.5, 1.0), rotation=5, brightness=0.1),
    select_on="loss",
)


def request(registry, **changes) -> SpeedRequest:
    made = SpeedRequest(
        model=registry.model("tiny-cnn"),
        loss=registry.loss("bce"),
        recipe=RECIPE,
        images=32,
        device=CPU,
        engine=EngineOptions(),
        plain_seconds=0,
    )
    return dataclasses.replace(made, **changes)


def test_everything_is_measured_in_one_run(registry):
    speed = measure_speed(request(registry))
    assert min(speed.engine, speed.tight_loop, speed.inference, speed.step_milliseconds, speed.start_seconds) > 0
    assert speed.plain_script is None
    assert speed.execution["step"] == "eager"
    assert speed.parameters > 20_000
    assert speed.flops_per_image is not None
    assert speed.flops_per_image > 1_000_000
    assert speed.hours == pytest.approx(20 * 86_524 / speed.engine / 3600)
    assert speed.notes == ()


class Watched(nn.Module):
    """Notes the mode in which it is trained."""

    def __init__(self, modes: list[bool]) -> None:
        super().__init__()
        self.modes = modes
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(4, 14)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and images.device.type != "meta":
            self.modes.append(self.training)
        logits: torch.Tensor = self.head(self.body(images))
        return logits


def watched(made: list[Watched]) -> Model:
    def build(task: Task) -> Watched:
        made.append(Watched([]))
        return made[-1]

    return Model(name="watched", build=build)


def test_every_timed_step_is_made_in_training_mode(registry):
    made: list[Watched] = []
    measure_speed(request(registry, model=watched(made)))
    assert len(made) == 2  # the engine's, which is the tight loop's too, and the bare loop's
    steps = 2 * ROUNDS  # of four images each, three passes over 32
    assert len(made[0].modes) == 8 + 2 * steps
    assert len(made[1].modes) == 1 + steps
    assert all(made[0].modes)
    assert all(made[1].modes)


def test_a_slow_step_does_not_score_against_what_is_not_the_harness_s_code(registry, monkeypatch):
    now = 0.0

    def clocked(function, seconds):
        def run(*args):
            nonlocal now
            now += seconds
            return function(*args)

        return run

    clock = types.SimpleNamespace(perf_counter=clocked(lambda: now, 1e-6), time=time.time)
    monkeypatch.setattr(measure, "time", clock)
    monkeypatch.setattr(timer, "time", clock)
    monkeypatch.setattr(Step, "__call__", clocked(Step.__call__, 10.0))
    monkeypatch.setattr(BareStep, "__call__", clocked(BareStep.__call__, 1.0))
    speed = measure_speed(request(registry))
    assert speed.engine_over_tight_loop == pytest.approx(1.0)
    assert speed.engine_over_reference == pytest.approx(0.1)


def test_the_reference_on_a_cpu_is_a_step_of_torch_s_own_modules(registry):
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 14))
    plain = copy.deepcopy(network)
    images, targets = torch.randn(4, 3, 2, 2), torch.zeros(4, 14)
    for optimizer in ("adam", "adamw", "sgd"):
        recipe = dataclasses.replace(RECIPE, optimizer=optimizer, precision="float32", lr=0.1)
        step = BareStep(network, images, targets, recipe, choose_numerics(recipe, CPU, network))
        before = nn.functional.binary_cross_entropy_with_logits(network(images), targets)
        step()
        assert nn.functional.binary_cross_entropy_with_logits(network(images), targets) < before
    assert not torch.equal(network.state_dict()["1.weight"], plain.state_dict()["1.weight"])


def test_bytes_are_counted_once_for_each_operation_that_moves_them():
    one, other = torch.rand(1000), torch.rand(1000)
    assert count_bytes(lambda: one + other) == 12_000
    assert count_bytes(lambda: one.add_(other)) == 12_000
    assert count_bytes(lambda: one + one) == 8_000
    assert count_bytes(lambda: one.view(10, 100).t()) == 0
    assert count_bytes(lambda: torch.empty(1000)) == 0
    assert count_bytes(lambda: one[:1].clone().expand(1000).clone()) == 4 + 4 + 4 + 4_000
    weights, images = torch.rand(20, 10), torch.rand(4, 10)
    assert count_bytes(lambda: images @ weights.t()) == 4 * (40 + 200 + 80)
    parameter = nn.Parameter(torch.rand(1000))
    parameter.grad = torch.rand(1000)
    optimizer = torch.optim.SGD([parameter], lr=0.1, fused=True)
    assert 12_000 <= count_bytes(optimizer.step) <= 16_100  # parameter read and written, gradient read


def test_a_copy_reads_and_writes(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr("harness.speed.reference.time", types.SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    assert measure_copying(CPU) == 2 * 2**28  # in one second


def test_the_rule_about_compiling_is_asked_as_the_extrapolated_training_would(registry, monkeypatch):
    asked: list[int] = []

    def decide(*given):
        asked.append(given[-1])
        return False

    monkeypatch.setattr("harness.training.fit.decide_compile", decide)
    measure_speed(request(registry))
    assert 20 * 86_524 <= asked[0] < 20 * 86_524 + 32


def test_cuda_is_started_before_it_is_asked_for_its_memory(monkeypatch):
    done = []
    monkeypatch.setattr(torch.cuda, "init", lambda: done.append("init"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: done.append(f"reset {device}"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 7)
    measure._start_counting_memory(torch.device("cuda:0"))
    assert done == ["init", "reset cuda:0"]
    assert measure._read_memory(torch.device("cuda:0")) == (5, 7)
    assert measure._read_memory(CPU) == (None, None)


@pytest.mark.slow
def test_the_plain_script_has_the_engine_s_memory(registry, monkeypatch):
    networks = []

    def build(task):
        network = registry.model("tiny-cnn").build(task)
        networks.append(weakref.ref(network))
        return network

    alive: list[bool] = []

    def plain(network, *args, **kwargs):
        alive.extend(one() is network for one in networks if one() is not None)
        return 5.0

    monkeypatch.setattr(measure, "time_plain_script", plain)
    speed = measure_speed(request(registry, model=Model(name="m", build=build), plain_seconds=0.1))
    assert speed.plain_script == 5.0
    assert speed.engine_over_plain_script == speed.engine / 5
    assert len(networks) == 3
    assert alive == [True]  # its own network and no other


@pytest.mark.slow
def test_a_plain_script_that_fails_costs_its_own_figure(monkeypatch, capsys):
    def plain(*args, **kwargs):
        raise errors.pop()

    errors = [RuntimeError("DataLoader worker is gone"), torch.OutOfMemoryError("no room")]
    monkeypatch.setattr(measure, "time_plain_script", plain)
    options = ["--batch-size", "4", "--size", "32", "--images", "8", "--plain-seconds", "1", "--device", "cpu"]
    said = "the plain script could not be timed: "
    document = json.loads(speed_of(monkeypatch, capsys, *options, "--json"))
    assert document["plain_script"] is None
    assert document["engine_over_plain_script"] is None
    assert document["engine"] > 0
    assert document["notes"] == [f"{said}OutOfMemoryError: no room"]
    assert f"batch 4: {said}RuntimeError: DataLoader worker is gone" in speed_of(monkeypatch, capsys, *options)


def speed_of(monkeypatch, capsys, *options: str) -> str:
    """What `harness speed tiny-cnn` prints."""
    monkeypatch.setattr(sys, "argv", ["harness", "speed", "tiny-cnn", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    printed: str = capsys.readouterr().out
    return printed


def test_only_the_first_batch_size_counts_the_start_of_the_process(registry, monkeypatch):
    monkeypatch.setattr(measure, "_process_seconds", lambda: 1000.0)
    assert measure_speed(request(registry)).start_seconds > 900
    assert measure_speed(request(registry, first=False)).start_seconds < 900


def test_the_tight_loop_augments_nothing_and_still_trains(registry, monkeypatch):
    from harness.data.augmentation import training_view as plain

    calls = []

    def counted(*args, **kwargs):
        calls.append(1)
        return plain(*args, **kwargs)

    monkeypatch.setattr("harness.training.step.training_view", counted)
    measure_speed(request(registry))
    # an epoch of eight steps, rounds of two, and the one view that the tight loop repeats
    assert len(calls) == 8 + 2 * ROUNDS + 1


def test_streamed_images_are_measured_too(registry):
    speed = measure_speed(request(registry, engine=EngineOptions(placement="streamed")))
    assert speed.execution["placement"] == "streamed"


def test_the_plain_script_decodes_files_and_trains(registry, tmp_path):
    files = write_originals(tmp_path, side=64)
    image, targets = Originals(files, 10, RECIPE, 3)[7]
    assert image.shape == (3, 32, 32)
    assert targets.shape == (14,)
    head = torch.nn.Linear(3 * 32 * 32, 14)
    network = torch.nn.Sequential(torch.nn.Flatten(), head)
    before = head.weight.detach().clone()
    rate = time_plain_script(network, files, RECIPE, 3, CPU, None, workers=1, seconds=0.1)
    assert rate > 0
    assert not torch.equal(head.weight, before)


def test_the_fastest_batch_size_is_at_the_top_of_the_document(monkeypatch, capsys):
    firsts: list[bool] = []

    def noted(given):
        firsts.append(given.first)
        return measure_speed(given)

    monkeypatch.setattr(measure, "measure_speed", noted)
    options = ["--batch-size", "2,8", "--size", "32", "--images", "16", "--plain-seconds", "0", "--device", "cpu"]
    document = json.loads(speed_of(monkeypatch, capsys, *options, "--json"))
    assert firsts == [True, False]
    assert [one["batch_size"] for one in document["measured"]] == [2, 8]
    assert document["engine"] == max(one["engine"] for one in document["measured"])
    assert min(document["engine_over_tight_loop"], document["engine_over_reference"], document["reference"]) > 0
    assert document["peak_device_bytes"] is document["peak_reserved_bytes"] is document["bytes_per_image"] is None
    assert document["plain_script"] is None
    assert torch.__version__.startswith(document["provenance"]["packages"]["torch"])


def test_a_recipe_of_ones_own_is_measured_with_its_choices(monkeypatch, capsys):
    options = ["--recipes", "dacnet", "--batch-size", "4", "--size", "32", "--images", "16", "--plain-seconds", "0"]
    printed = speed_of(monkeypatch, capsys, *options, "--device", "cpu", "--placement", "streamed")
    assert "tiny-cnn: images per second" in printed
    assert "placement: streamed" in printed
    assert "reference: a bare loop of torch's modules" in printed


def test_a_batch_size_that_is_no_number_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["harness", "speed", "tiny-cnn", "--batch-size", "many"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--batch-size many: give whole numbers" in capsys.readouterr().err


def test_a_network_that_gets_a_table_is_refused_in_a_sentence(harness):
    code, out, err = harness("speed", "chexnet-demographics", "--size", "32", "--images", "8")
    assert (code, out) == (2, "")
    assert "'chexnet-demographics' gets age, sex, view beside each image" in err
    assert "give a model that gets no table" in err
