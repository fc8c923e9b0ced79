"""`harness speed` measures the real engine and says what it measured."""

from __future__ import annotations

import dataclasses
import json
import sys

import pytest
import torch

from harness import Augment, Recipe
from harness.cli import main
from harness.speed.measure import Request, measure_speed
from harness.speed.plain import Originals, time_plain_script, write_originals
from harness.training.engine import Engine

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


def request(registry, **changes) -> Request:
    made = Request(registry.model("tiny-cnn"), registry.loss("bce"), RECIPE, 32, CPU, Engine(), plain_seconds=0)
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


def test_the_tight_loop_augments_nothing_and_still_trains(registry, monkeypatch):
    from harness.data.augmentation import training_view as plain

    calls = []

    def counted(*args, **kwargs):
        calls.append(1)
        return plain(*args, **kwargs)

    monkeypatch.setattr("harness.training.step.training_view", counted)
    measure_speed(request(registry))
    assert len(calls) == 4 * 8 + 1  # four epochs of eight steps, and the one view that the tight loop repeats


def test_streamed_images_are_measured_too(registry):
    speed = measure_speed(request(registry, engine=Engine(placement="streamed")))
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
    options = ["--batch-size", "2,8", "--size", "32", "--images", "16", "--plain-seconds", "0", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["harness", "speed", "tiny-cnn", *options, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["batch_size"] for one in document["measured"]] == [2, 8]
    assert document["engine"] == max(one["engine"] for one in document["measured"])
    assert document["engine_over_tight_loop"] == pytest.approx(document["engine"] / document["tight_loop"])
    assert document["plain_script"] is None
    assert torch.__version__.startswith(document["provenance"]["packages"]["torch"])


def test_a_recipe_of_ones_own_is_measured_with_its_choices(monkeypatch, capsys):
    options = ["--recipe", "dacnet", "--batch-size", "4", "--size", "32", "--images", "16", "--plain-seconds", "0"]
    monkeypatch.setattr(sys, "argv", ["harness", "speed", "tiny-cnn", *options, "--device", "cpu"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "tiny-cnn: images a second" in printed
    assert "placement: resident" in printed


def test_a_batch_size_that_is_no_number_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["harness", "speed", "tiny-cnn", "--batch-size", "many"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--batch-size many: give whole numbers" in capsys.readouterr().err
