"""A board whose unit is the study or the patient: from its run to its page, and to another unit and back."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harness.board import Board, Row
from harness.errors import DataError
from harness.evaluation.predictions import load_predictions
from harness.execution import local, planning
from harness.execution.planning import Settings
from harness.execution.rescore import rescore
from harness.registry import Registry, load_registry
from harness.report.packing import unpack
from harness.report.page import render
from harness.results.record import Record
from harness.results.staleness import why_evaluate_again
from harness.results.store import read_records

TOY = Path(__file__).parents[1] / "fixtures" / "toy.py"
OPTIONS = {"train": 40, "val": 60, "test": 120, "size": 16}


@pytest.fixture(scope="module")
def toys() -> Registry:
    return load_registry([TOY])


def make(folder: Path, **changes) -> Board:
    made = Board(
        folder=folder,
        title="Studies",
        objective="auroc",
        metrics=("auroc", "f1"),
        dataset="phantom",
        options=OPTIONS,
        rows=(Row(model="toy-net", loss="bce", recipe="toy"),),
        unit="study",
    )
    return dataclasses.replace(made, **changes)


def plan(board: Board, registry: Registry, tmp_path: Path):
    settings = Settings(data_root=tmp_path / "data", cache=tmp_path / "cache", device="cpu")
    return planning.plan(board, registry, settings, lambda event: None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, toys) -> Board:
    """A board over studies that has been run once; not to be changed."""
    folder: Path = tmp_path_factory.mktemp("studies")
    made = make(folder / "board")
    local.run(plan(made, toys, folder), lambda event: None)
    return made


@pytest.fixture
def board(trained: Board, tmp_path: Path) -> Board:
    """A copy of that board."""
    shutil.copytree(trained.folder, tmp_path / "board")
    return dataclasses.replace(trained, folder=tmp_path / "board")


def read(board: Board) -> Record:
    (record,) = read_records(board.folder).records
    return record


def score_by_hand(board: Board, units: Sequence[str], how) -> dict[str, tuple[float, int]]:
    """Label -> AUROC by scikit-learn and positives, over units whose images are gathered one by one."""
    from sklearn.metrics import roc_auc_score

    stored = load_predictions(board.folder / "runs" / read(board).key / "predictions-test.npz")
    expected = {}
    for column, label in enumerate(stored.labels):
        scores: dict[str, list[float]] = {}
        truth: dict[str, float] = {}
        for unit, score, target in zip(units, stored.scores[:, column], stored.targets[:, column], strict=True):
            scores.setdefault(unit, []).append(float(score))
            truth[unit] = max(truth.get(unit, 0.0), float(target))
        pooled = [how(scores[unit]) for unit in truth]
        expected[label] = float(roc_auc_score(list(truth.values()), pooled)), int(sum(truth.values()))
    return expected


def test_a_board_over_studies_measures_each_study_once(board):
    record = read(board)
    stored = load_predictions(board.folder / "runs" / record.key / "predictions-test.npz")
    assert stored.study is not None
    assert record.pooled is not None
    assert (record.pooled.unit, record.pooled.pool) == ("study", "mean")
    assert record.pooled.test == len(set(stored.study.tolist())) < len(stored.image) == 120
    for label, (value, positives) in score_by_hand(board, stored.study.tolist(), np.mean).items():
        found = record.metrics["auroc"].per_label[label]
        assert found.value == pytest.approx(value, abs=1e-9)
        assert found.positives == positives
        assert found.positives + found.negatives == record.pooled.test
    assert record.subgroups is not None
    groups = record.subgroups["sex"].groups
    assert sum(group.images for group in groups) == record.pooled.test


def test_thresholds_are_the_best_of_the_studies_of_validation(board):
    from sklearn.metrics import f1_score

    record = read(board)
    stored = load_predictions(board.folder / "runs" / record.key / "predictions-val.npz")
    assert stored.study is not None
    members = [np.flatnonzero(stored.study == study) for study in dict.fromkeys(stored.study.tolist())]
    scores = np.stack([stored.scores[rows].mean(axis=0) for rows in members])
    truth = np.stack([stored.targets[rows].max(axis=0) for rows in members])
    for column, label in enumerate(stored.labels):
        best = max(f1_score(truth[:, column], scores[:, column] >= one) for one in scores[:, column])
        threshold = record.thresholds["val-f1"][label]
        assert threshold is not None
        assert f1_score(truth[:, column], scores[:, column] >= threshold) == pytest.approx(best)


def test_another_unit_is_a_matter_of_rescoring_and_the_way_back_gives_the_same_bytes(board, toys, tmp_path):
    files = {path: path.read_bytes() for path in (board.folder / "records").iterdir()}
    over_patients = dataclasses.replace(board, unit="patient", pool="max")
    why = "it is scored over studies (mean of their images' scores), board.toml says patients (max of their images'"
    assert (why_evaluate_again(over_patients, read(board)) or "").startswith(why)
    (planned,) = plan(over_patients, toys, tmp_path)
    assert planned.reason is None
    assert (planned.lacks or "").startswith(why)
    assert rescore(over_patients, toys).left == ()
    stored = load_predictions(board.folder / "runs" / read(board).key / "predictions-test.npz")
    for label, (value, _) in score_by_hand(board, stored.patient.tolist(), np.max).items():
        assert read(board).metrics["auroc"].per_label[label].value == pytest.approx(value, abs=1e-9)
    rescore(dataclasses.replace(board, unit="image"), toys)
    assert read(board).pooled is None
    assert "pooled" not in (board.folder / "records" / "toy-net--bce--toy--s0.json").read_text()
    rescore(board, toys)
    assert {path: path.read_bytes() for path in (board.folder / "records").iterdir()} == files


def test_the_page_counts_studies_and_leaves_out_what_is_scored_over_images(board, toys):
    text = render(board).page.read_text(encoding="utf-8")
    pooled = read(board).pooled
    assert pooled is not None
    assert f"{pooled.test} studies (mean of their images&#39; scores)" in text
    rescore(dataclasses.replace(board, unit="image"), toys)
    results = render(board).results
    (row,) = results.summary.rows
    assert (row.status, row.rank) == ("stale", None)
    assert (
        "scored over images, board.toml says studies (mean of their images' scores); harness rescore" in row.reasons[0]
    )


@pytest.mark.parametrize(("unit", "heads"), [("study", ["studies", "patients"]), ("patient", ["patients"])])
def test_the_table_of_subgroups_has_a_column_for_the_unit_and_every_row_as_many_cells(board, toys, unit, heads):
    changed = dataclasses.replace(board, unit=unit)
    rescore(changed, toys)
    (packed,) = re.findall(r'id="packed-rows">(.*?)</script>', render(changed).page.read_text(encoding="utf-8"))
    (details,) = json.loads(unpack(packed)).values()
    (table,) = re.findall(r"<caption>Subgroups of the test split.*?</table>", details, re.DOTALL)
    head, *rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    columns = re.findall(r"<th[^>]*>([^<]*)", head)
    assert columns[1 : len(heads) + 2] == [*heads, "labels scored"]
    widths = {sum(int(span or 1) for span in re.findall(r'<t[hd](?:[^>]*?colspan="(\d+)")?', row)) for row in rows}
    assert widths == {len(columns)}


@pytest.mark.parametrize(
    ("unit", "says"),
    [
        ("study", "nothing of dataset 'toy' says which images belong to one study; make a dataset of it whose table"),
    ],
)
def test_a_dataset_that_does_not_tell_a_unit_ends_the_run_before_it_begins(tmp_path, toys, unit, says):
    board = make(tmp_path / "board", dataset="toy", options={}, unit=unit)
    with pytest.raises(DataError, match=says):
        plan(board, toys, tmp_path)


def test_stored_predictions_without_studies_are_left_with_the_way_out(tmp_path, toys):
    board = make(tmp_path / "board", dataset="toy", options={}, unit="image")
    local.run(plan(board, toys, tmp_path), lambda event: None)
    (left,) = rescore(dataclasses.replace(board, unit="study"), toys).left
    assert 'do not say which images belong to one study; score patients (unit = "patient"), or let the dataset' in left
