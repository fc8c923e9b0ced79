"""Networks that get a table beside images: each image's own row, however a training is executed.

The network `witness` of the fixture says by how many grey values an image and its row are apart, which are alike.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from harness import DataError, UsageError
from harness.board import Board, Row
from harness.data.columns import permute_rows
from harness.data.placement import place
from harness.errors import HarnessError
from harness.evaluation.predictions import load_predictions
from harness.execution import local, planning
from harness.execution.job import Job
from harness.execution.keys import find_current_keys
from harness.execution.planning import Settings
from harness.registry import Registry, load_registry
from harness.results.record import Record
from harness.results.store import read_records
from harness.training.build import set_up
from harness.training.checkpoint import Checkpoint
from harness.training.engine import EngineOptions
from harness.training.fit import Training
from harness.training.restore import restore
from harness.training.setup import stream
from tests.training import tape

FIXTURES = Path(__file__).parents[1] / "fixtures"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def plugins() -> Registry:
    found = load_registry([FIXTURES / "toy.py", FIXTURES / "told.py"])
    assert not found.problems
    return found


@dataclasses.dataclass(frozen=True)
class Ran:
    """Rows that were run."""

    jobs: tuple[Job, ...]
    records: tuple[Record, ...]

    def file(self, name: str, number: int = 0) -> Path:
        return self.jobs[number].board.folder / "runs" / self.records[number].key / name


@pytest.fixture
def run(plugins, tmp_path) -> Callable[..., Ran]:
    """Run rows of some models on the dataset `told`."""

    def go(
        *models: str, options: dict[str, Any] | None = None, engine: EngineOptions | None = None, **recipe: Any
    ) -> Ran:
        rows = tuple(Row(model=model, loss="bce", recipe="toy", params={"recipe": recipe}) for model in models)
        board = Board(
            folder=tmp_path / "board", title="t", objective="auroc", metrics=("auroc",), dataset="told",
            options=options or {}, rows=rows,
        )  # fmt: skip
        settings = Settings(
            data_root=tmp_path, cache=tmp_path / "cache", device="cpu", engine=engine or EngineOptions()
        )
        planned = planning.plan(board, plugins, settings, lambda _: None)
        jobs = tuple(one.job for one in planned)
        records = {record.combo.name: record for record in local.run(planned, lambda _: None)}
        return Ran(jobs, tuple(records[job.combo.name] for job in jobs))

    return go


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "streamed": {"engine": EngineOptions(placement="streamed")},
    "captured": {"engine": EngineOptions(graphs=True)},
    "captured and streamed": {"engine": EngineOptions(graphs=True, placement="streamed")},
    "compiled": {"engine": EngineOptions(compile="on")},
    "oversampled": {"oversample": {"first": 0.6}},
    "in parts": {"micro_batch": 4},
    "ten crops": {"evaluate_at": "ten-crop", "load_size": 20},
    "averaged": {"average_decay": 0.9},
    "augmented": {"augment": {"flip": True, "crop_scale": [0.5, 1.0]}, "evaluate_at": "flip"},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_image_is_seen_with_its_own_row(run, way, monkeypatch):
    made = WAYS[way]
    if "captured" in way:
        for module in ("preparation", "prediction"):
            monkeypatch.setattr(f"harness.training.{module}.decide_graph", lambda engine, device: engine.graphs)
            monkeypatch.setattr(
                f"harness.training.{'step' if module == 'preparation' else module}.capture", tape.capture
            )
    if way == "compiled":
        compile_ = torch.compile
        monkeypatch.setattr(torch, "compile", lambda network, **more: compile_(network, **more, backend="eager"))
    ran = run("witness", **made)
    (record,) = ran.records
    assert record.status == "done", record.failure
    assert record.training is not None
    execution = record.training.execution
    assert (execution.step == "graph", execution.compiled) == ("captured" in way, way == "compiled")
    assert execution.placement == ("streamed" if "streamed" in way else "resident")
    weights = load_file(ran.file("weights.safetensors"))
    assert weights["steps"] >= 5
    assert weights["apart"] < 0.01
    for split in ("val", "test"):
        assert np.abs(load_predictions(ran.file(f"predictions-{split}.npz")).logits).max() < 0.01


def test_of_a_permuted_table_images_have_rows_of_others(run):
    ran = run("witness-permuted")
    (record,) = ran.records
    assert load_file(ran.file("weights.safetensors"))["apart"] > 20
    assert np.abs(load_predictions(ran.file("predictions-test.npz")).logits).max() > 20
    assert record.training is not None
    assert any("this is a control" in note for note in record.training.execution.notes)


def test_a_record_says_of_how_many_images_values_are_missing(run):
    (record,) = run("told-net").records
    assert record.training is not None
    assert "the network was not told age of 14 of 96 images, which lack it" in record.training.execution.notes
    assert "the network was not told sex of 32 of 96 images, which lack it" in record.training.execution.notes


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"lacking": "age"}, "the dataset's table has no column age"),
        ({"unknown": "view"}, "no training image has a known view"),
    ],
)
def test_where_a_column_says_nothing_the_row_is_skipped_and_others_are_run(run, options, says):
    told, untold = run("told-net", "untold-net", options=options).records
    assert (told.status, untold.status) == ("skipped", "done")
    assert told.failure is not None
    assert says in told.failure.message


# --- the network comes back ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["told-net", "told-net-permuted"])
def test_restored_it_says_of_images_and_rows_what_it_said(run, plugins, model):
    ran = run(model)
    data = ran.jobs[0].prepared.data
    images, test = ran.jobs[0].prepared.images, data.table["split"].to_numpy() == "test"
    table = data.table
    if model.endswith("permuted"):
        table = table.iloc[permute_rows(table["split"].to_numpy(dtype=str), stream(0, "table"))]
    restored = restore(ran.file("weights.safetensors"), plugins, CPU)
    found = restored.predict(images[test], table[test])
    np.testing.assert_array_equal(found, load_predictions(ran.file("predictions-test.npz")).logits)
    other = restored.predict(images[test], table[test].assign(age=None))  # nothing is known of age
    assert np.isfinite(other).all()
    assert not np.array_equal(other, found)


def test_what_a_restored_network_is_told_must_fit(run, plugins):
    ran = run("told-net", "untold-net")
    images, table = ran.jobs[0].prepared.images, ran.jobs[0].prepared.data.table
    told, untold = (restore(ran.file("weights.safetensors", number), plugins, CPU) for number in (0, 1))
    wrong: tuple[tuple[Any, type[HarnessError], str], ...] = (
        (None, UsageError, "gets age, sex, view beside each image: give them by table"),
        (table[:5], DataError, "a row for each of the 96 images, and has 5"),
        (table.drop(columns="sex"), DataError, "the table has no column sex"),
        (table.assign(age="old"), DataError, "the column age must hold numbers, and has 'old'"),
    )
    for given, kind, says in wrong:
        with pytest.raises(kind, match=says):
            told.predict(images, given)
    with pytest.raises(UsageError, match="images alone"):
        untold.predict(images, table)


def test_an_interrupted_training_ends_bit_for_bit_as_one_that_was_not(run, tmp_path):
    job = run("told-net", average_decay=0.9, augment={"flip": True}, epochs=4).jobs[0]

    def begin(folder: str) -> Training:
        (tmp_path / folder).mkdir(exist_ok=True)
        setup = set_up(job.choices, job.prepared, place(job.prepared, CPU), 0, {}, EngineOptions())
        recipe = dataclasses.replace(setup.recipe, select_on="loss")
        return Training(dataclasses.replace(setup, recipe=recipe), lambda _: Checkpoint(tmp_path / folder, {}))

    whole = begin("whole")
    list(whole.epochs())
    for epoch in begin("cut").epochs():
        if epoch.number == 2:
            break
    resumed = begin("cut")
    assert len(list(resumed.epochs())) == 4
    for name, tensor in resumed.setup.network.state_dict().items():
        assert torch.equal(tensor, whole.setup.network.state_dict()[name]), name
    assert torch.equal(resumed.predictor.logits("test"), whole.predictor.logits("test"))


# --- its identity ----------------------------------------------------------------------------------------------------


def test_a_changed_age_makes_the_row_that_is_told_it_stale_and_no_other(run, plugins):
    before = run("told-net", "untold-net")
    dataset = plugins.dataset("told")

    def load(root: Path, *, lacking: str = "", unknown: str = "", older: int = 0) -> Any:
        return dataset.load(root, older=1)

    changed = dataclasses.replace(dataset, load=load)
    offers = dict(plugins.offers)
    offers["dataset"] = {**offers["dataset"], "told": dataclasses.replace(offers["dataset"]["told"], component=changed)}
    board = before.jobs[0].board
    settings = Settings(data_root=board.folder.parent, cache=board.folder.parent / "cache", device="cpu")
    again = planning.plan(board, dataclasses.replace(plugins, offers=offers), settings, lambda _: None)
    assert [one.reason is None for one in again] == [False, True]
    same = planning.plan(board, plugins, settings, lambda _: None)
    assert [one.reason for one in same] == [None, None]
    current = find_current_keys(board, plugins, before.records)  # which is told without data
    assert sorted(current.keys.values()) == sorted(record.key for record in before.records)


# --- what it is good for ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_where_findings_follow_age_the_table_helps_and_a_permuted_one_does_not(harness):
    sizes = {"train": 800, "val": 150, "test": 400, "size": 32, "difficulty": 3, "age_effect": 1}
    options = [part for name, value in sizes.items() for part in ("--option", f"{name}={value}")]
    recipe = {"epochs": 6, "batch_size": 32, "size": 32, "load_size": 32}
    changes = [part for name, value in recipe.items() for part in ("--set", f"recipe.{name}={value}")]
    models = ("told-net", "untold-net", "told-net-permuted")
    plugin = ("--plugin", str(FIXTURES / "toy.py"), "--plugin", str(FIXTURES / "told.py"))
    board = ("--board", "b", "--seeds", "0,1,2")
    chosen = ("--dataset", "phantom", "--models", ",".join(models), "--losses", "bce", "--recipes", "toy")
    code, _, err = harness("run", *chosen, *plugin, *board, *options, *changes)
    assert code == 0, err
    names = {record.combo.model: record.combo.row for record in read_records(Path("b")).records}
    told, untold, permuted = (names[model] for model in models)

    def compare(row: str) -> dict[str, Any]:
        code, out, err = harness("compare", f"b::{row}", f"b::{untold}", "--metrics", "auroc", "--json", *plugin)
        assert code == 0, err
        (pair,) = json.loads(out)["pairs"]
        return {**pair, "sign": 1 if pair["a"] == f"b::{row}" else -1}

    gain, control = compare(told), compare(permuted)
    low, _ = sorted(gain["sign"] * limit for limit in gain["interval"])
    assert low > 0
    low, _ = sorted(control["sign"] * limit for limit in control["interval"])
    assert low < 0
