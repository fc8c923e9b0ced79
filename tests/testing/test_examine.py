"""What is checked, on the command line and in an author's own tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness import testing
from harness.cli.main import app, main
from harness.errors import UnknownNameError, UsageError

TOY = Path(__file__).parents[1] / "fixtures" / "toy.py"
LOSS = """
import harness

def build(task):
    from torch.nn.functional import binary_cross_entropy_with_logits
    return lambda logits, targets: {sign}binary_cross_entropy_with_logits(logits, targets, reduction="none")

@harness.hookimpl
def harness_losses():
    return [harness.Loss(name="mine", build=build, about="mine")]
"""


@pytest.fixture
def check(monkeypatch, capsys, tmp_path):
    """Run `harness check` with a plugin in the current folder; gives exit code and standard output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: str, sign: str = "") -> tuple[int, str]:
        (tmp_path / "mine.py").write_text(LOSS.format(sign=sign))
        monkeypatch.setattr(sys, "argv", ["harness", "check", *arguments])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, capsys.readouterr().out

    return run


def test_a_right_plugin_passes_check_by_check(check):
    code, out = check("mine.py")
    assert code == 0
    assert "✓ loss mine: right answers cost less: Logits that agree" in out
    assert out.splitlines()[-1] == "10 passed"


def test_a_wrong_plugin_is_told_what_was_seen_and_how_to_mend_it(check):
    code, out = check("mine.py", sign="-")
    assert code == 1
    assert "✗ loss mine: right answers cost less" in out
    assert "seen: right answers cost -" in out
    assert "fix: turn its sign round" in out


def test_json_holds_every_check_with_what_it_proves(check):
    code, out = check("mine.py", "--json", sign="-")
    found = json.loads(out)
    assert (code, found["failed"], found["target"]) == (1, 1, "mine.py")
    assert all(one["proves"] for one in found["checks"])
    (failed,) = [one for one in found["checks"] if one["status"] == "failed"]
    assert set(failed) == {"kind", "component", "check", "proves", "status", "seen", "fix", "seconds"}


def test_a_file_that_is_also_given_as_a_plugin_is_loaded_once(check):
    assert check("mine.py", "--plugin", "mine.py")[0] == 0


def test_a_component_of_a_plugin_file_is_checked_by_name(check):
    assert check("mine", "--plugin", "mine.py") == (0, check("mine", "--plugin", "mine.py")[1])


def test_a_bundled_file_is_checked_as_the_bundled_plugin():
    subjects = testing.find_subjects(Path(__file__).parents[2] / "plugins" / "focal.py")
    assert [(subject.kind, subject.offer.origin) for subject in subjects] == [("hook", "bundled"), ("loss", "bundled")]


def test_what_stands_for_nothing_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'focal'"):
        testing.find_subjects("focl")
    with pytest.raises(UsageError, match="there is no such file"):
        testing.find_subjects("nothing.py")
    with pytest.raises(UsageError, match="is a folder; give a plugin's file in it, or install the package"):
        testing.find_subjects(tmp_path)
    with pytest.raises(UsageError, match="there is no such file"):
        testing.find_subjects(tmp_path / "absent")
    (tmp_path / "notes.md").write_text("")
    with pytest.raises(UsageError, match=r"notes.md is no Python file; give one that ends in .py"):
        testing.find_subjects(tmp_path / "notes.md")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(UsageError, match="offers nothing"):
        testing.find_subjects(tmp_path / "empty.py")


def test_a_file_of_that_name_is_pointed_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zebra.py").write_text("")
    with pytest.raises(UnknownNameError, match=r"for the file here: harness check zebra.py"):
        testing.find_subjects("zebra")


def test_what_a_plugin_prints_is_kept_out_of_the_document(tmp_path, capsys):
    file = tmp_path / "loud.py"
    file.write_text(LOSS.format(sign="") + "\nprint('imported')\n")
    with pytest.raises(SystemExit, match="0"):
        app(["check", str(file), "--json"])
    out, error = capsys.readouterr()
    assert json.loads(out)["failed"] == 0
    assert "imported" in error


def test_whatever_a_plugin_raises_is_a_failure_with_its_place():
    outcomes = [outcome for outcome in testing.examine("toy-raising", [TOY]) if outcome.status == "failed"]
    assert "raised RuntimeError: this network never builds (toy.py:" in outcomes[0].seen


@pytest.mark.slow
def test_one_line_makes_each_check_a_named_test(tmp_path):
    (tmp_path / "mine.py").write_text(LOSS.format(sign="-"))
    (tmp_path / "test_mine.py").write_text(
        "from harness.testing import parametrize\ntest_contract = parametrize('mine.py')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "FAILED test_mine.py::test_contract[loss mine: right answers cost less]" in done.stdout
    assert "turn its sign round" in done.stdout
    assert "1 failed, 9 passed" in done.stdout


def test_the_check_of_a_captured_step_trains_by_the_engine(registry):
    from harness.testing.models import _train_by_engine
    from harness.testing.samples import placed

    subject = testing.Subject(kind="model", offer=registry.offer("model", "tiny-cnn"))
    with placed(64, "cpu") as images:
        found = [_train_by_engine(subject, images, graphs=graphs) for graphs in (True, False)]
    assert [note for _, note in found] == ["", ""]
    assert all(torch.equal(tensor, found[1][0][name]) for name, tensor in found[0][0].items())


def test_every_check_says_what_it_proves():
    for kind in ("model", "loss", "metric", "dataset", "recipe", "observer", "hook"):
        for check in testing.checks_of(kind):
            assert check.proves.endswith("."), check.name
