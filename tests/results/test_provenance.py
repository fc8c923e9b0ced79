"""A record says which code has run, and nothing of whose machine it was."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.results.provenance import command, find_commit, scrub

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fresh():
    """Nothing is remembered of the commit, before and after."""
    find_commit.cache_clear()
    yield
    find_commit.cache_clear()


def make_repository(folder: Path) -> None:
    """Make a repository with one commit of a file that the harness has, too."""
    (folder / "provenance.py").write_text("")
    settings = ["-c", "user.name=n", "-c", "user.email=e"]
    for words in (["init", "-q"], ["add", "."], [*settings, "commit", "-qm", "another"]):
        subprocess.run(["git", *words], cwd=folder, check=True)


def test_the_commit_is_that_of_the_code_whatever_repository_the_folder_or_a_hook_is_of(tmp_path, monkeypatch, fresh):
    if not (ROOT / ".git").exists():
        pytest.skip("the tests are not of a checkout")
    told = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    make_repository(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    found = find_commit()
    assert found is not None
    assert found.removesuffix("+") == told.stdout.strip()


@pytest.mark.parametrize("name", ["loss", "adam", "Adam", "cosine", "image", "test", "a", "root", ""])
def test_a_user_or_host_who_is_called_like_a_word_of_records_changes_no_message(monkeypatch, name):
    monkeypatch.setenv("LOGNAME", name)
    monkeypatch.setattr("socket.gethostname", lambda: name)
    text = "the loss of adam, Adam and cosine is no test of an image, a root said"
    assert scrub(text) == text


def test_anybody_else_is_taken_out_of_messages(monkeypatch):
    monkeypatch.setenv("LOGNAME", "anna")
    assert scrub("no home of anna in /home/anna/x.png") == "no home of USER in x.png"


@pytest.mark.parametrize("name", ["adam", "demo", "chexnet"])
def test_a_command_keeps_its_words_whatever_the_user_is_called(monkeypatch, name):
    monkeypatch.setenv("LOGNAME", name)
    monkeypatch.setattr("socket.gethostname", lambda: name)
    words = ["harness", "run", "demo", "--models", "chexnet", "--set", "recipe.optimizer=adam"]
    monkeypatch.setattr("sys.argv", words)
    assert command() == " ".join(words)


def test_a_command_can_be_typed_as_it_is_noted(monkeypatch):
    monkeypatch.setattr("sys.argv", ["harness", "run", "--only", "chexnet*", "--set", "loss.note=two words"])
    assert command() == "harness run --only 'chexnet*' --set 'loss.note=two words'"
