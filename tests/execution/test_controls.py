"""Control rows find nothing, and say so."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from harness import Dataset
from harness.board import Board, Row, add_controls, parse_board
from harness.data.loading import Source
from harness.data.prepare import prepare
from harness.definition import BoardRequest, define
from harness.execution import local, planning
from harness.execution.controls import predict_prevalence, shuffle_targets
from harness.execution.planning import Settings
from harness.registry import Registry, load_registry
from harness.results.record import Record

TOY = Path(__file__).parents[1] / "fixtures" / "toy.py"


@pytest.fixture(scope="module")
def toys() -> Registry:
    return load_registry([TOY])


def run(folder: Path, registry: Registry, seeds: tuple[int, ...] = (0,), only: str | None = None) -> list[Record]:
    rows = add_controls(
        [
            Row(model="toy-net", loss="bce", recipe="toy", params={"recipe": {"epochs": 8}}),
            Row(model="tiny-cnn", loss="bce", recipe="toy"),
        ]
    )
    board = Board(
        folder=folder / "board",
        title="Toys",
        objective="auroc",
        seeds=seeds,
        metrics=("auroc", "brier"),
        dataset="toy",
        options={"count": 200},
        rows=rows,
    )
    settings = Settings(data_root=folder / "data", cache=folder / "cache", device="cpu", only=only)
    return list(local.run(planning.plan(board, registry, settings, lambda event: None), lambda event: None))


def test_controls_stand_beside_the_rows_on_the_same_data(toys, tmp_path):
    records = {record.combo.row: record for record in run(tmp_path, toys)}
    assert {record.status for record in records.values()} == {"done"}
    prevalence = records["control-prevalence"]
    assert prevalence.metrics["auroc"].macro == 0.5
    assert prevalence.metrics["auroc"].interval is None, "chance moves nothing where all images have one score"
    assert prevalence.training is None
    assert records["control-shuffled"].combo.control == "shuffled"
    assert len({record.dataset.fingerprint for record in records.values()}) == 1
    assert len({record.key for record in records.values()}) == 4


@pytest.mark.slow
def test_shuffled_targets_teach_nothing(toys, tmp_path):
    """One shuffle may by chance point a network the right way or the wrong one; many do not point the right way."""
    records = run(tmp_path, toys, tuple(range(16)), "control-shuffled")
    values = np.array([record.metrics["auroc"].macro for record in records], dtype=np.float64)
    assert values.mean() < 0.5 + 2 * values.std(ddof=1) / 4
    (learned,) = run(tmp_path, toys, (0,), "toy-net*")
    macro = learned.metrics["auroc"].macro
    assert macro is not None
    assert macro > values.mean() + 0.3


def test_shuffling_keeps_each_splits_targets_and_leaves_the_test_split_alone(small_data, tmp_path):
    source = Source(dataset=Dataset(name="some", load=lambda root: small_data), code="", options={}, root=tmp_path)
    prepared = prepare(source, small_data, 16, tmp_path)
    shuffled = shuffle_targets(prepared, 3)
    split = small_data.table["split"].to_numpy()
    before, after = prepared.data.targets, shuffled.data.targets
    assert np.array_equal(after[split == "test"], before[split == "test"])
    for name in ("train", "val"):
        ours, theirs = (sorted(map(tuple, targets[split == name].tolist())) for targets in (before, after))
        assert ours == theirs
        assert not np.array_equal(after[split == name], before[split == name])
    assert np.array_equal(shuffle_targets(prepared, 3).data.targets, after)
    assert not np.array_equal(shuffle_targets(prepared, 4).data.targets, after)
    assert shuffled.images is prepared.images


def test_prevalence_is_that_of_known_training_targets(small_data):
    targets = small_data.targets.copy()
    split = small_data.table["split"].to_numpy()
    targets[np.flatnonzero(split == "train")[:5], 0] = np.nan
    targets[split == "train", 1] = np.nan
    targets[split != "train"] = 1
    found = predict_prevalence(dataclasses.replace(small_data, targets=targets), "test")
    assert len(found.image) == (split == "test").sum()
    expected = np.nanmean(targets[split == "train"][:, 0])
    np.testing.assert_allclose(found.scores[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(found.scores[:, 1], 0.5)


TEXT = """# my board
title = "Mine"
[dataset]
name = "toy"

[[rows]]
models = ["toy-net"]
losses = ["bce"]
recipes = ["toy"]
"""


def test_controls_are_added_to_a_board_once_and_its_comments_stay(tmp_path):
    (tmp_path / "board.toml").write_text(TEXT)
    definition = define(BoardRequest(board=str(tmp_path), controls=True))
    definition.write()
    text = (tmp_path / "board.toml").read_text()
    assert text.startswith("# my board\n")
    assert [row.name for row in parse_board(text, tmp_path).rows] == [
        "toy-net--bce--toy",
        "control-prevalence",
        "control-shuffled",
    ]
    assert define(BoardRequest(board=str(tmp_path), controls=True)).text is None
    more = define(BoardRequest(board=str(tmp_path), params={"recipe": {"epochs": 2}}))
    assert [row.control for row in more.board.rows] == [None, None, "prevalence", "shuffled"]


def test_a_new_board_can_be_made_with_controls(tmp_path):
    request = BoardRequest(
        folder=tmp_path / "b", dataset="toy", models=("toy-net",), losses=("bce",), recipes=("toy",), controls=True
    )
    board = define(request).board
    assert [row.control for row in board.rows] == [None, "prevalence", "shuffled"]
    assert len(board.systems) == 1


def test_a_bundled_board_can_be_run_with_controls(tmp_path):
    definition = define(BoardRequest(board="demo", folder=tmp_path / "b", controls=True))
    assert {row.control for row in definition.board.rows} == {None, "prevalence", "shuffled"}
