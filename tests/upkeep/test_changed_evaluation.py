"""What board.toml asks of evaluation changed after records were made: nothing stays old silently."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.results.store import read_records, read_resamples, write_record

SLOW = pytest.mark.slow


@pytest.fixture
def board(toy_board, tmp_path) -> Path:
    """A board whose records are done, of which anything may be changed."""
    folder: Path = tmp_path / "b"
    shutil.copytree(toy_board, folder)
    return folder


def change(board: Path, pattern: str, text: str) -> None:
    path = board / "board.toml"
    before = path.read_text()
    after = re.sub(pattern, text, before, count=1, flags=re.MULTILINE)
    assert after != before
    path.write_text(after)


def find_json(harness, *arguments: str) -> dict[str, Any]:
    _, out, err = harness(*arguments, "--json")
    assert out, err
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.parametrize(
    ("pattern", "text", "says"),
    [
        (r"^metrics = .*", 'metrics = ["auroc", "f1", "brier", "auprc"]', "auprc"),
        pytest.param(
            r"^metrics = .*", 'metrics = ["auroc", "f1@val-sens0.7", "brier"]', "f1@val-sens0.7", marks=SLOW
        ),
        pytest.param(
            r"^metrics = .*", r"\g<0>\nprevalence = { disk = 0.1 }", "sensitivity, specificity", marks=SLOW
        ),
    ],
)  # fmt: skip
def test_what_evaluation_alone_depends_on_is_named_and_made_by_the_next_run(harness, board, pattern, text, says):
    label = read_records(board).records[0].dataset.labels[0]
    change(board, pattern, text.replace("disk", f"'{label}'"))
    trained = {record.combo.name: record.training for record in read_records(board).records}
    state = find_json(harness, "status", "b")
    assert (state["done"], state["unevaluated"], state["seconds_left"]) == (0, 4, 0.0)
    assert says in state["combos"][0]["detail"]
    assert "harness rescore" in state["combos"][0]["detail"]
    findings = find_json(harness, "validate", "b")["findings"]
    assert sum("is to be evaluated again" in finding["message"] for finding in findings) == 4
    harness("leaderboard", "b")
    assert "not evaluated as asked" in (board / "index.html").read_text()
    plan = find_json(harness, "run", "b", "--dry-run")["combos"]
    assert [(combo["run"], combo["evaluate"]) for combo in plan] == [(False, True)] * 4
    code, _, err = harness("run", "b")
    assert code == 0, err
    assert {record.combo.name: record.training for record in read_records(board).records} == trained
    assert find_json(harness, "status", "b")["done"] == 4
    assert "not evaluated as asked" not in (board / "index.html").read_text()
    assert find_json(harness, "validate", "b")["ok"]


@pytest.mark.slow
def test_another_prevalence_is_evaluated_again(harness, board):
    label = read_records(board).records[0].dataset.labels[0]
    change(board, r"^metrics = .*", rf"\g<0>\nprevalence = {{ '{label}' = 0.1 }}")
    harness("run", "b")
    change(board, r"= 0\.1 \}", "= 0.2 }")
    assert find_json(harness, "status", "b")["unevaluated"] == 4
    harness("run", "b")
    predictive = read_records(board).records[0].predictive
    assert predictive is not None
    assert predictive["val-f1"][label].prevalence == 0.2
    change(board, r"^prevalence = .*", "")
    assert find_json(harness, "status", "b")["unevaluated"] == 4


@pytest.mark.slow
def test_labels_are_resampled_again_for_another_policy_of_what_ranks(harness, board):
    change(board, r"^objective = .*", 'objective = "f1"')
    code, _, err = harness("run", "b")
    assert code == 0, err
    before = read_records(board).records
    assert {record.labels_resampled for record in before} == {"f1@val-f1"}
    change(board, r"^objective = .*", 'objective = "f1@0.5"')
    state = find_json(harness, "status", "b")
    assert state["unevaluated"] == 4
    assert "its labels were resampled for f1@val-f1, board.toml ranks by f1@0.5" in state["combos"][0]["detail"]
    code, _, err = harness("run", "b")
    assert code == 0, err
    after = read_records(board).records
    assert {record.labels_resampled for record in after} == {"f1@0.5"}
    assert [record.training for record in after] == [record.training for record in before]
    assert find_json(harness, "status", "b")["done"] == 4
    drawn = read_resamples(board, after[0])
    assert drawn is not None
    means = np.nanmean(np.stack([*drawn.per_label.values()]), axis=0)
    np.testing.assert_allclose(means, drawn.macro["f1@0.5"], atol=1e-5)


def test_a_record_that_does_not_say_what_its_labels_were_resampled_for_stays(harness, board):
    for record in read_records(board).records:
        write_record(board, record.model_copy(update={"labels_resampled": None}), read_resamples(board, record))
    assert find_json(harness, "status", "b")["done"] == 4


def test_a_record_whose_predictions_are_gone_is_named_by_a_run_which_says_so_by_its_exit_code(harness, board):
    change(board, r"^metrics = .*", 'metrics = ["auroc", "auprc"]')
    for path in (board / "runs").glob("*/predictions-test.npz"):
        path.unlink()
    code, _, err = harness("run", "b")
    assert code == 1
    assert err.count("bring them, or run it again with --force") == 4


def test_a_metric_that_a_board_no_longer_asks_for_leaves_its_records_as_they_are(harness, board):
    change(board, r"^metrics = .*", 'metrics = ["auroc"]')
    assert find_json(harness, "status", "b")["done"] == 4
