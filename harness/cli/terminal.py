"""What a person sees while a run goes on: live bars in a terminal, plain lines elsewhere. All on standard error."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from harness.cli.output import Output, say
from harness.execution.events import (
    ComboFinished,
    ComboLost,
    ComboRetried,
    ComboStarted,
    EpochFinished,
    Event,
    Noted,
    Preparing,
    Printed,
    ProcessUnfit,
    Stopping,
    TrialAdvanced,
    TrialFinished,
    Waiting,
)
from harness.text import describe_seconds, format_value, make_visible

if TYPE_CHECKING:
    from harness.results.record import Record

NOTED = "-", "yellow"
"""The mark of what is neither good nor bad."""
EVERY = 5.0
"""Seconds between two plain lines about decoding."""


class Display(AbstractContextManager["Display"]):
    """Listens to a run and shows it."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Output(stderr=True)
        self.live = self.console.is_terminal
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
        )
        self.progress = Progress(*columns, console=self.console, transient=True, disable=not self.live)
        self.tasks: dict[str, TaskID] = {}
        self.last_line = 0.0

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:  # older versions of rich end with an empty line even where nothing was shown
            self.progress.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Preparing():
                self._preparing(event)
            case ComboStarted():
                self._forget("preparing")
                self._advance("board", "board", event.number - 1, event.total)
                self._advance(event.name, event.name, 0, event.epochs)
            case EpochFinished():
                epoch = event.epoch
                note = f"loss {epoch.train_loss:.4f}, validation {epoch.val_loss:.4f}{' *' if epoch.best else ''}"
                self._advance(event.name, event.name, epoch.number, event.epochs, note)
            case ComboFinished():
                self._forget(event.record.combo.name)
                if "board" in self.tasks:
                    self.progress.advance(self.tasks["board"])
                self._say(*describe(event.record, event.seconds))
                for note in event.record.training.execution.notes if event.record.training else ():
                    self._say(f"  {note}")
            case TrialAdvanced():
                self._advance(f"trial {event.number}", f"trial {event.number}", event.epoch, event.epochs)
            case TrialFinished():
                self._forget(f"trial {event.number}")
                self._advance(event.study, event.study, event.done, event.total)
                self._say(*describe_trial(event))
            case Printed():
                self.console.print(Text(_keep_lines(event.text)), end="", soft_wrap=True)
            case _:
                self._remark(event)

    def _remark(self, event: Noted | ComboRetried | ComboLost | Waiting | Stopping | ProcessUnfit) -> None:
        """Show something out of the ordinary."""
        match event:
            case Noted():
                self._say(NOTED, f" {event.text}")
            case ComboRetried():
                what = f"{event.failure.kind}: {event.failure.message}"
                self._say(("↻", "yellow"), f" {event.name}: {what}; retry {event.retry} of {event.retries}")
            case ComboLost():
                self._forget(event.name)
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

    def _say(self, *parts: str | tuple[str, str]) -> None:
        say(*parts, console=self.console)

    def remark(self, text: str) -> None:
        """Show a line."""
        self._say(text)

    def mention(self, name: str) -> None:
        """Show what is being worked on."""
        self._say(f"evaluating {name}")

    def _preparing(self, event: Preparing) -> None:
        self._advance("preparing", f"decoding {event.dataset}", event.done, event.total)
        if not self.live and (event.done == event.total or time.monotonic() - self.last_line > EVERY):
            self.last_line = time.monotonic()
            self._say(f"decoding {event.dataset}: {event.done:,} of {event.total:,} images")
        if event.done == event.total:
            self._forget("preparing")

    def _advance(self, task: str, description: str, done: int, total: int, note: str = "") -> None:
        description, note = make_visible(description), make_visible(note)
        if task not in self.tasks:
            self.tasks[task] = self.progress.add_task(description, total=total, note=note)
        self.progress.update(self.tasks[task], description=description, completed=done, total=total, note=note)

    def _forget(self, *tasks: str) -> None:
        for task in tasks:
            if task in self.tasks:
                self.progress.remove_task(self.tasks.pop(task))


def describe(record: Record, seconds: float) -> tuple[str | tuple[str, str], ...]:
    """Return the parts of a line about a finished combo."""
    name = f"{record.combo.row} seed {record.combo.seed}"
    if record.failure is not None:
        color = "yellow" if record.status == "skipped" else "red"
        kind = record.status if record.status == "skipped" else f"failed ({record.failure.kind})"
        return ("✗", color), f" {name}: {kind}: {record.failure.message}"
    values = ", ".join(
        f"{name} {part.macro:.4f}" for name, part in list(record.metrics.items())[:2] if part.macro is not None
    )
    return ("✓", "green"), f" {name}: {values} in {seconds:.0f} s"


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
