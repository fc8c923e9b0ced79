"""A row as an ONNX file says what torch says; its folder for a hub says what is known of it, and what is not."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from harness.errors import DataError
from harness.evaluation.parts import MapsPart
from harness.registry import Registry, load_registry
from harness.results.record import OutsideLabel, OutsidePart
from harness.results.store import read_records
from harness.serving import onnx_file
from harness.serving.claim import ITEMS
from harness.serving.model_card import render_card
from harness.serving.onnx_file import write_onnx
from harness.serving.rows import LoadedRow
from harness.training.weight_file import read_weight_file
from tests.serving.untrained import LABELS, make_row

ROW = "tiny-cnn--bce--toy"
ODD = """
import torch
from torch import nn

from harness import Model, hookimpl


class Net(nn.Module):
    def __init__(self, task, kind):
        super().__init__()
        self.kind, self.head = kind, nn.Linear(task.size, len(task.labels))

    def forward(self, images):
        rows = images[:, 0]
        if self.kind == "operator":
            return self.head(torch.linalg.eigvalsh(rows @ rows.transpose(1, 2)))
        if self.kind == "choice" and rows.sum() > 0:
            return self.head(rows.mean(1))
        if self.kind == "count" and len(rows) == 2:
            return 2 * self.head(rows.mean(1))
        return self.head(rows.mean(2))


@hookimpl
def harness_models():
    kinds = ("operator", "choice", "count")
    return [Model(name=f"odd-{kind}", build=lambda task, kind=kind: Net(task, kind)) for kind in kinds]
