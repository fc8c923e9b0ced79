"""The home folder is meant by `~` wherever a path is given, and nothing is ever called by it; no value is empty."""

from __future__ import annotations

import shutil

import pytest

NET = "toy-net--bce--toy"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, board):
    """A home folder with a board, and a working folder beside it."""
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.move(board, folder / "b")
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("leaderboard", "~/b", "--out=~/page.html"), marks=pytest.mark.slow),
        ("show", f"~/b::{NET}"),
        ("run", "demo", "--board=~/made", "--option", "train=8", "--dry-run"),
        ("data", "clean", "--cache-dir=~/cache"),
        ("compare", f"~/b::{NET}", "~/b::tiny-cnn--bce--toy"),
    ],
    ids=" ".join,
)
def test_a_path_of_a_command_may_begin_with_the_home_folder(harness, tmp_path, arguments):
    code, _, err = harness(*arguments)
    assert code == 0, err
    assert not list(tmp_path.rglob("~*"))


def test_the_variables_of_the_harness_may_begin_with_the_home_folder(harness, home, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE_DIR", "~/kept")
    monkeypatch.setenv("HARNESS_DATA_ROOT", "~/data")
    assert harness("data", "prepare", "toy", "--load-size", "16")[0] == 0
    assert list((home / "kept").iterdir())
    assert not list(tmp_path.rglob("~*"))
    code, _, err = harness("data", "stats", "csv")
    assert (code, f"there is no {home}/data/labels.csv" in err) == (2, True), err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("data", "stats", "csv", "--option", "file=~/t.csv"), "there is no {home}/t.csv"),
        (("data", "stats", "nih-cxr14", "--option", "label_file=~/t.csv", "--data-root", "."), "has no {home}/t.csv"),
        (("data", "stats", "medmnist", "--option", "file=~/t.npz"), "~/t.npz"),
        (("run", "~/b", "--set", "recipe.weights=~/w.pth", "--dry-run"), "'~/w.pth': neither"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_path_in_an_option_may_begin_with_the_home_folder(harness, home, arguments, told):
    code, _, err = harness(*arguments)
    assert (code, told.format(home=home) in err) == (2, True), err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "demo", "--board", "", "--dry-run"), "the value after --board is empty"),
        (("run", "demo", "--board=", "--dry-run"), "the value after --board= is empty"),
        (("leaderboard", ""), "the value after leaderboard is empty"),
        (("",), "the value after harness is empty"),
    ],
)
def test_an_empty_value_is_refused_and_nothing_is_made(harness, tmp_path, arguments, told):
    before = set(tmp_path.iterdir())
    code, _, err = harness(*arguments)
    assert (code, set(tmp_path.iterdir())) == (2, before)
    assert told in err
