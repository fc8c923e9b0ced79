"""The bundled board nih-paper: each row's parameters, held to what the paper's scripts are known to have done."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.board import Board, bundled_text, parse_board
from harness.choices import resolve_rows
from harness.parameters import recipe_values
from harness.results.store import read_records

CROPS = {"augment.crop_scale": (0.08, 1.0), "load_size": 256, "evaluate_at": "center-crop"}
EARLY = CROPS | {"optimizer": "adam", "lr": 1e-4, "batch_size": 16}
FAST = CROPS | {"optimizer": "adam", "lr": 5e-5, "batch_size": 16, "epochs": 15}
DACNET = CROPS | {"optimizer": "adamw", "lr": 5e-5, "batch_size": 8, "epochs": 25}
JITTER = {"augment.brightness": 0.1, "augment.contrast": 0.1}
ONE_CYCLE = {"schedule.kind": "one-cycle"}
USUAL = {
    "weight_decay": 1e-5,
    "schedule.kind": "plateau",
    "schedule.watch": "loss",
    "schedule.patience": 1,
    "schedule.factor": 0.1,
    "schedule.warmup": 0.0,
    "size": 224,
    "load_size": 224,
    "evaluate_at": "resize",
    "augment.flip": True,
    "augment.rotation": 0.0,
    "augment.shift": 0.0,
    "augment.crop_scale": None,
    "augment.brightness": 0.0,
    "augment.contrast": 0.0,
    "weights": "imagenet",
    "select_on": "auroc",
    "patience": 5,
    "label_smoothing": 0.0,
    "average_decay": None,
    "gradient_clip": None,
    "freeze_epochs": 0,
}
"""What a script does unless its line says otherwise."""
SCRIPTS = {
    "CheXNet replica": ("chexnet", "bce", {"optimizer": "adam", "lr": 1e-3, "batch_size": 16, "epochs": 20}),
    "DACNet": ("chexnet", "focal", DACNET | JITTER),
    "ViT": (
        "vit-b16",
        "bce",
        {
            "optimizer": "adam",
            "lr": 1e-4,
            "batch_size": 16,
            "epochs": 20,
            "schedule.patience": 3,
            "augment.flip": False,
        },
    ),
    "pignet": ("chexnet", "bce", EARLY | {"epochs": 18}),
    "AdamW": ("chexnet", "bce", FAST | {"optimizer": "adamw"}),
    "brightness and contrast": ("chexnet", "bce", FAST | JITTER),
    "cosine": ("chexnet", "bce", FAST | {"schedule.kind": "cosine"}),
    "one-cycle": ("chexnet", "bce", FAST | ONE_CYCLE | {"lr": 1e-3}),
    "focal, 12 epochs": ("chexnet", "focal", DACNET | JITTER | {"epochs": 12}),
    "ten-crop": ("chexnet", "focal", DACNET | JITTER | {"evaluate_at": "ten-crop"}),
    "ResNet-50": ("resnet50", "bce", FAST | JITTER | {"optimizer": "adamw", "epochs": 12}),
    "ResNet-50 from CheSS": (
        "resnet50",
        "bce",
        EARLY | {"epochs": 20, "schedule.patience": 3, "weights": "chess-resnet50.pth"},
    ),
    "EfficientNet-B3": (
        "efficientnet-b3",
        "bce",
        DACNET
        | ONE_CYCLE
        | {"lr": 0.01, "weight_decay": 1e-4, "batch_size": 128, "epochs": 20, "size": 300, "load_size": 343}
        | {"augment.rotation": 15.0, "augment.brightness": 0.2, "augment.contrast": 0.2},
    ),
    "DenseNet with a transformer": ("chexnet-transformer", "bce", EARLY | {"batch_size": 32, "epochs": 50}),
    "auc_chexnet": ("chexnet", "bce", EARLY | {"epochs": 20}),
    "auc_chexnet with demographics": ("chexnet-demographics", "bce", EARLY | {"batch_size": 32, "epochs": 20}),
    "auc_chexnet with others' demographics": (
        "chexnet-demographics-permuted",
        "bce",
        EARLY | {"batch_size": 32, "epochs": 20},
    ),
    "oversampled pneumonia": ("chexnet", "focal", EARLY | {"lr": 1e-3, "epochs": 20, "oversample.Pneumonia": 0.5}),
}
"""Title -> model, loss, and what differs from `USUAL`."""
OTHER_SPLITS = {
    "ViT": "by patient of 60/20/20",
    "ResNet-50 from CheSS": "by patient of 60/20/20",
    "EfficientNet-B3": "by image of 60/20/20",
    "DenseNet with a transformer": "by image",
    "auc_chexnet": "by image",
    "auc_chexnet with demographics": "by image",
    "oversampled pneumonia": "by image",
}
"""Rows whose scripts had another split than the board's, and which."""


