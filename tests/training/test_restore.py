"""A trained network comes back from its weight file alone, and says what it said."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from harness import DataError, Model, Task, UnknownNameError, UsageError, WeightsError
from harness.board import Board, Row
from harness.errors import PluginError
from harness.evaluation.predictions import load_predictions
from harness.execution import local, planning
from harness.execution.job import Job
from harness.execution.planning import Settings
from harness.registry import Registry, load_registry
from harness.results.record import Record
from harness.training import prediction
from harness.training.engine import EngineOptions
from harness.training.restore import Restored, restore
from harness.training.task import make_task

CPU = torch.device("cpu")
BATCH = 5
"""Images at a time: the 12 of a test split then take three batches, the last one short."""
PLUGIN = '''
import dataclasses

from torch import nn

from harness import Dataset, Model, hookimpl
from harness.registry import load_registry


def load(root):
    """Corners that light up, seen from both sides; validation knows no positive of the third label."""
    from pathlib import Path

    toy = load_registry([Path({toy!r})]).dataset("toy").load(root)
    targets = toy.targets.copy()
    targets[(toy.table["split"] == "val").to_numpy(), 2] = 0
    return dataclasses.replace(toy, targets=targets, mirrors=True)


def build(task, widths=(4, 8), bias=None):
    assert isinstance(widths, tuple)
    layers = [nn.Conv2d(task.channels, widths[0], 3), nn.BatchNorm2d(widths[0]), nn.ReLU()]
    layers += [nn.Conv2d(widths[0], widths[1], 3), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4 * widths[1], len(task.labels)))


@hookimpl
def harness_datasets():
    return [Dataset(name="mirrored", load=load)]


@hookimpl
def harness_models():
    return [Model(name="tuples", build=build)]
'''
ROWS = {
    "from scratch": Row(model="toy-net", loss="bce", recipe="toy"),
    "batch norm": Row(model="tiny-cnn", loss="bce", recipe="toy"),
    "parameters": Row(model="tiny-cnn", loss="bce", recipe="toy", params={"model": {"width": 8, "drop_rate": 0.4}}),
    "center crop": Row(
        model="toy-net", loss="bce", recipe="toy", params={"recipe": {"load_size": 20, "evaluate_at": "center-crop"}}
    ),
    "flip": Row(model="toy-net", loss="bce", recipe="toy", params={"recipe": {"load_size": 24, "evaluate_at": "flip"}}),
    "bf16": Row(model="tiny-cnn", loss="bce", recipe="toy", params={"recipe": {"precision": "bf16"}}),
    "average": Row(model="tiny-cnn", loss="bce", recipe="toy", params={"recipe": {"average_decay": 0.9}}),
    "tuples": Row(model="tuples", loss="bce", recipe="toy"),
    "timm": Row(model="timm/test_vit", loss="bce", recipe="toy", params={"recipe": {"size": 32}}),
}


@dataclasses.dataclass(frozen=True)
class Trained:
    """A finished combo, and what it was made of."""

    job: Job
    record: Record
    weights: Path

    @property
    def task(self) -> Task:
        return make_task(self.job.prepared, self.job.choices.recipe, self.job.choices.model.inputs)

    @property
    def images(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return self.job.prepared.images[(self.job.prepared.data.table["split"] == "test").to_numpy()]

    @property
    def logits(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        return load_predictions(self.weights.with_name("predictions-test.npz")).logits


def train(folder: Path, registry: Registry, row: Row) -> Trained:
    """Train a row with one seed; it is predicted in batches of `BATCH` images."""
    board = Board(
        folder=folder / "board", title="t", objective="auroc", metrics=("auroc", "f1"), dataset="mirrored", rows=(row,)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(prediction.BATCH, "cpu", BATCH)
        planned = planning.plan(
            board, registry, Settings(data_root=folder / "data", cache=folder / "cache", device="cpu"), lambda _: None
        )
        (record,) = local.run(planned, lambda _: None)
    assert record.status == "done", record.failure
    return Trained(planned[0].job, record, board.folder / "runs" / record.key / "weights.safetensors")


@pytest.fixture(scope="module")
def plugins(tmp_path_factory) -> Registry:
    toy = Path(__file__).parents[1] / "fixtures" / "toy.py"
    file: Path = tmp_path_factory.mktemp("plugin") / "tuples.py"
    file.write_text(PLUGIN.format(toy=str(toy)))
    found = load_registry([toy, file])
    assert not found.problems
    return found


@pytest.fixture(scope="module")
def trained(plugins, tmp_path_factory) -> dict[str, Trained]:
    folder: Path = tmp_path_factory.mktemp("trained")
    return {name: train(folder / name, plugins, row) for name, row in ROWS.items()}


@pytest.fixture
def scratch(trained) -> Trained:
    found: Trained = trained["from scratch"]
    return found


def with_model(registry: Registry, model: Model, code: str = "") -> Registry:
    """A registry with another model of that name."""
    models = registry.offers["model"]
    offer = dataclasses.replace(models["toy-net"], component=model, code=code)
    return dataclasses.replace(
        registry, offers=MappingProxyType({**registry.offers, "model": {**models, model.name: offer}})
    )


def read_metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def rewrite(path: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a weight file that says something else."""
    said = json.loads(read_metadata(path)["harness"])
    change(said)
    save_file(load_file(path), target, {"harness": json.dumps(said)})
    return target


