"""What a person sees of a run: words and times in a terminal, a line at least every minute elsewhere."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.cli import terminal
from harness.cli.output import Output
from harness.cli.terminal import Display
from harness.execution.events import (
    ComboStarted,
    EpochFinished,
    Preparing,
    StepsBegun,
    TrialAdvanced,
    TrialFinished,
)
from harness.training.epoch import Epoch
from harness.training.pace import Steps

NAME = "chexnet--bce--demo--s0"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def open_display(*, live: bool, width: int = 160) -> tuple[Display, Clock, io.StringIO]:
    clock, stream = Clock(), io.StringIO()
    display = Display(Output(file=stream, force_terminal=live, width=width), clock)
    return display, clock, stream


def make_epoch(number: int, *, best: bool = True) -> Epoch:
    return Epoch(
        number=number,
        lr=0.1,
        train_loss=0.1432,
        val_loss=0.1507,
        value=0.8712,
        best=best,
        seconds=60.0,
        images=100,
        timing=None,
    )


def strip(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def test_a_terminal_shows_what_is_counted_and_the_times_in_words():
    display, clock, stream = open_display(live=True)
    with display:
        display(ComboStarted(NAME, 1, 4, 20))
        clock.now += 120
        display(EpochFinished(NAME, make_epoch(1), 20, "auroc"))
        clock.now += 60
        display(StepsBegun(NAME, Steps(2, 600, 1200), 20))
        display.bars.refresh()
    shown = strip(stream.getvalue())
    assert "0 of 4 combinations done" in shown
    assert "train loss 0.143, val AUROC 0.871 (best)" in shown
    assert re.search(r"epoch 2 of 20, step 600 of 1,200 +3 min elapsed, 37 min left", shown), shown
    assert "3 min elapsed, 2.6 h left" in shown  # of the board: 1.5 of 80 epochs


def test_a_narrow_terminal_keeps_the_counts_and_the_times():
    display, clock, stream = open_display(live=True, width=80)
    with display:
        display(ComboStarted(NAME, 1, 4, 20))
        clock.now += 120
        display(EpochFinished(NAME, make_epoch(1), 20, "auroc"))
        display.bars.refresh()
    shown = strip(stream.getvalue())
    assert re.search(r"epoch 1 of 20 done +2 min elapsed, 38 min left", shown), shown


def test_an_epoch_picked_by_its_loss_names_the_loss():
    assert terminal.describe_epoch(EpochFinished(NAME, make_epoch(1, best=False), 20, "loss")).endswith(
        "val loss 0.871"
    )


def test_a_trial_names_the_metric_that_it_is_judged_by():
    display, _, stream = open_display(live=True)
    with display:
        display(TrialAdvanced(study="study", number=3, epoch=2, epochs=10, value=0.8, metric="auprc"))
        display.bars.refresh()
        display(
            TrialFinished(
                study="study",
                number=3,
                state="complete",
                value=0.8,
                values={"recipe.lr": 0.001},
                seconds=1.0,
                reason="",
                best=(3, 0.8),
                done=1,
                total=20,
                left=150.0,
            )
        )
        display.bars.refresh()
    shown = strip(stream.getvalue())
    assert "trial 3" in shown
    assert "epoch 2 of 10 done" in shown
    assert "val AUPRC 0.800" in shown
    assert "1 of 20 trials done" in shown


def test_a_pipe_gets_a_line_after_a_silence_and_none_before():
    display, clock, stream = open_display(live=False)
    with display:
        display(ComboStarted(NAME, 1, 4, 20))
        clock.now += terminal.SILENCE - 1
        display(EpochFinished(NAME, make_epoch(1), 20, "auroc"))
        display.tell_progress()
        assert stream.getvalue() == ""
        clock.now += 1
        display.tell_progress()
        first, second = stream.getvalue().splitlines()
        display.tell_progress()
    assert first.startswith("board: 0 of 4 combinations done, 50 s elapsed, ")
    assert second == (
        f"{NAME}: epoch 1 of 20 done, train loss 0.143, val AUROC 0.871 (best), 50 s elapsed, 16 min left"
    )
    assert stream.getvalue().count("\n") == 2


def test_a_pipe_is_told_that_the_work_goes_on_even_where_nothing_is_counted():
    display, clock, stream = open_display(live=False)
    with display:
        clock.now += 120
        display.tell_progress()
    assert stream.getvalue() == "still at work, 2 min elapsed\n"


def test_the_line_comes_without_any_event(monkeypatch):
    monkeypatch.setattr(terminal, "LOOK_EVERY", 0.001)
    display, clock, stream = open_display(live=False)
    with display:
        clock.now += 90
        end = time.monotonic() + 20
        while not stream.getvalue() and time.monotonic() < end:
            time.sleep(0.005)
    assert stream.getvalue().startswith("still at work")
    assert terminal.SILENCE + 1 <= 60


def test_decoding_counts_images_and_says_how_long_it_will_take():
    display, clock, stream = open_display(live=False)
    with display:
        display(Preparing("phantom", 1, 6000))
        clock.now += 30
        display(Preparing("phantom", 1001, 6000))
        clock.now += 90
        display(Preparing("phantom", 6000, 6000))
    assert stream.getvalue().splitlines() == [
        "decoding phantom: 1,001 of 6,000 images, 30 s elapsed, 2 min left",
        "decoding phantom: 6,000 of 6,000 images, 2 min elapsed",
    ]


# --- in a terminal ---------------------------------------------------------------------------------------------------

SLOW_NET = """
import time
from torch import nn
from harness import Model, hookimpl

