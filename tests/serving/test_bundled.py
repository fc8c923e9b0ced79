"""A row of each bundled model says of test images what its board has stored."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from harness.board import Board, Row
from harness.evaluation.predictions import Predictions, load_predictions
from harness.execution import local, planning
from harness.execution.planning import Settings
from harness.registry import Registry
from harness.serving.images import take_data
from harness.serving.loading import open_row
from harness.serving.rows import LoadedRow

MODELS = {
    "tiny-cnn": {},
    "chexnet": {},
    "chexnet-transformer": {},
    "chexnet-demographics": {},
    "timm/test_vit": {},
    "timm/test_convnext": {},
    "timm/test_efficientnet": {},
    "tiny-cnn in bf16": {"precision": "bf16"},
}
SMALL = {"epochs": 1, "batch_size": 8, "size": 64, "load_size": 64, "precision": "float32"}
OPTIONS = {"train": 48, "val": 40, "test": 40, "size": 64}
ONE_BY_ONE = {"float32": 1e-5, "bf16": 0.05}
"""How far logits may be that were predicted one by one: bf16 has eight bits, and other batches other sums."""


@pytest.fixture(scope="module", params=MODELS)
def trained(request, registry: Registry, tmp_path_factory) -> tuple[Path, LoadedRow, Predictions]:
    """A weight file in an empty folder, the row that it holds, and what its board has stored."""
    folder: Path = tmp_path_factory.mktemp("row")
    row = Row(
        model=request.param.split()[0], loss="bce", recipe="demo", params={"recipe": {**SMALL, **MODELS[request.param]}}
    )
    board = Board(
        folder=folder / "board",
        title="t",
        objective="auroc",
        metrics=("auroc",),
        dataset="phantom",
        options=dict(OPTIONS),
        rows=(row,),
    )
    settings = Settings(data_root=folder, cache=folder / "cache", device="cpu")
    (record,) = local.run(planning.plan(board, registry, settings, lambda _: None), lambda _: None)
    assert record.status == "done", record.failure
    run = board.folder / "runs" / record.key
    (folder / "empty").mkdir()
    weights = Path(shutil.copy(run / "weights.safetensors", folder / "empty" / "weights.safetensors"))
    loaded = open_row(str(weights), registry, torch.device("cpu"))
    return weights, loaded, load_predictions(run / "predictions-test.npz")


@pytest.mark.slow
def test_its_weight_file_alone_gives_the_stored_predictions(trained, registry):
    _, row, stored = trained
    data = registry.dataset("phantom").load(Path(), **OPTIONS)
    source = take_data(data, "test", row.size, row.scale)
    (found,) = row.stream(source, batch=row.batch)
    assert list(found.image) == stored.image.tolist()
    assert np.array_equal(found.logits, stored.logits)
    computed = row.members[0].computed_in
    singles = np.concatenate([part.logits for part in row.stream(source, batch=1)])
    np.testing.assert_allclose(singles, stored.logits, atol=ONE_BY_ONE[computed])


@pytest.mark.slow
def test_the_command_gives_them_of_files_and_a_table(trained, registry, harness, tmp_path):
    weights, row, stored = trained
    data = registry.dataset("phantom").load(Path(), **OPTIONS)
    test = np.flatnonzero(data.table["split"] == "test")
    (tmp_path / "images").mkdir()
    for number in test:
        Image.fromarray(np.asarray(data.images[int(number)])).save(
            tmp_path / "images" / f"{data.table['image'][number]}.png"
        )
    given = [str(weights), "images", "--out", "scores.npz"]
    if row.columns:
        code, _, err = harness("predict", *given)
        assert (code, len(err.splitlines())) == (2, 1)
        assert "this network gets age, sex, view beside each image: give them by --table CSV" in err
        table = data.table.iloc[test]
        told = pd.DataFrame({"image": table["image"] + ".png", **{name: table[name] for name in row.columns}})
        told.sample(frac=1, random_state=0).to_csv("table.csv", index=False)
        given += ["--table", "table.csv"]
    code, _, err = harness("predict", *given)
    assert code == 0, err
    assert all("does not rise with the probability" in line for line in err.splitlines()), err
    found = load_predictions(Path("scores.npz"))
    order = np.argsort(stored.image)
    assert [name.removesuffix(".png") for name in found.image] == stored.image[order].tolist()
    tolerance = ONE_BY_ONE[row.members[0].computed_in]  # the files are in another order
    np.testing.assert_allclose(found.logits, stored.logits[order], atol=tolerance)
