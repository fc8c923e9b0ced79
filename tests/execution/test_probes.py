"""Rows that are probes: their records, files and use are those of any other row."""

from __future__ import annotations

import fcntl
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.board import Board, Row, board_text, row_text, save_board
from harness.choices import resolve
from harness.data.subsets import draw_subset
from harness.errors import WeightsError
from harness.evaluation.predictions import Predictions, load_predictions
from harness.execution import local, planning
from harness.execution.events import Event, Noted
from harness.execution.planning import Settings
from harness.execution.workers import WorkerOptions
from harness.registry import Registry, load_registry
from harness.results.layout import run_path
from harness.results.record import Record
from harness.serving.explanation import make_explainer
from harness.serving.hf_folder import write_hf
from harness.serving.loading import open_row
from harness.serving.onnx_file import write_onnx
from harness.testing.samples import make_task
from harness.training import embedding, heads
from harness.training.probe import ALIKE
from harness.tuning.trial import open_context, train
from tests.conftest import TOY

PROBES = TOY.with_name("probes.py")
RECIPES = ("toy-linear", "toy-flip", "toy-knn", "toy-few", "toy-few-trained", "toy-as-built")


@pytest.fixture(scope="module")
def probes() -> Registry:
    return load_registry([TOY, PROBES])


def make_board(folder: Path, rows: list[Row], **changes: Any) -> Board:
    choices: dict[str, Any] = {"objective": "auroc", "metrics": ("auroc", "f1"), "dataset": "toy", "seeds": (0,)}
    choices |= {"options": {"count": 96, "unknown": True}} | changes
    return Board(folder=folder, title="t", rows=tuple(rows), **choices)


def run(board: Board, registry: Registry, **changes: Any) -> dict[str, Any]:
    """Run a board; gives each record by its recipe."""
    settings = Settings(data_root=board.folder, cache=board.folder.parent / "cache", device="cpu", **changes)
    plan = planning.plan(board, registry, settings, lambda event: None)
    return {record.combo.recipe: record for record in local.run(plan, lambda event: None)}


@pytest.fixture(scope="module")
def board(tmp_path_factory, probes) -> Board:
    folder: Path = tmp_path_factory.mktemp("probes") / "board"
    made = make_board(folder, [Row(model="tiny-cnn", loss="bce", recipe=recipe) for recipe in RECIPES])
    save_board(folder, board_text(made, [row_text(["tiny-cnn"], ["bce"], list(RECIPES), {})]))
    return made


@pytest.fixture(scope="module")
def records(board, probes) -> dict[str, Any]:
    return run(board, probes)


def read(board: Board, record: Record, split: str = "test") -> Predictions:
    return load_predictions(run_path(board.folder, record.key) / f"predictions-{split}.npz")


def test_every_kind_of_probe_becomes_a_finished_record(records):
    assert {record.status for record in records.values()} == {"done"}
    assert all(record.metrics["auroc"].macro is not None for record in records.values())
    for name in ("toy-linear", "toy-flip", "toy-knn", "toy-few"):
        training, cost = records[name].training, records[name].efficiency
        assert (training.epochs, training.history, training.select_on) == (0, [], "loss")
        assert (training.probe.layer, training.probe.width) == ("18", 128)
        assert cost.embeddings[0].images == 96
        assert {"embed", "train", "predict val", "predict test"} <= cost.seconds.keys()
        assert cost.parameters > 128
    assert records["toy-as-built"].training.epochs == 0
    assert records["toy-as-built"].training.probe is None


def test_a_record_says_what_validation_chose_for_each_label(records, board, probes):
    strengths = records["toy-linear"].training.probe.strengths
    recipe = resolve(board.rows[0], probes).recipe
    assert len(strengths) == 3
    assert set(strengths.values()) <= set(recipe.strengths)
    assert set(records["toy-knn"].training.probe.neighbors.values()) <= {3, 9}
    assert all(loss > 0 for loss in records["toy-linear"].training.probe.losses.values())


def test_rows_that_are_shown_the_same_share_their_embeddings(records):
    linear, knn, flip = (records[name].efficiency.embeddings[0] for name in ("toy-linear", "toy-knn", "toy-flip"))
    assert linear == knn
    assert linear.key != flip.key


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_row_that_is_loaded_says_what_its_predictions_say(board, records, probes, recipe):
    row = open_row(f"{board.folder}::tiny-cnn--bce--{recipe}", probes, torch.device("cpu"))
    stored = read(board, records[recipe])
    data = probes.dataset("toy").load(Path(), count=96, unknown=True)
    places = {name: place for place, name in enumerate(data.table["image"])}
    images = [np.asarray(data.images[places[name]]) for name in stored.image]
    np.testing.assert_allclose(row.predict(images).logits, stored.logits, atol=1e-5)