@pytest.fixture(scope="module")
def paper() -> Board:
    return parse_board(bundled_text("nih-paper") or "", Path("nih-paper"))


def test_each_row_has_the_parameters_of_its_script(paper, registry):
    resolved = {choices.row.title: choices for choices in resolve_rows(paper, registry).values()}
    assert list(resolved) == list(SCRIPTS)
    for title, (model, loss, differs) in SCRIPTS.items():
        choices = resolved[title]
        assert (choices.model.name, choices.loss.name) == (model, loss), title
        found = recipe_values(choices.recipe)
        wanted = USUAL | differs
        assert {name: found.get(name) for name in wanted} == wanted, title
        assert [name for name in found if name.startswith("oversample")] == [n for n in differs if "oversample" in n]
        if loss == "focal":
            assert choices.loss_params == {"alpha": 1.0, "gamma": 2.0}, title


def test_all_rows_are_on_the_split_of_dacnet_and_say_where_the_paper_had_another(paper):
    assert (paper.dataset, paper.options) == ("nih-cxr14", {"split": "dacnet"})
    assert "f1@val-f1:Pneumonia" in paper.metrics  # the script that decided pneumonia alone at its own threshold
    for row in paper.rows:
        assert row.about, row.title
        other = OTHER_SPLITS.get(row.title)
        assert ("on a split by" in row.about) == (other is not None), row.title
        assert other is None or other in row.about


def test_one_row_gets_demographics_and_another_those_of_other_images(paper, registry):
    tables = {choices.row.title: choices.model.inputs for choices in resolve_rows(paper, registry).values()}
    told = {title: (inputs.table, inputs.permuted) for title, inputs in tables.items() if inputs.table}
    assert told == {
        "auc_chexnet with demographics": (("age", "sex", "view"), False),
        "auc_chexnet with others' demographics": (("age", "sex", "view"), True),
    }


def run_on_sample(harness, sample: Path, rows: str, size: int) -> str:
    """Run these rows for an epoch on real images, small and from random weights; gives what was said."""
    small = [part for name in ("weights=random", "epochs=1", f"size={size}") for part in ("--set", f"recipe.{name}")]
    where = ("--board", "b", "--data-root", str(sample), "--option", "allow_missing=true", "--seeds", "0")
    code, _, err = harness("run", "nih-paper", "--only", rows, *where, *small)
    assert code == 0, err
    said: str = err
    return said


@pytest.mark.exhaustive
@pytest.mark.slow
def test_rows_with_demographics_leave_records_of_real_images(harness, sample):
    run_on_sample(harness, sample, "chexnet-demographics*", size=64)
    told, control = sorted(read_records(Path("b")).records, key=lambda record: record.combo.model)
    assert (told.status, control.status) == ("done", "done")
    assert told.dataset.table == control.dataset.table is not None
    assert told.training is not None
    assert control.training is not None
    assert any("this is a control" in note for note in control.training.execution.notes)
    assert not any("this is a control" in note for note in told.training.execution.notes)


@pytest.mark.slow
def test_rows_with_focal_focal_loss_leave_records_of_real_images(harness, sample):
    err = run_on_sample(harness, sample, "chexnet--focal--dacnet*", size=32)
    assert "'DACNet' and 'focal, 12 epochs' are one row" in err
    records = read_records(Path("b")).records
    assert [record.status for record in records] == ["done"] * 3
    for record in records:
        assert set(record.metrics) >= {"auroc", "f1@val-f1:Pneumonia"}
        halves = {label: value for label, value in record.thresholds["val-f1:Pneumonia"].items() if value == 0.5}
        assert set(halves) >= set(record.dataset.labels) - {"Pneumonia"}
    recipes = [record.combo.resolved["recipe"] for record in records]
    assert sum(recipe.get("oversample.Pneumonia") == 0.5 for recipe in recipes) == 1
    assert sum(recipe["evaluate_at"] == "ten-crop" for recipe in recipes) == 1
