"""What a person sees while a run goes on: live bars in a terminal, plain lines elsewhere. All on standard error."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.text import Text

from harness.cli.output import Output, say
from harness.cli.progress import Bars, Clock
from harness.execution.events import (
    ComboFinished,
    ComboLost,
    ComboRetried,
    ComboStarted,
    EpochFinished,
    Event,
    JobEnded,
    JobsSubmitted,
    Leaving,
    Noted,
    OutsideMeasured,
    Preparing,
    Printed,
    ProcessUnfit,
    StepsBegun,
    Stopping,
    TrialAdvanced,
    TrialFinished,
    Waiting,
)
from harness.metric_names import title_metric
from harness.text import agree, count, describe_seconds, format_value, make_visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.evaluation.parts import MetricPart
    from harness.results.record import Record

NOTED = "-", "yellow"
"""The mark of what is neither good nor bad."""
DECODING_EVERY = 5.0
"""Seconds between two plain lines about decoding."""
ENDS = {
    "interrupted": "was interrupted",
    "refused": "refused its order",
    "crashed": "broke off",
    "lost": "was lost",
}
"""How a job elsewhere ended, by its outcome."""
SILENCE = 50.0
"""Seconds without a line after which one says how far the run is, where there is no terminal to draw on."""
LOOK_EVERY = 1.0
"""Seconds between two looks at how long nothing was said."""


class Display(AbstractContextManager["Display"]):
    """Listens to a run and shows it."""

    def __init__(self, console: Console | None = None, clock: Clock = time.monotonic) -> None:
        self.console, self.clock = console or Output(stderr=True), clock
        self.live = self.console.is_terminal
        self.bars = Bars(self.console, clock)
        self.finished = 0
        """Combinations that this run has finished."""
        self.total = 0
        self._began = self._said = clock()
        self._over = threading.Event()
        self._heart = None if self.live else threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._began = self._said = self.clock()
        self.bars.start()
        if self._heart is not None:
            self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave clean lines: no bar, and a cursor. What is said from now on stands below all that was said before."""
        self._over.set()
        if self.live:  # older versions of rich end with an empty line even where nothing was shown
            self.bars.stop()
        elif self._heart is not None and self._heart.is_alive():
            self._heart.join()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Preparing():
                self._preparing(event)
            case ComboStarted():
                self.bars.forget("preparing")
                self.total = event.total
                self._count_combos()
                words = f"epoch 1 of {event.epochs}" if event.epochs else "nothing is trained by gradient"
                self._count_epochs(event.name, 0, event.epochs, words, "")
            case StepsBegun(name, steps, epochs):
                part = steps.epoch - 1 + steps.done / steps.total
                words = f"epoch {steps.epoch} of {epochs}, step {steps.done:,} of {steps.total:,}"
                embedding = f"{steps.done:,} of {count(steps.total, 'image')} embedded"
                self._count_epochs(name, part, epochs, words if epochs else embedding)
            case EpochFinished():
                self._count_epochs(
                    event.name,
                    event.epoch.number,
                    event.epochs,
                    f"epoch {event.epoch.number} of {event.epochs} done",
                    describe_epoch(event),
                )
            case ComboFinished():
                self.bars.forget(event.record.combo.name)
                self.finished += 1
                self._count_combos()
                self._say(*describe(event.record, event.seconds))
                for note in event.record.training.execution.notes if event.record.training else ():
                    self._say(f"  {note}")
            case OutsideMeasured():
                if event.part.status != "failed":  # which is a warning
                    self._say(*describe_outside(event))
            case TrialAdvanced():
                words = f"epoch {event.epoch} of {event.epochs} done"
                note = f"val {title_metric(event.metric)} {event.value:.3f}"
                self._count_epochs(f"trial {event.number}", event.epoch, event.epochs, words, note)
            case TrialFinished():
                self.bars.forget(f"trial {event.number}")
                words = f"{event.done} of {count(event.total, 'trial')} done"
                self.bars.update(event.study, event.study, event.done, event.total, words)
                self._say(*describe_trial(event))
            case Printed():
                self.console.print(Text(_keep_lines(event.text)), end="", soft_wrap=True)
                self._said = self.clock()
            case _:
                self._remark(event)

    def _remark(
        self,
        event: Noted
        | ComboRetried
        | ComboLost
        | Waiting
        | Stopping
        | ProcessUnfit
        | JobsSubmitted
        | JobEnded
        | Leaving,
    ) -> None:
        """Show something out of the ordinary."""
        match event:
            case JobsSubmitted():
                names = ", ".join(note.job or note.name for note in event.notes)
                jobs = count(len(event.notes), "job")
                said = f"found {jobs} again on" if event.again else f"submitted {jobs} to"
                self._say(f"{said} {event.executor}: {names}")
                if event.first:
                    leave = "leaves them there, and this command finds them again" if event.lasting else "ends them"
                    self._say(f"nothing runs here; a job begins when {event.executor} has room for it. Ctrl-C {leave}")
            case JobEnded(executor, note, outcome, reason):
                log = f"; its log is {note.log}" if note.log else ""
                why = f": {reason}" if reason else ""
                self._say(NOTED, f" job {note.job or note.name} on {executor} {ENDS[outcome]}{why}{log}")
            case Leaving(executor, jobs, seconds):
                again = f"; Ctrl-C again within {seconds:g} s cancels them" if seconds else ""
                stay = f"{count(jobs, 'job')} on {executor} {agree(jobs, 'goes', 'go')} on"
                self._say((f"leaving: {stay}{again}", "yellow"))
            case Noted():
                self._say(NOTED, f" {event.text}")
            case ComboRetried():
                what = f"{event.failure.kind}: {event.failure.message}"
                self._say(("↻", "yellow"), f" {event.name}: {what}; retry {event.retry} of {event.retries}")
            case ComboLost():
                self.bars.forget(event.name)
                self._say(NOTED, f" {event.name}: another process has taken it over; its result is waited for")
            case ProcessUnfit(device, reason, replaced):
                who = f"the worker process on {device} is replaced" if replaced else "this process goes on"
                advice = "" if replaced else "; run without --workers 0 to have it replaced"
                self._say(NOTED, f" {who}: {reason}{advice}")
            case Waiting():
                self._say(f"waiting for other processes that run {', '.join(event.names)}")
            case Stopping(names):
                ends = f"after this epoch of {', '.join(names)}" if names else "at once"
                self._say((f"stopping {ends}; Ctrl-C again stops without waiting", "yellow"))

    def remark(self, text: str) -> None:
        """Show a line."""
        self._say(text)

    def mention(self, name: str) -> None:
        """Show what is being worked on."""
        self._say(f"evaluating {name}")

    def tell_progress(self) -> None:
        """Say how far the run is where nothing was said for a while: a log that is read has to show that it lives."""
        now = self.clock()
        if now - self._said < SILENCE:
            return
        counted = [one.line(now) for one in tuple(self.bars.counted.values())]
        for line in counted or [f"still at work, {describe_seconds(now - self._began)} elapsed"]:
            self._say(line)

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            self.tell_progress()

    def _say(self, *parts: str | tuple[str, str]) -> None:
        self._said = self.clock()
        say(*parts, console=self.console)

    def _preparing(self, event: Preparing) -> None:
        what, words = f"decoding {event.dataset}", f"{event.done:,} of {count(event.total, 'image')}"
        self.bars.update("preparing", what, event.done, event.total, words)
        if not self.live and (event.done == event.total or self.clock() - self._said > DECODING_EVERY):
            self._say(self.bars.counted["preparing"].line(self.clock()))
        if event.done == event.total:
            self.bars.forget("preparing")

    def _count_epochs(self, name: str, done: float, epochs: int, words: str, note: str | None = None) -> None:
        self.bars.update(name, name, done, max(epochs, 1), words, note)
        self._count_combos()

    def _count_combos(self) -> None:
        """How far the board is, with the parts of combinations that are under way."""
        if not self.total:
            return
        under_way = (one for name, one in self.bars.counted.items() if name != "board")
        done = self.finished + sum(one.done / one.total for one in under_way)
        words = f"{self.finished} of {count(self.total, 'combination')} done"
        self.bars.update("board", "board", done, self.total, words)