"""
FAMILIES = (
    *("test_vit", "test_convnext", "test_efficientnet", "test_resnet", "swin_tiny_patch4_window7_224"),
    *("mobilenetv3_small_050", "regnetx_002", "ghostnet_050", "repvgg_a0", "lcnet_050"),
)
"""Not dla46_c: with random weights, torch itself rounds its logits by 0.0001."""
BUNDLED = (
    *("tiny-cnn", "chexnet", "chexnet-transformer", "chexnet-demographics", "chexnet-demographics-permuted"),
    *("efficientnet-b0", "efficientnet-b3", "resnet50", "vit-b16", "convnext-tiny"),
)
LIKE_OTHERS = ("chexnet-demographics-permuted", "efficientnet-b3", "resnet50")
"""Networks that a smaller one with the same operators stands for."""


def run_onnx(path: Path, row: LoadedRow, count: int) -> tuple[Any, Any]:
    """Logits by onnxruntime and by the row, of the same random images."""
    draw = np.random.default_rng(7)
    images = draw.integers(0, 256, (count, row.size, row.size), dtype=np.uint8)
    given: dict[str, Any] = {"pixels": images}
    table = None
    if row.columns:
        import pandas as pd

        table = pd.DataFrame({"age": draw.integers(20, 90, count), "sex": ["F", "M", ""][:count], "view": "PA"})
        given["table"] = row.members[0].encode(table, count)
    session = onnxruntime.InferenceSession(str(path))
    return session.run(["logits"], given)[0], row.predict(images, table).logits


def test_it_takes_any_number_of_images_and_says_what_the_row_says(registry, tmp_path):
    row = make_row("tiny-cnn", registry, tmp_path, size=32)
    assert write_onnx(row, tmp_path / "model.onnx") <= 1e-4
    for count in (1, 3):
        theirs, ours = run_onnx(tmp_path / "model.onnx", row, count)
        np.testing.assert_allclose(theirs, ours, atol=1e-4)
    assert np.ptp(ours, axis=0).max() > 1e-3
    said = {one.key: one.value for one in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert json.loads(said["labels"]) == list(LABELS)
    assert json.loads(said["thresholds"])["val-f1"] == {"Edema": 0.3, "Mass": 0.2, "Nodule": None}
    assert json.loads(said["calibration"])["platt"]["Edema"] == [0.9, -0.1]
    assert "squashed to 32 x 32" in said["preparation"]
    assert (said["batch"], said["precision"], said["policy"]) == ("any", "float32", "val-f1")
    assert json.loads(said["harness"])["model"]["name"] == "tiny-cnn"


@pytest.mark.parametrize("evaluate_at", ["resize", "flip", "center-crop", "ten-crop"])
def test_resizing_crops_and_mirrored_views_are_inside(registry, tmp_path, evaluate_at):
    row = make_row("tiny-cnn", registry, tmp_path, size=32, load_size=40, evaluate_at=evaluate_at)
    write_onnx(row, tmp_path / "model.onnx", batch=2)
    theirs, ours = run_onnx(tmp_path / "model.onnx", row, 2)
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_a_file_that_differs_from_torch_never_appears(registry, tmp_path, monkeypatch):
    row = make_row("tiny-cnn", registry, tmp_path, size=32)
    monkeypatch.setattr(onnx_file, "TOLERANCE", -1.0)
    with pytest.raises(DataError, match=r"logits by onnxruntime are .* from those by torch"):
        write_onnx(row, tmp_path / "model.onnx", batch=1)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Registry:
    file: Path = tmp_path_factory.mktemp("plugin") / "odd.py"
    file.write_text(ODD)
    return load_registry([file])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("operator", r"^odd-operator cannot be written as ONNX: ONNX has no operator for aten\._linalg_eigh; "),
        ("choice", "^odd-choice cannot be written as ONNX: its graph cannot be traced"),
        ("count", "for any number of images: its graph depends on their number; fix it by --batch N"),
    ],
)
def test_what_has_no_translation_is_refused_by_name(odd, tmp_path, capsys, kind, says):
    with pytest.raises(DataError, match=says):
        write_onnx(make_row(f"odd-{kind}", odd, tmp_path, size=16), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *(name for name in BUNDLED if name not in LIKE_OTHERS),
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in (*LIKE_OTHERS, *(f"timm/{name}" for name in FAMILIES))
        ),
    ],
)
def test_each_network_says_the_same_by_onnxruntime(registry, tmp_path, name):
    row = make_row(name, registry, tmp_path, size=224 if "swin" in name else 64)
    assert write_onnx(row, tmp_path / "model.onnx") <= 1e-4
    theirs, ours = run_onnx(tmp_path / "model.onnx", row, 3)
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-4)
    assert np.ptp(ours, axis=0).max() > 1e-3, "a network that says the same of all images shows nothing"


def test_the_list_of_bundled_models_is_whole(registry):
    assert set(BUNDLED) == set(registry.offers["model"]) - {
        name for name in registry.offers["model"] if name.endswith("/*")
    }


# --- the folder for a hub --------------------------------------------------------------------------------------------


def test_a_folder_holds_weights_config_and_a_card(harness, toy_board, small_data):
    row = f"{toy_board}::{ROW}"
    code, out, err = harness("export", row, "--to", "hf", "--out", "folder", "--seeds", "1")
    assert (code, err) == (0, "")
    assert out.split() == ["folder/model.safetensors", "folder/config.json", "folder/README.md"]
    config = json.loads(Path("folder/config.json").read_text())
    assert config["id2label"] == {"0": "first", "1": "second", "2": "third"}
    assert harness("predict", "folder/model.safetensors", "toy", "--out", "ours.npz")[0] == 0
    assert harness("predict", row, "toy", "--seeds", "1", "--out", "theirs.npz")[0] == 0
    with np.load("ours.npz") as ours, np.load("theirs.npz") as theirs:
        assert np.array_equal(ours["logits"], theirs["logits"])


def test_a_folder_whose_last_file_cannot_be_written_does_not_appear(harness, toy_board, monkeypatch):
    written: list[int] = []
    fsync = os.fsync

    def fill_up(handle: int) -> None:
        written.append(handle)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fill_up)
    code, out, err = harness("export", f"{toy_board}::{ROW}", "--to", "hf", "--out", "folder")
    assert (code, out) == (2, "")
    assert "cannot write folder: No space left on device; make room or choose another folder" in err
    assert not Path("folder").exists()
    assert not list(Path().glob(".tmp-*"))


def test_the_card_says_what_the_record_says_and_what_is_unknown(harness, toy_board):
    harness("export", f"{toy_board}::{ROW}", "--to", "hf", "--out", "folder")
    card = Path("folder/README.md").read_text()
    record = next(r for r in read_records(toy_board).records if (r.combo.row, r.combo.seed) == (ROW, 0))
    brier = record.metrics["brier"]
    assert brier.interval is not None
    assert f"| Brier | {brier.macro:.3f} | [{brier.interval[0]:.3f}, {brier.interval[1]:.3f}] | 3 |" in card
    assert f"| test | {record.dataset.splits['test'].images} | {record.dataset.splits['test'].patients} | 0 |" in card
    for heading in ("Use", "Intended use and limits", "Data", "Results on the test split", "Subgroups", "Calibration"):
        assert f"\n## {heading}" in card
    assert "| has seen | toy (training and validation images of a row that the harness trained) |" in card
    items = [line.split(" | ") for line in card.partition("| item |")[2].splitlines()[2:]]
    assert len(items) == len(ITEMS) == 44
    assert next(line for line in items if "Funding" in line[1])[2] == "unknown |"
    assert "\n\n\n" not in card
    assert " None" not in card.replace("None: ", "")


def test_a_card_of_a_weight_file_alone_says_that_results_are_unknown(harness, registry, tmp_path):
    row = make_row("tiny-cnn", registry, tmp_path, size=32)
    assert harness("export", str(row.weights[0]), "--to", "hf", "--out", "folder")[0] == 0
    card = Path("folder/README.md").read_text()
    assert card.count("this card was made from the weight file alone") == 2
    assert "| has seen | unknown |" in card
    assert "AUROC" not in card


def test_the_command_writes_an_onnx_file(harness, toy_board):
    code, out, err = harness("export", f"{toy_board}::{ROW}", "--to", "onnx", "--out", "folder", "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["files"] == ["folder/model.onnx"]
    assert document["difference"] <= 1e-4
    assert Path("folder/model.onnx").is_file()
    code, _, err = harness("export", f"{toy_board}::{ROW}", "--to", "hf", "--out", "folder", "--batch", "3")
    assert code == 2
    assert "only an ONNX file has a batch" in err


def test_the_card_of_a_probe_does_not_say_that_its_network_was_trained(toy_board):
    record = next(r for r in read_records(toy_board).records if (r.combo.row, r.combo.seed) == (ROW, 0))
    part, _ = read_weight_file(toy_board / "runs" / record.key / "weights.safetensors")
    assert "trained with bce on toy" in render_card(part, record, ())
    resolved = record.combo.resolved | {"recipe": record.combo.resolved["recipe"] | {"train": "head"}}
    probe = record.model_copy(update={"combo": record.combo.model_copy(update={"resolved": resolved})})
    card = render_card(part, probe, ())
    assert "frozen, with a linear probe fitted on toy" in card
    assert "trained with bce" not in card


def test_a_card_says_what_was_measured_on_other_data_and_of_heat_maps(toy_board, registry):
    record = next(r for r in read_records(toy_board).records if (r.combo.row, r.combo.seed) == (ROW, 0))
    part, _ = read_weight_file(toy_board / "runs" / record.key / "weights.safetensors")
    alone = render_card(part, record, ())
    assert "on one dataset" in alone
    assert "| 33 | Testing on external data | None: the record holds no outside test |" in alone
    maps = MapsPart(about="Grad-CAM", images=1, patients=1, baselines={})
    found = OutsidePart(
        dataset="elsewhere",
        options={"seed": 5},
        splits=["test"],
        status="done",
        metrics=record.metrics,
        labels={"first": OutsideLabel(others=["one"]), "second": OutsideLabel(others=[])},
        provenance=record.provenance,
    )
    failed = found.model_copy(update={"dataset": "nowhere", "status": "failed"})
    metrics = record.metrics | {"pointing": record.metrics["auroc"].model_copy(update={"maps": maps})}
    known = record.model_copy(update={"outside": {"a": found, "b": failed}, "metrics": metrics})
    card = render_card(part, known, ("<script> is a label",))
    assert "\n&lt;script> is a label.\n" in card
    assert "### elsewhere with seed = 5 (test); 1 of 2 labels have a counterpart there" in card
    assert "on one dataset" not in card
    assert "nowhere" not in card
    assert "| 31 | Explainability or interpretability | Grad-CAM held against boxes: pointing |" in card
    assert "\n\n\n" not in card
