"""Texts of files steer no terminal: they are printed in their line, as they are, and what is unseen is made visible."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from harness.cli.output import line, open_output, say
from harness.cli.terminal import Display, fail, warn
from harness.execution.events import ComboRetried, Preparing, Printed
from harness.results.record import FailurePart
from harness.text import make_visible

NET = "toy-net--bce--toy"
ROOT = Path(__file__).parents[2]
ODD = "[/] [red]a\x1b[2J\r\nno problem was found\n::error::x\u202e\u2028\x9b1m\x07"
SEEN = r"[/] [red]a\x1b[2J\r\nno problem was found\n::error::x\u202e\u2028\x9b1m\x07"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain [text], b::c, é, 肺 #[x]", "plain [text], b::c, é, 肺 #[x]"),
        (ODD, SEEN),
        ("\ttab\x00\x7f\u061c\u200f\u2066", r"\ttab\x00\x7f\u061c\u200f\u2066"),
        ("half \udc80", r"half \udc80"),
        ("::error::x", r"\::error::x"),
        ("  ::error::x", r"\  ::error::x"),
        ("a ##[error]x", r"a ##\[error]x"),
    ],
)
def test_a_text_is_shown_in_its_line(text, seen):
    assert make_visible(text) == seen
    assert make_visible(seen) == seen


def test_all_that_prints_shows_odd_texts_as_they_are(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    table = Table(title=ODD, caption=ODD)
    table.add_column(ODD)
    table.add_row(ODD)
    open_output().print(table)
    open_output().print(line(ODD, (ODD, "red")), ODD, sep="\n")
    say(ODD)
    fail(ODD)
    warn(ODD)
    display = Display()
    with display:
        display(Preparing(ODD, 1, 1))
        display(ComboRetried(ODD, FailurePart(kind="data", message=ODD, where=""), 1, 1))
        display.mention(ODD)
        display.remark(ODD)
        display(Printed("two\nlines\tof a plugin\x1b[2J[/]\n"))
    out, err = capsys.readouterr()
    assert out.count(SEEN) == 8
    assert err.count(SEEN) == 7
    assert "two\nlines   of a plugin\\x1b[2J[/]\n" in err
    for text in (out, err):
        assert not {*"\x1b\r\x07\x9b\u202e\u2028"} & {*text}
        assert not [one for one in text.splitlines() if one.lstrip().startswith(("::", "no problem"))]


def test_live_bars_show_names_as_they_are(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "300")
    with Display() as display:
        assert display.live
        display(Preparing(ODD, 1, 2))
        display.bars.refresh()
    assert SEEN in capsys.readouterr().err


# --- the verbs -------------------------------------------------------------------------------------------------------


@pytest.fixture
def board(toy_board, tmp_path) -> Path:
    """A board with odd texts wherever files hold some."""
    folder: Path = tmp_path / "b"
    shutil.copytree(toy_board, folder, ignore=shutil.ignore_patterns("runs"))
    path = folder / "records" / f"{NET}--s0.json"
    document = json.loads(path.read_text())
    document |= {"status": "failed", "failure": {"kind": "data", "message": ODD, "where": ODD}}
    document["provenance"] |= {"device": ODD, "command": ODD, "harness": ODD}
    document["dataset"] |= {"name": ODD, "notes": {"note": ODD}}
    path.write_text(json.dumps(document))
    text = (folder / "board.toml").read_text()
    (folder / "board.toml").write_text(text.replace('title = "t"', f"title = {json.dumps(ODD)}"))
    return folder


VERBS = [
    ("leaderboard", "b"),
    ("show", f"b::{NET}"),
    ("status", "b"),
    ("validate", "b"),
    ("run", "b", "--dry-run"),
    ("diff", "b", "other"),
    ("diff", "b", "other", "--markdown"),
    ("merge", "other", "b"),
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_no_verb_lets_a_text_steer_the_terminal(harness, board, toy_board, verb):
    shutil.copytree(toy_board, board.parent / "other", ignore=shutil.ignore_patterns("runs"))
    code, out, err = harness(*verb)
    assert code in (0, 1), err
    assert not {*"\x1b\r\x07\x9b\u202e\u2028"} & {*out, *err}
    lines = (out + err).splitlines()
    assert not [one for one in lines if one.lstrip().startswith(("::error", "no problem was found"))]


def test_validate_names_a_record_whose_texts_steer_a_terminal(harness, board):
    code, out, _ = harness("validate", "b", "--json")
    messages = [one["message"] for one in json.loads(out)["findings"] if one["file"] == f"records/{NET}--s0.json"]
    assert code == 1
    assert f"holds a text that steers a terminal or breaks its line: {SEEN}" in messages


def test_everything_is_printed_through_the_one_door():
    wrong = []
    for path in (ROOT / "harness" / "cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            around = name in ("print", "rich.print", "escape") or name.endswith(
                (".from_markup", ".print_json", ".stdout.write", ".stderr.write")
            )
            around |= name.rpartition(".")[2] in ("Console", "Text", "echo", "secho")
            if around and name != "tables.print_json" and ast.unparse(node) not in ALLOWED and path.name != "output.py":
                wrong.append(f"{path.name}:{node.lineno} {ast.unparse(node)}")
    assert not wrong


ALLOWED = {
    "Text(_keep_lines(event.text))",
    "Text('\\n')",
    "typer.echo(text, nl=False, file=_reserved.get() or sys.stdout)",
}
"""What prints its own lines: output of plugins, lines below a table, and JSON, which has no such characters."""


# --- the command line itself -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("leaderboard", "a\0b"),
        ("status", "\0"),
        ("diff", "a\0", "b"),
        ("check", "a\0.py"),
        ("check", "x" * 5000),
        ("leaderboard", "x" * 5000),
        ("show", "x" * 5000),
        ("plugins", "show", "[/]"),
        ("run", "[/]\x1b[2J"),
        ("data", "stats", "csv", "--option", "file=a\0"),
        ("score", "x" * 300 + ".csv", "--targets", "t.csv"),
        ("tune", "b", "--models", "toy-net", "--trials", "1", "--study", "x" * 300),
    ],
    ids=lambda arguments: " ".join(arguments)[:24].encode("unicode_escape").decode(),
)
def test_a_name_that_no_file_can_have_is_one_line(harness, toy_board, tmp_path, arguments):
    shutil.copytree(toy_board, tmp_path / "b", ignore=shutil.ignore_patterns("runs"))
    code, out, err = harness(*arguments)
    assert (code, out) == (2, "")
    assert [text[:6] for text in err.splitlines() if not text.startswith("decoding")] == ["error:"]


def test_a_path_with_a_null_byte_is_a_mistake_of_the_command_line(harness):
    code, _, err = harness("score", "x\0.npz")
    assert code == 2
    assert "null byte" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("data", "prepare", "phantom", "--load-size", "99999999"),
        ("data", "check", "phantom", "--load-size", "1"),
        ("run", "b", "--set", "recipe.size=9999999999", "--set", "recipe.load_size=9999999999"),
        ("speed", "tiny-cnn", "--images", "-5"),
    ],
)
def test_a_size_that_no_image_has_is_refused_before_anything_is_made(harness, toy_board, tmp_path, arguments):
    shutil.copytree(toy_board, tmp_path / "b", ignore=shutil.ignore_patterns("runs"))
    code, out, err = harness(*arguments)
    assert (code, out, "Traceback" in err) == (2, "", False)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "arguments", [("score", "p.npz"), ("score", "p.csv"), ("score", "s.csv", "--targets", "p.csv")]
)
def test_a_pipe_in_place_of_predictions_is_not_waited_for(harness, tmp_path, arguments):
    for name in ("p.npz", "p.csv"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "s.csv").write_text("image,Edema\na,0.5\n")
    code, _, err = harness(*arguments)
    assert (code, "is no ordinary file; give a .csv or .npz" in err) == (2, True)


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment: dict[str, Any] = {**os.environ, "COLUMNS": "300"}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False)


def test_the_package_runs_as_a_module():
    done = run_python("-m", "harness", "--version")
    assert (done.returncode, done.stderr) == (0, "")


def test_python_without_docstrings_is_refused_in_one_line():
    done = run_python("-OO", "-m", "harness", "--help")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: python -OO takes away the docstrings")
    assert done.stderr.count("\n") == 1
