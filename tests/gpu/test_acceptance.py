"""`make test-gpu` with pretended figures: what it measures, keeps, compares, and says."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from tests.gpu.acceptance import (
    MODELS,
    ROOT,
    Notebook,
    describe,
    lay_out,
    list_bars,
    list_speeds,
    list_tests,
    main,
    report,
)

WHERE = {"card": "C", "torch": "2", "commit": "abc", "code": "def"}
GOOD = {"engine": 4000.0, "engine_over_tight_loop": 0.97, "inference": 9000.0, "start_seconds": 20.0}
COMMANDS = sum(one.times for one in list_speeds())
SLOW_TEST = "tests/training/test_cuda.py::test_slow[one, two]"


class Card:
    """Pretends to run commands; `figures` are those of every speed, and commands with the word `broken` fail."""

    def __init__(self, broken: str | None = None, **figures: float) -> None:
        self.figures = GOOD | figures
        self.broken = broken
        self.commands: list[str] = []

    def __call__(self, arguments):
        command = " ".join(arguments)
        if "--collect-only" in command:
            return subprocess.CompletedProcess(arguments, 0, f"{SLOW_TEST}\n\n1 test collected", "")
        self.commands.append(command)
        if self.broken is not None and self.broken in command:
            return subprocess.CompletedProcess(arguments, 1, "", "Traceback\nCUDA out of memory")
        out = "4 passed" if "pytest" in command else json.dumps(self.figures)
        return subprocess.CompletedProcess(arguments, 0, out, "")


@pytest.fixture
def book(tmp_path):
    return lambda where=WHERE: Notebook(tmp_path / "build" / "gpu.json", where)


def test_everything_is_measured_once_and_stands_beside_its_bar(book, capsys):
    card = Card()
    assert report("", book(), card) == 0
    assert len(card.commands) == COMMANDS + 2
    document = json.loads(book().path.read_text())
    assert document["where"] == WHERE
    assert len(document["figures"]) == len(list_bars())
    assert all(one["met"] for one in document["figures"])
    minutes = next(one for one in document["figures"] if one["figure"].startswith("DACNet's recipe at batch 8"))
    assert minutes["value"] == pytest.approx(25 * 103_847 / 4000 / 60)
    assert minutes["bar"] == "at most 70"
    assert "NOT MET" not in capsys.readouterr().out
    assert report("", book(), card) == 0
    assert len(card.commands) == COMMANDS + 2  # nothing is measured again


@pytest.mark.parametrize(
    ("figures", "missed"),
    [
        ({"engine_over_tight_loop": 0.94}, 7),  # five networks, one of them compiled too, and the augmentation's share
        ({"engine": 2500.0}, 2),  # 3,000 compiled, and DACNet's 15 minutes
        ({"engine": 500.0}, 4),
        ({"inference": 7999.0}, 1),
        ({"start_seconds": 31.0}, 1),
    ],
)
def test_a_figure_that_misses_its_bar_is_marked_and_ends_with_1(book, capsys, figures, missed):
    assert report("speed", book(), Card(**figures)) == 1
    assert capsys.readouterr().out.count("NOT MET") == missed


def test_what_breaks_costs_itself_alone_and_is_tried_again(book, capsys):
    assert report("", book(), Card(broken="streamed")) == 1
    document = json.loads(book().path.read_text())
    assert list(document["failed"]) == ["chexnet streamed"]
    assert "CUDA out of memory" in document["failed"]["chexnet streamed"]
    assert [one["figure"] for one in document["figures"] if one["value"] is None] == [
        "chexnet, streamed: share of resident images/s"
    ]
    assert "not measured" in capsys.readouterr().out
    card = Card()
    assert report("", book(), card) == 0
    assert [command for command in card.commands if "streamed" not in command] == []
    assert json.loads(book().path.read_text())["failed"] == {}


def test_the_file_holds_what_was_measured_before_the_command_was_ended(book):
    card = Card()

    def ended(arguments):
        if len(card.commands) == 2:
            raise KeyboardInterrupt
        return card(arguments)

    with pytest.raises(KeyboardInterrupt):
        report("speed", book(), ended)
    assert len(book().measured) == 2
    assert report("speed", book(), card) == 0
    assert len(card.commands) == COMMANDS


@pytest.mark.parametrize("changed", ["card", "torch", "code"])
def test_figures_of_other_code_or_another_card_are_measured_again(book, changed):
    report("vit-b16", book(), Card())
    card = Card()
    assert report("vit-b16", book(WHERE | {changed: "other"}), card) == 0
    assert len(card.commands) == 1


def test_a_commit_that_changed_no_code_costs_no_figure(book):
    report("vit-b16", book(), Card())
    card = Card()
    assert report("vit-b16", book(WHERE | {"commit": "other"}), card) == 0
    assert card.commands == []


def test_a_part_is_done_alone(book):
    for part, count in (("tests", 2), ("vit-b16", 1), ("chexnet", 7), ("speed", 11)):
        card, notebook = Card(), book({"card": part})
        assert report(part, notebook, card) == 0
        assert len(card.commands) == count
    assert {one.part for one in list_speeds()} == set(MODELS)


def test_the_tests_that_need_a_gpu_are_found_and_slow_ones_run_by_themselves(book):
    quick, slow = list_tests(Card())
    assert "tests/training/test_cuda.py" in quick.arguments
    assert "gpu and not slow" in quick.arguments
    assert slow.name == SLOW_TEST == slow.arguments[-1]
    assert report("tests", book(), Card(broken="gpu and not slow")) == 1
    assert list(book().measured) == [SLOW_TEST]


def test_tests_that_cannot_be_collected_do_not_stop_the_figures(book):
    def run(arguments):
        return subprocess.CompletedProcess(arguments, 1, "", "No module named pytest")

    assert report("tests", book(), run) == 1
    assert json.loads(book().path.read_text())["failed"] == {"tests": "No module named pytest"}


def test_the_checkout_is_imported_as_if_it_were_installed(tmp_path):
    environment = lay_out(tmp_path / "there")
    code = (
        "import importlib.metadata, harness, harness.plugins, harness.templates, harness.leaderboards\n"
        "from harness.registry import load_registry\n"
        "print(importlib.metadata.version('cxr-harness'), harness.plugins.__path__[0])\n"
        "print(load_registry().model('chexnet').name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    plugins = str(tmp_path / "there" / "harness" / "plugins")
    assert done.stdout.split() == ["0.1.0", plugins, "chexnet"], done.stderr


def test_code_is_told_apart(monkeypatch, tmp_path):
    first = describe("C", "2")
    assert first == describe("C", "2")
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "a.py").write_text("1")
    monkeypatch.setattr("tests.gpu.acceptance.ROOT", tmp_path)
    other = describe("C", "2")
    (tmp_path / "harness" / "a.py").write_text("2")
    assert len({first["code"], other["code"], describe("C", "2")["code"]}) == 3
    assert other["commit"] == "unknown"


def test_without_a_gpu_one_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "make test-gpu: there is no GPU here that torch could use (CUDA)\n"
