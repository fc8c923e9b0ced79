"""A board remembers on this machine where its data are, and tells nobody else."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest

from tests.conftest import TOY

ROW = ("--dataset", "toy", "--models", "tiny-cnn", "--losses", "bce", "--recipes", "toy", "--board", "b")
LOCAL = Path("b") / "runs" / "local.toml"


@pytest.fixture
def run(harness, monkeypatch, tmp_path):
    """The command line, with a dataset that lies in a folder."""
    text = TOY.read_text().replace(", drawn=True", "")
    need = '    if not (root / "here").is_file():\n        raise DataError(f"no data in {root}")\n'
    text = text.replace("    import pandas as pd\n", f"{need}    import pandas as pd\n").replace(
        "Data, Dataset", "Data, DataError, Dataset"
    )
    (tmp_path / "files.py").write_text(text)
    monkeypatch.setenv("HARNESS_PLUGIN", str(tmp_path / "files.py"))
    for name in ("one", 'it\'s "two"', "data"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "here").touch()
    return harness


def noted() -> str:
    return str(tomllib.loads(LOCAL.read_text())["data_root"])


def test_a_run_without_a_data_root_takes_the_one_that_was_found_before_and_says_so_once(run, tmp_path):
    assert run("run", *ROW, "--data-root", "one")[0] == 0
    assert noted() == str(tmp_path / "one")
    code, out, err = run("run", "b", "--force", "--json")
    assert (code, err.count(f"data: {tmp_path / 'one'}, as {LOCAL} says")) == (0, 1), err
    assert "local.toml" not in out
    code, _, err = run("run", "b", "--data-root", 'it\'s "two"')
    assert (code, "local.toml" in err, noted()) == (0, False, str(tmp_path / 'it\'s "two"'))
    chosen = ("--models", "tiny-cnn", "--losses", "bce", "--recipes", "toy")
    tuning = (*chosen, "--search", "recipe.lr=1e-3,1e-2", "--dry-run")
    code, _, err = run("tune", "b", *tuning)
    assert (code, "local.toml says" in err) == (0, True), err


def test_the_option_comes_before_the_variable_and_the_variable_before_the_note(run, monkeypatch, tmp_path):
    assert run("run", *ROW, "--data-root", "one")[0] == 0
    (tmp_path / "one" / "here").unlink()
    assert run("run", "b", "--force")[0] == 2
    monkeypatch.setenv("HARNESS_DATA_ROOT", "data")
    code, _, err = run("run", "b", "--force")
    assert (code, "local.toml" in err) == (0, False)
    code, _, err = run("run", "b", "--force", "--data-root", "one")
    assert (code, "no data in one" in err, noted()) == (2, True, str(tmp_path / "data"))


def test_a_folder_that_is_gone_is_named_with_the_file_and_the_option(run, tmp_path):
    assert run("run", *ROW, "--data-root", "one")[0] == 0
    shutil.rmtree(tmp_path / "one")
    code, _, err = run("run", "b")
    there = f"{LOCAL} says that the data are in {tmp_path / 'one'}, which is not there any more; give --data-root DIR"
    assert (code, there in err) == (2, True)
    for text in ("data_root = 1", "other = 'x'", "{"):
        LOCAL.write_text(text)
        code, _, err = run("run", "b")
        assert (code, str(LOCAL) in err, "give --data-root" in err) == (2, True, True)
    assert run("run", "b", "--data-root", "data")[0] == 0


def test_nothing_is_noted_where_nothing_was_found_or_nothing_is_read(run, monkeypatch, tmp_path):
    assert run("run", *ROW, "--data-root", "nowhere")[0] == 2
    assert not (tmp_path / "b").exists()
    assert run("run", *ROW, "--dry-run")[0] == 0
    assert not (tmp_path / "b").exists()
    monkeypatch.setenv("HARNESS_PLUGIN", str(TOY))
    assert run("run", *ROW, "--data-root", "one")[0] == 0
    assert not LOCAL.exists()


def test_the_note_is_hidden_from_git_and_in_nothing_that_is_published_or_cleaned(run, tmp_path):
    assert run("run", *ROW, "--data-root", "one")[0] == 0
    assert (LOCAL.parent / ".gitignore").read_text() == "*\n"
    assert run("leaderboard", "b", "--out", "public")[0] == 0
    assert run("clean", "b", "--yes")[0] == 0
    assert noted() == str(tmp_path / "one")
    written = [*Path("public").rglob("*"), *(path for path in Path("b").rglob("*") if "runs" not in path.parts)]
    assert not [path for path in written if path.is_file() and str(tmp_path).encode() in path.read_bytes()]
    assert run("validate", "b")[0] == 0


def test_a_folder_that_an_outside_test_looked_for_in_vain_is_not_noted(harness, toy_board, tmp_path):
    board = Path(shutil.copytree(toy_board, tmp_path / "board"))
    text = (board / "board.toml").read_text()
    (board / "board.toml").write_text(f'{text}\n[[test]]\ndataset = "openi"\n')
    for _ in range(2):
        code, _, err = harness("run", "board", "--data-root", "nowhere")
        assert (code, "the folder nowhere does not exist" in err) == (1, True), err
        assert not (board / "runs" / "local.toml").exists()