def describe_epoch(event: EpochFinished) -> str:
    """`train loss 0.143, val AUROC 0.871 (best)`: the metric is the one that picks the best epoch."""
    epoch = event.epoch
    best = " (best)" if epoch.best else ""
    return f"train loss {epoch.train_loss:.3f}, val {title_metric(event.metric)} {epoch.value:.3f}{best}"


def describe(record: Record, seconds: float) -> tuple[str | tuple[str, str], ...]:
    """Return the parts of a line about a finished combo."""
    name = f"{record.combo.row} seed {record.combo.seed}"
    if record.failure is not None:
        color = "yellow" if record.status == "skipped" else "red"
        kind = record.status if record.status == "skipped" else f"failed ({record.failure.kind})"
        return ("✗", color), f" {name}: {kind}: {record.failure.message}"
    return ("✓", "green"), f" {name}: {_list_values(record.metrics)} in {describe_seconds(seconds)}"


def _list_values(metrics: Mapping[str, MetricPart]) -> str:
    """The first two metrics, as far as they are defined."""
    first = list(metrics.items())[:2]
    return ", ".join(f"{title_metric(name)} {part.macro:.4f}" for name, part in first if part.macro is not None)


def describe_outside(event: OutsideMeasured) -> tuple[str | tuple[str, str], ...]:
    """Return the parts of a line about a combo on an outside test."""
    failure, name = event.part.failure, f"{event.title}: {event.name}"
    if failure is not None:
        return ("✗", "yellow"), f" {event.part.status} on {name}: {failure.message}"
    values = _list_values(event.part.metrics) or "no metric is defined"
    return ("✓", "green"), f" measured on {name}: {values} in {describe_seconds(event.seconds)}"


def describe_trial(event: TrialFinished) -> tuple[str | tuple[str, str], ...]:
    """Return the parts of a line about a finished trial."""
    mark = {"complete": ("✓", "green"), "pruned": NOTED, "fail": ("✗", "red")}[event.state]
    reached = "" if event.value is None else f" {event.value:.4f}"
    what = "" if event.state == "complete" else f" {event.state.replace('fail', 'failed')}"
    values = ", ".join(f"{name} {format_value(value)}" for name, value in event.values.items())
    best = "" if event.best is None else f"; best {event.best[1]:.4f} (trial {event.best[0]})"
    left = "" if not event.left else f", about {describe_seconds(event.left)} left"
    reason = f" ({event.reason})" if event.reason else ""
    count = f"{event.done} of {event.total}"
    return mark, f" trial {event.number}{what}{reached}{reason}: {values}{best}; {count}{left}"


def _keep_lines(text: str) -> str:
    """What a plugin has printed, in its own lines; nothing else in it steers the terminal."""
    return "\n".join(make_visible(one.removesuffix("\r").expandtabs()) for one in text.split("\n"))


def fail(message: str) -> None:
    """Print an error as one line."""
    say(("error:", "bold red"), f" {message}", console=Output(stderr=True))


def warn(message: str) -> None:
    """Print a warning as one line."""
    say(("warning:", "yellow"), f" {message}", console=Output(stderr=True))
