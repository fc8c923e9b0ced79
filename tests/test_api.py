"""What scripts and notebooks call."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

import harness as h
from harness.board import board_text, read_board, row_text, save_board
from harness.errors import DataError, UnknownNameError, UsageError
from harness.evaluation.predictions import load_predictions

TOY = Path(__file__).parent / "fixtures" / "toy.py"


@pytest.fixture
def quiet(monkeypatch, tmp_path):
    """Where `harness.run` finds and leaves things."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"CACHE_DIR": tmp_path / "cache", "PLUGIN": TOY, "DEVICE": "cpu"}.items():
        monkeypatch.setenv(f"HARNESS_{name}", str(value))
    return tmp_path


def make_board(toy_board, folder, models=("toy-net",), seeds=(0,)):
    """A board of toy rows that nothing has been run of."""
    board = read_board(toy_board)
    text = board_text(board, [row_text(models, ["bce"], ["toy"], {})]).replace("seeds = [0, 1]", f"seeds = {[*seeds]}")
    save_board(folder, text)
    return folder


def test_run_trains_what_is_lacking_and_returns_the_boards_table(toy_board, quiet, capsys):
    folder = make_board(toy_board, quiet / "b", seeds=(0, 1))
    first = h.run(folder, seeds=[0])
    assert "toy-net--bce--toy" in capsys.readouterr().err
    assert list(first["seeds"]) == ["0"]
    kept = (folder / "records" / "toy-net--bce--toy--s0.json").read_bytes()
    table = h.run(str(folder), progress=False)
    assert capsys.readouterr() == ("", "")
    pd.testing.assert_frame_equal(table, h.read_board(folder))
    assert list(table["seeds"]) == ["0 1"]
    assert (folder / "records" / "toy-net--bce--toy--s0.json").read_bytes() == kept
    assert (folder / "index.html").is_file()


def test_run_takes_parameters_and_a_glob_of_rows(toy_board, quiet):
    folder = make_board(toy_board, quiet / "b", ("toy-net", "tiny-cnn"))
    table = h.run(folder, only="toy-net*", params={"recipe": {"epochs": 2}}, progress=False)
    measured = table[table["status"] == "done"]
    assert set(measured["model"]) == {"toy-net"}
    assert [json.loads(text) for text in measured["params"].dropna()] == [{"recipe": {"epochs": 2}}]


def test_a_row_that_fails_says_why_in_the_table(toy_board, quiet):
    folder = make_board(toy_board, quiet / "b", ("toy-raising", "toy-net"))
    rows = h.run(folder, progress=False).set_index("model").to_dict("index")
    assert rows["toy-net"]["status"] == "done"
    assert rows["toy-raising"]["status"] == "failed"
    assert "plugin" in rows["toy-raising"]["reasons"]


def test_what_has_to_be_known_of_a_run_is_a_warning_at_the_call(toy_board, quiet):
    folder = make_board(toy_board, quiet / "b", ("toy-net", "toy-raising"))
    with pytest.warns(UserWarning, match="does not apply to rows of") as caught:
        h.run(folder, params={"model": {"width": 4}}, only="toy-net*", progress=False)
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.slow
def test_run_has_the_machines_of_an_executor_train(toy_board, quiet):
    plugins = [TOY, TOY.with_name("afar.py")]
    folder = make_board(toy_board, quiet / "b")
    table = h.run(folder, on="afar", on_options={"shared": False}, jobs=1, plugins=plugins, progress=False)
    assert list(table["status"]) == ["done"]
    with pytest.raises(UnknownNameError, match="did you mean 'kind'"):
        h.run(folder, on="afar", on_options={"knid": "timeout"}, plugins=plugins, progress=False)


def test_run_refuses_what_it_does_not_know(quiet):
    with pytest.raises(UnknownNameError, match="demo"):
        h.run("dmeo")