class Slow(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.linear = nn.Linear(task.channels, len(task.labels))

    def forward(self, images):
        time.sleep(0.25 if self.training else 0)
        return self.linear(images.mean((2, 3)))

@hookimpl
def harness_models():
    yield Model(name="slow-net", build=Slow, about="takes its time")
"""


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_leaves_clean_lines_a_cursor_and_the_way_on(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW_NET)
    toy = Path(__file__).parents[1] / "fixtures" / "toy.py"
    command = "run --dataset toy --option count=400 --models slow-net --losses bce --recipes toy --seeds 0 --board b"
    words = [*command.split(), "--set", "recipe.batch_size=8", "--set", "recipe.epochs=4"]
    controller, terminal_end = pty.openpty()
    variables = {
        "HARNESS_PLUGIN": os.pathsep.join([str(toy), "slow.py"]),
        "HARNESS_CACHE_DIR": str(tmp_path / "cache"),
        "HARNESS_DEVICE": "cpu",
        "TERM": "xterm",
        "COLUMNS": "140",
    }
    run = subprocess.Popen(
        [sys.executable, "-c", "from harness.cli.main import main; main()", *words],
        cwd=tmp_path,
        env=os.environ | variables,
        stdin=terminal_end,
        stdout=terminal_end,
        stderr=terminal_end,
        start_new_session=True,
    )
    os.close(terminal_end)
    try:
        said = read_until(controller, run, "step 1")
        assert "epoch 1 of 4, step 1" in strip(said)
        os.kill(run.pid, signal.SIGINT)
        said += read_until(controller, run, None)
        assert run.wait(60) == 130
    finally:
        run.kill()
        run.wait()
        os.close(controller)
    assert said.rfind("\x1b[?25h") > said.rfind("\x1b[?25l")  # the cursor is shown
    last = strip(said[said.rfind("\x1b[2K") :]).strip().splitlines()
    assert len(last) == 1, last
    assert last[0].startswith("error: interrupted; what is finished is kept, 1 left to do (slow-net")
    assert f"Continue with: harness {command}" in last[0]


def read_until(controller: int, run: subprocess.Popen[bytes], text: str | None, seconds: float = 90) -> str:
    """What the terminal shows until a text is there, or to the end."""
    said, end = b"", time.monotonic() + seconds
    while time.monotonic() < end and (text is None or text not in strip(said.decode(errors="replace"))):
        if not select.select([controller], [], [], 0.2)[0]:
            if run.poll() is not None:
                break
            continue
        try:
            chunk = os.read(controller, 65536)
        except OSError:  # nobody holds the other end any more
            break
        if not chunk:
            break
        said += chunk
    return said.decode(errors="replace")