def test_the_weight_file_of_a_probe_holds_its_head_alone_and_its_rest_is_checked(board, records, probes, monkeypatch):
    record = records["toy-linear"]
    assert (run_path(board.folder, record.key) / "weights.safetensors").stat().st_size < 10_000
    monkeypatch.setattr(embedding.Frozen, "digest", lambda self: "another")
    with pytest.raises(WeightsError, match="a frozen network that is not the one that its weights, 'random', give now"):
        open_row(f"{board.folder}::tiny-cnn--bce--toy-linear", probes, torch.device("cpu"))


@pytest.mark.parametrize("recipe", ["toy-linear", "toy-knn"])
def test_an_exported_folder_holds_the_whole_network(board, records, probes, recipe, tmp_path, monkeypatch):
    row = open_row(f"{board.folder}::tiny-cnn--bce--{recipe}", probes, torch.device("cpu"))
    path, config, card = write_hf(row, tmp_path)
    assert "Fitted" in card.read_text() or "train" in card.read_text()
    assert "random" not in config.read_text().partition('"frozen"')[2][:80]
    monkeypatch.setattr(embedding, "build_frozen", None)
    again = open_row(str(path), probes, torch.device("cpu"))
    images = np.random.default_rng(0).integers(0, 255, (3, 16, 16), dtype=np.uint8)
    assert np.array_equal(again.predict(images).logits, row.predict(images).logits)