# --- the same network ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROWS)
def test_a_restored_network_gives_the_stored_predictions_bit_by_bit(trained, plugins, tmp_path, name):
    one = trained[name]
    alone = Path(shutil.copy(one.weights, tmp_path / "elsewhere.safetensors"))
    restored = restore(alone, plugins, CPU)
    logits = restored.predict(one.images, batch=BATCH)
    assert logits.dtype == np.float32
    assert logits.shape == one.logits.shape
    assert len(one.images) > 2 * BATCH
    assert np.array_equal(logits, one.logits)


@pytest.mark.parametrize("name", ROWS)
def test_what_it_says_is_what_the_record_and_the_task_say(trained, plugins, name):
    one = trained[name]
    restored = restore(one.weights, plugins, CPU)
    recipe = one.job.choices.recipe
    assert restored.task == one.task
    assert list(restored.labels) == one.record.dataset.labels
    assert (restored.task.size, restored.recipe.load_size, restored.recipe.evaluate_at) == (
        recipe.size,
        recipe.load_size,
        recipe.evaluate_at,
    )
    assert (restored.task.mean, restored.task.std) == (one.task.mean, one.task.std)
    assert restored.recipe.precision == recipe.precision
    assert restored.mirrors
    assert restored.model == one.record.combo.model
    assert restored.params == one.job.choices.model_params
    assert restored.harness == one.record.provenance.harness
    assert restored.changes == ()
    assert not restored.compiled
    assert not restored.network.training


def test_thresholds_are_the_records_but_for_those_that_saw_the_test_split(scratch, plugins):
    restored = restore(scratch.weights, plugins, CPU)
    expected = {policy: found for policy, found in scratch.record.thresholds.items() if policy != "oracle"}
    assert restored.thresholds == expected
    assert restored.thresholds["val-f1"]["third"] is None
    assert restored.thresholds["val-f1"]["first"] is not None


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_calibration_is_the_records(scratch, plugins, method):
    fitted = restore(scratch.weights, plugins, CPU).calibration[method]
    assert scratch.record.calibration is not None
    lines: Mapping[str, Any] = getattr(scratch.record.calibration, method).per_label
    for number, label in enumerate(scratch.record.dataset.labels[:2]):
        assert (fitted.slope[number], fitted.intercept[number]) == (lines[label].slope, lines[label].intercept)
    assert np.isnan([fitted.slope[2], fitted.intercept[2]]).all()
    assert np.isfinite(fitted.apply(scratch.logits)[:, :2]).all()


