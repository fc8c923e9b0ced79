"""What is counted while a person waits: in words, with the time that went by and the time that is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from harness.cli.output import line
from harness.text import describe_seconds, make_visible

WIDE = 110
"""Characters of a line from which on there is room for a bar."""
Clock = Callable[[], float]


@dataclass(kw_only=True)
class Counted:
    """One thing that is counted: a board's combinations, a combination's epochs, a dataset's images."""

    what: str
    started: float
    """When the counting began, by the clock."""
    first: float
    """How much was done by then."""
    total: float = 1
    done: float = 0
    words: str = ""
    """What is done, as `epoch 3 of 20, step 120 of 1,351`."""
    note: str = ""
    updated: float = 0.0

    def times(self, now: float) -> str:
        """`1 min elapsed, 2 min left`; nothing of what is left before it can be told."""
        elapsed = f"{describe_seconds(now - self.started)} elapsed"
        left = self.left(now)
        return elapsed if left is None else f"{elapsed}, {describe_seconds(left)} left"

    def left(self, now: float) -> float | None:
        """Seconds that the rest takes at the pace so far; None where nothing was done yet, or all is."""
        gained = self.done - self.first
        if gained <= 0 or self.done >= self.total:
            return None
        whole = (self.updated - self.started) * (self.total - self.done) / gained
        return max(0.0, whole - (now - self.updated))

    def line(self, now: float) -> str:
        """All of it as one sentence."""
        return f"{self.what}: {', '.join(part for part in (self.words, self.note, self.times(now)) if part)}"


class Bars:
    """What is counted, drawn as live bars in a terminal and nowhere else."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self.clock = clock
        self.counted: dict[str, Counted] = {}
        self._tasks: dict[str, TaskID] = {}
        bar = [BarColumn(bar_width=16)] if console.width >= WIDE else []
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            *bar,
            TextColumn("{task.fields[counted].words}", markup=False),
            _Times(clock),
            _Note(table_column=Column(overflow="ellipsis")),  # which gives way where the terminal is narrow
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def start(self) -> None:
        """Begin to draw."""
        self._progress.start()

    def stop(self) -> None:
        """Take the bars from the screen and show the cursor again."""
        self._progress.stop()

    def refresh(self) -> None:
        """Draw now."""
        self._progress.refresh()

    def update(self, name: str, what: str, done: float, total: float, words: str, note: str | None = None) -> None:
        """Say how far something is; a note that is not given stays."""
        one = self.counted.get(name)
        if one is None:
            one = self.counted[name] = Counted(what=make_visible(what), started=self.clock(), first=done)
            self._tasks[name] = self._progress.add_task(one.what, counted=one)
        one.done, one.total, one.words, one.updated = done, total, make_visible(words), self.clock()
        one.note = one.note if note is None else make_visible(note)
        self._progress.update(self._tasks[name], completed=done, total=total)

    def forget(self, name: str) -> None:
        """Count something no longer."""
        if name in self.counted:
            del self.counted[name]
            self._progress.remove_task(self._tasks.pop(name))


class _Note(ProgressColumn):
    """What the last epoch came to."""

    def render(self, task: Task) -> Text:
        counted: Counted = task.fields["counted"]
        note = line(counted.note, style="dim")
        note.no_wrap, note.overflow = True, "ellipsis"
        return note


class _Times(ProgressColumn):
    """The time that went by, and the time that is left."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._clock = clock

    def render(self, task: Task) -> Text:
        counted: Counted = task.fields["counted"]
        return line(counted.times(self._clock()))