def test_score_of_arrays_agrees_with_scikit_learn():
    generator = np.random.default_rng(0)
    targets = (generator.random((300, 3)) < 0.3).astype(float)
    scores = np.clip(0.3 * targets + 0.7 * generator.random((300, 3)), 0, 1)
    found = h.score(scores, targets, labels=["A", "B", "C"], patients=np.arange(300) // 3, resamples=200)
    areas = [roc_auc_score(targets[:, column], scores[:, column]) for column in range(3)]
    precisions = [average_precision_score(targets[:, column], scores[:, column]) for column in range(3)]
    assert found.labels["auroc"].tolist() == pytest.approx(areas, abs=1e-12)
    assert found.metrics.loc["auroc", "value"] == pytest.approx(np.mean(areas), abs=1e-12)
    assert found.metrics.loc["auprc", "value"] == pytest.approx(np.mean(precisions), abs=1e-12)
    auroc = found.metrics.to_dict("index")["auroc"]
    assert auroc["low"] < auroc["value"] < auroc["high"]
    assert found.labels["positives"].tolist() == targets.sum(axis=0).tolist()
    assert any("nothing is fitted" in note for note in found.notes)
    assert not any("patients are unknown" in note for note in found.notes)


def as_frames(path):
    """The scores and targets of a file, and its patients."""
    stored = load_predictions(path)
    frames = [
        pd.DataFrame(values, index=stored.image, columns=stored.labels) for values in (stored.scores, stored.targets)
    ]
    return *frames, stored.patient


def test_score_gives_the_numbers_of_the_command_for_files_and_frames(save_predictions, harness):
    tests = [save_predictions(f"s{seed}.npz", seed) for seed in (0, 1, 2)]
    val = save_predictions("val.npz", 3, images=range(120, 240))
    code, out, _ = harness("score", *map(str, tests), "--val", str(val), "--resamples", "200", "--json")
    assert code == 0
    wanted = json.loads(out)
    files = h.score(tests, val=val, resamples=200)
    assert json.loads(json.dumps(files.details["metrics"])) == wanted["metrics"]
    frames = [as_frames(path) for path in tests]
    memory = h.score(
        [scores for scores, _, _ in frames], frames[0][1], patients=frames[0][2], val=as_frames(val), resamples=200
    )
    for name in files.metrics.index:
        assert memory.metrics.loc[name].tolist() == pytest.approx(files.metrics.loc[name].tolist(), abs=1e-6), name
    assert files.metrics["deviation"]["auroc"] > 0
    assert "f1@val-f1" in memory.metrics.index


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"targets": None}, UsageError, "give targets too"),
        ({"targets": "t.csv"}, UsageError, "files for both"),
        ({"patients": "pid"}, UsageError, "names a column of"),
        ({"resamples": 5}, UsageError, "at least 200"),
        ({"metrics": ["auorc"]}, UnknownNameError, "auroc"),
        ({"val": (1, 2, 3, 4)}, UsageError, "val has 4 parts"),
        ({"val": "none.npz"}, DataError, "no such file"),
    ],
)
def test_score_refuses_what_cannot_mean_one_thing(arguments, error, says):
    scores = np.linspace(0, 1, 8).reshape(4, 2)
    with pytest.raises(error, match=says):
        h.score(**({"scores": scores, "targets": scores.round()} | arguments))


def test_files_are_told_apart_from_arrays(save_predictions):
    path = save_predictions("s.npz")
    with pytest.raises(UsageError, match="named by a column"):
        h.score(path, patients=["p"])
    with pytest.raises(UsageError, match="targets of files come from a file"):
        h.score(path, np.zeros((2, 2)))


def test_a_broken_plugin_is_a_warning(quiet, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0")
    scores = np.linspace(0, 1, 8).reshape(4, 2)
    with pytest.warns(UserWarning, match="ZeroDivisionError"):
        h.score(scores, scores.round(), plugins=[broken])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        h.score(scores, scores.round(), plugins=[])