def test_the_file_is_plain_json_in_one_entry_and_its_tensors_are_the_networks(scratch, plugins):
    said = read_metadata(scratch.weights)
    assert list(said) == ["harness"]

    def refuse(text: str) -> None:
        raise AssertionError(text)

    json.loads(said["harness"], parse_constant=refuse)
    tensors, network = load_file(scratch.weights), restore(scratch.weights, plugins, CPU).network
    assert tensors.keys() == network.state_dict().keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in network.state_dict().items())


def test_restoring_leaves_the_random_stream_where_it_was(scratch, plugins):
    before = torch.get_rng_state()
    restore(scratch.weights, plugins, CPU)
    assert torch.equal(torch.get_rng_state(), before)


# --- images ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def restored(scratch, plugins) -> Restored:
    return restore(scratch.weights, plugins, CPU)


def test_batches_of_any_size_give_the_same_but_for_rounding(restored, scratch):
    for options in ({}, {"batch": 1}, {"engine": EngineOptions(placement="streamed")}):
        np.testing.assert_allclose(restored.predict(scratch.images, **options), scratch.logits, atol=1e-5)


def test_images_of_another_size_are_squashed_as_decoding_does_it(trained, plugins):
    from harness.data.decoding import resize

    crop = restore(trained["center crop"].weights, plugins, CPU)
    tall = np.random.default_rng(0).integers(0, 255, (3, 40, 30), dtype=np.uint8)
    squashed = np.stack([resize(image, 20) for image in tall])
    assert np.array_equal(crop.predict(tall), crop.predict(squashed))


def test_images_may_be_read_only_or_a_view(restored, scratch):
    images = scratch.images.copy()
    images.setflags(write=False)
    assert np.array_equal(restored.predict(images), restored.predict(scratch.images))
    assert np.array_equal(restored.predict(images[::-1])[::-1], restored.predict(scratch.images))


def test_no_images_have_no_logits(restored):
    assert restored.predict(np.empty((0, 16, 16), dtype=np.uint8)).shape == (0, 3)


@pytest.mark.parametrize(
    "images", [np.zeros((2, 16, 16)), np.zeros((16, 16), np.uint8), np.zeros((2, 1, 16, 16), np.uint8)]
)
def test_images_of_another_kind_are_refused(restored, images):
    with pytest.raises(DataError, match=r"images must be \(N, H, W\) uint8, got"):
        restored.predict(images)


def test_a_batch_of_nothing_is_refused(restored, scratch):
    with pytest.raises(UsageError, match="batch must be at least 1, got 0"):
        restored.predict(scratch.images, batch=0)


# --- initial weights -------------------------------------------------------------------------------------------------


def test_a_weight_file_is_initial_weights_as_before_with_what_it_says_and_without(trained, plugins, tmp_path):
    plain = tmp_path / "plain.safetensors"
    save_file(load_file(trained["batch norm"].weights), plain)
    found = []
    for file in (trained["batch norm"].weights, plain):
        row = Row(
            model="tiny-cnn",
            loss="bce",
            recipe="toy",
            params={"recipe": {"weights": str(file), "epochs": 1, "lr": 1e-9}},
        )
        found.append(train(tmp_path / file.stem, plugins, row))
    assert np.array_equal(found[0].logits, found[1].logits)
    again = restore(found[0].weights, plugins, CPU)
    assert (again.task.channels, again.task.mean) == (3, (0.485, 0.456, 0.406))
    assert np.array_equal(again.predict(found[0].images, batch=BATCH), found[0].logits)


# --- what cannot be restored -----------------------------------------------------------------------------------------


def test_a_file_of_tensors_alone_is_refused_with_the_way_out(scratch, plugins, tmp_path):
    plain = tmp_path / "plain.safetensors"
    save_file(load_file(scratch.weights), plain)
    with pytest.raises(
        WeightsError, match=r"plain\.safetensors was to be restored .* are missing; train the row again: .* --force$"
    ):
        restore(plain, plugins, CPU)


