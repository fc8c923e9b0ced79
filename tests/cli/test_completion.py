"""The shell completes verbs and components' names; what is misspelt is told the nearest."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from harness.cli.main import main
from harness.cli.options import complete_boards, complete_names


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("harness le", "leaderboard"),
        ("harness check tiny", "tiny-cnn"),
        ("harness run --losses bce,fo", "bce,focal"),
        ("harness data stats ph", "phantom"),
        ("harness run de", "demo"),
    ],
)
def test_a_shell_is_offered_what_goes_on_as_it_began(tmp_path, line, expected):
    environment = os.environ | {
        "_HARNESS_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", "from harness.cli.main import app; app(prog_name='harness')"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == [expected], done.stderr[-1000:]


def test_names_are_of_the_kinds_asked_for_and_a_family_is_begun():
    assert complete_names("loss")("b") == ["bce"]
    assert complete_names("model")("timm") == ["timm/"]
    assert {"bce", "auroc", "demo"} <= set(complete_names()(""))


def test_boards_are_those_bundled_and_those_here(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "board.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    assert {"demo", "mine"} <= set(complete_boards(""))


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("leaderbord",), "leaderboard"),
        (("run", "--modles", "x"), "--models"),
        (("check", "tiny-cn"), "tiny-cnn"),
        (("data", "stat", "phantom"), "stats"),
        (("plugins", "show", "focl"), "focal"),
        (("new", "modell", "x"), "model"),
        (("run", "demoo"), "demo"),
    ],
)
def test_a_misspelt_word_is_told_the_nearest(monkeypatch, capsys, words, near):

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["harness", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    message = " ".join(capsys.readouterr().err.split())
    assert any(words in message for words in ("id you mean", "is not one of", "Possible options"))
    assert near in message.partition("mean")[2] + message.partition("options:")[2] + message.partition("one of")[2]