@pytest.mark.parametrize(("recipe", "block"), [("toy-linear", 16), ("toy-knn", 16), ("toy-knn", 16_384)])
def test_an_onnx_file_takes_any_number_of_images(board, records, probes, recipe, block, tmp_path, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(heads, "BLOCK", block)
    row = open_row(f"{board.folder}::tiny-cnn--bce--{recipe}", probes, torch.device("cpu"))
    write_onnx(row, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    for count in (1, 5):
        images = np.random.default_rng(0).integers(0, 255, (count, 16, 16), dtype=np.uint8)
        (theirs,) = session.run(["logits"], {"pixels": images})
        np.testing.assert_allclose(theirs, row.predict(images).logits, atol=1e-4)


@pytest.mark.parametrize("recipe", ["toy-linear", "toy-knn"])
@pytest.mark.parametrize("method", ["grad-cam", "integrated-gradients"])
def test_a_probe_is_explained_by_heat_maps(board, records, probes, recipe, method):
    row = open_row(f"{board.folder}::tiny-cnn--bce--{recipe}", probes, torch.device("cpu"))
    images = torch.randint(0, 255, (2, 16, 16), dtype=torch.uint8)
    maps = make_explainer(row, probes, method).explain(images, [0, 1])
    assert maps.shape == (2, 16, 16)
    assert bool(maps.any())


def test_a_second_probe_builds_no_network(board, records, probes, monkeypatch):
    def refuse(*arguments: Any) -> None:
        raise AssertionError("a network was built")

    monkeypatch.setattr(embedding, "build_network", refuse)
    again = run(board, probes, only="*toy-linear", force=True)["toy-linear"]
    assert again.status == "done"
    assert again.artifacts == records["toy-linear"].artifacts


def test_few_patients_are_the_same_for_every_row_and_the_record_lets_anybody_check_them(board, records, probes):
    few, trained = (records[name].training.subset for name in ("toy-few", "toy-few-trained"))
    assert few == trained
    folder = run_path(board.folder, records["toy-few"].key)
    text = (folder / "training-patients.txt").read_text()
    assert hashlib.sha256(text.encode()).hexdigest() == few.digest
    assert records["toy-few"].artifacts["training-patients.txt"] == few.digest
    assert len(text.splitlines()) == few.patients
    assert 0 < few.images < records["toy-few"].dataset.splits["train"].images
    assert records["toy-linear"].dataset == records["toy-few"].dataset
    assert records["toy-linear"].training.subset is None


def test_a_label_that_few_patients_lack_gets_one_score_for_all_which_is_noted(tmp_path, probes):
    row = Row(model="tiny-cnn", loss="bce", recipe="toy-linear", params={"recipe": {"train_share": 0.001}})
    board = make_board(tmp_path / "board", [row], seeds=(2,))
    record = run(board, probes)["toy-linear"]
    (note,) = record.training.execution.notes
    assert note.startswith(f"{ALIKE} ")
    label = note.removeprefix(f"{ALIKE} ").split(", ")[0]
    stored = read(board, record)
    assert len(np.unique(stored.logits[:, stored.labels.index(label)])) == 1
    assert record.training.probe.strengths[label] is None


@pytest.mark.slow
def test_a_worker_that_waits_for_embeddings_says_so(tmp_path, probes):
    board = make_board(tmp_path / "board", [Row(model="tiny-cnn", loss="bce", recipe="toy-linear")])
    save_board(board.folder, board_text(board, [row_text(["tiny-cnn"], ["bce"], ["toy-linear"], {})]))
    run(board, probes)
    (folder,) = (tmp_path / "cache").glob("*/embeddings/*")
    (folder / "manifest.json").unlink()
    settings = Settings(data_root=board.folder, cache=tmp_path / "cache", device="cpu", force=True)
    plan = planning.plan(board, probes, settings, lambda event: None)
    told: list[str] = []
    with (folder / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def listen(event: Event) -> None:
            if isinstance(event, Noted):
                told.append(event.text)
                fcntl.flock(file, fcntl.LOCK_UN)

        options = WorkerOptions(settings=settings, devices=("cpu",), plugins=(TOY, PROBES))
        (record,) = local.run(plan, listen, options)
    assert record.status == "done"
    (text,) = told
    assert text.startswith(f"tiny-cnn--bce--toy-linear--s0: waiting for the embeddings in {folder}: process ")


@pytest.mark.parametrize("model", ["toy-convolutional", "toy-scaled"])
def test_a_network_without_a_last_linear_layer_is_refused_in_a_sentence(tmp_path, probes, model):
    board = make_board(tmp_path / "board", [Row(model=model, loss="bce", recipe="toy-linear")])
    record = run(board, probes)["toy-linear"]
    assert record.status == "failed"
    assert record.failure.kind == "plugin"
    assert "must be one torch.nn.Linear" in record.failure.message


def test_a_loss_of_ones_choice_is_refused(tmp_path, probes):
    rows = [Row(model="tiny-cnn", loss=loss, recipe="toy-linear") for loss in ("focal", "bce")]
    settings = Settings(data_root=tmp_path, cache=tmp_path / "cache", device="cpu")
    plan = planning.plan(make_board(tmp_path / "board", rows), probes, settings, lambda event: None)
    first, second = local.run(plan, lambda event: None)
    assert (first.status, second.status) == ("skipped", "done")
    assert first.failure is not None
    assert "name the loss 'bce' beside it" in first.failure.message


@pytest.mark.parametrize("recipe", ["toy-linear", "toy-knn", "toy-few", "toy-as-built"])
def test_a_trial_judges_a_probe_by_the_validation_of_its_row(board, records, probes, recipe):
    settings = Settings(data_root=board.folder, cache=board.folder.parent / "cache", device="cpu")
    context = open_context(board, probes, settings, "auroc", lambda event: None)
    found = train(context, Row(model="tiny-cnn", loss="bce", recipe=recipe), 0, lambda value, epoch: None)
    np.testing.assert_allclose(found.logits, read(board, records[recipe], "val").logits, atol=1e-5)


def test_a_subset_is_drawn_by_the_fingerprint_of_the_whole_data(board, records, probes):
    record = records["toy-few"]
    recipe = resolve(Row(model="tiny-cnn", loss="bce", recipe="toy-few"), probes).recipe
    settings = Settings(data_root=board.folder, cache=board.folder.parent / "cache", device="cpu")
    context = open_context(board, probes, settings, "auroc", lambda event: None)
    subset = draw_subset(context.by_size.at(16).prepared, recipe, record.dataset.fingerprint, 0)
    assert subset is not None
    assert subset.digest == record.training.subset.digest


def test_a_probe_of_a_weight_file_is_loaded_with_that_file_and_without_it_says_what_is_missing(tmp_path, probes):
    from safetensors.torch import save_file

    weights, model = tmp_path / "w.safetensors", probes.model("tiny-cnn")
    save_file(model.build(make_task(channels=3, labels=3), width=16).state_dict(), weights)
    row = Row(model="tiny-cnn", loss="bce", recipe="toy-linear", params={"recipe": {"weights": str(weights)}})
    board = make_board(tmp_path / "board", [row])
    save_board(board.folder, board_text(board, [row_text(["tiny-cnn"], ["bce"], ["toy-linear"], row.params)]))
    record = run(board, probes)["toy-linear"]
    path = str(run_path(board.folder, record.key) / "weights.safetensors")
    images = np.random.default_rng(0).integers(0, 255, (3, 16, 16), dtype=np.uint8)
    assert open_row(path, probes, torch.device("cpu")).predict(images).logits.shape == (3, 3)
    weights.unlink()
    with pytest.raises(WeightsError, match=r"w\.safetensors"):
        open_row(path, probes, torch.device("cpu"))