def test_a_file_that_is_not_there_or_none_is_refused(plugins, tmp_path):
    with pytest.raises(WeightsError, match=r"none\.safetensors .* there is no such file"):
        restore(tmp_path / "none.safetensors", plugins, CPU)
    (tmp_path / "noise.safetensors").write_bytes(b"noise")
    with pytest.raises(WeightsError, match=r"noise\.safetensors .* is no whole \.safetensors file"):
        restore(tmp_path / "noise.safetensors", plugins, CPU)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda said: said.update(format=2), r"newer harness \(format: "),
        (lambda said: said.pop("task"), r"\(task: Field required"),
        (lambda said: said["task"].update(more=1), r"\(task\.more: "),
    ],
)
def test_a_file_that_says_something_else_is_refused(scratch, plugins, tmp_path, change, says):
    with pytest.raises(WeightsError, match=says):
        restore(rewrite(scratch.weights, tmp_path / "w.safetensors", change), plugins, CPU)


def test_a_file_whose_words_are_damaged_is_refused(scratch, plugins, tmp_path):
    save_file(load_file(scratch.weights), tmp_path / "w.safetensors", {"harness": "{"})
    with pytest.raises(WeightsError, match="damaged or of a newer harness"):
        restore(tmp_path / "w.safetensors", plugins, CPU)


def test_a_model_that_no_plugin_offers_is_asked_for(scratch, registry, trained, plugins, tmp_path):
    with pytest.raises(UnknownNameError, match=r"unknown model 'toy-net'.*give its plugin by --plugin FILE"):
        restore(scratch.weights, registry, CPU)
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_that_name")
    with pytest.raises(UnknownNameError, match=r"--plugin FILE; not loaded: .*broken\.py"):
        restore(scratch.weights, load_registry([broken]), CPU)


def test_a_network_that_timm_has_no_more_is_named(trained, plugins, tmp_path):
    def change(said: dict[str, Any]) -> None:
        said["model"]["name"] = "timm/test_vat"

    with pytest.raises(UnknownNameError, match="unknown timm model 'test_vat': did you mean 'test_vit"):
        restore(rewrite(trained["timm"].weights, tmp_path / "w.safetensors", change), plugins, CPU)


def test_a_model_that_has_changed_its_tensors_is_refused_by_their_names(scratch, plugins):
    def build(task: Task, width: int = 8) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(task.size**2, len(task.labels)))

    with pytest.raises(WeightsError, match=r"'toy-net'\) does not fit .*: 6 tensors .*\(0\.bias, 0\.weight, 1\.bias"):
        restore(scratch.weights, with_model(plugins, Model(name="toy-net", build=build)), CPU)


def test_a_model_that_takes_a_parameter_no_more_or_does_not_build_is_named(scratch, plugins):
    def build(task: Task) -> torch.nn.Module:
        raise AssertionError

    def build_never(task: Task, width: int = 8) -> torch.nn.Module:
        raise RuntimeError("not today")

    with pytest.raises(UnknownNameError, match="unknown parameter of model 'toy-net' 'width'"):
        restore(scratch.weights, with_model(plugins, Model(name="toy-net", build=build)), CPU)
    with pytest.raises(PluginError, match="'toy-net' could not be built again: RuntimeError: not today"):
        restore(scratch.weights, with_model(plugins, Model(name="toy-net", build=build_never)), CPU)


def test_a_default_that_has_changed_since_does_not_matter(scratch, plugins):
    model = plugins.model("toy-net")

    def build(task: Task, width: int = 3) -> torch.nn.Module:
        network: torch.nn.Module = model.build(task, width=width)
        return network

    changed = restore(scratch.weights, with_model(plugins, Model(name="toy-net", build=build)), CPU)
    assert changed.params == {"width": 8}
    assert np.array_equal(changed.predict(scratch.images, batch=BATCH), scratch.logits)


def test_what_has_changed_since_training_is_said(scratch, plugins, tmp_path):
    model = dataclasses.replace(plugins.model("toy-net"), version=2)
    path = rewrite(scratch.weights, tmp_path / "w.safetensors", lambda said: said.update(engine=1))
    version, code, engine = restore(path, with_model(plugins, model, "another"), CPU).changes
    assert version == "model 'toy-net' was of version 1, now 2"
    assert code == "the code of the plugin that offers 'toy-net' has changed"
    assert engine.startswith("the training engine was of version 1, now ")
