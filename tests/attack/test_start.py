"""A command is started in an odd place: it refuses before any training, or its results land."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from queue import SimpleQueue

import pytest

from harness.execution.supervision import Death, Inbox, Printed, Worker
from harness.report.figures import vega

TOY = Path(__file__).parents[1] / "fixtures" / "toy.py"
CODE = "import sys; sys.argv[0] = 'harness'; from harness.cli.main import main; main()"
TINY = ("run", "--dataset", "toy", "--models", "toy-net", "--losses", "bce", "--recipes", "toy", "--seeds", "0")
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
UGLY = b"b\xff"


def start(folder: Path, redirection: str, *arguments: str | bytes, **variables: str) -> tuple[int, str]:
    """Run a command line by a shell, with a redirection; gives exit code and what is in the file `said`."""
    shown = {"HARNESS_PLUGIN": str(TOY), "HARNESS_DEVICE": "cpu", "HARNESS_CACHE_DIR": str(folder / "cache")}
    command = ["sh", "-c", f'"$@" {redirection}', "sh", sys.executable, "-c", CODE, *arguments]
    done = subprocess.run(command, cwd=folder, env=os.environ | shown | variables, check=False)
    said = folder / "said"
    return done.returncode, said.read_text(errors="replace") if said.exists() else ""


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("plugins", "--json")])
def test_output_that_cannot_be_written_is_one_line_and_exit_code_1(tmp_path, arguments):
    code, said = start(tmp_path, ">/dev/full 2>said", *arguments)
    assert (code, said.count("\n")) == (1, 1)
    assert "standard output cannot be written: No space left on device" in said


@pytest.mark.parametrize("redirection", [">said", "2>/dev/full >said", "2>&- >said", "<&- 2>&- >said"])
def test_standard_error_that_cannot_be_written_changes_nothing(tmp_path, redirection):
    code, said = start(tmp_path, redirection, "--version")
    assert (code, said.count(".")) == (0, 2)
    assert start(tmp_path, redirection, "status", "--nope")[0] == 2


def test_closed_standard_output_is_taken_by_no_file(tmp_path):
    code = (
        "import os, sys; from harness.cli.streams import prepare_streams; prepare_streams()\n"
        "made = open('made', 'w'); print('lost'); os.write(1, b'lost'); os.write(2, b'lost')\n"
        "made.write(str(sys.stdin))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *command], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert (tmp_path / "made").read_text() == "None"


def test_a_reader_that_has_seen_enough_is_told_nothing(tmp_path):
    code, said = start(tmp_path, "2>said | true", "plugins", "--json")
    assert (code, said) == (0, "")


def test_letters_that_standard_output_does_not_know_are_escaped(tmp_path):
    plugin = tmp_path / "plugin.py"
    about = "[Dataset(name='umlaut', load=print, about='\u00fc')]"
    text = f"from harness import Dataset, hookimpl\n@hookimpl\ndef harness_datasets():\n    return {about}\n"
    plugin.write_text(text, encoding="utf-8")
    code, said = start(tmp_path, ">said 2>&1", "plugins", "--plugin", "plugin.py", **ASCII)
    assert (code, r"\xfc" in said) == (0, True), said


@pytest.mark.parametrize("variables", [{}, ASCII])
def test_an_argument_or_variable_that_is_no_text_is_refused_in_one_line(tmp_path, variables):
    for command in ((*TINY, "--board", UGLY), (*TINY, "--board", "b", "--data-root", UGLY)):
        code, said = start(tmp_path, ">said 2>&1", *command, **variables)
        assert (code, said.count("\n"), "is no text in" in said) == (2, 1, True)
    code, said = start(tmp_path, ">said 2>&1", *TINY, HARNESS_CACHE_DIR=os.fsdecode(UGLY), **variables)
    assert (code, "HARNESS_CACHE_DIR is no text" in said) == (2, True)
    assert {path.name for path in tmp_path.iterdir()} == {"said"}


def test_a_limit_under_which_no_page_can_be_drawn_is_named_before_training(harness, toy_board, tmp_path, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (6 * 2**30, resource.RLIM_INFINITY))
    monkeypatch.setattr(vega, "start", vega.Vega)  # as in a process that has drawn nothing yet
    for command in ((*TINY, "--board", "b"), ("leaderboard", str(toy_board), "--out", "shown")):
        code, _, err = harness(*command)
        assert (code, err.count("\n")) == (2, 1)
        assert "limited to 6 GiB" in err
        assert "ulimit -v unlimited" in err
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
def test_a_library_that_the_limit_leaves_no_room_for_ends_in_one_line(tmp_path, toy_board):
    command = ["sh", "-c", 'ulimit -v 1000000; "$@" >said 2>&1', "sh", sys.executable, "-c", CODE, "rescore", toy_board]
    code = subprocess.run(command, cwd=tmp_path, check=False).returncode
    said = (tmp_path / "said").read_text()
    assert code in (1, 2)  # which library is the first without room depends on what is loaded by then
    assert ("ulimit -v unlimited" in said.splitlines()[-1], "Traceback" in said) == (True, False), said


def test_a_worker_prints_letters_that_its_output_does_not_know(tmp_path, monkeypatch):
    (tmp_path / "printing_target.py").write_text("def show(connection):\n    print('\\u2713')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name, value in ASCII.items():
        monkeypatch.setenv(name, value)
    inbox: Inbox = SimpleQueue()
    Worker(inbox, __import__("printing_target").show).join()
    said: list[object] = []
    while not said or not isinstance(said[-1], Death):
        said.append(inbox.get(timeout=60)[1])
    assert said[-1] == Death("exit", "the worker process ended with exit code 0", 0)
    assert "".join(part.text for part in said if isinstance(part, Printed)) == "\\u2713\n"


@pytest.mark.slow
@pytest.mark.parametrize("redirection", [">/dev/full 2>/dev/full", ">&- 2>&- <&-"])
@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_training_that_nobody_can_be_told_of_leaves_its_record_and_its_page(tmp_path, redirection, workers):
    code, _ = start(tmp_path, redirection, *TINY, "--board", "b", "--workers", workers)
    assert code == ("full" in redirection)
    assert len(list((tmp_path / "b" / "records").glob("*.json"))) == 1
    assert (tmp_path / "b" / "index.html").is_file()
