"""Observers are told in plain data how a run goes, and can do it no harm."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.errors import UnknownNameError
from harness.execution.observers import choose_observers
from harness.testing.observers import EVENTS

TOY = Path(__file__).parents[1] / "fixtures" / "toy.py"
RAISING = """
from harness import Observer, hookimpl

def watch(folder):
    def tell(event):
        raise {error}("no disk left")
    return tell

@hookimpl
def harness_observers():
    return [Observer(name="raises-{error}", watch=watch, always=True, about="raises")]
"""


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run the toy board with further arguments; gives exit code and standard error."""
    monkeypatch.chdir(tmp_path)

    def start(*arguments: str) -> tuple[int, str]:
        parts = ("--dataset", "toy", "--models", "toy-net,toy-raising", "--losses", "bce", "--recipes", "toy")
        where = ("--board", "b", "--plugin", str(TOY), "--cache-dir", str(tmp_path / "cache"), "--device", "cpu")
        monkeypatch.setattr(sys, "argv", ["harness", "run", *parts, *where, *arguments])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, capsys.readouterr().err

    return start


def test_the_log_is_always_on_and_holds_every_event_as_plain_data(run, tmp_path):
    assert run()[0] == 1  # one of the networks raises
    events = [json.loads(line) for line in (tmp_path / "b" / "runs" / "log.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == [
        *("combo started", "epoch finished", "epoch finished", "epoch finished", "combo finished"),
        *("combo started", "combo finished"),
    ]
    assert {event["combo"] for event in events} == {"toy-net--bce--toy--s0", "toy-raising--bce--toy--s0"}
    assert events[1]["epoch"] == 1
    assert events[1]["train_loss"] > 0
    assert events[4]["status"] == "done"
    assert "auroc" in events[4]["metrics"]
    assert "never builds" in events[6]["failure"]
    for event in events:
        example = next(example for example in EVENTS if example["event"] == event["event"])
        assert set(event) == set(example)


def test_observers_that_raise_are_told_no_more_and_harm_no_run(run, tmp_path):
    errors = ("RuntimeError", "SystemExit")
    for error in errors:
        (tmp_path / f"{error}.py").write_text(RAISING.format(error=error))
    plugins = [part for error in errors for part in ("--plugin", str(tmp_path / f"{error}.py"))]
    code, err = run(*plugins, "--only", "toy-net*")
    assert code == 0
    assert [err.count(f"observer 'raises-{error}' is told no more") for error in errors] == [1, 1]
    assert (tmp_path / "b" / "records" / "toy-net--bce--toy--s0.json").is_file()
    assert (tmp_path / "b" / "runs" / "log.jsonl").is_file()


def test_an_observer_is_chosen_by_name_and_a_misspelt_one_gets_the_nearest(registry):
    assert [observer.name for observer in choose_observers(registry, ["tensorboard"])] == ["log", "tensorboard"]
    with pytest.raises(UnknownNameError, match="did you mean 'wandb'"):
        choose_observers(registry, ["wand"])


def test_tensorboard_gets_curves_and_metrics(tmp_path):
    tell_all("tensorboard", tmp_path)
    (folder,) = (tmp_path / "board" / "runs" / "tensorboard").iterdir()
    written = b"".join(file.read_bytes() for file in folder.iterdir())
    assert all(name in written for name in (b"train_loss", b"test/auroc"))


def test_wandb_keeps_a_run_on_this_machine_in_its_offline_mode(tmp_path):
    tell_all("wandb", tmp_path)
    runs = list((tmp_path / "board" / "runs" / "wandb" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(runs) == 2
    assert any(b"train_loss" in file.read_bytes() for file in runs)


def tell_all(name: str, folder: Path) -> None:
    """Tell an observer everything in a process of its own: these libraries change much of the one that they are in."""
    code = (
        "import sys; from pathlib import Path; from harness.registry import load_registry\n"
        "from harness.testing.observers import EVENTS\n"
        f"tell = load_registry().observer({name!r}).watch(Path('board'))\n"
        "[tell(dict(event)) for event in EVENTS]"
    )
    import os

    environment = os.environ | {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
